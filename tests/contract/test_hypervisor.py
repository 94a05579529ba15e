"""One suite for every hypervisor: the fake that plugin authors use, and libvirt on the lab's real hosts."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from bot.adapters.libvirt import HostAddress, LibvirtHypervisor
from bot.domain.cluster import (
    GIB,
    MIB,
    Disk,
    Health,
    Job,
    Scheduler,
    Sighting,
    Vm,
    VmDetail,
    VmState,
)
from bot.domain.errors import (
    VM_GONE,
    DroverError,
    HostUnreachableError,
    HypervisorError,
    UnknownNameError,
)
from bot.domain.steps import MigrateVm, MigrationPolicy
from bot.ports import Hypervisor
from bot.testing import FakeHypervisor, draw_cluster, uuid_of
from tests.waiting import PATIENCE, RealClock, until

if TYPE_CHECKING:
    from lab import Lab

A, B, C = "host-a", "host-b", "host-c"
NOBODY = "00000000-0000-4000-8000-000000000000"


class Stage(Protocol):
    """A cluster of three hosts, and hands to make guests and trouble on it."""

    @property
    def hypervisor(self) -> Hypervisor: ...

    @property
    def speed(self) -> float:
        """Seconds of the cluster's time that pass in a real one."""
        ...

    def guest(self, load: float = 0.0, dirty_mib_s: float = 0.0, **how: Any) -> Vm:
        """A new guest on host-a with 128 MiB; ``how``: tags, running, persistent, disk."""
        ...

    def lose(self, host: str) -> None: ...
    def recover(self, host: str) -> None: ...
    def unwatched(self) -> AbstractContextManager[None]: ...


class QuickClock:
    """Five times as fast as real time while the fake's migrations are watched, and far faster while nobody does."""

    SPEED = 5.0
    UNWATCHED = 500.0

    def __init__(self) -> None:
        self._speed = self.SPEED
        self._now = datetime(2026, 1, 5, tzinfo=UTC)
        self._seen = time.monotonic()
        self._lock = threading.Lock()

    def now(self) -> datetime:
        with self._lock:
            seen = time.monotonic()
            self._now += timedelta(seconds=(seen - self._seen) * self._speed)
            self._seen = seen
            return self._now

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds / self._speed)

    @contextmanager
    def unwatched(self) -> Iterator[None]:
        self._turn_to(self.UNWATCHED)
        yield
        self._turn_to(self.SPEED)

    def _turn_to(self, speed: float) -> None:
        self.now()
        self._speed = speed


class FakeStage:
    speed = QuickClock.SPEED

    def __init__(self) -> None:
        lines = [f"{host} 4cpu 4G reserve 512M load 0.5" for host in (A, B, C)]
        self.clock = QuickClock()
        self.hypervisor = FakeHypervisor(draw_cluster("\n".join(lines)), self.clock)
        self._numbers = itertools.count(1)

    def guest(self, load: float = 0.0, dirty_mib_s: float = 0.0, **how: Any) -> Vm:
        name = f"contract-{next(self._numbers)}"
        words = [f"{name} 128M load {load}"]
        words += [f"dirty {dirty_mib_s}M"] if dirty_mib_s else []
        words += ["transient"] if not how.get("persistent", True) else []
        words += ["off"] if not how.get("running", True) else []
        words += [
            "[" + " ".join(f"{key}={value}" for key, value in how.get("tags", {}).items()) + "]"
        ]
        vm = draw_cluster(f"{A} 4cpu 4G | {' '.join(words)}").vm(name)
        disk = Disk("vda", "network", f"nbd:{name}", capacity=8 * MIB)
        vm = replace(vm, detail=replace(vm.detail or VmDetail(), disks=(disk,)))
        self.hypervisor.put(vm)
        return vm

    def lose(self, host: str) -> None:
        self.hypervisor.down(host)

    def recover(self, host: str) -> None:
        self.hypervisor.up(host)

    def unwatched(self) -> AbstractContextManager[None]:
        return self.clock.unwatched()


