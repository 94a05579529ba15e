"""The schedule: cron lines as people mean them, failures that stop nothing, slots equal on every replica."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from apscheduler import events
from structlog.testing import capture_logs

from bot.adapters.schedule import Schedule, _cron, _slot, _weekdays
from bot.domain.errors import SettingsError

SOON = timedelta(milliseconds=20)


@pytest.fixture
def schedule() -> Iterator[Schedule]:
    made = Schedule()
    yield made
    made.stop()


def happenings(happened: queue.Queue[str], count: int) -> list[str]:
    return [happened.get(timeout=60) for _ in range(count)]


def test_a_function_is_called_again_and_again(schedule: Schedule) -> None:
    calls: queue.Queue[str] = queue.Queue()
    schedule.every("tick", SOON, lambda: calls.put("tick"))
    schedule.start()
    assert happenings(calls, 3) == ["tick"] * 3


def test_after_stop_nothing_is_called(schedule: Schedule) -> None:
    calls: queue.Queue[str] = queue.Queue()
    schedule.every("tick", SOON, lambda: calls.put("tick"))
    schedule.start()
    happenings(calls, 1)
    schedule.stop()
    before = calls.qsize()
    assert not [thread for thread in threading.enumerate() if thread.name == "APScheduler"]
    assert calls.qsize() == before


def test_a_clock_that_was_set_back_delays_nothing_that_is_called_every_so_often() -> None:
    back = [0.0]
    schedule = Schedule(wall=lambda: time.time() - back[0])
    calls: queue.Queue[str] = queue.Queue()
    schedule.every("hourly", timedelta(hours=1), lambda: calls.put("hourly"))
    try:
        with capture_logs() as logs:
            schedule.start()
            back[0] = 3600.0
            assert happenings(calls, 1) == ["hourly"]
    finally:
        schedule.stop()
    assert [each["event"] for each in logs] == ["the clock jumped"]


def test_a_failing_function_is_logged_and_called_again_and_stops_no_other(
    schedule: Schedule,
) -> None:
    calls: queue.Queue[str] = queue.Queue()

    def failing() -> None:
        calls.put("failing")
        raise ValueError("no")

    with capture_logs() as logs:
        schedule.every("failing", SOON, failing)
        schedule.every("other", SOON, lambda: calls.put("other"))
        schedule.start()
        seen: list[str] = []
        while seen.count("failing") < 2 or seen.count("other") < 2:
            seen += happenings(calls, 1)
        schedule.stop()
    told = [entry for entry in logs if entry["event"] == "scheduled run failed"]
    assert told[0]["name"] == "failing"
    assert "ValueError('no')" in told[0]["error"]


def test_a_slow_function_is_not_joined_by_a_second_run(schedule: Schedule) -> None:
    left_out, go_on, running, most = threading.Event(), threading.Event(), [], []

    def slow() -> None:
        running.append(1)
        most.append(len(running))
        go_on.wait(20)
        running.pop()

    schedule._scheduler.add_listener(lambda event: left_out.set(), events.EVENT_JOB_MAX_INSTANCES)
    with capture_logs() as logs:
        schedule.every("slow", SOON, slow)
        schedule.start()
        assert left_out.wait(60)
        go_on.set()
        schedule.stop()
    assert max(most) == 1
    assert any("left out" in entry["event"] for entry in logs)


def test_a_missed_run_is_reported(schedule: Schedule) -> None:
    missed = threading.Event()
    schedule._scheduler.add_listener(lambda event: missed.set(), events.EVENT_JOB_MISSED)
    with capture_logs() as logs:
        long_ago = datetime.now(tz=UTC) - timedelta(hours=5)
        schedule._scheduler.add_job(lambda: None, "date", run_date=long_ago, id="digest")
        schedule.start()
        assert missed.wait(60)
        schedule.stop()
    assert [entry["name"] for entry in logs if entry["event"] == "scheduled run missed"] == [
        "digest"
    ]


def test_a_cron_line_calls_with_its_slot(schedule: Schedule) -> None:
    slots: queue.Queue[datetime] = queue.Queue()
    schedule.cron("digest", "* * * * *", "Europe/Lisbon", slots.put)
    # Bring the next run near without waiting for the minute: the slot must be the minute, not this
    # moment.
    schedule.start()
    schedule._scheduler.modify_job("digest", next_run_time=datetime.now(tz=UTC))
    before = datetime.now(tz=UTC)
    slot = slots.get(timeout=60)
    assert (slot.second, slot.microsecond) == (0, 0)
    assert before - timedelta(seconds=61) < slot <= datetime.now(tz=UTC) + timedelta(seconds=2)


@pytest.mark.parametrize(
    ("line", "zone", "now", "slot"),
    [
        ("0 9 * * *", "UTC", "2026-01-05T09:00:00.2+00:00", "2026-01-05T09:00:00+00:00"),
        ("0 9 * * *", "UTC", "2026-01-05T09:40:00+00:00", "2026-01-05T09:00:00+00:00"),
        ("0 9 * * *", "UTC", "2026-01-05T08:59:59.5+00:00", "2026-01-05T09:00:00+00:00"),
        ("*/5 * * * *", "UTC", "2026-01-05T09:14:59+00:00", "2026-01-05T09:15:00+00:00"),
        ("*/5 * * * *", "UTC", "2026-01-05T09:14:30+00:00", "2026-01-05T09:10:00+00:00"),
        (
            "0 9 * * mon-fri",
            "America/Sao_Paulo",
            "2026-01-05T12:00:01+00:00",
            "2026-01-05T12:00:00+00:00",
        ),
        ("30 8 * * *", "Europe/Lisbon", "2026-07-01T07:30:10+00:00", "2026-07-01T07:30:00+00:00"),
    ],
)
def test_the_slot_is_the_time_that_was_due(line: str, zone: str, now: str, slot: str) -> None:
    assert _slot(
        _cron("digest", line, zone), datetime.fromisoformat(now)
    ) == datetime.fromisoformat(slot)


@pytest.mark.parametrize(
    ("field", "days"),
    [
        ("*", "*"),
        ("1-5", "mon,tue,wed,thu,fri"),
        ("mon-fri", "mon,tue,wed,thu,fri"),
        ("0", "sun"),
        ("7", "sun"),
        ("0-2", "sun,mon,tue"),
        ("5-7", "fri,sat,sun"),
        ("sat-sun", "sat,sun"),
        ("SUN", "sun"),
        ("0-6/2", "sun,tue,thu,sat"),
        ("*/3", "sun,wed,sat"),
        ("mon,3,fri-sat", "mon,wed,fri,sat"),
    ],
)
def test_weekdays_are_counted_as_cron_counts_them(field: str, days: str) -> None:
    assert _weekdays(field) == days


def test_sunday_as_0_is_sunday() -> None:
    after = datetime(2026, 1, 5, tzinfo=ZoneInfo("UTC"))
    for weekday in ("0", "7", "sun"):
        due = _cron("digest", f"0 9 * * {weekday}", "UTC").get_next_fire_time(None, after)
        assert (due.isoweekday(), due.day) == (7, 11)


@pytest.mark.parametrize(
    ("line", "zone", "said"),
    [
        ("0 9 * *", "UTC", "not a cron line"),
        ("0 25 * * *", "UTC", "not a cron line"),
        ("0 9 * * fri-mon", "UTC", "runs backwards"),
        ("0 9 * * someday", "UTC", "not a weekday"),
        ("0 9 * * 8", "UTC", "not a weekday"),
        ("0 9 * * *", "Europe/Lisboa", "no time zone"),
    ],
)
def test_a_wrong_line_or_zone_is_refused_with_advice(
    schedule: Schedule, line: str, zone: str, said: str
) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        schedule.cron("digest", line, zone, lambda slot: None)
    assert caught.value.advice


def test_one_name_is_one_schedule(schedule: Schedule) -> None:
    schedule.every("tick", SOON, lambda: None)
    schedule.start()
    with pytest.raises(SettingsError, match="Two schedules"):
        schedule.every("tick", SOON, lambda: None)
    with pytest.raises(SettingsError, match="above zero"):
        schedule.every("tock", timedelta(0), lambda: None)
