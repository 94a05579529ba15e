"""Looks after silent hosts.

Tells what their silence means, and proposes a failover of one that is dead.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from bot.domain.card import Card, Context, Section
from bot.domain.cluster import Snapshot, Vm
from bot.domain.message import Message, join, words
from bot.domain.metrics import AlertSeverity, Change
from bot.domain.operation import Operation
from bot.domain.plan import Objection, Refused
from bot.domain.words import virsh_name
from bot.plugin_api import Alert, History, Looked, Noticed, Proposal, Remedy, WatchView
from bot.ports import Hypervisor
from plugins.failover import boot, copies, guard, planner, quiet, reports, whatif, witnesses
from plugins.failover.commands import chat, shell
from plugins.failover.evidence import Evidence
from plugins.failover.intents import (
    ATTEST,
    COPIES,
    FAILOVER,
    READMIT,
    RESUME,
    Failover,
    Resume,
    StopCopies,
)
from plugins.failover.settings import FailoverSettings, Mode
from plugins.failover.sight import Sight
from plugins.failover.verdict import Cause, Judged, Verdict, automatic_objection

NAME = "failover"
EVERY = timedelta(seconds=5)  # so after each sweep
RECENT = 200  # operations among which the last failovers are looked for
# no message: the title of its lines in a digest, as they are kept
READINESS = str(words("Failover readiness"))  # the digest translates it
_READY_EVERY = timedelta(minutes=5)  # what could start elsewhere is planned host by host
_SETTLED = timedelta(minutes=2)  # after its start the bot has kept the definitions of all VMs
_MUTE = timedelta(minutes=3)  # so long a controller may be without an answer
_LISTEN_TO = 16  # hosts in one look: it takes seconds, in which nobody looks after silent ones
_LISTEN_EVERY = 600.0  # seconds between two looks whether other hosts hear those that answer
_POWER_EVERY = 60.0  # seconds between two readings of the power of hosts that answer
_GRACE = 30.0  # seconds that a second kind of witness is waited for before people are asked


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of each host that is silent.

    ``boots``: boot ids of hosts, '' not known; ``back``: hosts that were silent and answer again.
    ``mute``: controllers that do not answer, by (host, device): since when, and why.
    ``refuted``: controllers of hosts on hold that proved one off which never was, by host.
    """

    silent: tuple[Evidence, ...] = ()
    boots: Mapping[str, str] = field(default_factory=dict)
    back: frozenset[str] = frozenset()
    mute: Mapping[tuple[str, str], tuple[datetime, Message]] = field(default_factory=dict)
    refuted: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(slots=True)
class Gatherer:
    """Gathers evidence of silent hosts, and keeps whose the controllers of the others are."""

    sight: Sight
    read_at: float = 0.0
    listened_at: dict[str, float] = field(default_factory=dict)

    def __call__(self, snapshot: Snapshot, hypervisor: Hypervisor) -> Found:
        """Ask all witnesses of each silent host.

        When it is time, read the controllers of those that answer.
        """
        self.sight.note(snapshot)
        silent = [host for host in snapshot.hosts if not host.up]
        back = witnesses.read_boots(self.sight, snapshot, hypervisor)
        # Before it is proposed to start its VMs again, whatever other hosts are silent
        guard.admit(self.sight, snapshot, hypervisor)
        found = witnesses.gather_all(self.sight, silent, snapshot, hypervisor)
        if not any(not (host.maintenance or host.held) for host in silent):
            self._routine(snapshot, hypervisor)  # which may take long, and nobody waits for it
        refuted = witnesses.refute(snapshot, hypervisor)
        return Found(found, dict(self.sight.boots), back, dict(self.sight.mute), refuted)

    def _routine(self, snapshot: Snapshot, hypervisor: Hypervisor) -> None:
        """Read the controllers, and hear whether hosts hear each other, each in its time."""
        now = snapshot.taken_at.timestamp()
        if now - self.read_at >= _POWER_EVERY:
            self.read_at = now
            witnesses.read_boots(self.sight, snapshot, hypervisor, everyone=True)
            witnesses.read_all(self.sight, snapshot, hypervisor)
        due = [
            host
            for host in snapshot.hosts
            if host.up and now - self.listened_at.get(host.name, 0.0) >= _LISTEN_EVERY
        ][:_LISTEN_TO]
        self.listened_at |= dict.fromkeys((host.name for host in due), now)
        witnesses.listen(self.sight, snapshot, hypervisor, due)
        guard.admit(self.sight, snapshot, hypervisor, anew=[host.name for host in due])


