"""How fast one person may ask: a token bucket for each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class Pace(Enum):
    """The answer to one more request: fine, too fast (say so), or still too fast (it was said)."""

    FINE = "fine"
    TOO_FAST = "too fast"
    TOLD = "told"


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float
    told: bool = False


class Paces:
    """A bucket a person, filled at ``per_minute``; a full one holds ``burst`` requests.

    Args:
        per_minute: requests a person may make for long; 0 for no limit.
        burst: requests in one go; None: a third of a minute's.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        per_minute: float,
        burst: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate = per_minute / 60
        self._full = burst if burst is not None else max(per_minute / 3, 1.0)
        self._clock = clock
        # Two requests of one person at once must not both find the last token
        self._lock = threading.Lock()
        self._buckets: dict[str, _Bucket] = {}

    def ask(self, person: str) -> Pace:
        """Count one request of this person."""
        if not self._rate:
            return Pace.FINE
        with self._lock:
            bucket = self._fill(person)
            if bucket.tokens >= 1:
                bucket.tokens -= 1
                bucket.told = False
                return Pace.FINE
            answer = Pace.TOLD if bucket.told else Pace.TOO_FAST
            bucket.told = True
            return answer

    def _fill(self, person: str) -> _Bucket:
        now = self._clock()
        # A full bucket says nothing; without this a year's people stay
        if len(self._buckets) > 10_000:
            self._buckets = {
                who: each
                for who, each in self._buckets.items()
                if self._level(each, now) < self._full
            }
        bucket = self._buckets.setdefault(person, _Bucket(self._full, now))
        bucket.tokens, bucket.at = self._level(bucket, now), now
        return bucket

    def _level(self, bucket: _Bucket, now: float) -> float:
        return min(self._full, bucket.tokens + (now - bucket.at) * self._rate)
