"""All swaps and short chains of moves within a few hosts, priced at once by matrix products.

Neighbourhood: the cyclic-transfer exchanges of Thompson and Psaraftis (1993), searched through the improvement graph
of Ahuja, Orlin and Sharma (2000): an edge u → v prices "u takes v's place on v's host". Because the surrogate of
`Placement.slope` is a weighted sum of squares, all edges among R VMs are one product of two thin matrices.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plugins.balance.model import NO_GROUP, Bools, Floats, Ints
from plugins.balance.placement import Placement, Step

Edges = NDArray[np.float32]

FORBIDDEN = 1e3
"""A price no gain can pay; finite, so that sums of it stay numbers in float32."""
LEAST_GAIN = 1e-5
"""Gains of J below this are rounding of float32."""
MOST_TRIED = 24
"""How many of a round's best exchanges are tried; the rest are stale by then."""
MOST_LISTED = 120
"""How many are looked at: most of them share a host with a better one or are beyond the limits."""


@dataclass(slots=True)
class _Block:
    """A few hosts and the R movable VMs on them, sorted by host; `at` is each VM's host, `origin` its home or -1."""

    hosts: Ints
    vms: Ints
    at: Ints
    origin: Ints
    toll: Floats
    size: Floats
    pull: Floats
    stiffness: Floats
    leave: Floats
    barred: Bools


class Purse:
    """The hard limits on moves and GiB while a plan is sought; `refused` says whether they ever stood in the way.

    An exchange may always give back, even where the limits are already passed.
    """

    __slots__ = ("_gib", "_moves", "max_gib", "max_moves", "refused")

    def __init__(self, max_moves: int | None, max_gib: float | None) -> None:
        self.max_moves = np.inf if max_moves is None else max_moves
        self.max_gib = np.inf if max_gib is None else max_gib
        self.refused = False
        self._gib = self._moves = 0.0

    def open(self, placement: Placement) -> None:
        """Reckon what is left beyond this placement."""
        moves, gib = placement.bill()
        self._moves, self._gib = self.max_moves - moves, self.max_gib - gib

    def pays(self, placement: Placement, steps: list[Step]) -> bool:
        """Answer whether what is left bears these steps, from where the placement stands."""
        home, host, cost = placement.home, placement.host, placement.problem.cost
        moves, gib = 0.0, 0.0
        for vm, target in steps:
            change = int(target != home[vm]) - int(host[vm] != home[vm])
            moves += change
            gib += change * float(cost[vm])
        enough = moves <= max(self._moves, 0.0) and gib <= max(self._gib, 0.0)
        self.refused = self.refused or not enough
        return enough


@dataclass(frozen=True, slots=True)
class Prices:
    """What it costs to have each VM away from home (length V, in J), who may be touched, and the hard limits."""

    away: Floats
    movable: Bools
    purse: Purse


class Scratch:
    """Memory for R × R arrays, kept from round to round: fresh pages from the system cost more than the arithmetic."""

    __slots__ = ("_edges", "_sums")

    def __init__(self) -> None:
        self._edges = self._sums = np.empty(0, dtype=np.float32)

    def square(self, rows: int) -> tuple[Edges, Edges]:
        """Answer two arrays, rows × rows each, with whatever was in them."""
        cells, shape = rows * rows, (rows, rows)
        if cells > len(self._edges):
            self._edges, self._sums = np.empty(cells, dtype=np.float32), np.empty(cells, dtype=np.float32)
        return self._edges[:cells].reshape(shape), self._sums[:cells].reshape(shape)


def improve_block(placement: Placement, hosts: Ints, prices: Prices, scratch: Scratch) -> float:
    """Apply the best exchanges among these hosts that share no host; answer by how much J less prices fell (≥ 0)."""
    block = _block(placement, hosts, prices)
    if len(block.vms) < 1:
        return 0.0
    target, single = _best_singles(placement, block)
    edges, sums = scratch.square(len(block.vms))
    _price_edges(block, edges)
    _forbid(placement, block, edges)
    return _apply_best(placement, block, _Offers(target, single, edges, sums), prices)


