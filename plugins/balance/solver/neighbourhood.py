"""All swaps and short chains of moves within a few hosts, priced at once by matrix products.

Neighbourhood: the cyclic-transfer exchanges of Thompson and Psaraftis (1993), searched through the
improvement graph of Ahuja, Orlin and Sharma (2000): an edge u → v prices "u takes v's place on v's
host". Because the surrogate of `Placement.slope` is a weighted sum of squares, all edges among R
VMs are one product of two thin matrices.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plugins.balance.solver.model import NO_GROUP, ROUNDING, Bools, Floats, Ints
from plugins.balance.solver.placement import LEAST_DEVIATION, Assignment, Placement

Edges = NDArray[np.float32]

FORBIDDEN = np.float32(1e3)
"""A price no gain can pay; finite, so that sums of it stay numbers in float32."""
LEAST_GAIN = 1e-5
"""Gains of J below this are rounding of float32."""
MOST_LISTED = 40
"""How many of a round's best exchanges are tried; most share a host with a better one."""


@dataclass(slots=True)
class Budget:
    """What is left of the hard limits on moves and GiB; `exceeded`: they stood in the way once.

    An exchange may always give back, even where the limits are already passed.
    """

    moves: float
    gib: float
    exceeded: bool = False

    def spend(self, moves: float, gib: float) -> bool:
        """Spend this many more moves and GiB; spend nothing and return False if it is too much."""
        if (moves > 0 and moves > self.moves) or (gib > 0 and gib > self.gib + ROUNDING):
            self.exceeded = True
            return False
        self.moves -= moves
        self.gib -= gib
        return True

    def affords(self, moves: Floats, gib: Floats) -> Bools:
        """Return which of these could be paid, each alone."""
        enough: Bools = ((moves <= 0) | (moves <= self.moves)) & (
            (gib <= 0) | (gib <= self.gib + ROUNDING)
        )
        return enough


class Scratch:
    """Memory for R × R arrays, kept between rounds: fresh pages cost more than the arithmetic."""

    __slots__ = ("_edges", "_sums")

    def __init__(self) -> None:
        self._edges = self._sums = np.empty(0, dtype=np.float32)

    def square(self, rows: int) -> tuple[Edges, Edges]:
        """Return two arrays, rows × rows each, with whatever was in them."""
        cells, shape = rows * rows, (rows, rows)
        if cells > len(self._edges):
            self._edges, self._sums = (
                np.empty(cells, dtype=np.float32),
                np.empty(cells, dtype=np.float32),
            )
        return self._edges[:cells].reshape(shape), self._sums[:cells].reshape(shape)


