"""What was seen of hosts, for the rules to judge, and how findings are put in order."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from bot.domain.cluster import Vm
from bot.domain.message import Code, Message, Words, words
from bot.domain.power import Reading
from bot.domain.readiness import (
    CommandResult,
    CpuBaseline,
    Finding,
    HostFacts,
    HostReport,
    PairFacts,
    Severity,
)
from plugins.host_check.settings import HostCheckSettings

_NO_ANSWERS: Mapping[str, CommandResult] = MappingProxyType({})

NO_SSH = words("cannot tell: no SSH")
SET_SSH = words(
    'Set `ssh = "user@host"` for it under `[[hosts]]`; without it half of this cannot be told.'
)
SEVERITIES = (Severity.FAIL, Severity.WARN, Severity.UNKNOWN, Severity.PASS)


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything seen of one host.

    ``facts`` None: libvirt did not answer, ``trouble`` says why. ``answers`` of the probes by name;
    empty without a shell, and ``no_shell`` says why, ``shell_fix`` what to do. ``clock`` is how
    many seconds the host's clock is ahead of the bot's, give or take ``clock_error``: half the time
    that asking took.
    """

    host: str
    facts: HostFacts | None = None
    trouble: Message = ""
    answers: Mapping[str, CommandResult] = field(default_factory=lambda: _NO_ANSWERS)
    no_shell: Message = NO_SSH
    shell_fix: Message = SET_SSH
    clock: float | None = None
    clock_error: float = 0.0
    reserve: int = 0
    guests: tuple[Vm, ...] = ()
    readings: tuple[Reading, ...] = ()  # of its power controllers
    bound: frozenset[str] = frozenset()  # those that were shown to be its own
    refuted: frozenset[str] = frozenset()  # those that read it off before while it ran on

    @property
    def shell(self) -> bool:
        """Whether its shell answered."""
        return bool(self.answers)

    @property
    def clock_off(self) -> float | None:
        """Seconds that its clock is ahead at least, without the error of the measurement."""
        if self.clock is None:
            return None
        return math.copysign(max(0.0, abs(self.clock) - self.clock_error), self.clock)

    def answer(self, probe: str) -> CommandResult | None:
        """A probe's answer; None when there is none."""
        return self.answers.get(probe)

    def text(self, probe: str) -> str:
        """What a probe that ended well said; ''."""
        found = self.answers.get(probe)
        return found.out if found is not None and found.ok else ""


@dataclass(frozen=True, slots=True)
class Case:
    """One host to be judged, by these settings, at this moment (UTC)."""

    seen: Seen
    settings: HostCheckSettings
    now: datetime


@dataclass(frozen=True, slots=True)
class SeenPair:
    """What was seen of a source and a target together; ``facts`` None: ``trouble`` says why."""

    source: Seen
    target: Seen
    facts: PairFacts | None = None
    trouble: Message = ""
    answers: Mapping[str, CommandResult] = field(default_factory=lambda: _NO_ANSWERS)
    no_shell: Message = NO_SSH
    # Kind and source of what the source's guests are plugged into
    nics: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Way:
    """One direction of which both sides answered."""

    seen: SeenPair
    pair: PairFacts
    here: HostFacts
    there: HostFacts
    settings: HostCheckSettings
    now: datetime


@dataclass(frozen=True, slots=True)
class PairReport:
    """What was found for one direction."""

    source: str
    target: str
    findings: tuple[Finding, ...]

    @property
    def worst(self) -> Severity:
        """The worst finding's severity."""
        return HostReport(self.source, self.findings).worst

    @property
    def grounds(self) -> tuple[Finding, ...]:
        """What the verdict comes from; nothing where all is well."""
        worst = self.worst
        if worst is Severity.PASS:
            return ()
        return tuple(each for each in self.findings if each.severity is worst)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What `host check` found: reports by host, in the order asked for."""

    reports: tuple[HostReport, ...] = ()


@dataclass(frozen=True, slots=True)
class PairResult:
    """What `host pair` found: one report per direction that was tried.

    ``groups``: of equal hosts, where some directions stand for all; () where all were tried.
    """

    reports: tuple[PairReport, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()
    hosts: int = 0


@dataclass(frozen=True, slots=True)
class BaselineResult:
    """What `host baseline` found; hosts that do not answer are in ``left_out`` with why."""

    baseline: CpuBaseline | None = None
    trouble: Message = ""
    left_out: tuple[tuple[str, Message], ...] = field(default_factory=tuple)


def good(name: str, evidence: Message, label: Message = "") -> Finding:
    """Nothing to do."""
    return Finding(name, Severity.PASS, evidence, "", label)


def warning(name: str, evidence: Message, fix: Message = "", label: Message = "") -> Finding:
    """Works, and should be better."""
    return Finding(name, Severity.WARN, evidence, fix, label)


def failure(name: str, evidence: Message, fix: Message = "", label: Message = "") -> Finding:
    """Does not work, or is dangerous."""
    return Finding(name, Severity.FAIL, evidence, fix, label)


def unknown(name: str, evidence: Message, fix: Message = "", label: Message = "") -> Finding:
    """Nobody could look."""
    return Finding(name, Severity.UNKNOWN, evidence, fix, label)


def command(line: str, note: Message = "", *, host: str = "") -> Words:
    """A fix that is a command, on the host that was checked or on ``host``, with what to know."""
    fix = (
        words("On {host}: {command}", host=host, command=Code(line))
        if host
        else words("{command}", command=Code(line))
    )
    return words("{fix}  ({note})", fix=fix, note=note) if note else fix


def without_stop(text: Message) -> Message:
    """What a host answered, to stand inside a sentence."""
    return text if isinstance(text, Words) else text.rstrip(".")


def cannot_tell(why: Message) -> Words:
    """Why nobody could look."""
    return words("cannot tell: {why}", why=without_stop(why))


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """FAIL, WARN, UNKNOWN, PASS; within one severity as they came."""
    return sorted(findings, key=lambda each: SEVERITIES.index(each.severity))
