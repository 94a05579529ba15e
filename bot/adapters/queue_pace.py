"""How often the queue of operations is looked at: often while people are at work, else seldom."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

log = structlog.get_logger()

_ENDING = 2.0  # seconds for which a change that is being made is waited for at the end


class QueuePace:
    """Sets the pause between two looks, on a thread of its own. Safe to share by threads.

    Args:
        set_pause: sets it, in seconds; may fail, and is then called again at the next change.
        often: seconds between two looks for as long as somebody is at work.
        seldom: seconds between two looks otherwise.
        calm: seconds without a word from anybody after which nobody is at work.
    """

    def __init__(
        self, set_pause: Callable[[float], None], often: float, seldom: float, calm: float
    ) -> None:
        self._set_pause = set_pause
        self._often, self._seldom, self._calm = often, max(often, seldom), calm
        # Whoever calls waits for nothing but this lock: the thread sets the pause without it
        self._changed = threading.Condition()
        self._until = 0.0  # by ``time.monotonic()``
        self._asked = False  # since the last calm: a word counts however late the thread wakes
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="queue-pace", daemon=True)

    def start(self) -> None:
        """Begin, as if somebody were at work: a crash may have left something to do."""
        self.hurry()
        self._thread.start()

    def hurry(self) -> None:
        """Look often from now on: something may be handed over soon. Waits for nothing."""
        with self._changed:
            self._until = time.monotonic() + self._calm
            self._asked = True
            self._changed.notify_all()

    def stop(self) -> None:
        """Change nothing any more."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(_ENDING)

    def _run(self) -> None:
        while self._wait_for_work():
            self._set(self._often)
            if not self._wait_for_calm():
                return
            self._set(self._seldom)

    def _wait_for_work(self) -> bool:
        """Wait until somebody is at work; False at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._asked)
            return not self._ended

    def _wait_for_calm(self) -> bool:
        """Wait until nobody is at work; False at the end."""
        with self._changed:
            while not self._ended and (left := self._seconds_left()) > 0:
                self._changed.wait(left)
            self._asked = False
            return not self._ended

    def _seconds_left(self) -> float:
        return self._until - time.monotonic()

    def _set(self, pause: float) -> None:
        try:
            self._set_pause(pause)
        except Exception as error:  # noqa: BLE001 - the queue is looked at as often as before
            log.warning("pace of the queue not changed", seconds=pause, error=str(error))
