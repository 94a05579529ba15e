"""What the hosts' kernels tell of pressure: read from their shells, at a slow pace, never waited for."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Mapping, Sequence

import pytest

from bot.domain.errors import HypervisorError, StoreError
from bot.domain.metrics import Pressure
from bot.domain.readiness import CommandResult
from bot.flow.monitoring.pressure import READ, Pressures, over_ssh, pressure_in
from bot.testing import FakeHypervisor, TickingClock, draw_cluster
from tests.waiting import until

TEXT = """\
/proc/pressure/cpu:some avg10=1.00 avg60=12.50 avg300=3.00 total=7
/proc/pressure/cpu:full avg10=0.00 avg60=0.00 avg300=0.00 total=0
/proc/pressure/memory:some avg10=0.00 avg60=4.00 avg300=0.00 total=0
/proc/pressure/memory:full avg10=0.00 avg60=2.00 avg300=0.00 total=0
/proc/pressure/io:some avg10=0.00 avg60=30.00 avg300=0.00 total=0
/proc/pressure/io:full avg10=0.00 avg60=20.00 avg300=0.00 total=0
"""
FOUND = Pressure(0.125, 0.04, 0.02, 0.3, 0.2)


def test_the_kernels_lines_are_shares_of_the_last_minute() -> None:
    assert pressure_in(TEXT) == FOUND
    assert pressure_in(TEXT.replace("memory:full", "memory:none")) is None
    assert pressure_in("") is None


def test_this_machines_own_lines_are_read() -> None:
    told = subprocess.run(READ, capture_output=True, text=True, check=False)
    if told.returncode:
        pytest.skip("this kernel has no pressure stall information")
    found = pressure_in(told.stdout)
    assert found is not None
    assert 0 <= found.cpu <= 1


def test_hosts_that_do_not_tell_are_left_out_and_hold_up_nobody() -> None:
    port = FakeHypervisor(
        draw_cluster("host-a 1cpu 1G\nhost-b 1cpu 1G\nhost-c 1cpu 1G\nhost-d 1cpu 1G"),
        TickingClock(),
    )

    def refuse(argv: Sequence[str]) -> CommandResult:
        raise HypervisorError(f"no SSH for {argv[0]}")

    port.give_shell("host-a", lambda argv: CommandResult(0, TEXT if tuple(argv) == READ else ""))
    port.give_shell("host-b", refuse)
    port.give_shell("host-c", lambda _: CommandResult(2, "", "No such file"))
    assert over_ssh(port, ["host-a", "host-b", "host-c", "host-d"]) == {"host-a": FOUND}


def settled(pressures: Pressures, wanted: Mapping[str, Pressure]) -> None:
    until(lambda: pressures.latest() == wanted, lambda: f"{wanted}; it is {pressures.latest()}")


def test_a_read_that_hangs_is_not_waited_for() -> None:
    answers = threading.Event()

    def read() -> Mapping[str, Pressure]:
        assert answers.wait(60)
        return {"host-a": FOUND}

    pressures = Pressures(read, every=60)
    assert pressures.latest() == {}
    assert pressures.latest() == {}
    answers.set()
    settled(pressures, {"host-a": FOUND})


def test_a_read_that_fails_leaves_nothing_that_grows_old() -> None:
    answers = [{"host-a": FOUND}]

    def read() -> Mapping[str, Pressure]:
        if answers:
            return answers.pop()
        raise StoreError("Prometheus does not answer.")

    pressures = Pressures(read, every=0)
    settled(pressures, {"host-a": FOUND})
    settled(pressures, {})
