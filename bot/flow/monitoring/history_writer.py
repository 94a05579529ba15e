"""From sweeps to history.

Minutes' means, kept until the database takes them, and a word when it does not.
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import structlog

from bot.domain.errors import StoreError
from bot.domain.metrics import Losses, Metric, Point
from bot.ports.series import Series

log = structlog.get_logger()

MINUTE = 60
_GRACE = timedelta(seconds=90)  # a replica that writes the same minute may be this late


class Recorder:
    """Gathers what is measured by the minute and writes it.

    A database that is busy is asked again at the next turn.

    Args:
        series: where it is written.
        most: how many minutes may wait; then the oldest is given up, and said to be.
    """

    def __init__(self, series: Series, most: int = 60) -> None:
        self._series = series
        self._most = most
        # The sweep adds while the writer waits for the database, which is asked without the lock
        self._lock = threading.Lock()
        self._minute = 0
        self._sums: dict[str, dict[Metric, tuple[float, int]]] = {}
        self._waiting: collections.deque[tuple[datetime, tuple[Point, ...]]] = collections.deque()
        self._dropped = 0
        self._why = ""

    @property
    def losses(self) -> Losses:
        """What waits, and what was given up."""
        return Losses(len(self._waiting), self._dropped, self._why)

    def take(self, at: datetime, points: Sequence[Point]) -> None:
        """Add what was measured at a moment. Never blocks on the database."""
        with self._lock:
            minute = int(at.timestamp()) // MINUTE
            if minute != self._minute:
                self._turn(minute)
            for point in points:
                sums = self._sums.setdefault(point.entity, {})
                for metric, value in point.values.items():
                    total, count = sums.get(metric, (0.0, 0))
                    sums[metric] = (total + value, count + 1)

    def write(self, now: datetime) -> None:
        """Write what waits, oldest first, and make the rollups that are due."""
        try:
            while self._waiting:
                at, points = self._waiting[0]
                self._series.write(at, points)
                with self._lock:
                    if self._waiting and self._waiting[0][0] == at:
                        self._waiting.popleft()
            self._series.roll_up(now - _GRACE)
            self._why = ""
        except StoreError as error:
            self._why = str(error.text)
            log.warning(
                "history not written, will try again", waiting=len(self._waiting), error=str(error)
            )

    def _turn(self, minute: int) -> None:
        if self._sums:
            self._waiting.append(
                (datetime.fromtimestamp(self._minute * MINUTE, UTC), _means(self._sums))
            )
            self._sums = {}
        self._minute = minute
        while len(self._waiting) > self._most:
            at, _ = self._waiting.popleft()
            self._dropped += 1
            log.error(
                "a minute of history is lost: the database takes none",
                minute=at.isoformat(),
                why=self._why,
            )


def _means(sums: Mapping[str, Mapping[Metric, tuple[float, int]]]) -> tuple[Point, ...]:
    return tuple(
        Point(entity, {metric: total / count for metric, (total, count) in metrics.items()})
        for entity, metrics in sums.items()
    )
