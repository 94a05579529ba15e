"""The hypervisor port on real hosts."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TypeAlias, TypeVar

import libvirt

from bot.adapters.libvirt.read import same_file
from bot.adapters.libvirt.read.coherence import sees_what_is_written
from bot.adapters.libvirt.read.domain_xml import parse
from bot.adapters.libvirt.read.focus import CloseUp
from bot.adapters.libvirt.read.host_reader import HostReader, Reading
from bot.adapters.libvirt.read.readiness import LibvirtReadiness, Shells
from bot.adapters.libvirt.read.same_file import volumes_at
from bot.adapters.libvirt.read.stats import state_of
from bot.adapters.libvirt.read.vm_detail import active_job
from bot.adapters.libvirt.transport.connections import (
    Connection,
    HostAddress,
    Pending,
    Wires,
    open_connection,
)
from bot.adapters.libvirt.transport.errors import advice, refusal, report_text
from bot.adapters.libvirt.transport.parts import NONSENSE, count, nonsense
from bot.adapters.libvirt.transport.shared_threads import SharedThreads
from bot.adapters.libvirt.write import jobs
from bot.adapters.libvirt.write.guests import LibvirtGuests
from bot.adapters.powers import NoPowers, with_proofs
from bot.domain.cluster import (
    Disk,
    Host,
    Job,
    Scheduler,
    Seen,
    Sighting,
    Snapshot,
    VmDetail,
    without_waiting,
)
from bot.domain.errors import HostUnreachableError, HypervisorError, UnknownNameError
from bot.domain.message import Code, Message, words
from bot.domain.steps import MigrateVm
from bot.domain.storage import asked_disks, copied_disks, is_medium, local_disks, pool_of
from bot.domain.suggest import nearest
from bot.domain.words import command
from bot.ports import Clock
from bot.ports.guests import Volume
from bot.ports.power import Powers

T = TypeVar("T")

Domain: TypeAlias = libvirt.virDomain
"""A ``libvirt.virDomain``; the vendor publishes no types."""

# What cgroups report for "no ceiling", which libvirt hands on in µs.
_NO_QUOTA = (1 << 64) // 1000 // 1000


class LibvirtHypervisor(LibvirtReadiness, LibvirtGuests):
    """All hosts of the cluster through libvirt (the port ``Hypervisor``).

    Nothing is opened before the first question. Hosts are asked side by side; one that hangs costs
    its own answers.

    Args:
        hosts: who they are and how they are reached.
        clock: stamps what is seen, and waits between polls.
        deadline: seconds a host has for an answer; a migration has no deadline.
        measure_dirty_rate: whether a snapshot with focus measures how fast running guests write
            memory (1 s).
        shells: runs programs on the hosts, for what libvirt does not tell; closed with the rest.
        powers: the hosts' power controllers; None: there are none.
    """

    def __init__(
        self,
        hosts: Sequence[HostAddress],
        *,
        clock: Clock,
        deadline: float = 5.0,
        measure_dirty_rate: bool = True,
        shells: Shells | None = None,
        powers: Powers | None = None,
    ) -> None:
        self._powers: Powers = powers or NoPowers()
        self._shells = shells
        self._clock = clock
        self._deadline = deadline
        self._measure = measure_dirty_rate
        self._disks = same_file.Memory()
        threads = SharedThreads("libvirt")
        self._readers = {
            each.name: HostReader(each, clock=clock, deadline=deadline, threads=threads)
            for each in hosts
        }

    @property
    def power(self) -> Powers:
        """The hosts' power controllers; see the port."""
        return self._powers

    @property
    def wires(self) -> Mapping[str, Wires]:
        """The connections to the hosts, for others that look at them too."""
        return {name: reader.wires for name, reader in self._readers.items()}

    def snapshot(
        self,
        focus: Collection[str] = (),
        chosen: Callable[[Snapshot], Collection[str]] | None = None,
    ) -> Snapshot:
        """One read of all hosts; see the port. A guest on its way is shown once, where it runs."""
        taken_at = self._clock.now()
        readings = self._readings(frozenset(focus))
        snapshot = _snapshot_of(taken_at, readings)
        wanted = snapshot.uuids_for(focus)  # as every plan looks for them
        many = frozenset(chosen(snapshot)) if chosen is not None else frozenset()
        if not wanted and not many:
            return snapshot
        close_up = CloseUp(
            self._readers,
            readings,
            clock=self._clock,
            deadline=self._deadline,
            measure=self._measure,
            disks=self._disks,
        )
        seen_near = close_up.of(snapshot, wanted) if wanted else snapshot
        return close_up.at_home(seen_near, many - wanted)

    def glance(self) -> Snapshot:
        """One look at all hosts, whole at those that told a change; see the port."""
        taken_at = self._clock.now()
        return _snapshot_of(taken_at, self._readings(frozenset(), glance=True))

    def sightings(self, uuid: str) -> tuple[Sighting, ...]:
        """The guest's state on every host, each asked afresh; see the port."""
        asked = [(name, reader.act.send(lambda connection: _state_on(connection, uuid)))
                 for name, reader in self._readers.items()]  # fmt: skip
        until = time.monotonic() + self._deadline
        return with_proofs(
            [_sighting(name, pending, until) for name, pending in asked], self._powers
        )

    def migrate(self, move: MigrateVm) -> None:
        """Move a guest; blocks until libvirt answers. See the port.

        Raises:
            HostUnreachableError: the connection broke; the migration may go on without us.
            HypervisorError: libvirt's refusal or failure, with advice.
        """
        source, target = self._reader(move.source), self._reader(move.target)
        what = words(
            "{vm} did not move from {source} to {target}",
            vm=move.name,
            source=move.source,
            target=move.target,
        )
        # A connection of its own: the call blocks for as long as the migration lasts.
        connection = source.act.ask(lambda _: open_connection(source.address.uri))
        try:
            domain = connection.lookupByUUIDString(move.uuid)
            detail = parse(domain.XMLDesc()).detail
            disks = self._to_copy(move, detail, what)
            safe = partial(
                jobs.flags,
                move,
                persistent=bool(domain.isPersistent()),
                tls=target.address.migrate_tls,
            )
            parameters = jobs.parameters(move, target.address, [disk.target for disk in disks])
            try:
                domain.migrateToURI3(target.address.migrate_uri, parameters, safe())
            except libvirt.libvirtError as error:
                # libvirt knows few file systems as shared. Nothing has begun when it says so.
                unsafe = error.get_error_code() == libvirt.VIR_ERR_MIGRATE_UNSAFE
                if not unsafe or not self._shared_for_sure(move, detail, disks):
                    raise
                domain.migrateToURI3(target.address.migrate_uri, parameters, safe(shared=True))
        except libvirt.libvirtError as error:
            raise _migration_error(error, move, what, alive=bool(connection.isAlive())) from error
        except NONSENSE as error:
            raise nonsense(error, what) from error  # it is read before anything begins
        finally:
            _hang_up(connection)

    def _to_copy(self, move: MigrateVm, detail: VmDetail, what: Message) -> tuple[Disk, ...]:
        """The disks that a migration copies, checked right before it.

        Asked to copy none, libvirt would copy all.

        Raises:
            HypervisorError: there is none, or a file would be overwritten.
        """
        if not move.copy_storage:
            return ()
        disks = copied_disks(self._reader(move.source).last.host, detail)
        if not disks:
            raise HypervisorError(
                words("{what}: it has no local disk to copy.", what=what),
                words("Ask again without `--copy-storage`."),
            )
        if there := self._volumes_at(move.target, disks):
            raise HypervisorError(
                words(
                    "{what}: {target} already has {names}.",
                    what=what,
                    target=move.target,
                    names=[f"{each.pool}/{each.name}" for each in there],
                ),
                words(
                    "Drover does not overwrite existing files. If both hosts share it, "
                    "declare it in the configuration: `[[pools]]` with `shared = true`."
                ),
            )
        return disks

    def _shared_for_sure(self, move: MigrateVm, detail: VmDetail, copied: Collection[Disk]) -> bool:
        """Whether libvirt's doubt can be answered for every file that is written and not copied.

        By the configuration, or because the target has the very file, in a pool in which it reads
        what the source writes.
        """
        source, target = self._reader(move.source).last.host, self._reader(move.target).last.host
        odd = any(
            disk.kind not in {"file", "volume", "block"} for disk in local_disks(source, detail)
        )
        if odd or not _drops_caches(source):
            # It may be a passed-through device, or the cache mode, that libvirt refused
            return False
        files = [
            disk
            for disk in asked_disks(source, detail)
            if not is_medium(disk) and disk not in copied
        ]
        pools = {_pools_of(source, target, disk) for disk in files}
        if not files:
            return True
        what = words("Storage cannot be compared")
        with (
            self._at_length(move.source, what) as here,
            self._at_length(move.target, what) as there,
        ):
            before, then, after = (same_file.images(each, files) for each in (here, there, here))
            same = all(each.seen is Seen.SAME for each in same_file.compare(before, then, after))
            return same and all(
                pair and sees_what_is_written(here, pair[0], there, pair[1]) for pair in pools
            )

    def copied_volumes(self, move: MigrateVm, host: str) -> tuple[Volume, ...]:
        """The volumes of ``host`` at the places of the disks that ``move`` copies; see the port."""
        source = self._reader(move.source)
        told = (
            self._ask(
                name,
                lambda connection: _detail(connection, move.uuid),
                words("The definition on {host} could not be read", host=name),
            )
            for name in (move.source, move.target)
        )
        detail = next((each for each in told if each is not None), VmDetail())
        return self._volumes_at(host, copied_disks(source.last.host, detail))

    def _volumes_at(self, host: str, disks: Collection[Disk]) -> tuple[Volume, ...]:
        """The volumes of a host at the places of disks.

        However long its pools take to be read again.
        """
        if not disks:
            return ()
        with self._at_length(
            host, words("The volumes of {host} could not be read", host=host)
        ) as connection:
            return volumes_at(connection, disks)

    def job(self, host: str, uuid: str) -> Job | None:
        """Progress of a migration out of ``host``; None when there is none. See the port."""
        return self._ask(
            host,
            lambda connection: _progress(connection, uuid),
            words("The progress on {host} could not be read", host=host),
        )

    def last_job(self, host: str, uuid: str) -> Job | None:
        """How the guest's last migration went, asked of the host it is on now.

        None when that is not known.

        ``expected_downtime`` is then the pause it truly had, in seconds.
        """
        return self._on(
            host,
            uuid,
            jobs.completed_job,
            words("The result of the last migration could not be read from {host}", host=host),
        )

    def cancel_job(self, host: str, uuid: str) -> None:
        """Ask for a migration's end.

        Nothing happens when no job is active (any more); see the port.
        """
        self._on(host, uuid, _abort, words("The migration cannot be cancelled"))

    def start_postcopy(self, host: str, uuid: str) -> None:
        """Switch a running migration to post-copy; see the port."""
        self._on(
            host,
            uuid,
            lambda domain: domain.migrateStartPostCopy(0),
            words("The migration cannot switch to post-copy"),
        )

    def raise_downtime(self, host: str, uuid: str, milliseconds: int) -> None:
        """Allow a migration a longer pause; see the port."""
        what = words("The maximum downtime of the migration cannot be changed")
        self._on(host, uuid, lambda domain: domain.migrateSetMaxDowntime(milliseconds, 0), what)

    def pause(self, host: str, uuid: str) -> None:
        """Pause a guest; one that is paused stays so."""
        self._on(host, uuid, lambda domain: domain.suspend(), words("The VM cannot be paused"))

    def resume(self, host: str, uuid: str) -> None:
        """Let a guest go on; one that runs goes on running."""
        self._on(host, uuid, _resume, words("The VM cannot be resumed"))

    def set_autostart(self, host: str, uuid: str, *, on: bool) -> None:
        """Set or clear start at boot."""
        self._on(
            host,
            uuid,
            lambda domain: domain.setAutostart(int(on)),
            words("Autostart cannot be changed"),
        )

    def autostart(self, host: str, uuid: str) -> bool:
        """Whether the guest starts at boot."""
        return bool(
            self._on(
                host, uuid, lambda domain: domain.autostart(), words("Autostart cannot be read")
            )
        )

    def set_scheduler(self, host: str, uuid: str, scheduler: Scheduler) -> None:
        """Apply the given parameters to the running guest and to its stored definition.

        See the port.
        """
        chosen = _parameters(scheduler)
        if chosen:
            self._on(
                host,
                uuid,
                lambda domain: _set_scheduler(domain, chosen),
                words("The CPU limits cannot be set"),
            )

    def scheduler(self, host: str, uuid: str) -> Scheduler:
        """The parameters in force; a ceiling of −1 is none."""
        return self._on(host, uuid, _scheduler, words("The CPU limits cannot be read"))

    def cpu_seconds(self, host: str, uuid: str) -> float:
        """CPU time the guest has used on this host since it started or arrived there."""
        what = words("The CPU time cannot be read")
        return self._on(host, uuid, lambda domain: count(domain.info()[4]), what) / 1e9

    def close(self) -> None:
        """Let go of every connection; migrations under way go on."""
        for reader in self._readers.values():
            reader.leave()  # all at once: each connection's end takes a while
        until = time.monotonic() + self._deadline
        for reader in self._readers.values():
            reader.close(until)
        if self._shells is not None:
            self._shells.close()

    def _readings(self, focus: Collection[str], *, glance: bool = False) -> dict[str, Reading]:
        pending = [
            (name, reader, reader.begin(focus, glance=glance))
            for name, reader in self._readers.items()
        ]
        until = time.monotonic() + self._deadline
        return {name: reader.finish(each, until) for name, reader, each in pending}

    def _reader(self, host: str) -> HostReader:
        reader = self._readers.get(host)
        if reader is None:
            raise UnknownNameError(
                words("There is no host “{host}”.", host=host), nearest(host, self._readers)
            )
        return reader

    def _on(self, host: str, uuid: str, call: Callable[[Domain], T], what: Message) -> T:
        return self._ask(host, lambda connection: call(connection.lookupByUUIDString(uuid)), what)

    def _ask(self, host: str, question: Callable[[Connection], T], what: Message) -> T:
        try:
            return self._reader(host).act.ask(question)
        except libvirt.libvirtError as error:
            raise refusal(error, what) from error
        except NONSENSE as error:
            raise nonsense(error, what) from error


