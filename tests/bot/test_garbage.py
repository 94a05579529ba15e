"""Garbage in cycles is found by the clock, and young garbage at once."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from bot import garbage


class Knot:
    """Refers to itself."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture(autouse=True)
def usual() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def test_what_is_young_is_found_without_the_clock() -> None:
    garbage.collect_old_by_the_clock()
    knot = weakref.ref(Knot())
    kept: list[list[int]] = []
    while knot() is not None and len(kept) < 1_000_000:
        kept.append([])
    assert knot() is None


def test_what_is_old_is_found_by_the_clock() -> None:
    garbage.collect_old_by_the_clock()
    knot = Knot()
    gc.collect()  # it is old from now on
    old, looks = weakref.ref(knot), []
    del knot
    gc.callbacks.append(lambda phase, told: looks.append((phase, told["generation"])))
    kept = [[each] for each in [object()] * 300_000]
    gc.callbacks.pop()
    assert len(kept) == 300_000
    assert ("start", 0) in looks
    assert ("start", 2) not in looks
    assert old() is not None
    garbage.collect()
    assert old() is None
