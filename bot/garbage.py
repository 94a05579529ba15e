"""When Python looks for garbage in cycles.

A bot keeps what it read of thousands of VMs, and makes most of it anew every few seconds. Python
looks through all that is kept whenever a quarter of it is new: several times a minute, 0.1 to 0.3
seconds each, and finds nothing, because almost nothing here refers to itself. What is young is
looked through as ever; all of it every ten minutes.
"""

from __future__ import annotations

import gc
from datetime import timedelta

EVERY = timedelta(minutes=10)

_YOUNG, _MIDDLE = 2_000, 20  # objects, and looks through the young ones, between two looks
_NEVER = 1_000_000_000  # looks through the middle ones between two looks through all


def collect_old_by_the_clock() -> None:
    """Leave it to ``collect`` to look through what is old."""
    gc.set_threshold(_YOUNG, _MIDDLE, _NEVER)


def collect() -> None:
    """Look through everything; called by the clock."""
    gc.collect()
