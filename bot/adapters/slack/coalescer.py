"""Edits of messages in the right order: progress coalesced, the last one always shown, final ones at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from bot.domain.card import Card
from bot.domain.errors import DroverError
from bot.ports import MessageRef

log = structlog.get_logger()


@dataclass(slots=True)
class _Line:
    """The edits of one message that are under way."""

    turn: threading.Lock = field(default_factory=threading.Lock)
    newest: int = 0
    inside: int = 0


@dataclass(frozen=True, slots=True)
class Edit:
    """One edit under way: hold ``turn`` while sending; when no longer ``wanted``, a newer edit has begun."""

    line: _Line
    number: int

    @property
    def turn(self) -> threading.Lock:
        """Held while sending, so that an older edit cannot land after a newer one."""
        return self.line.turn

    def wanted(self) -> bool:
        """Whether this is still the newest."""
        return self.line.newest == self.number


Send = Callable[[MessageRef, Card, Edit], None]


class Coalescer:
    """Shows cards in messages: ``now`` at once, ``later`` at most once in ``every`` seconds a message.

    A ``now`` drops what was to come ``later``, and an older edit that is waiting (for a rate limit, say) gives up.

    Args:
        send: edits a message; may raise ``DroverError``.
        every: seconds between two edits of one message that came by ``later``.
        clock: seconds, monotonic.
    """

    def __init__(self, send: Send, every: float = 2.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._send = send
        self._every = every
        self._clock = clock
        self._changed = threading.Condition()
        self._pending: dict[MessageRef, Card] = {}
        self._lines: dict[MessageRef, _Line] = {}
        self._shown_at: dict[MessageRef, float] = {}
        self._closed = False
        self._thread: threading.Thread | None = None

    def now(self, ref: MessageRef, card: Card) -> None:
        """Show a card at once; whatever ``send`` raises."""
        with self._changed:
            self._pending.pop(ref, None)
            edit = self._begin(ref)
        self._carry_out(ref, card, edit)

    def later(self, ref: MessageRef, card: Card) -> None:
        """Show a card soon, unless a newer one comes first. After ``close`` it is shown at once."""
        with self._changed:
            self._pending[ref] = card
            if not self._closed and self._thread is None:
                self._thread = threading.Thread(target=self._run, name="slack-progress", daemon=True)
                self._thread.start()
            self._changed.notify_all()
            closed = self._closed
        if closed:
            self.flush()

    def flush(self) -> None:
        """Show everything that waits, and wait for the edits under way."""
        while (taken := self._take(due_only=False)) is not None:
            self._show(*taken)
        with self._changed:
            self._changed.wait_for(lambda: not self._lines)

    def close(self) -> None:
        """Show what waits and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        self.flush()

    def _run(self) -> None:
        while not self._closed:
            taken = self._take(due_only=True)
            if taken is not None:
                self._show(*taken)
                continue
            with self._changed:
                if not self._closed:
                    self._changed.wait(self._until_due())

    def _take(self, *, due_only: bool) -> tuple[MessageRef, Card, Edit] | None:
        """The pending card that is due soonest, its edit begun in the same breath."""
        with self._changed:
            if not self._pending:
                return None
            ref = min(self._pending, key=self._due)
            if due_only and self._due(ref) > self._clock():
                return None
            return ref, self._pending.pop(ref), self._begin(ref)

    def _due(self, ref: MessageRef) -> float:
        return self._shown_at.get(ref, float("-inf")) + self._every

    def _until_due(self) -> float | None:
        """Seconds until something is due; None when nothing waits."""
        now = self._clock()
        self._shown_at = {ref: at for ref, at in self._shown_at.items() if at + self._every > now}
        return max(min(map(self._due, self._pending)) - now, 0.0) if self._pending else None

    def _begin(self, ref: MessageRef) -> Edit:
        line = self._lines.setdefault(ref, _Line())
        line.inside += 1
        line.newest += 1
        return Edit(line, line.newest)

    def _carry_out(self, ref: MessageRef, card: Card, edit: Edit) -> None:
        try:
            self._send(ref, card, edit)
        finally:
            with self._changed:
                self._shown_at[ref] = self._clock()
                edit.line.inside -= 1
                if not edit.line.inside:
                    del self._lines[ref]
                self._changed.notify_all()

    def _show(self, ref: MessageRef, card: Card, edit: Edit) -> None:
        try:
            self._carry_out(ref, card, edit)
        except DroverError as error:
            log.warning("progress not shown", channel=ref.channel, ts=ref.ts, error=str(error))
        except Exception:  # the thread must outlive a faulty card; the next one is shown
            log.exception("progress not shown", channel=ref.channel, ts=ref.ts)
