"""The clock that a test turns."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from bot.testing import TickingClock


def test_sleeping_moves_it_on_and_is_remembered() -> None:
    clock = TickingClock(datetime(2026, 3, 1, tzinfo=UTC))
    clock.sleep(1.5)
    clock.sleep(2)
    assert clock.now() == datetime(2026, 3, 1, 0, 0, 3, 500_000, tzinfo=UTC)
    assert clock.slept == [1.5, 2]


def test_it_can_be_turned_both_ways() -> None:
    clock = TickingClock(datetime(2026, 3, 1, tzinfo=UTC))
    clock.turn(3600)
    clock.turn(-7200)
    assert clock.now() == datetime(2026, 2, 28, 23, tzinfo=UTC)
    assert clock.slept == []


def test_it_tells_utc_whatever_it_was_given() -> None:
    start = datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    assert TickingClock(start).now() == datetime(2026, 3, 1, 10, tzinfo=UTC)
    assert TickingClock(start).now().tzinfo is UTC


def test_a_start_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        TickingClock(datetime(2026, 3, 1))  # noqa: DTZ001 - that is the mistake
