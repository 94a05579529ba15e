"""The planner's core: from a problem and limits to a short, legal, ordered plan that evens out the load.

Descent in the price of a move: at first only moves that gain a lot are made, then the price falls step by step, and at each
price the exchanges of `exchange.improve_block` are applied until none pays. If a limit (moves, GiB, goal) is passed, prices swing
around the limit and the best plan within it is kept. Everything is deterministic: bounded by counts, not by time.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from plugins.balance.exchange import Prices, Scratch, improve_block
from plugins.balance.model import NO_GROUP, Bools, Floats, Ints, Limits, Move, Problem, Result
from plugins.balance.order import host_after, lowers, ordered, worthwhile
from plugins.balance.placement import Placement
from plugins.balance.repair import movable, repair
from plugins.balance.score import score_of

Clock = Callable[[], float]

FIRST_PRICE = 0.8
"""Price of a move, times hosts, at which the descent begins."""
BLOCK_VMS = 300
"""About how many VMs a block holds: R × R prices should stay in the processor's cache."""
PRICE_STEPS = (1.4, 2.5, 2.0, 1.7)
"""How fast the price falls in each descent: slower is better on average, but the best of several is better still."""
SWING_HIGH, SWING_LOW, NOISE, GIB_STEP = 1.5, 0.7, 0.3, 1.25
"""How far prices swing at a limit, by what deviation each VM's price is disturbed, and how the price of a GiB follows."""
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
    problem, limits = run.problem, run.limits
    if not movable(problem).any() or problem.drained.all():
        return ()
    placement = Placement(problem)
    repair(placement)
    if placement.imbalance() > limits.band:
        placement = _Descent(run, placement).result()
        repair(placement)
    wished = ordered(problem, placement.host)
    moves = worthwhile(_affordable(problem, wished, limits), run.least_price)
    run.capped = run.capped or len(moves) < len(wished)
    return moves if lowers(problem, moves) else ()


def _affordable(problem: Problem, moves: tuple[Move, ...], limits: Limits) -> tuple[Move, ...]:
    """Cut a plan whose forced moves or detours go beyond the hard limits."""
    gib = np.cumsum([problem.cost[move.vm] for move in moves])
    most = len(moves) if limits.max_gib is None else int((gib <= limits.max_gib).sum())
    return moves[: most if limits.max_moves is None else min(most, limits.max_moves)]