def _snapshot_of(taken_at: datetime, readings: Mapping[str, Reading]) -> Snapshot:
    """The cluster of these readings."""
    seen = [vm for reading in readings.values() for vm in reading.vms]
    silent = {name for name, reading in readings.items() if not reading.host.up}
    hosts = tuple(reading.host for reading in readings.values())
    return Snapshot(taken_at, hosts, without_waiting(seen, silent))


def _drops_caches(host: Host) -> bool:
    """Whether every cache mode is safe for a move out of this host.

    Libvirt and QEMU of the last years.
    """
    return host.libvirt_version >= 5_006_000 and host.hypervisor_version >= 4_000_000


def _pools_of(source: Host, target: Host, disk: Disk) -> tuple[str, str] | None:
    """The names of the directory pools in which two hosts have a disk.

    None when one of them has none.
    """
    both = [pool_of(host, disk) for host in (source, target)]
    here, there = (
        pool if pool and pool.active and pool.kind in {"dir", "fs", "netfs"} else None
        for pool in both
    )
    return (here.name, there.name) if here and there else None


def _detail(connection: Connection, uuid: str) -> VmDetail | None:
    try:
        return parse(connection.lookupByUUIDString(uuid).XMLDesc()).detail
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


def _state_on(connection: Connection, uuid: str) -> tuple[int, int] | None:
    try:
        state, why = connection.lookupByUUIDString(uuid).state()
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise
    return count(state), count(why)


