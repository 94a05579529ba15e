"""What people decide with buttons: state, permission and plan are read again at each click; a click is no proof."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from bot.domain import policy as policies
from bot.domain.card import Card, error_card
from bot.domain.errors import ConflictError, DroverError
from bot.domain.message import Join, Message, Names, Words, words
from bot.domain.operation import (
    BOT,
    Approved,
    Ask,
    Asked,
    Cancelled,
    Denied,
    Event,
    Expired,
    Noted,
    Operation,
    State,
    VotedFor,
    Withdrawn,
    advance,
)
from bot.domain.steps import WaitForPerson
from bot.flow.context import BUSY, OPEN, Services, commit, roles_of, whisper
from bot.flow.operations import current_rules, operation_cards, propose
from bot.ports import Request

Decision = Callable[[Operation], Sequence[Event] | Card]
"""What an operation as it is now takes: events to commit, or what to tell the person instead."""

NUDGE = 30.0  # seconds after which an operation that has not moved is handed to the workers again
OVERDUE = 5.0  # times the predicted duration
TRIES = 12  # lost races before giving up; each means that somebody else's decision went through


def pressed(services: Services, request: Request) -> None:
    """Answer a click or a form on an operation. Every outcome reaches the person."""
    operation_id, _, digest = request.value.partition(":")
    try:
        card = _BUTTONS[request.action](services, request, operation_id, digest)
    except KeyError:
        unknown = words("The button “{button}” is not known.", button=request.action)
        card = error_card(unknown, words("It may be of an older version; type `help`."))
    except DroverError as error:
        card = error_card(error.text, error.advice)
    if card is not None:
        whisper(services, request, card)


def approve(services: Services, request: Request, operation_id: str, digest: str) -> Card | None:
    """Count a vote; with the last one the operation is handed to the workers."""
    operation = decided(
        services, operation_id, lambda now: _vote(services, now, request.by, digest)
    )
    if isinstance(operation, Card):
        return operation
    if operation.state is State.EXPIRED:
        tell_end(services, operation)
        return operation_cards.settled_card(operation)
    voted = operation

    def follow() -> None:
        """What the next vote does not wait for; after a crash ``picked_up`` hands over what is approved."""
        if voted.state is State.APPROVED:
            services.work.enqueue(voted)
        in_thread(
            services,
            voted,
            operation_cards.vote_note(voted, voted.votes[-1]),
            f"vote-{len(voted.votes)}",
        )

    services.messages.follow(operation.id, follow)
    return None


def _vote(services: Services, operation: Operation, by: str, digest: str) -> Sequence[Event] | Card:
    now = services.clock.now()
    if refusal := _no_vote(services, operation, by, digest):
        return refusal
    if operation.state is State.PROPOSED and now >= operation.expires_at:
        return (Expired(now, BOT),)
    part = current_rules.tail(operation)
    today = current_rules.asked(services, operation.action, part, operation.origin)
    if isinstance(today, policies.MayNot):
        return operation_cards.not_now_card(
            operation, current_rules.against(services, operation, part, today).text
        )
    changed = (
        current_rules.changed(services, operation, today)
        if operation.state is State.PROPOSED
        else None
    )
    ruled = advance(operation, changed) if changed else operation
    if refusal := _may_not_vote(services, ruled, by):
        return refusal
    return (*((changed,) if changed else ()), *_votes(ruled, VotedFor(now, by, digest)))


def _no_vote(services: Services, operation: Operation, by: str, digest: str) -> Card | None:
    """Why no vote of this person is taken, whatever the rules ask; None when one may be."""
    if operation.open_to_votes and any(vote.by == by for vote in operation.votes):
        return operation_cards.note_card(
            words("You approved {id} already; it waits for others.", id=operation.id)
        )
    if refusal := _settled(operation, digest, is_open=operation.open_to_votes):
        return refusal
    why = services.catalog.unable(operation)
    return operation_cards.unable_card(operation, why) if why else None


def _votes(operation: Operation, voted: VotedFor) -> tuple[Event, ...]:
    """The vote, and with the last one the approval; what runs already goes on by itself."""
    last = operation.votes_missing <= 1 and operation.state is State.PROPOSED
    return (voted, Approved(voted.at, voted.by)) if last else (voted,)


def _may_not_vote(services: Services, operation: Operation, by: str) -> Card | None:
    """Why this person's vote does not count now; None when it does."""
    if by == operation.origin.by:
        return operation_cards.note_card(
            words("You asked for {id} yourself, so your vote does not count.", id=operation.id),
            words("Another approver must look at it."),
        )
    if by in operation.origin.causes:
        return operation_cards.note_card(
            words(
                "Drover proposes {id} because of what you did, so your vote does not count.",
                id=operation.id,
            ),
            words("Another approver must look at it."),
        )
    since = operation.ruled_at if operation.state is State.RUNNING else None
    roles = operation.ruling.roles_at(
        (services.clock.now() - (since or operation.proposed_at)).total_seconds()
    )
    if roles_of(services, by) & set(roles):
        return None
    return operation_cards.note_card(
        words("You may not approve {id}.", id=operation.id), _takes(roles)
    )


