"""From a wished placement to single moves, each legal in its turn, the most useful first."""

import numpy as np

from plugins.balance.model import NO_GROUP, Bools, Floats, Ints, Move, Problem, Reason, Score
from plugins.balance.placement import Placement
from plugins.balance.score import score_of


def ordered(problem: Problem, wished: Ints) -> tuple[Move, ...]:
    """Answer the moves from `problem.host` to `wished`, as far as they can be made one at a time.

    A move whose target is full waits for those that make room; if all wait, one of them goes by way of a third host; if
    that frees nothing either, the waiting ones are left out.
    """
    return tuple(_with_gains(problem, _route(problem, wished)))


def worthwhile(moves: tuple[Move, ...], per_move: float) -> tuple[Move, ...]:
    """Cut the moves where the score plus `per_move` (in J) for each is lowest: the rest does not pay."""
    gained = np.cumsum([0.0] + [move.gain - per_move for move in moves])
    return moves[: int(gained.argmax())]


def _route(problem: Problem, wished: Ints) -> list[tuple[int, int]]:
    placement = Placement(problem)
    pending = np.flatnonzero(wished != problem.host)
    hopped: set[int] = set()
    route: list[tuple[int, int]] = []
    while len(pending):
        legal = _legal(placement, pending, wished[pending])
        if legal.any():
            gains = np.where(legal, _gains(placement, pending, wished[pending]), -np.inf)
            step = (int(pending[gains.argmax()]), int(wished[pending[gains.argmax()]]))
        elif (hop := _hop(placement, pending, wished, hopped)) is not None:
            step = hop
            hopped.add(hop[0])
        else:
            break
        placement.move(*step)
        route.append(step)
        pending = pending[placement.host[pending] != wished[pending]]
    return _straightened(problem, route)


def _legal(placement: Placement, vms: Ints, targets: Ints) -> Bools:
    """Answer for each VM (parallel to `targets`) whether it may go there now."""
    problem = placement.problem
    legal: Bools = (
        (placement.load[targets, 1] + problem.mem[vms] <= problem.room[targets])
        & (placement.vcpus[targets] + problem.vcpus[vms] <= problem.vcpu_room[targets])
        & (placement.members[targets, problem.apart[vms]] == 0)
        & ~problem.drained[targets]
    )
    if problem.allowed is not None:
        legal &= problem.allowed[vms, targets]
    return legal


def _gains(placement: Placement, vms: Ints, targets: Ints) -> Floats:
    """Answer the fall of J for each move alone, exactly, plus what mending a fault is worth."""
    problem, sources = placement.problem, placement.host[vms]
    in_service = ~problem.drained
    hosts = in_service.sum()
    share = placement.load / placement.units
    total, squares = share[in_service].sum(axis=0), (share[in_service] ** 2).sum(axis=0)
    size = placement.size[vms]
    gone = np.where(in_service[sources, None], size / placement.units[sources], 0.0)
    come = size / placement.units[targets]
    change = (share[targets] + come) ** 2 - share[targets] ** 2 + (share[sources] - gone) ** 2 - share[sources] ** 2
    mean = (total + come - gone) / hosts
    after = np.sqrt(np.maximum((squares + change) / hosts - mean**2, 0.0)).sum(axis=1)
    return placement.imbalance() - after + _mended(placement, vms)


def _mended(placement: Placement, vms: Ints) -> Floats:
    problem, sources = placement.problem, placement.host[vms]
    collides = (problem.apart[vms] != NO_GROUP) & (placement.members[sources, problem.apart[vms]] > 1)
    faults: Floats = 20.0 * problem.drained[sources] + 2.0 * (collides & ~problem.drained[sources])
    return faults


def _hop(placement: Placement, pending: Ints, wished: Ints, hopped: set[int]) -> tuple[int, int] | None:
    """Find a waiting VM whose stay on a third host lets another waiting one go; smallest transfer first."""
    cost = placement.problem.cost[pending]
    for vm in pending[np.lexsort((pending, cost))].tolist():
        others = pending[(pending != vm) & (wished[pending] == placement.host[vm])]
        targets = np.flatnonzero(placement.legal_targets(vm))
        if vm in hopped or not len(others) or not len(targets):
            continue
        room = (placement.problem.room - placement.load[:, 1])[targets]
        trial = placement.copy()
        trial.move(vm, int(targets[room.argmax()]))
        if _legal(trial, others, wished[others]).any():
            return vm, int(targets[room.argmax()])
    return None


def _straightened(problem: Problem, route: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Leave out a stop at a third host whose VM never got further: it helped nobody in the end, or it would be home."""
    placement = Placement(problem)
    kept = []
    for vm, target in route:
        if placement.host[vm] != target and _legal(placement, np.array([vm]), np.array([target]))[0]:
            placement.move(vm, target)
            kept.append((vm, target))
    return kept


def _with_gains(problem: Problem, route: list[tuple[int, int]]) -> list[Move]:
    placement, moves = Placement(problem), []
    for vm, target in route:
        vms, targets = np.array([vm]), np.array([target])
        gain = float(_gains(placement, vms, targets)[0])
        source = int(placement.host[vm])
        moves.append(Move(vm, source, target, _reason(placement, vm, target), gain))
        placement.move(vm, target)
    return moves


def _reason(placement: Placement, vm: int, target: int) -> Reason:
    problem, source = placement.problem, placement.host[vm]
    if problem.drained[source]:
        return Reason.MAINTENANCE
    if _breaks_affinity(placement, vm):
        return Reason.AFFINITY
    if placement.load[source, 1] > problem.room[source] or placement.load[source, 0] > problem.cores[source]:
        return Reason.HOST_AT_RISK
    away, weight = placement.slope()
    pull = placement.size[vm] * (away[source] / placement.units[source] - away[target] / placement.units[target])
    cpu, memory = (pull * weight).tolist()
    return Reason.CPU if cpu > memory else Reason.MEMORY


def _breaks_affinity(placement: Placement, vm: int) -> bool:
    problem, host = placement.problem, placement.host
    if problem.apart[vm] != NO_GROUP and placement.members[host[vm], problem.apart[vm]] > 1:
        return True
    mates = problem.together == problem.together[vm]
    return bool(problem.together[vm] != NO_GROUP and (host[mates] != host[vm]).any())


def host_after(problem: Problem, moves: tuple[Move, ...]) -> Ints:
    """Answer where every VM is (length V) once the moves are made."""
    host = problem.host.copy()
    for move in moves:
        host[move.vm] = move.target
    return host


def lowers(problem: Problem, moves: tuple[Move, ...]) -> tuple[Score, Score, bool]:
    """Answer the scores before and after the moves, and whether the score falls."""
    before, after = score_of(problem, problem.host), score_of(problem, host_after(problem, moves))
    return before, after, after.total < before.total
