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
from bot.flow.context import BUSY, OPEN, World, commit, roles_of, whisper
from bot.flow.operations import current_rules, operation_cards, propose
from bot.ports import Request

Decision = Callable[[Operation], Sequence[Event] | Card]
"""What an operation as it is now takes: events to commit, or what to tell the person instead."""

NUDGE = 30.0  # seconds after which an operation that has not moved is handed to the workers again
OVERDUE = 5.0  # times the predicted duration
TRIES = 12  # lost races before giving up; each means that somebody else's decision went through


def pressed(world: World, request: Request) -> None:
    """Answer a click or a form on an operation. Every outcome reaches the person."""
    operation_id, _, digest = request.value.partition(":")
    try:
        card = _BUTTONS[request.action](world, request, operation_id, digest)
    except KeyError:
        unknown = words("The button “{button}” is not known.", button=request.action)
        card = error_card(unknown, words("It may be of an older version; type `help`."))
    except DroverError as error:
        card = error_card(error.text, error.advice)
    if card is not None:
        whisper(world, request, card)


def approve(world: World, request: Request, operation_id: str, digest: str) -> Card | None:
    """Count a vote; with the last one the operation is handed to the workers."""
    operation = decided(world, operation_id, lambda now: _vote(world, now, request.by, digest))
    if isinstance(operation, Card):
        return operation
    if operation.state is State.EXPIRED:
        tell_end(world, operation)
        return operation_cards.settled_card(operation)
    voted = operation

    def follow() -> None:
        """What the next vote does not wait for; after a crash ``picked_up`` hands over what is approved."""
        if voted.state is State.APPROVED:
            world.work.enqueue(voted)
        in_thread(
            world,
            voted,
            operation_cards.vote_note(voted, voted.votes[-1]),
            f"vote-{len(voted.votes)}",
        )

    world.screen.follow(operation.id, follow)
    return None


def _vote(world: World, operation: Operation, by: str, digest: str) -> Sequence[Event] | Card:
    now = world.clock.now()
    if refusal := _no_vote(world, operation, by, digest):
        return refusal
    if operation.state is State.PROPOSED and now >= operation.expires_at:
        return (Expired(now, BOT),)
    part = current_rules.tail(operation)
    today = current_rules.asked(world, operation.action, part, operation.origin)
    if isinstance(today, policies.MayNot):
        return operation_cards.not_now_card(
            operation, current_rules.against(world, operation, part, today).text
        )
    changed = (
        current_rules.changed(world, operation, today)
        if operation.state is State.PROPOSED
        else None
    )
    ruled = advance(operation, changed) if changed else operation
    if refusal := _may_not_vote(world, ruled, by):
        return refusal
    return (*((changed,) if changed else ()), *_votes(ruled, VotedFor(now, by, digest)))


def _no_vote(world: World, operation: Operation, by: str, digest: str) -> Card | None:
    """Why no vote of this person is taken, whatever the rules ask; None when one may be."""
    if operation.open_to_votes and any(vote.by == by for vote in operation.votes):
        return operation_cards.note_card(
            words("You approved {id} already; it waits for others.", id=operation.id)
        )
    if refusal := _settled(operation, digest, is_open=operation.open_to_votes):
        return refusal
    why = world.catalog.unable(operation)
    return operation_cards.unable_card(operation, why) if why else None


def _votes(operation: Operation, voted: VotedFor) -> tuple[Event, ...]:
    """The vote, and with the last one the approval; what runs already goes on by itself."""
    last = operation.votes_missing <= 1 and operation.state is State.PROPOSED
    return (voted, Approved(voted.at, voted.by)) if last else (voted,)


def _may_not_vote(world: World, operation: Operation, by: str) -> Card | None:
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
        (world.clock.now() - (since or operation.proposed_at)).total_seconds()
    )
    if roles_of(world, by) & set(roles):
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


def deny(world: World, request: Request, operation_id: str, digest: str) -> Card | None:
    """With a reason: deny. Without one: ask for it in a dialog."""
    if request.kind != "form":
        operation = world.store.operation(operation_id)
        refusal = not_open(operation, digest) or _may_decide(world, operation, request.by)
        if refusal is None:
            world.chat.open_form(
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
        world,
        decided(world, operation_id, lambda now: _denial(world, now, request.by, digest, why)),
    )


def _denial(
    world: World, operation: Operation, by: str, digest: str, why: str
) -> Sequence[Event] | Card:
    refusal = not_open(operation, digest) or _may_decide(world, operation, by)
    return refusal or (Denied(world.clock.now(), by, why),)


