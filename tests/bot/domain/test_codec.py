"""Any domain value comes back from its JSON as it was, with the same JSON and so the same digest."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain import codec
from bot.domain.cluster import Scheduler
from bot.domain.codec import Codec, CodecError
from bot.domain.operation import (
    Approved,
    Ask,
    Asked,
    Began,
    Cancelled,
    Continued,
    Denied,
    Event,
    Expired,
    Failed,
    Finished,
    GainMeasured,
    Noted,
    Origin,
    Proposed,
    Replaced,
    Replanned,
    StepBegan,
    StepEnded,
    StepSkipped,
    VotedFor,
    WentStale,
    Withdrawn,
)
from bot.domain.plan import Blast, HostBar, Objection, Plan, Prediction, Reason, Risk, Spread
from bot.domain.policy import Ruling
from bot.domain.steps import (
    Carried,
    MigrateVm,
    MigrationPolicy,
    SetMaintenance,
    WaitForPerson,
)
from bot.ports import Request
from tests.operations import CODEC, Migrate, move, planned, proposal

words = st.text(max_size=12)
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**6), 10**6)
zones = st.just(UTC) | st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))
moments = st.datetimes(timezones=zones)
several = st.lists(words, max_size=3).map(tuple)
schedulers = st.builds(Scheduler, *[st.none() | st.integers(-1, 10**6)] * 5)
steps = st.builds(
    MigrateVm, uuid=words, name=words, source=words, target=words, memory=st.integers(0, 1 << 50),
    policy=st.sampled_from(MigrationPolicy), copy_storage=st.booleans(), bandwidth=st.integers(0, 10**5),
    carried=st.builds(Carried, scheduler=schedulers), reason=words,
) | st.builds(SetMaintenance, host=words, on=st.booleans(), reason=words) | st.builds(
    WaitForPerson, words, words, numbers, words
)  # fmt: skip
objections = st.lists(st.builds(Objection, words, words, words), max_size=2).map(tuple)
bars = st.builds(HostBar, words, numbers, numbers, st.none() | numbers, st.none() | numbers)
plans = st.builds(
    Plan, title=words, steps=st.lists(steps, max_size=3).map(tuple), risk=st.sampled_from(Risk),
    blast=st.builds(Blast, several, several, st.integers(0, 1 << 50), st.integers(0, 1 << 50)),
    prediction=st.builds(Prediction, st.none() | numbers, st.none() | numbers, st.none() | st.booleans(), words),
    reasons=st.lists(st.builds(Reason, words, words), max_size=2).map(tuple),
    bars=st.lists(bars, max_size=2).map(tuple), tags=several,
)  # fmt: skip
rulings = st.builds(
    Ruling, st.integers(0, 5), several, st.integers(0, 10**6), words, several, st.integers(0, 9999)
)
origins = st.builds(Origin, words, words, words, words, words)
facts = st.dictionaries(
    words, words | st.booleans() | st.integers(-(10**9), 10**9) | numbers, max_size=3
)
indexes = st.integers(0, 9)
spreads = st.builds(Spread, numbers, numbers, numbers)
events: st.SearchStrategy[Event] = st.one_of(
    st.builds(
        Proposed, at=moments, by=words, action=words, intent=st.builds(Migrate, words, words), plan=plans,
        ruling=rulings, origin=origins, expires_at=moments, replaces=words,
    ),
    *(st.builds(each, moments, words) for each in (Approved, Withdrawn, Expired, Began, Finished)),
    *(st.builds(each, moments, words, words) for each in (VotedFor, Denied, Noted, Cancelled)),
    st.builds(WentStale, moments, words, objections),
    st.builds(StepBegan, moments, words, indexes),
    st.builds(StepEnded, moments, words, indexes, facts, st.booleans()),
    st.builds(Asked, moments, words, st.sampled_from(Ask)),
    st.builds(Failed, moments, words, words, words, st.none() | indexes),
    st.builds(Began, moments, words, st.none() | spreads, st.none() | spreads),
    st.builds(Replaced, moments, words, words),
    st.builds(StepSkipped, moments, words, indexes, st.builds(Objection, words, words, words)),
    st.builds(Replanned, moments, words, st.lists(steps, max_size=2).map(tuple), words),
    st.builds(Continued, moments, words, indexes),
    st.builds(GainMeasured, moments, words, spreads, moments),
)  # fmt: skip


@given(events)
def test_any_event_comes_back_as_it_was_with_the_same_json(event: Event) -> None:
    stored = codec.text(event)
    read = CODEC.loads(stored)
    assert read == event
    assert type(read) is type(event)
    assert codec.text(read) == stored


@given(plans)
def test_a_plan_keeps_its_digest_through_the_database(plan: Plan) -> None:
    assert CODEC.loads(codec.text(plan)).digest == plan.digest


@given(plans, plans)
def test_two_plans_have_one_digest_only_when_their_json_is_equal(one: Plan, other: Plan) -> None:
    assert (one.digest == other.digest) == (codec.text(one) == codec.text(other))


@given(
    st.builds(
        Request, key=words, kind=words, by=words, at=moments, text=words,
        answers=st.lists(st.tuples(words, words), max_size=3).map(tuple),
    )
)  # fmt: skip
def test_any_request_comes_back_as_it_was(request: Request) -> None:
    assert Codec((Request,)).loads(codec.text(request)) == request


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Odd:
    """Every shape of hint the codec reads."""

    pair: tuple[Colour, datetime]
    many: tuple[tuple[str, int], ...] = ()
    some: frozenset[Colour] = frozenset()
    maybe: Colour | None = None
    inner: Odd | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    ratio: float = 0.0


odd = st.recursive(
    st.builds(
        Odd, pair=st.tuples(st.just(Colour.RED), moments), many=st.lists(st.tuples(words, indexes)).map(tuple),
        some=st.frozensets(st.just(Colour.RED)), maybe=st.none() | st.just(Colour.RED), facts=facts, ratio=numbers,
    ),
    lambda inner: st.builds(Odd, pair=st.tuples(st.just(Colour.RED), moments), inner=inner),
    max_leaves=3,
)  # fmt: skip


@given(odd)
def test_hints_of_every_shape_are_obeyed(value: Odd) -> None:
    read = Codec((Odd,)).loads(codec.text(value))
    assert read == value
    assert isinstance(read.pair[0], Colour)
    assert isinstance(read.many, tuple)
    assert all(isinstance(each, Colour) for each in read.some)


def test_the_json_is_canonical() -> None:
    assert codec.text(Noted(datetime(2026, 1, 5, tzinfo=UTC), "U1", "é")) == (
        '{"at":"2026-01-05T00:00:00+00:00","by":"U1","is":"Noted","text":"é"}'
    )


def test_facts_read_back_cannot_be_changed() -> None:
    event = StepEnded(datetime(2026, 1, 5, tzinfo=UTC), "drover", 0, {"seconds": 1.5})
    read = CODEC.loads(codec.text(event))
    with pytest.raises(TypeError):
        read.facts["seconds"] = 0


@pytest.mark.parametrize("value", [object(), {"a": {1, 2}}, [1, 2], b"bytes", 1j])
def test_what_the_domain_does_not_use_is_not_stored(value: object) -> None:
    with pytest.raises(CodecError, match="cannot be stored"):
        codec.text(value)


def test_a_changed_digest_is_a_changed_plan() -> None:
    assert planned().digest == planned(move()).digest
    assert planned().digest != planned(move("web-2")).digest


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        ("[]", "without a tag"),
        ('{"at": 1}', "without a tag"),
        ('{"is": "Unheard"}', "No loaded plugin declares “Unheard”"),
        ('{"is": "Migrate"}', "does not fit"),
        ('{"is": "Migrate", "vm": "a", "surprise": 1}', "does not fit"),
        (
            '{"is": "Asked", "at": "2026-01-05T00:00:00+00:00", "by": "U", "ask": "sing"}',
            "does not fit",
        ),
        ('{"is": "Began", "at": "yesterday", "by": "U"}', "does not fit"),
    ],
)
def test_what_does_not_fit_is_told(stored: str, said: str) -> None:
    with pytest.raises(CodecError, match=said):
        CODEC.loads(stored)


def test_a_proposal_carries_its_intent_whole() -> None:
    assert json.loads(codec.text(proposal()))["intent"] == {
        "is": "Migrate",
        "to": "host-b",
        "vm": "web-1",
    }


def test_events_stored_before_there_were_gains_limits_and_skips_read_as_they_did() -> None:
    """What an older bot wrote has fewer fields; what people signed has the same digest."""
    began = Began(datetime(2026, 1, 5, tzinfo=UTC), "drover")
    ruling = Ruling(1, ("approver",), 3600, "default")
    for value, newer in ((began, ("before", "foretold")), (ruling, ("automatic",))):
        stored = codec.data(value)
        for name in newer:
            del stored[name]
        assert CODEC.read(stored) == value
    kept = (each for each in dataclasses.fields(Plan) if not each.metadata.get(codec.LATER))
    assert {field.name for field in kept} == {
        "title", "steps", "risk", "blast", "prediction", "reasons", "warnings", "bars", "tags",
    }, "a field more would change the digest of every plan that is stored"  # fmt: skip
