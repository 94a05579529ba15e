"""The planner's core: from a problem and limits to a short, legal, ordered plan that evens out the load.

Descent in the price of a move: at first only moves that gain a lot are made, then the price falls step by step, and at each
price the exchanges of `exchange.improve_block` are applied until none pays. If a limit (moves, GiB, goal) is passed, prices swing
around the limit and the best plan within it is kept. Everything is deterministic: bounded by counts, not by time.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from plugins.balance.exchange import Prices, improve_block
from plugins.balance.model import NO_GROUP, Bools, Ints, Limits, Move, Problem, Result
from plugins.balance.order import host_after, lowers, ordered, worthwhile
from plugins.balance.placement import Placement
from plugins.balance.repair import movable, repair
from plugins.balance.score import score_of

Clock = Callable[[], float]

FIRST_PRICE = 0.8
"""Price of a move, times hosts, at which the descent begins."""
BLOCK_VMS = 300
"""About how many VMs a block holds: R × R prices should stay in the processor's cache."""
MOST_PASSES = 30
MOST_REPLANS = 20


def search(problem: Problem, limits: Limits | None = None, *, seed: int = 0, clock: Clock = time.monotonic) -> Result:
    """Plan moves that even out CPU and memory, empty drained hosts and mend broken rules, within the limits.

    Hosts and VMs are put in order of name first, so the caller's order cannot show. Never raises the score; planning again on
    the outcome finds nothing, unless `capped` or `cut_short`. An impossible problem is refused earlier, by `Problem` itself.
    """
    limits = limits or Limits()
    hosts = np.array(sorted(range(len(problem.host_names)), key=problem.host_names.__getitem__), dtype=np.intp)
    vms = np.array(sorted(range(len(problem.vm_names)), key=problem.vm_names.__getitem__), dtype=np.intp)
    run = _Run(problem.reordered(hosts, vms), limits, seed, clock, clock() + limits.seconds)
    moves = tuple(
        replace(move, vm=int(vms[move.vm]), source=int(hosts[move.source]), target=int(hosts[move.target]))
        for move in _plan(run)
    )
    after = host_after(problem, moves)
    return Result(
        moves=moves,
        before=score_of(problem, problem.host),
        after=score_of(problem, after),
        gib=float(sum(problem.cost[move.vm] for move in moves)),
        stuck=tuple(int(vm) for vm in np.flatnonzero(problem.drained[after])),
        capped=run.capped,
        cut_short=run.cut_short,
    )


@dataclass(slots=True)
class _Run:
    """One search: its problem in canonical order, and what happened to it."""

    problem: Problem
    limits: Limits
    seed: int
    clock: Clock
    deadline: float
    capped: bool = False
    cut_short: bool = False
    free: Bools = field(init=False)

    def __post_init__(self) -> None:
        self.free = movable(self.problem) & (self.problem.together == NO_GROUP)

    @property
    def least_price(self) -> float:
        return self.limits.per_move / max(1, int((~self.problem.drained).sum()))

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
        run.problem = run.problem.placed(host_after(run.problem, moves))
        run.limits = _what_is_left(run.limits, run.problem, moves)
    return _joined(start, [part for part in parts if part])


def _what_is_left(limits: Limits, problem: Problem, moves: tuple[Move, ...]) -> Limits:
    gib = float(sum(problem.cost[move.vm] for move in moves))
    return replace(
        limits,
        max_moves=None if limits.max_moves is None else limits.max_moves - len(moves),
        max_gib=None if limits.max_gib is None else max(0.0, limits.max_gib - gib),
    )


def _joined(problem: Problem, parts: list[tuple[Move, ...]]) -> tuple[Move, ...]:
    """Answer one plan for all parts, without their detours, if there is one that ends at the same place."""
    moves = tuple(move for part in parts for move in part)
    if len(parts) < 2:
        return moves
    goal = host_after(problem, moves)
    direct = ordered(problem, goal)
    return direct if np.array_equal(host_after(problem, direct), goal) and len(direct) <= len(moves) else moves


def _improve(run: _Run) -> tuple[Move, ...]:
    """Answer moves that lower the score from where the run stands, or nothing."""
    placement = Placement(run.problem)
    if not run.free.any() or run.problem.drained.all():
        return ()
    repair(placement)
    forced = bool(placement.moved().any())
    if not forced and placement.imbalance() <= run.limits.band:
        return ()
    if placement.imbalance() > run.limits.band:
        placement = _Descent(run, placement).result()
        repair(placement)
    moves = worthwhile(ordered(run.problem, placement.host)[: run.limits.max_moves], run.least_price)
    return moves if lowers(run.problem, moves)[2] else ()


