"""Measures all hosts side by side.

One bulk question to each, under a deadline.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

import libvirt

from bot.adapters.libvirt.events.incidents import Alarms
from bot.adapters.libvirt.read.domain_xml import document, parse
from bot.adapters.libvirt.read.inventory import mark_of, pages_of, pages_set_aside
from bot.adapters.libvirt.read.stats import Record, read_all, state_of
from bot.adapters.libvirt.transport.connections import (
    LOOKS_WAIT,
    Connection,
    HostAddress,
    HostConnection,
    Pending,
    Wires,
)
from bot.adapters.libvirt.transport.parts import (
    HANDLES,
    NO_DRIVER,
    NONSENSE,
    Parts,
    count,
    moment,
    name_of,
    reason,
    text,
)
from bot.domain.cluster import VmState
from bot.domain.errors import HostUnreachableError
from bot.domain.message import Message, words
from bot.domain.metrics import Counts, HostSample, SnapshotSeen, Sweep, VmSample, rate
from bot.domain.unread import Unread
from bot.ports import Clock

# Measured on libvirtd 9, per guest: VCPU 0.67 ms, CPU_TOTAL 0.56, BALLOON 1.0, BLOCK 1.6. What
# costs more is asked for less often; what it told last stands meanwhile.
_ALWAYS = (
    libvirt.VIR_DOMAIN_STATS_STATE
    | libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
    | libvirt.VIR_DOMAIN_STATS_VCPU
)
_SLOW = (
    libvirt.VIR_DOMAIN_STATS_BALLOON
    | libvirt.VIR_DOMAIN_STATS_INTERFACE
    | libvirt.VIR_DOMAIN_STATS_BLOCK
)
_KEPT_EVERY = 600.0  # seconds: snapshots are counted in days, and each VM is asked for its own
_HUGE_EVERY = 60.0  # seconds: huge pages are reserved by people, not by load
_WITH_MEMORY = frozenset(
    {
        libvirt.VIR_DOMAIN_RUNNING,
        libvirt.VIR_DOMAIN_BLOCKED,
        libvirt.VIR_DOMAIN_PAUSED,
        libvirt.VIR_DOMAIN_SHUTDOWN,
        libvirt.VIR_DOMAIN_PMSUSPENDED,
    }
)
GAP = 120.0  # seconds without a look, after which a rate since the last one says little of now
_UNREAD_EVERY = 60.0  # what could not be read is tried again sooner
_OFF_BY_ITSELF = {
    libvirt.VIR_DOMAIN_SHUTOFF_CRASHED: "crashed",
    libvirt.VIR_DOMAIN_SHUTOFF_FAILED: "failed",
}


@dataclass(frozen=True, slots=True)
class Kept:
    """The snapshots and checkpoints of a host's guests, and what of them could not be read."""

    snapshots: tuple[SnapshotSeen, ...] = ()
    checkpoints: tuple[SnapshotSeen, ...] = ()
    unread: tuple[Unread, ...] = ()


class Costly(NamedTuple):
    """What of a VM is asked for less often, as ``VmSample`` has it."""

    memory: int | None = None
    used: int | None = None
    read: float | None = None
    written: float | None = None
    received: float | None = None
    sent: float | None = None


_UNTOLD = Costly()

