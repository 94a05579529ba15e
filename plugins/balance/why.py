"""Why a VM is not moved: one answer for each host."""

import numpy as np

from plugins.balance.solver.model import NO_GROUP, Bools, Floats, Limits, Problem, Why
from plugins.balance.solver.n_plus_one import Spare
from plugins.balance.solver.placement import Placement
from plugins.balance.solver.sequencing import mends


def why_not(problem: Problem, vm: int, limits: Limits | None = None) -> tuple[Why, ...]:
    """Answer for each host (length H, in the problem's order) what speaks first against moving this VM there now.

    Hard reasons come before soft ones. WORTHWHILE means that the move alone is legal and gains more
    than its price.
    """
    limits = limits or Limits()
    placement = Placement(problem)
    forced = bool(problem.drained[problem.host[vm]])
    answers = np.full(len(problem.host_names), Why.WORTHWHILE, dtype=object)
    soft = _too_little(placement, vm, limits) & (not forced)
    spent = (
        _spends_spare(placement, vm) if problem.spare else np.zeros(len(answers), dtype=np.bool_)
    )
    calm = np.full(len(answers), placement.imbalance() <= limits.band and not forced)
    # The last one written is the one that stands, so the strongest objection comes last.
    for reason, applies in (
        (Why.TOO_LITTLE_GAIN, soft),
        (Why.CALM, calm),
        (Why.SPARE, spent),
        *_hard(placement, vm),
    ):
        answers[applies] = reason
    return tuple(Why(answer) for answer in answers)


def _hard(placement: Placement, vm: int) -> tuple[tuple[Why, Bools], ...]:
    problem = placement.problem
    everywhere = np.ones(len(problem.host_names), dtype=np.bool_)
    mates = problem.together == problem.together[vm]
    held = bool(
        problem.together[vm] != NO_GROUP
        and not problem.drained[problem.host[vm]]
        and mates.sum() > 1
    )
    not_allowed = ~everywhere if problem.allowed is None else ~problem.allowed[vm]
    return (
        (Why.VCPUS, placement.vcpus + problem.vcpus[vm] > problem.vcpu_room),
        (Why.MEMORY, placement.load[:, 1] + problem.mem[vm] > problem.room),
        (Why.ANTI_AFFINITY, placement.members[:, problem.apart[vm]] > 0),
        (
            Why.DOMAIN,
            ~placement.spread_over(np.full(len(everywhere), vm), np.arange(len(everywhere))),
        ),
        (Why.NOT_ALLOWED, not_allowed),
        (Why.DRAINED, problem.drained),
        (Why.HELD_TOGETHER, everywhere & held),
        (Why.FIXED, everywhere & bool(problem.fixed[vm])),
        (Why.HERE, np.arange(len(everywhere)) == problem.host[vm]),
    )


def _spends_spare(placement: Placement, vm: int) -> Bools:
    """Answer where (length H) the VM would take what the loss of a host needs."""
    legal, spent = placement.legal_targets(vm), np.zeros(len(placement.load), dtype=np.bool_)
    spare = Spare(placement)
    for target in np.flatnonzero(legal).tolist():
        spent[target] = not spare.allows(
            vm, target, needed=mends(placement, vm, target), make=False
        )
    return spent


def _too_little(placement: Placement, vm: int, limits: Limits) -> Bools:
    """Answer where (length H) moving the VM alone lowers J by less than its price."""
    problem = placement.problem
    in_service = ~problem.drained
    price = (
        limits.per_move / max(1, int(in_service.sum())) * (1.0 + limits.per_gib * problem.cost[vm])
    )
    gain: Floats = np.zeros(len(problem.host_names))
    now = placement.imbalance()
    source = int(problem.host[vm])
    for target in np.flatnonzero(in_service).tolist():
        placement.move(vm, target)
        gain[target] = now - placement.imbalance()
        placement.move(vm, source)
    little: Bools = gain < price
    return little
