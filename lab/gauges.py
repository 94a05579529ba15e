"""What each host believes of its own memory and CPU time: its own share, not the whole machine's.

Without this every host would report the machine's load and memory, and three hosts would always
look alike. The files are bound over ``/proc/stat``, ``/proc/meminfo`` and each NUMA node's
``meminfo`` in the host.
"""

import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from lab import cgroups
from lab.rooms import Room

_EVERY_S = 1.0
_NODES = Path("/sys/devices/system/node")


class Gauges:
    """Writes the hosts' gauges once a second until stopped.

    ``memory_mib`` is what each host has in all.
    """

    def __init__(self, rooms: Mapping[str, Room], directory: Path, memory_mib: int | None) -> None:
        self._rooms = rooms
        self._directory = directory
        self._total_kib = memory_mib * 1024 if memory_mib else _machine_kib()
        self._began = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_on, name="lab-gauges", daemon=True)

    def furnish(self, name: str) -> None:
        """Put a host's gauges over what the kernel would tell it."""
        home = self._directory / name / "gauges"
        home.mkdir(exist_ok=True)
        self._write(name)
        binds = [
            f"mount --bind {home}/stat /proc/stat",
            f"mount --bind {home}/meminfo /proc/meminfo",
        ]
        for node in _nodes():
            target = _NODES / f"node{node}" / "meminfo"
            binds.append(f"mount --bind {home}/node{node} {target}")
        self._rooms[name].run("sh", "-c", "\n".join(["set -e", *binds]))

    def start(self) -> None:
        """Begin to write; every host must have been furnished."""
        self._thread.start()

    def stop(self) -> None:
        """Write no more."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _keep_on(self) -> None:
        while not self._stop.wait(_EVERY_S):
            for name in list(self._rooms):
                self._write(name)

    def _write(self, name: str) -> None:
        home = self._directory / name / "gauges"
        room = self._rooms[name]
        free, shared = max(0, self._total_kib - _resident_kib(room)), _shared_kib(room)
        _overwrite(home / "meminfo", _meminfo("", self._total_kib, free, shared))
        nodes = _nodes()
        for node in nodes:
            total, part, cached = (each // len(nodes) for each in (self._total_kib, free, shared))
            _overwrite(home / f"node{node}", _meminfo(f"Node {node} ", total, part, cached))
        _overwrite(
            home / "stat", _stat(cgroups.cpu_seconds(room.groups), time.monotonic() - self._began)
        )


def _overwrite(path: Path, text: str) -> None:
    """Write in place and in one piece.

    Every text of a gauge is equally long, so no reader sees half of two.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.pwrite(descriptor, text.encode(), 0)
    finally:
        os.close(descriptor)


def _meminfo(prefix: str, total: int, free: int, shared: int) -> str:
    """The lines of proc(5) meminfo that libvirt reads, in KiB.

    As the kernel does, what processes share (memfd) is among what is cached, and not available.
    """
    values = {"MemTotal": total, "MemFree": free, "MemAvailable": free, "MemUsed": total - free}
    values |= {"Cached": shared, "Shmem": shared}
    values |= dict.fromkeys(("Buffers", "SwapCached", "SwapTotal", "SwapFree"), 0)
    return "".join(f"{prefix}{name}:{value:>16} kB\n" for name, value in values.items())


def _stat(busy_s: float, elapsed_s: float) -> str:
    """proc(5) stat in clock ticks.

    A host's busy time as user time, spread evenly over the machine's CPUs.
    """
    cpus = os.cpu_count() or 1
    tick = os.sysconf("SC_CLK_TCK")
    busy, idle = round(busy_s * tick), max(0, round((elapsed_s * cpus - busy_s) * tick))
    lines = [
        _cpu("cpu ", busy, idle),
        *(_cpu(f"cpu{n}", busy // cpus, idle // cpus) for n in range(cpus)),
    ]
    return (
        "".join(lines) + "intr 0\nctxt 0\nbtime 0\nprocesses 0\nprocs_running 1\nprocs_blocked 0\n"
    )


def _cpu(name: str, busy: int, idle: int) -> str:
    return f"{name} {busy:>16} 0 0 {idle:>16} 0 0 0 0 0 0\n"


def _nodes() -> list[int]:
    return sorted(int(path.name.removeprefix("node")) for path in _NODES.glob("node[0-9]*"))


def _machine_kib() -> int:
    return int(Path("/proc/meminfo").read_text().split()[1])


def _resident_kib(room: Room) -> int:
    """Resident memory of everything inside, from proc(5) statm."""
    page = os.sysconf("SC_PAGE_SIZE") // 1024
    return sum(_resident_pages(pid) for pid in room.pids()) * page


def _resident_pages(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0


def _shared_kib(room: Room) -> int:
    """Resident memory inside that is shared (memfd, tmpfs), from proc(5) status."""
    return sum(_shared_of(pid) for pid in room.pids())


def _shared_of(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    line = next((each for each in status.splitlines() if each.startswith("RssShmem:")), "")
    return int(line.split()[1]) if line else 0