class LabStage:
    """The lab; a plain running guest that a test left as it was is used again, for a boot takes seconds."""

    speed = 1.0

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        addresses = [
            HostAddress(each.name, each.uri, each.peer_uri, reserve=GIB // 2)
            for each in lab.hosts.values()
        ]
        self.hypervisor = LibvirtHypervisor(addresses, clock=RealClock(), deadline=10)
        self._numbers = itertools.count(1)
        self._idle: list[Vm] = []
        self._made: list[str] = []

    def guest(self, load: float = 0.0, dirty_mib_s: float = 0.0, **how: Any) -> Vm:
        plain = not (load or dirty_mib_s or how)
        if plain and self._idle:
            return self._idle.pop()
        name = f"contract-{next(self._numbers)}"
        made = self._lab.guest(name, host=A, load=load, dirty_mib_s=dirty_mib_s, **how)
        self._made.append(name)
        vm = next(vm for vm in self.hypervisor.snapshot().vms if vm.uuid == made.uuid)
        if plain:
            self._plain.append(vm)
        return vm

    def lose(self, host: str) -> None:
        self._lab.kill_libvirtd(host)

    def recover(self, host: str) -> None:
        self._lab.start_libvirtd(host)

    def unwatched(self) -> AbstractContextManager[None]:
        return nullcontext()

    def begin(self) -> None:
        self._plain: list[Vm] = list(self._idle)

    def tidy(self) -> None:
        """Keep plain guests that are as they were made; end all others."""
        now = {vm.uuid: vm for vm in self.hypervisor.snapshot().vms}
        self._idle = [vm for vm in self._plain if _unchanged(vm, now.get(vm.uuid))]
        for name in {*self._made} - {vm.name for vm in self._idle}:
            for host in self._lab.hosts:
                self._lab.virsh(host, "destroy", name, check=False)
                self._lab.virsh(host, "undefine", name, check=False)
            self._made.remove(name)

    def close(self) -> None:
        self._plain = []
        self.tidy()
        self.hypervisor.close()


def _unchanged(before: Vm, now: Vm | None) -> bool:
    return now is not None and replace(now, cpu=None, detail=None) == replace(
        before, cpu=None, detail=None
    )


@pytest.fixture(scope="module")
def lab_stage(lab: Lab) -> Iterator[LabStage]:
    made = LabStage(lab)
    made.begin()
    yield made
    made.close()


@pytest.fixture(params=["fake", pytest.param("libvirt", marks=pytest.mark.lab)])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    if request.param == "fake":
        yield FakeStage()
        return
    real: LabStage = request.getfixturevalue("lab_stage")
    real.begin()
    yield real
    real.tidy()


def move_of(vm: Vm, target: str = B, **how: Any) -> MigrateVm:
    return MigrateVm(vm.uuid, vm.name, vm.host, target, vm.memory, **how)


class Moving:
    """A migration in a thread of its own."""

    def __init__(self, stage: Stage, move: MigrateVm) -> None:
        self._stage = stage
        self._hypervisor = stage.hypervisor
        self._move = move
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._hypervisor.migrate(self._move)
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.error = error

    def job(self) -> Job:
        """Its progress, once memory is on its way."""
        return until(self._copying, "memory is copied")

    def _copying(self) -> Job | None:
        if not self._thread.is_alive():
            pytest.fail(f"the migration ended too early: {self.error}")
        job = self._hypervisor.job(self._move.source, self._move.uuid)
        return job if job is not None and job.rate and job.processed else None

    def end(self) -> BaseException | None:
        with self._stage.unwatched():
            self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the migration did not end"
        return self.error


@contextmanager
def moving(stage: Stage, move: MigrateVm) -> Iterator[Moving]:
    under_way = Moving(stage, move)
    try:
        yield under_way
    finally:
        under_way.end()


def seen(stage: Stage, uuid: str) -> dict[str, Sighting]:
    return {each.host: each for each in stage.hypervisor.sightings(uuid)}


def states(stage: Stage, uuid: str) -> tuple[VmState | None, ...]:
    return tuple(each.state for each in seen(stage, uuid).values())


def vm_now(stage: Stage, uuid: str, *, focus: bool = False) -> Vm:
    (vm,) = (
        each for each in stage.hypervisor.snapshot([uuid] if focus else ()).vms if each.uuid == uuid
    )
    return vm


# Looking


def test_hosts_tell_what_they_are(stage: Stage) -> None:
    snapshot = stage.hypervisor.snapshot()
    assert [host.name for host in snapshot.hosts] == [A, B, C]
    assert all(host.up and host.seen_at and not host.problem for host in snapshot.hosts)
    assert len({host.uuid for host in snapshot.hosts}) == 3
    for host in snapshot.hosts:
        assert host.hostname == host.name
        assert host.cpus > 0
        assert 0 < host.memory_free <= host.memory
        assert host.reserve == GIB // 2
        assert (host.arch, host.migrate_address) == ("x86_64", "")
        assert host.hypervisor_version >= 7_000_000
        assert host.libvirt_version >= 9_000_000
        assert {"pc", "q35"} <= host.machines
        assert host.bridges


def test_a_guest_is_told_as_it_is(stage: Stage) -> None:
    made = stage.guest(tags={"env": "dev", "owner": "ann"})
    vm = vm_now(stage, made.uuid)
    assert (vm.name, vm.host, vm.state, vm.vcpus) == (made.name, A, VmState.RUNNING, 1)
    assert (vm.memory, vm.memory_max) == (128 * MIB, 128 * MIB)
    assert (vm.persistent, vm.autostart, vm.paused_by) == (True, False, "")
    assert dict(vm.tags) == {"env": "dev", "owner": "ann"}


def test_a_guest_that_is_off_is_told(stage: Stage) -> None:
    vm = vm_now(stage, stage.guest(running=False).uuid)
    assert (vm.state, vm.cpu, vm.memory) == (VmState.SHUT_OFF, None, 128 * MIB)


def test_load_is_measured_between_two_snapshots(stage: Stage) -> None:
    vm = stage.guest(load=0.4)
    stage.hypervisor.snapshot()
    before, began = stage.hypervisor.cpu_seconds(A, vm.uuid), time.monotonic()
    until(lambda: stage.hypervisor.cpu_seconds(A, vm.uuid) - before >= 1, "it uses a second of CPU")
    snapshot = stage.hypervisor.snapshot()
    after, ended = stage.hypervisor.cpu_seconds(A, vm.uuid), time.monotonic()
    told = snapshot.vm(vm.uuid).cpu
    assert told == pytest.approx((after - before) / (ended - began) / stage.speed, abs=0.12)
    assert told is not None
    assert told > 0.1
    host = snapshot.host(A)
    assert host.cpu is not None
    assert 0 < host.cpu <= host.cpus


def test_focus_reads_in_depth(stage: Stage) -> None:
    vm, other = stage.guest(dirty_mib_s=20), stage.guest()
    snapshot = stage.hypervisor.snapshot([vm.name])
    close = snapshot.vm(vm.uuid)
    assert close.detail is not None
    assert close.detail.machine in snapshot.host(B).machines
    assert close.detail.nics[0].source in snapshot.host(B).bridges
    assert (close.detail.job, close.detail.snapshots, close.detail.cpu_mode) == ("", 0, "custom")
    assert {(fit.vm_uuid, fit.host, fit.fits) for fit in snapshot.cpu_fits} == {
        (vm.uuid, B, True),
        (vm.uuid, C, True),
    }
    assert close.dirty_rate is not None
    assert MIB < close.dirty_rate < 100 * MIB
    assert snapshot.vm(other.uuid).dirty_rate is None


def test_vms_picked_from_the_snapshot_are_read_on_their_own_host_alone(stage: Stage) -> None:
    vm, other = stage.guest(), stage.guest()
    snapshot = stage.hypervisor.snapshot(chosen=lambda seen: {seen.vm(vm.uuid).uuid})
    near = snapshot.vm(vm.uuid)
    assert near.stored is not None
    assert near.stored.vcpus == near.vcpus
    assert near.dirty_rate is None
    assert near.detail is not None
    assert [disk.capacity is None for disk in near.detail.disks] == [False]
    far = snapshot.vm(other.uuid)
    assert far.stored is None
    assert far.detail is not None
    assert [disk.capacity for disk in far.detail.disks] == [None]
    assert (snapshot.cpu_fits, snapshot.target_looks) == ((), ())


def test_without_focus_nothing_is_measured(stage: Stage) -> None:
    vm = stage.guest(dirty_mib_s=20)
    snapshot = stage.hypervisor.snapshot()
    assert snapshot.vm(vm.uuid).dirty_rate is None
    assert snapshot.cpu_fits == ()


def test_a_uuid_is_looked_for_everywhere(stage: Stage) -> None:
    vm = stage.guest()
    assert stage.hypervisor.sightings(vm.uuid) == (
        Sighting(A, reachable=True, state=VmState.RUNNING),
        Sighting(B, reachable=True),
        Sighting(C, reachable=True),
    )
    assert states(stage, NOBODY) == (None, None, None)


def test_a_lost_host_is_told_and_delays_nobody(stage: Stage) -> None:
    vm = stage.guest()
    stage.hypervisor.snapshot()
    stage.lose(A)
    try:
        snapshot = stage.hypervisor.snapshot([vm.uuid])
        host = snapshot.host(A)
        assert host.health is Health.UNREACHABLE
        assert host.problem
        assert host.seen_at is not None
        assert host.cpus > 0
        assert snapshot.vm(vm.uuid).state is VmState.RUNNING, "as last seen"
        assert [each.up for each in snapshot.hosts] == [False, True, True]
        assert seen(stage, vm.uuid)[A] == Sighting(A, reachable=False)
        assert seen(stage, vm.uuid)[B].reachable
        with pytest.raises(HostUnreachableError, match=A) as caught:
            stage.hypervisor.pause(A, vm.uuid)
        assert caught.value.advice
        with pytest.raises(HostUnreachableError):
            stage.hypervisor.migrate(move_of(vm))
    finally:
        stage.recover(A)
    until(lambda: stage.hypervisor.snapshot().host(A).up, "the host is seen again")
    until(lambda: seen(stage, vm.uuid)[A].reachable, "the guest is looked for again")
    assert states(stage, vm.uuid) == (VmState.RUNNING, None, None)


# Moving


def test_a_guest_moves_and_can_be_watched(stage: Stage) -> None:
    vm = stage.guest(load=0.2)
    stage.hypervisor.set_autostart(A, vm.uuid, on=True)
    assert stage.hypervisor.job(A, vm.uuid) is None
    with moving(stage, move_of(vm, bandwidth=16)) as under_way:
        job = under_way.job()
        assert job.phase == "copying"
        assert 0 < job.fraction < 1
        assert job.total >= 128 * MIB
        assert job.rate > MIB
        there = until(lambda: seen(stage, vm.uuid)[B].state, "the target has it")
        assert there is VmState.PAUSED
        assert seen(stage, vm.uuid)[B].paused_by == "migration"
        assert vm_now(stage, vm.uuid).host == A, "shown once, where it runs"
        assert under_way.end() is None
    assert states(stage, vm.uuid) == (None, VmState.RUNNING, None)
    assert vm_now(stage, vm.uuid).host == B
    assert vm_now(stage, vm.uuid).persistent
    assert stage.hypervisor.job(A, vm.uuid) is None
    assert stage.hypervisor.job(B, vm.uuid) is None
    assert not stage.hypervisor.autostart(B, vm.uuid), "start at boot does not travel"


def test_a_migration_can_be_cancelled(stage: Stage) -> None:
    vm = stage.guest(load=0.2)
    with moving(stage, move_of(vm, bandwidth=4)) as under_way:
        under_way.job()
        stage.hypervisor.cancel_job(A, vm.uuid)
        error = under_way.end()
    assert isinstance(error, HypervisorError)
    assert str(error.text).startswith(f"{vm.name} did not move")
    assert error.advice
    assert states(stage, vm.uuid) == (VmState.RUNNING, None, None)


def test_nothing_to_cancel_is_no_error(stage: Stage) -> None:
    vm = stage.guest()
    stage.hypervisor.cancel_job(A, vm.uuid)
    assert states(stage, vm.uuid)[0] is VmState.RUNNING


def test_a_paused_guest_arrives_paused(stage: Stage) -> None:
    vm = stage.guest()
    stage.hypervisor.pause(A, vm.uuid)
    stage.hypervisor.migrate(move_of(vm))
    there = seen(stage, vm.uuid)[B]
    assert there.state is VmState.PAUSED
    stage.hypervisor.resume(B, vm.uuid)
    assert states(stage, vm.uuid) == (None, VmState.RUNNING, None)


def test_a_transient_guest_moves_and_stays_transient(stage: Stage) -> None:
    vm = stage.guest(persistent=False)
    assert not vm.persistent
    with pytest.raises(HypervisorError):
        stage.hypervisor.set_autostart(A, vm.uuid, on=True)
    stage.hypervisor.migrate(move_of(vm))
    assert states(stage, vm.uuid) == (None, VmState.RUNNING, None)
    assert not vm_now(stage, vm.uuid).persistent


def test_postcopy_finishes_what_precopy_cannot(stage: Stage) -> None:
    vm = stage.guest(dirty_mib_s=12)
    with moving(stage, move_of(vm, policy=MigrationPolicy.POSTCOPY, bandwidth=8)) as under_way:
        under_way.job()
        stage.hypervisor.start_postcopy(A, vm.uuid)
        assert under_way.end() is None
    assert states(stage, vm.uuid) == (None, VmState.RUNNING, None)


def test_postcopy_is_refused_where_it_was_not_planned(stage: Stage) -> None:
    vm = stage.guest()
    with pytest.raises(HypervisorError):
        stage.hypervisor.start_postcopy(A, vm.uuid)
    with moving(stage, move_of(vm, bandwidth=4)) as under_way:
        under_way.job()
        with pytest.raises(HypervisorError) as caught:
            stage.hypervisor.start_postcopy(A, vm.uuid)
        stage.hypervisor.cancel_job(A, vm.uuid)
    assert caught.value.advice
    assert states(stage, vm.uuid) == (VmState.RUNNING, None, None)


def test_a_longer_pause_lets_a_busy_guest_arrive(stage: Stage) -> None:
    vm = stage.guest(dirty_mib_s=24)
    with moving(stage, move_of(vm, bandwidth=20)) as under_way:
        under_way.job()
        stage.hypervisor.raise_downtime(A, vm.uuid, 8000)
        assert under_way.end() is None
    assert states(stage, vm.uuid) == (None, VmState.RUNNING, None)


def test_a_guest_that_is_off_cannot_move(stage: Stage) -> None:
    vm = stage.guest(running=False)
    with pytest.raises(HypervisorError):
        stage.hypervisor.migrate(move_of(vm))
    assert states(stage, vm.uuid) == (VmState.SHUT_OFF, None, None)


def test_a_migration_tells_afterwards_how_it_went(stage: Stage) -> None:
    vm = stage.guest()
    assert stage.hypervisor.last_job(A, vm.uuid) is None
    stage.hypervisor.migrate(move_of(vm))
    last = stage.hypervisor.last_job(B, vm.uuid)
    assert last is not None
    assert last.processed > 0
    assert stage.hypervisor.last_job(B, vm.uuid) == last


def test_a_second_migration_of_one_guest_is_refused(stage: Stage) -> None:
    vm = stage.guest()
    with moving(stage, move_of(vm, bandwidth=4)) as under_way:
        under_way.job()
        with pytest.raises(HypervisorError):
            stage.hypervisor.migrate(move_of(vm, C))
        stage.hypervisor.cancel_job(A, vm.uuid)
    assert states(stage, vm.uuid) == (VmState.RUNNING, None, None)


# Changing


def test_pause_and_resume_may_be_repeated(stage: Stage) -> None:
    vm = stage.guest()
    stage.hypervisor.pause(A, vm.uuid)
    stage.hypervisor.pause(A, vm.uuid)
    paused = vm_now(stage, vm.uuid)
    assert (paused.state, paused.paused_by) == (VmState.PAUSED, "user")
    stage.hypervisor.resume(A, vm.uuid)
    stage.hypervisor.resume(A, vm.uuid)
    assert vm_now(stage, vm.uuid).state is VmState.RUNNING


def test_start_at_boot_is_set_and_cleared(stage: Stage) -> None:
    vm = stage.guest(running=False)
    assert not stage.hypervisor.autostart(A, vm.uuid)
    stage.hypervisor.set_autostart(A, vm.uuid, on=True)
    assert stage.hypervisor.autostart(A, vm.uuid)
    assert vm_now(stage, vm.uuid).autostart
    stage.hypervisor.set_autostart(A, vm.uuid, on=False)
    assert not stage.hypervisor.autostart(A, vm.uuid)


def test_scheduler_parameters_are_set_one_by_one(stage: Stage) -> None:
    vm = stage.guest()
    stage.hypervisor.set_scheduler(A, vm.uuid, Scheduler(cpu_shares=512))
    stage.hypervisor.set_scheduler(A, vm.uuid, Scheduler(vcpu_period=100_000, vcpu_quota=30_000))
    found = stage.hypervisor.scheduler(A, vm.uuid)
    assert (found.cpu_shares, found.vcpu_period, found.vcpu_quota) == (512, 100_000, 30_000)
    assert found.has_cap
    told = until(
        lambda: (now := vm_now(stage, vm.uuid).scheduler).has_cap and now, "the snapshot tells it"
    )
    assert (told.cpu_shares, told.vcpu_quota) == (512, 30_000)
    stage.hypervisor.set_scheduler(A, vm.uuid, Scheduler(vcpu_quota=0))
    assert stage.hypervisor.scheduler(A, vm.uuid).vcpu_quota == -1
    assert stage.hypervisor.scheduler(A, vm.uuid).cpu_shares == 512


def test_a_ceiling_holds(stage: Stage) -> None:
    vm = stage.guest(load=0.9)
    stage.hypervisor.set_scheduler(A, vm.uuid, Scheduler(vcpu_period=100_000, vcpu_quota=20_000))
    before, began = stage.hypervisor.cpu_seconds(A, vm.uuid), time.monotonic()
    used = until(
        lambda: (spent := stage.hypervisor.cpu_seconds(A, vm.uuid) - before) >= 0.5 and spent,
        "it uses half a second",
    )
    assert used / (time.monotonic() - began) / stage.speed < 0.35


def test_nobody_is_a_clear_error(stage: Stage) -> None:
    calls: list[Callable[[], object]] = [
        lambda: stage.hypervisor.pause(A, NOBODY),
        lambda: stage.hypervisor.resume(A, NOBODY),
        lambda: stage.hypervisor.autostart(A, NOBODY),
        lambda: stage.hypervisor.scheduler(A, NOBODY),
        lambda: stage.hypervisor.cpu_seconds(A, NOBODY),
        lambda: stage.hypervisor.migrate(MigrateVm(NOBODY, "nobody", A, B, MIB)),
    ]
    for call in calls:
        with pytest.raises(HypervisorError) as caught:
            call()
        assert caught.value.advice
    with pytest.raises(HypervisorError) as gone:
        stage.hypervisor.autostart(A, NOBODY)
    assert gone.value.code == VM_GONE
    assert stage.hypervisor.job(A, NOBODY) is None


def test_an_unknown_host_is_a_clear_error(stage: Stage) -> None:
    vm = stage.guest(running=False)
    with pytest.raises(UnknownNameError, match="host-a"):
        stage.hypervisor.pause("host-aa", vm.uuid)
    with pytest.raises(DroverError, match="host-x"):
        stage.hypervisor.migrate(move_of(vm, "host-x"))


def test_uuids_of_the_drawing_are_not_the_contract(stage: Stage) -> None:
    """Guests are named by UUID alone: a name where a UUID belongs is nobody."""
    vm = stage.guest(running=False)
    assert vm.uuid != uuid_of("contract-0")
    with pytest.raises(HypervisorError):
        stage.hypervisor.pause(A, vm.name)
