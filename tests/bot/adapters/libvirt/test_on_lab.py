"""What only real hosts show: freezing, dying daemons, storage, caps after a move, events after a reconnect."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from bot.adapters.libvirt import HostAddress, LibvirtHypervisor
from bot.domain.cluster import MIB, Health, Scheduler, VmState
from bot.domain.errors import HostUnreachableError, HypervisorError
from bot.domain.steps import MigrateVm
from tests.waiting import PATIENCE, RealClock, until

if TYPE_CHECKING:
    from lab import Guest, Lab

pytestmark = pytest.mark.lab
A, B, C = "host-a", "host-b", "host-c"
NUMBERS = count(1)


def connected(lab: Lab, deadline: float = 10.0) -> LibvirtHypervisor:
    hosts = [HostAddress(each.name, each.uri, each.peer_uri) for each in lab.hosts.values()]
    return LibvirtHypervisor(hosts, clock=RealClock(), deadline=deadline)


@pytest.fixture
def hypervisor(lab: Lab) -> Iterator[LibvirtHypervisor]:
    made = connected(lab)
    yield made
    made.close()


@pytest.fixture
def hasty(lab: Lab) -> Iterator[LibvirtHypervisor]:
    """One that waits no longer than a second for a host."""
    made = connected(lab, deadline=1.0)
    yield made
    made.close()


@pytest.fixture
def guest(lab: Lab) -> Iterator[Callable[..., Guest]]:
    made: list[str] = []

    def make(**how: Any) -> Guest:
        made.append(f"adapter-{next(NUMBERS)}")
        return lab.guest(made[-1], host=A, **how)

    yield make
    for name in made:
        for host in lab.hosts:
            lab.virsh(host, "destroy", name, check=False)
            lab.virsh(host, "undefine", name, "--nvram", check=False)


def move(guest: Guest, target: str = B, **how: Any) -> MigrateVm:
    return MigrateVm(guest.uuid, guest.name, A, target, 128 * MIB, **how)


def states(hypervisor: LibvirtHypervisor, uuid: str) -> list[VmState | None]:
    return [each.state for each in hypervisor.sightings(uuid)]


def begin(
    hypervisor: LibvirtHypervisor, step: MigrateVm
) -> tuple[threading.Thread, list[BaseException]]:
    """The migration in a thread, once memory is on its way."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            hypervisor.migrate(step)
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    until(lambda: (job := hypervisor.job(A, step.uuid)) and job.processed, "memory is copied")
    return thread, errors


def test_a_frozen_host_is_stale_and_the_others_go_on(
    lab: Lab, hasty: LibvirtHypervisor, guest: Callable[..., Guest]
) -> None:
    vm = guest()
    hypervisor = hasty
    until(lambda: all(host.up for host in hypervisor.snapshot().hosts), "all hosts are seen")
    lab.freeze(A)
    try:
        first = hypervisor.snapshot()
        assert first.host(A).health is Health.STALE
        assert "no answer within 1.0 s" in str(first.host(A).problem)
        assert first.vm(vm.uuid).state is VmState.RUNNING, "as last seen"
        assert [host.up for host in first.hosts] == [False, True, True]
        with pytest.raises(HostUnreachableError, match="did not answer"):
            hypervisor.cpu_seconds(A, vm.uuid)
        told: list[str] = []

        def is_told() -> bool:
            told.append(str(hypervisor.snapshot().host(A).problem))
            return "no answer since" in told[-1]

        until(
            is_told,
            lambda: (
                f"the host is not asked any more while every thread waits for it; told: {list(dict.fromkeys(told))}"
            ),
        )
        gone = until(
            lambda: (host := hypervisor.snapshot().host(A)).health is Health.UNREACHABLE and host,
            "keepalive gives the connection up",
        )
        assert gone.seen_at == first.host(A).seen_at
        assert [each.reachable for each in hypervisor.sightings(vm.uuid)] == [False, True, True]
    finally:
        lab.thaw(A)
    until(lambda: hypervisor.snapshot().host(A).up, "the host is seen again")
    until(lambda: states(hypervisor, vm.uuid)[0] is VmState.RUNNING, "the guest is found again")


