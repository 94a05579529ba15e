"""What the fake can be ordered to do, beyond the contract it shares with real hosts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bot.domain.cluster import (
    GIB,
    MIB,
    POSTCOPY_FAILED,
    POSTCOPY_INCOMING,
    POSTCOPY_SOURCE,
    CpuFit,
    Health,
    Job,
    Scheduler,
    VmState,
)
from bot.domain.errors import HostUnreachableError, HypervisorError
from bot.domain.steps import MigrateVm, MigrationPolicy
from bot.testing import Ending, FakeHypervisor, TickingClock, draw_cluster

A, B = "host-a", "host-b"
TEXT = """
    host-a 8cpu 16G load 2.5 | web-1 4G 2cpu load 1.5 dirty 20M | db-1 2G off | tmp-1 1G transient
    host-b 8cpu 16G load 0.5
    host-c 8cpu 16G down | old-1 1G
"""
CLUSTER = draw_cluster(TEXT)
WEB = CLUSTER.vm("web-1")


def make(**how: Any) -> tuple[FakeHypervisor, TickingClock]:
    clock = TickingClock()
    return FakeHypervisor(CLUSTER, clock, **how), clock


def move(name: str = "web-1", **how: object) -> MigrateVm:
    vm = CLUSTER.vm(name)
    return MigrateVm(vm.uuid, vm.name, A, B, vm.memory, **how)  # type: ignore[arg-type]


def states(hypervisor: FakeHypervisor, uuid: str = WEB.uuid) -> list[VmState | None]:
    return [each.state for each in hypervisor.sightings(uuid)]


def test_a_migration_takes_its_time_by_the_clock_alone() -> None:
    hypervisor, clock = make()
    hypervisor.migrate(move(bandwidth=100))
    assert 4 * GIB / (100 * MIB) < sum(clock.slept) < 2 * 4 * GIB / (100 * MIB)
    assert states(hypervisor) == [None, VmState.RUNNING, None]


def test_load_and_memory_move_along() -> None:
    hypervisor, _ = make()
    hypervisor.migrate(move())
    snapshot = hypervisor.snapshot()
    assert (snapshot.host(A).cpu, snapshot.host(B).cpu) == (1.0, 2.0)
    assert snapshot.host(A).memory_free - CLUSTER.host(A).memory_free == 4 * GIB
    assert CLUSTER.host(B).memory_free - snapshot.host(B).memory_free == 4 * GIB


def test_a_busy_guest_is_throttled_until_it_fits() -> None:
    hypervisor, _ = make()
    seen: list[Job] = []
    hypervisor.during = lambda _, job: seen.append(job)
    hypervisor.migrate(move(bandwidth=12))
    assert max(job.throttle for job in seen) >= 20
    assert seen[-1].iteration > 2
    assert [job.elapsed for job in seen] == sorted(job.elapsed for job in seen)
    assert all(0 <= job.fraction <= 1 for job in seen)


def test_a_harder_policy_needs_fewer_rounds() -> None:
    rounds = {}
    for policy in (MigrationPolicy.SAFE, MigrationPolicy.FAST):
        hypervisor, _ = make()
        seen: list[int] = []
        hypervisor.during = lambda _, job, seen=seen: seen.append(job.iteration)
        hypervisor.migrate(move(bandwidth=12, policy=policy))
        rounds[policy] = max(seen)
    assert rounds[MigrationPolicy.FAST] < rounds[MigrationPolicy.SAFE]


def test_it_can_be_cancelled_from_within() -> None:
    hypervisor, _ = make()
    hypervisor.during = lambda step, job: (
        hypervisor.cancel_job(step.source, step.uuid) if job.fraction > 0.5 else None
    )
    with pytest.raises(HypervisorError, match="cancelled"):
        hypervisor.migrate(move(bandwidth=100))
    assert states(hypervisor) == [VmState.RUNNING, None, None]


def test_in_postcopy_it_runs_on_the_target_and_cannot_be_cancelled() -> None:
    hypervisor, _ = make()
    seen: list[list[VmState | None]] = []

    def during(step: MigrateVm, job: Job) -> None:
        if job.phase != "post-copy":
            hypervisor.start_postcopy(step.source, step.uuid)
            return
        seen.append(states(hypervisor))
        assert [each.paused_by for each in hypervisor.sightings(step.uuid)] == [
            POSTCOPY_SOURCE,
            POSTCOPY_INCOMING,
            "",
        ]
        with pytest.raises(HypervisorError, match="post-copy"):
            hypervisor.cancel_job(step.source, step.uuid)

    hypervisor.during = during
    hypervisor.migrate(move(policy=MigrationPolicy.POSTCOPY, bandwidth=100))
    assert seen
    assert all(each == [VmState.PAUSED, VmState.RUNNING, None] for each in seen)
    assert states(hypervisor) == [None, VmState.RUNNING, None]
    assert {each.paused_by for each in hypervisor.sightings(WEB.uuid)} == {""}


@pytest.mark.parametrize(
    ("dies", "left"),
    [
        ("kill", (VmState.PAUSED, POSTCOPY_FAILED)),
        ("die", (VmState.RUNNING, POSTCOPY_INCOMING)),
    ],
)
def test_in_postcopy_the_target_hears_of_its_sources_end_only_from_the_sources_libvirt(
    dies: str, left: tuple[VmState, str]
) -> None:
    hypervisor, _ = make()

    def during(step: MigrateVm, job: Job) -> None:
        if job.phase != "post-copy":
            hypervisor.start_postcopy(step.source, step.uuid)
        elif dies == "die":
            hypervisor.die(step.source)
        else:
            hypervisor._stop(step.source, step.uuid)

    hypervisor.during = during
    with pytest.raises(HypervisorError):
        hypervisor.migrate(move(policy=MigrationPolicy.POSTCOPY, bandwidth=100))
    there = hypervisor.sightings(WEB.uuid)[1]
    assert (there.state, there.paused_by) == left


@pytest.mark.parametrize(
    ("ending", "error", "left"),
    [
        (Ending.MOVED, None, [None, VmState.RUNNING, None]),
        (Ending.FAILED, HypervisorError, [VmState.RUNNING, None, None]),
        (Ending.UNSTORED, HypervisorError, [None, VmState.RUNNING, None]),
        (Ending.ANSWER_LOST, HostUnreachableError, [None, VmState.RUNNING, None]),
        (Ending.BOTH_PAUSED, HypervisorError, [VmState.PAUSED, VmState.PAUSED, None]),
        (Ending.LOST, HypervisorError, [VmState.SHUT_OFF, None, None]),
    ],
)
def test_endings(ending: Ending, error: type[Exception] | None, left: list[VmState | None]) -> None:
    hypervisor, _ = make()
    hypervisor.end_next(ending, at=0.5)
    if error is None:
        hypervisor.migrate(move())
    else:
        with pytest.raises(error):
            hypervisor.migrate(move())
    assert states(hypervisor) == left
    assert hypervisor.job(A, WEB.uuid) is None


def test_an_ending_is_for_one_migration() -> None:
    hypervisor, _ = make()
    hypervisor.end_next(Ending.FAILED)
    with pytest.raises(HypervisorError):
        hypervisor.migrate(move())
    hypervisor.migrate(move())
    assert states(hypervisor) == [None, VmState.RUNNING, None]


class Killed(BaseException):
    pass


def test_the_hosts_finish_without_a_bot_that_is_killed() -> None:
    hypervisor, _ = make()

    def during(step: MigrateVm, job: Job) -> None:
        raise Killed

    hypervisor.during = during
    with pytest.raises(Killed):
        hypervisor.migrate(move())
    assert states(hypervisor) == [None, VmState.RUNNING, None]


def test_a_cap_reads_right_after_a_move_and_holds_only_when_set_again() -> None:
    hypervisor, clock = make()
    cap = Scheduler(vcpu_period=100_000, vcpu_quota=25_000)
    hypervisor.set_scheduler(A, WEB.uuid, cap)
    hypervisor.migrate(move())
    assert hypervisor.scheduler(B, WEB.uuid).vcpu_quota == 25_000
    assert _used(hypervisor, clock) == pytest.approx(15.0)
    hypervisor.set_scheduler(B, WEB.uuid, cap)
    assert _used(hypervisor, clock) == pytest.approx(5.0), (
        "two vCPUs at a quarter each for ten seconds"
    )


def _used(hypervisor: FakeHypervisor, clock: TickingClock) -> float:
    before = hypervisor.cpu_seconds(B, WEB.uuid)
    clock.turn(10)
    return hypervisor.cpu_seconds(B, WEB.uuid) - before


def test_a_paused_guest_burns_nothing() -> None:
    hypervisor, clock = make()
    hypervisor.pause(A, WEB.uuid)
    before = hypervisor.cpu_seconds(A, WEB.uuid)
    clock.turn(10)
    assert hypervisor.cpu_seconds(A, WEB.uuid) == before


def test_a_host_that_is_down_shows_its_guests_as_last_seen() -> None:
    hypervisor, _ = make()
    assert hypervisor.snapshot().vm("old-1").host == "host-c"
    hypervisor.down(A, "no route to host")
    hypervisor.kill(WEB.uuid)
    snapshot = hypervisor.snapshot()
    assert (snapshot.host(A).health, snapshot.host(A).problem) == (
        Health.UNREACHABLE,
        "no route to host",
    )
    assert snapshot.vm("web-1").state is VmState.RUNNING
    hypervisor.up(A)
    assert hypervisor.snapshot().vm("web-1").state is VmState.SHUT_OFF


def test_a_host_can_be_stale() -> None:
    hypervisor, _ = make()
    hypervisor.down(A, "slow", health=Health.STALE)
    assert hypervisor.snapshot().host(A).health is Health.STALE
    with pytest.raises(HostUnreachableError, match="slow"):
        hypervisor.pause(A, WEB.uuid)


def test_a_dying_host_ends_its_guests_and_a_migration_from_it() -> None:
    hypervisor, _ = make()
    hypervisor.during = lambda _, job: hypervisor.die(A) if job.fraction > 0.5 else None
    with pytest.raises(HypervisorError):
        hypervisor.migrate(move())
    hypervisor.up(A)
    assert states(hypervisor) == [VmState.SHUT_OFF, None, None]
    assert states(hypervisor, CLUSTER.vm("tmp-1").uuid) == [None, None, None], (
        "a transient guest leaves nothing"
    )


def test_refusals_are_used_up_in_order() -> None:
    hypervisor, _ = make()
    hypervisor.refuse("pause", "first", "do this")
    hypervisor.refuse("pause", "second")
    with pytest.raises(HypervisorError, match="first") as caught:
        hypervisor.pause(A, WEB.uuid)
    assert str(caught.value.advice) == "do this"
    with pytest.raises(HypervisorError, match="second"):
        hypervisor.pause(A, WEB.uuid)
    hypervisor.pause(A, WEB.uuid)
    assert states(hypervisor)[0] is VmState.PAUSED


def test_changes_are_noted_and_looks_are_not() -> None:
    hypervisor, _ = make()
    hypervisor.snapshot()
    hypervisor.sightings(WEB.uuid)
    hypervisor.pause(A, WEB.uuid)
    hypervisor.set_autostart(A, WEB.uuid, on=True)
    assert hypervisor.calls == [("pause", A, WEB.uuid), ("set_autostart", A, WEB.uuid, "True")]


def test_cpu_fits_can_be_given() -> None:
    wrong = CpuFit(WEB.uuid, B, fits=False, why="it lacks avx512f")
    hypervisor = FakeHypervisor(replace(CLUSTER, cpu_fits=(wrong,)), TickingClock())
    assert hypervisor.snapshot(["web-1"]).cpu_fits == (wrong,)


def test_a_host_can_be_changed() -> None:
    hypervisor, _ = make()
    hypervisor.change(B, bridges=frozenset(), memory=GIB)
    assert (hypervisor.snapshot().host(B).bridges, hypervisor.snapshot().host(B).memory) == (
        frozenset(),
        GIB,
    )


def test_a_guest_of_the_same_name_is_in_the_way() -> None:
    hypervisor, _ = make()
    hypervisor.put(
        replace(WEB, uuid="11111111-1111-4111-8111-111111111111", host=B, state=VmState.SHUT_OFF)
    )
    with pytest.raises(HypervisorError, match="name or UUID"):
        hypervisor.migrate(move())


def test_a_leftover_of_the_same_guest_is_not() -> None:
    hypervisor, _ = make()
    hypervisor.put(replace(WEB, host=B, state=VmState.SHUT_OFF))
    hypervisor.migrate(move())
    assert states(hypervisor) == [None, VmState.RUNNING, None]
