"""Pure: where a guest's disks lie, and who else can see them."""

from __future__ import annotations

from bot.domain.cluster import Disk, Host, Pool, VmDetail

_REMOVABLE = frozenset({"cdrom", "floppy"})


def pool_of(host: Host, disk: Disk) -> Pool | None:
    """The pool of ``host`` that a disk is in: by name for volumes, by the longest path otherwise."""
    if disk.kind == "volume":
        name = disk.source.split("/", 1)[0]
        return next((pool for pool in host.pools if pool.name == name), None)
    inside = [pool for pool in host.pools if pool.path and _within(disk.source, pool.path)]
    return max(inside, key=lambda pool: len(pool.path), default=None)


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def is_shared(host: Host, disk: Disk) -> bool:
    """Whether other hosts can see the disk too: network disks, and what lies in a shared pool."""
    if disk.kind == "network":
        return True
    pool = pool_of(host, disk)
    return pool is not None and pool.shared


def is_medium(disk: Disk) -> bool:
    """An ISO, a floppy or a read-only seed: libvirt never copies those."""
    return disk.device in _REMOVABLE or disk.readonly


def local_disks(source: Host, detail: VmDetail) -> tuple[Disk, ...]:
    """Writable disks that only the source has."""
    return tuple(disk for disk in detail.disks if disk.source and not is_medium(disk) and not is_shared(source, disk))
