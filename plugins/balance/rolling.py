"""Maintenance of many hosts, one at a time; pure.

Every host's VMs come home before the next host's turn, in the reverse order in which they left,
so each turn begins
with the cluster as it is now: the whole can be planned, and laid before people, at once. When a
turn comes and the cluster is another, the moves are planned anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import dropwhile

from bot.domain import machine_types
from bot.domain.cluster import GIB, Host, Snapshot, tags_of
from bot.domain.message import Code, Message, Names, Words, join, nwords, words
from bot.domain.placement import Rule
from bot.domain.plan import Blast, Objection, Plan, Reason, Refused, Risk
from bot.domain.steps import MigrateVm, SetMaintenance, Step, WaitForPerson
from bot.domain.vm_steps import PowerVerb, PowerVm
from bot.domain.words import command
from bot.plugin_api import Rechecked, Underway
from plugins.balance import allowed, cards, leaving
from plugins.balance.drain import evacuate, evacuation_case, return_case, turn_of
from plugins.balance.from_snapshot import BalanceCase
from plugins.balance.intents import Rolling, Ways
from plugins.balance.planner import learn, prediction, step_for, step_of
from plugins.balance.recheck import against_each, moves_left, skip_impossible_of
from plugins.balance.settings import BalanceSettings, RollingSettings
from plugins.balance.steps import ReachShells, RunOnHost

PLANNED_AGAIN = words(
    "When the plan for a host no longer holds in its turn, it is made again: its VMs are moved "
    "away and moved back."
)


@dataclass(frozen=True, slots=True)
class Turn:
    """One host's turn: who leaves, in order, and who cannot."""

    host: str
    away: tuple[MigrateVm, ...]
    stuck: tuple[Objection, ...]
    off: tuple[PowerVm, ...] = ()


def rolling(
    settings: BalanceSettings, intent: Rolling, snapshot: Snapshot, rules: Sequence[Rule]
) -> Plan | Refused:
    """Everything for all hosts, or who stands in the way on each.

    Raises:
        UnknownNameError: no such host.
    """
    hosts, resting = _choose(intent, snapshot)
    names = [host.name for host in hosts]
    title = _title(names)
    against = [*_not_allowed(settings.rolling, intent)]
    against += [_resting_already(host.name) for host in resting if intent.hosts]
    against += [cards.host_silent(host) for host in hosts if not host.up]
    against += leaving.unknown_names(intent.ways, snapshot, names)
    snapshot = leaving.with_copies(intent.ways, snapshot, names)
    calm = leaving.jobs_over(snapshot)
    turns = [_turn(settings, intent.ways, host.name, calm, rules) for host in hosts if host.up]
    for turn in turns:
        against += leaving.full_pools(turn.away, snapshot)
    for turn in turns:
        against += turn.stuck
    if against or not turns:
        text = words("No host is in service, so there is none to maintain.")
        none = Objection("no-host", text, words("`/kvm hosts` lists them."))
        return Refused(title, tuple(against) or (none,))
    return _plan(settings, intent, snapshot, turns, resting)


def _plan(
    settings: BalanceSettings,
    intent: Rolling,
    snapshot: Snapshot,
    turns: Sequence[Turn],
    resting: Sequence[Host],
) -> Plan:
    """The plan of all turns, with what is foretold of it."""
    moves = tuple(move for turn in turns for move in turn.away)
    steps = (*_shells(intent, turns), *_steps(settings, intent, snapshot, turns))
    off = tuple(step for turn in turns for step in turn.off)
    copied = leaving.copied_bytes(moves, snapshot)
    both_ways = 2 * sum(move.memory for move in moves)
    vms = {vm.uuid: vm for vm in snapshot.vms}
    plan = Plan(
        title=_title([turn.host for turn in turns]),
        steps=steps,
        risk=Risk.HIGH if intent.command or off else Risk.MEDIUM,
        blast=Blast(
            vms=tuple(dict.fromkeys((*_names(moves), *_names(off)))),
            hosts=tuple(dict.fromkeys(name for step in steps for name in step.hosts)),
            memory=both_ways,
            storage=copied,
        ),
        prediction=prediction(settings, (both_ways + copied) / GIB, 2 * len(moves)),
        reasons=(
            Reason("anew", PLANNED_AGAIN),
            *(Reason("turn", _turn_text(turn, intent.command)) for turn in turns),
        ),
        warnings=(
            *_cannot_come_back(snapshot),
            *leaving.notes(moves, off, snapshot),
            *_stay_away(moves),
            *_warnings(snapshot, turns, resting),
        ),
        tags=tags_of(vms[uuid] for step in steps for uuid in step.vms),
    )
    return learn(plan, intent.past)


