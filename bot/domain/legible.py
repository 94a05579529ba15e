"""Histories that cannot be read in full.

Of a plugin that is not loaded, or written by a newer Drover.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from bot.domain import codec
from bot.domain.codec import Unknown
from bot.domain.errors import DroverError
from bot.domain.message import Message, join, words
from bot.domain.operation import (
    Event,
    Operation,
    Origin,
    Proposed,
    Replanned,
    State,
    UnknownEvent,
    replay,
)
from bot.domain.plan import Plan, Risk
from bot.domain.policy import Ruling


def event_of(value: object, at: datetime, by: str) -> Event:
    """A stored event as the state machine takes it.

    ``UnknownEvent`` when what it says is not known.

    A plugin's intents and steps may be unknown: an operation has its states and votes whatever they
    are.
    """
    why = _not_readable(value)
    if not why and isinstance(value, Event):
        return value
    kind = value.kind if isinstance(value, Unknown) else type(value).__name__
    stored = value.stored if isinstance(value, Unknown) else codec.text(value)
    return UnknownEvent(at, by, kind, why or words("“{kind}” is no event", kind=kind), stored)


def _not_readable(value: object) -> Message:
    """Why an event is not readable; '' when it is."""
    if isinstance(value, Proposed) and isinstance(value.plan, Plan):
        value = replace(value, intent=None, plan=replace(value.plan, steps=()))
    elif isinstance(value, Replanned):
        value = replace(value, steps=())
    return next((each.why for each in codec.unknowns(value)), "")


def operation_of(
    operation_id: str, events: Sequence[Event], row: Mapping[str, object]
) -> Operation:
    """The operation that a history leaves.

    As far as its row tells it, when the history cannot be read in full.

    ``row``: ``version``, ``state`` and ``requester`` as they were stored beside the events.
    """
    unknown = next((each for each in events if isinstance(each, UnknownEvent)), None)
    why: Message = unknown.why if unknown is not None else ""
    if not why:
        try:
            return replay(operation_id, tuple(events))
        except DroverError as error:
            why = words(
                "its history cannot have happened: {error}",
                error=join((error.text, error.advice)),
            )
    return _shell(operation_id, events, row, why)


def _shell(
    operation_id: str, events: Sequence[Event], row: Mapping[str, Any], why: Message
) -> Operation:
    first = events[0]
    said = json.loads(first.stored) if isinstance(first, UnknownEvent) else codec.data(first)
    plan, origin = _table(said, "plan"), _table(said, "origin")
    known = row["state"] in {state.value for state in State}
    return Operation(
        id=operation_id,
        version=row["version"],
        state=State(row["state"]) if known else State.RUNNING,
        action=str(said.get("action", "")),
        intent=None,
        plan=Plan(_title(plan.get("title")), (), Risk.DESTRUCTIVE),
        ruling=Ruling(1, (), 0, "unknown"),
        origin=Origin(
            row["requester"], str(origin.get("channel", "")), str(origin.get("command", "")), ""
        ),
        proposed_at=first.at,
        expires_at=first.at,
        changed_at=events[-1].at,
        unreadable=why,
    )


def _title(stored: object) -> Message:
    """A plan's title, as far as it can be read."""
    try:
        return codec.message_of(stored)
    except DroverError:
        return words("An operation of another version")


def _table(said: Mapping[str, object], name: str) -> Mapping[str, Any]:
    found = said.get(name)
    return found if isinstance(found, Mapping) else {}


def unknown_parts(operation: Operation) -> Message:
    """Why nothing can be done with an operation here: what of it is not known.

    '' when all of it is.
    """
    if operation.unreadable:
        return operation.unreadable
    return next(
        (
            each.why
            for part in (operation.intent, operation.plan.steps)
            for each in codec.unknowns(part)
        ),
        "",
    )
