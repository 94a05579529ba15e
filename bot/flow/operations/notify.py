"""What people are told of an operation beside its message.

In its thread, and its requester directly.
"""

from __future__ import annotations

from bot.domain.card import Card
from bot.domain.operation import BOT, Operation
from bot.flow.context import Services
from bot.flow.operations import operation_cards


def tell_end(services: Services, operation: Operation) -> None:
    """Tell how it ended, once, across replicas and crashes."""
    tell_requester(
        services, operation, operation_cards.ended_note(operation), "end", f"told:{operation.id}"
    )


def tell_requester(
    services: Services, operation: Operation, note: Card, key: str, claim: str
) -> None:
    """Put a note into the thread and tell the requester.

    Once for each ``key``, and once for each ``claim``.
    """
    services.messages.note(operation, note, key)
    if operation.origin.by != BOT:
        services.messages.tell(operation.origin.by, note, claim)
