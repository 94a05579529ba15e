"""What hosts tell once reaches every watch once, whichever threads measure and look."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest

from bot.domain.metrics import Happening, HostSample, Pressure, Sweep
from bot.flow.monitoring.monitor import Monitor
from bot.testing import TickingClock

CLOCK = TickingClock()


class Telling:
    """A sampler whose every sweep tells one thing more."""

    def __init__(self) -> None:
        self.number = 0

    def sweep(self) -> Sweep:
        self.number += 1
        told = Happening(CLOCK.now(), "host-a", f"u-{self.number}", "vm", "watchdog")
        return Sweep(CLOCK.now(), events=(told,))

    def close(self) -> None:
        pass


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads take turns at nearly every step."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def made() -> Monitor:
    nothing = cast("Any", None)
    return Monitor(Telling(), nothing, nothing, CLOCK, past=cast("Any", object()))


@pytest.mark.usefixtures("hasty")
def test_nothing_that_hosts_tell_is_lost_or_told_twice_between_threads() -> None:
    monitor, over, found = made(), threading.Event(), list[Happening]()

    def take() -> None:
        while not over.is_set():
            found.extend(monitor.take_happenings())

    thread = threading.Thread(target=take)
    thread.start()
    for _ in range(8000):
        monitor.sweep()
    over.set()
    thread.join()
    found.extend(monitor.take_happenings())
    assert [each.uuid for each in found] == [f"u-{number}" for number in range(1, 8001)]


def test_each_watch_is_told_what_happened_since_it_last_looked() -> None:
    monitor = made()
    monitor.sweep()
    monitor.tell(["quick", "slow"])
    assert len(monitor.untold["quick"]) == 1
    monitor.untold["quick"].clear()
    monitor.sweep()
    monitor.tell(["quick", "slow"])
    assert [len(monitor.untold[name]) for name in ("quick", "slow")] == [1, 2]


def test_what_nobody_takes_does_not_grow_for_ever() -> None:
    monitor = made()
    for _ in range(10_500):
        monitor.sweep()
    assert [each.uuid for each in monitor.take_happenings()][-1] == "u-10500"
    assert monitor.take_happenings() == ()


def test_what_the_kernel_says_is_available_corrects_what_is_in_use() -> None:
    """It is read seldom: between two reads it is moved by as much as libvirt's own count is."""
    used = [600, 700, 700]
    available = [
        Pressure(0.0, 0.0, 0.0, 0.0, 0.0, 250),
        None,
        Pressure(0.0, 0.0, 0.0, 0.0, 0.0, 400),
    ]
    told: list[Pressure] = []

    class Measuring:
        def sweep(self) -> Sweep:
            return Sweep(
                CLOCK.now(), (HostSample("host-a", CLOCK.now(), memory=1000, used=used.pop(0)),)
            )

        def close(self) -> None:
            pass

    class Kernel:
        def latest(self) -> dict[str, Pressure]:
            told.append(available.pop(0) or told[-1])
            return {"host-a": told[-1]}

    nothing = cast("Any", None)
    monitor = Monitor(
        Measuring(),
        nothing,
        nothing,
        CLOCK,
        past=cast("Any", object()),
        pressures=cast("Any", Kernel()),
    )
    assert [monitor.sweep().hosts[0].used for _ in range(3)] == [750, 850, 600]
