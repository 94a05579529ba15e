"""Pure: ``failover drill`` and ``failover status``, what a failover would do now.

Nothing is ordered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bot.domain.card import Card, Context, Element, Section, Table
from bot.domain.cluster import Host, Snapshot
from bot.domain.definition import Definition
from bot.domain.message import Day, Duration, Message, Names, Percent, join, nwords, words
from bot.domain.plan import Plan, Refused
from bot.domain.power import Binding, Bound, Hold, Reading
from bot.plugin_api import History, View
from plugins.failover import boot, planner, recovery, reports
from plugins.failover.candidates import StaysOff, Wanted, choose, definitions_elsewhere
from plugins.failover.commands import chat
from plugins.failover.corpses import without_corpses
from plugins.failover.evidence import Evidence
from plugins.failover.intents import PROTECT, Drill, Failover, Status
from plugins.failover.places import Placed, place
from plugins.failover.settings import FailoverSettings, Mode

_MODES = {
    Mode.OFF: words("Mode `off`: of a dead host Drover says and does nothing by itself."),
    Mode.ALERT: words("Mode `alert`: Drover tells of a dead host, and proposes nothing by itself."),
    Mode.PROPOSE: words(
        "Mode `propose`: Drover proposes a failover of a dead host, which needs its votes."
    ),
    Mode.AUTO: words(
        "Mode `auto`: Drover carries a failover of a dead host out by itself where the rules allow "
        "it, and proposes it elsewhere."
    ),
}


@dataclass(frozen=True, slots=True)
class Shown:
    """What the hosts' power controllers show now, by host, and what is kept of them."""

    readings: Mapping[str, tuple[Reading, ...]] = field(default_factory=dict)
    bonds: Mapping[str, tuple[Bound, ...]] = field(default_factory=dict)
    holds: Mapping[str, Hold] = field(default_factory=dict)
    refuted: Mapping[str, frozenset[str]] = field(default_factory=dict)


def drill(settings: FailoverSettings, about: Drill, view: View) -> Card:
    """The plan as if the host died now: who goes where, who stays off and why."""
    host = view.snapshot.host(about.host)
    evidence: Evidence = view.found
    kept = definitions_of(host.name, view.snapshot, view.history)
    intent = Failover(host.name, kept=kept, evidence=evidence)
    placed, off = _outcome(settings, without_corpses(view.snapshot, host.name, kept), host, kept)
    plan = planner.what_if(settings, intent, view.snapshot)
    said = nwords(
        "If {host} died now, {started} of its {n} running VM would start elsewhere.",
        "If {host} died now, {started} of its {n} running VMs would start elsewhere.",
        n=len(placed) + len(off),
        host=host.name,
        started=len(placed),
    )
    elements: list[Element] = [Section(said)]
    if placed:
        columns = (words("VM"), words("Host"), words("Wave"), words("After the vote"))
        after = recovery.forecast(plan.steps) if isinstance(plan, Plan) else {}
        rows = tuple(
            (
                each.candidate.vm.name,
                each.target,
                str(each.candidate.wave),
                words("{time}", time=Duration(after.get(each.candidate.vm.uuid, 0.0))),
            )
            for each in placed
        )
        elements.append(Table(columns, rows, frozenset({2, 3})))
    if off:
        elements.append(Section(_stays(off)))
    small: list[Message] = list(_provable(host, evidence))
    if isinstance(plan, Plan):
        small.append(_prediction_text(plan))
        small += [each.text for each in plan.warnings if each.code != "stays-off"]
    elif isinstance(plan, Refused) and not off:
        small += [each.text for each in plan.objections]
    small.append(words("Nothing was done."))
    title = words("If {host} died now", host=host.name)
    return Card(said, title, (*elements, Context(tuple(small))))


_MOST_HOSTS = 30  # rows that people read; all are in the file


