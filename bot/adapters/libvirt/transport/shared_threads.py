"""A few threads for the calls to all hosts: a call that hangs takes no other call's place."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

Call = Callable[[], None]

_log = logging.getLogger(__name__)

_SIZE = 16  # calls at once: hosts answer in milliseconds, and threads take memory
_GRACE = 0.5  # seconds after which a call may be one that hangs, and another thread takes its place
_LEAST = 0.005  # seconds: timers that are this near are one look, and it never spins
_UNUSED = 30.0  # seconds after which a thread that has nothing to do ends


class SharedThreads:
    """Daemon threads that make calls in the order in which they came. Safe to share by threads.

    At most ``size`` of them are at calls that are younger than ``grace`` seconds: whatever hangs
    longer keeps its thread, and another one goes on with what waits. Not a
    ``ThreadPoolExecutor``: that one joins its threads when Python exits, for ever when one hangs.

    Args:
        name: of the threads.
        size: how many calls are made at once, beside those that hang.
        grace: seconds.
    """

    def __init__(self, name: str, size: int = _SIZE, grace: float = _GRACE) -> None:
        self._name = name
        self._size = size
        self._grace = grace
        # One lock for queue, threads and timers: a thread takes a call and counts as busy at once
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._timed = threading.Condition(self._lock)
        self._waiting: deque[Call] = deque()
        self._since: dict[int, float] = {}
        self._free = 0
        self._numbers: Iterator[int] = itertools.count(1)
        self._timers: list[tuple[float, int, Call]] = []
        self._watching = False

    def put(self, call: Call) -> None:
        """Have a call made by the next free thread; it must not raise."""
        with self._lock:
            self._waiting.append(call)
            self._staff()
            self._work.notify()
            if len(self._waiting) > self._free:
                self._watch()

    def later(self, seconds: float, call: Call) -> None:
        """Have a call that is quick made after so many seconds."""
        with self._lock:
            heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._numbers), call))
            self._watch()

    def _staff(self) -> None:
        """Start threads for what waits, as many as there may be."""
        now = time.monotonic()
        at_work = sum(now - since <= self._grace for since in self._since.values())
        while self._free < len(self._waiting) and at_work + self._free < self._size:
            self._free += 1
            name = f"{self._name}-{next(self._numbers)}"
            threading.Thread(target=self._run, name=name, daemon=True).start()

    def _run(self) -> None:
        while (call := self._next()) is not None:
            try:
                call()
            except Exception:  # noqa: BLE001 - the thread outlives it; who asked sees their own
                _log.exception("a call of %s failed", self._name)
            with self._lock:
                self._since.pop(threading.get_ident())
                self._free += 1

    def _next(self) -> Call | None:
        """What to do next; None when this thread is not needed any more."""
        with self._lock:
            found = self._work.wait_for(lambda: self._waiting, _UNUSED)
            if not found or self._is_surplus():
                self._free -= 1
                self._work.notify()  # the wake-up that came here is another one's
                return None
            self._free -= 1
            self._since[threading.get_ident()] = time.monotonic()
            call = self._waiting.popleft()
            if len(self._waiting) > self._free:
                self._watch()  # this call may hang while others wait
            return call

    def _is_surplus(self) -> bool:
        """Whether others took this thread's place while its call hung."""
        now = time.monotonic()
        at_work = sum(now - since <= self._grace for since in self._since.values())
        return at_work + self._free > self._size

    def _watch(self) -> None:
        """See to it that somebody looks at timers, and at calls that hang while others wait."""
        if self._watching:
            self._timed.notify()
            return
        self._watching = True
        threading.Thread(target=self._look, name=f"{self._name}-timers", daemon=True).start()

    def _look(self) -> None:
        while True:
            with self._lock:
                rest = self._rest()
                self._timed.wait(_UNUSED if rest is None else rest)
                if rest is None and not (self._timers or self._waiting):
                    self._watching = False
                    return
                now, due = time.monotonic(), []
                while self._timers and self._timers[0][0] <= now:
                    due.append(heapq.heappop(self._timers)[2])
                self._staff()
            for call in due:
                call()

    def _rest(self) -> float | None:
        """Seconds until there may be something to do; None when nothing is foreseen."""
        now = time.monotonic()
        ends = [self._timers[0][0]] if self._timers else []
        if self._waiting:  # a call that hangs already has been replaced
            ends += [at for each in self._since.values() if (at := each + self._grace) > now]
        return max(min(ends) - now, _LEAST) if ends else None