class _Descent:
    """The search for one placement: falling prices, then a swing around whatever limit was passed."""

    def __init__(self, run: _Run, placement: Placement) -> None:
        self.run, self.placement = run, placement
        self.limits = run.limits
        self.rng = np.random.default_rng(run.seed)
        self.price = FIRST_PRICE * run.least_price / run.limits.per_move
        self.per_gib = run.limits.per_gib
        self.best: Placement | None = None
        self.best_rank = (np.inf, np.inf)

    def result(self) -> Placement:
        """Answer the best placement within the limits (or the nearest to them)."""
        while True:
            self.settle()
            if self.passed_limit():
                self.run.capped = True
                self.swing()
                break
            if self.price <= self.run.least_price or self.run.late():
                break
            self.price = max(self.price / 2.0, self.run.least_price)
        return self.best or self.placement

    def settle(self) -> None:
        """Exchange at the present price until a pass over all hosts no longer pays; then note the placement."""
        prices = Prices(self.price * (1.0 + self.per_gib * self.run.problem.cost), self.run.free)
        for _ in range(MOST_PASSES):
            gained = sum(self.improve(hosts, prices) for hosts in self.blocks())
            if gained < self.price / 2.0 or self.run.late():
                break
        self.note()

    def improve(self, hosts: Ints, prices: Prices) -> float:
        gained = 0.0
        for _ in range(4):
            step = improve_block(self.placement, hosts, prices)
            gained += step
            if step < self.price / 2.0:
                break
        return gained

    def blocks(self) -> list[Ints]:
        """Deal the hosts in service into blocks that each hold heavy and light ones, differently every time."""
        hosts = np.flatnonzero(~self.run.problem.drained)
        count = max(1, round(len(self.run.problem.vm_names) / BLOCK_VMS))
        if count == 1 or len(hosts) < 2 * count:
            return [hosts]
        away, weight = self.placement.slope()
        ranked = hosts[np.argsort((away[hosts] * np.sqrt(weight)).sum(axis=1), kind="stable")]
        dealt: list[list[int]] = [[] for _ in range(count)]
        for first in range(0, len(ranked), count):
            for place, host in zip(self.rng.permutation(count), ranked[first : first + count], strict=False):
                dealt[place].append(host)
        return [np.sort(np.array(block, dtype=np.intp)) for block in dealt]

    def excess(self) -> tuple[float, float, float]:
        """Answer by what share moves, GiB and J exceed their limits (negative: what is left)."""
        moves, gib = self.placement.bill()
        limits = self.limits
        return (
            -1.0 if limits.max_moves is None else (moves - limits.max_moves) / max(1, limits.max_moves),
            -1.0 if limits.max_gib is None else gib / max(limits.max_gib, 1e-9) - 1.0,
            -1.0 if limits.goal is None else self.placement.imbalance() / max(limits.goal, 1e-9) - 1.0,
        )

    def passed_limit(self) -> bool:
        moves, gib, goal = self.excess()
        return moves > 0 or gib > 0 or (self.limits.goal is not None and goal <= 0)

    def note(self) -> None:
        """Keep the placement if it is the best so far: within the limits first, then the better."""
        moves, gib, goal = self.excess()
        count, transferred = self.placement.bill()
        value = self.placement.imbalance()
        if self.limits.goal is not None and goal <= 0:
            value = -1.0 + 1e-6 * (count + self.limits.per_gib * transferred)
        rank = (max(0.0, moves, gib), value)
        if rank < self.best_rank:
            self.best, self.best_rank = self.placement.copy(), rank

    def swing(self) -> None:
        """Raise prices while a limit is passed and lower them while something is left."""
        for _ in range(self.limits.rounds):
            if self.run.late():
                return
            self.reprice()
            self.settle()

    def reprice(self) -> None:
        moves, gib, goal = self.excess()
        too_many = moves > 0 or (self.limits.goal is not None and goal <= 0)
        self.price *= 1.3 if too_many else 0.8
        self.price = max(self.price, self.run.least_price)
        if self.limits.max_gib is not None:
            self.per_gib = min(max(self.per_gib * (1.4 if gib > 0 else 0.9), 0.002), 0.5)