def _may_decide(world: World, operation: Operation, by: str) -> Card | None:
    waited = (world.clock.now() - operation.proposed_at).total_seconds()
    ruling = current_rules.of_now(world, operation)
    roles = ruling.roles_at(waited) or tuple(policies.who_may(world.policy, operation.action))
    if by != operation.origin.by and roles_of(world, by) & set(roles):
        return None
    if by == operation.origin.by:
        return operation_cards.note_card(
            words("{id} is your own.", id=operation.id), words("Use Withdraw to take it back.")
        )
    return operation_cards.note_card(
        words("You may not decide on {id}.", id=operation.id), _takes(roles)
    )


def withdraw(world: World, request: Request, operation_id: str, digest: str) -> Card | None:
    """The requester takes it back."""

    def decision(operation: Operation) -> Sequence[Event] | Card:
        if operation.state is not State.PROPOSED:
            return operation_cards.settled_card(operation)
        if request.by != operation.origin.by:
            return operation_cards.note_card(
                words("Only the person who asked for {id} can withdraw it.", id=operation.id),
                words("Use Deny instead."),
            )
        if not policies.may_ask(world.policy, operation.action, roles_of(world, request.by)):
            return operation_cards.note_card(_no_more(operation), words("An approver can deny it."))
        return (Withdrawn(world.clock.now(), request.by),)

    del digest  # one's own request can be taken back whatever plan one saw
    return _ended(world, decided(world, operation_id, decision))


def cancel(world: World, request: Request, operation_id: str, digest: str) -> Card | None:
    """Stop: at once while it waits; as soon as it is safe while it runs."""

    def decision(operation: Operation) -> Sequence[Event] | Card:
        if refusal := may_not_steer(world, operation, request.by):
            return refusal
        now = world.clock.now()
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
    after = decided(world, operation_id, decision)
    if isinstance(after, Operation) and not after.state.over:
        return None
    return _ended(world, after)


def postcopy(world: World, request: Request, operation_id: str, digest: str) -> Card | None:
    """Ask a running migration to switch to post-copy."""

    def decision(operation: Operation) -> Sequence[Event] | Card:
        if refusal := may_not_steer(world, operation, request.by):
            return refusal
        if operation.state is not State.RUNNING:
            return operation_cards.settled_card(operation)
        if Ask.POSTCOPY in operation.asked:
            return operation_cards.note_card(
                words("{id} was asked for post-copy already.", id=operation.id)
            )
        return (Asked(world.clock.now(), request.by, Ask.POSTCOPY),)

    del digest
    after = decided(world, operation_id, decision)
    return after if isinstance(after, Card) else None


def may_not_steer(world: World, operation: Operation, by: str) -> Card | None:
    """Why this person may not steer an operation now; a requester who may still ask for it can, and its approvers."""
    mine, has = by == operation.origin.by, roles_of(world, by)
    if mine and policies.may_ask(world.policy, operation.action, has):
        return None
    ruling = current_rules.of_now(world, operation)
    roles = ruling.roles_at(float("inf")) or tuple(policies.who_may(world.policy, operation.action))
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
def details(world: World, request: Request, operation_id: str, digest: str) -> Card:  # noqa: ARG001
    """The whole plan, for one person with any role."""
    if not roles_of(world, request.by):
        return operation_cards.note_card(
            words("You may not read plans."), words("It takes any role of the configuration.")
        )
    return operation_cards.details_card(world.store.operation(operation_id), world.clock.now())


def again(world: World, request: Request, operation_id: str, digest: str) -> Card | None:  # noqa: ARG001
    """The same once more, as a new proposal by the person who clicks."""
    operation = world.store.operation(operation_id)
    if not operation.state.over:
        return operation_cards.settled_card(operation)
    if not policies.may_ask(world.policy, operation.action, roles_of(world, request.by)):
        return operation_cards.note_card(
            words("You may not use `{command}`.", command=operation.action)
        )
    return propose.again(world, operation, request.by, request.key)


def expire(world: World) -> None:
    """End the proposals whose time is over. Run by the clock; safe to run anywhere, any time."""
    now = world.clock.now()
    for operation in world.store.operations(states=(State.PROPOSED,), limit=1000):
        if now >= operation.expires_at and not operation.unreadable:
            _ended(world, decided(world, operation.id, lambda found: _expiry(world, found)))


def _expiry(world: World, operation: Operation) -> Sequence[Event] | Card:
    now = world.clock.now()
    if operation.state is not State.PROPOSED or now < operation.expires_at:
        return operation_cards.settled_card(operation)
    return (Expired(now, BOT),)


