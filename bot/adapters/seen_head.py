"""Where the audit trail ended when the bot last looked, kept beside the database and not in it.

A database that was restored from a backup ends earlier than what is kept here, or otherwise. One
whose trail begins otherwise is another database, such as that of another bot on this machine.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bot.adapters.private import read_private, write_private

if TYPE_CHECKING:
    from bot.adapters.sql.store import SqlStore


@dataclass(frozen=True, slots=True)
class Lost:
    """What a restored database lacks: at least so many events, behind event ``position``."""

    position: int
    events: int


class SeenHead:
    """The file. An ``OSError`` of it costs only this look: the bot works without it.

    Args:
        file: where; only its own user reads it.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._written: tuple[int, str] | None = None
        self._first = ""

    def keep(self, store: SqlStore) -> None:
        """Keep where the trail ends now.

        Raises:
            OSError: it cannot be written.
        """
        head = store.head()
        if head != self._written:
            self._first = self._first or _first(store)
            kept = {"position": head[0], "hash": head[1], "first": self._first}
            write_private(self._file, json.dumps(kept))
            self._written = head

    def loss(self, store: SqlStore) -> Lost | None:
        """What the database lacks of what was there; None when it is the one that was left."""
        seen = self._read()
        if seen is None or seen[2] != _first(store):
            return None
        position, _ = store.head()
        if position < seen[0]:
            return Lost(position, seen[0] - position)
        link = next(store.trail(seen[0] - 1), None) if seen[0] else None
        if link is not None and link.hash != seen[1]:
            return Lost(position, 1)
        return None

    def _read(self) -> tuple[int, str, str] | None:
        with suppress(OSError, ValueError, KeyError, TypeError):
            kept = json.loads(read_private(self._file))
            return int(kept["position"]), str(kept["hash"]), str(kept["first"])
        return None


def _first(store: SqlStore) -> str:
    """What tells the trail from those of other databases: the hash of its first event."""
    link = next(store.trail(0), None)
    return link.hash if link is not None else ""
