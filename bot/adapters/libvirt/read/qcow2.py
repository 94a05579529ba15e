"""The snapshots in a qcow2 image, read from the image itself (QEMU's docs/interop/qcow2.rst).

Libvirt tells no IDs.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from bot.domain.errors import UnfitError
from bot.domain.message import words

Read = Callable[[int, int], bytes]
"""Bytes from an offset on, at most so many; fewer at the end of the file."""

_MAGIC = b"QFI\xfb"
_HEADER = 72  # bytes up to the end of snapshots_offset, the same in versions 2 and 3
_ENTRY = struct.Struct(">QIHHIIQII")
_TABLE = 1 << 16  # bytes read of the table; holds some hundred snapshots
_MOST_ALIGNED = 7


def snapshot_ids(read: Read) -> dict[str, str]:
    """Name by ID of each internal snapshot.

    Raises:
        ValueError: it is no qcow2 image, or its table is longer than what is read of it.
    """
    header = read(0, _HEADER)
    if len(header) < _HEADER or header[:4] != _MAGIC:
        raise UnfitError(words("this is no qcow2 image"))
    count, offset = struct.unpack_from(">IQ", header, 60)
    return dict(_entries(read(offset, _TABLE), count)) if count else {}


def _entries(table: bytes, count: int) -> Iterator[tuple[str, str]]:
    at = 0
    for _ in range(count):
        if at + _ENTRY.size > len(table):
            raise UnfitError(words("the table of snapshots is too long"))
        _, _, id_size, name_size, _, _, _, _, extra = _ENTRY.unpack_from(table, at)
        at += _ENTRY.size + extra
        identity, name = table[at : at + id_size], table[at + id_size : at + id_size + name_size]
        at += id_size + name_size
        if at > len(table):
            raise UnfitError(words("the table of snapshots is too long"))
        yield identity.decode(errors="replace"), name.decode(errors="replace")
        at = (at + _MOST_ALIGNED) & ~_MOST_ALIGNED
