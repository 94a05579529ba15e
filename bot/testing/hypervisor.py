"""A cluster in memory that migrates guests as real hosts do, with faults to order."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, fields, replace
from enum import StrEnum

from bot.adapters.powers import NoPowers, with_proofs
from bot.domain.cluster import (
    GIB,
    POSTCOPY_FAILED,
    POSTCOPY_INCOMING,
    POSTCOPY_SOURCE,
    WAITING,
    CpuFit,
    Disk,
    Health,
    Host,
    Job,
    Scheduler,
    Sighting,
    Snapshot,
    TargetLook,
    Vm,
    VmState,
    without_waiting,
)
from bot.domain.errors import VM_GONE, HostUnreachableError, HypervisorError, UnknownNameError
from bot.domain.steps import MigrateVm
from bot.domain.storage import copied_disks
from bot.domain.suggest import nearest
from bot.ports import Clock
from bot.ports.guests import Volume
from bot.ports.power import Powers
from bot.testing.guests import FakeGuests
from bot.testing.readiness import FakeReadiness
from bot.testing.transfer import Transfer

_STANDARD = Scheduler(
    cpu_shares=1024, vcpu_period=100_000, vcpu_quota=-1, emulator_period=100_000, emulator_quota=-1
)


class Ending(StrEnum):
    """How a migration ends."""

    MOVED = "moved"
    FAILED = "failed, and the guest runs on where it was"
    UNSTORED = "moved, but the target could not store its definition"
    ANSWER_LOST = "moved, but the connection broke before the answer"
    BOTH_PAUSED = "broke in post-copy: paused on both hosts"
    LOST = "gone from both hosts"


@dataclass(slots=True)
class _Guest:
    """One guest on one host.

    ``cap_works``: whether its ceiling holds; it does not after a migration until set.
    """

    vm: Vm
    used: float = 0.0
    since: float = 0.0
    cap_works: bool = True


class FakeHypervisor(FakeReadiness, FakeGuests):
    """The port ``Hypervisor`` over a cluster in memory. Safe to share by threads.

    A migration takes the time that its memory, its dirty rate and the network make it take, by the
    clock it is
    given: with a ``TickingClock`` no real time at all. As with libvirt, the guest is on both hosts
    meanwhile, start at boot does not travel, and a CPU ceiling is reported on the target but does
    not hold until it is set again.

    Args:
        cluster: what there is at first; see ``drawn``. Its ``cpu_fits`` answer for the pairs they
            name, all other pairs fit.
        clock: every wait and every CPU second is by it.
        network: bytes a second that a migration can carry.
        powers: the hosts' power controllers; None: there are none.
    """

    def __init__(
        self, cluster: Snapshot, clock: Clock, *, network: float = GIB, powers: Powers | None = None
    ) -> None:
        super().__init__()
        self.powers: Powers = powers or NoPowers()
        self._clock = clock
        self._network = network
        self._lock = threading.RLock()
        self._hosts = {host.name: host for host in cluster.hosts}
        self._looks = cluster.target_looks
        self._fits = {(fit.vm_uuid, fit.host): fit for fit in cluster.cpu_fits}
        self._guests: dict[tuple[str, str], _Guest] = {
            (vm.host, vm.uuid): _Guest(vm, since=self._moment()) for vm in cluster.vms
        }
        self._own_load = {host.name: self._not_of_guests(host) for host in cluster.hosts}
        self._last_seen = {
            host.name: cluster.on(host.name) for host in cluster.hosts if not host.up
        }
        self._transfers: dict[tuple[str, str], Transfer] = {}
        self._last_jobs: dict[tuple[str, str], Job] = {}
        self._refusals: dict[str, list[HypervisorError]] = {}
        self._ending = (Ending.MOVED, 1.0)
        self.calls: list[tuple[str, ...]] = []
        """What was changed, oldest first: the method's name and its arguments as text."""
        self.during: Callable[[MigrateVm, Job], None] | None = None
        """Called at every step of a migration, in its thread: the place to cancel.

        Cut or look from. If it raises, the
        hosts finish the migration without their caller, as they do when a bot is killed."""

    # What a test orders.

    def down(
        self, host: str, problem: str = "no connection", *, health: Health = Health.UNREACHABLE
    ) -> None:
        """Let a host not answer; its guests run on, unseen."""
        with self._lock:
            self._last_seen[host] = tuple(self._vms_on(host))
            self._hosts[host] = replace(self._hosts[host], health=health, problem=problem)

    def up(self, host: str) -> None:
        """Let a host answer again."""
        with self._lock:
            self._last_seen.pop(host, None)
            self._hosts[host] = replace(self._hosts[host], health=Health.UP, problem="")

    def die(self, host: str) -> None:
        """Let a host lose its power: its guests end, and it does not answer."""
        self.down(host, "no route to host")
        with self._lock:
            for (where, uuid), guest in list(self._guests.items()):
                if where == host and guest.vm.state.active:
                    self._stop(where, uuid)

    def kill(self, uuid: str) -> None:
        """Let a guest end wherever it runs."""
        with self._lock:
            for host, each in list(self._guests):
                if each == uuid:
                    self._stop(host, uuid)

    def put(self, vm: Vm) -> None:
        """Let there be a guest, as if somebody else had made it."""
        with self._lock:
            self._guests[vm.host, vm.uuid] = _Guest(vm, since=self._moment())

    def change(self, host: str, **different: object) -> None:
        """Let a host be different from now on, by fields of ``Host``."""
        with self._lock:
            self._hosts[host] = replace(self._hosts[host], **different)  # type: ignore[arg-type]

    def refuse(
        self, method: str, text: str, advice: str = "", *, times: int = 1, code: str = ""
    ) -> None:
        """Let the next calls of ``method`` (by its name) fail with this error."""
        errors = self._refusals.setdefault(method, [])
        errors += [HypervisorError(text, advice, code=code) for _ in range(times)]

    def end_next(self, ending: Ending, *, at: float = 1.0) -> None:
        """Let the next migration end so, at this fraction of it (a move is always whole)."""
        self._ending = (ending, at)

    # The port.

    @property
    def power(self) -> Powers:
        """The hosts' power controllers; see the port."""
        return self.powers

    def snapshot(
        self,
        focus: Collection[str] = (),
        chosen: Callable[[Snapshot], Collection[str]] | None = None,
    ) -> Snapshot:
        """The cluster now; see the port."""
        with self._lock:
            self._may("snapshot")
            hosts = tuple(self._host_now(host) for host in self._hosts.values())
            vms = [vm for host in hosts for vm in self._vms_of(host)]
            silent = [host.name for host in hosts if not host.up]
            vms = list(without_waiting(vms, silent))
            plain = tuple(map(_from_afar, vms))
            shallow = Snapshot(self._clock.now(), hosts, plain)
            many = chosen(shallow) if chosen is not None else ()
            near_by = shallow.uuids_for(focus)
            near = [vm for vm in vms if vm.uuid in near_by and self._hosts[vm.host].up]
            deep = {
                (vm.host, vm.uuid): replace(self._in_depth(vm), dirty_rate=None)
                for vm in vms
                if vm.uuid in many and self._hosts[vm.host].up
            }
            deep |= {(vm.host, vm.uuid): self._in_depth(vm) for vm in near}
            shown = tuple(deep.get((vm.host, vm.uuid), vm) for vm in plain)
            return Snapshot(
                self._clock.now(),
                hosts,
                shown,
                cpu_fits=tuple(self._fits_of(near)),
                target_looks=tuple(self._looks_of(near)),
            )

    def glance(self) -> Snapshot:
        """The cluster now; see the port."""
        return self.snapshot()

    def sightings(self, uuid: str) -> tuple[Sighting, ...]:
        """The guest's state on every host; see the port."""
        with self._lock:
            self._may("sightings")
            return with_proofs(
                [self._sighting(host, uuid) for host in self._hosts.values()], self.powers
            )

    def migrate(self, move: MigrateVm) -> None:
        """Move a guest, in as much time as it takes; see the port."""
        with self._lock:
            self._known_host(move.target)
            self._note("migrate", move.source, move.uuid, move.target)
            transfer = self._begin(move)
        try:
            while not transfer.done:
                self._clock.sleep(transfer.TICK)
                self._advance(transfer)
                if self.during is not None:
                    self._tell(move, transfer)
                self._settle(move, transfer)
        finally:
            with self._lock:
                self._transfers.pop((move.source, move.uuid), None)

    def copied_volumes(self, move: MigrateVm, host: str) -> tuple[Volume, ...]:
        """The volumes of ``host`` at the places of the disks that ``move`` copies; see the port."""
        with self._lock:
            self._reach(host)
            self._may("copied_volumes")
            places = {disk.source for disk in self._copied_disks(move)}
            mine = [each for (where, _, _), each in self.volumes.items() if where == host]
            return tuple(
                each for each in mine if each.path in places or f"{each.pool}/{each.name}" in places
            )

    def _copied_disks(self, move: MigrateVm) -> tuple[Disk, ...]:
        there = (self._guests.get((host, move.uuid)) for host in (move.source, move.target))
        guest = next((each for each in there if each is not None), None)
        if not move.copy_storage or guest is None or guest.vm.detail is None:
            return ()
        return copied_disks(self._hosts[move.source], guest.vm.detail)

    def _make_copies(self, move: MigrateVm) -> None:
        """Make what libvirt makes on the target before it copies.

        It stays when the migration fails.
        """
        for disk in self._copied_disks(move):
            folder, _, name = disk.source.rpartition("/")
            pools = self._hosts[move.target].pools
            pool = next((each for each in pools if folder in {each.name, each.path}), None)
            if pool is not None:
                size = disk.capacity or 0
                self.volumes[move.target, pool.name, name] = Volume(
                    pool.name, name, f"{pool.path}/{name}", size, 0, disk.format or "qcow2"
                )

    def job(self, host: str, uuid: str) -> Job | None:
        """Progress of a migration; see the port."""
        with self._lock:
            self._reach(host)
            self._may("job")
            transfer = self._transfers.get((host, uuid))
            return None if transfer is None else transfer.job()

    def last_job(self, host: str, uuid: str) -> Job | None:
        """How the guest's last migration to this host went."""
        with self._lock:
            self._may("last_job")
            self._reach(host)
            return self._last_jobs.get((host, uuid))

    def cancel_job(self, host: str, uuid: str) -> None:
        """Ask for a migration's end; see the port."""
        with self._lock:
            self._reach(host)
            self._note("cancel_job", host, uuid)
            transfer = self._transfers.get((host, uuid))
            if transfer is None:
                return
            if transfer.postcopy:
                raise HypervisorError(
                    "The migration cannot be cancelled: it is in post-copy.",
                    "It can only be finished now.",
                )
            transfer.cancelled = True

    def start_postcopy(self, host: str, uuid: str) -> None:
        """Switch a migration to post-copy; see the port."""
        with self._lock:
            transfer = self._running_transfer("start_postcopy", host, uuid)
            if not transfer.may_postcopy:
                raise HypervisorError(
                    "The migration cannot go to post-copy: it was not started with it.",
                    "Use --policy postcopy.",
                )
            transfer.postcopy = True
            self._turn(host, uuid, VmState.PAUSED, POSTCOPY_SOURCE)
            self._turn(transfer.target, uuid, VmState.RUNNING, POSTCOPY_INCOMING)

    def raise_downtime(self, host: str, uuid: str, milliseconds: int) -> None:
        """Allow a longer pause; see the port."""
        with self._lock:
            self._running_transfer("raise_downtime", host, uuid).downtime = milliseconds / 1000

    def pause(self, host: str, uuid: str) -> None:
        """Pause a guest; see the port."""
        with self._lock:
            self._note("pause", host, uuid)
            if self._active(host, uuid).vm.state is VmState.RUNNING:
                self._turn(host, uuid, VmState.PAUSED, "user")

    def resume(self, host: str, uuid: str) -> None:
        """Let a guest go on; see the port."""
        with self._lock:
            self._note("resume", host, uuid)
            self._active(host, uuid)
            self._turn(host, uuid, VmState.RUNNING, "")

    def set_autostart(self, host: str, uuid: str, *, on: bool) -> None:
        """Set or clear start at boot; see the port."""
        with self._lock:
            self._note("set_autostart", host, uuid, str(on))
            guest = self._guest(host, uuid)
            if not guest.vm.persistent:
                raise HypervisorError(
                    f"{guest.vm.name} is transient and cannot start at boot.", "Define it first."
                )
            guest.vm = replace(guest.vm, autostart=on)

    def autostart(self, host: str, uuid: str) -> bool:
        """Whether the guest starts at boot."""
        with self._lock:
            self._may("autostart")
            return self._guest(host, uuid).vm.autostart

    def set_scheduler(self, host: str, uuid: str, scheduler: Scheduler) -> None:
        """Apply the given parameters; see the port."""
        with self._lock:
            self._note("set_scheduler", host, uuid, str(scheduler))
            guest = self._guest(host, uuid)
            self._count(guest)
            guest.vm = replace(guest.vm, scheduler=_over(guest.vm.scheduler, scheduler))
            guest.cap_works = True

    def scheduler(self, host: str, uuid: str) -> Scheduler:
        """The parameters in force."""
        with self._lock:
            self._may("scheduler")
            return _over(_STANDARD, self._guest(host, uuid).vm.scheduler)

    def cpu_seconds(self, host: str, uuid: str) -> float:
        """CPU time used so far on this host."""
        with self._lock:
            self._may("cpu_seconds")
            guest = self._guest(host, uuid)
            self._count(guest)
            return guest.used

    def close(self) -> None:
        """Nothing is held."""

    # How it works.

    def _begin(self, move: MigrateVm) -> Transfer:
        guest = self._active(move.source, move.uuid)
        self._reach(move.target)
        if (move.source, move.uuid) in self._transfers:
            raise HypervisorError(
                f"{move.name} did not move: another migration of it is under way.", "Wait for it."
            )
        if any(
            _in_the_way(each.vm, guest.vm)
            for (host, _), each in self._guests.items()
            if host == move.target
        ):
            raise HypervisorError(
                f"{move.name} did not move: {move.target} has a guest of this name or UUID.",
                "Look at both.",
            )
        self._must_know_machine(move, guest.vm)
        transfer = Transfer(move, guest.vm, self._network)
        if there := self.copied_volumes(move, move.target):
            listed = ", ".join(f"{each.pool}/{each.name}" for each in there)
            raise HypervisorError(
                f"{move.name} did not move: {move.target} already has {listed}.",
                "Declare it shared.",
            )
        self._make_copies(move)
        arriving = replace(
            guest.vm, host=move.target, state=VmState.PAUSED, paused_by="migration", autostart=False
        )
        self._guests[move.target, move.uuid] = _Guest(
            arriving, since=self._moment(), cap_works=False
        )
        self._transfers[move.source, move.uuid] = transfer
        return transfer

    def _must_know_machine(self, move: MigrateVm, vm: Vm) -> None:
        """Refuse as QEMU does; that it is older there is no reason by itself."""
        machine, known = vm.detail.machine if vm.detail else "", self._hosts[move.target].machines
        if machine and known and machine not in known:
            raise HypervisorError(
                f"{move.name} did not move: QEMU on {move.target} has no machine type {machine}.",
                "Upgrade QEMU there.",
            )

    def _advance(self, transfer: Transfer) -> None:
        with self._lock:
            transfer.advance()

    def _tell(self, move: MigrateVm, transfer: Transfer) -> None:
        """Call ``during``; if that raises.

        As a bot that is killed, the hosts finish the migration without it.
        """
        assert self.during is not None  # noqa: S101 - asked by the caller
        try:
            self.during(move, transfer.job())
        except BaseException:
            while not transfer.done:
                self._advance(transfer)
                with contextlib.suppress(HypervisorError):
                    self._settle(move, transfer)
            raise

    def _settle(self, move: MigrateVm, transfer: Transfer) -> None:
        with self._lock:
            self._settle_now(move, transfer)

    def _settle_now(self, move: MigrateVm, transfer: Transfer) -> None:
        source, target = (
            self._guests.get((move.source, move.uuid)),
            self._guests.get((move.target, move.uuid)),
        )
        if (
            source is None
            or not source.vm.state.active
            or target is None
            or not target.vm.state.active
        ):
            transfer.done = True
            if transfer.postcopy:
                self._lose_source(move)
            else:
                self._fall_back(move)
            raise HypervisorError(
                f"{move.name} did not move: a side of the migration ended.", "Look at both hosts."
            )
        if transfer.cancelled:
            transfer.done = True
            self._fall_back(move)
            raise HypervisorError(
                f"{move.name} did not move: the migration was cancelled.", "It runs where it was."
            )
        ending, at = self._ending
        if ending in _BREAKS and transfer.job().fraction >= at:
            transfer.done = True
        if transfer.done:
            self._ending = (Ending.MOVED, 1.0)
            self._end(move, transfer, ending)

    def _end(self, move: MigrateVm, transfer: Transfer, ending: Ending) -> None:
        if ending is Ending.FAILED:
            self._fall_back(move)
            raise HypervisorError(
                f"{move.name} did not move: the target's QEMU ended.", "Look at its log."
            )
        if ending is Ending.LOST:
            self._guests.pop((move.target, move.uuid))
            self._stop(move.source, move.uuid)
            raise HypervisorError(f"{move.name} is on no host any more.", "Look at both hosts.")
        if ending is Ending.BOTH_PAUSED:
            self._turn(move.source, move.uuid, VmState.PAUSED, POSTCOPY_FAILED)
            self._turn(move.target, move.uuid, VmState.PAUSED, POSTCOPY_FAILED)
            raise HypervisorError(
                f"{move.name} is paused on both hosts.", "Recover the post-copy migration."
            )
        left = self._guests.pop((move.source, move.uuid)).vm
        self._last_jobs[move.target, move.uuid] = transfer.job()
        arrived = (VmState.RUNNING, "") if transfer.postcopy else (left.state, left.paused_by)
        self._turn(move.target, move.uuid, *arrived)
        if ending is Ending.UNSTORED:
            raise HypervisorError(
                f"{move.name} moved to {move.target}, but was not stored there.", "Define it there."
            )
        if ending is Ending.ANSWER_LOST:
            raise HostUnreachableError(
                f"The connection to {move.source} broke.", "Look at both hosts."
            )

    def _fall_back(self, move: MigrateVm) -> None:
        self._guests.pop((move.target, move.uuid), None)
        source = self._guests.get((move.source, move.uuid))
        if source is not None and source.vm.paused_by in WAITING:
            self._turn(move.source, move.uuid, VmState.RUNNING, "")

    def _lose_source(self, move: MigrateVm) -> None:
        """In post-copy a side ended: the other one is of no use alone.

        The target's libvirt learns it from the source's; of one without power it hears nothing.
        """
        for host in (move.source, move.target):
            half = self._guests.get((host, move.uuid))
            other = self._hosts[move.target if host == move.source else move.source]
            if half is not None and half.vm.state.active and other.up:
                self._turn(host, move.uuid, VmState.PAUSED, POSTCOPY_FAILED)

    def _running_transfer(self, method: str, host: str, uuid: str) -> Transfer:
        self._note(method, host, uuid)
        self._reach(host)
        transfer = self._transfers.get((host, uuid))
        if transfer is None:
            raise HypervisorError(
                f"No migration of it out of {host} is under way.", "It may have ended: look again."
            )
        return transfer

    def _stop(self, host: str, uuid: str) -> None:
        guest = self._guests[host, uuid]
        self._count(guest)
        if guest.vm.persistent:
            guest.vm = replace(guest.vm, state=VmState.SHUT_OFF, paused_by="", cpu=None)
        else:
            del self._guests[host, uuid]

    def _turn(self, host: str, uuid: str, state: VmState, paused_by: str) -> None:
        guest = self._guests[host, uuid]
        self._count(guest)
        guest.vm = replace(guest.vm, state=state, paused_by=paused_by)

    def _moment(self) -> float:
        return self._clock.now().timestamp()

    def _count(self, guest: _Guest) -> None:
        """Add the CPU time since the last count."""
        now = self._moment()
        guest.used += _load(guest) * max(0.0, now - guest.since)
        guest.since = now

    def _not_of_guests(self, host: Host) -> float | None:
        """Busy cores of a drawn host that none of its guests explains.

        None when it is not measured.
        """
        if host.cpu is None:
            return None
        return max(
            0.0,
            host.cpu
            - sum(_load(each) for (name, _), each in self._guests.items() if name == host.name),
        )

    def _host_now(self, host: Host) -> Host:
        if not host.up:
            return replace(host, cpu=None)
        here = [guest for (name, _), guest in self._guests.items() if name == host.name]
        used = sum(guest.vm.memory for guest in here if guest.vm.state.active)
        own = self._own_load[host.name]
        busy = (
            None
            if own is None
            else min(float(host.cpus), own + sum(_load(guest) for guest in here))
        )
        return replace(
            host, seen_at=self._clock.now(), memory_free=max(0, host.memory - used), cpu=busy
        )

    def _vms_of(self, host: Host) -> Collection[Vm]:
        return tuple(self._vms_on(host.name)) if host.up else self._last_seen[host.name]

    def _vms_on(self, host: str) -> Iterator[Vm]:
        for (name, uuid), guest in self._guests.items():
            if name == host:
                busy = (host, uuid) in self._transfers
                detail = (
                    replace(guest.vm.detail, job="migration")
                    if busy and guest.vm.detail
                    else guest.vm.detail
                )
                cpu = _load(guest) if guest.vm.cpu is not None and guest.vm.state.active else None
                yield replace(guest.vm, detail=detail, cpu=cpu)

    def _fits_of(self, vms: Collection[Vm]) -> Iterator[CpuFit]:
        for vm in vms:
            for host in self._hosts.values():
                if host.up and host.name != vm.host and vm.state.active:
                    yield self._fits.get(
                        (vm.uuid, host.name), CpuFit(vm.uuid, host.name, fits=True)
                    )

    def _looks_of(self, vms: Collection[Vm]) -> Iterator[TargetLook]:
        known = {(each.vm_uuid, each.host): each for each in self._looks}
        for vm in vms:
            for host in self._hosts.values():
                if host.up and host.name != vm.host and vm.state.active:
                    yield known.get((vm.uuid, host.name), TargetLook(vm.uuid, host.name))

    def _sighting(self, host: Host, uuid: str) -> Sighting:
        if not host.up:
            return Sighting(host.name, reachable=False)
        guest = self._guests.get((host.name, uuid))
        if guest is None:
            return Sighting(host.name, reachable=True)
        return Sighting(
            host.name, reachable=True, state=guest.vm.state, paused_by=guest.vm.paused_by
        )

    def _known_host(self, host: str) -> Host:
        found = self._hosts.get(host)
        if found is None:
            raise UnknownNameError(f"There is no host “{host}”.", nearest(host, self._hosts))
        return found

    def _reach(self, host: str) -> None:
        found = self._known_host(host)
        if not found.up:
            raise HostUnreachableError(
                f"{host} cannot be reached: {found.problem}.", "Check the host."
            )

    def _guest(self, host: str, uuid: str) -> _Guest:
        self._reach(host)
        guest = self._guests.get((host, uuid))
        if guest is None:
            raise HypervisorError(
                f"{host} has no guest {uuid}.",
                "It moved or was removed meanwhile: ask again.",
                code=VM_GONE,
            )
        return guest

    def _active(self, host: str, uuid: str) -> _Guest:
        guest = self._guest(host, uuid)
        if not guest.vm.state.active:
            raise HypervisorError(f"{guest.vm.name} is not running.", "Start it first.")
        return guest

    def _note(self, method: str, *arguments: str) -> None:
        self._may(method)
        self.calls.append((method, *arguments))

    def _may(self, method: str) -> None:
        if self._refusals.get(method):
            raise self._refusals[method].pop(0)