def _takes(roles: Iterable[str]) -> Words:
    return words("It takes one of the roles: {roles}.", roles=tuple(roles))


def _no_more(operation: Operation) -> Words:
    return words("You may not use `{command}` any more.", command=operation.action)


def not_open(operation: Operation, digest: str) -> Card | None:
    """Why a decision comes too late or is about another plan; None when it may go on."""
    return _settled(operation, digest, is_open=operation.state is State.PROPOSED)


def _settled(operation: Operation, digest: str, *, is_open: bool) -> Card | None:
    if not is_open:
        return operation_cards.settled_card(operation)
    if digest != operation.plan.digest:
        return operation_cards.note_card(
            words("The plan of {id} is not the one you saw.", id=operation.id),
            words("Look at the newest message and decide again."),
        )
    return None


def deny(services: Services, request: Request, operation_id: str, digest: str) -> Card | None:
    """With a reason: deny. Without one: ask for it in a dialog."""
    if request.kind != "form":
        operation = services.store.operation(operation_id)
        refusal = not_open(operation, digest) or _may_decide(services, operation, request.by)
        if refusal is None:
            services.chat.open_form(
                request.trigger, operation_cards.deny_form(operation), locale=request.locale
            )
        return refusal
    why = dict(request.answers).get("why", "").strip()
    if not why:
        return operation_cards.note_card(
            words("{id} was not denied: a reason is needed.", id=operation_id),
            words("Press Deny… again and write one."),
        )
    return _ended(
        services,
        decided(
            services, operation_id, lambda now: _denial(services, now, request.by, digest, why)
        ),
    )


def _denial(
    services: Services, operation: Operation, by: str, digest: str, why: str
) -> Sequence[Event] | Card:
    refusal = not_open(operation, digest) or _may_decide(services, operation, by)
    return refusal or (Denied(services.clock.now(), by, why),)


def _may_decide(services: Services, operation: Operation, by: str) -> Card | None:
    waited = (services.clock.now() - operation.proposed_at).total_seconds()
    ruling = current_rules.of_now(services, operation)
    roles = ruling.roles_at(waited) or tuple(policies.who_may(services.policy, operation.action))
    if by != operation.origin.by and roles_of(services, by) & set(roles):
        return None
    if by == operation.origin.by:
        return operation_cards.note_card(
            words("{id} is your own.", id=operation.id), words("Use Withdraw to take it back.")
        )
    return operation_cards.note_card(
        words("You may not decide on {id}.", id=operation.id), _takes(roles)
    )


def withdraw(services: Services, request: Request, operation_id: str, digest: str) -> Card | None:
    """The requester takes it back."""

    def decision(operation: Operation) -> Sequence[Event] | Card:
        if operation.state is not State.PROPOSED:
            return operation_cards.settled_card(operation)
        if request.by != operation.origin.by:
            return operation_cards.note_card(
                words("Only the person who asked for {id} can withdraw it.", id=operation.id),
                words("Use Deny instead."),
            )
        if not policies.may_ask(services.policy, operation.action, roles_of(services, request.by)):
            return operation_cards.note_card(_no_more(operation), words("An approver can deny it."))
        return (Withdrawn(services.clock.now(), request.by),)

    del digest  # one's own request can be taken back whatever plan one saw
    return _ended(services, decided(services, operation_id, decision))


