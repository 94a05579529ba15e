"""Pure: from a dead host, with the evidence, to a plan; or everything that stands against one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bot.domain.cluster import POSTCOPY_INCOMING, POSTCOPY_SOURCE, Host, Snapshot, Vm
from bot.domain.message import Duration, Names, nwords, words
from bot.domain.placement import fullness
from bot.domain.plan import Blast, HostBar, Objection, Plan, Prediction, Reason, Refused, Risk
from bot.domain.power import Power
from bot.domain.steps import AttestOff, HoldHost, Step
from bot.plugin_api import Rules
from plugins.failover import quiet, recovery, reports, variables
from plugins.failover.candidates import (
    PRIORITY,
    StaysOff,
    Wanted,
    choose,
    has_odd_priority,
    old_copies,
)
from plugins.failover.corpses import corpses, without_corpses
from plugins.failover.evidence import Evidence
from plugins.failover.intents import Failover
from plugins.failover.places import Placed, place
from plugins.failover.settings import FailoverSettings
from plugins.failover.steps import AwaitReady, ClearCorpse, ConfirmOff, FenceHost, RestartVm
from plugins.failover.verdict import Judged, Patience, Verdict, automatic_objection, judge


def patience(settings: FailoverSettings) -> Patience:
    """The configured times."""
    return Patience(settings.silence, 3, settings.start_cooldown, settings.storm_cooldown)


def plan(
    settings: FailoverSettings,
    intent: Failover,
    snapshot: Snapshot,
    rules: Rules,  # noqa: ARG001 - an Action's shape
) -> Plan | Refused:
    """Hold, fence, confirm, and start in waves; or why not now."""
    host = snapshot.host(intent.host)
    title = words("Start the VMs of {host} elsewhere", host=host.name)
    if against := objections(settings, intent, host):
        return Refused(title, against)
    return what_if(settings, intent, snapshot)


def what_if(settings: FailoverSettings, intent: Failover, snapshot: Snapshot) -> Plan | Refused:
    """The plan as if the host were dead, whatever the evidence says."""
    host = snapshot.host(intent.host)
    seen = without_corpses(snapshot, host.name, intent.kept)
    wanted = Wanted(intent.skip, intent.only)
    candidates, off = choose(settings, seen, host.name, intent.kept, wanted)
    placed, nowhere = place(settings, seen, host.name, candidates)
    stays = (*off, *nowhere)
    if not placed:
        why = tuple(each.why for each in stays) or (_nothing(host),)
        return Refused(words("Start the VMs of {host} elsewhere", host=host.name), why)
    steps = tuple(_steps(settings, intent, snapshot, placed))
    return Plan(
        reports.title(host.name, len(placed), attested=bool(intent.attested)),
        steps,
        Risk.HIGH,
        Blast(
            tuple(each.candidate.vm.name for each in placed),
            tuple(dict.fromkeys(name for step in steps for name in step.hosts)),
            sum(each.candidate.vm.memory for each in placed),
        ),
        Prediction(
            seconds=max(recovery.forecast(steps).values()),
            basis=words("typical times of its steps"),
        ),
        reasons=tuple(reports.evidence(intent.evidence)) if intent.evidence else (),
        warnings=tuple(_warnings(settings, intent, snapshot, placed, stays)),
        bars=tuple(_bars(snapshot, placed)),
        tags=tuple(
            sorted({f"{k}={v}" for each in placed for k, v in each.candidate.vm.tags.items()})
        ),
    )


def still_good(
    settings: FailoverSettings,
    intent: Failover,
    planned: Plan,  # noqa: ARG001
    snapshot: Snapshot,
    rules: Rules,  # noqa: ARG001
) -> tuple[Objection, ...]:
    """What stands against beginning.

    A host that is no longer silent, or that people admitted again.
    """
    return objections(settings, intent, snapshot.host(intent.host))


def objections(settings: FailoverSettings, intent: Failover, host: Host) -> tuple[Objection, ...]:
    """Why the host is not to be switched off now; () when its silence is death."""
    if intent.evidence is None:
        return (
            Objection("no-evidence", words("Nobody could be asked about {host}.", host=host.name)),
        )
    evidence = quiet.expect(intent.evidence, intent.quiet)
    judged = judge(evidence, patience(settings))
    provable = judged.verdict in {Verdict.GONE, Verdict.DEAD}
    if intent.attested and provable:
        return (reports.provable(host.name),)
    if intent.by_itself and (cause := automatic_objection(intent.evidence, judged)):
        return (reports.not_by_itself(intent.evidence, cause),)
    if provable or (intent.attested and judged.verdict is Verdict.DARK):
        return ()
    if intent.despite_life and judged.verdict in _OVERRULED:
        return () if _level(evidence)[1] else (reports.no_controller(host.name),)
    return (reports.against(host.name, judged, intent.evidence),)


_OVERRULED = frozenset(
    {Verdict.UNCLEAR, Verdict.DEAF, Verdict.REBORN, Verdict.ISOLATED, Verdict.CUT_OFF}
)
"""What people may overrule: the host lives, and does not do its work."""


def _nothing(host: Host) -> Objection:
    return Objection(
        "no-vms", words("No VM was running on {host} when it was last seen.", host=host.name)
    )


def _steps(
    settings: FailoverSettings, intent: Failover, snapshot: Snapshot, placed: Sequence[Placed]
) -> Iterable[Step]:
    host, evidence = intent.host, intent.evidence
    why = words("unreachable for {time}", time=Duration(evidence.silent_for)) if evidence else ""
    yield HoldHost(host, on=True, why=why)
    if intent.attested:
        yield AttestOff(host, intent.attested)
    else:
        level, devices = _level(evidence)
        yield FenceHost(host, level, devices, despite_life=intent.despite_life)
        yield ConfirmOff(host, level, settings.confirm_reads, settings.confirm_every)
    wanted = {each.candidate.vm.uuid for each in placed}
    for vm in corpses(snapshot, host, intent.kept):
        if vm.uuid in wanted and vm.host != host:
            yield ClearCorpse(vm.uuid, vm.name, vm.host, vm.paused_by, host)
    for each in placed:
        yield from _starts(settings, snapshot.host(host), each)


def _level(evidence: Evidence | None) -> tuple[int, tuple[str, ...]]:
    """The first level whose controllers all answer and are all bound to the host."""
    readings = evidence.power if evidence else ()
    bound = evidence.bound if evidence else frozenset()
    for level in sorted({each.level for each in readings}):
        mine = [each for each in readings if each.level == level]
        if all(each.device in bound and each.power is not Power.UNKNOWN for each in mine):
            return level, tuple(each.device for each in mine)
    return 0, ()


def _starts(settings: FailoverSettings, lost: Host, placed: Placed) -> Iterable[Step]:
    each, vm = placed.candidate, placed.candidate.vm
    yield RestartVm(
        vm.uuid,
        vm.name,
        lost.name,
        placed.target,
        each.kept.sha,
        vm.memory,
        each.wave,
        settings.starts_per_host,
        reset_nvram=variables.are_lost(lost, each.kept),
    )
    if each.ready != "none":
        yield AwaitReady(
            vm.uuid, vm.name, placed.target, each.ready, settings.ready_patience, each.wave
        )


_HALVES = {POSTCOPY_INCOMING: reports.half_moved, POSTCOPY_SOURCE: reports.half_left}


def _warnings(
    settings: FailoverSettings,
    intent: Failover,
    snapshot: Snapshot,
    placed: Sequence[Placed],
    stays: Sequence[StaysOff],
) -> Iterable[Reason]:
    host = snapshot.host(intent.host)
    if intent.attested:
        yield Reason("attested", reports.asks_for_word(host.name, intent.attested))
    if intent.despite_life:
        yield Reason("despite-life", reports.stops_what_runs(host.name))
    if intent.evidence is not None and intent.evidence.own:
        yield Reason("own", reports.runs_drover(host.name, intent.evidence.own))
    mine = {each.candidate.vm.uuid for each in placed}
    yield from (
        Reason("half-moved", _HALVES[vm.paused_by](vm.name, host.name, vm.host))
        for vm in corpses(snapshot, host.name, intent.kept)
        if vm.uuid in mine and vm.paused_by in _HALVES
    )
    for each in stays:
        yield Reason("stays-off", words("{vm} stays off: {why}", vm=each.name, why=each.why.text))
    candidates = [each.candidate for each in placed]
    yield from _odd_tags(settings, [each.vm for each in candidates])
    starting = [each.vm.name for each in candidates if each.vm.autostart]
    if starting:
        yield Reason(
            "autostart",
            nwords(
                "libvirt starts {names} with {host}: keep {host} off, or without its "
                "network, until it was admitted "
                "again; else a second copy of it would run when {host} gets power.",
                "libvirt starts {names} with {host}: keep {host} off, or without its "
                "network, until it was admitted "
                "again; else second copies of them would run when {host} gets power.",
                n=len(starting),
                names=Names(tuple(starting), most=10),
                host=host.name,
            ),
        )
    if reset := [each.vm.name for each in candidates if variables.are_lost(host, each.kept)]:
        yield Reason(
            "nvram",
            words(
                "UEFI variables are made anew, boot entries are lost: {names}.",
                names=Names(tuple(reset), most=10),
            ),
        )
    if locked := [each.vm.name for each in candidates if each.kept.password]:
        yield Reason(
            "password",
            words(
                "Screens get new passwords, for the old ones are not kept: {names}.",
                names=Names(tuple(locked), most=10),
            ),
        )
    for old in old_copies(candidates, snapshot.taken_at, settings):
        yield Reason(old.code, old.text)


def _odd_tags(settings: FailoverSettings, vms: Iterable[Vm]) -> Iterable[Reason]:
    """A tag that means nothing may have been meant as ``off``."""
    if odd := [f"{vm.name} (failover={vm.tags[PRIORITY]})" for vm in vms if has_odd_priority(vm)]:
        yield Reason(
            "odd-tag",
            words(
                "These tags mean nothing, and count as {default}: {names}. Write first, normal, "
                "last or off.",
                default=settings.default.value,
                names=Names(tuple(odd), most=10),
            ),
        )


def _bars(snapshot: Snapshot, placed: Sequence[Placed]) -> Iterable[HostBar]:
    for name in sorted({each.target for each in placed}):
        host = snapshot.host(name)
        more = sum(each.candidate.vm.memory for each in placed if each.target == name)
        yield HostBar(name, fullness(snapshot, host), fullness(snapshot, host, more))


def verdict_of(settings: FailoverSettings, evidence: Evidence) -> Judged:
    """What the evidence means, by the configured times."""
    return judge(evidence, patience(settings))
