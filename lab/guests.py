"""Tiny guests with a chosen load, and where they truly run."""

import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from lab import boot, network
from lab.errors import LabError
from lab.rooms import Room

TAGS_NAMESPACE = "https://drover.dev/tags/1"
"""The XML namespace under which a guest's tags stand in its definition's metadata."""

_PROGRAM = "qemu-system-x86"  # the kernel keeps 15 letters of a process's name
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
# What the kernel and busybox need beside the memory a guest dirties.
_SYSTEM_MIB = 72
_LEAST_MIB = 96


@dataclass(frozen=True, slots=True)
class Wish:
    """What a guest is to be: ``load`` in vCPUs of all its vCPUs together.

    ``dirty_mib_s`` in MiB/s.
    """

    name: str
    memory_mib: int
    vcpus: int
    load: float
    dirty_mib_s: float
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Guest:
    """A guest of the lab, seen from outside.

    Its process and its serial line, never through libvirt.
    """

    name: str
    uuid: str
    serial: Path
    rooms: Mapping[str, Room]

    def where(self) -> list[str]:
        """The hosts where a process of it exists, sorted.

        Two of them while a live migration is under way.
        """
        return [host for host, room in sorted(self.rooms.items()) if processes(room, self.name)]

    def cpu_seconds(self) -> float:
        """CPU time of its QEMU process so far, in seconds; summed over both while it migrates.

        The count begins anew in the new process after a migration. LabError when it runs nowhere.
        """
        pids = [pid for room in self.rooms.values() for pid in processes(room, self.name)]
        if not pids:
            raise LabError(
                f"Guest {self.name} runs on no host, so it has no CPU time: start it first."
            )
        return sum(_cpu_seconds(pid) for pid in pids)

    def serial_log(self) -> str:
        """All it wrote on its serial line, on whichever host.

        One file that every host appends to.
        """
        return self.serial.read_text(errors="replace") if self.serial.exists() else ""

    def ticks(self) -> int:
        """The last number it said.

        It says one a second from 1 on, and begins anew only when it boots anew.
        """
        found = re.findall(r"^tick (\d+)\s*$", self.serial_log(), re.MULTILINE)
        return int(found[-1]) if found else 0

    def boots(self) -> int:
        """How often it came up: 1 after any number of live migrations."""
        return self.serial_log().count(f"{boot.UP} {self.name} up")


def processes(room: Room, guest: str) -> list[int]:
    """Process ids of a guest's QEMU on one host, from /proc alone."""
    wanted = f"guest={guest},".encode()
    return [
        pid for pid in room.pids(_PROGRAM) if any(word.startswith(wanted) for word in _words(pid))
    ]


def domain_xml(
    wish: Wish, domain_type: str, image: boot.BootImage, disk: str, serial: Path
) -> tuple[str, str]:
    """A guest's UUID and its libvirt definition; ``disk`` is a ``<disk>`` element or nothing.

    The wish must have been checked.
    """
    identity = str(uuid.uuid4())
    room_mib = max(16, wish.memory_mib - _SYSTEM_MIB)
    line = boot.command_line(
        wish.name, load=wish.load, dirty_mib_s=wish.dirty_mib_s, room_mib=room_mib
    )
    return identity, (
        f"<domain type='{domain_type}'><name>{wish.name}</name><uuid>{identity}</uuid>"
        f"{_metadata(wish.tags)}<memory "
        f"unit='MiB'>{wish.memory_mib}</memory><vcpu>{wish.vcpus}</vcpu>"
        "<os><type arch='x86_64' machine='pc'>hvm</type>"
        f"<kernel>{image.kernel}</kernel><initrd>{image.initrd}</initrd>"
        f"<cmdline>{escape(line)}</cmdline></os><features><acpi/><apic/></features>"
        f"<on_crash>destroy</on_crash><devices><emulator>{_emulator(domain_type)}</emulator>"
        f"{disk}<interface type='bridge'><source bridge='{network.GUEST_BRIDGE}'/><model "
        f"type='virtio'/>"
        "<rom enabled='no'/></interface>"
        f"<serial type='file'><source path='{serial}' append='on'/></serial>"
        "<memballoon model='virtio'><stats period='2'/></memballoon></devices></domain>"
    )


def _emulator(domain_type: str) -> str:
    """The program of a guest; with emulated CPUs one that keeps a fault of QEMU's away."""
    wrapper = str(Path(__file__).parent / "guest" / "emulator")
    return wrapper if domain_type == "qemu" else "/usr/bin/qemu-system-x86_64"


def check(wish: Wish) -> None:
    """Raise LabError on a wish that cannot be met, saying why."""
    if not _NAME.fullmatch(wish.name):
        raise LabError(
            f"{wish.name!r} cannot name a guest: letters, digits, '-', '_' and '.', 40 at most."
        )
    if wish.memory_mib < _LEAST_MIB:
        raise LabError(f"Guest {wish.name}: its kernel needs {_LEAST_MIB} MiB of memory at least.")
    if wish.vcpus < 1:
        raise LabError(f"Guest {wish.name}: a guest has one vCPU at least.")
    if not 0 <= wish.load <= wish.vcpus:
        raise LabError(
            f"Guest {wish.name}: load is in vCPUs, between 0 and {wish.vcpus}, not {wish.load}."
        )
    if wish.dirty_mib_s < 0:
        raise LabError(
            f"Guest {wish.name}: dirty_mib_s is a rate in MiB/s and cannot be {wish.dirty_mib_s}."
        )


def _metadata(tags: Mapping[str, str]) -> str:
    if not tags:
        return ""
    inner = "".join(
        f"<drover:tag key={quoteattr(key)} value={quoteattr(value)}/>"
        for key, value in tags.items()
    )
    return (
        f"<metadata><drover:tags xmlns:drover='{TAGS_NAMESPACE}'>{inner}</drover:tags></metadata>"
    )


def _words(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def _cpu_seconds(pid: int) -> float:
    """User and system time of a process (proc(5), fields 14 and 15)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
