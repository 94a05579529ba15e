"""From a wished placement to single moves, each legal in its turn, the most useful first."""

import numpy as np

from plugins.balance.solver.model import NO_GROUP, Bools, Cause, Floats, Ints, Move, Problem
from plugins.balance.solver.n_plus_one import SpareCapacity
from plugins.balance.solver.placement import Placement
from plugins.balance.solver.score import score_of


def sequence(problem: Problem, wished: Ints) -> tuple[Move, ...]:
    """Return the moves from `problem.host` to `wished`, as far as they can be made one at a time.

    A move whose target is full, or that would spend what N+1 needs, waits for those that make room;
    if all wait, one of them goes by way of a third host; if that frees nothing either, the waiting
    ones are left out.
    """
    placement, moves, detoured = Placement(problem), list[Move](), set[int]()
    pending = np.flatnonzero(wished != problem.host)
    spare = SpareCapacity(placement) if problem.n_plus_one and len(pending) else None
    while len(pending):
        move = _next(placement, pending, wished, spare) or _detour(
            placement, pending, wished, detoured, spare
        )
        if move is None:
            break
        placement.move(move.vm, move.target)
        moves.append(move)
        pending = pending[placement.host[pending] != wished[pending]]
    return tuple(moves)


def worthwhile_prefix(moves: tuple[Move, ...], per_move: float) -> tuple[Move, ...]:
    """Cut the moves where the score plus `per_move` (in J) for each is lowest."""
    gained = np.cumsum([0.0] + [move.gain - per_move for move in moves])
    return moves[: int(gained.argmax())]


def _next(
    placement: Placement, pending: Ints, wished: Ints, spare: SpareCapacity | None
) -> Move | None:
    """Return the waiting move that is legal now and gains most."""
    targets = wished[pending]
    legal = _legal(placement, pending, targets)
    if not legal.any():
        return None
    falls = _falls(placement, pending, targets)
    gains = np.where(legal, falls.sum(axis=1), -np.inf)
    for best in np.argsort(-gains, kind="stable")[: int(legal.sum())].tolist():
        vm, target = int(pending[best]), int(targets[best])
        if spare is None or spare.allows(vm, target, needed=bool(falls[best, 2] > 0)):
            return _move(placement, vm, target, falls[best])
    return None


def _move(placement: Placement, vm: int, target: int, falls: Floats) -> Move:
    return Move(
        vm, int(placement.host[vm]), target, _reason(placement, vm, falls), float(falls.sum())
    )


def _legal(placement: Placement, vms: Ints, targets: Ints) -> Bools:
    """Return for each VM (parallel to `targets`) whether it may go there now."""
    problem = placement.problem
    legal: Bools = (
        (placement.load[targets, 1] + problem.vm_memory[vms] <= problem.usable_memory[targets])
        & (placement.vcpus[targets] + problem.vcpus[vms] <= problem.vcpu_limit[targets])
        & (placement.members[targets, problem.anti_affinity[vms]] == 0)
        & ~problem.drained[targets]
    )
    if problem.allowed is not None:
        legal &= problem.allowed[vms, targets]
    if problem.domain_hard:
        legal &= placement.keeps_spread(vms, targets)
    return legal


def _falls(placement: Placement, vms: Ints, targets: Ints) -> Floats:
    """Return N × 3, exact for each move alone: the fall of CPU, memory and faults in the score."""
    problem, sources = placement.problem, placement.host[vms]
    in_service = ~problem.drained
    hosts = in_service.sum()
    share = placement.load / placement.units
    # From the mean, or rounding would drown small gains
    away = share - share[in_service].mean(axis=0)
    variance = (away[in_service] ** 2).mean(axis=0)
    size = placement.size[vms]
    gone = np.where(in_service[sources, None], size / placement.units[sources], 0.0)
    come = size / placement.units[targets]
    change = come * (2.0 * away[targets] + come) + gone * (gone - 2.0 * away[sources])
    changed = variance + change / hosts - ((come - gone) / hosts) ** 2
    after = np.sqrt(np.maximum(changed, 0.0))
    return np.column_stack([np.sqrt(variance) - after, _faults_removed(placement, vms, targets)])


