"""Pure: the pool and volume of a VM's disks."""

from __future__ import annotations

from bot.domain.backing import plain
from bot.domain.cluster import Disk, Host, Pool
from bot.domain.storage import pool_of


def volume_of(source: str, pool: Pool) -> str:
    """``pool/volume`` of a disk's source if it lies directly in the pool, else ''."""
    if source.startswith(f"{pool.name}/"):
        return source
    directory, _, name = plain(source).rpartition("/")
    return f"{pool.name}/{name}" if pool.path and directory == plain(pool.path) else ""


def volume_on(source: str, host: Host) -> str:
    """``pool/volume`` of a disk's source in any pool of the host, else ''."""
    return next((place for pool in host.pools if (place := volume_of(source, pool))), "")


def path_on(disk: Disk, host: Host) -> str:
    """Where a disk is on its host, as programs there are told, be it named by its pool or not."""
    pool = pool_of(host, disk)
    if disk.kind != "volume" or pool is None or not pool.path:
        return disk.source
    return f"{pool.path.rstrip('/')}/{disk.source.partition('/')[2]}"


def own_disk(disk: Disk) -> bool:
    """Whether it is a disk with something in it, not a drive."""
    return disk.device == "disk" and bool(disk.source)
