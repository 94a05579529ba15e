"""Cards as plain text."""

from __future__ import annotations

import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.card import (
    Bar,
    Button,
    Buttons,
    Card,
    Chart,
    Checklist,
    Context,
    Divider,
    Fields,
    Listing,
    Mark,
    Person,
    Picture,
    Section,
    Table,
    words,
)
from bot.domain.plain_card import one_line, plain_text, plain_title
from tests.examples import examples


def test_every_element_is_text_and_buttons_are_none() -> None:
    card = Card(
        text="short",
        title=words("*web-1* moves"),
        elements=(
            Section(words("by {who}", who=Person("UANA"))),
            Fields((("Risk", "low"),)),
            Table(("Host", "VMs"), (("host-a", "3"), ("b", "12")), numeric=frozenset({1})),
            Listing("a\nb"),
            Checklist("Steps", ((Mark.DONE, "one"), (Mark.TODO, "two"))),
            Bar(0.5, "half"),
            Chart("CPU", "bar", ("a",), (("now", (1.0,)),), "%", "a 1%"),
            Picture(b"", "a screen", "web-1"),
            Context(("small",)),
            Divider(),
            Buttons((Button("Approve", "op.approve", "op-1:x"),)),
        ),
    )
    assert plain_text(card).splitlines() == [
        "web-1 moves",
        "by UANA",
        "Risk: low",
        "Host    VMs",
        "host-a    3",
        "b        12",
        "a",
        "b",
        "Steps",
        "✓ one",
        "○ two",
        "50%  half",
        "CPU: a 1%",
        "web-1",
        "a screen",
        "small",
    ]


def test_a_card_without_elements_says_its_text() -> None:
    assert plain_text(Card("host-a is down", "Host down")) == "Host down\nhost-a is down"
    assert plain_text(Card("host-a is down")) == "host-a is down"


@settings(max_examples=examples(100))
@given(st.text())
def test_no_control_character_comes_through(strange: str) -> None:
    shown = plain_text(Card(strange, words("{name}", name=strange), (Section(strange),)))
    unwanted = ("Cc", "Cf", "Cs", "Zl", "Zp")
    assert not any(unicodedata.category(each) in unwanted for each in shown.replace("\n", ""))
    assert "\n" not in plain_title(Card(strange, strange))
    assert len(one_line(strange, 20)) <= 20
