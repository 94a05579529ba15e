"""Pure: where a VM's disks lie, and who else can see them.

By the kind of storage, or as the configuration says.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from bot.domain.backing import image_name, plain
from bot.domain.cluster import Disk, DiskThere, Host, Pool, Seen, VmDetail

_CLUSTERS = frozenset({"rbd", "gluster", "sheepdog", "vxhs"})
_REMOVABLE = frozenset({"cdrom", "floppy"})
_DEVICE_FOLDERS = frozenset({"/dev", "/dev/disk/by-path", "/dev/disk/by-id", "/dev/mapper"})


@dataclass(frozen=True, slots=True)
class Declared:
    """What the configuration says of storage.

    A pool by its name, or every path that is, or lies below, a pattern.

    ``hosts``: on which hosts; empty means on all.
    """

    pool: str = ""
    path: str = ""
    shared: bool = True
    hosts: frozenset[str] = frozenset()

    def about(self, host: str) -> bool:
        """Tell whether it is about this host."""
        return not self.hosts or host in self.hosts


def declare(host: Host, declared: Iterable[Declared]) -> Host:
    """The host with its pools, and the paths that it shares, as the configuration says.

    The last word on one holds.
    """
    mine = [each for each in declared if each.about(host.name)]
    paths = {each.path: each.shared for each in mine if each.path}
    shared_paths = tuple(path for path, shared in paths.items() if shared)
    return replace(
        host, pools=declared_pools(host.name, host.pools, mine), shared_paths=shared_paths
    )


def declared_pools(
    host: str, pools: Iterable[Pool], declared: Iterable[Declared]
) -> tuple[Pool, ...]:
    """The pools of a host, each shared or not as the configuration says, where it says so."""
    said = {each.pool: each.shared for each in declared if each.pool and each.about(host)}
    return tuple(
        replace(pool, shared=said[pool.name], declared=True) if pool.name in said else pool
        for pool in pools
    )


def pool_of(host: Host, disk: Disk) -> Pool | None:
    """The pool of ``host`` that a disk is in: by name for volumes, by the longest path otherwise.

    Of devices whose folder belongs to everyone, such as ``/dev/disk/by-path``, only those of an
    iSCSI pool's own target are in that pool.
    """
    if disk.kind == "volume":
        name = disk.source.split("/", 1)[0]
        return next((pool for pool in host.pools if pool.name == name), None)
    inside = [pool for pool in host.pools if pool.path and _holds(pool, disk.source)]
    return max(inside, key=lambda pool: len(pool.path), default=None)


def shared_names(host: Host, detail: VmDetail) -> dict[str, Disk]:
    """The writable disks of a VM that other hosts see and no other VM should write to, by name.

    Under each of its names: the path, the pool and volume, what a server serves.
    """
    found: dict[str, Disk] = {}
    for disk in detail.disks:
        if disk.source and not disk.shareable and not is_medium(disk) and is_shared(host, disk):
            found |= dict.fromkeys(_names(host, disk), disk)
    return found


def _names(host: Host, disk: Disk) -> set[str]:
    pool, source = pool_of(host, disk), image_name(disk.source)
    if pool is None or disk.kind == "network":
        return {source}
    volume = disk.source.partition("/")[2]
    if disk.kind != "volume":
        folder, _, volume = source.rpartition("/")
        return {source, f"{pool.name}/{volume}"} if folder == plain(pool.path) else {source}
    path = plain(f"{pool.path}/{volume}") if pool.path else f"{pool.kind}:{pool.source}/{volume}"
    return {source, path}


def is_one_storage(pool: Pool, other: Pool) -> bool:
    """Whether the pools of two hosts can be one storage, as far as their definitions tell.

    A server may have a name on one host and an address on the other, so servers do not decide.
    """
    known = pool.source and other.source and not (pool.declared and other.declared)
    return pool.shared and other.shared and (not known or pool.source == other.source)


def is_same_place(disk: Disk, pool: Pool, other: Pool) -> bool:
    """Whether a disk of ``pool`` would be looked for in the pool ``other`` of another host."""
    if disk.kind == "volume":
        return pool.name == other.name
    return plain(pool.path) == plain(other.path)


def _holds(pool: Pool, path: str) -> bool:
    if plain(pool.path) not in _DEVICE_FOLDERS:
        return _within(path, pool.path)
    if pool.kind in {"iscsi", "iscsi-direct"}:
        return bool(pool.source) and f"-iscsi-{pool.source}-lun-" in path
    # Multipath devices share their folder with LVM's, whose names are GROUP-VOLUME.
    return pool.kind == "mpath" and _within(path, pool.path) and "-" not in path.rpartition("/")[2]


def _within(path: str, folder: str) -> bool:
    """Whether a path lies in a folder, however both are spelt."""
    path, folder = plain(path), plain(folder)
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def declared_shared(host: Host, disk: Disk) -> bool:
    """Whether the configuration says that other hosts can see the disk too."""
    if disk.kind == "network":
        return any(_covers(each.rstrip("/"), disk.source) for each in host.shared_paths)
    if disk.kind != "volume" and _path_declared(host, disk.source):
        return True
    pool = pool_of(host, disk)
    return pool is not None and pool.declared and pool.shared


def _path_declared(host: Host, path: str) -> bool:
    """Whether a pattern covers a path in one of its spellings, none of which leads elsewhere."""
    patterns = [each.rstrip("/") for each in host.shared_paths]
    return any(
        _covers(each, name) for each in patterns for name in {posixpath.normpath(path), plain(path)}
    )


def _covers(pattern: str, name: str) -> bool:
    return name == pattern or fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}/*")


def is_shared(host: Host, disk: Disk) -> bool:
    """Whether other hosts can see the disk too.

    Network disks, what lies in a shared pool, and what is declared so. A server that each host
    finds on itself, such as ``nbd://localhost``, is another one on each.
    """
    if disk.kind == "network":
        return not _served_by_own_host(disk.source) or declared_shared(host, disk)
    pool = pool_of(host, disk)
    return (pool is not None and pool.shared) or declared_shared(host, disk)


def _served_by_own_host(url: str) -> bool:
    """Whether a network disk comes from its host itself: over a Unix socket, or from localhost.

    The server of a cluster's storage may well be there: each host has one, and all tell the same.
    """
    kind, _, rest = url.partition("://")
    server = rest.partition("/")[0].lower()
    return kind not in _CLUSTERS and (
        not server or server.startswith(("localhost", "127.", "::1", "[::1]"))
    )


def is_medium(disk: Disk) -> bool:
    """An ISO, a floppy or a read-only seed: libvirt never copies those."""
    return disk.device in _REMOVABLE or disk.readonly


def local_disks(source: Host, detail: VmDetail) -> tuple[Disk, ...]:
    """Writable disks that only the source has."""
    return tuple(
        disk
        for disk in detail.disks
        if disk.source and not is_medium(disk) and not is_shared(source, disk)
    )


def is_device(host: Host, disk: Disk) -> bool:
    """Whether a disk is a device of its host, whose size QEMU cannot change."""
    if disk.kind in {"block", "nvme", "vhostuser", "vhostvdpa"} or _within(disk.source, "/dev"):
        return True
    pool = pool_of(host, disk) if disk.kind == "volume" else None
    return pool is not None and pool.holds_devices


def can_be_copied(disk: Disk) -> bool:
    """Whether a migration may copy a disk: a file or volume that no other VM uses.

    A block device has no pool to be made in, and a SAN's would be copied onto itself; libvirt lets
    a definition call it a file.
    """
    is_device = _within(disk.source, "/dev")
    return disk.kind in {"file", "volume"} and not disk.shareable and not is_device


def copied_disks(source: Host, detail: VmDetail) -> tuple[Disk, ...]:
    """Disks that a migration with copies has to copy: those that only the source has."""
    return tuple(disk for disk in local_disks(source, detail) if can_be_copied(disk))


def asked_disks(source: Host, detail: VmDetail) -> tuple[Disk, ...]:
    """Files and volumes, media too, of which another host is asked whether it has the very same."""
    files = (disk for disk in detail.disks if disk.source and disk.kind in {"file", "volume"})
    return tuple(disk for disk in files if not is_shared(source, disk))


def sightings(disks: Iterable[Disk], looked: Iterable[DiskThere]) -> frozenset[Seen]:
    """What another host showed of these disks; ``UNKNOWN`` of those it was not asked for."""
    found = {each.target: each.seen for each in looked}
    return frozenset(found.get(disk.target, Seen.UNKNOWN) for disk in disks)
