"""What has waited too long.

Proposals expire, approvers are reminded, lost work is handed out again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

from bot.domain.card import Card
from bot.domain.message import Join, Message, Names, words
from bot.domain.operation import BOT, MOST_OPEN, Event, Expired, Noted, Operation, State
from bot.domain.steps import WaitForPerson
from bot.flow.context import BUSY, OPEN, Services
from bot.flow.operations import notify, operation_cards, scheduled
from bot.flow.operations.decision import commit_decision

NUDGE = 30.0  # seconds after which an operation that has not moved is handed to the workers again
VOTES_DUE = "votes-due-"  # how its mark begins; the time follows, for a moved one is told again
OVERDUE = 5.0  # times the predicted duration


def expire(services: Services) -> None:
    """End the proposals whose time is over. Run by the clock; safe to run anywhere, any time."""
    now = services.clock.now()
    for operation in services.store.operations(states=(State.PROPOSED,), limit=MOST_OPEN):
        if now >= operation.expires_at and not operation.unreadable:
            after = commit_decision(services, operation.id, partial(_expiry, services))
            if isinstance(after, Operation):
                notify.tell_end(services, after)


def _expiry(services: Services, operation: Operation) -> Sequence[Event] | Card:
    now = services.clock.now()
    if operation.state is not State.PROPOSED or now < operation.expires_at:
        return operation_cards.settled_card(operation)
    return (Expired(now, BOT),)


def remind(services: Services) -> None:
    """See to what has waited too long. Run by the clock; safe to run anywhere, any time.

    A proposal that its first approvers left lying is shown to the fallback approvers, once. One
    whose time is near and whose votes are missing is shown to its approvers and its requester. An
    approved operation is handed to the workers when its time comes, and again in case the first
    time failed. What waits or runs much longer than foretold is told.
    """
    now = services.clock.now()
    for operation in services.store.operations(states=OPEN, limit=MOST_OPEN):
        if operation.unreadable:
            continue
        lies = (now - _since(operation)).total_seconds() > NUDGE
        due = operation.state is State.APPROVED and operation.slot is not None
        if operation.state in BUSY and (lies or due) and not services.catalog.unable(operation):
            scheduled.hand_over(services, operation)
        for mark, note, card in _due(services, operation):
            if not _is_marked(operation, mark, note):
                services.messages.note(operation, card, mark)
                if mark.startswith(VOTES_DUE) and operation.origin.by != BOT:
                    claim = f"{mark}:{operation.id}"
                    services.messages.tell(operation.origin.by, card, claim)
                commit_decision(services, operation.id, partial(_mark, services, mark, note))


def _since(operation: Operation) -> datetime:
    """Since when it lies as it is: what is approved for a later time, since that time."""
    slot = operation.slot if operation.state is State.APPROVED else None
    return operation.changed_at if slot is None else max(operation.changed_at, slot.start)


def _is_marked(operation: Operation, mark: str, note: Message) -> bool:
    """Whether it was said; version 0.1 knew it by the note alone."""
    return mark in operation.marks or str(note) in operation.notes


Told = tuple[str, Message, Card]
"""Its mark, what to note of it in the trail, and the card."""


def _due(services: Services, operation: Operation) -> tuple[Told, ...]:
    """What should have been said of an operation by now."""
    found = (
        _escalation(services, operation),
        _without_votes(services, operation),
        _delay(services, operation),
    )
    return tuple(each for each in found if each is not None)


def _escalation(services: Services, operation: Operation) -> Told | None:
    """The fallback approvers are called."""
    waited = (services.clock.now() - operation.proposed_at).total_seconds()
    ruling = operation.ruling
    if operation.state is not State.PROPOSED or not ruling.fallback:
        return None
    if not waited >= ruling.fallback_after > 0:
        return None
    note = words("Shown to {roles}.", roles=Names(ruling.fallback, Join.AND))
    people = _people(services, ruling.fallback)
    return "escalated", note, operation_cards.escalation_card(operation, people)


def _without_votes(services: Services, operation: Operation) -> Told | None:
    """Its time is near and votes are missing; not of what was proposed as late as that."""
    slot, now = operation.slot, services.clock.now()
    if operation.state is not State.PROPOSED or slot is None or not services.remind_before:
        return None
    near = slot.start - timedelta(seconds=services.remind_before)
    if not (operation.proposed_at < near <= now < slot.end and operation.votes_missing):
        return None
    waited = (now - operation.proposed_at).total_seconds()
    people = _people(services, operation.ruling.roles_at(waited))
    return (
        f"{VOTES_DUE}{slot.start.isoformat()}",
        words("Told that votes are missing and its time is near."),
        operation_cards.votes_due_card(operation, slot, people),
    )


def _delay(services: Services, operation: Operation) -> Told | None:
    """It waits for its turn, or runs, much longer than predicted."""
    if any(isinstance(step, WaitForPerson) for step in operation.plan.steps):
        return None  # people take the time that they take
    now = services.clock.now()
    since = _since(operation) if operation.state is State.APPROVED else operation.began_at
    patience = max(services.patience, OVERDUE * (operation.plan.prediction.seconds or 0.0))
    if operation.state not in BUSY or not since or (now - since).total_seconds() <= patience:
        return None
    return (
        f"overdue-{operation.state}",
        words("Told that it is {state} for long.", state=operation.state),
        operation_cards.overdue_card(operation, now - since),
    )


def _people(services: Services, roles: Sequence[str]) -> tuple[str, ...]:
    """User ids with one of the roles.

    Members of user groups are not known, the roles' names stand for them.
    """
    return tuple(
        sorted(
            {
                user
                for role in roles
                if role in services.roles
                for user in services.roles[role].users
            }
        )
    )


def _mark(
    services: Services, mark: str, note: Message, operation: Operation
) -> Sequence[Event] | Card:
    if operation.state.over or _is_marked(operation, mark, note):
        return operation_cards.settled_card(operation)
    return (Noted(services.clock.now(), BOT, note, mark),)
