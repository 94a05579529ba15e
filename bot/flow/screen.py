"""Keeps every copy of an operation's message in line with its newest state."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any

import structlog

from bot.domain.card import Card
from bot.domain.errors import ChatError, DroverError, StoreError
from bot.domain.operation import Event, Operation, Progress
from bot.ports import Chat, MessageRef, Store

log = structlog.get_logger()

UNSAID = 1000  # while the chat fails, only the newest so many are kept

Draw = Callable[[Operation, Progress | None], Card]


class Screen:
    """Shows operations. State is reread under a lock, so an older state never overwrites a newer one.

    Args:
        store: where operations and their copies are kept.
        chat: where they are shown.
        draw: an operation's card.
    """

    def __init__(self, store: Store, chat: Chat, draw: Draw) -> None:
        self._store, self._chat, self._draw = store, chat, draw
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._progress: dict[str, Progress] = {}
        self._behind: set[str] = set()
        self._unkept: dict[str, tuple[MessageRef, ...]] = {}
        self._unsaid: deque[Callable[[], object]] = deque(maxlen=UNSAID)

    def post(self, operation_id: str, channel: str) -> MessageRef:
        """Show an operation in a channel for the first time, or find it there after a crash.

        Raises:
            ChatError: it could not be posted.
        """
        with self._locks[operation_id]:
            operation = self._store.operation(operation_id)
            known = [ref for ref in self._store.copies(operation_id) if ref.channel == channel]
            if known:
                return known[0]
            ref = self._chat.post(channel, self._draw(operation, None), key=operation_id)
            self._keep(operation_id, ref)
            return ref

    def show(self, operation_id: str) -> None:
        """Bring every copy up to date. A copy that fails is tried again by ``catch_up``; nobody waits for it."""
        with self._locks[operation_id]:
            operation = self._store.operation(operation_id)
            if operation.state.over:
                self._progress.pop(operation_id, None)
            card = self._draw(operation, self._progress.get(operation_id))
            for ref in self.copies(operation_id):
                self._update(operation_id, ref, card)

    def copies(self, operation_id: str) -> tuple[MessageRef, ...]:
        """Where an operation is shown, the oldest first, also where the database could not keep it yet."""
        return tuple(dict.fromkeys((*self._store.copies(operation_id), *self._unkept.get(operation_id, ()))))

    def progress(self, operation: Operation, progress: Progress) -> None:
        """Show how far a running operation is; coalesced, and never in the way of the work."""
        self._progress[operation.id] = progress
        card = self._draw(operation, progress)
        for ref in self.copies(operation.id):
            self._chat.later(ref, card)

    def surely(self, say: Callable[[], object]) -> None:
        """Say something in the chat, now or, when the chat fails, as soon as it can; ``say`` is safe to repeat."""
        try:
            say()
        except ChatError as error:
            log.warning("not said, will try again", error=str(error))
            self._unsaid.append(say)

    def catch_up(self) -> None:
        """Try again what could not be shown or said."""
        for operation_id, refs in tuple(self._unkept.items()):
            del self._unkept[operation_id]
            for ref in refs:
                self._keep(operation_id, ref)
        for operation_id in tuple(self._behind):
            self._behind.discard(operation_id)
            self.show(operation_id)
        for _ in range(len(self._unsaid)):
            self.surely(self._unsaid.popleft())

    def tell_plugins(self, hooks: Any, operation: Operation, event: Event) -> None:
        """Call ``operation_changed`` of every plugin, each on its own."""
        for implementation in hooks.operation_changed.get_hookimpls():
            names = implementation.argnames
            given = {"operation": operation, "event": event}
            try:
                implementation.function(*(given[name] for name in names))
            except Exception:  # a plugin's failure must not stop the operation; it is logged with its name
                log.exception("plugin failed in operation_changed", plugin=implementation.plugin_name)

    def _keep(self, operation_id: str, ref: MessageRef) -> None:
        """The message is there; that the database fails just now must not lose it out of sight."""
        try:
            self._store.keep_copy(operation_id, ref)
        except StoreError as error:
            log.warning("a message's place not kept, will try again", operation=operation_id, error=str(error))
            self._unkept[operation_id] = (*self._unkept.get(operation_id, ()), ref)

    def _update(self, operation_id: str, ref: MessageRef, card: Card) -> None:
        try:
            self._chat.update(ref, card)
        except DroverError as error:
            log.warning("message not updated, will try again", operation=operation_id, error=str(error))
            self._behind.add(operation_id)
