"""What the steps of a running operation have to tell.

And what they ask of the core, while they work.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from threading import Lock

from bot.domain.cluster import Job
from bot.domain.message import Message
from bot.domain.operation import BOT, Ask, Noted, Operation, Progress
from bot.flow.context import Services, record


class OperationProgress:
    """What the steps of one operation have to tell, shown as one. Safe to share by threads."""

    def __init__(self, services: Services, operation_id: str) -> None:
        self._services, self._id = services, operation_id
        self._parts: dict[int, Progress] = {}
        self._line: Message = ""
        self._lock = Lock()

    def put(self, index: int, progress: Progress) -> None:
        """Show how far a step is."""
        with self._lock:
            self._parts[index] = progress
            self._show()

    def finish(self, index: int) -> None:
        """A step has nothing more to tell."""
        with self._lock:
            self._parts.pop(index, None)

    def say(self, line: Message) -> None:
        """Show a line of the operation itself, until the next one; '' takes it away."""
        with self._lock:
            if line != self._line:
                self._line = line
                self._show()

    def _show(self) -> None:
        parts = [self._parts[index] for index in sorted(self._parts)]
        if self._line or not parts:
            parts.insert(0, Progress(text=self._line, asks=frozenset({Ask.CANCEL})))
        asks = frozenset[Ask]().union(*(part.asks for part in parts))
        whole = replace(parts[0], asks=asks, beside=tuple(parts[1:]))
        self._services.messages.progress(self._id, whole)


@dataclass(frozen=True, slots=True)
class StepProgress:
    """The ``Progress`` port of one step of a running operation."""

    services: Services
    operation: Operation
    overall: OperationProgress
    index: int

    def report(self, job: Job, asks: Collection[Ask] = ()) -> None:
        """Show a job's progress."""
        self._show(Progress(job=job, asks=frozenset(asks)))

    def say(self, text: Message) -> None:
        """Show a line."""
        self._show(Progress(text=text, asks=frozenset({Ask.CANCEL})))

    def note(self, text: Message) -> None:
        """Put a line into the audit trail."""
        record(self.services, self.operation.id, Noted(self.services.clock.now(), BOT, text))

    def asks(self) -> frozenset[Ask]:
        """What people have asked so far."""
        return self.services.store.operation(self.operation.id).asked

    def sleep(self, seconds: float) -> None:
        """Wait, by the core's clock."""
        self.services.clock.sleep(seconds)

    def _show(self, progress: Progress) -> None:
        self.overall.put(
            self.index, replace(progress, title=self.operation.plan.steps[self.index].title)
        )
