"""From a request to a plan of moves with a reason for each, or why there is none; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from bot.domain import past_moves, placement
from bot.domain.card import Card
from bot.domain.cluster import GIB, MIB, Host, Snapshot, Vm, tags_of
from bot.domain.message import Message, Number, Rate, Size, Words, nwords, words
from bot.domain.operation import State
from bot.domain.past_moves import PastMove
from bot.domain.placement import Rule
from bot.domain.plan import Blast, Objection, Plan, Prediction, Reason, Refused, Risk
from bot.domain.steps import MigrateVm, Step
from bot.plugin_api import History
from plugins.balance import cards
from plugins.balance.from_snapshot import BalanceCase, Moves, Only, best_plan, case_of
from plugins.balance.intents import About, Balance, Drain, Rolling, Simulate, Undrain
from plugins.balance.legality import detail_of, replay, state_to_carry
from plugins.balance.settings import BalanceSettings
from plugins.balance.solver.explain import explain
from plugins.balance.solver.model import Move, SearchLimits, Solution
from plugins.balance.solver.n_plus_one import SpareCapacity
from plugins.balance.solver.placement import Placement
from plugins.balance.solver.score import score_of
from plugins.balance.solver.sequencing import hosts_after

NO_MOVES = words("No moves planned.")
CALM = 1e9  # a band that no score is outside of: only what is plainly wrong is then mended
LOOK_BACK = 50  # operations in which the moves of the cooldown are looked for
WORKED = (State.RUNNING, State.DONE, State.FAILED, State.CANCELLED)
Learning = TypeVar("Learning", Balance, Drain, Undrain, Rolling)


def with_recent_moves(intent: Balance, history: History) -> Balance:
    """The request with the VMs that moved lately, whatever moved them, for the cooldown."""
    return with_past(replace(intent, recent=moves_of(history)), history)


def with_past(intent: Learning, history: History) -> Learning:
    """The request with what moves took lately."""
    return replace(intent, past=past_moves.recent_moves(history))


def learn(plan: Plan, past: Sequence[PastMove]) -> Plan:
    """A plan whose prediction comes from what alike moves took, where enough of them are known."""
    likely = past_moves.of_several(plan.prediction, moves_in(plan), past)
    return replace(plan, prediction=likely)


def moves_of(history: History) -> Moves:
    """UUIDs of the VMs moved by the newest operations, and when each last arrived."""
    latest = {}
    for operation in reversed(history.operations(states=WORKED, limit=LOOK_BACK)):
        for ended in operation.ended:
            step = operation.plan.steps[ended.index]
            if isinstance(step, MigrateVm):
                latest[step.uuid] = ended.at
    return tuple(sorted(latest.items()))


def plan(
    settings: BalanceSettings, intent: Balance, snapshot: Snapshot, rules: Iterable[Rule]
) -> Plan | Refused:
    """The moves that pay, in an order in which each is legal, or why there are none."""
    case, result = find_plan(settings, intent, snapshot, rules)
    if not result.moves:
        return Refused(NO_MOVES, tuple(_nothing(settings, intent, case, result)), sentence=True)
    return plan_of(settings, case, result, title_of(len(result.moves)), why=intent.reason)


def title_of(count: int) -> Words:
    """What approvers read first."""
    return nwords(
        "Balance the cluster with {n} migration", "Balance the cluster with {n} migrations", n=count
    )


def find_plan(
    settings: BalanceSettings, intent: Balance, snapshot: Snapshot, rules: Iterable[Rule]
) -> tuple[BalanceCase, Solution]:
    """The case and the best plan that its rules agree to.

    Raises:
        UnknownNameError, AmbiguousNameError: a VM to be skipped that there is not, or that could
            be several.
    """
    stay = frozenset(snapshot.vm(name).uuid for name in intent.skip)
    case = case_of(
        snapshot,
        settings,
        rules,
        recent=intent.recent,
        only=intent.only,
        movable=lambda vm: vm.uuid not in stay,
    )
    return best_plan(case, limits_of(settings, intent, case))


def limits_of(settings: BalanceSettings, intent: Balance, case: BalanceCase) -> SearchLimits:
    """What a plan may cost and what each move must bring; the request goes before the settings."""
    return SearchLimits(
        max_moves=intent.max_moves or settings.max_moves or None,
        per_move=intent.min_gain * case.problem.serving or settings.per_move,
        per_gib=settings.per_gib,
        effort=settings.effort,
        band=CALM if intent.only is Only.RULES else settings.band,
    )


def _nothing(
    settings: BalanceSettings, intent: Balance, case: BalanceCase, result: Solution
) -> Iterator[Objection]:
    """Why no move is planned: inside the band, or nothing legal pays."""
    score = result.before
    if not score.faults and intent.only is Only.RULES:
        yield Objection("calm", words("No placement tag is violated, and no host is overfull."))
    elif not score.faults and score.balance <= settings.band:
        yield Objection(
            "calm",
            words(
                "Imbalance is {imbalance} (CPU {cpu}, memory {memory}), within the threshold of "
                "{threshold}.",
                imbalance=cards.imbalance(score),
                cpu=Number(score.cpu, 3),
                memory=Number(score.memory, 3),
                threshold=settings.band,
            ),
            words("Set a lower `band` in `[plugins.balance]` to balance further."),
        )
    elif (
        case.problem.n_plus_one
        and best_plan(_careless(case), limits_of(settings, intent, case))[1].moves
    ):
        yield Objection(
            "spare",
            words(
                "Imbalance is {imbalance}, but the moves that would reduce it would use the spare "
                "capacity needed to survive a host failure.",
                imbalance=cards.imbalance(score),
            ),
            words(
                "Add memory, stop VMs that nobody needs, or set `keep_spare = false` in "
                "`[plugins.balance]`."
            ),
        )
    else:
        yield Objection(
            "nothing-pays",
            words(
                "Imbalance is {imbalance}, but no possible move reduces it by what a move costs.",
                imbalance=cards.imbalance(score),
            ),
            words(
                "`/kvm balance why VM` explains one VM; a smaller `--min-gain` allows more moves."
            ),
        )
    if result.stuck:
        yield Objection(
            "stuck",
            words(
                "These VMs cannot leave their hosts, which are in maintenance: {vms}.",
                vms=cards.names_of(case.vms[vm].name for vm in result.stuck),
            ),
            words("`/kvm balance why VM` says why."),
        )
    if odd := [vm for vm in case.vms if vm.problem]:
        yield cards.unreadable_vms(odd)


def _careless(case: BalanceCase) -> BalanceCase:
    """The same without N+1."""
    return replace(case, problem=replace(case.problem, n_plus_one=False))


def plan_of(
    settings: BalanceSettings,
    case: BalanceCase,
    result: Solution,
    title: Message,
    *,
    before: Sequence[Step] = (),
    warnings: Sequence[Reason] = (),
    why: str = "",
) -> Plan:
    """A search's result as a plan.

    ``before``: steps that come first; ``why``: the person's own reason.
    """
    told = tuple(_reasons(case, result.moves))
    moves = tuple(
        step_of(settings, case, move, reason.text)
        for move, reason in zip(result.moves, told, strict=True)
    )  # the person's own reason stands in the operation's origin already
    touched = list(dict.fromkeys(move.vm for move in result.moves))
    last = {move.vm: case.hosts[move.target].name for move in result.moves}
    memory = sum(step.memory for step in moves)
    summary = (cards.summary(result.before, result.after, len(moves), memory),) if moves else ()
    asked = (Reason("asked", words("Requested because: {why}", why=why)),) if why else ()
    return Plan(
        title=title,
        steps=(*before, *moves),
        risk=Risk.MEDIUM,
        blast=Blast(
            vms=tuple(case.vms[vm].name for vm in touched),
            hosts=tuple(dict.fromkeys(host for step in (*before, *moves) for host in step.hosts)),
            memory=memory,
        ),
        prediction=prediction(settings, result.gib, len(moves)),
        reasons=(*asked, *summary, *told),
        warnings=(*warnings, *_warnings(case, result)),
        bars=placement.bars(case.snapshot, [(case.vms[vm], host) for vm, host in last.items()]),
        tags=tags_of(case.vms[vm] for vm in touched),
    )


def step_of(settings: BalanceSettings, case: BalanceCase, move: Move, reason: Message) -> MigrateVm:
    """One move as a step that can be carried out."""
    source, target = case.hosts[move.source].name, case.hosts[move.target].name
    vm = case.vms[move.vm]
    step = step_for(settings, vm, source, target, reason)
    return replace(step, copy_storage=vm.uuid in case.snapshot.copying)


def step_for(
    settings: BalanceSettings, vm: Vm, source: str, target: str, reason: Message
) -> MigrateVm:
    """A VM's step from one host to another, under the policy that never stops the VM."""
    return MigrateVm(
        vm.uuid,
        vm.name,
        source,
        target,
        vm.memory,
        bandwidth=settings.bandwidth_mib_s,
        carried=state_to_carry(vm),
        reason=reason,
    )


