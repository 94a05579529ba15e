"""Whether hosts are fit for their work.

What is known of one, of two together, and what was found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from bot.domain.cluster import Pool
from bot.domain.message import Message
from bot.domain.unread import Unread


class Severity(StrEnum):
    """How a finding is meant; UNKNOWN: nobody could look, which is neither good nor bad."""

    PASS = "PASS"  # noqa: S105 - no password
    WARN = "WARN"
    FAIL = "FAIL"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at.

    Its fixed name, what was seen, and the command (or sentence) that mends it, '' for none.

    ``label``: what it is called for people, where its name says more than a template's words.
    """

    name: str
    severity: Severity
    evidence: Message
    fix: Message = ""
    label: Message = ""


@dataclass(frozen=True, slots=True)
class HostReport:
    """Everything found on one host, in the order of the rules."""

    host: str
    findings: tuple[Finding, ...]

    def count(self, severity: Severity) -> int:
        """How many findings are of this severity."""
        return sum(1 for each in self.findings if each.severity is severity)

    @property
    def worst(self) -> Severity:
        """FAIL before WARN before UNKNOWN before PASS."""
        order = (Severity.FAIL, Severity.WARN, Severity.UNKNOWN)
        return next((each for each in order if self.count(each)), Severity.PASS)


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a program on a host answered.

    ``code`` its exit code, ``seconds`` from asking to the answer.
    """

    code: int
    out: str
    err: str = ""
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether it ended with 0."""
        return self.code == 0


@dataclass(frozen=True, slots=True)
class Net:
    """A libvirt network; ``bridge`` '' for kinds without one.

    ``persistent``: its definition is stored, so that it is there after a restart.
    """

    name: str
    active: bool
    autostart: bool
    bridge: str = ""
    persistent: bool = True


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What libvirt itself tells of a host that answers. Memory in bytes.

    Versions as libvirt counts them.

    ``virt_types`` are the accelerators libvirt offers (``kvm``, ``qemu``), which says nothing of
    whether they work. ``huge_pages`` maps a page size in KiB to their number; ``iommu`` None: this
    libvirt does not tell. ``shared_pages`` are memory pages merged by KSM. ``unread``: parts of it
    that could not be read. ``cpu``: words that together tell one CPU from another.
    """

    host: str
    hostname: str = ""
    uuid: str = ""
    libvirt_version: int = 0
    hypervisor_version: int = 0
    arch: str = ""
    cpus: int = 0
    numa_nodes: int = 1
    memory: int = 0
    cpu_model: str = ""
    emulator: str = ""
    virt_types: frozenset[str] = frozenset()
    machines: frozenset[str] = frozenset()
    iommu: bool | None = None
    transports: tuple[str, ...] = ()
    security: tuple[str, ...] = ()
    huge_pages: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))
    shared_pages: int | None = None
    pools: tuple[Pool, ...] = ()
    networks: tuple[Net, ...] = ()
    bridges: frozenset[str] = frozenset()
    secrets: tuple[str, ...] = ()
    hardware: str = ""  # the machine's maker and model, '' when not told
    unread: tuple[Unread, ...] = ()

    def why_unread(self, kind: str) -> Message:
        """Return why something of a kind, or all of it, could not be read; '' when all was."""
        return next((each.why for each in self.unread if each.kind == kind), "")

    cpu: frozenset[str] = frozenset()


class CpuOrder(StrEnum):
    """How a target's CPU stands to a source's, as the target's libvirt compares them."""

    IDENTICAL = "identical"
    SUPERSET = "superset"
    INCOMPATIBLE = "incompatible"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class PairFacts:
    """What two hosts are to each other.

    ``migrate_uri`` is how the source's daemon reaches the target.

    ``migrate_tls``: QEMU encrypts what a migration sends there.
    ``cpu``: whether a guest with all that the source's CPU offers runs on the target; ``cpu_why``
    names what lacks.
    """

    source: str
    target: str
    cpu: CpuOrder = CpuOrder.UNKNOWN
    cpu_why: Message = ""
    migrate_uri: str = ""
    migrate_data_uri: str = ""
    migrate_tls: bool = False


@dataclass(frozen=True, slots=True)
class GuestCpu:
    """A running guest's CPU against a baseline.

    ``beyond`` are features it has and the baseline lacks.

    ``mode`` as in its definition; host-passthrough runs on identical hosts only, whatever the
    baseline.
    """

    name: str
    host: str
    mode: str
    model: str = ""
    beyond: tuple[str, ...] = ()
    virt_type: str = ""
    problem: Message = ""


@dataclass(frozen=True, slots=True)
class CpuBaseline:
    """The CPU that every one of ``hosts`` can run under ``virt_type``.

    ``xml`` is ready for a definition.

    ``left_out``: hosts that do not tell their CPU, with why.
    """

    hosts: tuple[str, ...]
    virt_type: str
    model: str
    vendor: str
    features: tuple[str, ...]
    disabled: tuple[str, ...]
    xml: str
    guests: tuple[GuestCpu, ...] = ()
    left_out: tuple[tuple[str, Message], ...] = ()
