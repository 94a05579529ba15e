"""Threads that may be lost: a call that never returns costs one of them and delays nobody else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class Workers:
    """At most ``size`` daemon threads, started when first needed.

    Not a ``ThreadPoolExecutor``: that one joins its threads when Python exits, for ever when one is
    stuck.
    """

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._queue: SimpleQueue[tuple[Future[Any], Callable[[int], Any]] | None] = SimpleQueue()
        # Threads tell when a call began; others ask how long it lasts
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._pending = 0
        self._since: dict[int, float] = {}
        self._last: Callable[[int], object] = lambda _: None

    def submit(self, call: Callable[[int], T]) -> Future[T]:
        """Have ``call`` made by the next free thread; it is handed the thread's number, from 0."""
        future: Future[T] = Future()
        with self._lock:
            self._pending += 1
            if len(self._threads) < min(self._size, self._pending):
                self._start()
        self._queue.put((future, call))
        return future

    def longest_call(self, patience: float) -> float | None:
        """Seconds the longest call has lasted.

        When every thread is at one for longer than ``patience`` seconds.
        """
        waits = self._waits()
        return (
            max(waits.values())
            if len(waits) == self._size and min(waits.values()) > patience
            else None
        )

    def end(self, last: Callable[[int], object], patience: float) -> bool:
        """Have every thread make one ``last`` call, with its number, and end.

        Whether all did in ``patience`` seconds.

        A thread whose present call has lasted longer than that is not waited for: it ends when that
        call returns.
        """
        until = time.monotonic() + patience
        self._last = last
        for _ in self._threads:
            self._queue.put(None)
        waits = self._waits()
        for number, thread in enumerate(self._threads):
            if waits.get(number, 0.0) <= patience:
                thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _start(self) -> None:
        number = len(self._threads)
        thread = threading.Thread(
            target=self._work, args=(number,), name=f"{self._name}-{number + 1}", daemon=True
        )
        self._threads.append(thread)
        thread.start()

    def _waits(self) -> dict[int, float]:
        """For how long each thread that is at a call has been at it, by number, in seconds."""
        now = time.monotonic()
        with self._lock:
            return {number: now - since for number, since in self._since.items()}

    def _work(self, number: int) -> None:
        while (task := self._queue.get()) is not None:
            future, call = task
            if future.set_running_or_notify_cancel():
                with self._lock:
                    self._since[number] = time.monotonic()
                self._make(future, call, number)
            with self._lock:
                self._since.pop(number, None)
                self._pending -= 1
        self._last(number)

    @staticmethod
    def _make(future: Future[object], call: Callable[[int], Any], number: int) -> None:
        try:
            future.set_result(call(number))
        except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that asked
            future.set_exception(error)
