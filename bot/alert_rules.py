"""Pure: what may be wrong, with its limits, and the alerts that follow from repeated looks.

Threshold, hold and hysteresis in one place, for every plugin that watches.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.domain.card import Card, Section
from bot.domain.message import words
from bot.domain.metrics import AlertSeverity
from bot.plugin_api import Alert, Looked, Memory, Remedy, WatchView

_GONE = words("No longer watched: its object is gone, or in maintenance.")
_GONE_CARD = Card(_GONE, words("Resolved"), (Section(_GONE),))


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits with hysteresis.

    Wrong after ``hold`` seconds at ``limit`` or above; well after ``calm`` seconds at ``clear`` or
    below.
    """

    limit: float = 1.0
    clear: float = 0.0
    hold: float = 0.0
    calm: float = 0.0


AT_ONCE = Limits()
"""Limits of what is true or false: 1 is wrong, 0 is well, without delay."""


WORST_LIMITS = 1.0, 0.0
"""The limit and the clear value of what ``worst`` returns."""


def worst(*measures: tuple[float | None, float, float]) -> float | None:
    """Several measures of one problem, each (value, limit, clear), as one; None: none is known.

    1 where any of them is at its limit, 0 where the worst of them is at its clear value.
    """
    known = [_level(value, limit, clear) for value, limit, clear in measures if value is not None]
    return max(known, default=None)


def _level(value: float, limit: float, clear: float) -> float:
    return (value - clear) / (limit - clear) if limit > clear else float(value >= limit)


@dataclass(frozen=True, slots=True)
class ConditionState:
    """The state of one condition.

    ``turning``: since when its value asks for the other state; None: it does not.
    """

    wrong: bool = False
    turning: datetime | None = None


def next_state(
    limits: Limits, state: ConditionState, value: float | None, now: datetime
) -> ConditionState:
    """The state after a value. Of an unknown value (None) it stays as it is."""
    if value is None:
        return state
    turns = value <= limits.clear if state.wrong else value >= limits.limit
    if not turns:
        return ConditionState(state.wrong)
    since = state.turning or now
    # What flaps around a limit for less than this time raises no alert, and ends none
    wait = timedelta(seconds=limits.calm if state.wrong else limits.hold)
    if now - since >= wait:
        return ConditionState(not state.wrong)
    return ConditionState(state.wrong, since)


def state_in(memory: Memory, key: str) -> ConditionState:
    """The state of a condition in a watch's memory."""
    stored = memory.get(key)
    if stored is None:
        return ConditionState()
    wrong, turning = stored
    return ConditionState(bool(wrong), datetime.fromisoformat(turning) if turning else None)


def stored_state(state: ConditionState) -> tuple[bool, str] | None:
    """The state as JSON-able data; None when it is the initial one."""
    if not state.wrong and state.turning is None:
        return None
    return state.wrong, state.turning.isoformat() if state.turning else ""


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that may be wrong.

    ``value`` is compared with ``limits`` (None: unknown); ``wrong`` and ``well`` are the cards of
    its alert while it is active and after it is resolved.
    """

    key: str
    value: float | None
    wrong: Card
    well: Card
    limits: Limits = AT_ONCE
    remedies: tuple[Remedy, ...] = ()
    severity: AlertSeverity = AlertSeverity.WARNING


def evaluate(conditions: Iterable[Condition], view: WatchView, *, blind: bool) -> Looked:
    """The state of every condition, and an alert for each that is wrong or has just become well.

    ``blind``: not everything could be looked at, so a condition that is missing may still be wrong.
    """
    alerts: list[Alert] = []
    memory: dict[str, object] = {}
    seen: set[str] = set()
    # People still see them as active: the word that they are resolved was lost
    shown = {incident.key for incident in view.measured.incidents if incident.open}
    for condition in conditions:
        seen.add(condition.key)
        before = state_in(view.memory, condition.key)
        after = next_state(condition.limits, before, condition.value, view.now)
        kept = stored_state(after)
        if kept is not None:
            memory[condition.key] = list(kept)
        if condition.value is None:
            # What people were shown stays as it is: a card made of nothing known would say less
            continue
        if after.wrong:
            alerts.append(
                Alert(
                    condition.key,
                    condition.wrong,
                    remedies=condition.remedies,
                    severity=condition.severity,
                )
            )
        elif before.wrong or condition.key in shown:
            alerts.append(Alert(condition.key, condition.well, over=True))
    unseen = {key: view.memory[key] for key in view.memory.keys() - seen}
    if blind:
        return Looked(tuple(alerts), memory | unseen)
    alerts += [
        Alert(key, _GONE_CARD, over=True) for key in unseen if state_in(view.memory, key).wrong
    ]
    return Looked(tuple(alerts), memory)
