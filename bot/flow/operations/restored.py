"""After the database was restored from a backup: what was decided since is not known.

So nothing that was approved in it begins or goes on without a fresh vote, and the audit trail says
why.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from bot.domain.card import Card, Section
from bot.domain.message import Code, Message, Words, nwords, words
from bot.domain.operation import (
    BOT,
    MOST_OPEN,
    Event,
    Expired,
    Held,
    Noted,
    Operation,
    RulingChanged,
    State,
    WentStale,
)
from bot.domain.plan import Objection
from bot.flow.context import OPEN, Services
from bot.flow.operations import operation_cards
from bot.flow.operations.decision import commit_decision

RESTORED = "restored"


def distrust(services: Services, position: int, lost: int) -> None:
    """Take no old vote for granted, note it in the audit trail and tell it where alerts go.

    Safe to repeat. Call it before anything that a crash left is taken up.

    Args:
        services: the bot's.
        position: the last event that the database has.
        lost: events that are known to be missing.
    """
    why = restored_text(position, lost)
    mark = f"{RESTORED}-{position}-{lost}"
    for operation in services.store.operations(states=OPEN, limit=MOST_OPEN):
        if not operation.unreadable:
            commit_decision(services, operation.id, partial(_events, services, mark, why))
    for newest in services.store.operations(limit=1):
        if not newest.unreadable:
            commit_decision(services, newest.id, partial(_note, services, mark, why))
    place = services.places.ops or services.places.approvals
    card = restored_card(why, services.slash)
    services.messages.say(place, lambda: services.chat.post(place, card, key=mark))


def _events(
    services: Services, mark: str, why: Message, operation: Operation
) -> Sequence[Event] | Card:
    if operation.state.over or mark in operation.marks:
        return operation_cards.settled_card(operation)
    now = services.clock.now()
    note = Noted(now, BOT, why, mark)
    if operation.state is State.APPROVED:
        again = words("Press Propose again if it is still wanted.")
        return (note, WentStale(now, BOT, (Objection(RESTORED, why, again),)))
    if operation.state is State.PROPOSED and not operation.ruling.votes:
        return (note, Expired(now, BOT))
    anew = (RulingChanged(now, BOT, operation.ruling),) if operation.votes else ()
    held = (Held(now, BOT, why),) if operation.state is State.RUNNING and not operation.held else ()
    return (note, *held, *anew)


def _note(
    services: Services, mark: str, why: Message, operation: Operation
) -> Sequence[Event] | Card:
    if mark in operation.marks:
        return operation_cards.settled_card(operation)
    return (Noted(services.clock.now(), BOT, why, mark),)


def restored_text(position: int, lost: int) -> Words:
    """What is known of what is missing."""
    return nwords(
        "The database was restored from a backup: it ends at event {position}, and at least {n} "
        "event after that is missing.",
        "The database was restored from a backup: it ends at event {position}, and at least {n} "
        "events after that are missing.",
        n=lost,
        position=str(position),
    )


def restored_card(why: Message, slash: str) -> Card:
    """Told where alerts go."""
    title = words("The database was restored from a backup")
    advice = words(
        "What was approved in it takes a new vote; what was running waits for a person. Look "
        "through {command}: what was cancelled since the backup must be cancelled again.",
        command=Code(f"{slash} ops"),
    )
    return Card(title, title, (Section(why), Section(advice)))
