"""Threshold, hold and hysteresis, as laws; and the alerts that come of looking again and again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from bot.alert_rules import (
    Condition,
    ConditionState,
    Limits,
    evaluate,
    next_state,
    state_in,
    stored_state,
    worst,
)
from bot.domain.card import Card
from bot.domain.cluster import Snapshot
from bot.domain.metrics import Incident
from bot.plugin_api import Alert, History, Looked, Measured, WatchView

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
LIMITS = Limits(limit=0.9, clear=0.8, hold=60, calm=30)


def after(values: list[tuple[float, float | None]], limits: Limits = LIMITS) -> list[bool]:
    """Whether it is wrong after each (seconds, value)."""
    standing, seen = ConditionState(), []
    for seconds, value in values:
        standing = next_state(limits, standing, value, NOW + timedelta(seconds=seconds))
        seen.append(standing.wrong)
    return seen


def test_wrong_only_after_it_held_and_well_only_after_it_was_calm() -> None:
    assert after([(0, 0.95), (30, 0.95), (60, 0.95), (61, 0.7), (80, 0.7), (91, 0.7)]) == [
        False, False, True, True, True, False,
    ]  # fmt: skip


def test_between_the_two_limits_nothing_turns() -> None:
    assert after([(0, 0.95), (60, 0.95), (100, 0.85), (200, 0.85), (300, 0.81)]) == [
        False,
        True,
        True,
        True,
        True,
    ]
    assert after([(0, 0.85), (100, 0.89), (200, 0.85)]) == [False, False, False]


def test_a_dip_begins_the_patience_anew() -> None:
    assert after([(0, 0.95), (50, 0.5), (60, 0.95), (110, 0.95), (120, 0.95)]) == [False] * 4 + [
        True
    ]


def test_nobody_knows_changes_nothing() -> None:
    assert after([(0, 0.95), (60, 0.95), (61, None), (600, None)]) == [False, True, True, True]


@given(st.lists(st.floats(0, 1), max_size=40))
def test_it_never_turns_wrong_below_the_limit_nor_well_above_the_clear(values: list[float]) -> None:
    standing = ConditionState()
    for number, value in enumerate(values):
        before = standing
        standing = next_state(LIMITS, before, value, NOW + timedelta(seconds=20 * number))
        if standing.wrong and not before.wrong:
            assert value >= LIMITS.limit
        if before.wrong and not standing.wrong:
            assert value <= LIMITS.clear


@given(
    st.booleans(),
    st.none() | st.datetimes(min_value=datetime(2026, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_what_is_remembered_is_what_was(wrong: bool, turning: datetime | None) -> None:  # noqa: FBT001
    standing = ConditionState(wrong, turning)
    kept = stored_state(standing)
    assert state_in({"key": list(kept)} if kept else {}, "key") == standing


@given(st.floats(0, 1), st.floats(0, 1))
def test_of_several_measures_the_worst_counts(one: float, other: float) -> None:
    found = worst((one, 0.9, 0.8), (None, 0.5, 0.1), (other, 0.5, 0.1))
    assert found is not None
    assert (found >= 1) == (one >= 0.9 or other >= 0.5)
    assert (found <= 0) == (one <= 0.8 and other <= 0.1)


def test_of_measures_that_nobody_knows_nothing_is_known() -> None:
    assert worst((None, 0.9, 0.8)) is None
    assert worst((0.5, 0.5, 0.5)) == 1
    assert worst((0.4, 0.5, 0.5)) == 0


def once(value: float | None, before: Looked | None = None, *incidents: Incident) -> Looked:
    """One look at one concern."""
    history = cast("History", None)  # nothing here reads it
    memory = before.memory if before else {}
    view = WatchView(Snapshot(NOW, (), ()), (), history, Measured(incidents=incidents), memory, NOW)
    return evaluate([Condition("disk", value, Card("full"), Card("room"))], view, blind=False)


def told(found: Looked) -> list[tuple[str, bool]]:
    return [(str(each.card.text), each.over) for each in found.noticed if isinstance(each, Alert)]


def test_it_is_told_while_it_is_wrong_and_once_when_it_is_over() -> None:
    wrong = once(1.0)
    assert told(wrong) == [("full", False)]
    unknown = once(None, wrong, Incident("disk", "full", NOW))
    assert told(unknown) == []
    assert unknown.memory == wrong.memory
    well = once(0.0, wrong)
    assert told(well) == [("room", True)]
    assert told(once(0.0, well)) == []
    assert told(once(0.0, well, Incident("disk", "full", NOW))) == [("room", True)]


def test_what_nothing_speaks_of_any_more_is_over_unless_not_all_was_seen() -> None:
    wrong = once(1.0)
    history = cast("History", None)
    view = WatchView(Snapshot(NOW, (), ()), (), history, Measured(), wrong.memory, NOW)
    assert evaluate([], view, blind=True) == Looked((), wrong.memory)
    gone = evaluate([], view, blind=False)
    assert [over for _, over in told(gone)] == [True]
    assert gone.memory == {}