def prediction(settings: BalanceSettings, gib: float, count: int) -> Prediction:
    """Predict migrations one after another, at the assumed rate.

    ``gib`` includes what is sent again, where writing was measured. Of none nothing is predicted.
    """
    if not count:
        return Prediction()
    rate = (settings.bandwidth_mib_s or settings.assumed_mib_s) * MIB
    basis = nwords(
        "{n} migration, {sent} at an assumed {rate}",
        "{n} migrations one after another, {sent} at an assumed {rate}",
        n=count,
        sent=Size(gib * GIB),
        rate=Rate(rate),
    )
    return Prediction(round(gib * GIB / rate, 3), basis=basis)


def _reasons(case: BalanceCase, moves: Iterable[Move]) -> Iterator[Reason]:
    """Each move's reason, with its hosts' load as it is at that point of the plan."""
    where = Placement(case.problem)
    for move in moves:
        share = where.load / where.units
        yield cards.because(
            case.vms[move.vm], case.hosts[move.source], case.hosts[move.target], move, share
        )
        where.move(move.vm, move.target)


def _warnings(case: BalanceCase, result: Solution) -> Iterator[Reason]:
    unmeasured = [vm.name for vm in case.vms if vm.cpu is None]
    if unmeasured:
        yield Reason(
            "unmeasured",
            words(
                "CPU use not measured yet, so counted as idle: {vms}.",
                vms=cards.names_of(unmeasured),
            ),
        )
    if left := [host.name for host in case.snapshot.hosts if not host.up]:
        yield Reason(
            "left-out",
            words(
                "Hosts that do not answer are left out, with their VMs: {hosts}.",
                hosts=cards.names_of(left),
            ),
        )
    if odd := [vm for vm in case.vms if vm.problem]:
        told = cards.unreadable_vms(odd)
        yield Reason(told.code, told.text)
    if result.cut_short:
        yield Reason(
            "cut-short", words("The search ran out of time; a second balance may find more.")
        )
    if alone := _not_covered(case, result):
        yield Reason(
            "no-spare",
            words(
                "N+1 is lost for these hosts: if one fails, the others have no capacity for its "
                "VMs: {hosts}.",
                hosts=cards.names_of(alone),
            ),
        )


