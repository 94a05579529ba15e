"""The quick part of a reading: one bulk call for all guests, and loads from two readings."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial

import libvirt

from bot.adapters.libvirt.transport.connections import Connection, is_alive
from bot.adapters.libvirt.transport.parts import (
    HANDLES,
    NO_DRIVER,
    NONSENSE,
    Parts,
    count,
    name_of,
    reason,
    text,
)
from bot.domain.cluster import (
    OS_CRASHED,
    POSTCOPY_FAILED,
    POSTCOPY_INCOMING,
    POSTCOPY_SOURCE,
    STARTING_UP,
    VmState,
)
from bot.domain.errors import UnfitError
from bot.domain.message import Message, words

# Each group costs the host time per guest (measured: BALLOON 1.0 ms, VCPU 0.67 ms, CPU_TOTAL 0.56
# ms), so memory and vCPUs come from the cached definition, which events keep true.
Record = Mapping[str, int]
"""What ``virConnectGetAllDomainStats`` counts of one guest."""

GROUPS = libvirt.VIR_DOMAIN_STATS_STATE | libvirt.VIR_DOMAIN_STATS_CPU_TOTAL

STATES = {
    libvirt.VIR_DOMAIN_NOSTATE: VmState.UNKNOWN,
    libvirt.VIR_DOMAIN_RUNNING: VmState.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: VmState.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: VmState.PAUSED,
    libvirt.VIR_DOMAIN_SHUTDOWN: VmState.SHUTTING_DOWN,
    libvirt.VIR_DOMAIN_SHUTOFF: VmState.SHUT_OFF,
    libvirt.VIR_DOMAIN_CRASHED: VmState.PAUSED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: VmState.SUSPENDED,
}

_PAUSED_BY = {
    libvirt.VIR_DOMAIN_PAUSED_UNKNOWN: "unknown",
    libvirt.VIR_DOMAIN_PAUSED_USER: "user",
    libvirt.VIR_DOMAIN_PAUSED_MIGRATION: "migration",
    libvirt.VIR_DOMAIN_PAUSED_SAVE: "save",
    libvirt.VIR_DOMAIN_PAUSED_DUMP: "dump",
    libvirt.VIR_DOMAIN_PAUSED_IOERROR: "ioerror",
    libvirt.VIR_DOMAIN_PAUSED_WATCHDOG: "watchdog",
    libvirt.VIR_DOMAIN_PAUSED_FROM_SNAPSHOT: "from snapshot",
    libvirt.VIR_DOMAIN_PAUSED_SHUTTING_DOWN: "shutting down",
    libvirt.VIR_DOMAIN_PAUSED_SNAPSHOT: "snapshot",
    libvirt.VIR_DOMAIN_PAUSED_CRASHED: OS_CRASHED,
    libvirt.VIR_DOMAIN_PAUSED_STARTING_UP: STARTING_UP,
    libvirt.VIR_DOMAIN_PAUSED_POSTCOPY: POSTCOPY_SOURCE,
    libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED: POSTCOPY_FAILED,
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One guest at one moment; ``cpu_ns``: CPU time used so far, None when the host did not tell.

    ``problem``: why its state could not be read, '' when it was.
    """

    uuid: str
    name: str
    state: VmState
    paused_by: str
    cpu_ns: int | None
    problem: Message = ""


class Meter:
    """Busy cores from two readings of a growing count of nanoseconds.

    Readings nearer than ``_SHORTEST`` to the last base answer the load known from it: too little
    time has passed to measure.
    """

    __slots__ = ("_at", "_busy", "_load")
    _SHORTEST = 0.5

    def __init__(self) -> None:
        self._at = 0.0
        self._busy: int | None = None
        self._load: float | None = None

    def load(self, at: float, busy: int) -> float | None:
        """Cores busy since the last base; None until there are two readings.

        Args:
            at: seconds of ``time.monotonic()``.
            busy: nanoseconds of CPU used so far; a smaller number than before means a new start.
        """
        if self._busy is None or busy < self._busy:
            self._at, self._busy, self._load = at, busy, None
        elif at - self._at >= self._SHORTEST:
            self._load = (busy - self._busy) / 1e9 / (at - self._at)
            self._at, self._busy = at, busy
        return self._load


def sweep(connection: Connection, parts: Parts) -> list[Sample]:
    """Every guest of a host, in one call that waits for no guest's job."""
    records = read_all(connection, parts, GROUPS)
    with HANDLES:
        found = [_sample(parts, *each) for each in records]
        records.clear()
    return [sample for sample in found if sample is not None]


def read_all(
    connection: Connection, parts: Parts, groups: int
) -> list[tuple[libvirt.virDomain, Record]]:
    """Return each guest's handle and what its host tells of it; an empty record where that failed.

    One call for all; when it fails, which one guest can cause, each guest is asked for by itself.
    """
    nowait = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
    try:
        return [
            (domain, _clean(record))
            for domain, record in connection.getAllDomainStats(groups, nowait)
        ]
    except libvirt.libvirtError:
        if not is_alive(connection):
            raise
    except NONSENSE:
        pass  # who of them it was is found now
    found: list[tuple[libvirt.virDomain, Record]] = []
    for domain in connection.listAllDomains(0):
        ask = partial(_alone, connection, domain, groups | libvirt.VIR_DOMAIN_STATS_STATE)
        record = parts.read("VM", name_of(domain), ask)
        if record is not None or parts.why("VM", name_of(domain)):
            found.append((domain, record or {}))
    return found


