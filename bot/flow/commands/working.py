"""A word to who asked that work goes on, and how far it is, when an answer takes its time."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from bot.domain.card import Card, Section
from bot.domain.message import Code, Words, nwords, words
from bot.flow.context import Services, whisper
from bot.ports import Request

EVERY = 15.0  # seconds until it is said again, and then ever less often


class Working:
    """Says while an answer is made that it is being made: after ``services.working_after`` seconds.

    Nothing is said once the answer is there.
    """

    def __init__(self, services: Services, request: Request, command: str) -> None:
        self._services = services
        self._request = request
        self._command = command
        self._over = threading.Event()
        # “Still working” is never said after the answer
        self._lock = threading.Lock()
        self._counted = (0, 0)

    def __enter__(self) -> Self:
        if self._services.working_after > 0:
            threading.Thread(target=self._watch, name="working", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:  # what is being said now comes before the answer
            self._over.set()

    def count(self, done: int, of: int) -> None:
        """Note that so many of so many hosts, or directions between them, were looked at."""
        self._counted = (done, of)

    def _watch(self) -> None:
        rest = self._services.working_after
        while not self._over.wait(rest):
            with self._lock:
                if self._over.is_set():
                    return
                text = self._text()
                whisper(self._services, self._request, Card(text, elements=(Section(text),)))
            # A channel without the bot takes five answers to one command
            rest = EVERY if rest < EVERY else rest * 3

    def _text(self) -> Words:
        done, of = self._counted
        line = Code(f"{self._services.slash} {self._command}")
        if not of:
            return words("Working on {command}. The answer follows.", command=line)
        return nwords(
            "Working on {command}: {done} of {n} look is done. The answer follows.",
            "Working on {command}: {done} of {n} looks are done. The answer follows.",
            n=of,
            command=line,
            done=done,
        )
