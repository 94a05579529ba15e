"""When an operation may begin: what people write, windows, and nights in which clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from bot.domain import timing
from bot.domain.errors import UsageError
from bot.domain.policy import Window
from bot.domain.timing import Slot

LISBON = "Europe/Lisbon"
MONDAY = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)  # 9:00 in Lisbon too
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MOMENTS = st.integers(0, 2 * 365 * 1440).map(
    lambda minutes: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
)
ZONES = ("UTC", LISBON, "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kathmandu")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("22:00", "2026-01-05T22:00"),
        ("8:30", "2026-01-06T08:30"),  # over today: the next one
        ("today 10:00", "2026-01-05T10:00"),
        ("Tomorrow 6:30", "2026-01-06T06:30"),
        ("amanhã 6h30", "2026-01-06T06:30"),
        ("sat 22:00", "2026-01-10T22:00"),
        ("Saturday 10pm", "2026-01-10T22:00"),
        ("sat 10:15 pm", "2026-01-10T22:15"),
        ("sáb 22h", "2026-01-10T22:00"),
        ("mon 8:00", "2026-01-12T08:00"),
        ("mon 10:00", "2026-01-05T10:00"),
        ("2026-02-01 00:15", "2026-02-01T00:15"),
        ("2026-02-01T00:15", "2026-02-01T00:15"),
        ("2026-02-01T00:15+01:00", "2026-01-31T23:15"),
        ("2026-02-01 00:15Z", "2026-02-01T00:15"),
    ],
)
def test_a_time_is_the_one_that_people_mean(text: str, expected: str) -> None:
    found = timing.moment(text, MONDAY, LISBON)
    assert found == datetime.fromisoformat(f"{expected}+00:00")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("soon", "not-a-time"),
        ("22", "not-a-time"),
        ("25:00", "not-a-time"),
        ("13pm", "not-a-time"),
        ("someday 22:00", "not-a-time"),
        ("saturn 22:00", "not-a-time"),
        ("", "not-a-time"),
        ("today 8:00", "time-over"),
        ("2020-01-01 10:00", "time-over"),
        ("9999-12-31T23:59-12:00", "not-a-time"),
        ("0001-01-01T00:00+14:00", "not-a-time"),
        ("2027-01-01 10:00", "time-too-far"),
        ("2026-03-29 01:30", "time-skipped"),
    ],
)
def test_what_is_no_time_is_refused_by_its_kind(text: str, code: str) -> None:
    with pytest.raises(UsageError) as refused:
        timing.moment(text, MONDAY, LISBON)
    assert refused.value.code == code


def test_a_time_that_comes_twice_is_asked_for_with_its_offset() -> None:
    autumn = datetime(2026, 10, 20, 9, 0, tzinfo=UTC)
    with pytest.raises(UsageError) as refused:
        timing.moment("2026-10-25 01:30", autumn, LISBON)
    assert refused.value.code == "time-twice"
    assert "2026-10-25T01:30+01:00" in str(refused.value.advice)
    later = timing.moment("2026-10-25T01:30+00:00", autumn, LISBON)
    assert later == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


def test_a_time_on_the_site_s_clock_follows_its_summer_time() -> None:
    spring = datetime(2026, 3, 27, 9, 0, tzinfo=UTC)
    assert timing.moment("sat 22:00", spring, LISBON) == datetime(2026, 3, 28, 22, 0, tzinfo=UTC)
    assert timing.moment("sun 22:00", spring, LISBON) == datetime(2026, 3, 29, 21, 0, tzinfo=UTC)


def test_a_duration_is_counted_from_now() -> None:
    assert timing.later_by("1h30m", MONDAY) == MONDAY + timedelta(minutes=90)
    with pytest.raises(UsageError):
        timing.later_by("500d", MONDAY)
    with pytest.raises(UsageError):
        timing.later_by("99999999999w", MONDAY)


def test_the_window_that_is_open_now_is_used_until_it_ends() -> None:
    window = Window(("sat",), time(22), time(2), LISBON)
    saturday = datetime(2026, 1, 10, 23, 0, tzinfo=UTC)
    assert timing.next_slot(window, "night", saturday) == Slot(
        saturday, datetime(2026, 1, 11, 2, tzinfo=UTC), "night"
    )
    assert timing.next_slot(window, "night", MONDAY).start == datetime(2026, 1, 10, 22, tzinfo=UTC)


@given(
    st.frozensets(st.sampled_from(DAYS)),
    st.times(),
    st.times(),
    st.sampled_from(ZONES),
    MOMENTS,
)
def test_every_moment_of_a_slot_lies_in_its_window(
    days: frozenset[str], start: time, end: time, zone: str, at: datetime
) -> None:
    window = Window(
        tuple(days),
        start.replace(second=0, microsecond=0),
        end.replace(second=0, microsecond=0),
        zone,
    )
    slot = timing.next_slot(window, "w", at)
    assert at <= slot.start < slot.end
    minutes = int((slot.end - slot.start).total_seconds() // 60)
    step = max(1, minutes // 60)
    for minute in (*range(0, minutes, step), max(0, minutes - 1)):
        moment = slot.start + timedelta(minutes=minute)
        assert window.holds(moment), moment.astimezone(ZoneInfo(zone))


@given(
    MOMENTS,
    st.sampled_from(ZONES),
    st.sampled_from(DAYS),
    st.times(),
)
def test_a_time_of_the_week_is_that_day_and_hour_on_the_site_s_clock(
    at: datetime, zone: str, day: str, hour: time
) -> None:
    try:
        found = timing.moment(f"{day} {hour:%H:%M}", at, zone)
    except UsageError:  # in a night in which clocks change
        reject()
    local = found.astimezone(ZoneInfo(zone))
    assert at < found <= at + timedelta(days=7, hours=2)
    assert (DAYS[local.weekday()], f"{local:%H:%M}") == (day, f"{hour:%H:%M}")
