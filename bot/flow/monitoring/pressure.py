"""The hosts' pressure stall information, which libvirt has no call for.

Read now and then, and never waited for.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import structlog

from bot.domain.errors import DroverError, HypervisorError
from bot.domain.metrics import Pressure
from bot.flow.monitoring.background import Gathering
from bot.ports import Shell

log = structlog.get_logger()

READ = (
    "grep", "-HE", "avg60=|^MemAvailable:",
    "/proc/pressure/cpu", "/proc/pressure/memory", "/proc/pressure/io", "/proc/meminfo",
)  # fmt: skip
_LINE = re.compile(r"/proc/pressure/(\w+):(some|full) .*\bavg60=([\d.]+)")
_AVAILABLE = re.compile(r"^/proc/meminfo:MemAvailable:\s+(\d+) kB$", re.MULTILINE)
_NAME = "pressure"
_AT_ONCE = 16  # hosts asked side by side; each takes a shell and a thread
_DEADLINE = 10.0  # seconds


class Pressures:
    """What was last read, by host; a new read is begun when it is time, on a thread of its own.

    Args:
        read: asks whoever knows; hosts that do not tell are left out.
        every: seconds between two reads.
    """

    def __init__(self, read: Callable[[], Mapping[str, Pressure]], every: float) -> None:
        self._read = read
        self._every = every
        self._due = float("-inf")
        self._gathering = Gathering()
        self._latest: Mapping[str, Pressure] = {}

    def latest(self) -> Mapping[str, Pressure]:
        """Never waits and never raises; a read that failed leaves nothing that would grow old."""
        if self._gathering.is_ready(_NAME):
            self._latest = self._take()
        if time.monotonic() >= self._due and not self._gathering.busy(_NAME):
            self._due = time.monotonic() + self._every
            self._gathering.begin(_NAME, self._read)
        return self._latest

    def _take(self) -> Mapping[str, Pressure]:
        try:
            found = cast("Mapping[str, Pressure]", self._gathering.take(_NAME))
        except DroverError as error:
            log.warning("no pressure was read", error=str(error))
            return {}
        return found


def over_ssh(hypervisor: Shell, hosts: Collection[str]) -> Mapping[str, Pressure]:
    """Asked of the hosts' shells, several at once.

    Those that do not answer or whose kernel has none are left out.
    """

    def ask(host: str) -> tuple[str, Pressure | None]:
        try:
            told = hypervisor.run(host, READ, deadline=_DEADLINE)
        except HypervisorError as error:
            log.info("a host does not tell its pressure", host=host, error=error.text)
            return host, None
        return host, None if told is None else pressure_in(told.out)

    with ThreadPoolExecutor(min(_AT_ONCE, len(hosts)) or 1, thread_name_prefix="pressure") as pool:
        return {host: found for host, found in pool.map(ask, hosts) if found is not None}


def pressure_in(text: str) -> Pressure | None:
    """The kernel's lines, each after the name of its file.

    None where one lacks, as with ``psi=0``.
    """
    shares = {(what, how): float(percent) / 100 for what, how, percent in _LINE.findall(text)}
    wanted = (
        ("cpu", "some"),
        ("memory", "some"),
        ("memory", "full"),
        ("io", "some"),
        ("io", "full"),
    )
    if any(each not in shares for each in wanted):
        return None
    found = _AVAILABLE.search(text)
    available = int(found.group(1)) << 10 if found else None
    cpu, memory, memory_full, io, io_full = (shares[each] for each in wanted)
    return Pressure(cpu, memory, memory_full, io, io_full, available)
