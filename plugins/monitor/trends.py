"""Pure: a linear trend through the past, and when it reaches a limit, with its prediction interval.

Ordinary least squares; the range is the slope's 80 % confidence interval with Student's t, as in
any statistics text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bot.domain.message import Message
from bot.domain.metrics import Metric

LEAST = 6  # points, below which nothing is predicted
NEEDED = 2.0  # days of history, below which nothing is predicted
# Two-sided 80 %, by number of points
_T_80 = ((6, 1.53), (8, 1.44), (12, 1.37), (20, 1.33), (60, 1.30))


@dataclass(frozen=True, slots=True)
class Trend:
    """Growth a day, and days until the limit: likely, at the earliest, at the latest.

    None: not at this trend.
    """

    per_day: float
    days: float | None
    earliest: float | None
    latest: float | None


@dataclass(frozen=True, slots=True)
class Row:
    """A forecast of one thing: its name, its use now, its trend, and the days of its history.

    ``line`` None: there is too little history to predict anything.
    """

    what: Message
    now: Message
    line: Trend | None
    of: Metric
    history: float


def trend(days: Sequence[float], values: Sequence[float], limit: float) -> Trend | None:
    """The trend of values over days (the last is now); None when there are too few to say.

    A limit that is passed already is 0 days away.
    """
    count = len(days)
    if count < LEAST or max(days) - min(days) < NEEDED:
        return None
    middle, mean = sum(days) / count, sum(values) / count
    spread = sum((day - middle) ** 2 for day in days)
    slope = (
        sum((day - middle) * (value - mean) for day, value in zip(days, values, strict=True))
        / spread
    )
    rest = sum(
        (value - mean - slope * (day - middle)) ** 2
        for day, value in zip(days, values, strict=True)
    )
    error = _t(count) * math.sqrt(rest / (count - 2) / spread)
    now = mean + slope * (days[-1] - middle)
    return Trend(
        slope,
        _until(now, slope, limit),
        _until(now, slope + error, limit),
        _until(now, slope - error, limit),
    )


def _until(now: float, slope: float, limit: float) -> float | None:
    if now >= limit:
        return 0.0
    return (limit - now) / slope if slope > 0 else None


def _t(count: int) -> float:
    return next((t for most, t in _T_80 if count <= most), 1.28)
