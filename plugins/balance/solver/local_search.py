"""Iterated local search: take moves back, exchange at disturbed prices, keep what is better."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from plugins.balance.solver.greedy import budget_left
from plugins.balance.solver.model import ROUNDING, Bools, Floats, Ints, SearchLimits
from plugins.balance.solver.neighbourhood import Block, Budget, Scratch
from plugins.balance.solver.placement import Placement

REVERTED = 3
"""How many moves an attempt takes back."""
AGAIN = 5.0
"""By what factor it is dearer, in that attempt, to move these once more."""
NOISE = 0.6
"""Deviation of the logarithm of the factor that disturbs each VM's price."""
ROUNDS = 3
"""Most rounds of exchanges at the disturbed prices, and at the true ones."""
TEMPERATURE = 0.03
"""How much worse (J times hosts) an attempt may be and still be continued from; falls to 0."""
CHEAPER, DEARER = 0.9, 1.02
"""How the price of a move, or of a GiB, follows what an attempt left of its limit."""
DEAREST = 0.1
"""Highest price of a move, times hosts."""
BLOCK_HOSTS = 20
"""About how many hosts an attempt looks at."""
PER_HOST = 6
"""How many VMs at home, for each host in service, an attempt may move: the most promising."""
VMS = 300
"""In how large a cluster `SearchLimits.effort` is the number of attempts."""
PASSED, EVEN_ENOUGH = 1e3, 1e6
"""Put a placement beyond the limits behind all others, one that reaches the goal before them."""


@dataclass(slots=True)
class Prices:
    """What it costs, in J, to have a VM and a GiB away from home, between a least and a most."""

    move: float
    gib: float
    least: float
    least_gib: float
    most: float

    def follow(self, *, moves_left: bool, gib_left: bool, dearer: float = DEARER) -> None:
        """Lower the price of what an attempt did not use up, raise that of what it did."""
        move = self.move * (CHEAPER if moves_left else dearer)
        gib = self.gib * (CHEAPER if gib_left else dearer)
        self.move, self.gib = (
            min(max(move, self.least), self.most),
            min(max(gib, self.least_gib), self.most),
        )


@dataclass(slots=True)
class _State:
    """A placement with its bill and its value: lower is better."""

    placement: Placement
    moves: int
    gib: float
    value: float


