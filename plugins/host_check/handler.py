"""Looks at hosts, side by side: the only file of the plugin that asks anything of the world."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

from bot.domain.cluster import Snapshot
from bot.domain.errors import HypervisorError
from bot.domain.message import Message, join, words
from bot.domain.readiness import CommandResult, HostFacts
from bot.plugin_api import Counted
from bot.ports import Hypervisor, PowerAccess, Readiness, Shell
from plugins.host_check import classes, drift, pairs, planner, probes, rules
from plugins.host_check.drift import Ageing
from plugins.host_check.findings import (
    BaselineResult,
    CheckResult,
    PairResult,
    Seen,
    SeenPair,
    cannot_tell,
    without_stop,
)
from plugins.host_check.planner import HostBaseline, HostCheck, HostPair
from plugins.host_check.settings import HostCheckSettings

K = TypeVar("K")
V = TypeVar("V")

_AT_ONCE = 16  # hosts at once; each takes a shell and a thread
_GRACE = 5.0  # seconds that a host is given to tell that time was up
_OF_A_PAIR = (probes.Probe("user", "id -un"), probes.CERTIFICATES)


def check(
    settings: HostCheckSettings,
    intent: HostCheck,
    snapshot: Snapshot,
    hypervisor: Hypervisor,
    counted: Counted = lambda _done, _of: None,
) -> CheckResult:
    """Every host asked for, looked at and judged."""
    names = planner.hosts_asked(intent.hosts, snapshot)
    now = datetime.now(UTC)
    seen = _side_by_side(
        names,
        lambda name: look(settings, name, snapshot, hypervisor),
        lambda done: counted(done, len(names)),
    )
    return CheckResult(tuple(rules.report(seen[name], settings, now) for name in names))


def read_ageing(
    settings: HostCheckSettings, snapshot: Snapshot, hypervisor: Shell
) -> tuple[Ageing, ...]:
    """The clock and the certificates of every host, judged by the same rules as in a check."""
    now = datetime.now(UTC)

    def look_at(name: str) -> Ageing:
        seen = _with_shell(Seen(name), hypervisor, probes.AGEING_PROBES, settings.survey_seconds)
        judged = rules.report(seen, settings, now, rules.AGEING).findings
        told = tuple(each for each in judged if drift.has_alert(each))
        return Ageing(name, seen.clock_off, told) if seen.shell else Ageing(name, None, ())

    return tuple(_side_by_side([host.name for host in snapshot.hosts], look_at).values())


def pair(
    settings: HostCheckSettings,
    intent: HostPair,
    snapshot: Snapshot,
    hypervisor: Hypervisor,
    counted: Counted = lambda _done, _of: None,
) -> PairResult:
    """Every direction between the hosts asked for, looked at and judged.

    Of many hosts the directions that ``classes.directions`` names, which stand for all.
    """
    names = planner.hosts_asked(intent.hosts, snapshot)
    now = datetime.now(UTC)
    counted(0, 2 * len(names))
    hosts = _side_by_side(
        names,
        lambda name: look(settings, name, snapshot, hypervisor, asked=_OF_A_PAIR),
        lambda done: counted(done, 2 * len(names)),
    )
    groups = classes.groups_of([hosts[name] for name in names])
    ways = classes.directions(names, groups)
    of = len(names) + len(ways)
    # One after another out of one host, which would else be asked many things at once; hosts side
    # by side.
    out_of: dict[str, list[str]] = {}
    for source, target in ways:
        out_of.setdefault(source, []).append(target)
    found = _side_by_side(
        out_of,
        lambda name: [
            _look_across(settings, hosts[name], hosts[target], snapshot, hypervisor)
            for target in out_of[name]
        ],
        lambda done: counted(len(names) + done * len(ways) // len(out_of), of),
    )
    reports = {
        (each.source.host, each.target.host): each for name in out_of for each in found[name]
    }
    judged = tuple(pairs.report(reports[way], settings, now) for way in ways)
    whole = len(ways) == len(names) * (len(names) - 1)
    return PairResult(judged, () if whole else groups, len(names))


def baseline(intent: HostBaseline, snapshot: Snapshot, hypervisor: Readiness) -> BaselineResult:
    """The baseline of the hosts asked for that answer."""
    names = planner.hosts_asked(intent.hosts, snapshot)
    silent = tuple(
        (name, snapshot.host(name).problem) for name in names if not snapshot.host(name).up
    )
    up = [name for name in names if snapshot.host(name).up]
    try:
        found = hypervisor.cpu_baseline(up)
        return BaselineResult(found, left_out=(*silent, *found.left_out))
    except HypervisorError as error:
        return BaselineResult(trouble=join((error.text, error.advice)), left_out=silent)


def look(
    settings: HostCheckSettings,
    host: str,
    snapshot: Snapshot,
    hypervisor: Hypervisor,
    *,
    asked: Sequence[probes.Probe] = probes.HOST_PROBES,
) -> Seen:
    """Everything that one host tells. What it does not tell is in the value; nothing is raised."""
    box = snapshot.host(host)
    seen = Seen(host, reserve=box.reserve, guests=snapshot.on(host))
    seen = _with_shell(seen, hypervisor, asked, settings.survey_seconds)
    facts, trouble = _facts(host, hypervisor)
    return _with_power(replace(seen, facts=facts, trouble=trouble), hypervisor)


def _with_power(seen: Seen, hypervisor: PowerAccess) -> Seen:
    """With what the host's power controllers read, and which of them are trusted."""
    power = hypervisor.power
    devices = power.devices(seen.host)
    if not devices:
        return seen
    return replace(
        seen,
        readings=tuple(power.read(each) for each in devices),
        bound=frozenset(each.device for each in power.bonds(seen.host)),
        refuted=frozenset(each.device for each in power.wrong_bonds(seen.host)),
    )


