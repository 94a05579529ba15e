"""When a migration counts as stuck, and what each policy then does."""

from dataclasses import replace

import pytest

from bot.domain.cluster import Job
from bot.domain.steps import MigrateVm, MigrationPolicy
from plugins.migrate.escalation import Convergence, Measure, next_measure
from plugins.migrate.forecast import Patience
from plugins.migrate.settings import MigrateSettings

SETTINGS = MigrateSettings(downtime_steps_ms=(500, 1000), rung_seconds=10, paused_seconds=30)
WAITS = Patience(limit=100, stall=20)


def step(policy: MigrationPolicy) -> MigrateVm:
    return MigrateVm("u-1", "web-1", "a", "b", 1, policy)


def paced(*looks: tuple[int, int]) -> Convergence:
    """A convergence after looks of (pass, remaining), a second apart, the first at 0."""
    convergence = Convergence()
    for second, (iteration, remaining) in enumerate(looks):
        convergence = convergence.after(
            Job("copying", total=100, remaining=remaining, iteration=iteration), float(second)
        )
    return convergence


def test_copying_on_is_gain() -> None:
    assert paced((1, 100), (1, 80), (1, 60)).gained_at == 2


def test_standing_still_is_none() -> None:
    assert paced((1, 100), (1, 80), (1, 80), (1, 80)).gained_at == 1


def test_smaller_passes_are_gain() -> None:
    assert paced((1, 100), (1, 1), (2, 50), (2, 1), (3, 25)).gained_at == 4


def test_passes_that_do_not_become_smaller_are_none_though_little_remains_at_the_end_of_each() -> (
    None
):
    assert paced((1, 100), (1, 1), (2, 100), (2, 50), (2, 1), (3, 100), (3, 1)).gained_at == 1


def test_stalled_after_its_time_only() -> None:
    convergence = replace(Convergence(), gained_at=5)
    assert not convergence.is_stalled(WAITS, 25)
    assert convergence.is_stalled(WAITS, 25.1)


@pytest.mark.parametrize("policy", MigrationPolicy)
def test_nothing_is_done_while_it_gains(policy: MigrationPolicy) -> None:
    assert (
        next_measure(SETTINGS, step(policy), replace(Convergence(), gained_at=49), WAITS, 50)
        is Measure.WAIT
    )


@pytest.mark.parametrize(("policy", "measure"), [
    (MigrationPolicy.SAFE, Measure.GIVE_UP), (MigrationPolicy.FAST, Measure.RAISE_DOWNTIME), (MigrationPolicy.POSTCOPY, Measure.POSTCOPY),
])  # fmt: skip
@pytest.mark.parametrize(("gained_at", "now"), [(0, 21), (100, 101)])
def test_the_first_means_when_stalled_or_late(
    policy: MigrationPolicy, measure: Measure, gained_at: float, now: float
) -> None:
    assert (
        next_measure(
            SETTINGS, step(policy), replace(Convergence(), gained_at=gained_at), WAITS, now
        )
        is measure
    )


def test_fast_takes_one_measure_at_a_time() -> None:
    convergence, now = Convergence(), 0.0
    taken: list[tuple[float, Measure]] = []
    while not taken or taken[-1][1] is not Measure.GIVE_UP:
        now += 1
        measure = next_measure(SETTINGS, step(MigrationPolicy.FAST), convergence, WAITS, now)
        if measure is Measure.RAISE_DOWNTIME:
            convergence = replace(convergence, raised=convergence.raised + 1, acted_at=now)
        elif measure is Measure.PAUSE:
            convergence = replace(convergence, paused=True, acted_at=now)
        if measure is not Measure.WAIT:
            taken.append((now, measure))
    assert taken == [
        (21, Measure.RAISE_DOWNTIME),
        (32, Measure.RAISE_DOWNTIME),
        (43, Measure.PAUSE),
        (74, Measure.GIVE_UP),
    ]


def test_after_the_switch_nothing_is_done_any_more() -> None:
    assert (
        next_measure(
            SETTINGS,
            step(MigrationPolicy.POSTCOPY),
            replace(Convergence(), switched=True),
            WAITS,
            1e6,
        )
        is Measure.WAIT
    )