class Block:
    """A few hosts (n) and R of the VMs on them, with totals of its own until they are written back.

    `at` is each VM's host and `origin` its home in the block's own numbers (-1: outside); `load` is
    n × 2.
    """

    def __init__(self, placement: Placement, hosts: Ints, vms: Ints, scratch: Scratch) -> None:
        problem, local = placement.problem, np.full(len(placement.load), -1, dtype=np.intp)
        local[hosts] = np.arange(len(hosts))
        self.placement, self.hosts, self.vms = placement, hosts, vms
        self.at, self.origin = local[placement.host[vms]], local[placement.home[vms]]
        self.size, self.units = placement.size[vms], placement.units[hosts]
        self.square = self.size**2
        self.vm_memory, self.vm_vcpus, self.transfer = (
            problem.vm_memory[vms],
            problem.vcpus[vms],
            problem.transfer[vms],
        )
        self.load, self.vcpus = placement.load[hosts], placement.vcpus[hosts]
        self.usable_memory, self.vcpu_limit = (
            problem.usable_memory[hosts],
            problem.vcpu_limit[hosts],
        )
        self.group = problem.anti_affinity[vms]
        self.grouped = np.flatnonzero(self.group != NO_GROUP)
        self.members, self.domain_members = (
            placement.members[hosts],
            placement.domain_members.copy(),
        )
        self.domain = placement.domain[hosts]
        self.barred = np.zeros((len(vms), len(hosts)), dtype=np.float32)
        if problem.allowed is not None:
            self.barred[~problem.allowed[np.ix_(vms, hosts)]] = FORBIDDEN
        self._outside(placement, hosts)
        self._arrays(scratch)

    def _outside(self, placement: Placement, hosts: Ints) -> None:
        """Keep what the hosts in service that are not of the block add to the sums behind J."""
        outside = ~placement.problem.drained
        self.in_service = int(outside.sum())
        outside[hosts] = False
        share = placement.load[outside] / placement.units[outside]
        self.sum_outside, self.squares_outside = share.sum(axis=0), (share**2).sum(axis=0)

    def _arrays(self, scratch: Scratch) -> None:
        rows, hosts = len(self.vms), len(self.hosts)
        self.rows, self.one_hot = np.arange(rows), np.eye(hosts, dtype=np.float32)
        self.arriving, self.receiving = (
            np.empty((rows, 5 + hosts), dtype=np.float32) for _ in range(2)
        )
        self.arriving[:, :2], self.arriving[:, 2:4], self.receiving[:, 4] = (
            self.size,
            self.square,
            1.0,
        )
        self.alone = np.ones((hosts, 5), dtype=np.float32)
        self.edges, self.sums = scratch.square(rows)

    def slope(self) -> tuple[Floats, Floats]:
        """Return each host's distance from the mean share (n × 2), and the two deviations."""
        share = self.load / self.units
        mean = (self.sum_outside + share.sum(axis=0)) / self.in_service
        variance = (
            self.squares_outside + (share * share).sum(axis=0)
        ) / self.in_service - mean * mean
        return share - mean, np.sqrt(np.maximum(variance, 0.0))

    def imbalance(self) -> float:
        """J of the whole cluster."""
        return float(self.slope()[1].sum())

    def improve(self, prices: Floats, budget: Budget) -> float:
        """Make the best exchanges that share no host; answer by how much J plus prices fell (≥ 0).

        `toll` (length R) is what it costs, in J, to have each VM away from home.
        """
        if not len(self.vms):
            return 0.0
        at_home = self.at == self.origin
        change = self._price(prices, at_home)
        self._refuse(change)
        exchanges = _Exchanges(change, self.edges, self.sums)
        return self._make(exchanges, at_home, budget) if exchanges.gaining.any() else 0.0

    def _price(self, prices: Floats, at_home: Bools) -> Edges:
        """Fill `edges` (R × R: u takes v's place); return R × n, the price of u alone to a host.

        In `edges` v's own next place is not yet counted.

        Leaving undoes what arriving would add, but for the VM's own square, which counts once more.
        What is barred and what coming home saves are terms of each host, so they are columns of the
        same product.
        """
        away, deviation = self.slope()
        weight = 1.0 / (2.0 * self.in_service * np.maximum(deviation, LEAST_DEVIATION))
        pull, stiffness = 2.0 * weight * away / self.units, weight / self.units**2
        here, stiff = pull[self.at], stiffness[self.at]
        arriving, receiving = self.arriving, self.receiving
        arriving[:, 4] = (self.square * stiff - self.size * here).sum(axis=1) + prices * at_home
        self._bar(arriving[:, 5:])
        back = np.flatnonzero((self.origin >= 0) & ~at_home)
        arriving[back, 5 + self.origin[back]] -= prices[back].astype(np.float32)
        receiving[:, :2], receiving[:, 2:4] = here - 2.0 * stiff * self.size, stiff
        receiving[:, 5:] = self.one_hot[self.at]
        np.matmul(arriving, receiving.T, out=self.edges)
        self.alone[:, :2], self.alone[:, 2:4] = pull, stiffness
        change: Edges = arriving[:, :5] @ self.alone.T + arriving[:, 5:]
        return change

    def _bar(self, bars: Edges) -> None:
        """Fill R × n with FORBIDDEN where a VM may not go: its host, a mate's, a full domain."""
        bars[:] = self.barred
        if len(self.grouped):
            groups = self.group[self.grouped]
            bars[self.grouped] += FORBIDDEN * (self.members[:, groups] > 0).T
            if self.placement.domains:
                own = self.domain[self.at[self.grouped], None] == self.domain
                crowded = (
                    self.domain_members[self.domain][:, groups].T - own
                    >= self.placement.domain_quota[groups, None]
                )
                bars[self.grouped] += FORBIDDEN * (crowded & (self.domain != NO_GROUP))
        bars[self.rows, self.at] = FORBIDDEN

    def _refuse(self, change: Edges) -> None:
        """Forbid what is beyond memory or vCPUs.

        Only VMs too large for the tightest place need a test.
        """
        for size, left in (
            (self.vm_memory, self.usable_memory - self.load[:, 1]),
            (self.vm_vcpus, self.vcpu_limit - self.vcpus),
        ):
            change[size[:, None] > left] = FORBIDDEN
            place = left[self.at] + size
            large = np.flatnonzero(size > place.min())
            self.edges[large] = np.where(size[large, None] > place, FORBIDDEN, self.edges[large])

    def _make(self, exchanges: "_Exchanges", at_home: Bools, budget: Budget) -> float:
        """Make exchanges, the best first; of two that share a host the later one waits.

        Prices of two add up only if they share no host.
        """
        at, used, gained, made, mates = self.at.tolist(), 0, 0.0, list[Assignment](), set[int]()
        for vm, kind, value, moves, gib in exchanges.cheapest(
            self._bills(exchanges, at_home), budget
        ):
            if used >> at[vm] & 1:
                continue
            steps = exchanges.steps(vm, kind, at)
            touched = 0
            for each, target in steps:
                touched |= 1 << at[each] | 1 << target
            if touched & used or not _is_priced_exactly(steps, at, touched):
                continue
            if self.placement.domains and not self._apart(steps, mates):
                continue
            if budget.spend(moves, gib):
                used |= touched
                gained -= value
                made += steps
        self.move(made)
        return gained

    def _bills(self, exchanges: "_Exchanges", at_home: Bools) -> tuple[Floats, Floats]:
        """Return how many more moves and GiB away from home each exchange means, by its total."""
        at, origin, home, other = self.at, self.origin, at_home.astype(np.float64), exchanges.other
        alone = home - (exchanges.target == origin)
        swap = home - (at[other] == origin)
        back = home[other] - (at == origin[other])
        second = home - (at[exchanges.second] == origin)
        third = home - (at[exchanges.third] == origin)
        bills = []
        for unit in (np.ones(len(at)), self.transfer):
            first = alone * unit
            chain = second * unit + first[exchanges.second]
            bills.append(
                np.concatenate(
                    (
                        first,
                        swap * unit + back * unit[other],
                        chain,
                        third * unit + chain[exchanges.third],
                    )
                )
            )
        return bills[0], bills[1]

    def _apart(self, steps: Iterable[Assignment], mates: set[int]) -> bool:
        """Return whether no two of these VMs, nor of `mates`, are of one group.

        A domain counts its members one at a time.
        """
        groups = [group for vm, _ in steps if (group := int(self.group[vm])) != NO_GROUP]
        if len(set(groups)) < len(groups) or mates.intersection(groups):
            return False
        mates.update(groups)
        return True

    def move(self, steps: list[Assignment]) -> None:
        """Put VMs on other hosts, in the block's own numbers, legal or not; each VM once."""
        if not steps:
            return
        vms, targets = (np.array(column, dtype=np.intp) for column in zip(*steps, strict=True))
        sources, group = self.at[vms], self.group[vms]
        for total, size in ((self.load, self.size[vms]), (self.vcpus, self.vm_vcpus[vms])):
            np.subtract.at(total, sources, size)
            np.add.at(total, targets, size)
        grouped = np.flatnonzero(group != NO_GROUP)
        for count, place in ((-1, sources[grouped]), (1, targets[grouped])):
            np.add.at(self.members, (place, group[grouped]), count)
            np.add.at(self.domain_members, (self.domain[place], group[grouped]), count)
        self.at[vms] = targets

    def takes(self, vm: int, host: int) -> bool:
        """Return whether the host could take this VM now, alone (the block's own numbers)."""
        bars = np.empty_like(self.barred)
        self._bar(bars)
        fits = self.load[host, 1] + self.vm_memory[vm] <= self.usable_memory[host]
        return bool(
            fits
            and self.vcpus[host] + self.vm_vcpus[vm] <= self.vcpu_limit[host]
            and not bars[vm, host]
        )

    def write(self, placement: Placement) -> None:
        """Bring a placement, equal to the one the block was made of, to where the block stands."""
        hosts = self.hosts[self.at]
        for row in np.flatnonzero(hosts != placement.host[self.vms]).tolist():
            placement.move(int(self.vms[row]), int(hosts[row]))


