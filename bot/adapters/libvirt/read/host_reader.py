"""One host as it is now, from one short visit, and as it was last when it does not answer."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from types import MappingProxyType
from urllib.parse import urlsplit

import libvirt

from bot.adapters.libvirt.events.definitions import Listening
from bot.adapters.libvirt.read.domain_xml import Definition
from bot.adapters.libvirt.read.inventory import (
    Definitions,
    Facts,
    Pools,
    autostarting,
    facts,
    huge_pages,
    saved_memories,
)
from bot.adapters.libvirt.read.pool_refresh import Refreshes
from bot.adapters.libvirt.read.pools import Storage
from bot.adapters.libvirt.read.stats import Meter, Sample, free_memory, host_busy_ns, sweep
from bot.adapters.libvirt.transport.connections import (
    LOOKS_WAIT,
    Connection,
    HostAddress,
    HostConnection,
    Pending,
    Wires,
)
from bot.adapters.libvirt.transport.errors import report_text
from bot.adapters.libvirt.transport.parts import NONSENSE, Parts, reason
from bot.adapters.libvirt.transport.shared_threads import SharedThreads
from bot.domain.cluster import Health, Host, HugePages, Scheduler, Vm, VmDetail
from bot.domain.errors import HostUnreachableError
from bot.domain.message import Message, join, words
from bot.domain.storage import declare
from bot.domain.unread import Unread
from bot.ports import Clock

_FACTS_OLDEST = 30.0  # seconds: what a host is changes rarely
_FOR_POOLS = 0.7  # of a host's deadline, after which its reading waits for no pools
_UNREAD_OLDEST = 5.0  # what could not be read is tried again sooner, but not at every reading
_DEFINITIONS_OLDEST = 120.0  # seconds; a change that libvirt announces is read at once


# What stands in for a definition that could never be read
_UNKNOWN = Definition(
    "", "", "", "", 0, 0, 0, Scheduler(), MappingProxyType({}), VmDetail(), cpu_xml=""
)


@dataclass(frozen=True, slots=True)
class Reading:
    """One host and its guests. ``facts`` are for looking deeper."""

    host: Host
    vms: tuple[Vm, ...] = ()
    facts: Facts | None = None


@dataclass(frozen=True, slots=True)
class _Now:
    """What of a host differs from one reading to the next; as ``Host`` has it."""

    free: int
    cpu: float | None
    huge_pages: tuple[HugePages, ...] | None
    unread: tuple[Unread, ...]


@dataclass(frozen=True, slots=True)
class Marks:
    """UUIDs of the VMs that start with the host, and of those whose memory is saved."""

    starting: frozenset[str]
    saved: frozenset[str]


class HostReader:
    """Reads one host, over and over, and remembers what it must between two readings.

    ``look`` is for sweeps (read-only where configured), ``act`` for everything that waits for a
    guest or changes it, and ``storage`` for pools. They share a connection while it answers at
    once; none waits long behind another: a pool that is slow costs what is known of pools, not the
    host.
    """

    def __init__(
        self,
        address: HostAddress,
        *,
        clock: Clock,
        deadline: float,
        threads: SharedThreads | None = None,
    ) -> None:
        self.address = address
        self._clock = clock
        self._deadline = deadline
        self._definitions = Definitions(_DEFINITIONS_OLDEST)
        self._facts: tuple[float, Facts] | None = None
        self._facts_before: Facts | None = None
        self._changes = 0
        self._host_meter = Meter()
        self._meters: dict[str, Meter] = {}
        self._news = 0  # how often anything was told to have changed
        self._whole: tuple[int, Reading] | None = None  # the last reading, with the news before it
        listening = Listening(self._forget_vm, self._forget_facts)
        self._listening = listening
        threads = threads or SharedThreads(f"libvirt-{address.name}")
        to_act = Wires(address.name, address.uri, threads)
        self.wires = (
            Wires(address.name, address.read_only_uri, threads, read_only=True)
            if address.read_only_uri
            else to_act
        )
        self.look = HostConnection(
            address.name,
            address.read_only_uri or address.uri,
            clock=clock,
            deadline=deadline,
            opened=self._start_anew,
            closing=listening.end,
            wires=self.wires,
            patience=LOOKS_WAIT,
        )
        self.act = HostConnection(
            address.name, address.uri, clock=clock, deadline=deadline, threads=4, wires=to_act
        )
        self.uri = address.uri
        self.refreshes = Refreshes(address.name)
        self.storage = Storage(address, clock=clock, deadline=deadline, wires=self.wires)
        self._marks = Marks(frozenset(), frozenset())
        self._unseen = _unseen(address)
        self.last = Reading(self._unseen)

    def begin(self, focus: Collection[str], *, glance: bool = False) -> Pending[Reading]:
        """Start a reading; guests in ``focus`` (names or UUIDs).

        Also then the host's facts, are read anew. ``glance``: a host that told no change since the
        last reading is only asked whether it answers.
        """
        self.storage.begin(fresh=bool(focus))
        until = time.monotonic() + _FOR_POOLS * self._deadline
        if glance:
            return self.look.send(lambda connection: self._glance(connection, until))
        return self.look.send(lambda connection: self._read(connection, focus, until))

    def finish(self, pending: Pending[Reading], until: float) -> Reading:
        """The reading, or the last one with what kept the host from answering.

        It never raises for a host's sake.

        A host whose connection stands but which did not answer is STALE, one without a connection
        UNREACHABLE.
        """
        try:
            self.last = pending.wait(until)
        except HostUnreachableError as error:
            return self._as_last_seen(error.why)
        except libvirt.libvirtError as error:
            return self._as_last_seen(report_text(error))
        except NONSENSE as error:
            return self._as_last_seen(reason(error))
        return self.last

    def leave(self) -> None:
        """Ask nothing any more; ``close`` waits for the connections' end."""
        self.look.leave()
        self.act.leave()
        self.storage.leave()

    def close(self, until: float) -> None:
        """Let go of all connections; nobody waits after ``until`` of ``time.monotonic()``."""
        self.leave()
        self.look.close(until)
        self.act.close(until)

    def _as_last_seen(self, problem: Message) -> Reading:
        health = Health.STALE if self.look.is_connected else Health.UNREACHABLE
        return replace(
            self.last,
            host=replace(self.last.host, health=health, problem=problem, cpu=None),
        )

    def _glance(self, connection: Connection, until: float) -> Reading:
        news, reading = self._whole or (None, None)
        if reading is None or news != self._news or not self._listening.hears(connection):
            return self._read(connection, (), until)
        connection.getLibVersion()  # answered by its daemon, however little it is
        return replace(reading, host=replace(reading.host, seen_at=self._clock.now()))

    def _read(self, connection: Connection, focus: Collection[str], until: float) -> Reading:
        news, self._whole = self._news, None
        reading = self._read_all(connection, focus, until)
        self._whole = (news, reading)
        return reading

    def _read_all(self, connection: Connection, focus: Collection[str], until: float) -> Reading:
        parts = Parts(connection)
        known = self._known_facts(connection, fresh=bool(focus))
        busy = parts.read("cpu-load", "", lambda: host_busy_ns(connection))
        samples = sweep(connection, parts)
        at = time.monotonic()
        starting = parts.read("autostart", "", lambda: autostarting(connection))
        kept = parts.read("saved-memory", "", lambda: saved_memories(connection))
        self._marks = Marks(
            self._marks.starting if starting is None else starting,
            self._marks.saved if kept is None else kept,
        )
        vms = []
        for sample in samples:
            fresh = sample.uuid in focus or sample.name in focus
            vm = self._vm(connection, sample, at, fresh=fresh)
            if vm is not None:
                vms.append(vm)
        self._tidy({sample.uuid for sample in samples})
        shared = self._definitions.cached_bytes({vm.uuid for vm in vms if vm.state.active})
        free = parts.read("free-memory", "", lambda: free_memory(connection, shared))
        cpu = None if busy is None else self._host_meter.load(*busy)
        huge = parts.read("free-huge-pages", "", lambda: huge_pages(connection, known))
        stored = self.storage.finish(until)
        unnamed = {vm.name for vm in vms}  # those have their own problem
        unread = [each for each in parts.unread if each.kind != "VM" or each.name not in unnamed]
        now = _Now(free or 0, cpu, huge, (*known.unread, *stored.unread, *unread))
        host = self._host(known, stored, now)
        if self.address.storage:
            host = declare(host, self.address.storage)
        return Reading(host, tuple(vms), known)

    def _vm(self, connection: Connection, sample: Sample, at: float, *, fresh: bool) -> Vm | None:
        """The guest; None when it left the host during the reading."""
        known = self._definitions.read(connection, sample.uuid, fresh=fresh)
        if known is None:
            return None
        # One call: a copy with its definition's part would cost more than all the rest, and of
        # thousands of VMs that shows
        definition = known.definition or _UNKNOWN
        detail = definition.detail if known.definition else None
        if detail is not None and known.snapshots:
            detail = replace(detail, snapshots=known.snapshots)
        return Vm(
            uuid=sample.uuid,
            name=sample.name,
            host=self.address.name,
            state=sample.state,
            vcpus=known.vcpus,
            memory=known.memory,
            memory_max=definition.memory_max,
            cpu=self._load(sample, at),
            persistent=known.persistent,
            autostart=sample.uuid in self._marks.starting,
            paused_by=sample.paused_by,
            scheduler=definition.scheduler,
            tags=definition.tags,
            detail=detail,
            saved=not sample.state.active and sample.uuid in self._marks.saved,
            problem=_both(sample.problem, known.problem),
        )

    def _load(self, sample: Sample, at: float) -> float | None:
        if not sample.state.active or sample.cpu_ns is None:
            self._meters.pop(sample.uuid, None)
            return None
        meter = self._meters.get(sample.uuid)
        if meter is None:
            meter = self._meters[sample.uuid] = Meter()
        return meter.load(at, sample.cpu_ns)

    def _tidy(self, here: set[str]) -> None:
        self._definitions.keep(here)
        for uuid in self._meters.keys() - here:
            self._meters.pop(uuid, None)

    def _known_facts(self, connection: Connection, *, fresh: bool) -> Facts:
        """What is known of the host; what could not be read is read again at the next reading."""
        known, now = self._facts, time.monotonic()
        oldest = _FACTS_OLDEST if known is None or known[1].complete else _UNREAD_OLDEST
        if known is None or fresh or now - known[0] > oldest:
            changes = self._changes
            known = (now, facts(connection, self._facts_before))
            self._facts_before = known[1]
            self._facts = known if changes == self._changes else None  # else it may be old already
        return known[1]

    def _forget_vm(self, uuid: str) -> None:
        self._news += 1
        self._definitions.forget_vm(uuid)

    def _forget_facts(self) -> None:
        self._news += 1
        self._changes += 1
        self._facts = None
        self.storage.forget()

    def _start_anew(self, connection: Connection) -> None:
        """A new connection: what happened while there was none is unknown."""
        self._definitions.forget()
        self._forget_facts()
        self._listening.begin(connection)

    def _host(self, known: Facts, stored: Pools, now: _Now) -> Host:
        return replace(
            self._unseen,
            health=Health.UP,
            seen_at=self._clock.now(),
            problem="",
            uuid=known.uuid,
            hostname=known.hostname,
            cpus=known.cpus,
            memory=known.memory,
            memory_free=now.free,
            cpu=now.cpu,
            cpu_model=known.cpu_model,
            cpu_signature=known.signature,
            cpu_ids=known.capabilities.cpu_ids,
            numa_nodes=known.capabilities.numa_nodes,
            arch=known.arch,
            hypervisor_version=known.hypervisor_version,
            libvirt_version=known.libvirt_version,
            machines=known.machines,
            bridges=known.bridges,
            networks=known.networks,
            pools=stored.pools,
            huge_pages=now.huge_pages,
            unread=now.unread,
        )


def _unseen(address: HostAddress) -> Host:
    """A host of which nothing is known but its configuration."""
    return Host(
        name=address.name,
        health=Health.UNREACHABLE,
        problem=words("never seen"),
        reserve=address.reserve,
        tags=address.tags,
        migrate_address=urlsplit(address.migrate_data_uri).hostname or "",
    )


def _both(one: Message, other: Message) -> Message:
    return join((one, other), "; ") if one or other else ""
