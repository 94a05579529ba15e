"""Draining a host for maintenance, and moving its VMs back; pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from bot.domain import placement
from bot.domain.cluster import GIB, Snapshot, Vm, tags_of
from bot.domain.message import Code, Message, Words, join, nwords, words
from bot.domain.operation import Operation, State
from bot.domain.placement import Rule
from bot.domain.plan import Blast, Objection, Plan, Reason, Refused, Risk
from bot.domain.steps import MigrateVm, SetMaintenance, Step
from bot.domain.vm_steps import PowerVerb, PowerVm
from bot.domain.words import command
from bot.plugin_api import History, Rechecked, Underway
from plugins.balance import cards, leaving
from plugins.balance.from_snapshot import BalanceCase, best_plan, case_of
from plugins.balance.intents import Drain, Undrain
from plugins.balance.leaving import STUCK
from plugins.balance.legality import obstacle, obstacles, replay
from plugins.balance.planner import (
    CALM,
    WORKED,
    learn,
    moves_in,
    plan_of,
    prediction,
    step_for,
    with_past,
)
from plugins.balance.recheck import moves_left, skip_impossible
from plugins.balance.settings import BalanceSettings
from plugins.balance.solver.model import SearchLimits, Solution, WhyNot
from plugins.balance.solver.placement import Placement

DRAIN, UNDRAIN, ROLLING = "host drain", "host undrain", "host rolling"
# What the request was anyway: the VM is not on the host any more
GONE = frozenset({"gone", "moved"})
CAPACITY = frozenset({WhyNot.MEMORY.value, WhyNot.VCPUS.value, WhyNot.SPARE.value})
LOOK_BACK = 500  # operations in which a host's drains are looked for


def drain(
    settings: BalanceSettings, intent: Drain, snapshot: Snapshot, rules: Iterable[Rule]
) -> Plan | Refused:
    """Plan maintenance first, so that no VM arrives; then every VM that can leave, in order.

    Raises:
        UnknownNameError: no such host.
    """
    host = snapshot.host(intent.host)
    title = words("Drain {host} for maintenance", host=host.name)
    if not host.up:
        return Refused(title, (cards.host_silent(host),))
    if unknown := tuple(leaving.unknown_names(intent.ways, snapshot, (host.name,))):
        return Refused(title, unknown)
    seen = snapshot
    snapshot = leaving.jobs_over(leaving.with_copies(intent.ways, snapshot, (host.name,)))
    case, result, stuck = evacuate(settings, host.name, snapshot, rules, intent.ways.off_vms)
    off, stuck = leaving.shut_down(intent.ways, snapshot, host.name, stuck)
    first = () if host.maintenance else (SetMaintenance(host.name, on=True, reason=intent.reason),)
    if not (first or result.moves or off):
        return Refused(title, stuck or (_drained_already(host.name),))
    idle = [vm.name for vm in snapshot.on(host.name) if not vm.state.active]
    warnings = [Reason(each.code, _with_ways(each, intent)) for each in stuck]
    warnings += [cards.powered_off_stay(host.name, idle)] if idle else []
    plan = plan_of(
        settings, case, result, title, before=first, warnings=warnings, why=intent.reason
    )
    if full := tuple(leaving.full_pools(moves_in(plan), snapshot)):
        return Refused(title, full)
    plan = _with_other_ways(settings, plan, off, seen)
    return learn(plan, intent.past)


def picks(intent: Drain, snapshot: Snapshot) -> frozenset[str]:
    """UUIDs of the VMs to read in depth: those that may leave in other ways than live."""
    return leaving.with_other_ways(intent.ways, snapshot, (snapshot.host(intent.host).name,))


def _with_ways(stuck: Objection, intent: Drain) -> Message:
    """Why a VM stays, and with which option of this command it would not."""
    vm = stuck.code.removeprefix(STUCK)
    if intent.ways.ends(vm):
        return cards.with_remedy(stuck)
    line = command("/kvm host drain {} --shutdown-vm {}", intent.host, vm)
    return join((cards.with_remedy(stuck), words("Or drain with {command}.", command=Code(line))))


def _with_other_ways(
    settings: BalanceSettings, plan: Plan, off: Sequence[PowerVm], snapshot: Snapshot
) -> Plan:
    """A plan of live migrations with its shutdowns, and with the time and space of its copies."""
    moves = moves_in(plan)
    if not off and not any(move.copy_storage for move in moves):
        return plan
    copied = leaving.copied_bytes(moves, snapshot)
    moved = sum(move.memory for move in moves) + copied
    ended = [vm for vm in snapshot.vms if vm.uuid in {step.uuid for step in off}]
    return replace(
        plan,
        steps=(*plan.steps, *off),
        risk=Risk.HIGH if off else plan.risk,
        blast=replace(
            plan.blast,
            vms=tuple(dict.fromkeys((*plan.blast.vms, *(step.name for step in off)))),
            storage=copied,
        ),
        prediction=prediction(settings, moved / GIB, len(moves)),
        warnings=(*leaving.notes(moves, off, snapshot), *plan.warnings),
        tags=tuple(dict.fromkeys((*plan.tags, *tags_of(ended)))),
    )


def _drained_already(host: str) -> Objection:
    text = words("{host} is in maintenance, and no VM runs there.", host=host)
    return Objection("empty", text, words("Nothing to do."))


def evacuate(
    settings: BalanceSettings,
    host: str,
    snapshot: Snapshot,
    rules: Iterable[Rule],
    but: Collection[str] = (),
) -> tuple[BalanceCase, Solution, tuple[Objection, ...]]:
    """The moves that empty a host, and every VM that would stay, with what keeps it.

    ``but``: names of VMs that are not moved.
    """
    case, result = best_plan(
        evacuation_case(settings, host, snapshot, rules, but=but), SearchLimits(band=CALM)
    )
    stuck = tuple(_stay_objections(case, result, host))
    known = {vm.uuid for vm in case.vms}
    unseen = (vm for vm in snapshot.on(host) if vm.state.active and vm.uuid not in known)
    return case, result, (*stuck, *(_of_sizeless_host(vm, host) for vm in unseen))


def evacuation_case(
    settings: BalanceSettings,
    host: str,
    snapshot: Snapshot,
    rules: Iterable[Rule],
    also: Collection[str] = (),
    *,
    but: Collection[str] = (),
) -> BalanceCase:
    """The host in maintenance; only its VMs, and ``also`` (UUIDs), may move; no cooldown.

    ``but``: names of those that may not.
    """
    hosts = tuple(
        replace(each, maintenance=each.maintenance or each.name == host) for each in snapshot.hosts
    )
    supposed = replace(snapshot, hosts=hosts)

    def movable(vm: Vm) -> bool:
        return (vm.host == host and vm.name not in but) or vm.uuid in also

    return case_of(supposed, settings, rules, asked=True, movable=movable)


def _stay_objections(case: BalanceCase, result: Solution, host: str) -> Iterator[Objection]:
    """Every VM that would stay on the host, with what keeps it there once all moves are made."""
    where = Placement(case.problem)
    for move in result.moves:
        where.move(move.vm, move.target)
    others = [number for number, each in enumerate(case.hosts) if each.name != host]
    staying = [vm for vm in result.stuck if case.vms[vm].host == host]
    for vm in sorted(staying, key=lambda each: case.vms[each].name):
        against = obstacles(case, where, vm, others)
        yield _stays(case.vms[vm], host, [each for each in against if each])


def _stays(vm: Vm, host: str, against: Sequence[Objection]) -> Objection:
    """A VM that would stay: what keeps it from other hosts, and what to do."""
    why = cards.why_nowhere(against) or words("There is no other host.")
    typed = Code(command("/kvm vm shutdown {}", vm.name))
    shutdown = words("Shut it down: {command}.", command=typed)
    if any(each.code in CAPACITY for each in against):
        shutdown = words(
            "Free capacity on another host, or shut it down: {command}.", command=typed
        )
    remedies = [each.remedy for each in against if each.remedy]
    text = words("{vm} stays on {host}. {why}", vm=vm.name, host=host, why=why)
    return Objection(f"{STUCK}{vm.name}", text, next(iter(remedies), shutdown))


def _of_sizeless_host(vm: Vm, host: str) -> Objection:
    text = words(
        "{vm} stays on {host}: {host} does not report its CPUs and memory.", vm=vm.name, host=host
    )
    return Objection(f"{STUCK}{vm.name}", text, words("Check its libvirtd."))


def still_drains(
    settings: BalanceSettings,
    intent: Drain,
    planned: Plan,
    snapshot: Snapshot,
    rules: Iterable[Rule],
) -> tuple[Objection, ...]:
    """Check that every move is still possible and no VM is new on the host.

    A VM that has already left is no objection.
    """
    snapshot = leaving.jobs_over(leaving.with_copies(intent.ways, snapshot, (intent.host,)))
    case = evacuation_case(settings, intent.host, snapshot, rules)
    against, _ = replay(case, moves_in(planned))
    ends = (step.uuid for step in planned.steps if isinstance(step, PowerVm))
    moving = (step.uuid for step in moves_in(planned))
    foreseen = {*moving, *ends, *planned_to_stay(planned)}
    new = [
        vm.name
        for vm in case.vms
        if vm.host == intent.host and vm.name not in foreseen and vm.uuid not in foreseen
    ]
    hinders = tuple(each for each in against if each.code not in GONE)
    if not new:
        return hinders
    arrived = words(
        "More VMs are on {host} than when this was planned: {vms}.",
        host=intent.host,
        vms=cards.names_of(new),
    )
    return (*hinders, Objection("arrived", arrived))


def next_leaves(
    settings: BalanceSettings,
    intent: Drain,
    underway: Underway,
    snapshot: Snapshot,
    rules: Iterable[Rule],
) -> Rechecked:
    """A VM that has gone, or that cannot go there any more, is skipped; the others leave."""
    moving = {step.uuid for _, step in moves_left(underway)}
    snapshot = leaving.with_copies(intent.ways, snapshot, (intent.host,))
    return skip_impossible(
        evacuation_case(settings, intent.host, snapshot, rules, moving), underway
    )


def planned_to_stay(planned: Plan) -> frozenset[str]:
    """Names of the VMs that the plan said would stay."""
    return frozenset(
        each.code.removeprefix(STUCK) for each in planned.warnings if each.code.startswith(STUCK)
    )


def with_vms_away(intent: Undrain, history: History) -> Undrain:
    """The request with the VMs that maintenance of this host moved away and did not return."""
    home: dict[str, None] = {}
    off: dict[str, None] = {}
    for operation in history.operations(states=WORKED, limit=LOOK_BACK):
        about_it = operation.action in (UNDRAIN, DRAIN) and operation.intent.host == intent.host
        if about_it and operation.action == UNDRAIN and operation.state is State.DONE:
            break
        if (about_it and operation.action == DRAIN) or operation.action == ROLLING:
            home |= dict.fromkeys(_away_by(operation, intent.host))
            off |= dict.fromkeys(_shutdowns(operation, intent.host))
    return with_past(replace(intent, home=tuple(home), off=tuple(off)), history)


def _shutdowns(operation: Operation, host: str) -> Iterator[str]:
    """UUIDs of the VMs that an operation shut down on a host."""
    for each in operation.ended:
        step = operation.plan.steps[each.index]
        if isinstance(step, PowerVm) and step.host == host and step.verb is PowerVerb.SHUTDOWN:
            yield step.uuid


def _away_by(operation: Operation, host: str) -> Iterator[str]:
    """UUIDs of the VMs that an operation moved away from a host in its turn and not back."""
    gone: dict[str, None] = {}
    steps = operation.plan.steps
    for index in sorted(each.index for each in operation.ended):
        step = steps[index]
        if isinstance(step, MigrateVm) and step.target == host:
            gone.pop(step.uuid, None)
        elif (
            isinstance(step, MigrateVm)
            and step.source == host
            and turn_of(steps, index) in ("", host)
        ):
            gone[step.uuid] = None
    return iter(gone)


def turn_of(steps: Sequence[Step], index: int) -> str:
    """The host whose turn a step is in: the last one put into maintenance before; '' for none."""
    before = (
        step
        for step in reversed(steps[: index + 1])
        if isinstance(step, SetMaintenance) and step.on
    )
    return next((step.host for step in before), "")


def undrain(
    settings: BalanceSettings, intent: Undrain, snapshot: Snapshot, rules: Iterable[Rule]
) -> Plan | Refused:
    """Plan maintenance off, and the return of all VMs that fit, in the order in which they left.

    Raises:
        UnknownNameError: no such host.
    """
    host = snapshot.host(intent.host)
    title = words("Undrain {host}", host=host.name)
    if not host.up:
        return Refused(title, (cards.host_silent(host),))
    case = return_case(settings, host.name, intent.home, snapshot, rules)
    first = (SetMaintenance(host.name, on=False, reason=intent.reason),) if host.maintenance else ()
    moves, left = _moves_home(settings, case, intent)
    starts = leaving.starts(intent.off, snapshot, host.name)
    if not (first or moves or starts):
        text = words("{host} is in service, and no VM was moved away by a drain.", host=host.name)
        return Refused(title, left or (Objection("all-home", text, words("Nothing to do.")),))
    memory = sum(step.memory for step in moves)
    by_uuid = {vm.uuid: vm for vm in case.vms}
    back = [by_uuid[step.uuid] for step in moves]
    plan = Plan(
        title=title,
        steps=(*first, *moves, *starts),
        risk=Risk.MEDIUM,
        blast=Blast(
            vms=(*(step.name for step in moves), *(step.name for step in starts)),
            hosts=tuple(dict.fromkeys((host.name, *(step.source for step in moves)))),
            memory=memory,
        ),
        prediction=prediction(settings, memory / GIB, len(moves)),
        reasons=(_moves_back(len(moves), host.name),),
        warnings=tuple(Reason(each.code, cards.with_remedy(each)) for each in left),
        bars=placement.bars(case.snapshot, [(vm, host.name) for vm in back]),
        tags=tags_of(back),
    )
    return learn(plan, intent.past)


def _moves_back(count: int, host: str) -> Reason:
    text: Words = nwords(
        "{n} VM that the drain of {host} moved away is moved back.",
        "{n} VMs that the drain of {host} moved away are moved back.",
        n=count,
        host=host,
    )
    if not count:
        text = words(
            "{host} returns to service. No VM that its drain moved away can be moved back.",
            host=host,
        )
    return Reason("home", text)


def return_case(
    settings: BalanceSettings,
    host: str,
    home: Collection[str],
    snapshot: Snapshot,
    rules: Iterable[Rule],
) -> BalanceCase:
    """The host back in service, and only its own VMs (by UUID) may move."""
    hosts = tuple(
        replace(each, maintenance=each.maintenance and each.name != host) for each in snapshot.hosts
    )
    supposed = replace(snapshot, hosts=hosts)
    return case_of(supposed, settings, rules, asked=True, movable=lambda vm: vm.uuid in home)


def _moves_home(
    settings: BalanceSettings, case: BalanceCase, intent: Undrain
) -> tuple[tuple[MigrateVm, ...], tuple[Objection, ...]]:
    """The moves that fit one after another, and what keeps the others away."""
    where, target = Placement(case.problem), case.host_index(intent.host)
    moves: list[MigrateVm] = []
    left: list[Objection] = []
    for uuid in intent.home:
        vm = case.index(uuid)
        if vm is None or target is None:
            names = [each.name for each in case.snapshot.vms if each.uuid == uuid]
            text = words(
                "{vm} does not run on a host that answers, so it is not moved back.",
                vm=names[0] if names else uuid,
            )
            left.append(Objection("not-home", text))
        elif where.host[vm] == target:
            continue
        elif found := obstacle(case, where, vm, target):
            guest = case.vms[vm]
            text = words(
                "{vm} stays on {host}. {why}", vm=guest.name, host=guest.host, why=found.text
            )
            left.append(Objection("not-home", text, found.remedy))
        else:
            guest = case.vms[vm]
            reason = words("the drain of {host} had moved it away", host=intent.host)
            moves.append(step_for(settings, guest, guest.host, intent.host, reason))
            where.move(vm, target)
    return tuple(moves), tuple(left)


def next_returns(
    settings: BalanceSettings,
    intent: Undrain,
    underway: Underway,
    snapshot: Snapshot,
    rules: Iterable[Rule],
) -> Rechecked:
    """A VM that cannot come home any more stays where it is; the others come."""
    return skip_impossible(
        return_case(settings, intent.host, intent.home, snapshot, rules), underway
    )


def still_returns(
    settings: BalanceSettings,
    intent: Undrain,
    planned: Plan,
    snapshot: Snapshot,
    rules: Iterable[Rule],
) -> tuple[Objection, ...]:
    """Every move still legal in its turn."""
    against, _ = replay(
        return_case(settings, intent.host, intent.home, snapshot, rules), moves_in(planned)
    )
    return against
