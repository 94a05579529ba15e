"""The whole search: from a problem and limits to a short, ordered plan that evens out the load.

`repair` does what must be done, `Descent` and `LocalSearch` look for the best placement within the
limits, `sequence` turns it into moves, and a plan is accepted only if the score falls. All of it is
deterministic: bounded by counts, not by time.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from plugins.balance.solver.greedy import Descent
from plugins.balance.solver.local_search import LocalSearch
from plugins.balance.solver.model import ROUNDING, Move, Problem, SearchLimits, Solution
from plugins.balance.solver.placement import Placement
from plugins.balance.solver.repair import movable, repair
from plugins.balance.solver.score import score_of
from plugins.balance.solver.sequencing import hosts_after, lowers_score, sequence, worthwhile_prefix

Clock = Callable[[], float]

MOST_REPLANS = 20  # each is a whole search; two or three are usual, and it must end


def solve(
    problem: Problem,
    limits: SearchLimits | None = None,
    *,
    seed: int = 0,
    clock: Clock = time.monotonic,
) -> Solution:
    """Plan moves that even out load, empty drained hosts and remove faults, within the limits.

    Hosts and VMs are put in order of name first, so the caller's order cannot show. Never raises
    the score; planning again on the outcome finds nothing, unless `capped` or `cut_short`. A
    problem without sense was refused when made.
    """
    limits = limits or SearchLimits()
    hosts = np.array(
        sorted(range(len(problem.host_names)), key=problem.host_names.__getitem__), dtype=np.intp
    )
    vms = np.array(
        sorted(range(len(problem.vm_names)), key=problem.vm_names.__getitem__), dtype=np.intp
    )
    run = _Run(problem.reorder(hosts, vms), limits, seed, clock, clock() + limits.seconds)
    moves = tuple(
        replace(
            move,
            vm=int(vms[move.vm]),
            source=int(hosts[move.source]),
            target=int(hosts[move.target]),
        )
        for move in _plan(run)
    )
    after = hosts_after(problem, moves)
    return Solution(
        moves=moves,
        before=score_of(problem, problem.host),
        after=score_of(problem, after),
        gib=float(sum(problem.transfer[move.vm] for move in moves)),
        stuck=tuple(int(vm) for vm in np.flatnonzero(problem.drained[after])),
        capped=run.capped,
        cut_short=run.cut_short,
    )


@dataclass(slots=True)
class _Run:
    """One search: where it stands, in canonical order, and what happened to it."""

    problem: Problem
    limits: SearchLimits
    seed: int
    clock: Clock
    deadline: float
    capped: bool = False
    cut_short: bool = False

    def late(self) -> bool:
        self.cut_short = self.cut_short or self.clock() > self.deadline
        return self.cut_short


def _plan(run: _Run) -> tuple[Move, ...]:
    """Improve again and again until nothing pays, then join the parts to one plan."""
    start = run.problem
    parts: list[tuple[Move, ...]] = []
    for _ in range(MOST_REPLANS):
        moves = _improve(run)
        parts.append(moves)
        if not moves or run.capped or run.cut_short:
            break
        run.problem = run.problem.place(hosts_after(run.problem, moves))
        run.limits = _what_is_left(run.limits, run.problem, moves)
    return _join(start, [part for part in parts if part])


def _what_is_left(limits: SearchLimits, problem: Problem, moves: tuple[Move, ...]) -> SearchLimits:
    gib = float(sum(problem.transfer[move.vm] for move in moves))
    return replace(
        limits,
        max_moves=None if limits.max_moves is None else limits.max_moves - len(moves),
        max_gib=None if limits.max_gib is None else max(0.0, limits.max_gib - gib),
    )


def _join(problem: Problem, parts: list[tuple[Move, ...]]) -> tuple[Move, ...]:
    """Return one plan for all parts, without detours, if there is one with the same end."""
    moves = tuple(move for part in parts for move in part)
    if len(parts) < 2:
        return moves
    goal = hosts_after(problem, moves)
    direct = sequence(problem, goal)
    return (
        direct
        if np.array_equal(hosts_after(problem, direct), goal) and len(direct) <= len(moves)
        else moves
    )


def _improve(run: _Run) -> tuple[Move, ...]:
    """Return moves that lower the score from where the run stands, or nothing."""
    problem, limits = run.problem, run.limits
    if not movable(problem).any() or problem.drained.all():
        return ()
    placement = Placement(problem)
    repair(placement)
    if placement.imbalance() > max(limits.band, limits.goal or 0.0) + ROUNDING:
        placement = _even_out(run, placement)
        if score_of(problem, placement.host).faults:
            repair(placement)
    wished = sequence(problem, placement.host)
    affordable = _affordable(problem, wished, limits)
    run.capped = run.capped or len(affordable) < len(wished)
    moves = worthwhile_prefix(affordable, limits.least_gain(problem))
    return moves if lowers_score(problem, moves) else ()


def _even_out(run: _Run, start: Placement) -> Placement:
    """Return the most even placement within the limits, and note whether these stood in the way."""
    descent = Descent(run.problem, run.limits, start, run.late)
    local_search = LocalSearch(descent.run(), descent.movable, run.limits, descent.price, run.seed)
    run.capped = run.capped or descent.at_limit()
    found = local_search.run(run.late)
    run.capped = run.capped or descent.exceeded or local_search.exceeded
    return found


def _affordable(
    problem: Problem, moves: tuple[Move, ...], limits: SearchLimits
) -> tuple[Move, ...]:
    """Cut a plan whose forced moves or detours go beyond the hard limits."""
    gib = np.cumsum([problem.transfer[move.vm] for move in moves])
    most = len(moves) if limits.max_gib is None else int((gib <= limits.max_gib).sum())
    return moves[: most if limits.max_moves is None else min(most, limits.max_moves)]
