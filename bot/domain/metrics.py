"""What a sweep measures of hosts, guests and pools, and how two counts become a rate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from bot.domain.message import Message
from bot.domain.unread import Unread


class Metric(StrEnum):
    """What history is kept of.

    CPU and wait in cores, memory and space in bytes, disk and net in bytes/s.
    """

    CPU = "cpu"
    WAIT = "wait"
    MEMORY = "memory"
    DISK = "disk"
    NET = "net"
    SPACE = "space"


_SPELLED = {
    "mem": "memory",
    "ram": "memory",
    "cpus": "cpu",
    "load": "cpu",
    "network": "net",
    "nic": "net",
    "io": "disk",
    "disks": "disk",
    "steal": "wait",
    "ready": "wait",
    "storage": "space",
}


def metric_name(typed: str) -> str:
    """The one name of what is measured, of all that people write for it: ``memory`` of ``mem``."""
    name = typed.strip().casefold()
    return _SPELLED.get(name, name)


@dataclass(frozen=True, slots=True)
class Counts:
    """A guest's growing counters at ``at`` (seconds of a monotonic clock).

    None: not asked for, or not told.

    ``busy`` and ``waited`` in nanoseconds: CPU time used, and time its vCPUs were ready but had no
    CPU of the host (libvirt's ``vcpu.<n>.delay``, the kernel's run delay). The rest in bytes.
    """

    at: float
    busy: int | None = None
    waited: int | None = None
    read: int | None = None
    written: int | None = None
    received: int | None = None
    sent: int | None = None


@dataclass(frozen=True, slots=True)
class VmSample:
    """One guest over the time since the sweep before. None: not measured yet, or not told.

    ``cpu``: host cores used; ``wait``: cores it was ready to use and did not get; ``memory``: what
    its balloon holds,
    ``used``: what of it the guest itself says is in use, both in bytes; rates in bytes/s. ``why``:
    the reason of its state, such as ``ioerror`` or ``crashed``.
    """

    uuid: str
    name: str
    host: str
    state: str
    vcpus: int = 0
    cpu: float | None = None
    wait: float | None = None
    memory: int | None = None
    used: int | None = None
    read: float | None = None
    written: float | None = None
    received: float | None = None
    sent: float | None = None
    why: str = ""

    @property
    def disk(self) -> float | None:
        """Bytes/s read and written."""
        return _sum(self.read, self.written)

    @property
    def net(self) -> float | None:
        """Bytes/s received and sent."""
        return _sum(self.received, self.sent)


@dataclass(frozen=True, slots=True)
class Pressure:
    """A kernel's pressure stall information.

    Shares (0..1) of the last minute in which something had to wait.

    The plain ones: some task waited for CPU, memory or disks; ``…_full``: all of them did. Source:
    the kernel's Documentation/accounting/psi.rst. That of CPU is weighted over the host's CPUs.
    ``available``: bytes that the same kernel could still give to new processes (MemAvailable);
    None: not told.
    """

    cpu: float
    memory: float
    memory_full: float
    io: float
    io_full: float
    available: int | None = None


@dataclass(frozen=True, slots=True)
class HostSample:
    """One host: busy cores, cores waiting for its disks, memory in bytes.

    ``seen_at``: when it last answered.

    ``problem``: why it did not answer this time; its numbers are then those of ``seen_at``.
    ``took``: seconds of its answer. ``pressure`` is read at a slower pace, where somebody can tell
    it. ``unread``: what could not be measured. ``memory`` and ``used`` are without the ``huge``
    bytes that are set aside as huge pages, be they in use or not; both are 0 when not known.
    """

    name: str
    seen_at: datetime | None
    problem: Message = ""
    cpus: int = 0
    cpu: float | None = None
    wait: float | None = None
    memory: int = 0
    used: int = 0
    took: float = 0.0
    pressure: Pressure | None = None
    unread: tuple[Unread, ...] = ()
    huge: int = 0

    @property
    def memory_used(self) -> float | None:
        """Bytes in use; None when not known."""
        return float(self.used) if self.memory or self.used else None

    @property
    def silent(self) -> bool:
        """Whether it did not answer this sweep."""
        return bool(self.problem)


@dataclass(frozen=True, slots=True)
class Happening:
    """Something a host told by itself.

    ``kind``: crashed, ioerror, watchdog, threshold or stopped.
    """

    at: datetime
    host: str
    uuid: str
    name: str
    kind: str
    detail: Message = ""


@dataclass(frozen=True, slots=True)
class SnapshotSeen:
    """One snapshot or checkpoint of a guest; looked for now and then, not at every sweep."""

    host: str
    uuid: str
    vm: str
    name: str
    made_at: datetime


@dataclass(frozen=True, slots=True)
class Sweep:
    """All hosts at one moment. ``events``: what they told since the sweep before.

    ``checkpoints`` are libvirt's: points in time that a backup was made at, and the next one can
    begin from.
    """

    at: datetime
    hosts: tuple[HostSample, ...] = ()
    vms: tuple[VmSample, ...] = ()
    events: tuple[Happening, ...] = ()
    snapshots: tuple[SnapshotSeen, ...] = ()
    checkpoints: tuple[SnapshotSeen, ...] = ()

    def host(self, name: str) -> HostSample | None:
        """The sample of a host."""
        return next((host for host in self.hosts if host.name == name), None)


@dataclass(frozen=True, slots=True)
class Point:
    """One thing's values at one moment, for the history.

    ``entity``: ``vm:UUID``, ``host:NAME``, ``pool:HOST/NAME``, or ``CLUSTER``.
    """

    entity: str
    values: Mapping[Metric, float]


@dataclass(frozen=True, slots=True)
class Bucket:
    """``seconds`` of history from ``at`` on.

    The mean, the 95th percentile and the highest of ``count`` values.
    """

    at: datetime
    seconds: int
    mean: float
    p95: float
    peak: float
    count: int


class AlertSeverity(StrEnum):
    """How soon somebody has to look: whenever convenient, today, now."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Incident:
    """Something wrong that people were told of: open, or over since ``over_at``.

    ``times``: how often it came back since it was first told. ``silent_until``: until when nobody
    is reminded of it;
    ``muted``: until it is mended. ``storm``: names the message that it shares with others that
    began with it; '' when it has one of its own.
    """

    key: str
    title: Message
    opened_at: datetime
    over_at: datetime | None = None
    times: int = 1
    channel: str = ""
    ts: str = ""
    acknowledged_by: str = ""
    silent_until: datetime | None = None
    muted: bool = False
    said: Message = ""
    watch: str = ""
    severity: AlertSeverity = AlertSeverity.WARNING
    storm: str = ""

    @property
    def open(self) -> bool:
        """Whether it still stands."""
        return self.over_at is None

    def is_silenced(self, now: datetime) -> bool:
        """Whether people asked to hear no more of it for now."""
        return self.muted or (self.silent_until is not None and now < self.silent_until)


