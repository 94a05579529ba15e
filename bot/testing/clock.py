"""A clock that a test turns: sleeping costs no time and moves it on."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

_START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)  # a Monday morning, inside working hours


class TickingClock:
    """The port ``Clock``; it stands still until somebody sleeps or a test turns it.

    Safe to share by threads.

    Args:
        start: the first moment, with zone.
    """

    def __init__(self, start: datetime = _START) -> None:
        if start.tzinfo is None:
            raise ValueError("the start needs a time zone: give tzinfo=UTC")
        self._now = start.astimezone(UTC)
        self._lock = threading.Lock()
        self.slept: list[float] = []
        """Every sleep so far, in seconds, oldest first."""

    def now(self) -> datetime:
        """The moment, in UTC."""
        with self._lock:
            return self._now

    def sleep(self, seconds: float) -> None:
        """Be that much later at once."""
        self.slept.append(seconds)
        self.turn(seconds)

    def turn(self, seconds: float) -> None:
        """Be ``seconds`` later; negative: earlier, as after a correction of the time."""
        with self._lock:
            self._now += timedelta(seconds=seconds)
