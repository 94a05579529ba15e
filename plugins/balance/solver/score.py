"""How even a placement is: the one score that a plan may never raise."""

import numpy as np

from plugins.balance.solver.model import NO_GROUP, Floats, Ints, Problem, Score
from plugins.balance.solver.placement import Placement


def shares(problem: Problem, host: Ints) -> Floats:
    """Return each host's CPU and memory load as a share of its own capacity, H × 2."""
    hosts = len(problem.host_names)
    cpu = np.bincount(host, problem.cpu, hosts) / problem.cores
    memory = np.bincount(host, problem.vm_memory, hosts) / problem.memory
    return np.column_stack([cpu, memory])


def score_of(problem: Problem, host: Ints) -> Score:
    """Score the placement `host` (length V); deviations are over the hosts that are not drained."""
    in_service = ~problem.drained
    spread = shares(problem, host)[in_service].std(axis=0) if in_service.any() else np.zeros(2)
    used = np.bincount(host, problem.vm_memory, len(problem.host_names))
    return Score(
        cpu=float(spread[0]),
        memory=float(spread[1]),
        stranded=int(problem.drained[host].sum()),
        collisions=_collisions(problem, host),
        separated=_separation(problem, host),
        overfull=int((used > problem.usable_memory)[in_service].sum()),
        crowded=0 if problem.domain is None else _crowding(problem, host),
    )


def _crowding(problem: Problem, host: Ints) -> int:
    """Count VMs beyond the share of their anti-affinity group that each failure domain may hold."""
    placement = Placement(problem.place(host))
    over = placement.domain_members[:-1] - placement.domain_quota
    return int(over.clip(0)[:, :-1].sum())


def _collisions(problem: Problem, host: Ints) -> int:
    """Count VMs beyond the first of each anti-affinity group on each host in service."""
    who = (problem.anti_affinity != NO_GROUP) & ~problem.drained[host]
    return int(who.sum()) - _distinct_pairs(problem.anti_affinity[who], host[who])


def _separation(problem: Problem, host: Ints) -> int:
    """Count the hosts beyond the first over which each affinity group is spread."""
    who = problem.affinity != NO_GROUP
    groups = problem.affinity[who]
    return _distinct_pairs(groups, host[who]) - len(np.unique(groups))


def _distinct_pairs(groups: Ints, host: Ints) -> int:
    return len(set(zip(groups.tolist(), host.tolist(), strict=True)))
