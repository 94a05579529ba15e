"""Giving an operation that has not begun another time.

Votes were for the time before, so they begin anew.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.card import Card
from bot.domain.errors import UsageError
from bot.domain.message import words
from bot.domain.operation import (
    BOT,
    Approved,
    Event,
    Operation,
    Rescheduled,
    RulingChanged,
    State,
    VotedFor,
    advance,
)
from bot.domain.policy import MayNot
from bot.domain.timing import Slot, Timing
from bot.flow.context import Services
from bot.flow.operations import current_rules, decide, notify, operation_cards, scheduled
from bot.flow.operations.decision import commit_decision
from bot.ports import Request


def move(services: Services, request: Request) -> Card | None:
    """With a time: move the operation there. Without one: ask for it in a dialog."""
    operation_id, _ = decide.ids_of(request)
    operation = services.store.operation(operation_id)
    if refusal := _may_not(services, operation, request.by):
        return refusal
    if request.kind != "form":
        services.chat.open_form(
            request.trigger, operation_cards.move_form(operation), locale=request.locale
        )
        return None
    slot = scheduled.slot_of(services, Timing(at=dict(request.answers).get("when", "").strip()))
    if slot is None:
        raise UsageError(
            words("No time was given."), words("Write for example sat 22:00."), code="no-time"
        )
    after = commit_decision(
        services, operation_id, lambda now: _move(services, now, request.by, slot)
    )
    if isinstance(after, Card):
        return after
    if after.state is State.APPROVED:
        services.messages.follow(after.id, lambda: scheduled.hand_over(services, after))
    note, key = operation_cards.moved_note(after), f"moved-{after.version}"
    notify.tell_requester(services, after, note, key, f"moved:{after.id}:{after.version}")
    return None


def _may_not(services: Services, operation: Operation, by: str) -> Card | None:
    if operation.state not in (State.PROPOSED, State.APPROVED) or operation.unreadable:
        return operation_cards.settled_card(operation)
    return decide.may_not_steer(services, operation, by)


def _move(services: Services, operation: Operation, by: str, slot: Slot) -> Sequence[Event] | Card:
    """The new time, by the rules that hold then; the vote of an approver who moves it counts."""
    if refusal := _may_not(services, operation, by):
        return refusal
    now = services.clock.now()
    today = current_rules.ruling_now(
        services, operation.action, operation.plan, operation.origin, slot
    )
    if isinstance(today, MayNot):
        return operation_cards.note_card(today.text, today.advice)
    events: list[Event] = [Rescheduled(now, by, slot), RulingChanged(now, BOT, today)]
    after = operation
    for event in events:
        after = advance(after, event)
    if not after.votes_missing:
        return (*events, Approved(now, BOT))
    if decide.may_not_vote(services, after, by) is not None:
        return tuple(events)
    vote = VotedFor(now, by, after.digest)
    return (*events, vote, *([Approved(now, by)] if after.votes_missing == 1 else []))