def look(settings: FailoverSettings, view: WatchView) -> Looked:
    """An alert or a proposal for each silent host; the alert of one that answers again ends."""
    found = view.found if isinstance(view.found, Found) else Found()
    told = set(view.memory.get("told", ()))
    noticed: list[Noticed] = []
    standing: set[str] = set()
    for evidence in found.silent:
        if not view.snapshot.host(evidence.host).up:
            # The witnesses were asked after the sweep, and were silent until now
            now = replace(evidence, at=max(evidence.at, view.now))
            for each in _notices(settings, view, now):
                noticed.append(each)
                standing.add(evidence.host)
    noticed += [Alert(_key(host), _end_card(host), over=True) for host in sorted(told - standing)]
    back: tuple[Alert, ...] = ()
    if settings.mode is not Mode.OFF:
        back = (*_returns(view.snapshot), *_mute(view, found), *_wrong_controllers(found))
    noticed += back
    noticed += _copies(settings, view, found)
    ended = set(view.memory.get("back", ())) - {each.key for each in back}
    noticed += [Alert(key, _admission_card(), over=True) for key in sorted(ended)]
    anew = _anew(settings, view, found)
    noticed += [_resume(settings, view, host, found) for host in sorted(anew)]
    gone = set(view.memory.get("reborn", ())) - set(anew)
    noticed += [Alert(f"reborn:{host}", _admission_card(), over=True) for host in sorted(gone)]
    keys = sorted(each.key for each in back)
    held = {host.name for host in view.snapshot.hosts if host.held}  # known from before it failed
    fresh = {name: boot for name, boot in found.boots.items() if boot and name not in held}
    boots = {**view.memory.get("boots", {}), **fresh}
    reborn = sorted(anew) if settings.mode is Mode.ALERT else []
    changes, kept = _readiness(settings, view)
    memory = {
        "told": sorted(standing),
        "back": keys,
        "boots": boots,
        "reborn": reborn,
        "held": _last_held(settings, view),
        **kept,
    }
    lasting = {key: value for key, value in memory.items() if value}
    return Looked(tuple(noticed), lasting, changes)


def _readiness(
    settings: FailoverSettings, view: WatchView
) -> tuple[tuple[Change, ...], Mapping[str, object]]:
    """What the next digest tells of VMs that could not be started elsewhere.

    Of one host at a look, in turn.
    """
    known: dict[str, dict[str, Any]] = dict(view.memory.get("ready", {}))
    began = settings.sight.started_at or view.now
    away = any(not host.up for host in view.snapshot.hosts)
    if settings.mode is Mode.OFF or away or view.now - began < _SETTLED:
        return (), {"ready": known}  # nothing is as usual, or not all is kept yet
    names = [host.name for host in view.snapshot.hosts]
    known = {name: each for name, each in known.items() if name in names}
    host = min(names, key=lambda name: known.get(name, {}).get("at", ""), default="")
    if not host or _is_fresh(known.get(host), view.now):
        return (), {"ready": known}
    running, stuck = whatif.readiness(settings, view.snapshot, view.history, host)
    before = {vm for each in known.values() for vm in each["stuck"]}
    here = {vm.name for vm in view.snapshot.on(host) if vm.state.active}
    gone = set(known.get(host, {}).get("stuck", ())) - set(stuck)
    known[host] = {"at": view.now.isoformat(), "running": running, "stuck": sorted(stuck)}
    lines = [
        words("{vm} could not start elsewhere: {why}", vm=name, why=stuck[name])
        for name in sorted(set(stuck) - before)
    ]
    lines += [words("{vm} could start elsewhere again.", vm=name) for name in sorted(gone & here)]
    if lines:
        n = sum(each["running"] for each in known.values())
        ready = n - sum(len(each["stuck"]) for each in known.values())
        lines.insert(
            0, words("{ready} of {n} running VMs could start elsewhere.", ready=ready, n=n)
        )
    return tuple(Change(view.now, READINESS, line) for line in lines), {"ready": known}


