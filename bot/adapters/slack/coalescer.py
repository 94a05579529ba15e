"""Edits of messages: one queue for all, the urgent first.

Of several for one message only the last.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

import structlog

from bot.adapters.slack.api import TRIES, SlackLimitedError
from bot.adapters.slack.pacer import Pacer
from bot.domain.card import Card
from bot.domain.errors import ChatRefusedError, DroverError
from bot.domain.message import words
from bot.ports import MessageRef, Urgency
from bot.ports.chat import Lost, Shown

log = structlog.get_logger()

METHOD = "chat.update"
THREADS = 3  # an edit that hangs must not hold up the others
# Seconds between two edits of one message that are not final: what follows at once joins
BETWEEN = 1.0
# Seconds after a failure, doubled each time; an outage may be long
FIRST_REST, MOST_REST = 0.5, 60.0
# More messages may begin to change: room for their last words is kept early, up to so many
FORESIGHT, FORESEEN = 3, 30
MOVING = 600.0  # seconds after its last edit for which a message is expected to have a final one

Send = Callable[[MessageRef, Card, Urgency], None]


@dataclass(slots=True)
class _Wanted:
    """What a message is to show.

    ``kept``: until it is shown; else one failure, or a few for who waits, are enough.
    """

    card: Card
    urgency: Urgency
    kept: bool = False
    not_before: float = float("-inf")
    failures: int = 0
    shown: list[Shown] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)
    waiting: list[Future[None]] = field(default_factory=list)


class Coalescer:
    """Shows cards in messages.

    The final ones go first, then votes, then progress. Enough calls are kept free for the final
    edit of each message that is changing, so progress becomes slower the more of them there are.

    Args:
        send: edits a message, trying once, in a turn that was taken for it; may raise
            ``DroverError``.
        pacer: knows when the next edit may be made.
        every: seconds between two edits of one message that are progress, while it is the only one
            that changes.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        send: Send,
        pacer: Pacer,
        every: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._send = send
        self._pacer = pacer
        self._every = every
        self._clock = clock
        # Many threads put, one shows; it sleeps until something may be shown
        self._changed = threading.Condition()
        self._wanted: dict[MessageRef, _Wanted] = {}
        self._sending: set[MessageRef] = set()
        self._shown_at: dict[MessageRef, float] = {}
        self._cards: dict[MessageRef, Card] = {}  # as they were last shown
        self._moving: dict[MessageRef, float] = {}
        self._hurry = 0
        self._closed = False
        self._threads: list[threading.Thread] = []

    def now(self, ref: MessageRef, card: Card) -> None:
        """Show a card and wait until it, or a newer one, is shown.

        Raises:
            DroverError: as ``send`` does.
        """
        done: Future[None] = Future()
        self._put(ref, _Wanted(card, Urgency.FINAL, waiting=[done]))
        done.result()

    def later(
        self,
        ref: MessageRef,
        card: Card,
        urgency: Urgency,
        shown: Shown | None = None,
        lost: Lost | None = None,
    ) -> None:
        """Show a card soon, unless a newer one comes first."""
        kept = urgency is not Urgency.PROGRESS
        wanted = _Wanted(
            card, urgency, kept, shown=[shown] if shown else [], lost=[lost] if lost else []
        )
        self._put(ref, wanted)

    def flush(self, timeout: float | None = None) -> bool:
        """Show everything that waits, whatever was shown when.

        Whether all of it was within ``timeout`` seconds.
        """
        with self._changed:
            self._hurry += 1
            self._changed.notify_all()
            try:
                return self._changed.wait_for(
                    lambda: not self._wanted and not self._sending, timeout
                )
            finally:
                self._hurry -= 1

    def close(self, timeout: float = 10.0) -> None:
        """Show what waits as long as there is time, and end the threads.

        What is left is said in the log.
        """
        until = time.monotonic() + timeout
        if not self.flush(timeout):
            log.warning("not everything was shown before the end", messages=len(self._wanted))
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(max(0.1, until - time.monotonic()))

    def _put(self, ref: MessageRef, new: _Wanted) -> None:
        with self._changed:
            if self._closed:
                for each in new.waiting:
                    each.set_exception(ChatRefusedError(words("The bot is stopping.")))
                return
            self._note_moving(ref, new.urgency)
            self._wanted[ref] = _join(self._wanted.get(ref), new)
            same = self._same(ref)
            while len(self._threads) < THREADS:
                self._threads.append(
                    threading.Thread(target=self._run, name="slack-edits", daemon=True)
                )
                self._threads[-1].start()
            self._changed.notify_all()
        if same is not None:
            _tell(same, None)

    def _same(self, ref: MessageRef) -> _Wanted | None:
        """What is wanted of a message that shows it already, taken back.

        Slack counts every edit.
        """
        wanted = self._wanted.get(ref)
        if (
            wanted is None
            or wanted.waiting
            or ref in self._sending
            or self._cards.get(ref) != wanted.card
        ):
            return None
        return self._wanted.pop(ref)

    def _note_moving(self, ref: MessageRef, urgency: Urgency) -> None:
        now = self._clock()
        if urgency is Urgency.FINAL:
            self._moving.pop(ref, None)
        else:
            self._moving[ref] = now
        self._moving = {each: at for each, at in self._moving.items() if now - at < MOVING}
        moving = len(self._moving)
        self._pacer.reserve(METHOD, max(moving, min(moving * FORESIGHT, FORESEEN)))

    def _run(self) -> None:
        while True:
            with self._changed:
                while (ref := self._next()) is None:
                    if self._closed:
                        return
                    self._changed.wait(self._rest())
                wanted = self._wanted.pop(ref)
                self._sending.add(ref)
            self._show(ref, wanted)

    def _next(self) -> MessageRef | None:
        """The message whose turn it is, the turn taken.

        The most urgent that is due, then the longest not shown.
        """
        now = self._clock()
        due = [
            ref
            for ref, each in self._wanted.items()
            if ref not in self._sending and self._due(ref, each) <= now
        ]
        for ref in sorted(
            due, key=lambda each: (self._wanted[each].urgency, self._shown_at.get(each, 0.0))
        ):
            if self._pacer.take(METHOD, urgency=self._wanted[ref].urgency):
                return ref
        return None

    def _rest(self) -> float | None:
        """Seconds until something may be due; None when nothing waits."""
        now = self._clock()
        waits = [
            max(self._due(ref, each) - now, self._pacer.until(METHOD, urgency=each.urgency), 0.01)
            for ref, each in self._wanted.items()
            if ref not in self._sending
        ]
        return min(waits, default=None)

    def _due(self, ref: MessageRef, wanted: _Wanted) -> float:
        if wanted.urgency is Urgency.FINAL or self._hurry:
            return wanted.not_before
        progress = wanted.urgency is Urgency.PROGRESS
        pause = self._every * max(len(self._moving), 1) if progress else min(BETWEEN, self._every)
        return max(self._shown_at.get(ref, float("-inf")) + pause, wanted.not_before)

    def _show(self, ref: MessageRef, wanted: _Wanted) -> None:
        fault: Exception | None = None
        try:
            self._send(ref, wanted.card, wanted.urgency)
        except DroverError as error:
            fault = error
        except Exception as error:  # the thread must outlive a faulty card; whoever waits is told
            log.exception("a message cannot be edited", channel=ref.channel, ts=ref.ts)
            fault = ChatRefusedError(
                words("The message cannot be shown: {reason}", reason=str(error))
            )
            fault.__cause__ = error
        again = fault is not None and self._try_again(ref, wanted, fault)
        if not again:
            _tell(wanted, fault)
        with self._changed:
            now = self._clock()
            self._shown_at[ref] = now
            self._cards.pop(ref, None)
            if fault is None:
                self._cards[ref] = wanted.card
            if len(self._cards) > 1000:
                del self._cards[next(iter(self._cards))]
            if len(self._shown_at) > 1000:
                self._shown_at = {
                    each: at for each, at in self._shown_at.items() if now - at < MOVING
                }
            self._sending.discard(ref)
            same = self._same(ref)
            self._changed.notify_all()
        if same is not None:
            _tell(same, None)

    def _try_again(self, ref: MessageRef, wanted: _Wanted, fault: Exception) -> bool:
        """Put what failed back, behind what came meanwhile; whether it was."""
        if isinstance(fault, ChatRefusedError) and getattr(fault, "for_good", True):
            log.info(
                "a message cannot be edited any more",
                channel=ref.channel,
                ts=ref.ts,
                error=str(fault),
            )
            return False
        limited = isinstance(fault, SlackLimitedError)
        wanted.failures += 0 if limited else 1
        if not (wanted.kept or (wanted.waiting and wanted.failures < TRIES) or limited):
            log.warning("progress not shown", channel=ref.channel, ts=ref.ts, error=str(fault))
            return False
        # Shown some time, but nobody waits for it any more
        if wanted.waiting and wanted.failures >= TRIES:
            for each in wanted.waiting:
                each.set_exception(fault)
            wanted.waiting = []
        rest = 0.0 if limited else min(MOST_REST, FIRST_REST * 2 ** min(wanted.failures - 1, 10))
        log.info(
            "message not shown yet, will try again",
            channel=ref.channel,
            ts=ref.ts,
            error=str(fault),
        )
        with self._changed:
            wanted.not_before = self._clock() + self._pacer.rest(rest)
            newer = self._wanted.get(ref)
            self._wanted[ref] = wanted if newer is None else _join(wanted, newer)
        return True


def _join(old: _Wanted | None, new: _Wanted) -> _Wanted:
    """The newer card with everything that was promised of the older.

    A pause after a failure holds.
    """
    if old is None:
        return new
    return _Wanted(
        new.card,
        min(old.urgency, new.urgency),
        old.kept or new.kept,
        old.not_before,
        old.failures,
        [*old.shown, *new.shown],
        new.lost or old.lost,
        [*old.waiting, *new.waiting],
    )


def _tell(wanted: _Wanted, fault: Exception | None) -> None:
    """Tell whoever wants to know how it ended; a fault of theirs must not end the thread."""
    for each in wanted.waiting:
        each.set_result(None) if fault is None else each.set_exception(fault)
    called: list[Callable[[], None]] = list(wanted.shown) if fault is None else []
    if isinstance(fault, ChatRefusedError):
        refused = fault
        called = [lambda tell=tell: tell(refused) for tell in wanted.lost]  # type: ignore[misc]
    for call in called:
        try:
            call()
        except Exception:  # what they do with it is their own; it is logged whole
            log.exception("after an edit")