class LocalSearch:
    """Attempts to better a placement within the limits: the best one, and the current one."""

    def __init__(
        self, start: Placement, touchable: Bools, limits: SearchLimits, price: float, seed: int
    ) -> None:
        self.problem, self.limits = start.problem, limits
        self.hosts = np.flatnonzero(~self.problem.drained)
        self.least = limits.least_gain(self.problem)
        most = max(DEAREST / len(self.hosts), self.least)
        self.first = first = min(price, most)
        self.prices = Prices(
            first, first * limits.per_gib, self.least, self.least * limits.per_gib, most
        )
        self.candidates = _candidates(start, touchable, limits.per_gib, PER_HOST * len(self.hosts))
        self.rng, self.scratch = np.random.default_rng(seed), Scratch()
        moves, gib = start.bill()
        self.best = self.now = _State(start, moves, gib, self.value(start.imbalance(), moves, gib))
        self.exceeded = False

    def run(self, late: Callable[[], bool]) -> Placement:
        """Return the best placement of all attempts; `SearchLimits.effort` says how many."""
        attempts = math.ceil(self.limits.effort * len(self.problem.vm_names) / VMS)
        for attempt in range(attempts):
            if late():
                break
            self.attempt(TEMPERATURE / len(self.hosts) * (1.0 - attempt / attempts))
        return self.best.placement

    def attempt(self, temperature: float) -> None:
        """Try one change of the present placement."""
        back = self.draw_moved()
        hosts = self.around(back)
        inside = np.zeros(len(self.problem.host_names), dtype=np.bool_)
        inside[hosts] = True
        vms = self.candidates[inside[self.now.placement.host[self.candidates]]]
        block, budget = (
            Block(self.now.placement, hosts, vms, self.scratch),
            budget_left(self.limits, self.now.placement),
        )
        noise = np.exp(NOISE * self.rng.standard_normal(len(vms)))
        before = _away(block)
        self.revert(block, np.flatnonzero(np.isin(vms, back)), budget, noise)
        prices = self.prices.move + self.prices.gib * block.transfer
        for each in (prices * noise, prices):
            for _ in range(ROUNDS):
                if block.improve(each, budget) < self.prices.move / 4.0:
                    break
        self.judge(block, budget, before, temperature)

    def judge(
        self, block: Block, budget: Budget, before: tuple[int, float], temperature: float
    ) -> None:
        """Keep what was found if it is better, go on from it if not much worse; adapt prices."""
        now, after, even = self.now, _away(block), block.imbalance()
        moves, gib = now.moves + after[0] - before[0], now.gib + after[1] - before[1]
        value = self.value(even, moves, gib)
        if value < now.value - temperature * math.log(1.0 - self.rng.random()):
            placement = now.placement.copy()
            block.write(placement)
            self.now = _State(placement, moves, gib, value)
            if value < self.best.value:
                self.best = self.now
        self.exceeded = self.exceeded or budget.exceeded
        if self.limits.goal is not None:
            uneven = even > self.limits.goal
            self.prices.follow(moves_left=uneven, gib_left=uneven, dearer=1.0 / CHEAPER)
        else:
            self.prices.follow(
                moves_left=budget.moves >= 1,
                gib_left=budget.gib >= now.gib / max(1, now.moves) / 2.0,
            )

    def value(self, even: float, moves: int, gib: float) -> float:
        """Return the value of a placement: within the limits, then even enough, then cheap."""
        limits, bill = self.limits, moves + self.limits.per_gib * gib
        passed = max(0.0, moves - (limits.max_moves if limits.max_moves is not None else math.inf))
        passed += max(
            0.0, gib - ROUNDING - (limits.max_gib if limits.max_gib is not None else math.inf)
        )
        if limits.goal is not None and even <= limits.goal:
            return PASSED * passed + self.first * bill - EVEN_ENOUGH
        return PASSED * passed + even + self.least * bill

    def draw_moved(self) -> Ints:
        """Draw a few of the VMs that were moved though nothing forced them to."""
        placement = self.now.placement
        free = self.candidates[placement.away_from_home()[self.candidates]]
        free = free[~self.problem.drained[placement.home[free]]]
        return self.rng.choice(free, min(REVERTED, len(free)), replace=False) if len(free) else free

    def around(self, vms: Ints) -> Ints:
        """Return BLOCK_HOSTS hosts, sorted: those of these VMs, now and at first, and others."""
        if len(self.hosts) <= BLOCK_HOSTS + REVERTED:
            return self.hosts
        placement = self.now.placement
        drawn = self.rng.permutation(self.hosts)
        wanted = np.concatenate((placement.host[vms], placement.home[vms], drawn))
        _, first = np.unique(wanted, return_index=True)
        return np.sort(wanted[np.sort(first)[:BLOCK_HOSTS]])

    def revert(self, block: Block, rows: Ints, budget: Budget, noise: Floats) -> None:
        """Move VMs of the block home where possible; `noise` makes it dear to move them again."""
        for row in rows.tolist():
            home = int(block.origin[row])
            if block.takes(row, home):
                block.move([(row, home)])
                budget.spend(-1.0, -float(block.transfer[row]))
                noise[row] *= AGAIN


def _away(block: Block) -> tuple[int, float]:
    """Return how many of the block's VMs are away from home, and their GiB."""
    away = block.at != block.origin
    return int(away.sum()), float(block.transfer[away].sum())


def _candidates(start: Placement, touchable: Bools, per_gib: float, most: int) -> Ints:
    """Return the VMs away from home and `most` others, those whose move promises most.

    What counts is the slope of J before anything moved; afterwards it is nearly level and would
    tell nothing.
    """
    problem = start.problem
    origin = Placement(problem)
    away, weight = origin.slope()
    pull = 2.0 * weight * away / origin.units
    best = (origin.size @ pull[~problem.drained].T).min(axis=1)
    gain = ((origin.size * pull[origin.home]).sum(axis=1) - best) / (
        1.0 + per_gib * problem.transfer
    )
    gain[start.away_from_home()] = np.inf
    gain[~touchable] = -np.inf
    first = np.argsort(-gain, kind="stable")[: int(start.away_from_home().sum()) + most]
    return np.sort(first[touchable[first]])
