"""What the hosts' answers mean, row by row."""

import pytest

from bot.domain.cluster import Scheduler, Sighting, VmState
from bot.domain.steps import Carried, MigrateVm, MigrationPolicy
from plugins.migrate import outcome
from plugins.migrate.outcome import Place

STEP = MigrateVm("u-1", "web-1", "a", "b", 1)


def seen(text: str) -> tuple[Sighting, ...]:
    """``a running; b paused migration; c silent; d gone``."""
    words = [each.split(maxsplit=2) for each in text.split("; ")]
    return tuple(sighting(*each) for each in words)


def sighting(host: str, state: str, by: str = "") -> Sighting:
    states = {"running": VmState.RUNNING, "paused": VmState.PAUSED, "off": VmState.SHUT_OFF}
    return Sighting(host, reachable=state != "silent", state=states.get(state), paused_by=by)


@pytest.mark.parametrize(("hosts", "place"), [
    ("a running; b gone; c gone", Place.SOURCE),
    ("a paused user; b gone", Place.SOURCE),
    ("a running; b off", Place.SOURCE),
    ("a running; b gone; c silent", Place.SOURCE),
    ("a running; b paused migration", Place.CROSSING),
    ("a paused migration; b paused migration", Place.CROSSING),
    ("a paused migration; b running", Place.CROSSING),
    ("a paused postcopy; b running", Place.CROSSING),
    ("a off; b paused migration", Place.CROSSING),
    ("a gone; b running; c gone", Place.TARGET),
    ("a off; b running", Place.TARGET),
    ("a gone; b paused user", Place.TARGET),
    ("a gone; b paused migration", Place.TARGET),
    ("a off; b gone", Place.SOURCE_OFF),
    ("a gone; b off", Place.TARGET_OFF),
    ("a off; b off", Place.SOURCE_OFF),
    ("a paused post-copy failed; b running", Place.POSTCOPY_FAILED),
    ("a paused post-copy failed; b running post-copy failed", Place.POSTCOPY_FAILED),
    ("a paused post-copy failed; b paused post-copy failed", Place.POSTCOPY_FAILED),
    ("a paused postcopy_failed; b gone", Place.DEAD),
    ("a gone; b paused postcopy failed", Place.DEAD),
    ("a gone; b running postcopy failed", Place.DEAD),
    ("a off; b running postcopy failed", Place.DEAD),
    ("a off; b running postcopy failed; c running", Place.TWICE),
    ("a paused postcopy; b running postcopy incoming", Place.CROSSING),
    ("a off; b running postcopy incoming", Place.DEAD),
    ("a gone; b running postcopy incoming", Place.DEAD),
    ("a silent; b running postcopy incoming", Place.UNKNOWN),
    ("a off; b running postcopy incoming; c running", Place.TWICE),
    ("a running; b running", Place.TWICE),
    ("a running; b gone; c running", Place.TWICE),
    ("a running; b paused migration; c running", Place.TWICE),
    ("a gone; b running; c paused user", Place.TWICE),
    ("a gone; b gone; c running", Place.ELSEWHERE),
    ("a off; b gone; c running", Place.ELSEWHERE),
    ("a gone; b gone; c gone", Place.NOWHERE),
    ("a gone; b gone; c silent", Place.NOWHERE),
    ("a silent; b running", Place.UNKNOWN),
    ("a running; b silent", Place.UNKNOWN),
    ("a running; c gone", Place.UNKNOWN),
])  # fmt: skip
def test_place(hosts: str, place: Place) -> None:
    assert outcome.place(STEP, seen(hosts)) is place


def test_a_transient_vm_that_waits_alone_may_be_dead() -> None:
    transient = MigrateVm("u-1", "web-1", "a", "b", 1, carried=Carried(persistent=False))
    assert outcome.place(transient, seen("a gone; b paused migration")) is Place.CROSSING
    assert outcome.place(transient, seen("a gone; b running")) is Place.TARGET


@pytest.mark.parametrize(("was_paused", "policy", "now", "wanted"), [
    (False, MigrationPolicy.SAFE, "b running", True),
    (False, MigrationPolicy.SAFE, "b paused migration", False),
    (False, MigrationPolicy.SAFE, "b paused unknown", False),
    (False, MigrationPolicy.SAFE, "b paused user", True),  # a person paused it after it arrived
    (False, MigrationPolicy.FAST, "b paused user", False),  # Drover itself paused it to let it finish
    (False, MigrationPolicy.FAST, "b paused ioerror", True),  # resuming would not help
    (True, MigrationPolicy.SAFE, "b paused user", True),
    (True, MigrationPolicy.SAFE, "b running", False),
])  # fmt: skip
def test_runs_as_wanted(was_paused: bool, policy: MigrationPolicy, now: str, wanted: bool) -> None:  # noqa: FBT001
    step = MigrateVm("u-1", "web-1", "a", "b", 1, policy, carried=Carried(paused=was_paused))
    assert outcome.runs_as_wanted(step, seen(now)[0]) is wanted


CAP = Scheduler(cpu_shares=2048, vcpu_period=100_000, vcpu_quota=30_000)


@pytest.mark.parametrize(("wanted", "present", "holds"), [
    (Scheduler(), CAP, True),
    (CAP, CAP, True),
    (CAP, Scheduler(2048, 100_000, -1), False),
    (CAP, Scheduler(2048, 50_000, 15_000), True),
    (CAP, Scheduler(100, 100_000, 30_000), False),
    (Scheduler(vcpu_quota=-1), Scheduler(vcpu_quota=0), True),
    (Scheduler(vcpu_quota=-1), CAP, False),
    (Scheduler(cpu_shares=1024), Scheduler(cpu_shares=100), True),
    (Scheduler(cpu_shares=100), Scheduler(cpu_shares=1024), True),
    (Scheduler(cpu_shares=500), Scheduler(cpu_shares=1024), False),
])  # fmt: skip
def test_in_force(wanted: Scheduler, present: Scheduler, holds: bool) -> None:  # noqa: FBT001
    assert outcome.in_force(wanted, present) is holds


def test_one_cgroups_default_is_not_set_on_the_other() -> None:
    there = outcome.to_apply(
        Scheduler(cpu_shares=1024, vcpu_quota=30_000), Scheduler(cpu_shares=100)
    )
    assert there == Scheduler(vcpu_quota=30_000)


def test_cap_in_cores() -> None:
    assert outcome.cap_cores(CAP, 2) == pytest.approx(0.6)
    assert outcome.cap_cores(Scheduler(), 2) == float("inf")
