"""Messages as data: what they say in English, that they compare and hash, and that they come back from their JSON."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain import codec
from bot.domain.codec import Codec, later
from bot.domain.message import (
    Code,
    Duration,
    Join,
    Message,
    Names,
    Number,
    Percent,
    Person,
    Rate,
    Size,
    Value,
    When,
    Words,
    join,
    nwords,
    words,
)
from bot.domain.plan import Plan, Reason, Risk, digest_of

AT = datetime(2026, 11, 29, 15, 0, tzinfo=UTC)
finite = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(max_size=12)
values = st.recursive(
    texts
    | st.integers(-(10**9), 10**9)
    | finite
    | st.builds(Person, texts, texts)
    | st.builds(Size, st.integers(0, 1 << 50))
    | st.builds(Rate, finite)
    | st.builds(Duration, finite)
    | st.builds(When, st.datetimes(timezones=st.just(UTC)))
    | st.builds(Percent, finite, st.integers(0, 3))
    | st.builds(Number, finite, st.integers(0, 3))
    | st.builds(Code, texts)
    | st.builds(
        Names, st.lists(texts, max_size=3).map(tuple), st.sampled_from(Join), st.integers(0, 3)
    ),
    lambda inner: st.builds(
        Words, texts, st.dictionaries(st.sampled_from(["n", "vm", "a_b"]), inner), texts
    ),
    max_leaves=5,
)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            words("*{vm}* is {state} on `{host}`", vm="web_1", state="up", host="host-a"),
            "web_1 is up on `host-a`",
        ),
        (words("{n} left", n=3), "3 left"),
        (words("needs {size}", size=Size(1536)), "needs 1.5 KiB"),
        (words("at {rate}", rate=Rate(1 << 20)), "at 1 MiB/s"),
        (words("in {t}", t=timedelta(seconds=200)), "in 3 min 20 s"),
        (words("at {at}", at=AT), "at 2026-11-29 15:00 UTC"),
        (
            words("at {at}", at=AT.astimezone(timezone(timedelta(hours=3)))),
            "at 2026-11-29 15:00 UTC",
        ),
        (words("{share} busy", share=Percent(0.125, 1)), "12.5% busy"),
        (words("score {score}", score=Number(0.0284, 3)), "score 0.028"),
        (words("Type {line}.", line=Code("host off")), "Type `host off`."),
        (words("Type `{line}`.", line=Code("host off")), "Type `host off`."),
        (words("of {who}", who=Person("U1", "Ana")), "of Ana"),
        (words("{names}", names=["a", "b", "c"]), "a, b, c"),
        (words("{names}", names=Names(("a", "b", "c"), Join.OR)), "a, b or c"),
        (words("{names}", names=Names(("a", "b", "c"), most=2)), "a, b and 1 more"),
        (words("{why} Then wait.", why=words("{vm} is off.", vm="x")), "x is off. Then wait."),
        (words("{unknown} {a_b} a_b _so_", a_b=1), "{unknown} 1 a_b so"),
        (nwords("{n} VM leaves", "{n} VMs leave", n=1), "1 VM leaves"),
        (nwords("{n} VM leaves", "{n} VMs leave", n=0), "0 VMs leave"),
    ],
)
def test_a_message_is_an_english_sentence_where_only_text_is_known(
    message: Words, said: str
) -> None:
    assert str(message) == said
    assert f"{message}" == said


def test_a_value_that_looks_like_a_hole_or_a_mark_is_shown_as_it_is() -> None:
    assert str(words("{vm} on *{host}*", vm="{host}", host="*_`")) == "{host} on *_`"


@given(values)
def test_a_message_comes_back_from_its_json_equal_and_hashes_alike(value: Value) -> None:
    message = words("{a}", a=value)
    read = Codec(()).loads(codec.text(message))
    assert read == message
    assert hash(read) == hash(message)
    assert str(read) == str(message)


def test_messages_differ_by_template_or_by_argument() -> None:
    one = words("{vm} is off", vm="a")
    assert (
        len(
            {
                one,
                words("{vm} is off", vm="a"),
                words("{vm} is off", vm="b"),
                words("{vm} was off", vm="a"),
            }
        )
        == 3
    )


def test_messages_are_joined_without_the_empty_ones_and_text_stays_text() -> None:
    assert join(["a", "", "b"]) == "a b"
    assert join([]) == ""
    assert str(join([words("{vm} is off.", vm="x"), "Start it."])) == "x is off. Start it."
    assert join([words("x"), ""]) == words("x")


def plan(text: Message) -> Plan:
    return Plan(words("Stop {vm}", vm="a"), (), Risk.LOW, reasons=(Reason("off", text),))


def test_the_digest_covers_codes_and_arguments_and_not_wording() -> None:
    signed = plan(words("{vm} is off", vm="a"))
    assert plan(words("{vm} is powered off", vm="a")).digest == signed.digest
    assert plan(words("{vm} is off", vm="b")).digest != signed.digest
    other = replace(signed, reasons=(replace(signed.reasons[0], code="on"),))
    assert other.digest != signed.digest
    assert digest_of(codec.data(signed)) == signed.digest


def test_the_digest_of_a_plan_in_plain_text_covers_the_text() -> None:
    """As version 0.1 had it: its open proposals are voted on by that digest."""
    old = Plan("Stop a", (), Risk.LOW, reasons=(Reason("off", "a is off"),))
    assert old.digest == "8f99872bd3e31503"
    assert replace(old, title="Stop b").digest != old.digest


@dataclass(frozen=True)
class Grown:
    name: str
    since: int = later(0)


def test_a_field_that_a_stored_type_got_later_changes_no_json_while_it_has_its_default() -> None:
    assert codec.text(Grown("a")) == '{"is":"Grown","name":"a"}'
    assert codec.text(Grown("a", 2)) == '{"is":"Grown","name":"a","since":2}'
    assert Codec((Grown,)).loads('{"is":"Grown","name":"a"}') == Grown("a")
