"""Pure: buckets of history made few enough to draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from bot.domain.metrics import Bucket

POINTS = 12  # of a chart, so that their labels stand side by side
_DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a chart: the mean and the highest of a stretch of time."""

    at: datetime
    mean: float
    p95: float
    peak: float


def grain(buckets: Sequence[Bucket]) -> tuple[int, str]:
    """How many points to draw, and the ``strftime`` form of their labels, by the time they span.

    Labels are digits alone: they are the same in every language.
    """
    span = (buckets[-1].at - buckets[0].at).total_seconds() + buckets[-1].seconds
    if span <= _DAY:
        return POINTS, "%H:%M"
    if span <= 7 * _DAY:
        return 7, "%m-%d %H:%M"
    return (7 if span <= POINTS * _DAY else 10), "%m-%d"


def condense(buckets: Sequence[Bucket], most: int = POINTS) -> tuple[Point, ...]:
    """Join buckets into at most ``most`` points of equal length; means are weighted by counts."""
    size = max(1, -(-len(buckets) // most))
    # From the newest back, so that the newest point is whole.
    groups = [buckets[max(0, end - size) : end] for end in range(len(buckets), 0, -size)][::-1]
    return tuple(_point(some) for some in groups)


def _point(some: Sequence[Bucket]) -> Point:
    count = sum(each.count for each in some)
    return Point(
        some[0].at,
        sum(each.mean * each.count for each in some) / count,
        max(each.p95 for each in some),
        max(each.peak for each in some),
    )
