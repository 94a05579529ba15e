"""From a wish to an operation laid before the approvers."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

from bot.catalog import CORE_STEPS
from bot.domain import aftermath, codec, whole
from bot.domain import policy as policies
from bot.domain.card import Card
from bot.domain.cluster import Snapshot
from bot.domain.message import words
from bot.domain.operation import (
    BOT,
    MOST_OPEN,
    Approved,
    Expired,
    Operation,
    Origin,
    Proposed,
    RulingChanged,
    State,
    near,
)
from bot.domain.plan import Objection, Plan, Refused
from bot.domain.state_names import OPERATION_STATES
from bot.domain.steps import HoldHost
from bot.domain.timing import Slot
from bot.flow.context import BUSY, Services, active_operations, commit, notify_plugins, snapshot
from bot.flow.operations import current_rules, operation_cards, scheduled
from bot.plugin_api import Action
from bot.ports import Hypervisor

LATE = timedelta(minutes=10)  # so long ago it was asked for, and nobody expects it any more


@dataclass(frozen=True, slots=True)
class Twin:
    """That an open proposal asks for the same already."""

    operation: Operation


Tried = Operation | Refused | policies.MayNot | Twin
"""What becomes of a request."""


def propose(
    services: Services,
    action: Action,
    intent: object,
    origin: Origin,
    *,
    replaces: str = "",
    plan: Plan | None = None,
    slot: Slot | None = None,
) -> Card | None:
    """Plan, ask the policy, store and show. The card is for the requester.

    None when nothing is left to say.

    ``plan``: made already, by a watch; it is still asked about at the last moment, as any other.
    ``slot``: when it may begin; None: as soon as it is approved.
    """
    found = try_plan(services, action, intent, origin, replaces=replaces, plan=plan, slot=slot)
    return lay_out_or_answer(services, found, origin.by)


def lay_out_or_answer(services: Services, found: Tried, by: str) -> Card:
    """Show a proposal to all, and tell who asked what became of it."""
    if not isinstance(found, Operation):
        return _answer(found, by)
    lay_out(services, found)
    return operation_cards.proposed_note(found, services.slash)


def draft(
    services: Services,
    action: Action,
    intent: object,
    origin: Origin,
    *,
    replaces: str = "",
    plan: Plan | None = None,
    slot: Slot | None = None,
) -> Operation | Card:
    """Plan, ask the policy and store; what stands against it as a card.

    Nobody is shown anything yet.
    """
    found = try_plan(services, action, intent, origin, replaces=replaces, plan=plan, slot=slot)
    if isinstance(found, Operation):
        return found
    return _answer(found, origin.by)


def _answer(found: Refused | policies.MayNot | Twin, by: str) -> Card:
    if isinstance(found, Refused):
        return operation_cards.refused_card(found)
    if isinstance(found, policies.MayNot):
        return operation_cards.may_not_card(found)
    return operation_cards.twin_card(found.operation, mine=found.operation.origin.by == by)


def try_plan(
    services: Services,
    action: Action,
    intent: object,
    origin: Origin,
    *,
    replaces: str = "",
    plan: Plan | None = None,
    slot: Slot | None = None,
) -> Tried:
    """Plan, ask the policy and store, or what stands against it. Nobody is shown anything yet."""
    found = consider(services, action, intent, origin, replaces=replaces, plan=plan, slot=slot)
    if not isinstance(found, Proposed):
        return found
    twin = None if replaces else _open_twin(services, found)
    return Twin(twin) if twin is not None else _store(services, found)


def consider(
    services: Services,
    action: Action,
    intent: object,
    origin: Origin,
    *,
    replaces: str = "",
    plan: Plan | None = None,
    slot: Slot | None = None,
) -> Proposed | Refused | policies.MayNot:
    """Plan and ask the policy, or what stands against it. Nothing is stored."""
    if action.recall:
        intent = action.recall(intent, services.store)
    planned: Plan | Refused | None = plan
    if planned is None:
        seen = snapshot(services, action.focus(intent), chosen=partial(action.chosen, intent))
        intent = survey(services.hypervisor, action, intent, seen)
        planned = action.plan(intent, seen, services.catalog.rules)
        planned = _with_outlook(services, planned, seen)
    if isinstance(planned, Refused):
        return planned
    if strange := _no_handler(services, planned):
        return Refused(operation_cards.NOT_PROPOSED, (strange,), sentence=True)
    if fault := whole.too_long(planned, origin.command, str(origin.reason)):
        return Refused(operation_cards.NOT_PROPOSED, (fault,), sentence=True)
    if slot is None and (busy := busy_with(services, planned)):
        return Refused(words("Not now."), busy, sentence=True)
    ruling = current_rules.ruling_now(services, action.name, planned, origin, slot)
    if isinstance(ruling, policies.MayNot):
        return ruling
    return Proposed(
        at=services.clock.now(),
        by=origin.by,
        action=action.name,
        intent=intent,
        plan=planned,
        ruling=ruling,
        origin=origin,
        expires_at=slot.end if slot else services.clock.now() + timedelta(seconds=ruling.expires),
        replaces=replaces,
        slot=slot,
    )


def _no_handler(services: Services, plan: Plan) -> Objection | None:
    """That the plugin is not loaded that does a kind of step.

    None when all are done by somebody.
    """
    known = (*CORE_STEPS, *services.catalog.handlers)
    strange = sorted({type(step).__name__ for step in plan.steps if not isinstance(step, known)})
    if not strange:
        return None
    return Objection(
        "no-handler",
        words("No loaded plugin handles {kind}.", kind=strange[0]),
        words("Enable the plugin that does."),
    )


def _open_twin(services: Services, wanted: Proposed) -> Operation | None:
    """The open proposal that asks for the same, whoever made it; None when there is none.

    The request that made it, read a second time after a crash, is no other.
    """
    intent, steps = _without_reason(wanted.intent), codec.text(wanted.plan.steps)
    for other in services.store.operations(states=(State.PROPOSED,), limit=MOST_OPEN):
        again = other.origin.key == wanted.origin.key or other.unreadable
        if other.action == wanted.action and not again:
            if not _same_time(other.slot, wanted.slot):
                continue
            same = _without_reason(other.intent) == intent
            same = same or other.origin.command == wanted.origin.command
            if same or codec.text(other.plan.steps) == steps:
                return other
    return None


def _same_time(one: Slot | None, other: Slot | None) -> bool:
    """Whether both are to run at once, in the same window, or at the same moment."""
    if one is None or other is None:
        return one is other
    return (one.start, one.window) == (other.start, other.window) or (
        one.window == other.window != "" and one.end == other.end
    )


def _without_reason(intent: Any) -> str:
    if isinstance(getattr(intent, "reason", None), str):
        intent = replace(intent, reason="")
    return codec.text(intent)


def _with_outlook(services: Services, plan: Plan | Refused, seen: Snapshot) -> Plan | Refused:
    """The plan with what it would make true of the cluster, as plugins see it."""
    if isinstance(plan, Refused) or not services.catalog.outlooks:
        return plan
    stages = aftermath.stages(plan, seen)
    if not stages:
        return plan
    found = (each(plan, seen, stages) for each in services.catalog.outlooks)
    return replace(plan, outlook=tuple(each for each in found if each is not None))


def survey(hypervisor: Hypervisor, action: Action, intent: object, seen: Snapshot) -> Any:
    """The intent with what the action looks for on the hosts themselves."""
    return intent if action.survey is None else action.survey(intent, seen, hypervisor)


def _store(services: Services, event: Proposed) -> Operation:
    operation = services.store.propose(event)
    notify_plugins(services, operation, event)
    return operation


def lay_out(services: Services, operation: Operation) -> Operation:
    """Show a proposed operation where approvers look, and approve at once what needs no vote.

    Safe to repeat.
    """
    if operation.unreadable:
        return operation
    services.messages.post(operation.id, services.places.approvals)
    attach(services, operation)
    if operation.replaces:
        _tell_successor(services, operation)
    if operation.ruling.automatic and services.places.ops:
        services.messages.post(
            operation.id, services.places.ops
        )  # nobody was asked, so everybody is told
    if operation.state is State.PROPOSED and not operation.ruling.votes:
        operation = _approve_by_rule(services, operation)
    if operation.state in BUSY and not services.catalog.unable(operation):
        scheduled.hand_over(services, operation)
    return operation


def _tell_successor(services: Services, operation: Operation) -> None:
    """Lead from the message of what it follows to its own; one that was replaced says so itself."""
    before = services.store.operation(operation.replaces)
    if before.instead != operation.id:
        card = operation_cards.successor_note(operation)
        services.messages.note(before, card, f"followed-{operation.id}")


def attach(services: Services, operation: Operation) -> None:
    """Put the whole plan beneath its message, once for each plan.

    When the message does not show all of it.
    """
    texts = operation_cards.attachments(operation)
    for number, text in enumerate(texts, 1):
        card = operation_cards.whole_card(operation, number, len(texts), text)
        services.messages.note(operation, card, f"whole-{operation.plan.digest}-{number}")


def _approve_by_rule(services: Services, operation: Operation) -> Operation:
    """Approve what needs no vote, by the rule of this moment.

    A crash may have come between the two.

    What was proposed too long ago is nobody's wish any more and expires.
    """
    now = services.clock.now()
    if now - operation.proposed_at > LATE or now >= operation.expires_at:
        return commit(services, operation, Expired(now, BOT))
    today = current_rules.ruling_now(
        services, operation.action, operation.plan, operation.origin, operation.slot
    )
    if isinstance(today, policies.MayNot):
        return operation
    if today.votes:
        return commit(services, operation, RulingChanged(now, BOT, today))
    return commit(services, operation, Approved(now, BOT))


def busy_with(services: Services, plan: Plan, *, but: str = "") -> tuple[Objection, ...]:
    """Objections for guests that another operation works on.

    An approved or running one; asked before it waits for people.
    """
    mine = _vms_of(plan, near(plan.steps, range(len(plan.steps))))
    lost = {step.host for step in plan.steps if isinstance(step, HoldHost) and step.on}
    return tuple(
        Objection(
            "busy",
            words(
                "{id} ({title}) is {state} and touches the same VM.",
                id=other.id,
                title=other.plan.title,
                state=OPERATION_STATES[other.state],
            ),
            words("Wait until it ends, or cancel it."),
        )
        for other in active_operations(services)
        if other.id != but and mine & _vms_of(other.plan, (*other.under_way, *other.near), lost)
    )


def _vms_of(plan: Plan, indexes: Iterable[int], lost: Collection[str] = ()) -> set[str]:
    """The VMs that steps touch.

    Those on a host that is about to be proven off will end by themselves.
    """
    steps = (plan.steps[index] for index in indexes)
    return {uuid for step in steps if not set(step.hosts) & set(lost) for uuid in step.vms}


def again(services: Services, operation: Operation, by: str, key: str) -> Card | None:
    """Propose the same intent anew, on the cluster as it is now."""
    origin = replace(operation.origin, by=by, key=key, automatic=False, via="", agent="")
    return propose(
        services,
        services.catalog.action(operation.action),
        operation.intent,
        origin,
        replaces=operation.id,
        slot=scheduled.slot_again(services, operation),
    )


def again_unless_same_refusal(services: Services, operation: Operation) -> Card | None:
    """The same for who asked, after the plan was found stale.

    None when the very same stands against it still.
    """
    action, origin = (
        services.catalog.action(operation.action),
        replace(operation.origin, key=f"{operation.id}/again", automatic=False),
    )
    slot = scheduled.slot_again(services, operation)
    found = try_plan(services, action, operation.intent, origin, replaces=operation.id, slot=slot)
    if isinstance(found, Operation):
        lay_out(services, found)
        return operation_cards.proposed_note(found, services.slash)
    if isinstance(found, Refused) and set(operation.objections) <= set(found.objections):
        return None
    return _answer(found, origin.by)