class _Descent:
    """The search for one placement: falling prices, then a swing around whatever limit was passed."""

    def __init__(self, run: _Run, placement: Placement) -> None:
        self.run, self.placement = run, placement
        self.limits = run.limits
        self.scratch = Scratch()
        self.rng = np.random.default_rng(run.seed)
        self.first_price = max(FIRST_PRICE / max(1, int((~run.problem.drained).sum())), run.least_price)
        self.price, self.per_gib = self.first_price, run.limits.per_gib
        self.best: Placement | None = None
        self.best_rank = (np.inf, np.inf)

    def result(self) -> Placement:
        """Answer the best placement within the limits, from several descents if there are limits to fit."""
        start = self.placement.copy()
        for attempt in range(max(1, self.limits.starts)):
            self.placement = start.copy()
            self.price, self.per_gib = self.first_price, self.limits.per_gib
            self.descend(PRICE_STEPS[attempt % len(PRICE_STEPS)], self.disturbance(0.5 * NOISE, attempt >= len(PRICE_STEPS)))
            if not self.at_limit():
                break
            self.swing()
        self.run.capped = self.run.capped or self.might_pass()
        return self.best or self.placement

    def descend(self, step: float, noise: Floats) -> None:
        """Lower the price by `step` again and again, to the least or until a limit is met."""
        self.settle(noise)
        while self.price > self.run.least_price and not self.at_limit() and not self.run.late():
            self.price = max(self.price / step, self.run.least_price)
            self.settle(noise)

    def disturbance(self, deviation: float, wanted: bool = True) -> Floats:  # noqa: FBT001, FBT002
        """Answer a factor for each VM's price, so that a search takes another way than before (all 1 if not wanted)."""
        normal = self.rng.standard_normal(len(self.run.problem.vm_names))
        return np.exp(deviation * normal * wanted)

    def settle(self, noise: Floats | float = 1.0) -> None:
        """Exchange at the present price until a pass over all hosts no longer pays; then note the placement."""
        limits = self.limits
        prices = Prices(
            away=self.price * (1.0 + self.per_gib * self.run.problem.cost) * noise,
            movable=self.run.free,
            max_moves=np.inf if limits.max_moves is None else limits.max_moves,
            max_gib=np.inf if limits.max_gib is None else limits.max_gib,
        )
        for _ in range(MOST_PASSES):
            gained = sum(self.improve(hosts, prices) for hosts in self.blocks())
            if gained < self.price / 2.0 or self.run.late():
                break
        self.note()

    def improve(self, hosts: Ints, prices: Prices) -> float:
        gained = 0.0
        for _ in range(4):
            step = improve_block(self.placement, hosts, prices, self.scratch)
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

    def enough(self) -> bool:
        return self.limits.goal is not None and self.placement.imbalance() <= self.limits.goal

    def used(self) -> tuple[float, float]:
        """Answer what share of the moves and of the GiB is used (0 where there is no limit)."""
        moves, gib = self.placement.bill()
        limits = self.limits
        return (
            0.0 if limits.max_moves is None else moves / max(limits.max_moves, 1e-9),
            0.0 if limits.max_gib is None else gib / max(limits.max_gib, 1e-9),
        )

    def at_limit(self) -> bool:
        """Is the goal reached, or would one more move, of a mean VM among the moved, pass a limit?"""
        moves, gib = self.placement.bill()
        limits = self.limits
        full = limits.max_moves is not None and moves >= limits.max_moves
        return full or self.enough() or (limits.max_gib is not None and gib + gib / max(moves, 1) > limits.max_gib)

    def might_pass(self) -> bool:
        """Could a limit have refused a single move? Then the plan may not be the last word."""
        largest = float(self.run.problem.cost[self.run.free].max(initial=0.0))
        gib = self.placement.bill()[1]
        return self.at_limit() or (self.limits.max_gib is not None and gib + largest > self.limits.max_gib)

    def note(self) -> None:
        """Keep the placement if it is the best so far: within the limits, then even enough, then the better."""
        count, gib = self.placement.bill()
        passed = max(0.0, max(self.used()) - 1.0)
        value = self.placement.imbalance()
        if self.enough():
            value = count + self.limits.per_gib * gib - 1e6
        if (passed, value) < self.best_rank:
            self.best, self.best_rank = self.placement.copy(), (passed, value)

    def swing(self) -> None:
        """Raise and lower prices around where a limit was met, so that moves made too early are traded for better ones."""
        met = self.price
        for round_ in range(self.limits.rounds):
            if self.run.late():
                return
            if self.limits.goal is not None:
                self.price *= (1.0 + 1.0 / (2.0 + round_)) ** (1 if self.enough() else -1)
                self.settle()
            elif round_ % 2:
                met *= self.tilt()
                self.price = SWING_LOW * met
                self.settle()
            else:
                self.price = SWING_HIGH * met
                self.settle(self.disturbance(NOISE))

    def tilt(self) -> float:
        """Shift price from moves to GiB or back, to where the limit is nearer; answer by what factor moves get cheaper.

        The toll of a VM of mean size stays what it was, unless both limits leave something: then all gets cheaper.
        """
        used, gib_used = self.used()
        spare = 1.0 if self.at_limit() else 0.85
        moves, gib = self.placement.bill()
        if self.limits.max_gib is None or not moves:
            return spare
        mean, before = gib / moves, self.per_gib
        self.per_gib *= GIB_STEP if gib_used > used else 1.0 / GIB_STEP
        return spare * (1.0 + before * mean) / (1.0 + self.per_gib * mean)