def cancel(services: Services, request: Request, operation_id: str, digest: str) -> Card | None:
    """Stop: at once while it waits; as soon as it is safe while it runs."""

    def decision(operation: Operation) -> Sequence[Event] | Card:
        if refusal := may_not_steer(services, operation, request.by):
            return refusal
        now = services.clock.now()
        if operation.state is State.APPROVED:
            return (Cancelled(now, request.by, "It had not begun."),)
        if operation.state is not State.RUNNING:
            return operation_cards.settled_card(operation)
        if Ask.CANCEL in operation.asked:
            return operation_cards.note_card(
                words("{id} is being stopped already.", id=operation.id)
            )
        return (Asked(now, request.by, Ask.CANCEL),)

    del digest  # stopping is right whatever plan one saw
    after = decided(services, operation_id, decision)
    if isinstance(after, Operation) and not after.state.over:
        return None
    return _ended(services, after)


def postcopy(services: Services, request: Request, operation_id: str, digest: str) -> Card | None:
    """Ask a running migration to switch to post-copy."""

    def decision(operation: Operation) -> Sequence[Event] | Card:
        if refusal := may_not_steer(services, operation, request.by):
            return refusal
        if operation.state is not State.RUNNING:
            return operation_cards.settled_card(operation)
        if Ask.POSTCOPY in operation.asked:
            return operation_cards.note_card(
                words("{id} was asked for post-copy already.", id=operation.id)
            )
        return (Asked(services.clock.now(), request.by, Ask.POSTCOPY),)

    del digest
    after = decided(services, operation_id, decision)
    return after if isinstance(after, Card) else None


def may_not_steer(services: Services, operation: Operation, by: str) -> Card | None:
    """Why this person may not steer an operation now; a requester who may still ask for it can, and its approvers."""
    mine, has = by == operation.origin.by, roles_of(services, by)
    if mine and policies.may_ask(services.policy, operation.action, has):
        return None
    ruling = current_rules.of_now(services, operation)
    roles = ruling.roles_at(float("inf")) or tuple(
        policies.who_may(services.policy, operation.action)
    )
    if has & set(roles):
        return None
    if mine:
        return operation_cards.note_card(
            words(
                "You may not use `{command}` any more, so you may not steer {id}.",
                command=operation.action,
                id=operation.id,
            ),
            words("Its approvers can."),
        )
    return operation_cards.note_card(
        words("You may not steer {id}.", id=operation.id),
        words("Its requester and its approvers can."),
    )


# The buttons' one shape
def details(services: Services, request: Request, operation_id: str, digest: str) -> Card:  # noqa: ARG001
    """The whole plan, for one person with any role."""
    if not roles_of(services, request.by):
        return operation_cards.note_card(
            words("You may not read plans."), words("It takes any role of the configuration.")
        )
    return operation_cards.details_card(
        services.store.operation(operation_id), services.clock.now()
    )


def again(services: Services, request: Request, operation_id: str, digest: str) -> Card | None:  # noqa: ARG001
    """The same once more, as a new proposal by the person who clicks."""
    operation = services.store.operation(operation_id)
    if not operation.state.over:
        return operation_cards.settled_card(operation)
    if not policies.may_ask(services.policy, operation.action, roles_of(services, request.by)):
        return operation_cards.note_card(
            words("You may not use `{command}`.", command=operation.action)
        )
    return propose.again(services, operation, request.by, request.key)


def expire(services: Services) -> None:
    """End the proposals whose time is over. Run by the clock; safe to run anywhere, any time."""
    now = services.clock.now()
    for operation in services.store.operations(states=(State.PROPOSED,), limit=1000):
        if now >= operation.expires_at and not operation.unreadable:
            _ended(
                services, decided(services, operation.id, lambda found: _expiry(services, found))
            )


def _expiry(services: Services, operation: Operation) -> Sequence[Event] | Card:
    now = services.clock.now()
    if operation.state is not State.PROPOSED or now < operation.expires_at:
        return operation_cards.settled_card(operation)
    return (Expired(now, BOT),)


def remind(services: Services) -> None:
    """See to what has waited too long. Run by the clock; safe to run anywhere, any time.

    A proposal that its first approvers left lying is shown to the fallback approvers, once. An
    approved operation is handed to the workers again, in case the first time failed. What waits or
    runs much longer than foretold is told.
    """
    now = services.clock.now()
    for operation in services.store.operations(states=OPEN, limit=1000):
        if operation.unreadable:
            continue
        lies = operation.state in BUSY and (now - operation.changed_at).total_seconds() > NUDGE
        if lies and not services.catalog.unable(operation):
            services.work.enqueue(operation)
        for mark, note, card in _due(services, operation):
            if not _is_marked(operation, mark, note):
                in_thread(services, operation, card, mark)
                decided(services, operation.id, partial(_marked, services, mark, note))