def _is_fresh(looked: Mapping[str, Any] | None, now: datetime) -> bool:
    return looked is not None and now - datetime.fromisoformat(looked["at"]) < _READY_EVERY


def _anew(settings: FailoverSettings, view: WatchView, found: Found) -> frozenset[str]:
    """The hosts that have started anew and were not told of.

    As long as what Drover starts with them is off.
    """
    if settings.mode is Mode.OFF:
        return frozenset()
    known: Mapping[str, str] = view.memory.get("boots", {})
    names = set(view.memory.get("reborn", ()))
    for host in view.snapshot.hosts:
        before, now = known.get(host.name, ""), found.boots.get(host.name, "")
        if before != now if before and now else _all_off(view.snapshot, host.name, found.back):
            names.add(host.name)
    return frozenset(
        host.name
        for host in view.snapshot.hosts
        if host.name in names
        and host.up
        and not host.held
        and boot.to_start(view.snapshot, host.name)
    )


def _resume(settings: FailoverSettings, view: WatchView, host: str, found: Found) -> Noticed:
    why = words("{host} has started anew, and VMs that start with it are off.", host=host)
    if settings.mode is Mode.ALERT:
        remedy = Remedy(words("Start its VMs"), f"{RESUME} {host}")
        title = words("{host} has started anew", host=host)
        return Alert(f"reborn:{host}", Card(why, title, (Section(why),)), remedies=(remedy,))
    now = found.boots.get(host, "")
    return Proposal(
        RESUME,
        Resume(host, boot=now),
        why=why,
        key=f"resume:{host}:{now or view.now.isoformat(timespec='seconds')}",
        automatic=settings.mode is Mode.AUTO,
        line=f"{RESUME} {host}",
    )


def _all_off(snapshot: Snapshot, host: str, back: Collection[str]) -> bool:
    """Without a shell: it was silent, and no VM runs there any more."""
    return host in back and not any(vm.state.active for vm in snapshot.on(host))


def _returns(snapshot: Snapshot) -> Iterator[Alert]:
    """A host on hold that answers waits for people; a second copy of a VM on it is told first."""
    for host in snapshot.hosts:
        if not host.up or not host.held:
            continue
        elsewhere = {
            vm.uuid: vm.host for vm in snapshot.vms if vm.host != host.name and vm.state.active
        }
        twice = [vm for vm in snapshot.on(host.name) if vm.state.active and vm.uuid in elsewhere]
        for vm in twice:
            yield Alert(
                f"two-copies:{vm.uuid}",
                _two_copies(vm, host.name, elsewhere[vm.uuid]),
                severity=AlertSeverity.CRITICAL,
            )
        if not twice:
            remedy = Remedy(words("Admit it again"), f"{READMIT} {host.name}")
            yield Alert(f"held:{host.name}", _waits(host.name), remedies=(remedy,))