def _block(placement: Placement, hosts: Ints, prices: Prices) -> _Block:
    local = np.full(len(placement.load), -1, dtype=np.intp)
    local[hosts] = np.arange(len(hosts))
    at = local[placement.host]
    vms = np.flatnonzero((at >= 0) & prices.movable)
    vms = vms[np.argsort(at[vms], kind="stable")]
    at = at[vms]
    away, weight = placement.slope()
    units = placement.units[hosts]
    size = placement.size[vms]
    pull, stiffness = 2.0 * weight * away[hosts] / units, weight / units**2
    toll = prices.away[vms]
    paid = toll * (placement.host[vms] != placement.home[vms])
    # Leaving undoes what arriving would add, but for the VM's own square, which counts once more.
    leave = (size**2 * stiffness[at]).sum(axis=1) - (size * pull[at]).sum(axis=1) + toll - paid
    return _Block(
        hosts=hosts,
        vms=vms,
        at=at,
        origin=local[placement.home[vms]],
        toll=toll,
        size=size,
        pull=pull,
        stiffness=stiffness,
        leave=leave,
        barred=_barred(placement, hosts, vms),
    )


def _barred(placement: Placement, hosts: Ints, vms: Ints) -> Bools:
    """Answer R × hosts: where a member of the VM's anti-affinity group sits, or where it may never go."""
    problem = placement.problem
    barred = (placement.members[hosts] > 0)[:, problem.apart[vms]].T
    if problem.allowed is not None:
        barred = barred | ~problem.allowed[np.ix_(vms, hosts)]
    return barred


def _best_singles(placement: Placement, block: _Block) -> tuple[Ints, Floats]:
    """Answer each VM's best other host and the change of J plus prices if it goes there alone."""
    problem, rows = placement.problem, np.arange(len(block.vms))
    change = block.size @ block.pull.T + block.size**2 @ block.stiffness.T + block.leave[:, None]
    returning = np.flatnonzero(block.origin >= 0)
    returning = returning[block.origin[returning] != block.at[returning]]
    change[returning, block.origin[returning]] -= block.toll[returning]
    room = problem.room[block.hosts] - placement.load[block.hosts, 1]
    vcpu_room = problem.vcpu_room[block.hosts] - placement.vcpus[block.hosts]
    refused = block.barred | (problem.mem[block.vms, None] > room) | (problem.vcpus[block.vms, None] > vcpu_room)
    change[refused] = FORBIDDEN
    change[rows, block.at] = FORBIDDEN
    target = change.argmin(axis=1)
    return target, change[rows, target]


def _price_edges(block: _Block, edges: Edges) -> None:
    """Fill R × R: the price of u taking v's place on v's host, where v's own next place is not yet counted."""
    at, ones = block.at, np.ones((len(block.vms), 1))
    held = block.stiffness[at]
    arriving = np.hstack([block.size, block.size**2, block.leave[:, None]])
    receiving = np.hstack([block.pull[at] - 2.0 * held * block.size, held, ones])
    np.matmul(arriving.astype(np.float32), receiving.astype(np.float32).T, out=edges)
    away = np.flatnonzero((block.origin >= 0) & (block.origin != at))
    first = np.searchsorted(at, block.origin[away], side="left").tolist()
    last = np.searchsorted(at, block.origin[away], side="right").tolist()
    for vm, start, end in zip(away.tolist(), first, last, strict=True):
        edges[vm, start:end] -= block.toll[vm]