_Run = tuple[str, int]
"""A guest's UUID and the number of its run."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """One host's answer: its own sample and its guests'.

    When it was made, by ``time.monotonic()``.
    """

    host: HostSample
    vms: tuple[VmSample, ...]
    kept: Kept


class LibvirtSampler:
    """The port ``Sampler``: one question to every host.

    Args:
        hosts: who they are and how they are reached; the read-only way is taken where there is one.
        clock: stamps what is seen.
        deadline: seconds a host has for its answer.
        slow_every: how many sweeps pass between two looks at balloon, disks and network.
        gap: seconds without a measurement of a host after which its rates begin anew.
        wires: the connections by host that others use too; hosts without have some of their own.
    """

    def __init__(
        self,
        hosts: Sequence[HostAddress],
        *,
        clock: Clock,
        deadline: float = 5.0,
        slow_every: int = 4,
        gap: float = GAP,
        wires: Mapping[str, Wires] = MappingProxyType({}),
    ) -> None:
        self._clock = clock
        self._deadline = deadline
        self._hosts = [
            HostSampler(
                each,
                clock=clock,
                deadline=deadline,
                slow_every=slow_every,
                gap=gap,
                wires=wires.get(each.name),
            )
            for each in hosts
        ]

    def sweep(self, hosts: Collection[str] | None = None) -> Sweep:
        """Ask hosts at once; see the port."""
        at = self._clock.now()
        wanted = [host for host in self._hosts if hosts is None or host.name in hosts]
        asked = [(host, host.begin()) for host in wanted]
        until = time.monotonic() + self._deadline
        answers = [host.finish(pending, until) for host, pending in asked]
        return Sweep(
            at,
            tuple(each.host for each in answers),
            tuple(vm for each in answers for vm in each.vms),
            tuple(event for host in self._hosts for event in host.alarms.take()),
            tuple(seen for each in answers for seen in each.kept.snapshots),
            tuple(seen for each in answers for seen in each.kept.checkpoints),
        )

    def close(self) -> None:
        """Let go of every connection."""
        for host in self._hosts:
            host.line.leave()
        for host in self._hosts:
            host.line.close()


class HostSampler:
    """Measures one host, over and over, and remembers the counters of the time before."""

    def __init__(
        self,
        address: HostAddress,
        *,
        clock: Clock,
        deadline: float,
        slow_every: int,
        gap: float = GAP,
        wires: Wires | None = None,
    ) -> None:
        self.name = address.name
        self._clock = clock
        self._slow_every = slow_every
        self._gap = gap
        self._measured_at = float("-inf")
        self._sweeps = 0
        self._host_counts: tuple[float, Mapping[str, int]] | None = None
        self._fast: dict[str, Counts] = {}
        self._slow: dict[str, Counts] = {}
        self._costly: dict[str, Costly] = {}
        self._kept: tuple[float, Kept] | None = None
        # How a guest's memory is backed does not change while it runs
        self._shared: dict[_Run, bool] = {}
        self._resident: dict[_Run, int] = {}
        self._huge = (float("-inf"), b"", 0)
        self._last = _Answer(HostSample(address.name, None, "never seen"), (), Kept())
        self.alarms = Alarms(address.name, clock)
        uri = address.read_only_uri or address.uri
        self.line = HostConnection(
            address.name,
            uri,
            clock=clock,
            deadline=deadline,
            threads=1,
            read_only=bool(address.read_only_uri),
            opened=self.alarms.begin,
            closing=self.alarms.end,
            wires=wires,
            patience=LOOKS_WAIT,
        )

    def begin(self) -> Pending[_Answer]:
        """Put the question."""
        return self.line.send(self._measure)

    def finish(self, pending: Pending[_Answer], until: float) -> _Answer:
        """The answer; without one in time the last numbers, with the problem.

        Old guests' rates are not repeated.
        """
        try:
            self._last = pending.wait(until)
        except HostUnreachableError as error:
            return self._silent(error.why)
        except (libvirt.libvirtError, *NONSENSE) as error:
            return self._silent(reason(error))
        return self._last

    def _silent(self, problem: Message) -> _Answer:
        host = replace(self._last.host, problem=problem or words("no answer"), cpu=None, wait=None)
        return replace(self._last, host=host, vms=())

    def _measure(self, connection: Connection) -> _Answer:
        began = time.monotonic()
        if began - self._measured_at > self._gap:
            self._begin_anew()
        self._measured_at = began
        slow = self._sweeps % self._slow_every == 0
        self._sweeps += 1
        parts = Parts(connection)
        records = read_all(connection, parts, _ALWAYS | (_SLOW if slow else 0))
        at = time.monotonic()
        with HANDLES:
            found = [self._try_vm(parts, *each, at, slow=slow) for each in records]
            runs = [_run_of(parts, *each, vm) for each, vm in zip(records, found, strict=True)]
        vms = tuple([vm for vm in found if vm is not None])
        self._forget_others({vm.uuid for vm in vms})
        shared = sum(
            self._in_cache(parts, domain, record, run)
            for (domain, record), run in zip(records, runs, strict=True)
            if run is not None
        )
        with HANDLES:
            records.clear()
        host = self._host(parts, connection, time.monotonic(), shared)
        kept = self._memory_of(connection)
        unread = (*parts.unread, *kept.unread)
        return _Answer(replace(host, took=time.monotonic() - began, unread=unread), vms, kept)

    def _begin_anew(self) -> None:
        """Compare with nothing: a mean over the long time without a look says little of now."""
        self._sweeps = 0
        self._host_counts = None
        for known in (self._fast, self._slow, self._costly):
            known.clear()

    def _try_vm(
        self, parts: Parts, domain: libvirt.virDomain, record: Record, at: float, *, slow: bool
    ) -> VmSample | None:
        """One guest's sample; None, and told why, when what its host tells of it makes no sense."""
        try:
            return self._vm(domain, record, at, slow=slow)
        except (libvirt.libvirtError, *NONSENSE) as error:
            parts.note("VM", name_of(domain), reason(error))
            return None

    def _vm(self, domain: libvirt.virDomain, record: Record, at: float, *, slow: bool) -> VmSample:
        # The handle keeps name and UUID; asking them costs no call
        uuid = sys.intern(text(domain.UUIDString()))
        state, why = state_of(count(record["state.state"]), count(record.get("state.reason", 0)))
        if state is VmState.SHUT_OFF:
            why = _OFF_BY_ITSELF.get(record.get("state.reason", 0), "")
        now = _fast_counts(record, at)
        then = self._fast.get(uuid, now)
        self._fast[uuid] = now
        cores = rate(then.busy, now.busy, now.at - then.at)
        waited = rate(then.waited, now.waited, now.at - then.at)
        if slow:
            costly = self._costly_of(uuid, record, at)
        else:
            costly = self._costly.get(uuid, _UNTOLD) if state.active else _UNTOLD
        self._costly[uuid] = costly
        return VmSample(
            uuid,
            sys.intern(text(domain.name())),
            self.name,
            state.value,
            count(record.get("vcpu.current", 0)),
            cpu=None if cores is None else cores / 1e9,
            wait=None if waited is None else waited / 1e9,
            memory=costly.memory,
            used=costly.used,
            read=costly.read,
            written=costly.written,
            received=costly.received,
            sent=costly.sent,
            why=why,
        )

    def _costly_of(self, uuid: str, record: Record, at: float) -> Costly:
        now = _slow_counts(record, at)
        then = self._slow.get(uuid, now)
        self._slow[uuid] = now
        passed = now.at - then.at
        memory, used = _memory(record)
        return Costly(
            memory,
            used,
            rate(then.read, now.read, passed),
            rate(then.written, now.written, passed),
            rate(then.received, now.received, passed),
            rate(then.sent, now.sent, passed),
        )

    def _forget_others(self, here: set[str]) -> None:
        for known in (self._fast, self._slow, self._costly):
            for uuid in known.keys() - here:
                known.pop(uuid, None)
        for run in [run for run in self._shared if run[0] not in here]:
            self._shared.pop(run)
            self._resident.pop(run, None)

    def _in_cache(self, parts: Parts, domain: libvirt.virDomain, record: Record, run: _Run) -> int:
        """Bytes of a guest that are taken and that its host counts as cached.

        What is resident is told with the balloon; of it, QEMU's own is beyond the guest's memory.
        """
        if run not in self._shared:
            made = parts.read("definition", name_of(domain), lambda: parse(domain.XMLDesc()))
            if made is None:
                return 0
            self._shared[run] = made.in_cache
        if not self._shared[run]:
            return 0
        if "balloon.rss" in record:
            self._resident[run] = 1024 * min(
                record["balloon.rss"], record.get("balloon.current", record["balloon.rss"])
            )
        return self._resident.get(run, 0)

    def _set_aside(self, parts: Parts, connection: Connection) -> int:
        """Bytes of huge pages: set aside rarely, so they are looked up now and then."""
        now = time.monotonic()
        if now - self._huge[0] > _HUGE_EVERY:
            found = parts.read("huge-pages", "", lambda: self._huge_pages(connection))
            if found is not None:
                self._huge = (now, *found)
        return self._huge[2]

    def _huge_pages(self, connection: Connection) -> tuple[bytes, int]:
        """The mark of the text that tells of them, and their bytes; as before when it reads so."""
        _, mark, size = self._huge
        xml = text(connection.getCapabilities())
        if (new := mark_of(xml)) != mark:
            found = pages_set_aside(pages_of(document(xml)))
            mark, size = new, sum(size * number for size, number in found)
        return mark, size

    def _host(self, parts: Parts, connection: Connection, at: float, shared: int) -> HostSample:
        before_this = self._last.host
        cpus = parts.read("cpus", "", lambda: count(connection.getInfo()[2]))
        told = parts.read("memory", "", lambda: _host_memory(connection, shared))
        huge = self._set_aside(parts, connection)
        # 0 bytes of memory say that its use is not known; what it has may be known from before
        total, used = told or (0, 0)
        memory, used = max(0, total - huge), max(0, used - huge)
        before, now = (
            self._host_counts,
            parts.read("cpu-load", "", lambda: _host_counts(connection)),
        )
        self._host_counts = None if now is None else (at, now)
        busy = waited = None
        if before is not None and now is not None:
            passed = at - before[0]
            busy = rate(_busy(before[1]), _busy(now), passed)
            waited = rate(before[1].get("iowait", 0), now.get("iowait", 0), passed)
        return HostSample(
            self.name, self._clock.now(), "", before_this.cpus if cpus is None else cpus,
            cpu=None if busy is None else busy / 1e9,
            wait=None if waited is None else waited / 1e9,
            memory=memory, used=used, huge=huge,
        )  # fmt: skip

    def _memory_of(self, connection: Connection) -> Kept:
        now = time.monotonic()
        oldest = _UNREAD_EVERY if self._kept and self._kept[1].unread else _KEPT_EVERY
        if self._kept is None or now - self._kept[0] > oldest:
            parts = Parts(connection)
            snapshots = _list(parts, connection, self.name, "snapshot")
            checkpoints = _list(parts, connection, self.name, "checkpoint")
            self._kept = (now, Kept(snapshots, checkpoints, parts.unread))
        return self._kept[1]