def _copies(settings: FailoverSettings, view: WatchView, found: Found) -> Iterator[Proposal]:
    """That second copies are stopped: by itself where a rule lets it, for each look counts."""
    if settings.mode not in {Mode.PROPOSE, Mode.AUTO}:
        return
    known: Mapping[str, str] = view.memory.get("boots", {})
    for host in view.snapshot.hosts:
        twice = copies.twice(view.snapshot, host.name) if host.up and host.held else ()
        if not twice:
            continue
        before, now = known.get(host.name, ""), found.boots.get(host.name, "")
        names = ",".join(sorted(vm.uuid for vm, _ in twice))
        yield Proposal(
            COPIES,
            StopCopies(host.name, before=before, now=now),
            why=words("VMs run twice since {host} came back.", host=host.name),
            key=f"copies:{host.name}:{now}:{names}",
            automatic=settings.mode is Mode.AUTO,
            line=f"{COPIES} {host.name}",
        )


def _two_copies(vm: Vm, host: str, other: str) -> Card:
    said = words(
        "*{vm} runs twice:* on {host}, which came back, and on {other}. Both write the same disks. "
        "Decide which copy stays, and force the other off at once on its host: {command}.",
        vm=vm.name,
        host=host,
        other=other,
        command=shell("virsh destroy {}", virsh_name(vm)),
    )
    return Card(said, words("{vm} runs twice", vm=vm.name), (Section(said),))


def _mute(view: WatchView, found: Found) -> Iterator[Alert]:
    """A power controller that does not answer for minutes is told before it is needed."""
    for (host, device), (since, why) in sorted(found.mute.items()):
        if view.now - since >= _MUTE:
            said = words(
                "{device} of {host} does not answer: {why}. A failover of {host} could prove "
                "nothing.",
                device=device,
                host=host,
                why=why,
            )
            title = words("{device} of {host} does not answer", device=device, host=host)
            yield Alert(f"power:{host}:{device}", Card(said, title, (Section(said),)))


def _wrong_controllers(found: Found) -> Iterator[Alert]:
    """A controller that proved a host off which never was off."""
    for host, devices in sorted(found.refuted.items()):
        said = reports.wrong_proof(host, devices)
        title = words("A power controller of {host} is wrong", host=host)
        card = Card(said, title, (Section(said),))
        yield Alert(f"refuted:{host}", card, severity=AlertSeverity.CRITICAL)


def _waits(host: str) -> Card:
    said = words(
        "{host} answers again and is on hold: nothing is started or moved there until it is "
        "admitted.",
        host=host,
    )
    return Card(said, words("{host} is on hold", host=host), (Section(said),))


def _admission_card() -> Card:
    said = words("That is over.")
    return Card(said, words("Failover"), (Section(said),))


def _critical(host: str, card: Card, *remedies: Remedy) -> Alert:
    return Alert(_key(host), card, remedies=remedies, severity=AlertSeverity.CRITICAL)


def _notices(settings: FailoverSettings, view: WatchView, evidence: Evidence) -> Iterator[Noticed]:
    until = quiet.until(view.history.operations(limit=RECENT), evidence.host)
    judged = planner.verdict_of(settings, quiet.expect(evidence, until))
    if settings.mode is Mode.OFF or judged.verdict in {
        Verdict.WELL,
        Verdict.EXPECTED,
        Verdict.WAITING,
    }:
        return
    if judged.verdict is Verdict.US and judged.cause is Cause.JUST_STARTED:
        return
    host = view.snapshot.host(evidence.host)
    if judged.verdict in {Verdict.GONE, Verdict.DEAD}:
        if host.held or _under_way(view.history, host.name):
            return  # its failover tells of it
        if _may_still_act(settings, view, evidence, judged):
            return
        plan = planner.what_if(
            settings,
            Failover(
                host.name,
                kept=whatif.definitions_of(host.name, view.snapshot, view.history),
                evidence=evidence,
            ),
            view.snapshot,
        )
        if not isinstance(plan, Refused) and settings.mode in {Mode.PROPOSE, Mode.AUTO}:
            yield _proposal(settings, view, evidence, judged)
        elif isinstance(plan, Refused):
            yield _critical(host.name, _card(evidence, plan.objections))
        else:
            yield _critical(host.name, _card(evidence, ()), _remedy(host.name))
        return
    yield _critical(host.name, _card(evidence, (reports.against(host.name, judged, evidence),)))


