"""Break glass: named people act with fewer votes while Slack does not answer.

Everybody is told.

It is for one proposed operation, of commands that the configuration names. It takes a reason and a
typed sentence that names the plan, is an event of the audit trail, and ends by itself: what has not
begun by then takes the votes of the rules again. While Slack answers it is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from bot.domain import policy as policies
from bot.domain.card import Card
from bot.domain.message import Duration, words
from bot.domain.operation import (
    BOT,
    Approved,
    Event,
    GlassBroken,
    Operation,
    RulingChanged,
    State,
    advance,
)
from bot.domain.policy import MayNot
from bot.flow.context import Services, keep_attempt
from bot.flow.operations import current_rules, operation_cards, scheduled
from bot.flow.operations.decision import commit_decision
from bot.ports import Request
from bot.ports.chat import TERMINAL

LEAST_REASON = 10  # characters


@dataclass(frozen=True, slots=True)
class BreakGlass:
    """What the configuration lets be done while Slack does not answer.

    Attributes:
        people: who may, by user id.
        commands: for which commands, as shell patterns.
        votes: how many votes it then takes.
        after: seconds for which Slack must have been out of reach.
        lasts: seconds after which the rules' votes are asked for again.
        silence: seconds for which nobody's requests arrived from Slack.
        answers: asks Slack at this moment.
    """

    people: frozenset[str]
    commands: tuple[str, ...]
    votes: int
    after: float
    lasts: float
    silence: Callable[[], float]
    answers: Callable[[], bool]


def sentence(operation: Operation) -> str:
    """What has to be typed: it names the operation and the plan that was seen."""
    # no message: it is typed, the same in every language
    return f"break glass for {operation.id} {operation.plan.digest[:8]}"


def break_glass(
    services: Services,
    glass: BreakGlass | None,
    operation_id: str,
    by: str,
    *,
    reason: str,
    typed: str,
) -> Operation | Card:
    """Ask for fewer votes for a proposed operation; why not, as a card.

    Raises:
        UnknownNameError: no such operation.
    """
    operation = services.store.operation(operation_id)
    refusal = _refusal(services, glass, operation, by)
    if refusal is None and glass is not None:
        refusal = _not_confirmed(operation, reason, typed)
        if refusal is None:
            return _break(services, glass, operation, by, reason.strip())
    card = refusal or operation_cards.note_card(NOT_CONFIGURED)
    if card.refused:
        line = f"break-glass {operation.id}"
        request = Request("", "command", by, services.clock.now(), text=line, via=TERMINAL)
        keep_attempt(services, request, card)
    return card


NOT_CONFIGURED = words("`[break_glass]` is not configured.")


def _refusal(
    services: Services, glass: BreakGlass | None, operation: Operation, by: str
) -> Card | None:
    """Why this person may not break glass for this operation now."""
    if glass is None or by not in glass.people:
        said = words("You may not break glass.")
        advice = words("`[break_glass]` in the configuration names who may.")
        return replace(operation_cards.note_card(said, advice), refused=True)
    if not policies.matches(glass.commands, operation.action):
        said = words("Glass may not be broken for `{command}`.", command=operation.action)
        advice = words("`[break_glass]` in the configuration names the commands.")
        return replace(operation_cards.note_card(said, advice), refused=True)
    if operation.state is not State.PROPOSED:
        return operation_cards.settled_card(operation)
    if glass.silence() < glass.after or glass.answers():
        return operation_cards.note_card(
            words("Slack answers, or did less than {after} ago.", after=Duration(glass.after)),
            words("Ask for the votes in Slack, or in the terminal."),
        )
    why = services.catalog.unable(operation)
    return operation_cards.unable_card(operation, why) if why else None


def _not_confirmed(operation: Operation, reason: str, typed: str) -> Card | None:
    if len(reason.strip()) < LEAST_REASON:
        return operation_cards.note_card(
            words("A reason is needed: a sentence that everybody will read."),
            words("Give it with `--reason`."),
        )
    if " ".join(typed.split()) != sentence(operation):
        return operation_cards.note_card(
            words("The confirmation is not “{sentence}”.", sentence=sentence(operation)),
            words("Look at the plan, then type exactly that."),
        )
    return None


def _break(
    services: Services, glass: BreakGlass, seen: Operation, by: str, reason: str
) -> Operation | Card:
    def decision(operation: Operation) -> Sequence[Event] | Card:
        now = services.clock.now()
        if operation.state is not State.PROPOSED or now >= operation.expires_at:
            return operation_cards.settled_card(operation)
        if operation.plan.digest != seen.plan.digest:
            return operation_cards.note_card(words("The plan has changed. Look at it again."))
        until = now + timedelta(seconds=glass.lasts)
        event = GlassBroken(now, by, reason, glass.votes, until)
        today = current_rules.ruling_of(services, advance(operation, event), operation.plan)
        if isinstance(today, MayNot):
            return operation_cards.not_now_card(operation, today.text)
        good = current_rules.valid_votes(services, operation, today)
        events: list[Event] = [event, RulingChanged(now, BOT, today, good)]
        if len(good) >= today.votes:
            events.append(Approved(now, by))
        return events

    after = commit_decision(services, seen.id, decision)
    if isinstance(after, Operation):
        tell(services, after)
        if after.state is State.APPROVED:
            scheduled.hand_over(services, after)
    return after


def tell(services: Services, operation: Operation) -> None:
    """Tell the channels and every approver, once, as soon as it can be; safe to repeat."""
    if operation.glass is None or operation.unreadable:
        return
    if services.places.ops:
        services.messages.post(operation.id, services.places.ops)
    note = Card(
        text=operation_cards.id_line(operation, words("break glass")),
        elements=tuple(operation_cards.glass_lines(operation)),
    )
    services.messages.note(operation, note, "glass")
    for person in _approvers(services, operation):
        services.messages.tell(person, note, f"glass:{operation.id}:{person}")


def _approvers(services: Services, operation: Operation) -> tuple[str, ...]:
    """Everybody with a role that may approve it by id; a user group is told by the channel."""
    roles = (*operation.ruling.approvers, *operation.ruling.fallback)
    people = {
        user for name in roles if name in services.roles for user in services.roles[name].users
    }
    people.discard(operation.glass.by if operation.glass is not None else "")
    return tuple(sorted(each for each in people if each[:1] in ("U", "W")))