def _run_of(
    parts: Parts, domain: libvirt.virDomain, record: Record, vm: VmSample | None
) -> _Run | None:
    """The run of a guest that has memory; what was read of it spares writing its UUID again."""
    if record.get("state.state") not in _WITH_MEMORY:
        return None
    name = vm.name if vm else name_of(domain)
    return parts.read(
        "VM", name, lambda: (vm.uuid if vm else text(domain.UUIDString()), count(domain.ID()))
    )


def _fast_counts(record: Record, at: float) -> Counts:
    delays = [
        value for key, value in record.items() if key.startswith("vcpu.") and key.endswith(".delay")
    ]
    return Counts(at, busy=record.get("cpu.time"), waited=sum(delays) if delays else None)


def _slow_counts(record: Record, at: float) -> Counts:
    return Counts(
        at,
        read=_total(record, "block.", ".rd.bytes"),
        written=_total(record, "block.", ".wr.bytes"),
        received=_total(record, "net.", ".rx.bytes"),
        sent=_total(record, "net.", ".tx.bytes"),
    )


def _total(record: Record, start: str, end: str) -> int | None:
    found = [
        int(value) for key, value in record.items() if key.startswith(start) and key.endswith(end)
    ]
    return sum(found) if found else None


def _memory(record: Record) -> tuple[int | None, int | None]:
    """Bytes the balloon holds, and what.

    Of them the guest says it uses (its driver reports every few seconds).
    """
    current, available = record.get("balloon.current"), record.get("balloon.available")
    free = record.get("balloon.usable", record.get("balloon.unused"))
    used = (available - free) * 1024 if available is not None and free is not None else None
    return None if current is None else current * 1024, used