def _not_allowed(settings: RollingSettings, intent: Rolling) -> Iterator[Objection]:
    if intent.command and not any(
        allowed.covers(each, intent.command) for each in settings.commands
    ):
        yield _may_not_run(intent.command, settings.commands)


def _may_not_run(typed: str, patterns: Sequence[str]) -> Objection:
    """Refuse a command: chat reaches a host's shell only where the configuration allows it."""
    text = words(
        "{command} is not allowed: `commands` in `[plugins.balance.rolling]` names none.",
        command=Code(typed),
    )
    if patterns:
        text = words(
            "{command} is not allowed: `commands` in `[plugins.balance.rolling]` names {allowed}.",
            command=Code(typed),
            allowed=Names(tuple(Code(each) for each in patterns)),
        )
    advice = words("Leave out `--run` and work by hand while it waits, or add it to `commands`.")
    return Objection("command", text, advice)


def _resting_already(host: str) -> Objection:
    """Refuse a host that somebody put into maintenance for a reason."""
    advice = words(
        "End it with {command}, or leave it out.",
        command=Code(command("/kvm host undrain {}", host)),
    )
    return Objection("maintenance", words("{host} is already in maintenance.", host=host), advice)


def _title(hosts: Sequence[str]) -> Words:
    if not hosts:
        return words("Rolling maintenance")
    return words("Rolling maintenance of {hosts}", hosts=cards.names_of(hosts))


def _turn_text(turn: Turn, run: str) -> Words:
    """One host's turn in a sentence."""
    count = len({move.uuid for move in turn.away})
    targets = cards.names_of({move.target for move in turn.away} - {turn.host})
    if run and count:
        return nwords(
            "{host}: migrate {n} VM to {targets}, run {command}, move it back.",
            "{host}: migrate {n} VMs to {targets}, run {command}, move them back.",
            n=count,
            host=turn.host,
            targets=targets,
            command=Code(run),
        )
    if run:
        return words("{host}: no VM to migrate; run {command}.", host=turn.host, command=Code(run))
    if count:
        return nwords(
            "{host}: migrate {n} VM to {targets}, wait for manual work, move it back.",
            "{host}: migrate {n} VMs to {targets}, wait for manual work, move them back.",
            n=count,
            host=turn.host,
            targets=targets,
        )
    return words("{host}: no VM to migrate; wait for manual work.", host=turn.host)


def picks(intent: Rolling, snapshot: Snapshot) -> frozenset[str]:
    """UUIDs of the VMs to read in depth: those that may leave in other ways than live."""
    hosts, _ = _choose(intent, snapshot)
    return leaving.with_other_ways(intent.ways, snapshot, [host.name for host in hosts])


def _choose(intent: Rolling, snapshot: Snapshot) -> tuple[list[Host], list[Host]]:
    """The hosts to maintain, and those that are already in maintenance."""
    wanted = [snapshot.host(name) for name in intent.hosts] or sorted(
        snapshot.hosts, key=lambda host: host.name
    )
    return [host for host in wanted if not host.maintenance], [
        host for host in wanted if host.maintenance
    ]


def _names(steps: Iterable[MigrateVm | PowerVm]) -> list[str]:
    return [step.name for step in steps]


def _stay_away(moves: Iterable[MigrateVm]) -> Iterator[Reason]:
    """Say that copies are for good: the old files are in the way of a copy back."""
    names = [move.name for move in moves if move.copy_storage]
    if names:
        text = words(
            "VMs whose disks are copied stay where they are copied to: {vms}.",
            vms=cards.names_of(names),
        )
        yield Reason("stays-away", text)


def _cannot_come_back(snapshot: Snapshot) -> Iterator[Reason]:
    """Name the VMs whose machine type some hosts lack, by the hosts that lack it.

    In an upgrade those are the hosts that have not had it yet.
    """
    by_hosts: dict[tuple[str, ...], list[str]] = {}
    for each in machine_types.bound_vms(snapshot):
        by_hosts.setdefault(each.lacking, []).append(f"{each.vm.name} ({each.machine})")
    for hosts, vms in by_hosts.items():
        yield Reason(
            "machine-types",
            nwords(
                "{n} VM cannot come back to {hosts}, where QEMU lacks its machine type: {vms}.",
                "{n} VMs cannot come back to {hosts}, where QEMU lacks their machine types: {vms}.",
                n=len(vms),
                hosts=cards.names_of(hosts),
                vms=cards.names_of(vms),
            ),
        )