def test_a_glance_tells_a_frozen_host_and_reads_it_anew_when_it_is_back(
    lab: Lab, hasty: LibvirtHypervisor, guest: Callable[..., Guest]
) -> None:
    vm = guest()
    until(lambda: all(host.up for host in hasty.snapshot().hosts), "all hosts are seen")
    until(lambda: all(host.up for host in hasty.glance().hosts), "they answer")
    lab.freeze(A)
    try:
        seen = hasty.glance()
        assert [host.up for host in seen.hosts] == [False, True, True]
        assert seen.vm(vm.uuid).state is VmState.RUNNING, "as last seen"
    finally:
        lab.thaw(A)
    lab.virsh(A, "suspend", vm.name)
    until(
        lambda: (back := hasty.glance()).host(A).up and back.vm(vm.uuid).state is VmState.PAUSED,
        "the host is read again",
    )


def test_events_are_heard_again_after_libvirtd_restarts(
    lab: Lab, hypervisor: LibvirtHypervisor, guest: Callable[..., Guest]
) -> None:
    vm = guest(tags={"env": "dev"})
    assert hypervisor.snapshot().vm(vm.uuid).tags["env"] == "dev"
    lab.kill_libvirtd(A)
    assert not hypervisor.snapshot().host(A).up
    lab.start_libvirtd(A)
    until(lambda: hypervisor.snapshot().host(A).up, "the host is seen again")
    assert hypervisor.snapshot().vm(vm.uuid).tags["env"] == "dev"
    told = "<tags><tag key='env' value='prod'/></tags>"
    lab.virsh(
        A,
        "metadata",
        vm.uuid,
        "https://drover.dev/tags/1",
        "--key",
        "drover",
        "--set",
        told,
        "--live",
    )
    until(
        lambda: hypervisor.snapshot().vm(vm.uuid).tags.get("env") == "prod", "the new tag is seen"
    )


def test_the_daemon_dying_in_a_migration_is_told_as_not_known(
    lab: Lab, hypervisor: LibvirtHypervisor, guest: Callable[..., Guest]
) -> None:
    vm = guest()
    thread, errors = begin(hypervisor, move(vm, bandwidth=2))
    lab.kill_libvirtd(A)
    try:
        thread.join(PATIENCE)
        assert not thread.is_alive()
        assert isinstance(errors[0], HostUnreachableError)
        assert "Check on which host the VM is" in str(errors[0].advice)
    finally:
        lab.start_libvirtd(A)
    until(
        lambda: states(hypervisor, vm.uuid)[:2] == [VmState.RUNNING, None],
        "the source has the guest alone",
    )


def test_a_local_disk_is_refused_as_unsafe_and_travels_when_copied(
    hypervisor: LibvirtHypervisor, guest: Callable[..., Guest]
) -> None:
    vm = guest(disk="local")
    close = hypervisor.snapshot([vm.uuid]).vm(vm.uuid)
    assert close.detail is not None
    assert [(disk.target, disk.kind, disk.capacity) for disk in close.detail.disks] == [
        ("vda", "file", 64 * MIB)
    ]
    with pytest.raises(HypervisorError) as caught:
        hypervisor.migrate(move(vm))
    assert "`[[pools]]` with `shared = true`" in str(caught.value.advice)
    assert f"`/kvm where {vm.name}`" in str(caught.value.advice)
    assert states(hypervisor, vm.uuid) == [VmState.RUNNING, None, None]
    hypervisor.migrate(move(vm, copy_storage=True))
    assert states(hypervisor, vm.uuid) == [None, VmState.RUNNING, None]
    ticks = vm.ticks()
    until(lambda: vm.ticks() > ticks, "the guest goes on")
    assert vm.boots() == 1


def test_a_target_out_of_reach_is_told_with_the_way_there(
    lab: Lab, hypervisor: LibvirtHypervisor, guest: Callable[..., Guest]
) -> None:
    vm = guest()
    lab.kill_libvirtd(B)
    try:
        with pytest.raises(HypervisorError, match="did not move from host-a to host-b") as caught:
            hypervisor.migrate(move(vm))
        assert str(caught.value.advice).startswith("host-a could not connect to libvirt on host-b")
    finally:
        lab.start_libvirtd(B)
    until(lambda: states(hypervisor, vm.uuid) == [VmState.RUNNING, None, None], "all hosts answer")