def _host_memory(connection: Connection, shared: int) -> tuple[int, int]:
    """A host's memory and what of it is in use, in bytes.

    Caches do not count as used, except what is ``shared``.

    The kernel counts guests' shared memory (memfd) as cached, though it cannot be given back.
    """
    try:
        counts = connection.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)
    except libvirt.libvirtError as error:
        if error.get_error_code() not in NO_DRIVER:
            raise
        total = count(connection.getInfo()[1]) << 20
        return total, max(0, total - count(connection.getFreeMemory()))
    total = count(counts.get("total", 0)) * 1024
    free, buffers, cached = (
        count(counts.get(kind, 0)) * 1024 for kind in ("free", "buffers", "cached")
    )
    return total, max(0, total - free - buffers - max(0, cached - shared))


def _host_counts(connection: Connection) -> Mapping[str, int] | None:
    try:
        counts = connection.getCPUStats(libvirt.VIR_NODE_CPU_STATS_ALL_CPUS)
    except libvirt.libvirtError as error:
        if error.get_error_code() in NO_DRIVER:
            return None
        raise
    return {kind: count(value) for kind, value in counts.items()}


def _busy(counts: Mapping[str, int]) -> int:
    return sum(counts.get(kind, 0) for kind in ("kernel", "user", "intr"))


