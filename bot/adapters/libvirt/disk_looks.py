"""Whether another host has the very same file at the place of a VM's disk, by what libvirt tells of both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation

from bot.adapters.libvirt import volumes
from bot.adapters.libvirt.backing import image_of
from bot.adapters.libvirt.connections import Connection
from bot.domain.backing import Image
from bot.domain.cluster import Disk, DiskThere, Seen
from bot.ports.guests import Volume

Images = Mapping[str, Image | None]
"""By a disk's target in its VM: its image as one host sees it; None when there is none."""


def images(connection: Connection, disks: Iterable[Disk]) -> Images:
    """Look for the images of disks on one host, afresh: files come there behind libvirt's back."""
    return {disk.target: image_of(connection, disk.source, volume=disk.kind == "volume") for disk in disks}


def compared(before: Images, there: Images | None, after: Images | None) -> tuple[DiskThere, ...]:
    """What another host showed, against two looks at the source, one ``before`` and one ``after`` it.

    The VM may write meanwhile, so the moments of the last change that the other host told may lie in between.
    """
    return tuple(DiskThere(target, _seen(target, before, there, after)) for target in before)


def _seen(target: str, before: Images, there: Images | None, after: Images | None) -> Seen:
    if there is None:
        return Seen.UNKNOWN
    found, first = there[target], before[target]
    if found is None:
        return Seen.ABSENT
    if first is None or after is None or (last := after[target]) is None:
        return Seen.UNKNOWN
    if not (found.stamp and first.stamp and last.stamp):
        return Seen.UNKNOWN
    return Seen.SAME if _between(first.stamp, found.stamp, last.stamp) else Seen.OTHER


def _between(first: str, found: str, last: str) -> bool:
    """Stamps are the moments of the last changes and sizes, in that order; see ``backing``."""
    try:
        moments = [[Decimal(word) for word in stamp.split(" ")[:2]] for stamp in (first, found, last)]
    except InvalidOperation:
        return False
    return all(low <= middle <= high for low, middle, high in zip(*moments, strict=True))


def volumes_at(connection: Connection, disks: Iterable[Disk]) -> tuple[Volume, ...]:
    """The volumes that a host has at the places of disks."""
    found = (volumes.at(connection, disk.source, volume=disk.kind == "volume") for disk in disks)
    return tuple(each for each in found if each is not None)
