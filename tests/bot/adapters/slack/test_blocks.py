"""Every card becomes blocks that Slack would take; the local workspace's validator is the judge."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.adapters.slack import charts, limits
from bot.adapters.slack.blocks import home, render
from bot.adapters.slack.fit_blocks import LEFT_OUT, complaints, fit
from bot.adapters.slack.forms import modal
from bot.adapters.slack.plaintext import as_text
from bot.domain.card import (
    Bar,
    Button,
    Buttons,
    Card,
    Chart,
    Checklist,
    ChoiceField,
    Confirm,
    Context,
    Divider,
    Fields,
    Form,
    Line,
    Listing,
    ManyField,
    Mark,
    Menu,
    Person,
    Picture,
    Section,
    Style,
    Table,
    TextField,
    words,
)
from bot.domain.errors import ChatError
from lab.slack.schema import Context as Place
from lab.slack.validate import GOOD, judge_blocks, judge_text, judge_view
from tests.examples import examples

Json = dict[str, Any]
ALPHABET = st.sampled_from("<>&*_~`:!@#|{}^\n ab1é\x00")
TEXT = st.text(ALPHABET, max_size=12) | st.builds(
    lambda text, times: text * times,
    st.text(ALPHABET, min_size=1, max_size=6),
    st.sampled_from([40, 700]),
)
AT = datetime(2026, 11, 27, 3, 30, tzinfo=UTC)
LINE: st.SearchStrategy[Line] = TEXT | st.builds(
    lambda text: words("*{t}* _by_ {who} {at}", t=text, who=Person("U0ANA", "ana"), at=AT), TEXT
)
NUMBER = st.floats(allow_nan=True, allow_infinity=True) | st.floats(0, 100)
BUTTON = st.builds(
    Button,
    text=TEXT,
    action=st.sampled_from(["approve", "deny", "x" * 300]),
    value=TEXT,
    style=st.sampled_from(Style),
    confirm=st.none() | st.builds(Confirm, TEXT, TEXT, TEXT, TEXT),
)
MENU = st.builds(Menu, st.lists(BUTTON, min_size=1, max_size=120).map(tuple), TEXT)
ELEMENT = st.one_of(
    st.builds(Section, LINE, st.none() | BUTTON | MENU),
    st.builds(Fields, st.lists(st.tuples(TEXT, LINE), max_size=12).map(tuple)),
    st.builds(
        Table,
        st.lists(TEXT, max_size=22).map(tuple),
        st.lists(st.lists(LINE, max_size=5).map(tuple), max_size=4).map(
            lambda rows: tuple(rows) * 30
        ),
        st.frozensets(st.integers(0, 3)),
    ),
    st.builds(
        Checklist,
        TEXT,
        st.lists(st.tuples(st.sampled_from(Mark), LINE), max_size=5).map(lambda i: tuple(i * 20)),
    ),
    st.builds(Listing, TEXT),
    st.builds(Bar, NUMBER, LINE),
    st.builds(
        Chart,
        title=TEXT,
        kind=st.sampled_from(["bar", "line"]),
        labels=st.lists(TEXT, max_size=6).map(lambda labels: tuple(labels * 5)),
        series=st.lists(st.tuples(TEXT, st.lists(NUMBER, max_size=30).map(tuple)), max_size=8).map(
            tuple
        ),
        unit=TEXT,
        summary=TEXT,
    ),
    st.builds(Picture, st.just(b"png"), TEXT, TEXT),
    st.builds(Context, st.lists(LINE, max_size=12).map(tuple)),
    st.builds(Divider),
    st.builds(Buttons, st.lists(BUTTON, max_size=30).map(tuple)),
)
CARD = st.builds(Card, text=TEXT, title=TEXT, elements=st.lists(ELEMENT, max_size=6).map(tuple))
SLOW = settings(
    max_examples=examples(60),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def sent(card: Card) -> tuple[str, list[Json]]:
    text, blocks = render(card)
    shown = fit(text, blocks, as_text(card))
    assert shown.faults == ()
    return shown.text, shown.blocks


def place(surface: str) -> Place:
    return Place(surface=surface)


@SLOW
@given(CARD)
def test_any_card_is_taken_as_a_message(card: Card) -> None:
    text, blocks = sent(card)
    json.dumps(blocks, allow_nan=False)
    assert judge_blocks(blocks, Place()) == GOOD
    assert text
    assert judge_text(text, update=True) == GOOD
    assert judge_text(as_text(card), update=True) == GOOD


@SLOW
@given(CARD)
def test_any_card_is_taken_as_a_home(card: Card) -> None:
    assert judge_view(home(card), place) == GOOD


@SLOW
@given(CARD)
def test_any_card_is_taken_in_its_plainest_form(card: Card) -> None:
    text, blocks = render(card, {}, "modal")
    shown = fit(text, blocks, as_text(card))
    assert shown.faults == ()
    assert judge_blocks(shown.blocks, Place()) == GOOD
    assert {block["type"] for block in shown.blocks} <= {
        "header",
        "section",
        "context",
        "actions",
        "divider",
    }


@pytest.mark.parametrize("length", range(51, 300, 7))
def test_what_is_left_out_makes_place_for_the_note_that_says_so(length: int) -> None:
    def section(text: str) -> Json:
        return {"type": "section", "text": {"type": "mrkdwn", "text": text}}

    shown = fit(
        "text", [*[section("x" * 1700)] * 7, section("y" * length), section("z" * length)], "told"
    )
    assert shown.faults == ()
    assert judge_blocks(shown.blocks, Place()) == GOOD
    assert LEFT_OUT in str(shown.blocks[-1])


STEPS = tuple(
    (str(number), f"{number + 1}. Move vm-{number} from host-a to host-b") for number in range(120)
)


@SLOW
@given(
    st.builds(
        Form,
        action=st.just("deny"),
        title=TEXT,
        submit=TEXT,
        fields=st.lists(
            st.builds(
                TextField, st.uuids().map(str), TEXT, TEXT, TEXT, st.booleans(), st.booleans()
            )
            | st.builds(
                ChoiceField,
                st.uuids().map(str),
                TEXT,
                st.lists(st.tuples(st.uuids().map(str), TEXT), max_size=3).map(tuple),
            )
            | st.builds(
                lambda name, label: ChoiceField(name, label, source="vms", initial="web-1"),
                st.uuids().map(str),
                TEXT,
            )
            | st.builds(
                lambda name, label, count: ManyField(
                    name, label, STEPS[:count], tuple(v for v, _ in STEPS[:count:2])
                ),
                st.uuids().map(str),
                TEXT,
                st.integers(1, 120),
            ),
            max_size=4,
        ).map(tuple),
        intro=st.lists(ELEMENT, max_size=2).map(tuple),
        hidden=TEXT.map(lambda text: text[:3000]),
    )
)
def test_any_form_is_taken(form: Form) -> None:
    assert judge_view(modal(form), place) == GOOD


def test_few_things_to_pick_are_boxes_and_many_are_a_list() -> None:
    def kind(count: int) -> str:
        (block,) = modal(Form("a", "T", "Go", (ManyField("m", "M", STEPS[:count]),)))["blocks"]
        return str(block["element"]["type"])

    assert [kind(count) for count in (1, 10, 11, 100)] == ["checkboxes"] * 2 + [
        "multi_static_select"
    ] * 2


def test_a_form_that_would_lose_data_is_refused() -> None:
    with pytest.raises(ChatError, match="more than 3000 hidden"):
        modal(Form("a", "T", "Go", (TextField("w", "W"),), hidden="x" * 3001))
    with pytest.raises(ChatError, match="too long for a choice"):
        modal(Form("a", "T", "Go", (ChoiceField("c", "C", (("v" * 151, "text"),)),)))


def of_type(blocks: list[Json], kind: str) -> list[Json]:
    return [block for block in blocks if block["type"] == kind]


def test_a_long_table_says_how_much_is_missing() -> None:
    rows = tuple((f"vm-{index}", "running") for index in range(139))
    _, blocks = sent(Card("139 VMs", elements=(Table(("VM", "State"), rows),)))
    (table,) = of_type(blocks, "table")
    assert len(table["rows"]) == 100
    assert of_type(blocks, "context")[0]["elements"][0]["text"] == "… +40"


def test_a_wide_table_leaves_room_for_the_rest() -> None:
    rows = tuple((f"vm-{index}", "x" * 400) for index in range(60))
    others = (Section("y" * 2900), Section("z" * 2900), Buttons((Button("Go", "go", "1"),)))
    _, blocks = sent(Card("60 VMs", elements=(Table(("VM", "Note"), rows), *others)))
    assert judge_blocks(blocks, Place()) == GOOD
    shown = len(of_type(blocks, "table")[0]["rows"]) - 1
    assert 5 < shown < 60
    assert of_type(blocks, "context")[0]["elements"][0]["text"] == f"… +{60 - shown}"
    assert len(of_type(blocks, "section")) == 2


def test_only_the_first_table_is_a_table() -> None:
    table = Table(("VM",), (("web-1",),))
    _, blocks = sent(Card("x", elements=(table, Table(("Host",), (("host-a",),)))))
    assert len(of_type(blocks, "table")) == 1
    assert "host-a" in of_type(blocks, "section")[0]["text"]["text"]


def test_numbers_align_right_and_people_are_mentioned_in_tables() -> None:
    rows = ((words("{who}", who=Person("U0ANA")), "3"),)
    _, blocks = sent(Card("x", elements=(Table(("Who", "VMs"), rows, frozenset({1})),)))
    (table,) = of_type(blocks, "table")
    assert [column["align"] for column in table["column_settings"]] == ["left", "right"]
    assert table["rows"][1][0]["elements"][0]["elements"] == [{"type": "user", "user_id": "U0ANA"}]


def test_too_much_text_is_cut_but_buttons_stay() -> None:
    parts = tuple(Section(f"{index} " + "x" * 2000) for index in range(9))
    _, blocks = sent(Card("x", "Title", (*parts, Buttons((Button("Approve", "approve", "op-1"),)))))
    assert judge_blocks(blocks, Place()) == GOOD
    assert blocks[0]["type"] == "header"
    assert blocks[-1]["elements"][0]["action_id"] == "approve"
    assert blocks[-2]["elements"][0]["text"] == LEFT_OUT
    assert 4 <= len(of_type(blocks, "section")) < 9


def test_too_many_blocks_are_cut_but_buttons_stay() -> None:
    parts = tuple(Section(f"line {index}") for index in range(70))
    _, blocks = sent(Card("x", elements=(*parts, Buttons((Button("Approve", "approve", "op-1"),)))))
    assert len(blocks) == limits.MESSAGE_BLOCKS
    assert blocks[-1]["type"] == "actions"
    assert blocks[0]["text"]["text"] == "line 0"


def test_blocks_that_cannot_be_mended_become_text() -> None:
    shown = fit(
        "short",
        [{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}],
        "the whole story",
    )
    assert shown.blocks == []
    assert shown.text == "the whole story"
    assert shown.faults == ("blocks[0] header: text of 151 characters",)


@pytest.mark.parametrize(
    ("block", "fault"),
    [
        ({"type": "video"}, "does not send"),
        ({"type": "section"}, "neither"),
        ({"type": "section", "fields": [{"text": "x"}] * 11}, "11 fields"),
        ({"type": "section", "text": {"text": ""}}, "text of 0"),
        ({"type": "section", "text": {"text": "x" * 3001}}, "text of 3001"),
        ({"type": "context", "elements": []}, "0 elements"),
        (
            {"type": "actions", "elements": [{"text": {"text": "x"}, "action_id": "a"}] * 2},
            "action_id twice",
        ),
        (
            {"type": "actions", "elements": [{"text": {"text": "x" * 76}, "action_id": "a"}]},
            "button text of 76",
        ),
        (
            {
                "type": "actions",
                "elements": [{"text": {"text": "x"}, "action_id": "a", "value": "x" * 2001}],
            },
            "value of 2001",
        ),
        ({"type": "table", "rows": [[{"type": "raw_text", "text": ""}]]}, "cell of 0"),
        ({"type": "plan", "tasks": [{"task_id": "1"}, {"task_id": "1"}]}, "task_id twice"),
        ({"type": "image", "alt_text": ""}, "alt_text of 0"),
        ({"type": "divider", "block_id": "x" * 256}, "block_id of 256"),
    ],
)
def test_the_choke_point_sees(block: Json, fault: str) -> None:
    assert [fault in complaint for complaint in complaints([block])] == [True]


def test_the_choke_point_counts() -> None:
    assert list(
        complaints([{"type": "divider", "block_id": "a"}, {"type": "divider", "block_id": "a"}])
    ) == ["a block_id twice"]
    assert "51 blocks" in list(complaints([{"type": "divider"}] * 51))


def test_twin_buttons_are_told_apart() -> None:
    _, blocks = sent(
        Card("x", elements=(Buttons((Button("A", "show", "1"), Button("B", "show", "2"))),))
    )
    assert [each["action_id"] for each in blocks[0]["elements"]] == ["show", "show#2"]


def test_a_button_whose_data_does_not_fit_is_left_out() -> None:
    _, blocks = sent(
        Card("x", elements=(Buttons((Button("A", "show", "x" * 2001), Button("B", "show", "2"))),))
    )
    assert [each["text"]["text"] for each in blocks[0]["elements"]] == ["B"]


def test_steps_are_a_plan() -> None:
    items = (
        (Mark.DONE, "pause"),
        (Mark.DOING, words("move `{vm}`", vm="web-1")),
        (Mark.TODO, "x"),
        (Mark.FAILED, "y"),
    )
    _, blocks = sent(Card("x", elements=(Checklist("2 of 4", items),)))
    (plan,) = of_type(blocks, "plan")
    assert [(task["title"], task["status"]) for task in plan["tasks"]] == [
        ("pause", "complete"),
        ("move web-1", "in_progress"),
        ("x", "pending"),
        ("y", "error"),
    ]


def test_of_many_steps_those_under_way_are_shown() -> None:
    items = tuple(
        (Mark.DONE if index < 70 else Mark.TODO, f"step {index + 1}") for index in range(90)
    )
    _, blocks = sent(Card("x", elements=(Checklist("70 of 90", items),)))
    (plan,) = of_type(blocks, "plan")
    assert len(plan["tasks"]) == 50
    assert plan["title"] == "70 of 90 · 41–90 / 90"
    assert "step 71" in [task["title"] for task in plan["tasks"]]


@pytest.mark.parametrize(
    ("fraction", "bar"),
    [
        (0.34, "▰▰▰▱▱▱▱▱▱▱ 34%"),
        (0, "▱▱▱▱▱▱▱▱▱▱ 0%"),
        (1.7, "▰▰▰▰▰▰▰▰▰▰ 100%"),
        (float("nan"), "▱▱▱▱▱▱▱▱▱▱ 0%"),
    ],
)
def test_a_bar(fraction: float, bar: str) -> None:
    _, blocks = sent(Card("x", elements=(Bar(fraction, "copying"),)))
    assert blocks[0]["text"]["text"] == f"{bar}  copying"


CHART = Chart(
    "Memory",
    "bar",
    ("host-a", "host-b"),
    (("before", (80.0, 20.0)), ("after", (50.0, 50.0))),
    "%",
    "spoken",
)


def test_a_chart_is_slacks_own_with_words_beside_it() -> None:
    _, blocks = sent(Card("x", elements=(CHART,)))
    assert blocks[0]["type"] == "data_visualization"
    assert blocks[0]["chart"]["axis_config"] == {"categories": ["host-a", "host-b"], "y_label": "%"}
    assert blocks[1]["elements"][0]["text"] == "spoken"


def test_a_third_chart_is_told() -> None:
    _, blocks = sent(Card("x", elements=(CHART, CHART, CHART)))
    assert len(of_type(blocks, "data_visualization")) == 2
    assert "spoken" in of_type(blocks, "section")[0]["text"]["text"]


def test_a_chart_keeps_its_newest_point_and_drops_what_is_no_number() -> None:
    values = tuple(float(index) for index in range(50))
    chart = Chart(
        "t",
        "line",
        tuple(f"{index}" for index in range(50)),
        (("cpu", (*values[:49], 49.0)),),
        "%",
        "s",
    )
    small = charts.drawable(chart)
    assert small is not None
    assert len(small.labels) <= 20
    assert small.labels[-1] == "49"
    assert charts.drawable(Chart("t", "bar", ("a",), (("x", (float("nan"),)),), "", "s")) is None


def test_long_labels_stay_distinct() -> None:
    names = charts.distinct(["host-in-the-third-rack-1", "host-in-the-third-rack-2", "", ""])
    assert len(set(names)) == 4
    assert max(map(len, names)) <= 20


@pytest.mark.parametrize("kind", ["bar", "line"])
def test_a_chart_can_be_drawn(kind: str) -> None:
    labels = tuple(f"$host-{index}$" for index in range(9))
    picture = charts.draw(
        Chart(
            "a $x$", kind, labels, (("s", tuple(map(float, range(9)))), ("t", (1.0,) * 9)), "%", "s"
        )
    )
    assert picture.png.startswith(b"\x89PNG")
    assert picture.alt == "s"


def test_a_picture_is_shown_once_it_is_uploaded_and_told_until_then() -> None:
    picture = Picture(b"png", "three hosts", "Load")
    card = Card("x", elements=(picture,))
    assert render(card, {picture: "F0123456789"})[1][0]["slack_file"] == {"id": "F0123456789"}
    assert "three hosts" in json.dumps(render(card)[1])


def test_block_ids_are_new_each_time() -> None:
    card = Card("x", elements=(Section("y"),))
    assert render(card)[1][0]["block_id"] != render(card)[1][0]["block_id"]


def test_the_text_alone_tells_everything() -> None:
    card = Card(
        "op-1",
        "Migrate",
        (
            Section("why"),
            Table(("VM",), (("web-1",),)),
            Checklist("s", ((Mark.DONE, "one"),)),
            CHART,
        ),
    )
    assert as_text(card).split("\n") == [
        "op-1", "*Migrate*", "why", "```", "VM", "web-1", "```", "s", "✓ one", "*Memory*", "spoken",
    ]  # fmt: skip


def test_a_listing_is_shown_line_by_line_and_formats_nothing_however_long() -> None:
    lines = [f"{number} *not bold* `not code` <!channel> {'x' * 100}" for number in range(60)]
    _, blocks = sent(Card("log", elements=(Listing("\n".join(lines)),)))
    texts = [block["text"]["text"] for block in blocks]
    assert all(
        text.startswith("```\n") and text.endswith("\n```") and text.count("```") == 2
        for text in texts
    )
    shown = [line for text in texts for line in text.splitlines() if not line.startswith("```")]
    assert len(shown) == 60
    assert shown[-1].startswith("59 *not bold* `not code` &lt;!channel&gt;")


@given(st.text(alphabet=st.sampled_from("`ab \n*"), max_size=40))
def test_three_backticks_end_no_listing(line: str) -> None:
    _, blocks = sent(Card("log", elements=(Listing(f"{line}\nlast"),)))
    (text,) = [block["text"]["text"] for block in blocks]
    assert text.removeprefix("```\n").removesuffix("\n```").count("```") == 0


BACKTICK = "a `b` *c* :fire: 52:54:00:ea:41:4e"


def test_what_holds_a_backtick_is_plain_text_that_copies_exactly() -> None:
    card = Card(
        "x",
        BACKTICK,
        (
            Section(words("*{vm}* ended", vm=BACKTICK)),
            Section(BACKTICK, Button("Show", "run", "x")),
            Fields((("Reason", BACKTICK),)),
            Context((BACKTICK,)),
        ),
    )
    _, blocks = sent(card)
    header, ended, beside, fields, context = blocks
    shown = [
        header["text"],
        ended["text"],
        beside["text"],
        fields["fields"][0],
        context["elements"][0],
    ]
    assert {(each["type"], each["emoji"]) for each in shown} == {("plain_text", False)}
    assert [each["text"] for each in shown] == [
        BACKTICK, f"{BACKTICK} ended", BACKTICK, f"Reason\n{BACKTICK}", BACKTICK,
    ]  # fmt: skip


def test_a_time_in_a_table_is_shown_in_the_reader_s_own_zone() -> None:
    _, blocks = sent(Card("t", elements=(Table(("Since",), ((words("{at}", at=AT),),)),)))
    (table,) = [each for each in blocks if each["type"] == "table"]
    cell = table["rows"][1][0]["elements"][0]["elements"][0]
    assert cell == {
        "type": "date",
        "timestamp": int(AT.timestamp()),
        "format": "{date_short_pretty} {time}",
        "fallback": "2026-11-27 03:30 UTC",
    }


def test_a_menu_with_a_hint_is_a_list_of_up_to_a_hundred() -> None:
    choices = tuple(Button(f"host-{n}", "row", f"show host host-{n}") for n in range(120))
    _, blocks = sent(Card("t", elements=(Section("One host:", Menu(choices, "Choose a host…")),)))
    element = blocks[0]["accessory"]
    assert (element["type"], element["action_id"]) == ("static_select", "row")
    assert len(element["options"]) == 100
    assert element["placeholder"]["text"] == "Choose a host…"
    _, blocks = sent(Card("t", elements=(Section("One host:", Menu(choices)),)))
    assert blocks[0]["accessory"]["type"] == "overflow"
    assert len(blocks[0]["accessory"]["options"]) == 5
