"""Moves that must be made: off drained hosts, for broken affinity rules, off overfull hosts."""

import numpy as np

from plugins.balance.solver.model import NO_GROUP, Bools, Floats, Ints, Problem
from plugins.balance.solver.placement import Placement


def movable(problem: Problem) -> Bools:
    """Return which VMs (length V) may move at all."""
    return np.array([not why for why in problem.fixed], dtype=np.bool_)


def repair(placement: Placement) -> None:
    """Repair what can be repaired, largest VMs first, each to the host that stays most even."""
    free = movable(placement.problem)
    _evacuate(placement, free)
    _gather(placement, free)
    _part(placement, free)
    _disperse(placement, free)
    _relieve(placement, free)


def _evacuate(placement: Placement, free: Bools) -> None:
    problem = placement.problem
    for vm in _largest_first(placement, np.flatnonzero(problem.drained[placement.host] & free)):
        if problem.drained[placement.host[vm]]:
            _settle(placement, _bundle(placement, vm), free)


def _gather(placement: Placement, free: Bools) -> None:
    """Gather spread affinity groups on the host that holds most of their memory."""
    problem = placement.problem
    for group in np.unique(problem.affinity[problem.affinity != NO_GROUP]).tolist():
        members = np.flatnonzero(problem.affinity == group)
        held = np.bincount(
            placement.host[members], problem.vm_memory[members] + 1e-9, len(problem.host_names)
        )
        anchor = int(np.where(problem.drained, 0.0, held).argmax())
        if not held[anchor] or problem.drained[anchor]:
            continue
        for vm in members[(placement.host[members] != anchor) & free[members]].tolist():
            if placement.legal_targets(vm)[anchor]:
                placement.move(vm, anchor)


def _part(placement: Placement, free: Bools) -> None:
    problem = placement.problem
    for vm in _largest_first(placement, np.flatnonzero((problem.anti_affinity != NO_GROUP) & free))[
        ::-1
    ]:
        host = placement.host[vm]
        if placement.members[host, problem.anti_affinity[vm]] > 1 and not problem.drained[host]:
            _settle(placement, _bundle(placement, vm), free)


def _disperse(placement: Placement, free: Bools) -> None:
    """Move VMs, smallest first, out of failure domains beyond their share of a group."""
    if not placement.domains:
        return
    problem = placement.problem
    for vm in _largest_first(placement, np.flatnonzero((problem.anti_affinity != NO_GROUP) & free))[
        ::-1
    ]:
        host = int(placement.host[vm])
        if placement.is_crowded(host, int(problem.anti_affinity[vm])):
            _settle(
                placement, _bundle(placement, vm), free, placement.domain != placement.domain[host]
            )


def _relieve(placement: Placement, free: Bools) -> None:
    """Take the smallest sufficient VM, or else the largest, from each host beyond its memory."""
    problem = placement.problem
    for host in np.flatnonzero(~problem.drained).tolist():
        on = np.flatnonzero((placement.host == host) & free & (problem.affinity == NO_GROUP))
        while len(on) and (excess := placement.load[host, 1] - problem.usable_memory[host]) > 0:
            order = np.lexsort(
                (
                    on,
                    np.where(
                        problem.vm_memory[on] >= excess,
                        problem.vm_memory[on],
                        1e9 - problem.vm_memory[on],
                    ),
                )
            )
            vm = int(on[order[0]])
            _settle(placement, [vm], free)
            on = on[on != vm]


def _largest_first(placement: Placement, vms: Ints) -> list[int]:
    size: Floats = (placement.size[vms] / placement.units.mean(axis=0)).sum(axis=1)
    return [int(vm) for vm in vms[np.lexsort((vms, -size))]]


def _bundle(placement: Placement, vm: int) -> list[int]:
    """Return the VM and those of its affinity group that share its host: they go together."""
    group = placement.problem.affinity[vm]
    if group == NO_GROUP:
        return [vm]
    mates = (placement.problem.affinity == group) & (placement.host == placement.host[vm])
    return [int(mate) for mate in np.flatnonzero(mates)]


def _settle(placement: Placement, vms: list[int], free: Bools, among: Bools | None = None) -> None:
    """Move all of `vms` to the best host (`among` some) that takes them all, if there is one.

    A host where failure domains stay spread is better than any other.
    """
    if not free[vms].all():
        return
    legal = np.logical_and.reduce([placement.legal_targets(vm) for vm in vms])
    spread = np.logical_and.reduce([placement.legal_targets(vm, strict=True) for vm in vms])
    targets = np.flatnonzero(legal if among is None else legal & among)
    strain = _strain(placement, placement.size[vms].sum(axis=0))[targets]
    for target in targets[np.lexsort((strain, ~spread[targets]))].tolist():
        if placement.try_all((vm, target) for vm in vms):
            return


def _strain(placement: Placement, size: Floats) -> Floats:
    """Return for each host (length H) by how much taking `size` (cores, GiB) raises imbalance.

    The mean is what each host will carry once every drained host is empty.
    """
    in_service = ~placement.problem.drained
    mean = placement.size.sum(axis=0) / placement.units[in_service].sum(axis=0)
    away = placement.load / placement.units - mean
    weight = 1.0 / np.maximum(away[in_service].std(axis=0), 0.02)
    added = size / placement.units
    strain: Floats = ((2.0 * away + added) * added * weight).sum(axis=1)
    return strain