def _sighting(host: str, pending: Pending[tuple[int, int] | None], until: float) -> Sighting:
    try:
        seen = pending.wait(until)
        state, paused_by = state_of(*seen) if seen is not None else (None, "")
    except (HostUnreachableError, libvirt.libvirtError, *NONSENSE):
        return Sighting(host, reachable=False)
    return Sighting(host, reachable=True, state=state, paused_by=paused_by)


def _migration_error(
    error: libvirt.libvirtError, move: MigrateVm, what: Message, *, alive: bool
) -> HypervisorError:
    if not alive:
        return HostUnreachableError(
            words(
                "The connection to {source} broke while {vm} was migrating: {reason}.",
                source=move.source,
                vm=move.name,
                reason=report_text(error),
            ),
            words(
                "The migration may continue. Check on which host the VM is: {where}.",
                where=Code(command("/kvm where {}", move.name)),
            ),
        )
    if error.get_error_code() == libvirt.VIR_ERR_MIGRATE_PERSIST_FAILED:
        return HypervisorError(
            words(
                "{vm} moved to {target}, but: {reason}.",
                vm=move.name,
                target=move.target,
                reason=report_text(error),
            ),
            advice(error, move),
        )
    return refusal(error, what, move)


def _hang_up(connection: Connection) -> None:
    try:
        connection.close()
    except libvirt.libvirtError as error:
        raise refusal(error, words("A connection could not be closed")) from error


