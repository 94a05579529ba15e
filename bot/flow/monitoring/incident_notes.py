"""Incidents as notes: read, written, listed and dropped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from datetime import datetime, timedelta

from bot.domain import codec
from bot.domain.errors import ConflictError
from bot.domain.message import words
from bot.domain.metrics import AlertSeverity, Incident
from bot.ports.series import Notes

PREFIX = "incident:"
KEPT = timedelta(days=30)  # after its end; a digest of the last month still has it
_MOMENTS = frozenset({"opened_at", "over_at", "silent_until"})
_MESSAGES = ("title", "said")
_TRIES = 12  # lost races before giving up; each means that somebody else changed it


def all_incidents(notes: Notes) -> tuple[Incident, ...]:
    """Every incident that stands or stood lately, oldest first."""
    found = [incident for incident, _ in all_with_versions(notes).values()]
    return tuple(sorted(found, key=lambda incident: (incident.opened_at, incident.key)))


def all_with_versions(notes: Notes) -> Mapping[str, tuple[Incident, int]]:
    """Every incident that stands or stood lately, with its note's version, by key."""
    found = notes.versioned_notes(PREFIX).items()
    return {key.removeprefix(PREFIX): (from_text(text), version) for key, (text, version) in found}


def one(notes: Notes, key: str) -> tuple[Incident | None, int]:
    """An incident and its note's version; None and 0 when there is none."""
    text, version = notes.note(PREFIX + key)
    return (from_text(text) if text else None), version


def put(notes: Notes, incident: Incident, version: int) -> bool:
    """Store an incident if nobody else changed it; whether it was stored."""
    return notes.put_note(PREFIX + incident.key, to_text(incident), version)


def put_all(notes: Notes, incidents: Iterable[tuple[Incident, int]]) -> frozenset[str]:
    """Store incidents in one transaction, each if its note's version is still the newest.

    Returns:
        The keys of those that were stored.
    """
    changes = {PREFIX + each.key: (to_text(each), version) for each, version in incidents}
    return frozenset(key.removeprefix(PREFIX) for key in notes.put_notes(changes))


def change(notes: Notes, key: str, change: Callable[[Incident], Incident]) -> Incident | None:
    """Change an incident whatever else happens to it; None when there is none.

    Raises:
        ConflictError: the race was lost every time; nothing was stored.
    """
    for _ in range(_TRIES):
        before, version = one(notes, key)
        if before is None:
            return None
        after = change(before)
        if after == before or put(notes, after, version):
            return after
    raise _too_quick()


def change_all(
    notes: Notes, storm: str, change: Callable[[Incident], Incident]
) -> tuple[Incident, ...]:
    """Change every incident of a storm, in one transaction; oldest first, as they are then.

    Args:
        notes: where they are kept.
        storm: its name.
        change: harmless to repeat.

    Raises:
        ConflictError: the race was lost every time for some of them; others may be changed.
    """
    for _ in range(_TRIES):
        found = all_with_versions(notes).values()
        members = [(before, change(before), at) for before, at in found if before.storm == storm]
        wanted = [(after, at) for before, after, at in members if after != before]
        if len(put_all(notes, wanted)) == len(wanted):
            changed = (after for _, after, _ in members)
            return tuple(sorted(changed, key=lambda each: (each.opened_at, each.key)))
    raise _too_quick()


def _too_quick() -> ConflictError:
    return ConflictError(words("The alert changes too quickly."), words("Click again."))


def forget(notes: Notes, now: datetime) -> None:
    """Drop incidents that have long been over."""
    old = {
        PREFIX + key: ("", version)
        for key, (incident, version) in all_with_versions(notes).items()
        if incident.over_at is not None and now - incident.over_at > KEPT
    }
    notes.put_notes(old)


def from_text(text: str) -> Incident:
    """An incident as it was written; fields of a newer Drover are left out."""
    stored = json.loads(text)
    known_fields = {
        field.name: stored[field.name] for field in fields(Incident) if field.name in stored
    }
    moments = {
        name: datetime.fromisoformat(known_fields[name])
        for name in _MOMENTS
        if known_fields.get(name)
    }
    said = {
        name: codec.message_of(known_fields[name]) for name in _MESSAGES if name in known_fields
    }
    grave = {"severity": _severity(stored.get("severity", ""))}
    return Incident(**{**known_fields, **moments, **said, **grave})


def _severity(stored: str) -> AlertSeverity:
    """A severity as it was stored; one of another version counts as the usual one."""
    known = stored in {each.value for each in AlertSeverity}
    return AlertSeverity(stored) if known else AlertSeverity.WARNING


def to_text(incident: Incident) -> str:
    """An incident as JSON."""
    values = {field.name: getattr(incident, field.name) for field in fields(incident)}
    texts = {name: values[name].isoformat() for name in _MOMENTS if values[name]}
    said = {name: codec.data(values[name]) for name in _MESSAGES}
    return json.dumps({**values, **texts, **said}, ensure_ascii=False, sort_keys=True)