def _turn(
    settings: BalanceSettings, ways: Ways, host: str, snapshot: Snapshot, rules: Iterable[Rule]
) -> Turn:
    case, result, stuck = evacuate(settings, host, snapshot, rules, ways.off_vms)
    off, stuck = leaving.shut_down(ways, snapshot, host, stuck)
    return Turn(
        host,
        tuple(
            step_of(settings, case, move, words("{host} is being drained", host=host))
            for move in result.moves
        ),
        stuck,
        off,
    )


def _shells(intent: Rolling, turns: Sequence[Turn]) -> tuple[ReachShells, ...]:
    return (ReachShells(tuple(turn.host for turn in turns)),) if intent.command else ()


def _steps(
    settings: BalanceSettings, intent: Rolling, snapshot: Snapshot, turns: Sequence[Turn]
) -> Iterator[Step]:
    for number, turn in enumerate(turns):
        yield SetMaintenance(turn.host, on=True, reason=intent.reason)
        yield from turn.away
        yield from turn.off
        if intent.command:
            yield RunOnHost(turn.host, intent.command, _key(snapshot, turn.host), intent.reboots)
        else:
            what = words("Do your work on {host}: it is empty and in maintenance", host=turn.host)
            yield _pause(settings, turn.host, what)
        yield SetMaintenance(turn.host, on=False, reason=intent.reason)
        yield from _home(settings, snapshot, turn)
        yield from (replace(step, verb=PowerVerb.START) for step in turn.off)
        if intent.command and number + 1 < len(turns):
            what = words(
                "Check {host}, which is back, before {following} is drained",
                host=turn.host,
                following=turns[number + 1].host,
            )
            yield _pause(settings, turn.host, what)


def _key(snapshot: Snapshot, host: str) -> str:
    """Unlike that of any other plan: a snapshot is taken at one moment."""
    said = f"{snapshot.taken_at.isoformat()} {host}"
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def _pause(settings: BalanceSettings, host: str, what: Message) -> WaitForPerson:
    patience = 3600 * settings.rolling.pause_hours
    return WaitForPerson(host, what, patience, cards.undrain_advice(host))


def _home(settings: BalanceSettings, snapshot: Snapshot, turn: Turn) -> Iterator[MigrateVm]:
    """Everyone back, last out first in: each then finds the room that it left."""
    ends = {move.uuid: move.target for move in turn.away}
    vms = {(vm.uuid, vm.host): vm for vm in snapshot.vms}
    back = [each for each in turn.away if each.source == turn.host and not each.copy_storage]
    for uuid in reversed([move.uuid for move in back]):
        yield step_for(
            settings, vms[uuid, turn.host], ends[uuid], turn.host, _back_reason(turn.host)
        )


def _back_reason(host: str) -> Words:
    return words("the maintenance of {host} is over", host=host)


def _warnings(
    snapshot: Snapshot, turns: Sequence[Turn], resting: Sequence[Host]
) -> Iterator[Reason]:
    if resting:
        names = cards.names_of(host.name for host in resting)
        text = words("Hosts already in maintenance are left out: {hosts}.", hosts=names)
        yield Reason("left-out", text)
    for turn in turns:
        if off := [vm.name for vm in snapshot.on(turn.host) if not vm.state.active]:
            yield cards.powered_off_stay(turn.host, off)


def still_rolls(
    settings: BalanceSettings,
    intent: Rolling,
    planned: Plan,
    snapshot: Snapshot,
    rules: Sequence[Rule],
) -> tuple[Objection, ...]:
    """Check that every host can still be drained; moves are checked in their turn."""
    found = rolling(settings, intent, snapshot, rules)
    if isinstance(found, Refused):
        return found.objections
    if _order(found.steps) == _order(planned.steps):
        return ()
    return (
        Objection("hosts", words("Other hosts are in service now than when this was planned.")),
    )


def _order(steps: Iterable[Step]) -> list[str]:
    return [step.host for step in steps if isinstance(step, SetMaintenance) and step.on]


def next_rolls(
    settings: BalanceSettings,
    intent: Rolling,
    underway: Underway,
    snapshot: Snapshot,
    rules: Sequence[Rule],
) -> Rechecked:
    """Plan a host's moves again when its turn begins or ends and they are no longer possible.

    In between, what is wrong is skipped.
    No command is run on a host on which a VM runs.
    """
    index = underway.turn[0]
    step = underway.plan.steps[index]
    if isinstance(step, SetMaintenance):
        if step.on:
            return _start_turn(settings, intent, underway, snapshot, rules)
        return _return_home(settings, underway, step, snapshot)
    if isinstance(step, RunOnHost):
        there = [vm.name for vm in snapshot.on(step.host) if vm.state.active]
        return Rechecked({index: cards.vms_still_run(step.host, there)}) if there else Rechecked()
    if not isinstance(step, MigrateVm):
        return Rechecked()
    snapshot = leaving.with_copies(intent.ways, snapshot, (turn_of(underway.plan.steps, index),))
    return skip_impossible_of(
        _case(settings, underway, index, snapshot, rules),
        underway,
        _of_turn(underway, index),
    )


