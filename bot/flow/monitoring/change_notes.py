"""Changes that watches told of, as notes until every digest has had them."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Sequence
from datetime import datetime, timedelta

from bot.domain import codec
from bot.domain.metrics import Change
from bot.ports.series import Notes

PREFIX = "change:"
KEPT = timedelta(days=30)  # a digest of the last month still has it


def put(notes: Notes, watch: str, changes: Sequence[Change]) -> None:
    """Keep what one look told; kept once, however often it is told."""
    for moment in sorted({each.at for each in changes}):
        told = [
            {"at": moment.isoformat(), "about": each.about, "text": codec.data(each.text)}
            for each in changes
            if each.at == moment
        ]
        notes.put_note(
            f"{PREFIX}{moment.isoformat()}:{watch}", json.dumps(told, ensure_ascii=False), 0
        )


def all_changes(notes: Notes) -> tuple[Change, ...]:
    """Every change of lately, oldest first."""
    found = sorted(notes.notes(PREFIX).items())
    return tuple(itertools.chain.from_iterable(_changes(text) for _, text in found))


@functools.lru_cache(maxsize=10_000)
def _changes(text: str) -> tuple[Change, ...]:
    """The changes of one note; they are asked for at every look, and a note never changes."""
    return tuple(
        Change(datetime.fromisoformat(each["at"]), each["about"], codec.message_of(each["text"]))
        for each in json.loads(text)
    )


def forget(notes: Notes, now: datetime) -> None:
    """Drop what is too old for any digest."""
    for key, text in notes.notes(PREFIX).items():
        if all(now - datetime.fromisoformat(each["at"]) > KEPT for each in json.loads(text)):
            notes.put_note(key, "", notes.note(key)[1])
