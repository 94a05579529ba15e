"""Time."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Time, so that tests can turn it."""

    def now(self) -> datetime:
        """The moment, in UTC with zone."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...