GRAVEST = (AlertSeverity.CRITICAL, AlertSeverity.WARNING, AlertSeverity.INFO)
"""Every severity, the one that waits least first."""


def gravest_first(incidents: Iterable[Incident]) -> tuple[Incident, ...]:
    """Open before over, then by severity, then the newest: a short list leaves out the last."""
    newest = sorted(incidents, key=lambda each: (each.opened_at, each.key), reverse=True)
    return tuple(sorted(newest, key=lambda each: (not each.open, GRAVEST.index(each.severity))))


@dataclass(frozen=True, slots=True)
class Change:
    """Something that is different since a watch looked before.

    A line for the next digest under ``about``, no alert.
    """

    at: datetime
    about: str
    text: Message


CLUSTER = "cluster:all"
"""All hosts together, as the history names them: what those used that answered."""


def vm_entity(uuid: str) -> str:
    """A guest's name in the history."""
    return f"vm:{uuid}"


def host_entity(name: str) -> str:
    """A host's name in the history."""
    return f"host:{name}"


def pool_entity(host: str, pool: str) -> str:
    """A storage pool's name in the history."""
    return f"pool:{host}/{pool}"


def rate(before: int | None, after: int | None, seconds: float) -> float | None:
    """Growth a second of a counter.

    None when it was not told twice, began anew, or no time has passed.
    """
    if before is None or after is None or seconds <= 0 or after < before:
        return None
    return (after - before) / seconds


def points(sweep: Sweep) -> tuple[Point, ...]:
    """What the history keeps of a sweep: hosts that answered, and their guests."""
    up = [host for host in sweep.hosts if not host.silent]
    hosts = (
        Point(host_entity(host.name), _present({
            Metric.CPU: host.cpu, Metric.WAIT: host.wait, Metric.MEMORY: host.memory_used,
        }))
        for host in up
    )  # fmt: skip
    vms = (
        Point(vm_entity(vm.uuid), _present({
            Metric.CPU: vm.cpu, Metric.WAIT: vm.wait, Metric.DISK: vm.disk, Metric.NET: vm.net,
            Metric.MEMORY: vm.memory if vm.used is None else vm.used,
        }))
        for vm in sweep.vms
    )  # fmt: skip
    return tuple(point for point in (Point(CLUSTER, _together(up)), *hosts, *vms) if point.values)


@dataclass(frozen=True, slots=True)
class Losses:
    """What of the history could not be kept.

    Sweeps that wait for the database, and those given up.
    """

    waiting: int = 0
    dropped: int = 0
    why: str = ""


def _together(hosts: Sequence[HostSample]) -> Mapping[Metric, float]:
    """The sums over hosts; of CPU and memory only when every one of them could tell it."""
    if not hosts:
        return {}
    cpu = [host.cpu for host in hosts if host.cpu is not None]
    memory = [host.memory_used for host in hosts if host.memory_used is not None]
    return _present({
        Metric.CPU: sum(cpu) if len(cpu) == len(hosts) else None,
        Metric.WAIT: sum(host.wait or 0.0 for host in hosts),
        Metric.MEMORY: sum(memory) if len(memory) == len(hosts) else None,
    })  # fmt: skip


def _present(values: Mapping[Metric, float | None]) -> Mapping[Metric, float]:
    return MappingProxyType(
        {metric: value for metric, value in values.items() if value is not None}
    )


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None and other is None else (one or 0.0) + (other or 0.0)