def _progress(connection: Connection, uuid: str) -> Job | None:
    try:
        domain = connection.lookupByUUIDString(uuid)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise
    return jobs.progress(domain)


def _abort(domain: Domain) -> None:
    try:
        domain.abortJob()
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID and not active_job(domain):
            return  # too late, or too early: there is nothing to cancel
        raise


def _resume(domain: Domain) -> None:
    try:
        domain.resume()
    except libvirt.libvirtError as error:
        running = domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING
        if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID or not running:
            raise


def _parameters(scheduler: Scheduler) -> dict[str, int]:
    """The names and numbers of libvirt. It ignores a ceiling of 0; −1 lifts it."""
    given = {
        libvirt.VIR_DOMAIN_SCHEDULER_CPU_SHARES: scheduler.cpu_shares,
        libvirt.VIR_DOMAIN_SCHEDULER_VCPU_PERIOD: scheduler.vcpu_period,
        libvirt.VIR_DOMAIN_SCHEDULER_VCPU_QUOTA: scheduler.vcpu_quota,
        libvirt.VIR_DOMAIN_SCHEDULER_EMULATOR_PERIOD: scheduler.emulator_period,
        libvirt.VIR_DOMAIN_SCHEDULER_EMULATOR_QUOTA: scheduler.emulator_quota,
    }
    return {
        name: -1 if "quota" in name and value == 0 else value
        for name, value in given.items()
        if value is not None
    }