def _not_covered(case: BalanceCase, result: Solution) -> list[str]:
    """Hosts whose loss after the plan the others could not make good (N+1)."""
    after = Placement(case.problem.place(hosts_after(case.problem, result.moves)))
    return [case.hosts[host].name for host in SpareCapacity(after).at_risk().tolist()]


def still_good(
    settings: BalanceSettings,
    intent: Balance,
    planned: Plan,
    snapshot: Snapshot,
    rules: Iterable[Rule],
) -> tuple[Objection, ...]:
    """Check that the moves that are still possible lower the score; impossible ones are skipped.

    A host that does not answer speaks against the whole: its moves would wait for it, and all
    others behind them.
    """
    case = case_of(snapshot, settings, rules, recent=intent.recent, only=intent.only)
    against, after = replay(case, moves_in(planned))
    before, then = score_of(case.problem, case.problem.host), score_of(case.problem, after)
    if then.total >= before.total:
        return against or (cards.no_gain(before, then),)
    silent = {host.name for host in snapshot.hosts if not host.up}
    return against if any(silent.intersection(step.hosts) for step in moves_in(planned)) else ()


def moves_in(planned: Plan) -> tuple[MigrateVm, ...]:
    """The moves of a plan, in order."""
    return tuple(step for step in planned.steps if isinstance(step, MigrateVm))


def simulation(
    settings: BalanceSettings, intent: Simulate, snapshot: Snapshot, rules: Iterable[Rule]
) -> Card:
    """The plan for an assumed cluster: without hosts, with one more, or as it is; not proposed.

    Raises:
        UnknownNameError: a host of ``without`` that there is not.
    """
    supposed = suppose(intent, snapshot)
    return cards.simulation_card(
        plan(settings, intent.wish, supposed, rules), intent.without, intent.cpus, intent.memory
    )


def suppose(intent: Simulate, snapshot: Snapshot) -> Snapshot:
    """The cluster as ``balance sim`` assumes it; a new host is like the first one that answers."""
    gone = {snapshot.host(name).name for name in intent.without}
    hosts = tuple(
        replace(host, maintenance=True) if host.name in gone else host for host in snapshot.hosts
    )
    like = next((host for host in hosts if host.up), None)
    if intent.cpus and like is not None:
        hosts = (*hosts, _new(like, intent.cpus, intent.memory, {host.name for host in hosts}))
    return replace(snapshot, hosts=hosts)


def _new(like: Host, cpus: int, memory: int, taken: set[str]) -> Host:
    name = next(
        name
        for name in (f"new-{number}" for number in range(1, len(taken) + 2))
        if name not in taken
    )
    return replace(
        like,
        name=name,
        hostname=name,
        uuid="",
        cpus=cpus,
        memory=memory,
        memory_free=memory,
        cpu=0.0,
        maintenance=False,
        migrate_address="",
        tags={},
    )


def why(
    settings: BalanceSettings,
    about: About,
    snapshot: Snapshot,
    rules: Iterable[Rule],
    recent: Moves = (),
) -> Card:
    """Why a VM is not moved: one answer for each host.

    Raises:
        UnknownNameError, AmbiguousNameError: no such VM, or several.
    """
    vm: Vm = snapshot.vm(about.vm)
    case = case_of(snapshot, settings, rules, recent=recent)
    number = case.index(vm.uuid, vm.host)
    if number is None:
        return cards.not_balanced(vm, snapshot.host(vm.host))
    case = case.with_rules_asked([number])
    answers = explain(case.problem, number, limits_of(settings, Balance(), case))
    rows = [
        (host, answer, detail_of(case, number, index, answer))
        for index, (host, answer) in enumerate(zip(case.hosts, answers, strict=True))
    ]
    return cards.why_card(vm, rows, score_of(case.problem, case.problem.host), settings.band)
