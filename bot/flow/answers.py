"""Answers to requests that did not come from the chat, handed to whoever waits for them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from bot.domain.card import Card

log = structlog.get_logger()

Cards = queue.SimpleQueue[Card | None]
"""The answers of one request; None: it is handled, and nothing more comes."""


class Answers:
    """Cards by the key of the request that they answer. Safe to share by threads.

    A card that nobody waits for is dropped: who asked has gone, and `ops` shows what became of it.
    """

    def __init__(self) -> None:
        # Callers wait on threads of their own; workers bring their answers
        self._lock = threading.Lock()
        self._waiting: dict[str, Cards] = {}

    @contextmanager
    def expect(self, key: str) -> Iterator[Cards]:
        """Wait for a request's answers, from before it is stored."""
        cards: Cards = queue.SimpleQueue()
        with self._lock:
            self._waiting[key] = cards
        try:
            yield cards
        finally:
            with self._lock:
                self._waiting.pop(key, None)

    def give(self, key: str, card: Card) -> None:
        """Answer a request."""
        self._put(key, card)

    def end(self, key: str) -> None:
        """Say that a request is handled."""
        self._put(key, None)

    def _put(self, key: str, card: Card | None) -> None:
        with self._lock:
            cards = self._waiting.get(key)
        if cards is not None:
            cards.put(card)
        elif card is not None:
            log.info("nobody waits for this answer any more", key=key, text=str(card.text))