def test_a_missing_bridge_is_told(
    lab: Lab, hypervisor: LibvirtHypervisor, guest: Callable[..., Guest]
) -> None:
    vm = guest()
    close = hypervisor.snapshot([vm.uuid])
    detail = close.vm(vm.uuid).detail
    assert detail is not None
    bridge = detail.nics[0].source
    assert bridge in close.host(B).bridges
    lab.remove_bridge(B)
    try:
        assert bridge not in hypervisor.snapshot([vm.uuid]).host(B).bridges
        with pytest.raises(HypervisorError) as caught:
            hypervisor.migrate(move(vm))
        assert str(caught.value.advice).startswith(
            "host-b has no such network device. Create it there"
        )
    finally:
        lab.restore_bridge(B)
    assert states(hypervisor, vm.uuid) == [VmState.RUNNING, None, None]


def test_an_active_job_shows_in_focus(
    hypervisor: LibvirtHypervisor, guest: Callable[..., Guest]
) -> None:
    vm = guest()
    thread, _ = begin(hypervisor, move(vm, bandwidth=2))
    close = hypervisor.snapshot([vm.uuid]).vm(vm.uuid)
    hypervisor.cancel_job(A, vm.uuid)
    thread.join(PATIENCE)
    assert close.detail is not None
    assert (close.host, str(close.detail.job), close.dirty_rate) == (A, "migration", None)


def test_a_snapshot_is_counted_and_keeps_it_here(
    lab: Lab, hypervisor: LibvirtHypervisor, guest: Callable[..., Guest]
) -> None:
    vm = guest(disk="local", running=False)
    lab.virsh(A, "snapshot-create-as", vm.name, "before")
    detail = hypervisor.snapshot([vm.uuid]).vm(vm.uuid).detail
    lab.virsh(A, "snapshot-delete", vm.name, "before")
    assert detail is not None
    assert detail.snapshots == 1


def test_how_a_migration_went_is_told_afterwards(
    hypervisor: LibvirtHypervisor, guest: Callable[..., Guest]
) -> None:
    vm = guest()
    hypervisor.migrate(move(vm))
    last = hypervisor.last_job(B, vm.uuid)
    assert last is not None
    assert last.processed > MIB
    assert last.remaining == 0
    assert last.elapsed > 0
    assert last.expected_downtime is not None
    assert hypervisor.last_job(B, vm.uuid) == last, "it is kept"


def test_a_ceiling_must_be_set_again_after_a_move(
    hypervisor: LibvirtHypervisor, guest: Callable[..., Guest]
) -> None:
    vm = guest(load=0.9)
    cap = Scheduler(vcpu_period=100_000, vcpu_quota=20_000)
    hypervisor.set_scheduler(A, vm.uuid, cap)
    hypervisor.migrate(move(vm))
    assert hypervisor.scheduler(B, vm.uuid).vcpu_quota == 20_000, (
        "reported, whether it holds or not"
    )
    hypervisor.set_scheduler(B, vm.uuid, cap)
    before, began = hypervisor.cpu_seconds(B, vm.uuid), time.monotonic()
    used = until(
        lambda: (spent := hypervisor.cpu_seconds(B, vm.uuid) - before) >= 0.5 and spent,
        "it uses half a second",
    )
    assert used / (time.monotonic() - began) < 0.35


def test_sweeps_can_go_by_the_read_only_socket(lab: Lab, guest: Callable[..., Guest]) -> None:
    vm = guest(dirty_mib_s=10)
    hosts = [
        HostAddress(each.name, each.uri, each.peer_uri, read_only_uri=f"{each.uri}-ro")
        for each in lab.hosts.values()
    ]
    hypervisor = LibvirtHypervisor(hosts, clock=RealClock(), deadline=10)
    close = hypervisor.snapshot([vm.uuid])
    hypervisor.close()
    assert [host.problem for host in close.hosts] == ["", "", ""]
    assert len(close.cpu_fits) == 2
    assert close.vm(vm.uuid).dirty_rate is not None


def test_nothing_of_a_hypervisor_is_left_when_it_is_closed(lab: Lab) -> None:
    hypervisor = connected(lab)
    hypervisor.snapshot()
    hypervisor.close()
    ours = [
        thread.name for thread in threading.enumerate() if thread.name.startswith(f"libvirt-{A}")
    ]
    until(
        lambda: not [each for each in threading.enumerate() if each.name in ours], "its threads end"
    )
