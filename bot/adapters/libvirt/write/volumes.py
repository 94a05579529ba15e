"""Volumes of a host's storage pools, through libvirt alone.

So that it works over any connection.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import libvirt
from lxml import etree

from bot.adapters.libvirt.read.domain_xml import document
from bot.adapters.libvirt.read.pool_refresh import Refreshes
from bot.adapters.libvirt.transport.connections import Connection
from bot.adapters.libvirt.transport.parts import Parts, name_of
from bot.adapters.libvirt.write import domain_build
from bot.domain.errors import VOLUME_BUSY, HypervisorError
from bot.domain.message import words
from bot.ports.guests import GuestDisk, Volume

Vol: TypeAlias = libvirt.virStorageVol
"""A ``libvirt.virStorageVol``; the vendor publishes no types."""

_ABSENT = frozenset({libvirt.VIR_ERR_NO_STORAGE_VOL, libvirt.VIR_ERR_NO_STORAGE_POOL})
_LARGEST_CHUNK = 1 << 18  # bytes handed to the stream at once
_PATIENT = 600.0  # seconds that work at length waits for a pool that somebody else reads


def find(
    connection: Connection, pool: str, name: str, refreshes: Refreshes | None = None
) -> Volume | None:
    """A volume; the pool is read again when it does not know it, at most as ``refreshes`` lets it.

    Raises:
        HostUnreachableError: the pool is being read, for somebody else.
    """
    volume = _handle(connection, pool, name, refreshes)
    return None if volume is None else _volume(pool, volume)


def place(connection: Connection, disk: GuestDisk) -> domain_build.PlacedDisk:
    """Where a disk's volume is.

    Raises:
        HypervisorError: there is no such volume, or it is neither a file nor a block device.
    """
    volume = _handle(connection, disk.pool, disk.volume)
    if volume is None:
        raise HypervisorError(
            words("There is no volume {pool}/{name}.", pool=disk.pool, name=disk.volume),
            words("It was removed meanwhile: ask again."),
        )
    kind = volume.info()[0]
    if kind not in (libvirt.VIR_STORAGE_VOL_FILE, libvirt.VIR_STORAGE_VOL_BLOCK):
        raise HypervisorError(
            words(
                "{pool}/{name} is neither a file nor a block device.",
                pool=disk.pool,
                name=disk.volume,
            ),
            words("Choose another pool."),
        )
    return domain_build.PlacedDisk(disk, volume.path(), kind == libvirt.VIR_STORAGE_VOL_BLOCK)


def make(  # noqa: PLR0917 - the port's own arguments
    connection: Connection,
    pool: str,
    name: str,
    capacity: int,
    base: Volume | None,
    copy: bool,  # noqa: FBT001
) -> Volume:
    """Make a qcow2 volume, empty, on top of ``base`` or as a full copy of it."""
    where = connection.storagePoolLookupByName(pool)
    if base is not None and copy:
        source = _require(connection, base.pool, base.name)
        made = where.createXMLFrom(domain_build.volume(name, base.capacity), source, 0)
        if capacity > base.capacity:
            made.resize(capacity, 0)
    else:
        backing = (base.path, base.format or "qcow2") if base else None
        made = where.createXML(domain_build.volume(name, capacity, base=backing), 0)
    return _volume(pool, made)


def upload(
    connection: Connection,
    pool: str,
    name: str,
    content: bytes,
    *,
    form: str = "raw",
    refreshes: Refreshes | None = None,
) -> Volume:
    """Put ``content`` into a volume, instead of one of that name.

    Libvirt makes other forms of a raw one.
    """
    refreshes = refreshes or Refreshes()
    if form == "raw":
        return _volume(pool, _upload(connection, pool, name, content, refreshes))
    delete(connection, pool, name, refreshes, patience=_PATIENT)
    raw = _upload(connection, pool, f"{name}.raw", content, refreshes)
    try:
        where = connection.storagePoolLookupByName(pool)
        return _volume(
            pool, where.createXMLFrom(domain_build.volume(name, len(content), format=form), raw, 0)
        )
    finally:
        raw.delete(0)


def _upload(
    connection: Connection, pool: str, name: str, content: bytes, refreshes: Refreshes
) -> Vol:
    delete(connection, pool, name, refreshes, patience=_PATIENT)
    where = connection.storagePoolLookupByName(pool)
    made = where.createXML(domain_build.volume(name, len(content), format="raw"), 0)
    stream = connection.newStream(0)
    made.upload(stream, 0, len(content), 0)
    try:
        for start in range(0, len(content), _LARGEST_CHUNK):
            _send(stream, content[start : start + _LARGEST_CHUNK])
        stream.finish()
    except libvirt.libvirtError:
        stream.abort()
        raise
    return made


def content(connection: Connection, pool: str, name: str) -> bytes:
    """All that a volume holds; for small ones.

    Raises:
        libvirt.libvirtError: there is no such volume as far as the host knows.
    """
    volume = connection.storagePoolLookupByName(pool).storageVolLookupByName(name)
    stream = connection.newStream(0)
    volume.download(stream, 0, 0, 0)
    return receive(stream)


def delete(
    connection: Connection,
    pool: str,
    name: str,
    refreshes: Refreshes | None = None,
    *,
    patience: float = 0.0,
) -> None:
    """Remove a volume; one that is not there is no error.

    Raises:
        HypervisorError: it is being made, copied or read (``VOLUME_BUSY``).
    """
    volume = _handle(connection, pool, name, refreshes, patience=patience)
    if volume is None:
        return
    try:
        volume.delete(0)
    except libvirt.libvirtError as error:
        # The pool has just been found active, so it is the volume whose state is in the way
        if error.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID:
            raise _busy(pool, name) from error
        raise


def _busy(pool: str, name: str) -> HypervisorError:
    return HypervisorError(
        words("{pool}/{name} is being made, copied or read.", pool=pool, name=name),
        words("Ask again when that has ended."),
        code=VOLUME_BUSY,
    )


def tail(connection: Connection, path: str, most: int) -> bytes | None:
    """The last ``most`` bytes of a file that lies in a pool; None when no pool has it."""
    volume = _by_path(connection, path)
    if volume is None:
        return None
    size = volume.infoFlags(libvirt.VIR_STORAGE_VOL_GET_PHYSICAL)[2]
    start = max(0, size - most)
    if size == start:
        return b""
    stream = connection.newStream(0)
    volume.download(stream, start, size - start, 0)
    return receive(stream)


def reader(connection: Connection, source: str) -> Callable[[int, int], bytes] | None:
    """Reads bytes of a file that lies in a pool, from an offset on and at most so many.

    None when no pool has it.
    """
    volume = _by_path(connection, source)
    if volume is None:
        return None
    size = volume.infoFlags(libvirt.VIR_STORAGE_VOL_GET_PHYSICAL)[2]

    def read(offset: int, most: int) -> bytes:
        length = min(most, size - offset)
        if length <= 0:
            return b""
        stream = connection.newStream(0)
        volume.download(stream, offset, length, 0)
        return receive(stream)

    return read


def receive(stream: libvirt.virStream) -> bytes:
    """All that a stream brings."""
    parts: list[bytes] = []

    def keep(_: object, part: bytes, __: object) -> int:
        parts.append(part)
        return len(part)

    stream.recvAll(keep, None)
    stream.finish()
    return b"".join(parts)


def pool_path(connection: Connection, pool: str) -> str:
    """The directory of a pool, '' for one that has none."""
    described = document(connection.storagePoolLookupByName(pool).XMLDesc(0))
    return (
        described.findtext("target/path", "")
        if described.get("type") in {"dir", "fs", "netfs"}
        else ""
    )


def by_source(connection: Connection, source: str) -> tuple[str, str] | None:
    """Pool and name of the volume at a path; None when no pool has it."""
    volume = _by_path(connection, source)
    return None if volume is None else (volume.storagePoolLookupByVolume().name(), volume.name())


def at(connection: Connection, source: str, *, volume: bool) -> Volume | None:
    """The volume at a path, or of a ``pool/volume``.

    The pool is read again when it does not know it.
    """
    if volume:
        pool, _, name = source.partition("/")
        return find(connection, pool, name)
    handle = _by_path(connection, source)
    return None if handle is None else _volume(handle.storagePoolLookupByVolume().name(), handle)


def _send(stream: libvirt.virStream, part: bytes) -> None:
    while part:
        sent = stream.send(part)
        if sent <= 0:
            raise HypervisorError(
                words("The host stopped accepting the cloud-init seed."),
                words("Check its libvirt log, then try again."),
            )
        part = part[sent:]


def _require(connection: Connection, pool: str, name: str) -> Vol:
    volume = _handle(connection, pool, name)
    if volume is None:
        raise HypervisorError(
            words("There is no volume {pool}/{name}.", pool=pool, name=name),
            words("It was removed meanwhile: ask again."),
        )
    return volume


def _handle(
    connection: Connection,
    pool: str,
    name: str,
    refreshes: Refreshes | None = None,
    *,
    patience: float = 0.0,
) -> Vol | None:
    refreshes = refreshes or Refreshes()
    refreshes.check(pool, patience=patience)  # whatever is asked about it would wait
    try:
        where = connection.storagePoolLookupByName(pool)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_STORAGE_POOL:
            return None
        raise
    again = partial(refreshes.refresh, pool, lambda: where.refresh(0), patience=patience)
    return _look_up(lambda: where.storageVolLookupByName(name), again)


def _by_path(connection: Connection, path: str) -> Vol | None:
    parts = Parts(connection)
    for pool in connection.listAllStoragePools(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE):
        root = parts.read("pool", name_of(pool), partial(_description, pool))
        directory = "" if root is None else root.findtext("target/path", "")
        if directory and path.startswith(f"{directory.rstrip('/')}/"):
            return _look_up(
                lambda: connection.storageVolLookupByPath(path), partial(pool.refresh, 0)
            )
    return None


def _description(pool: libvirt.virStoragePool) -> etree._Element:
    return document(pool.XMLDesc(0))


def _look_up(look: Callable[[], Vol], again: Callable[[], object]) -> Vol | None:
    """What ``look`` finds, at the second try in a pool read again.

    Files come there behind libvirt's back.
    """
    try:
        return look()
    except libvirt.libvirtError as error:
        if error.get_error_code() not in _ABSENT:
            raise
    try:
        again()
        return look()
    except libvirt.libvirtError as error:
        # A pool in which something is being made right now cannot be read again; what it knows must
        # do.
        if error.get_error_code() in {*_ABSENT, libvirt.VIR_ERR_INTERNAL_ERROR}:
            return None
        raise


def _volume(pool: str, volume: Vol) -> Volume:
    try:
        _, capacity, allocation = volume.info()
    except libvirt.libvirtError as error:
        # The pool lists it, so it is being made and has no file yet
        if error.get_error_code() == libvirt.VIR_ERR_NO_STORAGE_VOL:
            raise _busy(pool, volume.name()) from error
        raise
    described = document(volume.XMLDesc(0))
    found = described.find("target/format")
    written = "" if found is None else found.get("type", "")
    base = described.findtext("backingStore/path", "")
    return Volume(pool, volume.name(), volume.path(), capacity, allocation, written, base)
