"""Wait for a condition, never for a time; and the machine's own clock for tests of real parts."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal, TypeVar

Found = TypeVar("Found")

PATIENCE = 120.0
"""Seconds. Only a test that fails waits so long, so it is far more than a busy machine needs."""


def until(
    look: Callable[[], Found | Literal[False] | None],
    what: str | Callable[[], str] = "it became so",
    seconds: float = PATIENCE,
) -> Found:
    """Return the first true value that ``look`` returns.

    ``what`` says what is waited for; as a function it is called when the time is over, to show what
    was there instead.

    Raises:
        AssertionError: nothing true was returned within ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while True:
        if found := look():
            return found
        if time.monotonic() > deadline:
            raise AssertionError(
                f"not within {seconds:g} s: {what if isinstance(what, str) else what()}"
            )
        time.sleep(0.01)


class RealClock:
    """``bot.ports.Clock`` of this machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