def _forbid(placement: Placement, block: _Block, edges: Edges) -> None:
    """Price out edges within a host, onto barred hosts, and beyond memory or vCPUs."""
    problem, at = placement.problem, block.at
    group = problem.apart[block.vms]
    watched = np.flatnonzero(block.barred.any(axis=1))
    mate = (group[watched, None] == group) & (group != NO_GROUP)
    if problem.allowed is not None:
        mate &= problem.allowed[np.ix_(block.vms[watched], block.hosts)][:, at]
    edges[watched] += np.where(block.barred[watched][:, at] & ~mate, np.float32(FORBIDDEN), np.float32(0))
    mem, vcpus = problem.mem[block.vms], problem.vcpus[block.vms]
    room = (problem.room[block.hosts] - placement.load[block.hosts, 1])[at] + mem
    spare = (problem.vcpu_room[block.hosts] - placement.vcpus[block.hosts])[at] + vcpus
    # Only VMs too large for the tightest place need looking at, and those are few.
    for size, left in ((mem, room), (vcpus, spare)):
        large = np.flatnonzero(size > left.min())
        edges[large] = np.where(size[large, None] > left, np.float32(FORBIDDEN), edges[large])
    start = 0
    for end in np.cumsum(np.bincount(at, minlength=len(block.hosts))).tolist():
        edges[start:end, start:end] = FORBIDDEN
        start = end


class _Offers:
    """The best move, swap, and chain of two and three of every VM, cheapest first on request."""

    __slots__ = ("count", "edges", "onward", "onward2", "target", "totals")

    def __init__(self, target: Ints, single: Floats, edges: Edges, sums: Edges) -> None:
        self.count, self.target, self.edges = len(target), target, edges
        self.onward = np.minimum(single, FORBIDDEN).astype(np.float32)
        swap = np.add(edges, edges.T, out=sums).min(axis=1)
        chain2 = np.add(edges, self.onward, out=sums).min(axis=1)
        self.onward2 = np.minimum(chain2, np.float32(FORBIDDEN))
        chain3 = np.add(edges, self.onward2, out=sums).min(axis=1)
        self.totals = np.concatenate([self.onward, swap, chain2, chain3])

    def cheapest(self) -> list[int]:
        """Answer the numbers of the offers that gain, best first, at most MOST_LISTED."""
        size = min(MOST_LISTED, len(self.totals))
        best = np.argpartition(self.totals, size - 1)[:size]
        best = best[np.lexsort((best, self.totals[best]))]
        return [int(i) for i in best if self.totals[i] < -LEAST_GAIN]

    def steps(self, offer: int, at: list[int]) -> list[Step]:
        """Answer the moves of one offer, in the block's own numbers."""
        kind, first = divmod(offer, self.count)
        if kind == 0:
            return [(first, int(self.target[first]))]
        if kind == 1:
            other = int((self.edges[first] + self.edges[:, first]).argmin())
            return [(first, at[other]), (other, at[first])]
        if kind == 2:  # the four kinds are numbered in the order of `totals`
            return self._chain(first, at)
        second = int((self.edges[first] + self.onward2).argmin())
        return [(first, at[second]), *self._chain(second, at)]

    def _chain(self, first: int, at: list[int]) -> list[Step]:
        second = int((self.edges[first] + self.onward).argmin())
        return [(first, at[second]), (second, int(self.target[second]))]


def _apply_best(placement: Placement, block: _Block, offers: _Offers, prices: Prices) -> float:
    """Make offers from the best on; prices of two add up only if they share no host, so later ones that do are left."""
    used: set[int] = set()
    gained, tries, at, purse = 0.0, 0, block.at.tolist(), prices.purse
    purse.open(placement)
    for offer in offers.cheapest():
        if at[offer % offers.count] in used:
            continue
        steps = offers.steps(offer, at)
        touched = {at[vm] for vm, _ in steps} | {target for _, target in steps}
        if touched & used or not _priced_exactly(steps, at, len(touched)):
            continue
        real = [(int(block.vms[vm]), int(block.hosts[target])) for vm, target in steps]
        if not purse.pays(placement, real):
            continue
        tries += 1
        if placement.try_all(real):
            purse.open(placement)
            used |= touched
            gained -= float(offers.totals[offer])
        if tries == MOST_TRIED:
            break
    return gained


def _priced_exactly(steps: list[Step], at: list[int], hosts: int) -> bool:
    """Is this a path over distinct hosts or a plain swap? Only their prices count every meeting of two VMs once."""
    swap = len(steps) == 2 and steps[1][1] == at[steps[0][0]]
    return hosts == len(steps) + 1 or (swap and hosts == len(steps))
