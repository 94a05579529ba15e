"""A pool is read anew once for all who want it, and not again before that is worth its time."""

from __future__ import annotations

import threading
import time
from itertools import pairwise

import pytest

from bot.adapters.libvirt.read.pool_refresh import Refreshes
from bot.domain.errors import HostUnreachableError


class Seconds:
    """``time.monotonic`` that a test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> Seconds:
    made = Seconds()
    monkeypatch.setattr(time, "monotonic", made)
    return made


def test_a_slow_read_stands_for_ten_times_as_long_as_it_took(seconds: Seconds) -> None:
    reads: list[float] = []

    def read() -> None:
        reads.append(seconds.now)
        seconds.now += 7.0

    pools = Refreshes("host-a")
    for _ in range(100):
        pools.refresh("big", read)
        seconds.now += 5.0  # as somebody who tries again
    assert len(reads) > 1
    assert {after - before for before, after in pairwise(reads)} == {77.0}


def test_a_quick_read_is_made_at_each_miss_that_matters(seconds: Seconds) -> None:
    reads: list[float] = []
    pools = Refreshes("host-a")
    for _ in range(3):
        pools.refresh("small", lambda: reads.append(seconds.now))
        seconds.now += 0.01
    assert len(reads) == 3


def test_who_asks_while_somebody_else_reads_is_told_that_the_pool_is_slow() -> None:
    pools, began, end = Refreshes("host-a"), threading.Event(), threading.Event()

    def read() -> None:
        began.set()
        assert end.wait(60)

    reader = threading.Thread(target=lambda: pools.refresh("big", read))
    reader.start()
    assert began.wait(60)
    with pytest.raises(
        HostUnreachableError, match="libvirt has been refreshing pool big on host-a"
    ):
        pools.check("big")
    with pytest.raises(HostUnreachableError, match="make a pool slow"):
        pools.refresh("big", lambda: pytest.fail("it is read already"))
    assert pools.reading("big")
    pools.check("small")
    end.set()
    reader.join()
    pools.check("big")
    assert not pools.reading("big")


def test_who_has_time_waits_for_the_read_of_somebody_else() -> None:
    pools, began, end = Refreshes("host-a"), threading.Event(), threading.Event()

    def read() -> None:
        began.set()
        assert end.wait(60)

    reader = threading.Thread(target=lambda: pools.refresh("big", read))
    reader.start()
    assert began.wait(60)
    threading.Timer(0.05, end.set).start()
    pools.check("big", patience=30)
    assert not pools.reading("big")
    reader.join()


def test_a_read_that_fails_is_over() -> None:
    pools = Refreshes("host-a")

    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        pools.refresh("big", fail)
    pools.check("big")
