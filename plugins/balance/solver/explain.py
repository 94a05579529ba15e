"""Why a VM is not moved: one answer for each host."""

import numpy as np

from plugins.balance.solver.model import NO_GROUP, Bools, Floats, Problem, SearchLimits, WhyNot
from plugins.balance.solver.n_plus_one import SpareCapacity
from plugins.balance.solver.placement import Placement
from plugins.balance.solver.sequencing import removes_fault


def explain(problem: Problem, vm: int, limits: SearchLimits | None = None) -> tuple[WhyNot, ...]:
    """Return for each host (length H) the first reason against moving this VM there now.

    Hard reasons come before soft ones. WORTHWHILE means that the move alone is legal and gains more
    than its price.
    """
    limits = limits or SearchLimits()
    placement = Placement(problem)
    forced = bool(problem.drained[problem.host[vm]])
    answers = np.full(len(problem.host_names), WhyNot.WORTHWHILE, dtype=object)
    soft = _too_little(placement, vm, limits) & (not forced)
    spent = (
        _spends_spare(placement, vm)
        if problem.n_plus_one
        else np.zeros(len(answers), dtype=np.bool_)
    )
    calm = np.full(len(answers), placement.imbalance() <= limits.band and not forced)
    # The last one written is the one that stands, so the strongest objection comes last.
    for reason, applies in (
        (WhyNot.TOO_LITTLE_GAIN, soft),
        (WhyNot.CALM, calm),
        (WhyNot.SPARE, spent),
        *_hard(placement, vm),
    ):
        answers[applies] = reason
    return tuple(WhyNot(answer) for answer in answers)


def hard_reasons(placement: Placement, vm: int) -> tuple[WhyNot | None, ...]:
    """Return for each host (length H) what forbids moving this VM there now; None: nothing does."""
    answers = np.full(len(placement.problem.host_names), None, dtype=object)
    for reason, applies in _hard(placement, vm):
        answers[applies] = reason
    return tuple(answers.tolist())


def _hard(placement: Placement, vm: int) -> tuple[tuple[WhyNot, Bools], ...]:
    problem = placement.problem
    everywhere = np.ones(len(problem.host_names), dtype=np.bool_)
    mates = problem.affinity == problem.affinity[vm]
    held = bool(
        problem.affinity[vm] != NO_GROUP
        and not problem.drained[placement.host[vm]]
        and mates.sum() > 1
    )
    not_allowed = ~everywhere if problem.allowed is None else ~problem.allowed[vm]
    return (
        (WhyNot.VCPUS, placement.vcpus + problem.vcpus[vm] > problem.vcpu_limit),
        (WhyNot.MEMORY, placement.load[:, 1] + problem.vm_memory[vm] > problem.usable_memory),
        (WhyNot.ANTI_AFFINITY, placement.members[:, problem.anti_affinity[vm]] > 0),
        (
            WhyNot.DOMAIN,
            ~placement.keeps_spread(np.full(len(everywhere), vm), np.arange(len(everywhere))),
        ),
        (WhyNot.NOT_ALLOWED, not_allowed),
        (WhyNot.DRAINED, problem.drained),
        (WhyNot.HELD_TOGETHER, everywhere & held),
        (WhyNot.FIXED, everywhere & bool(problem.fixed[vm])),
        (WhyNot.HERE, np.arange(len(everywhere)) == placement.host[vm]),
    )


def _spends_spare(placement: Placement, vm: int) -> Bools:
    """Return where (length H) the VM would take what the loss of a host needs."""
    legal, spent = placement.legal_targets(vm), np.zeros(len(placement.load), dtype=np.bool_)
    spare = SpareCapacity(placement)
    for target in np.flatnonzero(legal).tolist():
        spent[target] = not spare.allows(
            vm, target, needed=removes_fault(placement, vm, target), make=False
        )
    return spent


def _too_little(placement: Placement, vm: int, limits: SearchLimits) -> Bools:
    """Return where (length H) moving the VM alone lowers J by less than its price."""
    problem = placement.problem
    in_service = ~problem.drained
    price = (
        limits.per_move
        / max(1, int(in_service.sum()))
        * (1.0 + limits.per_gib * problem.transfer[vm])
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