class _Exchanges:
    """The best move, swap, and chain of two and three of every VM, cheapest first on request."""

    __slots__ = ("count", "gaining", "other", "second", "target", "third", "totals")

    def __init__(self, change: Edges, edges: Edges, sums: Edges) -> None:
        rows = np.arange(len(change))
        self.count, target = len(change), change.argmin(axis=1)
        alone = change[rows, target]
        other = np.add(edges, edges.T, out=sums).argmin(axis=1)
        swap = sums[rows, other]
        second = np.add(edges, alone, out=sums).argmin(axis=1)
        chain2 = sums[rows, second]
        third = np.add(edges, chain2, out=sums).argmin(axis=1)
        self.totals = np.concatenate((alone, swap, chain2, sums[rows, third]))
        self.gaining = self.totals < -LEAST_GAIN
        self.target, self.other, self.second, self.third = target, other, second, third

    def cheapest(
        self, bills: tuple[Floats, Floats], budget: Budget
    ) -> Iterable[tuple[int, int, float, float, float]]:
        """Return what gains and is affordable, best first: VM, kind, change, moves, GiB."""
        moves, gib = bills
        payable = self.gaining & budget.affords(moves, gib)
        budget.exceeded |= bool((self.gaining & ~payable).any())
        exchanges = np.flatnonzero(payable)
        exchanges = exchanges[np.argsort(self.totals[exchanges], kind="stable")[:MOST_LISTED]]
        kinds, vms = np.divmod(exchanges, self.count)
        columns = (vms, kinds, self.totals[exchanges], moves[exchanges], gib[exchanges])
        return zip(*(each.tolist() for each in columns), strict=True)

    def steps(self, vm: int, kind: int, at: list[int]) -> tuple[Assignment, ...]:
        """Return the moves of one exchange, in block numbers; kinds are numbered as in `totals`."""
        if kind == 0:
            return ((vm, int(self.target[vm])),)
        if kind == 1:
            other = int(self.other[vm])
            return (vm, at[other]), (other, at[vm])
        first = int(self.third[vm]) if kind == 3 else vm
        last = int(self.second[first])
        tail = (first, at[last]), (last, int(self.target[last]))
        return ((vm, at[first]), *tail) if kind == 3 else tail


def _is_priced_exactly(steps: tuple[Assignment, ...], at: list[int], touched: int) -> bool:
    """Return whether this is a path over distinct hosts or a plain swap: only these are exact."""
    hosts = touched.bit_count()
    swap = len(steps) == 2 and steps[1][1] == at[steps[0][0]]
    return hosts == len(steps) + 1 or (swap and hosts == len(steps))
