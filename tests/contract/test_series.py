"""One contract for every history and its notes: SQLite and a real PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from bot.adapters.sql.series import SqlSeries, percentile
from bot.domain.metrics import Metric, Point, host_entity, vm_entity
from bot.ports.series import Notes, Series

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
WEB, HOST = vm_entity("u-1"), host_entity("host-a")


def filled(series: SqlSeries, minutes: int, start: datetime = START) -> None:
    """CPU of the guest and of the host grows by a hundredth of a core each minute."""
    for number in range(minutes):
        load = {Metric.CPU: number / 100, Metric.MEMORY: 1024.0 * 1024 * (number + 1)}
        series.write(
            start + number * MINUTE, [Point(WEB, load), Point(HOST, {Metric.CPU: number / 50})]
        )


def test_it_is_the_port(series: SqlSeries) -> None:
    history: Series = series
    notes: Notes = series
    assert history.history([WEB], Metric.CPU, START, START + HOUR) == {}
    assert notes.note("nothing") == ("", 0)


def test_guests_are_rolled_up_by_five_minutes_and_hosts_by_one(series: SqlSeries) -> None:
    filled(series, 10)
    series.roll_up(START + 10 * MINUTE)
    found = series.history([WEB, HOST], Metric.CPU, START, START + 10 * MINUTE)
    first, second = found[WEB]
    assert (first.at, first.seconds, first.count) == (START, 300, 5)
    assert (first.mean, first.p95, first.peak) == (0.02, 0.04, 0.04)
    assert second.mean == 0.07
    assert [bucket.mean for bucket in found[HOST]] == [number / 50 for number in range(10)]


def test_memory_comes_back_in_bytes(series: SqlSeries) -> None:
    filled(series, 5)
    series.roll_up(START + 5 * MINUTE)
    (bucket,) = series.history([WEB], Metric.MEMORY, START, START + HOUR)[WEB]
    assert (bucket.mean, bucket.peak) == (3 * 1024 * 1024, 5 * 1024 * 1024)


def test_what_is_not_over_yet_is_not_rolled_up(series: SqlSeries) -> None:
    filled(series, 9)
    series.roll_up(START + 9 * MINUTE)
    assert len(series.history([WEB], Metric.CPU, START, START + HOUR)[WEB]) == 1


def test_rolling_up_twice_changes_nothing(series: SqlSeries) -> None:
    filled(series, 10)
    series.roll_up(START + 10 * MINUTE)
    before = series.history([WEB], Metric.CPU, START, START + HOUR)
    series.put_note("rolled:300", "0", series.note("rolled:300")[1])
    series.roll_up(START + 10 * MINUTE)
    assert series.history([WEB], Metric.CPU, START, START + HOUR) == before


def test_the_first_replica_to_write_a_moment_wins(series: SqlSeries) -> None:
    for load in (0.5, 9.0):
        series.write(START, [Point(WEB, {Metric.CPU: load})])
    series.roll_up(START + 5 * MINUTE)
    (bucket,) = series.history([WEB], Metric.CPU, START, START + HOUR)[WEB]
    assert (bucket.mean, bucket.count) == (0.5, 1)


def test_days_are_made_of_hours_weighted_by_what_they_hold(series: SqlSeries) -> None:
    midnight = START.replace(hour=0)
    for number in range(30):
        series.write(midnight + number * MINUTE, [Point(WEB, {Metric.CPU: 1.0})])
    for number in range(10):
        series.write(midnight + HOUR + number * MINUTE, [Point(WEB, {Metric.CPU: 5.0})])
    series.roll_up(midnight + DAY)
    day = series.history([WEB], Metric.CPU, midnight, midnight + 90 * DAY)[WEB][0]
    assert (day.seconds, day.count, day.mean, day.peak, day.p95) == (86400, 40, 2.0, 5.0, 5.0)


def test_a_summary_has_one_bucket_of_each_guest(series: SqlSeries) -> None:
    filled(series, 20)
    series.write(START, [Point(vm_entity("u-2"), {Metric.CPU: 7.0})])
    series.roll_up(START + 20 * MINUTE)
    found = series.summary("vm", Metric.CPU, START, START + HOUR)
    assert {entity: round(bucket.mean, 3) for entity, bucket in found.items()} == {
        WEB: 0.095,
        vm_entity("u-2"): 7.0,
    }
    assert found[WEB].peak == 0.19
    assert HOST not in found


def test_what_is_old_is_dropped_raw_values_first(series: SqlSeries) -> None:
    filled(series, 5)
    series.roll_up(START + 5 * MINUTE)
    series.forget(START + 3 * DAY)
    series.put_note("rolled:300", "", series.note("rolled:300")[1])
    assert len(series.history([WEB], Metric.CPU, START, START + HOUR)[WEB]) == 1
    series.forget(START + 366 * DAY)
    assert series.history([WEB], Metric.CPU, START, START + HOUR) == {}


def test_what_is_old_is_dropped_a_little_at_a_time(series: SqlSeries) -> None:
    """No transaction holds the lock for long: it drops the values of a few minutes."""
    filled(series, 30)
    dropped: list[int] = []
    sa.event.listen(
        series._engine,
        "after_cursor_execute",
        lambda _, cursor, statement, *__: (
            dropped.append(cursor.rowcount) if statement.startswith("DELETE FROM raw") else None
        ),
    )
    series.forget(START + 2 * DAY + 22 * MINUTE)
    assert dropped == [10, 10, 10, 10, 4]
    assert rows_of_raw(series) == 16


def rows_of_raw(series: SqlSeries) -> int:
    """How many raw values there are."""
    with series._engine.connect() as connection:
        return int(connection.execute(sa.text("SELECT count(*) FROM raw")).scalar() or 0)


def test_a_note_is_changed_only_by_who_saw_its_newest_version(series: SqlSeries) -> None:
    assert series.put_note("incident:a", "one", 0)
    assert not series.put_note("incident:a", "two", 0)
    text, version = series.note("incident:a")
    assert (text, version) == ("one", 1)
    assert series.put_note("incident:a", "two", version)
    assert not series.put_note("incident:a", "three", version)
    assert series.notes("incident:") == {"incident:a": "two"}
    assert series.put_note("incident:a", "", version + 1)
    assert series.notes("incident:") == {}


def test_several_notes_are_put_at_one_stroke_each_by_its_own_version(series: SqlSeries) -> None:
    assert series.put_notes({"incident:a": ("one", 0), "incident:b": ("one", 0)}) == {
        "incident:a",
        "incident:b",
    }
    stale, newest = ("two", 0), ("two", 1)
    assert series.put_notes({"incident:a": stale, "incident:b": newest, "incident:c": stale}) == {
        "incident:b",
        "incident:c",
    }
    assert series.versioned_notes("incident:") == {
        "incident:a": ("one", 1),
        "incident:b": ("two", 2),
        "incident:c": ("two", 1),
    }
    assert series.put_notes({"incident:a": ("", 1), "incident:b": ("", 1)}) == {"incident:a"}
    assert series.put_notes({}) == frozenset()
    assert set(series.notes("incident:")) == {"incident:b", "incident:c"}


def test_the_percentile_is_the_nearest_rank() -> None:
    assert percentile(range(1, 101)) == 95
    assert percentile([3.0]) == 3.0
    assert percentile([1, 2, 3, 4, 5]) == 5
