"""Facts read out of what programs on hosts say: pure functions from text to values."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from bot.domain.readiness import Severity
from plugins.host_check import virconf
from plugins.host_check.findings import Seen

_ROW = re.compile(
    r"^\s*QEMU: Checking (.+?)\s+: (PASS|WARN|FAIL|NOTE)(?: \((.*)\))?\s*$", re.MULTILINE
)
_ENTRY = re.compile(r"_entry\s+\"(\w+)\"|\bkey\s+\"(\w+)\"")
_LISTENER = re.compile(r"^\S+\s+\d+\s+\d+\s+(\S+):(\d+)\s", re.MULTILINE)


class Mode(StrEnum):
    """How libvirt's daemons run."""

    MONOLITHIC = "monolithic libvirtd"
    MODULAR = "modular daemons"
    # no message: `rules_access.MODES` says it
    BOTH = "libvirtd and modular daemons side by side"
    UNKNOWN = "unknown"


def validate_rows(text: str) -> dict[str, tuple[Severity, str]]:
    """The rows of ``virt-host-validate qemu``: what it looked at → verdict and its advice.

    A NOTE counts as PASS.
    """
    return {
        what: (Severity.PASS if verdict == "NOTE" else Severity(verdict), advice)
        for what, verdict, advice in _ROW.findall(text)
    }


def settings_in(text: str) -> dict[str, str]:
    """The keys that a libvirt configuration file sets, with their values, as libvirt reads them."""
    return {key: setting.value for key, setting in virconf.parse(text).settings.items()}


def known_keys(lens: str) -> frozenset[str]:
    """The keys that an Augeas lens of libvirt knows."""
    return frozenset(one or other for one, other in _ENTRY.findall(lens))


def listeners(text: str) -> Iterator[tuple[str, int]]:
    """Address and port of each line of ``ss -Hltn``."""
    for address, port in _LISTENER.findall(text + "\n"):
        yield address.strip("[]").partition("%")[0], int(port)


def is_loopback(address: str) -> bool:
    """Whether an address is this machine's own; a wildcard is not."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def programs(text: str) -> dict[str, str]:
    """The running programs by base name, with the whole command line, of ``ps -e -o args=``."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        words = line.split()
        if words:
            found.setdefault(words[0].rpartition("/")[2], line.strip())
    return found


def active_units(text: str) -> frozenset[str]:
    """The active ones of ``UNIT STATE`` lines."""
    pairs = (line.split() for line in text.splitlines())
    return frozenset(pair[0] for pair in pairs if len(pair) == 2 and pair[1] == "active")


def mode(seen: Seen) -> Mode:
    """How libvirt's daemons run on a host."""
    running, units = programs(seen.text("processes")), active_units(seen.text("units"))
    old = "libvirtd" in running or bool(units & {"libvirtd.service", "libvirtd.socket"})
    new = "virtqemud" in running or bool(units & {"virtqemud.service", "virtqemud.socket"})
    if old and new:
        return Mode.BOTH
    return Mode.MONOLITHIC if old else Mode.MODULAR if new else Mode.UNKNOWN


def socket_activated(seen: Seen) -> bool:
    """Whether systemd listens for libvirt, so that the ``listen_*`` settings are not honoured."""
    return bool(active_units(seen.text("units")) & {"libvirtd.socket", "virtqemud.socket"})


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate on a host; ``ends`` None: it could not be read.

    ``strange``: not of the authority beside it.
    """

    path: str
    ends: datetime | None = None
    strange: bool = False

    @property
    def file(self) -> str:
        """Its name without the directory: libvirt and QEMU name theirs differently."""
        return self.path.rpartition("/")[2]

    def days(self, now: datetime) -> float:
        """Days until it ends, below 0 when it has ended; infinite where its end is unknown."""
        return math.inf if self.ends is None else (self.ends - now).total_seconds() / 86400


def certificates(text: str) -> Iterator[Certificate]:
    """Each certificate that the probe has found."""
    found: Certificate | None = None
    for line in text.splitlines():
        if line.startswith("file "):
            if found:
                yield found
            found = Certificate(line.removeprefix("file "))
        elif found and line.startswith("notAfter="):
            found = replace(found, ends=_moment(line.removeprefix("notAfter=")))
        elif found and line.endswith(": verification failed"):
            found = replace(found, strange=True)
    if found:
        yield found


def _moment(text: str) -> datetime | None:
    """``Jan 31 12:00:00 2027 GMT``, as openssl writes it in the C locale."""
    try:
        return datetime.strptime(text.strip(), "%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC)
    except ValueError:
        return None


def controllers(seen: Seen) -> frozenset[str]:
    """The control-group controllers there are, by the names that ``virt-host-validate`` uses."""
    found: set[str] = set()
    for line in seen.text("cgroup-mounts").splitlines():
        fields = line.split()
        if len(fields) > 3 and fields[2] == "cgroup":
            found |= set(fields[3].split(","))
        elif len(fields) > 2 and fields[2] == "cgroup2":
            found |= _controllers(seen.text("cgroup-controllers"))
    return frozenset(found & {"cpu", "cpuacct", "cpuset", "memory", "devices", "blkio"})


def _controllers(text: str) -> set[str]:
    """Controllers of version 2 by their names in version 1; ``devices`` is always there."""
    listed = set(text.split())
    if not listed:
        return set()
    renamed = {"cpu": {"cpu", "cpuacct"}, "io": {"blkio"}}
    return set().union(*(renamed.get(each, {each}) for each in listed)) | {"devices"}


def members(group: str) -> tuple[str, ...]:
    """The people of a line of ``getent group``."""
    return tuple(filter(None, group.strip().rpartition(":")[2].split(",")))


def meminfo(text: str) -> dict[str, int]:
    """``/proc/meminfo`` as it counts: KiB, or pages for HugePages."""
    return {name: int(count) for name, count in re.findall(r"^(\w+):\s+(\d+)", text, re.MULTILINE)}


def version_text(number: int) -> str:
    """``7.2.22`` of 7002022."""
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"
