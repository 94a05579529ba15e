"""Pure: what may be wrong, with its limits, and the alerts that come of looking at it again and again.

Threshold, hold and hysteresis in one place, for every plugin that watches.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bot.domain.card import Card, Section
from bot.plugin_api import Alert, Looked, Measured, Remedy, WatchView

_GONE = Card(
    "Resolved: the object no longer exists.",
    "Resolved",
    (Section("The object that this was about no longer exists."),),
)


@dataclass(frozen=True, slots=True)
class Limits:
    """Wrong from ``limit`` on for ``hold`` seconds, well from ``clear`` down for ``calm`` seconds (hysteresis)."""

    limit: float = 1.0
    clear: float = 0.0
    hold: float = 0.0
    calm: float = 0.0


AT_ONCE = Limits()
"""For what is either so or not."""


WEIGHED = 1.0, 0.0
"""The limit and the clear value of what ``weighed`` answers."""


def weighed(*measures: tuple[float | None, float, float]) -> float | None:
    """Several measures of one trouble, each (value, limit, clear), as one; None: none of them is known.

    1 where any of them is at its limit, 0 where the worst of them is at its clear value.
    """
    known = [_level(value, limit, clear) for value, limit, clear in measures if value is not None]
    return max(known, default=None)


def _level(value: float, limit: float, clear: float) -> float:
    return (value - clear) / (limit - clear) if limit > clear else float(value >= limit)


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
    return (
        Standing(not standing.wrong) if now - since >= patience else Standing(standing.wrong, since)
    )


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


@dataclass(frozen=True, slots=True)
class Concern:
    """Something that may be wrong: ``value`` against ``limits`` (None: nobody knows), what to say of it either way."""

    key: str
    value: float | None
    wrong: Card
    well: Card
    limits: Limits = AT_ONCE
    remedies: tuple[Remedy, ...] = ()


def looked(found: Iterable[Concern], view: WatchView, *, blind: bool) -> Looked:
    """Every concern's standing after this look, and an alert for each that is wrong or has just become well.

    ``blind``: not everything could be looked at, so what nothing speaks of any more may still be
    wrong.
    """
    alerts: list[Alert] = []
    memory: dict[str, Any] = {}
    seen: set[str] = set()
    for concern in found:
        seen.add(concern.key)
        before = remembered(view.memory, concern.key)
        after = stepped(concern.limits, before, concern.value, view.now)
        kept = to_remember(after)
        if kept is not None:
            memory[concern.key] = list(kept)
        if concern.value is None:
            # What people were shown stays as it is: a card made of nothing known would say less
            continue
        if after.wrong:
            alerts.append(Alert(concern.key, concern.wrong, remedies=concern.remedies))
        elif before.wrong or _still_shown(view.measured, concern.key):
            alerts.append(Alert(concern.key, concern.well, over=True))
    unseen = {key: view.memory[key] for key in view.memory.keys() - seen}
    if blind:
        return Looked(tuple(alerts), memory | unseen)
    alerts += [Alert(key, _GONE, over=True) for key in unseen if remembered(view.memory, key).wrong]
    return Looked(tuple(alerts), memory)


def _still_shown(measured: Measured, key: str) -> bool:
    """Whether people still see it as wrong: the word that it is over was lost."""
    return any(incident.key == key and incident.open for incident in measured.incidents)
