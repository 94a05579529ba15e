"""Decisions on the newest state of an operation, stored by compare-and-swap."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bot.domain.card import Card
from bot.domain.errors import ConflictError
from bot.domain.message import words
from bot.domain.operation import Event, Operation
from bot.flow.context import Services, commit
from bot.flow.operations import operation_cards

Decision = Callable[[Operation], Sequence[Event] | Card]
"""What an operation as it is now takes: events to commit, or what to tell the person instead."""

TRIES = 12  # lost races before giving up; each means that somebody else's decision was stored


def commit_decision(services: Services, operation_id: str, decision: Decision) -> Operation | Card:
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
