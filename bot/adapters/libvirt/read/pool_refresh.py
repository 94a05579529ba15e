"""Pools read anew: once for everyone who wants it now.

Also not again before that is worth its time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from bot.domain.errors import HostUnreachableError
from bot.domain.message import Duration, words

_WORTH = 10.0  # so many times as long as a read took, its answer stands


@dataclass(slots=True)
class _Read:
    """The newest read of one pool, by ``time.monotonic()``; ``ended`` None: it is under way."""

    began: float
    over: threading.Event = field(default_factory=threading.Event)
    ended: float | None = None


class Refreshes:
    """The reads of one host's pools. Safe to share by threads.

    libvirt reads a whole pool anew when it is asked to (7 s for 250,000 files on a local disk) and
    answers nothing about that pool meanwhile. A miss is the normal case for a new volume, so a read
    at each miss would keep such a pool busy for ever.
    """

    def __init__(self, host: str = "the host") -> None:
        self._host = host
        # libvirt refuses a second reading of a pool; whoever comes later must know of the first
        self._lock = threading.Lock()
        self._reads: dict[str, _Read] = {}

    def check(self, pool: str, *, patience: float = 0.0) -> None:
        """Return when a pool is not being read, for which at most ``patience`` seconds are waited.

        Raises:
            HostUnreachableError: it still is; the question is to be put again later.
        """
        with self._lock:
            read = self._reads.get(pool)
        if read is not None and not read.over.is_set() and not read.over.wait(patience):
            raise self.slow(pool)

    def reading(self, pool: str) -> bool:
        """Return whether a pool is being read."""
        with self._lock:
            read = self._reads.get(pool)
        return read is not None and not read.over.is_set()

    def refresh(self, pool: str, call: Callable[[], object], *, patience: float = 0.0) -> None:
        """Read a pool anew with ``call``, unless that was done just now or somebody else is at it.

        Raises:
            HostUnreachableError: somebody else is still at it after ``patience`` seconds.
        """
        now = time.monotonic()
        with self._lock:
            before = self._reads.get(pool)
            if before is not None and before.ended is not None:
                if now - before.ended < _WORTH * (before.ended - before.began):
                    return
                before = None
            if before is None:
                mine = self._reads[pool] = _Read(now)
        if before is not None:
            self.check(pool, patience=patience)
            return
        try:
            call()
        finally:
            mine.ended = time.monotonic()
            mine.over.set()

    def slow(self, pool: str) -> HostUnreachableError:
        """Return the error for a pool that is being read."""
        with self._lock:
            read = self._reads.get(pool)
        since = 0.0 if read is None else time.monotonic() - read.began
        return HostUnreachableError(
            words(
                "libvirt has been refreshing pool {pool} on {host} for {time}.",
                pool=pool,
                host=self._host,
                time=Duration(round(since)),
            ),
            words(
                "Drover asks again when that is done. Very many files or slow storage "
                "make a pool slow."
            ),
        )