_BREAKS = frozenset({Ending.FAILED, Ending.BOTH_PAUSED, Ending.LOST})


def _in_the_way(there: Vm, coming: Vm) -> bool:
    """A leftover that is off makes room for its own guest.

    Another one of its name, or a running copy, does not.
    """
    return there.state.active if there.uuid == coming.uuid else there.name == coming.name


def _load(guest: _Guest) -> float:
    """Cores the guest burns now: what it wants, under its ceiling where that holds."""
    if guest.vm.state is not VmState.RUNNING:
        return 0.0
    wanted, cap = guest.vm.cpu or 0.0, guest.vm.scheduler
    if not guest.cap_works or not cap.has_cap or cap.vcpu_quota is None:
        return wanted
    return min(wanted, guest.vm.vcpus * cap.vcpu_quota / (cap.vcpu_period or 100_000))


def _over(below: Scheduler, above: Scheduler) -> Scheduler:
    """``below`` with what ``above`` gives; a ceiling of 0 is none, −1."""
    given = {name: getattr(above, name) for name in _PARAMETERS if getattr(above, name) is not None}
    return replace(
        below,
        **{name: -1 if "quota" in name and value == 0 else value for name, value in given.items()},
    )


_PARAMETERS = tuple(field.name for field in fields(Scheduler))


def _from_afar(vm: Vm) -> Vm:
    """A VM without what only a look in depth shows."""
    far = replace(vm, dirty_rate=None, stored=None)
    if vm.detail is None:
        return far
    disks = tuple(replace(disk, capacity=None, busy="", compat="") for disk in vm.detail.disks)
    detail = replace(
        vm.detail,
        disks=disks,
        job="",
        local_job=False,
        snapshot_list=None,
        checkpoints=0,
        ties=replace(vm.detail.ties, bases=()),
    )
    return replace(far, detail=detail)
