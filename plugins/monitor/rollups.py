"""Pure: buckets of history made few enough to draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from bot.domain.metrics import Bucket

POINTS = 12  # of a chart, so that their labels stand side by side
_DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Drawn:
    """One point of a chart: the mean and the highest of a stretch of time."""

    at: datetime
    mean: float
    p95: float
    peak: float


def grain(buckets: Sequence[Bucket]) -> tuple[int, str]:
    """How many points to draw, and the ``strftime`` form that names each of them, by the time there is history of."""
    span = (buckets[-1].at - buckets[0].at).total_seconds() + buckets[-1].seconds
    if span <= _DAY:
        return POINTS, "%H:%M"
    return (
        (7, "%a %H:%M")
        if span <= 7 * _DAY
        else (7, "%d %b")
        if span <= POINTS * _DAY
        else (10, "%d %b")
    )


def drawn(buckets: Sequence[Bucket], most: int = POINTS) -> tuple[Drawn, ...]:
    """At most ``most`` stretches of equal length that cover all buckets; means weighted by what they hold."""
    size = max(1, -(-len(buckets) // most))
    # From the newest back, so that the newest stretch is whole.
    stretches = [buckets[max(0, end - size) : end] for end in range(len(buckets), 0, -size)][::-1]
    return tuple(_joined(some) for some in stretches)


def _joined(some: Sequence[Bucket]) -> Drawn:
    count = sum(each.count for each in some)
    return Drawn(
        some[0].at,
        sum(each.mean * each.count for each in some) / count,
        max(each.p95 for each in some),
        max(each.peak for each in some),
    )