def _is_marked(operation: Operation, mark: str, note: Message) -> bool:
    """Whether it was said; version 0.1 knew it by the note alone."""
    return mark in operation.marks or str(note) in operation.notes


def _due(services: Services, operation: Operation) -> tuple[tuple[str, Message, Card], ...]:
    """What should have been said of an operation by now: its mark, what to note of it in the trail, and the card."""
    now = services.clock.now()
    waited = (now - operation.proposed_at).total_seconds()
    ruling = operation.ruling
    if (
        operation.state is State.PROPOSED
        and ruling.fallback
        and waited >= ruling.fallback_after > 0
    ):
        note = words("Shown to {roles}.", roles=Names(ruling.fallback, Join.AND))
        return (
            (
                "escalated",
                note,
                operation_cards.escalation_card(operation, _people(services, ruling)),
            ),
        )
    if any(isinstance(step, WaitForPerson) for step in operation.plan.steps):
        return ()  # people take the time that they take
    since = operation.changed_at if operation.state is State.APPROVED else operation.began_at
    patience = max(services.patience, OVERDUE * (operation.plan.prediction.seconds or 0.0))
    if operation.state in BUSY and since and (now - since).total_seconds() > patience:
        note = words("Told that it is {state} for long.", state=operation.state)
        return (
            (
                f"overdue-{operation.state}",
                note,
                operation_cards.overdue_card(operation, now - since),
            ),
        )
    return ()


def _people(services: Services, ruling: policies.Ruling) -> tuple[str, ...]:
    """User ids with a fallback role; members of user groups are not known, the roles' names stand for them."""
    return tuple(
        sorted(
            {
                user
                for role in ruling.fallback
                if role in services.roles
                for user in services.roles[role].users
            }
        )
    )


def _marked(
    services: Services, mark: str, note: Message, operation: Operation
) -> Sequence[Event] | Card:
    if operation.state.over or _is_marked(operation, mark, note):
        return operation_cards.settled_card(operation)
    return (Noted(services.clock.now(), BOT, note, mark),)


def decided(services: Services, operation_id: str, decision: Decision) -> Operation | Card:
    """Decide on the newest state until the decision is stored or refused: compare-and-swap.

    Raises:
        ConflictError: the race was lost every time; nothing was stored.
    """
    for _ in range(TRIES):
        operation = services.store.operation(operation_id)
        if operation.unreadable:
            return operation_cards.unable_card(operation, operation.unreadable)
        verdict = decision(operation)
        if isinstance(verdict, Card):
            return verdict
        try:
            return commit(services, operation, *verdict)
        except ConflictError:
            continue
    raise ConflictError(
        words("{id} changes too quickly.", id=operation_id), words("Look at it and click again.")
    )


def _ended(services: Services, operation: Operation | Card) -> Card | None:
    """Tell the end where it matters; a card is passed on to the person who clicked."""
    if isinstance(operation, Card):
        return operation
    tell_end(services, operation)
    return None


def tell_end(services: Services, operation: Operation) -> None:
    """Tell how it ended, once, across replicas and crashes."""
    told(services, operation, operation_cards.ended_note(operation), "end", f"told:{operation.id}")


def told(services: Services, operation: Operation, note: Card, key: str, claim: str) -> None:
    """Put a note into the thread, once for each ``key``, and tell the requester, once for each ``claim``."""
    in_thread(services, operation, note, key)
    if operation.origin.by != BOT:
        services.messages.tell(operation.origin.by, note, claim)


def in_thread(services: Services, operation: Operation, card: Card, key: str) -> None:
    """Say something under an operation's message, once for each ``key``."""
    services.messages.note(operation, card, key)


_BUTTONS: dict[str, Callable[[Services, Request, str, str], Card | None]] = {
    "op.approve": approve,
    "op.deny": deny,
    "op.withdraw": withdraw,
    "op.cancel": cancel,
    "op.postcopy": postcopy,
    "op.details": details,
    "op.again": again,
}
