"""Some moves of a plan as a plan of their own, and what depends on the others; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from bot.domain.cluster import Snapshot
from bot.domain.message import join, nwords, words
from bot.domain.placement import Rule
from bot.domain.plan import Objection, Plan, Reason, Refused
from bot.domain.steps import MigrateVm
from plugins.balance import cards
from plugins.balance.from_snapshot import BalanceCase, case_of
from plugins.balance.intents import Balance, Wish
from plugins.balance.legality import obstacle
from plugins.balance.planner import NO_MOVES, moves_in, plan_of, title_of
from plugins.balance.settings import BalanceSettings
from plugins.balance.solver.model import Ints, Move, Solution
from plugins.balance.solver.placement import Placement
from plugins.balance.solver.score import score_of
from plugins.balance.solver.sequencing import hosts_after, sequence


def pick_moves(intent: Balance, planned: Plan, indexes: tuple[int, ...]) -> Balance:
    """The request for these moves of a plan; the others are kept, to say what depends on them."""
    wanted = moves_in(replace(planned, steps=tuple(planned.steps[index] for index in indexes)))
    others = moves_in(
        replace(planned, steps=tuple(s for i, s in enumerate(planned.steps) if i not in indexes))
    )
    return replace(intent, wanted=_wishes(wanted), unwanted=_wishes(others))


def _wishes(moves: Iterable[MigrateVm]) -> tuple[Wish, ...]:
    return tuple((move.uuid, move.target) for move in moves)


def plan_pick(
    settings: BalanceSettings, intent: Balance, snapshot: Snapshot, rules: Iterable[Rule]
) -> Plan | Refused:
    """The picked moves, in an order in which each is possible, and those left out."""
    case = case_of(snapshot, settings, rules, recent=intent.recent, only=intent.only)
    moves = _moves(case, dict(intent.wanted))
    after = hosts_after(case.problem, moves)
    made = {case.vms[move.vm].uuid for move in moves}
    left = tuple(
        _pick_objections(
            case, intent, after, [wish for wish in intent.wanted if wish[0] not in made]
        )
    )
    before, then = score_of(case.problem, case.problem.host), score_of(case.problem, after)
    if not moves or then.total >= before.total:
        return Refused(
            NO_MOVES, (*left, *((cards.no_gain(before, then),) if moves else ())), sentence=True
        )
    gib = float(sum(case.problem.transfer[move.vm] for move in moves))
    warnings = [Reason(each.code, each.text) for each in left]
    return plan_of(
        settings,
        case,
        Solution(moves, before, then, gib),
        title_of(len(moves)),
        warnings=warnings,
        why=intent.reason,
    )


def _moves(case: BalanceCase, wanted: dict[str, str]) -> tuple[Move, ...]:
    """Moves to the picked hosts only: a VM that would have to stop on a third host stays."""
    places = {vm: host for vm, host in _places(case, wanted) if _may_move(case, vm, host)}
    while True:
        wished = case.problem.host.copy()
        wished[list(places)] = list(places.values())
        moves = sequence(case.problem, wished)
        detours = {move.vm for move in moves if places[move.vm] != move.target}
        if not detours:
            return moves
        places = {vm: host for vm, host in places.items() if vm not in detours}


def _places(case: BalanceCase, wanted: dict[str, str]) -> Iterator[tuple[int, int]]:
    for uuid, name in wanted.items():
        vm, host = case.index(uuid), case.host_index(name)
        if vm is not None and host is not None:
            yield vm, host


def _may_move(case: BalanceCase, vm: int, host: int) -> bool:
    return not case.problem.fixed[vm] and case.objection(vm, host) is None


def _pick_objections(
    case: BalanceCase, intent: Balance, after: Ints, wishes: Iterable[Wish]
) -> Iterator[Objection]:
    """What keeps each picked move from being made, and the moves that it waits for."""
    where = Placement(case.problem.place(after))
    for uuid, target in wishes:
        vm, host = case.index(uuid), case.host_index(target)
        if vm is None or host is None:
            yield Objection(
                "gone",
                words(
                    "A picked move to {host} is left out: VM {vm} or the host does not answer.",
                    host=target,
                    vm=uuid,
                ),
            )
        elif (found := obstacle(case, where, vm, host)) is not None:
            yield _not_picked(found, tuple(_leaving(case, intent, host)), target)


def _not_picked(found: Objection, waits_for: Sequence[str], host: str) -> Objection:
    """A picked move that is not possible without others."""
    left_out = words("Left out: {why}", why=found.text)
    needs = nwords(
        "First {vms} would have to leave {host}, which was not picked.",
        "First these would have to leave {host}, which was not picked: {vms}.",
        n=len(waits_for),
        vms=cards.names_of(waits_for),
        host=host,
    )
    text = join((left_out, needs)) if waits_for else left_out
    return Objection("not-picked", text, found.remedy)


def _leaving(case: BalanceCase, intent: Balance, host: int) -> Iterator[str]:
    """Names of VMs whose move away from a host was not picked."""
    for uuid, _ in intent.unwanted:
        vm = case.index(uuid)
        if vm is not None and case.problem.host[vm] == host:
            yield case.vms[vm].name