def _faults_removed(placement: Placement, vms: Ints, targets: Ints) -> Floats:
    """Return for each move by how much `Score.faults` falls."""
    problem, sources = placement.problem, placement.host[vms]
    in_service = ~problem.drained[sources]
    collides = (problem.anti_affinity[vms] != NO_GROUP) & (
        placement.members[sources, problem.anti_affinity[vms]] > 1
    )
    held, room = placement.load[sources, 1], problem.usable_memory[sources]
    relieved = (held > room) & (held - problem.vm_memory[vms] <= room)
    removed: Floats = (
        20.0 * ~in_service + 2.0 * (in_service & collides) + 2.0 * (in_service & relieved)
    )
    if placement.domains:
        removed += 2.0 * _crowding_removed(placement, vms, targets)
    for row in np.flatnonzero(problem.affinity[vms] != NO_GROUP).tolist():
        mates = np.flatnonzero(problem.affinity == problem.affinity[vms[row]])
        where = placement.host[mates[mates != vms[row]]]
        removed[row] += 2.0 * (
            int((where == targets[row]).any()) - int((where == sources[row]).any())
        )
    return removed


def removes_fault(placement: Placement, vm: int, target: int) -> bool:
    """Return whether this move takes a fault out of the score."""
    return bool(_faults_removed(placement, np.array([vm]), np.array([target]))[0] > 0)


def _crowding_removed(placement: Placement, vms: Ints, targets: Ints) -> Ints:
    """Return for each move by how many fewer VMs failure domains hold beyond their share."""
    group, old, new = (
        placement.problem.anti_affinity[vms],
        placement.domain[placement.host[vms]],
        placement.domain[targets],
    )
    moves = (group != NO_GROUP) & (old != new)
    fewer = (
        moves
        & (old != NO_GROUP)
        & (placement.domain_members[old, group] > placement.domain_quota[group])
    )
    more = (
        moves
        & (new != NO_GROUP)
        & (placement.domain_members[new, group] >= placement.domain_quota[group])
    )
    change: Ints = fewer.astype(np.intp) - more
    return change


def _detour(
    placement: Placement,
    pending: Ints,
    wished: Ints,
    detoured: set[int],
    spare: SpareCapacity | None,
) -> Move | None:
    """Find a waiting VM whose stay on a third host frees another one; smallest transfer first."""
    cost = placement.problem.transfer[pending]
    for vm in pending[np.lexsort((pending, cost))].tolist():
        others = pending[(pending != vm) & (wished[pending] == placement.host[vm])]
        targets = np.flatnonzero(placement.legal_targets(vm))
        if vm in detoured or not len(others) or not len(targets):
            continue
        room = (placement.problem.usable_memory - placement.load[:, 1])[targets]
        stop = targets[[room.argmax()]]
        trial = placement.copy()
        trial.move(vm, int(stop[0]))
        if _legal(trial, others, wished[others]).any() and (
            spare is None
            or spare.allows(vm, int(stop[0]), needed=removes_fault(placement, vm, int(stop[0])))
        ):
            detoured.add(vm)
            return _move(placement, vm, int(stop[0]), _falls(placement, np.array([vm]), stop)[0])
    return None


def _reason(placement: Placement, vm: int, falls: Floats) -> Cause:
    problem, source = placement.problem, placement.host[vm]
    if problem.drained[source]:
        return Cause.MAINTENANCE
    if _breaks_affinity(placement, vm):
        return Cause.AFFINITY
    if placement.is_crowded(int(source), int(problem.anti_affinity[vm])):
        return Cause.DOMAIN
    if (
        placement.load[source, 1] > problem.usable_memory[source]
        or placement.load[source, 0] > problem.cores[source]
    ):
        return Cause.HOST_AT_RISK
    return Cause.CPU if falls[0] > falls[1] else Cause.MEMORY


def _breaks_affinity(placement: Placement, vm: int) -> bool:
    problem, host = placement.problem, placement.host
    if (
        problem.anti_affinity[vm] != NO_GROUP
        and placement.members[host[vm], problem.anti_affinity[vm]] > 1
    ):
        return True
    mates = problem.affinity == problem.affinity[vm]
    return bool(problem.affinity[vm] != NO_GROUP and (host[mates] != host[vm]).any())


def hosts_after(problem: Problem, moves: tuple[Move, ...]) -> Ints:
    """Return where every VM is (length V) once the moves are made."""
    host = problem.host.copy()
    for move in moves:
        host[move.vm] = move.target
    return host


def lowers_score(problem: Problem, moves: tuple[Move, ...]) -> bool:
    """Return whether the score falls, reckoned afresh from both placements."""
    after = score_of(problem, hosts_after(problem, moves))
    return after.total < score_of(problem, problem.host).total