def _facts(host: str, hypervisor: Readiness) -> tuple[HostFacts | None, Message]:
    try:
        return hypervisor.host_facts(host), ""
    except HypervisorError as error:
        return None, without_stop(error.text)


def _with_shell(
    seen: Seen, hypervisor: Shell, asked: Sequence[probes.Probe], deadline: float
) -> Seen:
    try:
        # The connection is opened first, so that it does not count as the clock's difference.
        if hypervisor.run(seen.host, ["true"], deadline=deadline) is None:
            return seen
        ahead, error = _clock(seen.host, hypervisor, deadline)
    except HypervisorError as problem:
        return replace(seen, no_shell=cannot_tell(problem.text), shell_fix=problem.advice)
    answers, why = _answers(seen.host, hypervisor, asked, deadline)
    return replace(
        seen, answers=answers, no_shell=why, shell_fix="", clock=ahead, clock_error=error
    )


def _clock(host: str, hypervisor: Shell, deadline: float) -> tuple[float | None, float]:
    """Seconds that the host's clock is ahead, and the error: it was read between two of ours."""
    before = time.time()
    told = hypervisor.run(host, ["date", "+%s.%N"], deadline=deadline)
    error = (time.time() - before) / 2
    try:
        return (None if told is None else float(told.out.strip()) - before - error), error
    except ValueError:
        return None, error


def _answers(
    host: str, hypervisor: Shell, asked: Sequence[probes.Probe], deadline: float
) -> tuple[Mapping[str, CommandResult], Message]:
    """All answers by probe and '', or none and why."""
    # ``timeout`` ends it there too, for a connection's end stops no program.
    argv = ["timeout", "-k", "1", f"{deadline:g}", "sh", "-c", probes.script(asked)]
    try:
        told = hypervisor.run(host, argv, deadline=deadline + _GRACE)
    except HypervisorError as error:
        return {}, cannot_tell(error.text)
    found = probes.parse_answers(told.out) if told is not None else {}
    if not found:
        return {}, words("cannot tell: the answer of its shell cannot be read")
    # A part would read as if what lacks were not there.
    cut_off = next((probe.name for probe in asked if probe.name not in found), "")
    return (
        ({}, words("cannot tell: its shell stopped at “{probe}”", probe=cut_off))
        if cut_off
        else (found, "")
    )


def _look_across(
    settings: HostCheckSettings,
    source: Seen,
    target: Seen,
    snapshot: Snapshot,
    hypervisor: Hypervisor,
) -> SeenPair:
    nics = {
        (nic.kind, nic.source)
        for vm in snapshot.on(source.host)
        if vm.detail
        for nic in vm.detail.nics
    }
    seen = SeenPair(source, target, nics=tuple(sorted(nics)), no_shell=source.no_shell)
    if source.facts is None or target.facts is None:
        return seen
    try:
        facts = hypervisor.pair_facts(source.host, target.host)
    except HypervisorError as error:
        return replace(seen, trouble=without_stop(error.text))
    seen = replace(seen, facts=facts)
    if not source.shell:
        return seen
    asked = probes.pair_probes(facts.migrate_uri, pairs.memory_address(facts, target.facts))
    answers, why = _answers(source.host, hypervisor, asked, settings.pair_seconds)
    return replace(seen, answers=answers, no_shell=why)


def _side_by_side(
    keys: Iterable[K], look_at: Callable[[K], V], counted: Callable[[int], None] = lambda _: None
) -> dict[K, V]:
    """``look_at`` for each key, several at once; ``counted`` is told how many are done."""
    keys = list(keys)
    done = itertools.count(1)

    def ask(key: K) -> V:
        found = look_at(key)
        counted(next(done))
        return found

    with ThreadPoolExecutor(min(_AT_ONCE, len(keys)) or 1, thread_name_prefix="host-check") as pool:
        return dict(zip(keys, pool.map(ask, keys), strict=True))
