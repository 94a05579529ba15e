"""Operations run to their end, once each, across crashes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from bot.domain.operation import Operation

Perform = Callable[[str], None]
"""Performs the operation of this id; safe to repeat after a crash."""


class Work(Protocol):
    """Runs operations to their end, once each, across crashes."""

    def enqueue(self, operation: Operation) -> None:
        """See that the operation is performed; repeating it is harmless."""
        ...