def status(
    settings: FailoverSettings,
    about: Status,  # noqa: ARG001 - the shape of an answer
    view: View,
) -> Card:
    """For each host: what can prove it off, and how many of its VMs could start elsewhere today."""
    shown: Shown = view.found
    rows: list[tuple[bool, tuple[Message, ...]]] = []
    ready = running = 0
    everything = {each.uuid: each for each in view.history.definitions()}
    by_host: dict[str, list[Definition]] = {}
    for each in everything.values():
        by_host.setdefault(each.host, []).append(each)
    reasons: list[Message] = []
    for host in sorted(view.snapshot.hosts, key=lambda each: each.name):
        mine = by_host.get(host.name, [])
        came = definitions_elsewhere(view.snapshot, host.name, mine, everything.get)
        kept = (*mine, *came)
        placed, off = _outcome(
            settings, without_corpses(view.snapshot, host.name, kept), host, kept
        )
        ready, running = ready + len(placed), running + len(placed) + len(off)
        reasons += [each.why.text for each in off]
        row = (
            host.name,
            _state(host, shown),
            _controllers(host, shown),
            f"{len(placed)}/{len(placed) + len(off)}",
        )
        sound = host.up and not off and bool(shown.bonds.get(host.name))
        rows.append((sound, row))
    said = nwords(
        "Failover readiness: {ready} of {n} running VM could start elsewhere.",
        "Failover readiness: {ready} of {n} running VMs could start elsewhere.",
        n=running,
        ready=ready,
    )
    columns = (words("Host"), words("State"), words("Proof that it is off"), words("VMs"))
    whole = Table(columns, tuple(row for _, row in rows), frozenset({3}))
    worst = [row for _, row in sorted(rows, key=lambda each: each[0])]
    elements: list[Element] = [Section(said), replace(whole, rows=tuple(worst[:_MOST_HOSTS]))]
    if more := len(worst[_MOST_HOSTS:]):
        told = nwords(
            "Those with trouble first; {n} more host is in the file: {command}.",
            "Those with trouble first; {n} more hosts are in the file: {command}.",
            n=more,
            command=chat("failover status --csv"),
        )
        elements.append(Context((told,)))
    if reasons:
        elements.append(Section(join(reasons[:10], "\n")))
    if unsafe := tuple(vm.name for vm in boot.unsafe(settings, view.snapshot)):
        elements.append(Section(_libvirts(unsafe)))
    mode = Context((_MODES[settings.mode],))
    return Card(said, words("Failover"), (*elements, mode), export=whole)


def _libvirts(names: tuple[str, ...]) -> Message:
    return nwords(
        "libvirt starts {names} with its host, also as an old copy after a failover. Let Drover do "
        "so: {command}.",
        "libvirt starts {names} with their hosts, also as old copies after a failover. Let Drover "
        "do so: {command}.",
        n=len(names),
        names=Names(names, most=10),
        command=chat(PROTECT),
    )


def readiness(
    settings: FailoverSettings, snapshot: Snapshot, history: History, host: str
) -> tuple[int, Mapping[str, Message]]:
    """How many VMs run on a host, and which of them could not start elsewhere today, with why."""
    kept = definitions_of(host, snapshot, history)
    seen = without_corpses(snapshot, host, kept)
    placed, off = _outcome(settings, seen, seen.host(host), kept)
    return len(placed) + len(off), {each.name: each.why.text for each in off}


def definitions_of(host: str, snapshot: Snapshot, history: History) -> tuple[Definition, ...]:
    """The newest kept definition of each VM of a host, and of each that has just come to it."""
    kept = history.definitions(host=host)

    def newest(uuid: str) -> Definition | None:
        return next(iter(history.definitions(uuid=uuid)), None)

    return (*kept, *definitions_elsewhere(snapshot, host, kept, newest))


def _outcome(
    settings: FailoverSettings, seen: Snapshot, host: Host, kept: Sequence[Definition]
) -> tuple[tuple[Placed, ...], tuple[StaysOff, ...]]:
    candidates, off = choose(settings, seen, host.name, kept, Wanted())
    placed, nowhere = place(settings, seen, host.name, candidates)
    return placed, (*off, *nowhere)


def _stays(off: Sequence[StaysOff]) -> Message:
    return join(
        [words("{vm} stays off: {why}", vm=each.name, why=each.why.text) for each in off], "\n"
    )


def _provable(host: Host, evidence: Evidence) -> Iterable[Message]:
    if not evidence.power:
        yield words(
            "{host} has no power controller: nothing can prove that it is off.", host=host.name
        )
    for reading in evidence.power:
        yield reports.power(reading, evidence.bound, evidence.refuted)


def _prediction_text(plan: Plan) -> Message:
    seconds = plan.prediction.seconds or 0.0
    full = Names(
        tuple(
            words("{host} {share}", host=each.host, share=Percent(each.memory_after))
            for each in plan.bars
        )
    )
    return words(
        "All would run about {time} after the vote; memory then: {hosts}.",
        time=Duration(seconds),
        hosts=full,
    )


def _state(host: Host, shown: Shown) -> Message:
    hold = shown.holds.get(host.name)
    if hold is None:
        return words("up") if host.up else words("does not answer")
    if hold.proof is not None:
        return words("on hold, proven off")
    return words("on hold")


def _controllers(host: Host, shown: Shown) -> Message:
    readings = shown.readings.get(host.name, ())
    if not readings:
        return words("none: no power controller")
    bound = {each.device: each for each in shown.bonds.get(host.name, ())}
    refuted = shown.refuted.get(host.name, frozenset())
    lines = [
        _with_date(reports.power(each, bound, refuted), bound.get(each.device)) for each in readings
    ]
    return join(lines, "; ")


def _with_date(line: Message, bond: Bound | None) -> Message:
    """With when a drill, or people, last showed whose it is."""
    if bond is None or bond.by is Binding.UUID:
        return line
    if bond.by is Binding.DRILL:
        return words("{line} by a drill on {day}", line=line, day=Day(bond.at.date()))
    return words("{line} by two people on {day}", line=line, day=Day(bond.at.date()))
