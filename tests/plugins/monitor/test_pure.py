"""The pure parts: hysteresis, trends, charts' points; as laws where there are laws."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.metrics import Bucket, HostSample, Sweep, VmSample
from plugins.monitor.rates import By, cpu_share, memory_share, ranking, waiting
from plugins.monitor.rollups import POINTS, grain
from plugins.monitor.rollups import condense as points
from plugins.monitor.trends import trend

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


def test_a_straight_line_reaches_its_limit_when_it_should() -> None:
    days = [float(day) for day in range(-20, 1)]
    line = trend(days, [100.0 + 2 * day for day in days], 120.0)
    assert line is not None
    assert line.per_day == pytest.approx(2)
    assert [line.days, line.earliest, line.latest] == pytest.approx([10, 10, 10])


def test_a_noisy_line_says_how_unsure_it_is() -> None:
    days = [float(day) for day in range(-20, 1)]
    line = trend(days, [100.0 + day + 8 * (-1) ** int(day) for day in days], 140.0)
    assert line is not None
    assert line.days is not None
    assert line.earliest is not None
    assert line.latest is not None
    assert line.earliest < line.days < line.latest


def test_what_shrinks_or_is_too_short_runs_out_never_or_nobody_knows() -> None:
    days = [float(day) for day in range(-9, 1)]
    line = trend(days, [100.0 - day for day in days], 200.0)
    assert line is not None
    assert line.days is None
    assert trend(days[:3], [1.0, 2.0, 3.0], 10.0) is None
    assert trend([0.0] * 10, [1.0] * 10, 10.0) is None
    hours = [each / 24 for each in range(-40, 1)]
    assert trend(hours, [1.0] * len(hours), 10.0) is None, (
        "less than two days tell nothing of weeks"
    )
    passed = trend(days, [300.0 + day for day in days], 200.0)
    assert passed is not None
    assert passed.days == 0


@given(st.lists(st.floats(0, 100), min_size=1, max_size=500))
def test_a_chart_has_few_points_and_loses_no_peak(values: list[float]) -> None:
    buckets = [
        Bucket(NOW + n * timedelta(minutes=5), 300, v, v, v, 5) for n, v in enumerate(values)
    ]
    found = points(buckets)
    assert 1 <= len(found) <= POINTS
    assert max(point.peak for point in found) == max(values)
    assert found[0].at == NOW
    assert min(values) - 1e-9 <= found[-1].mean <= max(values) + 1e-9


@given(st.integers(1, 60), st.sampled_from([60, 300, 3600, 86400]))
def test_every_point_of_a_chart_has_a_name_of_its_own(hours: int, seconds: int) -> None:
    count = max(1, hours * 21600 // seconds)  # up to fifteen days
    buckets = [
        Bucket(NOW + timedelta(seconds=seconds * n), seconds, 1.0, 1.0, 1.0, 1)
        for n in range(count)
    ]
    most, form = grain(buckets)
    labels = [point.at.strftime(form) for point in points(buckets, most)]
    assert len(set(labels)) == len(labels) <= POINTS


def test_the_hungriest_come_first_and_the_unmeasured_last() -> None:
    vms = (
        VmSample("1", "calm", "a", "running", cpu=0.1, wait=0.5, memory=2),
        VmSample("2", "new", "a", "running"),
        VmSample(
            "3", "busy", "b", "running", cpu=2.0, wait=0.0, memory=9, used=1, read=5.0, written=1.0
        ),
        VmSample("4", "off", "b", "shut off", cpu=9.0),
    )
    sweep = Sweep(NOW, vms=vms)
    assert [vm.name for vm in ranking(sweep, By.CPU)] == ["busy", "calm", "new"]
    assert [vm.name for vm in ranking(sweep, By.WAIT)] == ["calm", "busy", "new"]
    assert [vm.name for vm in ranking(sweep, By.MEM)] == ["calm", "busy", "new"]
    assert [vm.name for vm in ranking(sweep, By.DISK, "b")] == ["busy"]
    assert waiting(sweep.vms) == 0.5


def test_shares_are_unknown_where_nothing_was_measured() -> None:
    assert cpu_share(HostSample("a", NOW)) is None
    assert memory_share(HostSample("a", NOW)) is None
    assert cpu_share(HostSample("a", NOW, cpus=4, cpu=1.0)) == 0.25
