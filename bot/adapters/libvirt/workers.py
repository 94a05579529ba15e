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

    Not a ``ThreadPoolExecutor``: that one joins its threads when Python exits, for ever when one is stuck.
    """

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._queue: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._pending = 0
        self._since: dict[int, float] = {}

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Have ``call`` made by the next free thread."""
        future: Future[T] = Future()
        with self._lock:
            self._pending += 1
            if self._threads < min(self._size, self._pending):
                self._threads += 1
                name = f"{self._name}-{self._threads}"
                threading.Thread(target=self._work, args=(self._threads,), name=name, daemon=True).start()
        self._queue.put((future, call))
        return future

    def stuck(self, patience: float) -> float | None:
        """Seconds the longest call has lasted, when every thread is at one for longer than ``patience`` seconds."""
        now = time.monotonic()
        with self._lock:
            waits = [now - since for since in self._since.values()]
        return max(waits) if len(waits) == self._size and min(waits) > patience else None

    def end(self) -> None:
        """Let every thread end after the call it is at."""
        for _ in range(self._size):
            self._queue.put(None)

    def _work(self, number: int) -> None:
        while (task := self._queue.get()) is not None:
            future, call = task
            if future.set_running_or_notify_cancel():
                with self._lock:
                    self._since[number] = time.monotonic()
                self._make(future, call)
            with self._lock:
                self._since.pop(number, None)
                self._pending -= 1

    @staticmethod
    def _make(future: Future[Any], call: Callable[[], Any]) -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that asked
            future.set_exception(error)