_KINDS: Mapping[
    str,
    tuple[
        int,
        Callable[
            [libvirt.virDomain], list[libvirt.virDomainSnapshot | libvirt.virDomainCheckpoint]
        ],
    ],
] = {
    "snapshot": (
        libvirt.VIR_CONNECT_LIST_DOMAINS_HAS_SNAPSHOT,
        lambda it: list(it.listAllSnapshots()),
    ),
    "checkpoint": (
        libvirt.VIR_CONNECT_LIST_DOMAINS_HAS_CHECKPOINT,
        lambda it: list(it.listAllCheckpoints()),
    ),
}


def _list(parts: Parts, connection: Connection, host: str, kind: str) -> tuple[SnapshotSeen, ...]:
    """What guests have of a kind, without what cannot be read."""
    having, of = _KINDS[kind]
    found: list[SnapshotSeen] = []
    for domain in parts.list_all(kind, lambda: connection.listAllDomains(having)):
        vm = name_of(domain)
        uuid = parts.read("VM", vm, partial(_uuid_of, domain))
        made = parts.read(f"{kind}s", vm, partial(of, domain))
        for each in made or [] if uuid else []:
            what = f"{vm}/{name_of_snapshot(each)}"
            seen = parts.read(kind, what, partial(_snapshot_of, host, str(uuid), vm, each))
            found += [seen] if seen else []
    return tuple(found)


def _uuid_of(domain: libvirt.virDomain) -> str:
    return text(domain.UUIDString())


def name_of_snapshot(thing: libvirt.virDomainSnapshot | libvirt.virDomainCheckpoint) -> str:
    """Return the name that a snapshot's or checkpoint's handle keeps; ``?`` when it has none."""
    try:
        return text(thing.getName())
    except (libvirt.libvirtError, *NONSENSE):
        return "?"


def _snapshot_of(
    host: str, uuid: str, vm: str, thing: libvirt.virDomainSnapshot | libvirt.virDomainCheckpoint
) -> SnapshotSeen:
    made = moment(document(thing.getXMLDesc()).findtext("creationTime") or "0")
    return SnapshotSeen(host, uuid, vm, text(thing.getName()), made)
