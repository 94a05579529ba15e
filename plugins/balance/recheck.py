"""What of a running plan is still worthwhile, asked on a fresh snapshot before each step; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bot.domain.cluster import Snapshot
from bot.domain.message import words
from bot.domain.placement import Rule
from bot.domain.plan import Objection, Spread
from bot.domain.steps import MigrateVm
from bot.plugin_api import Rechecked, Underway
from plugins.balance import cards
from plugins.balance.from_snapshot import BalanceCase, case_of
from plugins.balance.intents import Balance
from plugins.balance.legality import objections_in_turn
from plugins.balance.planner import limits_of
from plugins.balance.settings import BalanceSettings
from plugins.balance.solver.model import ROUNDING, Ints, Score
from plugins.balance.solver.score import score_of, shares

# Of its price the rest must still bring: load never holds still, and a plan is not dropped for a
# flicker
WORTH = 0.5

Numbered = tuple[tuple[int, MigrateVm], ...]


def moves_left(underway: Underway) -> Numbered:
    """The moves that have not begun, with their numbers."""
    steps = ((index, underway.plan.steps[index]) for index in underway.left)
    return tuple((index, step) for index, step in steps if isinstance(step, MigrateVm))


def against_each(case: BalanceCase, moves: Numbered) -> tuple[dict[int, Objection], Ints]:
    """Objections to each move in its turn, and where every VM is after the moves without any."""
    found, host = objections_in_turn(case, (step for _, step in moves))
    return {index: each[0] for (index, _), each in zip(moves, found, strict=True) if each}, host


def skip_impossible(case: BalanceCase, underway: Underway) -> Rechecked:
    """Moves whose turn it is and that are not legal any more; all else goes on."""
    return skip_impossible_of(case, underway, moves_left(underway))


def skip_impossible_of(case: BalanceCase, underway: Underway, moves: Numbered) -> Rechecked:
    """Of these moves, made in order, skip those whose turn it is and that are not possible."""
    against, _ = against_each(case, moves)
    return Rechecked(_in_turn(against, underway))


def _in_turn(against: Mapping[int, Objection], underway: Underway) -> dict[int, Objection]:
    return {index: why for index, why in against.items() if index in underway.turn}


def still_pays(
    settings: BalanceSettings,
    intent: Balance,
    underway: Underway,
    snapshot: Snapshot,
    rules: Iterable[Rule],
) -> Rechecked:
    """Skip impossible and pointless moves; skip the rest when it brings half its cost or less."""
    case = case_of(snapshot, settings, rules, recent=intent.recent, only=intent.only)
    moves = moves_left(underway)
    against, host = against_each(case, moves)
    now, then = score_of(case.problem, case.problem.host), score_of(case.problem, host)
    legal = tuple(each for each in moves if each[0] not in against)
    if legal and now.total - then.total < max(
        ROUNDING, WORTH * _price(settings, intent, case, legal)
    ):
        enough = words(
            "The rest is no longer worthwhile: it would take the imbalance from {before} to "
            "{after}.",
            before=cards.imbalance(now),
            after=cards.imbalance(then),
        )
        advice = words("Nothing to do; a new `/kvm balance` plans from here.")
        return Rechecked(enough=Objection("enough", enough, advice))
    skip = _in_turn(against, underway)
    for index in underway.turn:
        if index not in skip and _pointless(case, moves, index, then):
            skip[index] = Objection(
                "pointless",
                words(
                    "It would not help any more: the imbalance is {now}, and no lower with it.",
                    now=cards.imbalance(now),
                ),
            )
    return Rechecked(skip)


def _price(settings: BalanceSettings, intent: Balance, case: BalanceCase, moves: Numbered) -> float:
    """What the moves cost together, in units of the score; 0 where people picked them."""
    if intent.wanted:
        return 0.0
    limits = limits_of(settings, intent, case)
    least = limits.least_gain(case.problem)
    costs = {vm.uuid: float(cost) for vm, cost in zip(case.vms, case.problem.transfer, strict=True)}
    return sum(least * (1 + limits.per_gib * costs[step.uuid]) for _, step in moves)


def _pointless(case: BalanceCase, moves: Numbered, index: int, then: Score) -> bool:
    """Return whether the rest alone would end at least as even."""
    _, host = against_each(case, tuple(each for each in moves if each[0] != index))
    return score_of(case.problem, host).total <= then.total + ROUNDING


def evenness(settings: BalanceSettings, snapshot: Snapshot) -> Spread:
    """The solver's score, and the CPU share of the busiest and the idlest host in service."""
    case = case_of(snapshot, settings, ())
    problem = case.problem
    cpu = shares(problem, problem.host)[~problem.drained, 0]
    score = round(score_of(problem, problem.host).balance, 4)
    if not len(cpu):
        return Spread(score, 0.0, 0.0)
    return Spread(score, round(float(cpu.max()), 4), round(float(cpu.min()), 4))
