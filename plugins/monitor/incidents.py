"""Pure: when something is wrong long enough to say so, and well long enough to say that it is over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any


@dataclass(frozen=True, slots=True)
class Limits:
    """Wrong from ``limit`` on for ``hold`` seconds, well from ``clear`` down for ``calm`` seconds (hysteresis)."""

    limit: float = 1.0
    clear: float = 0.0
    hold: float = 0.0
    calm: float = 0.0


AT_ONCE = Limits()
"""For what is either so or not."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one concern stands. ``turning``: since when it is about to turn; None: it is not."""

    wrong: bool = False
    turning: datetime | None = None


def stepped(limits: Limits, standing: Standing, value: float | None, now: datetime) -> Standing:
    """The standing after a value; None, nobody knows: it stays as it is."""
    if value is None:
        return standing
    turns = value <= limits.clear if standing.wrong else value >= limits.limit
    if not turns:
        return Standing(standing.wrong)
    since = standing.turning or now
    patience = timedelta(seconds=limits.calm if standing.wrong else limits.hold)
    return Standing(not standing.wrong) if now - since >= patience else Standing(standing.wrong, since)


def remembered(memory: Mapping[str, Any], key: str) -> Standing:
    """A concern's standing as it was remembered."""
    stored = memory.get(key)
    if stored is None:
        return Standing()
    wrong, turning = stored
    return Standing(bool(wrong), datetime.fromisoformat(turning) if turning else None)


def to_remember(standing: Standing) -> tuple[bool, str] | None:
    """JSON-able; None when there is nothing to remember."""
    if not standing.wrong and standing.turning is None:
        return None
    return standing.wrong, standing.turning.isoformat() if standing.turning else ""
