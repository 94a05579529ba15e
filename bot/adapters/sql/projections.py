"""Operations as their events left them, kept between reads: each event is decoded once.

The database stays the truth: what is kept counts only while its newest event has the very hash
up to which it was made. The chain of hashes covers every event before it, so another history, as
of a restored backup, has another hash.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from bot.domain.operation import Operation

MOST = 500  # operations; those that are open, and those that people ask for often, are far fewer


@dataclass(frozen=True, slots=True)
class End:
    """The newest event of an operation: its place in the history, from 1, and its hash."""

    seq: int
    hash: str


@dataclass(frozen=True, slots=True)
class Projection:
    """An operation and the event up to which it was made."""

    operation: Operation
    end: End


class Projections:
    """The operations read last. Safe to share by threads."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        # Every worker, outbox lane and request thread reads through the same store
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, Projection] = OrderedDict()

    def get(self, number: int) -> Projection | None:
        """Return what is kept of an operation, at whatever event it was made."""
        with self._lock:
            found = self._kept.get(number)
            if found is not None:
                self._kept.move_to_end(number)
            return found

    def keep(self, number: int, projection: Projection) -> None:
        """Keep an operation; one that another thread has read further stays."""
        with self._lock:
            known = self._kept.get(number)
            if known is None or known.end.seq <= projection.end.seq:
                self._kept[number] = projection
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)

    def forget(self, number: int) -> None:
        """Keep nothing of an operation: its history is another one."""
        with self._lock:
            self._kept.pop(number, None)
