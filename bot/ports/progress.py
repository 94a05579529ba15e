"""What a step's handler tells while it works, and what people ask of it meanwhile."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from bot.domain.cluster import Job
from bot.domain.message import Message
from bot.domain.operation import Ask


class Progress(Protocol):
    """What a step's handler tells while it works, and what people have asked of it meanwhile."""

    def report(self, job: Job, asks: Collection[Ask] = ()) -> None:
        """Show a job's progress; ``asks`` is what may be asked right now.

        Cheap: call it as often as you like.
        """
        ...

    def say(self, text: Message) -> None:
        """Show a line of progress that is not a job's."""
        ...

    def note(self, text: Message) -> None:
        """Put a line into the audit trail."""
        ...

    def asks(self) -> frozenset[Ask]:
        """What people have asked of this operation so far."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait, by the core's clock."""
        ...
