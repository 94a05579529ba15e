"""The search for one placement: falling prices, then a swing around whatever limit was met."""

from collections.abc import Callable

import numpy as np

from plugins.balance.exchange import Prices, Purse, Scratch, improve_block
from plugins.balance.model import NO_GROUP, Floats, Ints, Limits, Problem
from plugins.balance.placement import Placement
from plugins.balance.repair import movable

FIRST_PRICE = 0.8
"""Price of a move, times hosts, at which the descent begins."""
BLOCK_VMS = 300
"""About how many VMs a block holds: R × R prices should stay in the processor's cache."""
PRICE_STEPS = (1.4, 2.5, 2.0, 1.7)
"""How fast the price falls in each descent: slower is better on average, but the best of several is better still."""
SWING_HIGH, SWING_LOW, NOISE, GIB_STEP = 1.5, 0.7, 0.3, 1.25
"""How far prices swing at a limit, by what deviation each VM's price is disturbed, and how the GiB price follows."""
THINNING = 1.25
"""By what factor the price first rises when the goal is passed."""
MOST_TIMES = 4
"""How many times as many descents a cluster smaller than a block gets: they take next to no time."""
MOST_PASSES = 30
EVEN_ENOUGH = 1e6
"""Puts any placement that reaches the goal before all that do not."""


class Descent:
    """The search for one placement: falling prices, then a swing around whatever limit was passed."""

    def __init__(self, problem: Problem, limits: Limits, seed: int, late: Callable[[], bool]) -> None:
        self.problem, self.limits, self.late = problem, limits, late
        self.least_price = limits.per_move / max(1, int((~problem.drained).sum()))
        self.first_price = max(FIRST_PRICE / max(1, int((~problem.drained).sum())), self.least_price)
        self.price, self.per_gib = self.first_price, limits.per_gib
        self.movable = movable(problem) & (problem.together == NO_GROUP)
        self.purse, self.scratch = Purse(limits.max_moves, limits.max_gib), Scratch()
        self.rng = np.random.default_rng(seed)
        self.placement = Placement(problem)
        self.met_limit = False
        self.best: Placement | None = None
        self.best_rank = (np.inf, np.inf)

    def result(self, start: Placement) -> Placement:
        """Answer the best placement within the limits, from several descents if there are limits to fit."""
        small = max(1, min(MOST_TIMES, BLOCK_VMS // max(1, len(self.problem.vm_names))))
        for attempt in range(small * max(1, self.limits.starts)):
            self.placement = start.copy()
            self.price, self.per_gib = self.first_price, self.limits.per_gib
            noise = self.disturbance(NOISE if attempt >= len(PRICE_STEPS) else 0.0)
            self.descend(PRICE_STEPS[attempt % len(PRICE_STEPS)], noise)
            if self.at_limit():
                self.met_limit = True
                self.swing()
            elif small == 1 or self.late():
                break
        return self.best or self.placement

    @property
    def capped(self) -> bool:
        """Whether a limit has ever stood in the way of a gain."""
        return self.met_limit or self.purse.refused

    def descend(self, step: float, noise: Floats) -> None:
        """Lower the price by `step` again and again, to the least or until a limit is met."""
        self.settle(noise)
        while self.price > self.least_price and not self.at_limit() and not self.late():
            self.price = max(self.price / step, self.least_price)
            self.settle(noise)

    def disturbance(self, deviation: float) -> Floats:
        """Answer a factor for each VM's price (length V), so that a search takes another way than before."""
        return np.exp(deviation * self.rng.standard_normal(len(self.problem.vm_names)))

    def settle(self, noise: Floats | float = 1.0) -> None:
        """Exchange at the present price until a pass over all hosts no longer pays; then note the placement."""
        away = self.price * (1.0 + self.per_gib * self.problem.cost) * noise
        prices = Prices(away, self.movable, self.purse)
        for _ in range(MOST_PASSES):
            gained = sum(self.improve(hosts, prices) for hosts in self.blocks())
            if gained < self.price / 2.0 or self.late():
                break
        self.note()

    def improve(self, hosts: Ints, prices: Prices) -> float:
        """Exchange within these hosts while it pays, a few times at most; answer the gain."""
        gained = 0.0
        for _ in range(4):
            step = improve_block(self.placement, hosts, prices, self.scratch)
            gained += step
            if step < self.price / 2.0:
                break
        return gained

    def blocks(self) -> list[Ints]:
        """Deal the hosts in service into blocks that each hold heavy and light ones, differently every time."""
        hosts = np.flatnonzero(~self.problem.drained)
        count = max(1, round(len(self.problem.vm_names) / BLOCK_VMS))
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
        """Answer whether the placement reaches the goal."""
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

    def note(self) -> None:
        """Keep the placement if it is the best so far: within the limits, then even enough, then the better."""
        count, gib = self.placement.bill()
        passed = max(0.0, max(self.used()) - 1.0)
        bill = count + self.limits.per_gib * gib
        value = bill - EVEN_ENOUGH if self.enough() else self.placement.imbalance() + self.least_price * bill
        if (passed, value) < self.best_rank:
            self.best, self.best_rank = self.placement.copy(), (passed, value)

    def swing(self) -> None:
        """Look around where a limit was met for better plans within it."""
        if self.enough():
            self.thin_out()
            return
        met = self.price
        for round_ in range(self.limits.rounds):
            if self.late():
                return
            if round_ % 2:
                met *= self.tilt()
                self.price = SWING_LOW * met
                self.settle()
            else:
                self.price = SWING_HIGH * met
                self.settle(self.disturbance(NOISE))

    def thin_out(self) -> None:
        """Raise the price while the goal still holds, by smaller steps each time it does not, to save moves."""
        held, price, step = self.placement.copy(), self.price, THINNING
        for _ in range(self.limits.rounds):
            if self.late():
                return
            self.price = price * step
            self.settle()
            if self.enough():
                held, price = self.placement.copy(), self.price
            else:
                self.placement, step = held.copy(), step**0.5

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