def _set_scheduler(domain: Domain, chosen: dict[str, int]) -> None:
    # One at a time: libvirt-python asks for the present values with the same flags, and both at
    # once are refused.
    if domain.isActive():
        domain.setSchedulerParametersFlags(chosen, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    if domain.isPersistent():
        domain.setSchedulerParametersFlags(chosen, libvirt.VIR_DOMAIN_AFFECT_CONFIG)


def _scheduler(domain: Domain) -> Scheduler:
    found = domain.schedulerParametersFlags(libvirt.VIR_DOMAIN_AFFECT_CURRENT)
    return Scheduler(
        cpu_shares=found.get(libvirt.VIR_DOMAIN_SCHEDULER_CPU_SHARES),
        vcpu_period=found.get(libvirt.VIR_DOMAIN_SCHEDULER_VCPU_PERIOD),
        vcpu_quota=_quota(found.get(libvirt.VIR_DOMAIN_SCHEDULER_VCPU_QUOTA)),
        emulator_period=found.get(libvirt.VIR_DOMAIN_SCHEDULER_EMULATOR_PERIOD),
        emulator_quota=_quota(found.get(libvirt.VIR_DOMAIN_SCHEDULER_EMULATOR_QUOTA)),
    )


def _quota(value: int | None) -> int | None:
    return -1 if value is not None and value >= _NO_QUOTA else value