def _of_turn(underway: Underway, index: int) -> tuple[tuple[int, MigrateVm], ...]:
    """The moves left of the same turn and the same way, away or home."""
    steps, host = underway.plan.steps, turn_of(underway.plan.steps, index)
    home = _is_home(underway, index)
    return tuple(
        (each, move)
        for each, move in moves_left(underway)
        if turn_of(steps, each) == host and _is_home(underway, each) == home
    )


def _is_home(underway: Underway, index: int) -> bool:
    step = underway.plan.steps[index]
    return isinstance(step, MigrateVm) and step.target == turn_of(underway.plan.steps, index)


def _case(
    settings: BalanceSettings,
    underway: Underway,
    index: int,
    snapshot: Snapshot,
    rules: Sequence[Rule],
) -> BalanceCase:
    host = turn_of(underway.plan.steps, index)
    moving = frozenset(move.uuid for _, move in _of_turn(underway, index))
    if _is_home(underway, index):
        return return_case(settings, host, moving, snapshot, rules)
    return evacuation_case(settings, host, snapshot, rules, moving)


def _start_turn(
    settings: BalanceSettings,
    intent: Rolling,
    underway: Underway,
    snapshot: Snapshot,
    rules: Sequence[Rule],
) -> Rechecked:
    """Keep the turn as planned when still possible; else plan it and later ones again."""
    steps = underway.plan.steps
    host, *later = _order(steps[index] for index in underway.left)
    ways = intent.ways
    snapshot = leaving.with_copies(ways, snapshot, (host, *later))
    if _holds(settings, underway, host, snapshot, rules):
        return Rechecked()
    turn = _turn(settings, ways, host, snapshot, rules)
    turns = [] if turn.stuck else [turn]
    up = [name for name in later if snapshot.host(name).up]
    turns += [_turn(settings, ways, name, snapshot, rules) for name in up]
    why = words("because the VMs of {host}, or the capacity for them, have changed", host=host)
    if turn.stuck:
        why = words(
            "without {host}, which cannot be drained now ({reasons})",
            host=host,
            reasons=join(each.text for each in turn.stuck[: cards.EXPLAINED]),
        )
    return Rechecked(rest=tuple(_steps(settings, intent, snapshot, turns)), why=why)


def _return_home(
    settings: BalanceSettings, underway: Underway, end: SetMaintenance, snapshot: Snapshot
) -> Rechecked:
    """The moves back of the VMs that truly left, from where they are and as they are now."""
    steps, first = underway.plan.steps, underway.left[0]
    left = [
        move.uuid for index, move in enumerate(steps[:first])
        if index in underway.done and isinstance(move, MigrateVm) and move.source == end.host
        and not move.copy_storage
        and turn_of(steps, index) == end.host
    ]  # fmt: skip
    up = {host.name for host in snapshot.hosts if host.up} - {end.host}
    there = {vm.uuid: vm for vm in snapshot.vms if vm.state.active and vm.host in up}
    home = (
        step_for(settings, there[uuid], there[uuid].host, end.host, _back_reason(end.host))
        for uuid in reversed(left) if uuid in there
    )  # fmt: skip
    why = words("because VMs that left {host} have changed or moved meanwhile", host=end.host)
    after = dropwhile(lambda step: isinstance(step, MigrateVm), steps[first + 1 :])
    return Rechecked(rest=(end, *home, *after), why=why)


def _holds(
    settings: BalanceSettings,
    underway: Underway,
    host: str,
    snapshot: Snapshot,
    rules: Sequence[Rule],
) -> bool:
    """Return whether the planned moves are all legal and leave nobody on the host."""
    own = tuple(
        (index, move) for index, move in moves_left(underway)
        if turn_of(underway.plan.steps, index) == host and move.target != host
    )  # fmt: skip
    case = evacuation_case(settings, host, snapshot, rules)
    against, _ = against_each(case, own)
    steps = underway.plan.steps
    ends = {
        uuid
        for index in underway.left
        if isinstance(step := steps[index], PowerVm) and step.host == host
        for uuid in step.vms
    }
    gone = {*ends, *(move.uuid for _, move in own)}
    return not against and all(vm.uuid in gone for vm in snapshot.on(host) if vm.state.active)