def _alone(connection: Connection, domain: libvirt.virDomain, groups: int) -> Record:
    """What is told of one guest; without the costly groups when those are what fails."""
    nowait = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
    try:
        ((_, record),) = connection.domainListGetStats([domain], groups, nowait)
        return _clean(record)
    except (libvirt.libvirtError, *NONSENSE):
        state, reason = domain.state()
        return {"state.state": state, "state.reason": reason}


def host_busy_ns(connection: Connection) -> tuple[float, int] | None:
    """``time.monotonic()`` and the host's CPU time spent so far, in ns.

    None when it does not tell.
    """
    try:
        counts = connection.getCPUStats(libvirt.VIR_NODE_CPU_STATS_ALL_CPUS)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_SUPPORT:
            return None
        raise
    return time.monotonic(), sum(count(counts.get(kind, 0)) for kind in ("kernel", "user", "intr"))


def free_memory(connection: Connection, shared: int = 0) -> int:
    """Bytes a host could still give: free, and what caches would give back.

    ``shared``: bytes of running guests that the host counts as cached and that it cannot give back.
    """
    try:
        counts = connection.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)
    except libvirt.libvirtError as error:
        if error.get_error_code() in NO_DRIVER:
            return count(connection.getFreeMemory())
        raise
    free, buffers, cached = (
        count(counts.get(kind, 0)) * 1024 for kind in ("free", "buffers", "cached")
    )
    return free + buffers + max(0, cached - shared)


# On the target of a post-copy a VM reads "running" while its memory is on its way, and where that
# broke and it will never arrive (libvirt 8.5 and newer).
_RUNNING_WHY = {
    libvirt.VIR_DOMAIN_RUNNING_POSTCOPY: POSTCOPY_INCOMING,
    11: POSTCOPY_FAILED,  # VIR_DOMAIN_RUNNING_POSTCOPY_FAILED
}


@lru_cache(maxsize=256)  # asked for each VM at each look, of a few pairs
def state_of(state: int, reason: int) -> tuple[VmState, str]:
    """Return our state and libvirt's reason where it matters.

    Of every pause, and of a running VM whose memory still arrives by post-copy, or never will.
    """
    ours = STATES.get(state, VmState.UNKNOWN)
    if state == libvirt.VIR_DOMAIN_CRASHED:
        return ours, OS_CRASHED
    if ours is VmState.PAUSED:
        return ours, _PAUSED_BY.get(reason, f"reason {reason}")
    return ours, _RUNNING_WHY.get(reason, "") if ours is VmState.RUNNING else ""


def _sample(parts: Parts, domain: libvirt.virDomain, record: Record) -> Sample | None:
    """One guest; None for a handle that cannot even be named."""
    name = name_of(domain)
    uuid = parts.read("VM", name, lambda: sys.intern(text(domain.UUIDString())))
    if uuid is None:
        return None
    state, paused_by, problem = _state(domain, record)
    problem = parts.why("VM", name) or problem
    cpu = record.get("cpu.time")
    known = isinstance(cpu, int) and 0 <= cpu < 1 << 63
    # The handle keeps both; asking them costs no call. Each look would keep texts of its own
    name = uuid if name == "?" else sys.intern(name)
    return Sample(uuid, name, state, paused_by, cpu if known else None, problem)


def _state(domain: libvirt.virDomain, record: Record) -> tuple[VmState, str, Message]:
    """State, who paused it, and why the state is not known.

    Of an unknown state it is assumed to run if its handle has a number: what runs must never be
    taken for what is off.
    """
    try:
        known = _known_state(record)
    except NONSENSE as error:
        problem = words("its state is not known: {reason}", reason=reason(error))
    else:
        return (*known, "")
    try:
        running = domain.ID() >= 0  # kept in the handle
    except (libvirt.libvirtError, *NONSENSE):
        running = True
    return VmState.RUNNING if running else VmState.SHUT_OFF, "", problem


def _known_state(record: Mapping[str, object]) -> tuple[VmState, str]:
    """Return the state and, for a pause, who paused it.

    Raises:
        KeyError, ValueError: it is not told, or there is no such state.
    """
    code = count(record["state.state"])
    if code not in STATES or code == libvirt.VIR_DOMAIN_NOSTATE:
        raise UnfitError(words("there is no state {code}", code=str(code)))
    return state_of(code, count(record.get("state.reason", 0)))


def _clean(record: Mapping[str, object]) -> Record:
    """Return what a record counts, without values that are no counts: each costs itself alone."""
    return {
        key: value for key, value in dict(record).items()
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 64
    }  # fmt: skip