def remind(world: World) -> None:
    """See to what has waited too long. Run by the clock; safe to run anywhere, any time.

    A proposal that its first approvers left lying is shown to the fallback approvers, once. An
    approved operation is handed to the workers again, in case the first time failed. What waits or
    runs much longer than foretold is told.
    """
    now = world.clock.now()
    for operation in world.store.operations(states=OPEN, limit=1000):
        if operation.unreadable:
            continue
        lies = operation.state in BUSY and (now - operation.changed_at).total_seconds() > NUDGE
        if lies and not world.catalog.unable(operation):
            world.work.enqueue(operation)
        for mark, note, card in _due(world, operation):
            if not _is_marked(operation, mark, note):
                in_thread(world, operation, card, mark)
                decided(world, operation.id, partial(_marked, world, mark, note))


def _is_marked(operation: Operation, mark: str, note: Message) -> bool:
    """Whether it was said; version 0.1 knew it by the note alone."""
    return mark in operation.marks or str(note) in operation.notes


def _due(world: World, operation: Operation) -> tuple[tuple[str, Message, Card], ...]:
    """What should have been said of an operation by now: its mark, what to note of it in the trail, and the card."""
    now = world.clock.now()
    waited = (now - operation.proposed_at).total_seconds()
    ruling = operation.ruling
    if (
        operation.state is State.PROPOSED
        and ruling.fallback
        and waited >= ruling.fallback_after > 0
    ):
        note = words("Shown to {roles}.", roles=Names(ruling.fallback, Join.AND))
        return (
            ("escalated", note, operation_cards.escalation_card(operation, _people(world, ruling))),
        )
    if any(isinstance(step, WaitForPerson) for step in operation.plan.steps):
        return ()  # people take the time that they take
    since = operation.changed_at if operation.state is State.APPROVED else operation.began_at
    patience = max(world.patience, OVERDUE * (operation.plan.prediction.seconds or 0.0))
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


def _people(world: World, ruling: policies.Ruling) -> tuple[str, ...]:
    """User ids with a fallback role; members of user groups are not known, the roles' names stand for them."""
    return tuple(
        sorted(
            {
                user
                for role in ruling.fallback
                if role in world.roles
                for user in world.roles[role].users
            }
        )
    )


def _marked(world: World, mark: str, note: Message, operation: Operation) -> Sequence[Event] | Card:
    if operation.state.over or _is_marked(operation, mark, note):
        return operation_cards.settled_card(operation)
    return (Noted(world.clock.now(), BOT, note, mark),)


def decided(world: World, operation_id: str, decision: Decision) -> Operation | Card:
    """Decide on the newest state until the decision is stored or refused: compare-and-swap.

    Raises:
        ConflictError: the race was lost every time; nothing was stored.
    """
    for _ in range(TRIES):
        operation = world.store.operation(operation_id)
        if operation.unreadable:
            return operation_cards.unable_card(operation, operation.unreadable)
        verdict = decision(operation)
        if isinstance(verdict, Card):
            return verdict
        try:
            return commit(world, operation, *verdict)
        except ConflictError:
            continue
    raise ConflictError(
        words("{id} changes too quickly.", id=operation_id), words("Look at it and click again.")
    )


def _ended(world: World, operation: Operation | Card) -> Card | None:
    """Tell the end where it matters; a card is passed on to the person who clicked."""
    if isinstance(operation, Card):
        return operation
    tell_end(world, operation)
    return None


def tell_end(world: World, operation: Operation) -> None:
    """Tell how it ended, once, across replicas and crashes."""
    told(world, operation, operation_cards.ended_note(operation), "end", f"told:{operation.id}")


def told(world: World, operation: Operation, note: Card, key: str, claim: str) -> None:
    """Put a note into the thread, once for each ``key``, and tell the requester, once for each ``claim``."""
    in_thread(world, operation, note, key)
    if operation.origin.by != BOT:
        world.screen.tell(operation.origin.by, note, claim)


def in_thread(world: World, operation: Operation, card: Card, key: str) -> None:
    """Say something under an operation's message, once for each ``key``."""
    world.screen.note(operation, card, key)


_BUTTONS: dict[str, Callable[[World, Request, str, str], Card | None]] = {
    "op.approve": approve,
    "op.deny": deny,
    "op.withdraw": withdraw,
    "op.cancel": cancel,
    "op.postcopy": postcopy,
    "op.details": details,
    "op.again": again,
}
