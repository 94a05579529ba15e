"""What people decide with buttons: state, permission and plan are read again at each click.

A click is no proof.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bot.domain import policy as policies
from bot.domain.card import Card
from bot.domain.message import Code, Words, words
from bot.domain.operation import (
    BOT,
    SCRIPTS,
    Approved,
    Ask,
    Asked,
    Cancelled,
    Denied,
    Event,
    Expired,
    Operation,
    State,
    VotedFor,
    Withdrawn,
    advance,
)
from bot.flow.context import Services, has_role, roles_known_of
from bot.flow.operations import current_rules, notify, operation_cards, propose, scheduled
from bot.flow.operations.decision import commit_decision
from bot.ports import Request


def ids_of(request: Request) -> tuple[str, str]:
    """The operation's id, and what else its button carries.

    The digest of the plan that was seen.
    """
    operation_id, _, rest = request.value.partition(":")
    return operation_id, rest


def approve(services: Services, request: Request) -> Card | None:
    """Count a vote; with the last one the operation is handed to the workers."""
    operation_id, digest = ids_of(request)
    operation = commit_decision(
        services, operation_id, lambda now: _vote(services, now, request.by, digest)
    )
    if isinstance(operation, Card):
        return operation
    if operation.state is State.EXPIRED:
        notify.tell_end(services, operation)
        return operation_cards.settled_card(operation)
    voted = operation

    def follow() -> None:
        """What the next vote does not wait for.

        After a crash ``picked_up`` hands over what is approved.
        """
        if voted.state is State.APPROVED:
            scheduled.hand_over(services, voted)
        services.messages.note(
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
    today = current_rules.ruling_of(services, operation, part)
    if isinstance(today, policies.MayNot):
        return operation_cards.not_now_card(
            operation, current_rules.against(services, operation, part, today).text
        )
    changed = (
        current_rules.new_ruling(services, operation, today)
        if operation.state is State.PROPOSED
        else None
    )
    ruled = advance(operation, changed) if changed else operation
    if refusal := may_not_vote(services, ruled, by):
        return refusal
    return (*((changed,) if changed else ()), *_votes(ruled, VotedFor(now, by, digest)))


def _no_vote(services: Services, operation: Operation, by: str, digest: str) -> Card | None:
    """Why no vote of this person is taken, whatever the rules ask; None when one may be."""
    if operation.open_to_votes and any(vote.by == by for vote in operation.votes):
        return operation_cards.note_card(
            words("You approved {id} already; it waits for others.", id=operation.id)
        )
    if refusal := _too_late(operation, digest, is_open=operation.open_to_votes):
        return refusal
    why = services.catalog.unable(operation)
    return operation_cards.unable_card(operation, why) if why else None


def _votes(operation: Operation, voted: VotedFor) -> tuple[Event, ...]:
    """The vote, and with the last one the approval; what runs already goes on by itself."""
    last = operation.votes_missing <= 1 and operation.state is State.PROPOSED
    return (voted, Approved(voted.at, voted.by)) if last else (voted,)


def may_not_vote(services: Services, operation: Operation, by: str) -> Card | None:
    """Why this person's vote does not count now; None when it does."""
    if by.startswith(SCRIPTS):
        return operation_cards.note_card(
            words("A script has no vote."), words("A person must look at {id}.", id=operation.id)
        )
    if by == operation.origin.by:
        return operation_cards.forbidden_card(
            words("You asked for {id} yourself, so your vote does not count.", id=operation.id),
            words("Another approver must look at it."),
        )
    if by in operation.origin.causes:
        return operation_cards.forbidden_card(
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
    if has_role(services, by, roles):
        return None
    return operation_cards.forbidden_card(
        words("You may not approve {id}.", id=operation.id), _takes(roles)
    )


def _takes(roles: Iterable[str]) -> Words:
    return words("It takes one of the roles: {roles}.", roles=tuple(roles))


def _no_more(operation: Operation) -> Words:
    return words("You may not use `{command}` any more.", command=operation.action)


def not_open(operation: Operation, digest: str) -> Card | None:
    """Why a decision comes too late or is about another plan; None when it may go on."""
    return _too_late(operation, digest, is_open=operation.state is State.PROPOSED)


def _too_late(operation: Operation, digest: str, *, is_open: bool) -> Card | None:
    if not is_open:
        return operation_cards.settled_card(operation)
    if digest != operation.digest:
        return operation_cards.note_card(
            words("The plan of {id} is not the one you saw.", id=operation.id),
            words("Look at the newest message and decide again."),
        )
    return None


def deny(services: Services, request: Request) -> Card | None:
    """With a reason: deny. Without one: ask for it in a dialog."""
    operation_id, digest = ids_of(request)
    if request.kind != "form":
        operation = services.store.operation(operation_id)
        refusal = not_open(operation, digest) or _may_decide(services, operation, request.by)
        if refusal is None:
            services.chat.open_form(
                request.trigger,
                operation_cards.deny_form(operation),
                locale=request.locale,
                place=request.place,
            )
        return refusal
    why = dict(request.answers).get("why", "").strip()
    if not why:
        return operation_cards.note_card(
            words("{id} was not denied: a reason is needed.", id=operation_id),
            words("Press Deny… again and write one."),
        )
    return _finish(
        services,
        commit_decision(
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
    if by != operation.origin.by and has_role(services, by, roles):
        return None
    if by == operation.origin.by:
        return operation_cards.note_card(
            words("{id} is your own.", id=operation.id),
            words("Take it back with {command}.", command=_line(services, "withdraw", operation)),
        )
    return operation_cards.forbidden_card(
        words("You may not decide on {id}.", id=operation.id), _takes(roles)
    )


def _line(services: Services, verb: str, operation: Operation) -> Code:
    """A decision as it is typed; a denial needs a reason."""
    reason = " REASON" if verb == "deny" else ""
    return Code(f"{services.slash} {verb} {operation.id}{reason}")


def withdraw(services: Services, request: Request) -> Card | None:
    """The requester takes it back."""
    operation_id, _ = ids_of(request)

    def decision(operation: Operation) -> Sequence[Event] | Card:
        if operation.state is not State.PROPOSED:
            return operation_cards.settled_card(operation)
        if request.by != operation.origin.by:
            return operation_cards.forbidden_card(
                words("Only the person who asked for {id} can withdraw it.", id=operation.id),
                ""
                if _may_decide(services, operation, request.by)
                else words(
                    "To stop it, deny it: {command}.", command=_line(services, "deny", operation)
                ),
            )
        if not policies.may_ask(
            services.policy, operation.action, roles_known_of(services, request.by)
        ):
            return operation_cards.forbidden_card(
                _no_more(operation), words("An approver can deny it.")
            )
        return (Withdrawn(services.clock.now(), request.by),)

    return _finish(services, commit_decision(services, operation_id, decision))


def cancel(services: Services, request: Request) -> Card | None:
    """Stop: at once while it waits; as soon as it is safe while it runs; whatever plan one saw."""
    operation_id, _ = ids_of(request)

    def decision(operation: Operation) -> Sequence[Event] | Card:
        if refusal := may_not_steer(services, operation, request.by):
            return refusal
        now = services.clock.now()
        if operation.state is State.APPROVED:
            return (Cancelled(now, request.by, words("It had not begun.")),)
        if operation.state is State.PROPOSED:
            return operation_cards.only_proposed_card(operation, services.slash, request.by)
        if operation.state is not State.RUNNING:
            return operation_cards.settled_card(operation)
        if Ask.CANCEL in operation.asked:
            return operation_cards.note_card(
                words("{id} is being stopped already.", id=operation.id)
            )
        return (Asked(now, request.by, Ask.CANCEL),)

    after = commit_decision(services, operation_id, decision)
    if isinstance(after, Operation) and not after.state.over:
        return None
    return _finish(services, after)


def postcopy(services: Services, request: Request) -> Card | None:
    """Ask a running migration to switch to post-copy."""
    operation_id, _ = ids_of(request)

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

    after = commit_decision(services, operation_id, decision)
    return after if isinstance(after, Card) else None


def may_not_steer(services: Services, operation: Operation, by: str) -> Card | None:
    """Why this person may not steer an operation now.

    A requester who may still ask for it can, and its approvers.
    """
    mine, has = by == operation.origin.by, roles_known_of(services, by)
    if mine and policies.may_ask(services.policy, operation.action, has):
        return None
    ruling = current_rules.of_now(services, operation)
    roles = ruling.roles_at(float("inf")) or tuple(
        policies.who_may(services.policy, operation.action)
    )
    if has & set(roles):
        return None
    if mine:
        return operation_cards.forbidden_card(
            words(
                "You may not use `{command}` any more, so you may not steer {id}.",
                command=operation.action,
                id=operation.id,
            ),
            words("Its approvers can."),
        )
    return operation_cards.forbidden_card(
        words("You may not steer {id}.", id=operation.id),
        words("Its requester and its approvers can."),
    )


def show_details(services: Services, request: Request) -> Card:
    """The whole plan, for one person with any role."""
    operation_id, _ = ids_of(request)
    if not roles_known_of(services, request.by):
        return operation_cards.forbidden_card(
            words("You may not read plans."), words("It takes any role of the configuration.")
        )
    return operation_cards.details_card(
        services.store.operation(operation_id), services.clock.now()
    )


def propose_again(services: Services, request: Request) -> Card | None:
    """The same once more, as a new proposal by the person who clicks."""
    operation_id, _ = ids_of(request)
    operation = services.store.operation(operation_id)
    if not operation.state.over:
        return operation_cards.settled_card(operation)
    if not policies.may_ask(
        services.policy, operation.action, roles_known_of(services, request.by)
    ):
        return operation_cards.forbidden_card(
            words("You may not use `{command}`.", command=operation.action)
        )
    return propose.again(services, operation, request.by, request.key)


def _finish(services: Services, operation: Operation | Card) -> Card | None:
    """Tell the end where it matters; a card is passed on to the person who clicked."""
    if isinstance(operation, Card):
        return operation
    notify.tell_end(services, operation)
    return None
