"""A libvirt that stops in the middle of a move, on either side and in each phase: it ends or asks; the VM runs once."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

import pytest

from bot.adapters.libvirt import HostAddress, LibvirtHypervisor
from bot.domain.cluster import MIB, Job
from bot.domain.errors import DroverError
from bot.domain.message import Message
from bot.domain.operation import Ask
from bot.domain.steps import MigrateVm, MigrationPolicy
from plugins.migrate import handler
from plugins.migrate.settings import MigrateSettings
from tests.waiting import RealClock, until

if TYPE_CHECKING:
    from lab import Guest, Lab

pytestmark = pytest.mark.lab
A, B = "host-a", "host-b"
NUMBERS = count(1)
SETTINGS = MigrateSettings(
    poll_seconds=0.2, settle_seconds=5, unreachable_seconds=8, still_seconds=4, still_limit_seconds=20,
    stall_seconds=600, seconds_per_gib=6000,
)  # fmt: skip


@pytest.fixture
def hypervisor(lab: Lab) -> Iterator[LibvirtHypervisor]:
    hosts = [HostAddress(each.name, each.uri, each.peer_uri) for each in lab.hosts.values()]
    made = LibvirtHypervisor(hosts, clock=RealClock(), deadline=2.0, measure_dirty_rate=False)
    yield made
    made.close()


@dataclass
class RecordedProgress:
    """The port ``Progress``: stops one libvirtd when the move has come to ``at``."""

    pid: int
    at: str
    stopped: threading.Event = field(default_factory=threading.Event)
    said: list[Message] = field(default_factory=list)

    def report(self, job: Job, asks: Collection[Ask] = ()) -> None:
        copied = job.phase == "copying" and job.processed > 0
        come = {"beginning": True, "copying": copied, "ending": copied and job.fraction > 0.85}.get(
            self.at
        )
        if come and not self.stopped.is_set():
            os.kill(self.pid, signal.SIGSTOP)
            self.stopped.set()

    def say(self, text: Message) -> None:
        self.said.append(text)

    def note(self, text: Message) -> None:
        self.said.append(text)

    def asks(self) -> frozenset[Ask]:
        return frozenset()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def _agree(hypervisor: LibvirtHypervisor, guest: Guest) -> bool:
    """Whether it is active on one host alone, and its one process is there."""
    seen = hypervisor.sightings(guest.uuid)
    active = [each.host for each in seen if each.state and each.state.active]
    return len(active) == 1 and active == guest.where()


@pytest.mark.parametrize("side", [A, B])
@pytest.mark.parametrize(
    "phase",
    [
        pytest.param("beginning", marks=pytest.mark.slow),
        "copying",
        pytest.param("ending", marks=pytest.mark.slow),
    ],
)
def test_a_libvirt_that_stops_ends_the_step_and_the_vm_runs_once(
    lab: Lab, hypervisor: LibvirtHypervisor, phase: str, side: str
) -> None:
    guest = lab.guest(f"frozen-{next(NUMBERS)}", host=A, dirty_mib_s=0.5)
    pid = lab.hosts[side].libvirtd_pid
    assert pid
    step = MigrateVm(
        guest.uuid, guest.name, A, B, 128 * MIB, policy=MigrationPolicy.SAFE, bandwidth=8
    )
    progress = RecordedProgress(pid, phase)
    ended: list[str] = []

    def work() -> None:
        try:
            handler.run(SETTINGS, step, hypervisor, progress)
        except DroverError as error:
            ended.append(str(error))
        else:
            ended.append("moved")

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert progress.stopped.wait(60), f"it never came to {phase}: {progress.said}"
        until(lambda: ended, "the step ends or asks")
    finally:
        os.kill(pid, signal.SIGCONT)
        thread.join(60)
    assert ended
    until(lambda: len(guest.where()) == 1, "one process is left once both sides go on")
    # Twice: what libvirt says of a VM whose process is just ending is not true for a moment
    for _ in range(2):
        until(partial(_agree, hypervisor, guest), f"libvirt and the processes agree; {ended}")
        ticks = guest.ticks()
        until(lambda ticks=ticks: guest.ticks() > ticks, f"it runs; {ended}")  # type: ignore[misc]
    assert guest.boots() == 1
    for host in (A, B):
        lab.virsh(host, "destroy", guest.name, check=False)
        lab.virsh(host, "undefine", guest.name, check=False)
