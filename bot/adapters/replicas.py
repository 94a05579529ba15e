"""Heartbeats: each replica counts its own and watches whether the others' still grow."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol

import structlog

from bot.domain.errors import FencedError, StoreError

log = structlog.get_logger()


class Beats(Protocol):
    """The part of the store that replicas share. Every method may raise ``StoreError``."""

    def enter(self, name: str) -> None:
        """Be this replica from now on; who was it before, and may only be frozen, is fenced off."""
        ...

    def beat(self) -> None:
        """Count one more heartbeat of the replica that this one entered as.

        Raises:
            FencedError: it is no longer that replica.
        """
        ...

    def beats(self) -> Mapping[str, int]:
        """How many heartbeats each replica has had."""
        ...

    def fence(self, name: str, beats: int) -> bool:
        """From now on nothing that this replica may still want to store is stored.

        Args:
            name: of a silent one.
            beats: how many heartbeats it was last seen to have; False when it has had more, for
                then it lives.
        """
        ...

    def forget(self, name: str) -> None:
        """A fenced replica is gone; one that has entered anew meanwhile is not."""
        ...


class Silence:
    """Who has not been heard of for too long, judged by one's own stopwatch.

    No clock of the others, and no jump of one's own, can make a living replica look dead. Who did
    not look for long, because the database was gone or the process was frozen, has no right to call
    others silent, and begins anew.

    Args:
        after: seconds without a new heartbeat.
    """

    def __init__(self, after: float) -> None:
        self._after = after
        self._heard: dict[str, tuple[int, float]] = {}
        self._looked = -math.inf

    def of(self, beats: Mapping[str, int], now: float) -> tuple[str, ...]:
        """The silent ones. ``now``: seconds on a clock that only goes forward."""
        if now - self._looked >= self._after / 2:
            self._heard = {}
        self._looked = now
        for name, count in beats.items():
            if self._heard.get(name, (None, 0.0))[0] != count:
                self._heard[name] = (count, now)
        self._heard = {name: heard for name, heard in self._heard.items() if name in beats}
        return tuple(
            sorted(name for name, (_, since) in self._heard.items() if now - since >= self._after)
        )


class Pulse:
    """Beats on a thread of its own, and hands silent replicas over to ``take_over``.

    Args:
        name: this replica's; no two may share one.
        store: where heartbeats are counted.
        take_over: does the work of the replica of this name, which is fenced off before; harmless
            to repeat.
        on_fenced: this replica itself was taken for dead: the process has to end.
        every: seconds between heartbeats.
        dead_after: seconds of silence; several times ``every``, so that one slow moment kills
            nobody.
    """

    def __init__(
        self,
        name: str,
        store: Beats,
        take_over: Callable[[str], None],
        *,
        every: float = 3.0,
        dead_after: float = 15.0,
        on_fenced: Callable[[], None] = lambda: None,
    ) -> None:
        self._name = name
        self._store = store
        self._take_over = take_over
        self._every = every
        self._on_fenced = on_fenced
        self._silence = Silence(dead_after)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def start(self) -> None:
        """Enter and beat once now, before any work is taken.

        So that nobody takes this replica for its predecessor.

        Raises:
            StoreError: the database failed.
        """
        self._store.enter(self._name)
        self._thread.start()

    def stop(self) -> None:
        """Beat no more."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(self._every):
            try:
                self._look()
            except FencedError as error:
                # Expected kind
                log.error("fenced off", replica=self._name, error=str(error))  # noqa: TRY400
                self._on_fenced()
                return
            except StoreError as error:
                log.warning("no heartbeat", replica=self._name, error=str(error))
            except Exception:  # whatever it was, the next heartbeat must come
                log.exception("heartbeat failed", replica=self._name)

    def _look(self) -> None:
        self._store.beat()
        beats = self._store.beats()
        for name in self._silence.of(beats, time.monotonic()):
            if name != self._name and self._store.fence(name, beats[name]):
                log.warning("replica is silent, its work is taken over", silent=name, by=self._name)
                self._take_over(name)
                self._store.forget(name)
