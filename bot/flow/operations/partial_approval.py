"""A part of a proposal as a proposal of its own: picked in a dialog or by numbers.

The old one ends with it.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain import policy as policies
from bot.domain.card import Card
from bot.domain.errors import UnknownNameError, UsageError
from bot.domain.message import words
from bot.domain.operation import MOST_OPEN, Event, Operation, Origin, Replaced, State, Withdrawn
from bot.flow.context import Services, commit, roles_of
from bot.flow.operations import decide, notify, operation_cards, propose
from bot.flow.operations.decision import commit_decision
from bot.plugin_api import Action, Picked
from bot.ports import Request


def pick(services: Services, request: Request) -> Card | None:
    """Without answers: ask which steps, in a dialog. With them: propose those."""
    operation_id, digest = decide.ids_of(request)
    operation = services.store.operation(operation_id)
    if refusal := _may_not(services, operation, request.by, digest):
        return refusal
    if request.kind != "form":
        services.chat.open_form(
            request.trigger,
            operation_cards.pick_form(operation),
            locale=request.locale,
            place=request.place,
        )
        return None
    chosen = [value for _, values in request.answers for value in values.split(",") if value]
    return _instead(
        services, operation, tuple(sorted({int(value) for value in chosen})), request, ""
    )


def pick_by_numbers(
    services: Services, action: Action, wanted: Picked, request: Request, line: str
) -> Card | None:
    """Steps of the newest open proposal of an action, or of a named one, by their numbers."""
    mine = [
        each
        for each in services.store.operations(states=(State.PROPOSED,), limit=MOST_OPEN)
        if each.action == action.name
    ]
    found = next((each for each in mine if wanted.operation in ("", each.id)), None)
    if found is None:
        told = (
            words(
                "{id} is no open proposal of `{command}`.", id=wanted.operation, command=action.name
            )
            if wanted.operation
            else words("No proposal of `{command}` is open.", command=action.name)
        )
        raise UnknownNameError(told, words("Propose one first, then pick of it."))
    if refusal := _may_not(services, found, request.by, found.digest):
        return refusal
    indexes = tuple(sorted({number - 1 for number in wanted.numbers}))
    return _instead(services, found, indexes, request, line)


def _may_not(services: Services, operation: Operation, by: str, digest: str) -> Card | None:
    """Why this person may not pick of it now; None when they may."""
    if operation.action not in services.catalog.pickable:
        told = words("`{command}` is approved as a whole.", command=operation.action)
        return operation_cards.note_card(told, words("Ask for something smaller instead."))
    if not policies.may_ask(services.policy, operation.action, roles_of(services, by)):
        return operation_cards.forbidden_card(
            words("You may not use `{command}`.", command=operation.action)
        )
    return decide.not_open(operation, digest)


def _instead(
    services: Services, operation: Operation, indexes: tuple[int, ...], request: Request, line: str
) -> Card | None:
    """The new proposal first, then the old one's end.

    A crash in between repeats both, and neither twice.
    """
    count = len(operation.plan.steps)
    if not indexes or not 0 <= indexes[0] <= indexes[-1] < count:
        advice = words("{id} has the steps 1 to {count}.", id=operation.id, count=count)
        raise UsageError(words("Nothing that there is was picked."), advice)
    if len(indexes) == count:
        return operation_cards.note_card(
            words("All of it was picked."),
            words("{id} proposes just that. It waits for its votes.", id=operation.id),
        )
    action = services.catalog.action(operation.action)
    if action.pick is None:
        return None
    line = (
        line or f"{operation.origin.command} --pick {','.join(str(index + 1) for index in indexes)}"
    )
    channel = request.channel or operation.origin.channel
    origin = Origin(
        request.by,
        channel,
        line,
        request.key,
        operation.origin.reason,
        causes=operation.origin.causes,
    )
    intent = action.pick(operation.intent, operation.plan, indexes)
    found = propose.draft(
        services, action, intent, origin, replaces=operation.id, slot=operation.slot
    )
    return found if isinstance(found, Card) else _replace(services, operation, found, request.by)


def _replace(services: Services, old: Operation, new: Operation, by: str) -> Card | None:
    def decision(now: Operation) -> Sequence[Event] | Card:
        if now.instead == new.id:
            return ()
        return decide.not_open(now, old.digest) or (Replaced(services.clock.now(), by, new.id),)

    after = commit_decision(services, old.id, decision)
    if isinstance(after, Card):  # somebody decided on the old one meanwhile: it stands
        if new.state is State.PROPOSED:
            commit(services, new, Withdrawn(services.clock.now(), by))
        return after
    notify.tell_end(services, after)
    propose.lay_out(services, new)
    return operation_cards.proposed_note(new, services.slash)