def _proposal(
    settings: FailoverSettings, view: WatchView, evidence: Evidence, judged: Judged
) -> Proposal:
    since = evidence.last_heard or evidence.at
    by_itself = settings.mode is Mode.AUTO and _may_act(settings, view, evidence, judged)
    return Proposal(
        FAILOVER,
        Failover(evidence.host, by_itself=by_itself),
        why=words("{host} is dead.", host=evidence.host),
        key=f"{evidence.host}:{since.isoformat(timespec='seconds')}",
        automatic=by_itself,
        line=f"{FAILOVER} {evidence.host}",
    )


def _may_still_act(
    settings: FailoverSettings, view: WatchView, evidence: Evidence, judged: Judged
) -> bool:
    """Whether only a second kind of witness is missing, which may be late.

    What was put before people stays theirs to decide; so they are asked a little later.
    """
    if settings.mode is not Mode.AUTO or evidence.silent_for >= settings.silence + _GRACE:
        return False
    late = automatic_objection(evidence, judged) is Cause.ONE_KIND
    return late and _within_limits(settings, view, evidence)


def _may_act(
    settings: FailoverSettings, view: WatchView, evidence: Evidence, judged: Judged
) -> bool:
    """Whether a failover may begin by itself.

    One in a window, no host twice in its time, two kinds of witnesses.
    """
    if automatic_objection(evidence, judged) is not None:
        return False
    return _within_limits(settings, view, evidence)


def _within_limits(settings: FailoverSettings, view: WatchView, evidence: Evidence) -> bool:
    if evidence.host in _last_held(settings, view):
        return False
    for each in _failovers(view.history):
        age = (evidence.at - each.proposed_at).total_seconds()
        if age < settings.window and each.ruling.automatic:
            return False
        if age < settings.flap and _host(each) == evidence.host:
            return False
        if not each.state.over:
            return False
    return True


def _last_held(settings: FailoverSettings, view: WatchView) -> dict[str, str]:
    """The hosts that were on hold within the time of ``flap``, with the end of that hour.

    Operations tell of it too, but only of the newest few of all kinds.
    """
    hour = view.now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    held = {host.name: hour.isoformat() for host in view.snapshot.hosts if host.held}
    known: Mapping[str, str] = {**view.memory.get("held", {}), **held}
    oldest = view.now - timedelta(seconds=settings.flap)
    return {host: at for host, at in known.items() if datetime.fromisoformat(at) > oldest}


def _failovers(history: History) -> Iterable[Operation]:
    return (each for each in history.operations(limit=RECENT) if each.action in {FAILOVER, ATTEST})


def _host(operation: Operation) -> str:
    return operation.intent.host if isinstance(operation.intent, Failover) else ""


def _under_way(history: History, host: str) -> bool:
    return any(not each.state.over and _host(each) == host for each in _failovers(history))


def _key(host: str) -> str:
    return f"failover:{host}"


def _remedy(host: str) -> Remedy:
    return Remedy(words("Switch off and start elsewhere"), f"{FAILOVER} {host}")


def _card(evidence: Evidence, against: tuple[Objection, ...]) -> Card:
    said: Message = join((against[0].text, against[0].remedy)) if against else _dead(evidence.host)
    lines = tuple(each.text for each in reports.evidence(evidence))
    title = words("Failover of {host}", host=evidence.host)
    return Card(said, title, (Section(said), Context(lines)))


def _dead(host: str) -> Message:
    return words(
        "{host} is dead. To start its VMs elsewhere: {command}.",
        host=host,
        command=chat("host failover {}", host),
    )


def _end_card(host: str) -> Card:
    said = words("{host} answers again, or its failover has begun.", host=host)
    return Card(said, words("Failover of {host}", host=host), (Section(said),))
