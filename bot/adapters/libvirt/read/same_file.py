"""Whether another host has the very same file at the place of a VM's disk.

By what libvirt tells of both.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation

from bot.adapters.libvirt.read.backing import image_of
from bot.adapters.libvirt.transport.connections import Connection
from bot.adapters.libvirt.write import volumes
from bot.domain.backing import Image
from bot.domain.cluster import Disk, DiskThere, Seen
from bot.ports.guests import Volume

Images = Mapping[str, Image | None]
"""By a disk's target in its VM: its image as one host sees it; None when there is none."""


class Memory:
    """What hosts had at the places of VMs' disks a moment ago.

    A look reads pools again, which takes seconds where they hold many volumes; so it is not
    repeated at each glance at a VM. Before a copy begins the target is looked at afresh in any
    case.
    """

    _KEPT = 60.0

    def __init__(self) -> None:
        self._known: dict[
            tuple[str, str], tuple[float, tuple[Disk, ...], tuple[DiskThere, ...]]
        ] = {}

    def recall(self, vm: str, host: str, disks: tuple[Disk, ...]) -> tuple[DiskThere, ...] | None:
        """Return what ``host`` had for these disks of a VM (a UUID).

        None when that is not known, or too old.
        """
        at, asked, found = self._known.get((vm, host), (0.0, (), ()))
        fresh = found and _sources(asked) == _sources(disks) and time.monotonic() - at < self._KEPT
        return found if fresh else None

    def keep(
        self, vm: str, host: str, disks: tuple[Disk, ...], found: tuple[DiskThere, ...]
    ) -> None:
        """Remember a look, but for what it could not see."""
        if all(each.seen is not Seen.UNKNOWN for each in found):
            self._known[vm, host] = (time.monotonic(), disks, found)


def _sources(disks: Iterable[Disk]) -> list[tuple[str, str]]:
    return [(disk.target, disk.source) for disk in disks]


def images(connection: Connection, disks: Iterable[Disk]) -> Images:
    """Look for the images of disks on one host, afresh: files come there behind libvirt's back."""
    return {
        disk.target: image_of(connection, disk.source, volume=disk.kind == "volume")
        for disk in disks
    }


def compare(before: Images, there: Images | None, after: Images | None) -> tuple[DiskThere, ...]:
    """What another host showed, against two looks at the source.

    One ``before`` and one ``after`` it.

    The VM may write meanwhile, so the moments of the last change that the other host told may lie
    in between.
    """
    return tuple(
        DiskThere(target, _compare_disk(target, before, there, after)) for target in before
    )


def _compare_disk(target: str, before: Images, there: Images | None, after: Images | None) -> Seen:
    if there is None:
        return Seen.UNKNOWN
    found, first, last = there[target], before[target], after[target] if after else None
    if found is None:
        return Seen.ABSENT
    stamps = [each.stamp if each else "" for each in (first, found, last)]
    # Something is there. Where libvirt tells too little to know it again, it counts as something
    # else.
    return Seen.SAME if all(stamps) and _between(*stamps) else Seen.OTHER


def _between(first: str, found: str, last: str) -> bool:
    """Stamps are the moments of the last changes and sizes, in that order; see ``backing``."""
    words = [stamp.split(" ") for stamp in (first, found, last)]
    try:
        moments = [[Decimal(word) for word in each[:2]] for each in words]
    except InvalidOperation:
        return False
    sizes = {words[0][2], words[2][2]}
    return words[1][2] in sizes and all(
        low <= middle <= high for low, middle, high in zip(*moments, strict=True)
    )


def volumes_at(connection: Connection, disks: Iterable[Disk]) -> tuple[Volume, ...]:
    """The volumes that a host has at the places of disks."""
    found = (volumes.at(connection, disk.source, volume=disk.kind == "volume") for disk in disks)
    return tuple(each for each in found if each is not None)
