"""The descent to one placement: exchanges at falling prices, until none pays or a limit is met."""

from collections.abc import Callable

import numpy as np

from plugins.balance.solver.model import NO_GROUP, Floats, Ints, Problem, SearchLimits
from plugins.balance.solver.neighbourhood import Block, Budget, Scratch
from plugins.balance.solver.placement import Placement
from plugins.balance.solver.repair import movable

FIRST_PRICE = 0.8
"""Price of a move, times hosts, at which the descent begins."""
PRICE_STEP = 2.0
"""How fast the price falls."""
BLOCK_VMS = 300
"""About how many VMs a block holds: R × R prices should stay in the processor's cache."""
MOST_PASSES = 30  # at one price; a pass that gains little ends it long before
MOST_ROUNDS = 4
"""How often a block is improved before the next one has its turn."""


class Descent:
    """One placement, improved at a price for each VM away from home; the price falls."""

    def __init__(
        self, problem: Problem, limits: SearchLimits, start: Placement, late: Callable[[], bool]
    ) -> None:
        self.problem, self.limits, self.late, self.placement = problem, limits, late, start
        self.least_price = limits.least_gain(problem)
        self.price = max(FIRST_PRICE / problem.serving, self.least_price)
        self.movable = movable(problem) & (problem.affinity == NO_GROUP)
        self.scratch, self.rng = Scratch(), np.random.default_rng(0)
        self.exceeded = False

    def run(self) -> Placement:
        """Lower the price step by step, to the least or until a limit is met."""
        self.settle()
        while self.price > self.least_price and not self.at_limit() and not self.late():
            self.price = max(self.price / PRICE_STEP, self.least_price)
            self.settle()
        return self.placement

    def settle(self) -> None:
        """Exchange at the present price until a pass over all hosts no longer pays."""
        prices = self.price * (1.0 + self.limits.per_gib * self.problem.transfer)
        for _ in range(MOST_PASSES):
            gained = sum(self.improve(hosts, prices) for hosts in self.blocks())
            if gained < self.price / 2.0 or self.late():
                break

    def improve(self, hosts: Ints, prices: Floats) -> float:
        """Exchange within these hosts while it pays, a few times at most; answer the gain."""
        inside = np.zeros(len(self.problem.host_names), dtype=np.bool_)
        inside[hosts] = True
        vms = np.flatnonzero(inside[self.placement.host] & self.movable)
        block, budget, gained = Block(self.placement, hosts, vms, self.scratch), self.budget(), 0.0
        for _ in range(MOST_ROUNDS):
            step = block.improve(prices[vms], budget)
            gained += step
            if step < self.price / 2.0:
                break
        block.write(self.placement)
        self.exceeded = self.exceeded or budget.exceeded
        return gained

    def budget(self) -> Budget:
        """Return what the limits leave beyond the placement."""
        return budget_left(self.limits, self.placement)

    def blocks(self) -> list[Ints]:
        """Deal the hosts in service into blocks of heavy and light ones, differently every time."""
        hosts = np.flatnonzero(~self.problem.drained)
        count = max(1, round(len(self.problem.vm_names) / BLOCK_VMS))
        if count == 1 or len(hosts) < 2 * count:
            return [hosts]
        away, weight = self.placement.slope()
        ranked = hosts[np.argsort((away[hosts] * np.sqrt(weight)).sum(axis=1), kind="stable")]
        dealt: list[list[int]] = [[] for _ in range(count)]
        for first in range(0, len(ranked), count):
            for place, host in zip(
                self.rng.permutation(count), ranked[first : first + count], strict=False
            ):
                dealt[place].append(host)
        return [np.sort(np.array(block, dtype=np.intp)) for block in dealt]

    def enough(self) -> bool:
        """Return whether the placement reaches the goal."""
        return self.limits.goal is not None and self.placement.imbalance() <= self.limits.goal

    def at_limit(self) -> bool:
        """Return whether the goal is reached, or one more move of mean size would pass a limit."""
        moves, gib = self.placement.bill()
        left = self.budget()
        return left.moves <= 0 or self.enough() or left.gib < gib / max(moves, 1)


def budget_left(limits: SearchLimits, placement: Placement) -> Budget:
    """Return what the hard limits leave beyond a placement."""
    moves, gib = placement.bill()
    return Budget(
        np.inf if limits.max_moves is None else limits.max_moves - moves,
        np.inf if limits.max_gib is None else limits.max_gib - gib,
    )
