"""Whether planned moves are still possible, each in its turn, on a fresh snapshot; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bot.domain.cluster import Vm, VmState
from bot.domain.message import Message, words
from bot.domain.placement import PIN
from bot.domain.plan import Objection
from bot.domain.steps import Carried, MigrateVm
from plugins.balance import cards
from plugins.balance.from_snapshot import BalanceCase
from plugins.balance.solver.explain import hard_reasons
from plugins.balance.solver.model import Ints, WhyNot
from plugins.balance.solver.n_plus_one import SpareCapacity
from plugins.balance.solver.placement import Placement
from plugins.balance.solver.sequencing import removes_fault


def state_to_carry(vm: Vm) -> Carried:
    """What must be the same after a move."""
    return Carried(vm.autostart, vm.state is VmState.PAUSED, vm.persistent, vm.scheduler)


def replay(case: BalanceCase, steps: Iterable[MigrateVm]) -> tuple[tuple[Objection, ...], Ints]:
    """Objections to the moves in this order, and where every VM (by index) is after the others."""
    against, host = objections_in_turn(case, steps)
    return tuple(dict.fromkeys(objection for found in against for objection in found)), host


def objections_in_turn(
    case: BalanceCase, steps: Iterable[MigrateVm]
) -> tuple[tuple[tuple[Objection, ...], ...], Ints]:
    """Objections to each move in its turn, and where every VM is after the moves without any."""
    where = Placement(case.problem)
    spare = SpareCapacity(where) if case.problem.n_plus_one else None
    against: list[tuple[Objection, ...]] = []
    for step in steps:
        found = tuple(_against(case, where, step))
        vm, target = case.index(step.uuid), case.host_index(step.target)
        if not found and vm is not None and target is not None:
            if spare is None or spare.allows(vm, target, needed=removes_fault(where, vm, target)):
                where.move(vm, target)
            else:
                found = (cards.forbidden(case.vms[vm], case.hosts[target], WhyNot.SPARE, ""),)
        against.append(found)
    return tuple(against), where.host


def _against(case: BalanceCase, where: Placement, step: MigrateVm) -> Iterator[Objection]:
    vm, target = case.index(step.uuid), case.host_index(step.target)
    if vm is None:
        yield Objection(
            "gone",
            words("{vm} does not run any more, or its host does not answer.", vm=step.name),
        )
    elif target is None:
        yield Objection(
            "host-unreachable",
            words("{host}, the target of {vm}, does not answer.", host=step.target, vm=step.name),
        )
    elif (now := case.hosts[where.host[vm]].name) != step.source:
        yield Objection(
            "moved",
            words(
                "{vm} is on {host} now, not on {source}.",
                vm=step.name,
                host=now,
                source=step.source,
            ),
        )
    else:
        yield from _changes(step, case.vms[vm])
        if found := obstacle(case, where, vm, target):
            yield found


def _changes(step: MigrateVm, vm: Vm) -> Iterator[Objection]:
    """What is not as it was approved."""
    if vm.name != step.name or vm.memory != step.memory or state_to_carry(vm) != step.carried:
        yield Objection(
            "changed",
            words("{vm} has been renamed, resized or set up differently since.", vm=step.name),
        )


def obstacle(case: BalanceCase, where: Placement, vm: int, target: int) -> Objection | None:
    """Return what forbids this one move from here; None when it is possible, worthwhile or not."""
    return next(obstacles(case, where, vm, (target,)))


def obstacles(
    case: BalanceCase, where: Placement, vm: int, targets: Iterable[int]
) -> Iterator[Objection | None]:
    """Return what forbids a VM each of these targets, in their order; the solver is asked once."""
    possible = where.legal_targets(vm) & (not case.problem.fixed[vm])
    reasons = hard_reasons(where, vm)
    for target in targets:
        reason = reasons[target]
        # What only a soft rule is against, such as the spread over domains, is possible
        if possible[target] or reason is None:
            yield case.objection(vm, target)
        else:
            yield _forbidden(case, vm, target, reason)


def _forbidden(case: BalanceCase, vm: int, target: int, reason: WhyNot) -> Objection:
    guest, host = case.vms[vm], case.hosts[target]
    remedy: Message = ""
    if reason is WhyNot.FIXED:
        remedy = cards.remedy_for(guest, case.problem.fixed[vm])
    elif reason is WhyNot.NOT_ALLOWED and (found := case.objection(vm, target)):
        remedy = found.remedy
    return cards.forbidden(guest, host, reason, detail_of(case, vm, target, reason), remedy)


def detail_of(case: BalanceCase, vm: int, target: int, reason: WhyNot) -> Message:
    """What the solver cannot say of an answer: why a VM is fixed, its pin, a rule's own text."""
    if reason is WhyNot.FIXED and (problem := case.vms[vm].problem):
        return words("its definition could not be read completely ({problem}).", problem=problem)
    if reason is WhyNot.FIXED:
        return cards.FIXED_TEXT[case.problem.fixed[vm]]
    if reason is not WhyNot.NOT_ALLOWED:
        return ""
    objection = case.objection(vm, target)
    if objection:
        return objection.text
    return words("its tag pin={hosts} names other hosts.", hosts=case.vms[vm].tags.get(PIN, ""))
