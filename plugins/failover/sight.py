"""How well this bot sees, and since when."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from bot.domain.cluster import Snapshot
from bot.domain.message import Message

_MACHINE = Path("/sys/class/dmi/id/product_uuid")
"""The machine's UUID, which libvirt gives a VM as its own; root alone may read it."""


def own_machine(told: Path = _MACHINE) -> str:
    """The UUID of the machine that the bot runs on, which may be a VM.

    '' when it cannot be read.
    """
    try:
        return told.read_text(encoding="ascii").strip().lower()
    except (OSError, UnicodeDecodeError):
        return ""


@dataclass(slots=True)
class Sight:
    """Since when this bot sees, and when it last saw too little.

    ``silent``: since when each host is silent. ``looks``: how many looks in a row saw it so.
    ``heard_by_peers``: hosts that other hosts heard while they answered. ``boots``: the boot id of
    each host with a shell, as last read. ``back``: hosts that were silent and answer again.
    ``places``: the address of each VM, by UUID, that answered another host while its host did.
    ``mute``: controllers that do not answer, by (host, device): since when, and why.
    ``admitted``: at which of its boots each host was told that it is admitted; see ``guard``.
    ``anchors``: places that are no hosts, ``address:port``, which the bot hears when it sees well.
    ``own``: names and UUIDs of VMs that the bot or its database runs in.
    """

    anchors: tuple[str, ...] = ()
    own: frozenset[str] = frozenset()
    started_at: datetime | None = None
    storm_at: datetime | None = None
    silent: dict[str, datetime] = field(default_factory=dict)
    looks: dict[str, int] = field(default_factory=dict)
    noted_at: datetime | None = None
    heard_by_peers: set[str] = field(default_factory=set)
    places: dict[str, str] = field(default_factory=dict)
    boots: dict[str, str] = field(default_factory=dict)
    back: set[str] = field(default_factory=set)
    admitted: dict[str, str] = field(default_factory=dict)
    mute: dict[tuple[str, str], tuple[datetime, Message]] = field(default_factory=dict)

    def note(self, seen: Snapshot) -> None:
        """Keep what a look shows of the bot's own view."""
        if self.started_at is None:
            self.started_at = seen.taken_at
        down = [host.name for host in seen.hosts if not host.up]
        if len(down) >= 2 and 2 * len(down) >= len(seen.hosts):
            self.storm_at = seen.taken_at
        self.back |= set(self.silent) - set(down)
        self.silent = {name: self.silent.get(name, seen.taken_at) for name in down}
        if seen.taken_at != self.noted_at:
            self.looks = {name: self.looks.get(name, 0) + 1 for name in down}
            self.noted_at = seen.taken_at
