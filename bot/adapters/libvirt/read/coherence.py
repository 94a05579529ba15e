"""Whether two hosts truly see one storage: what one writes now, the other reads now."""

from __future__ import annotations

import secrets

import libvirt

from bot.adapters.libvirt.transport.connections import Connection
from bot.adapters.libvirt.write import volumes

_GONE = frozenset({libvirt.VIR_ERR_NO_STORAGE_VOL, libvirt.VIR_ERR_NO_STORAGE_POOL})


def sees_what_is_written(source: Connection, pool: str, target: Connection, there: str) -> bool:
    """Write a small file of its own into ``pool`` of the source and read it.

    From the pool ``there`` of the target.

    A file system that two hosts mounted without knowing of each other shows old files on both, and
    this one on one alone. The file has a random name and is removed again.

    Raises:
        libvirt.libvirtError: a pool could not be written or read.
    """
    name, content = f"drover-probe-{secrets.token_hex(8)}.raw", secrets.token_bytes(512)
    volumes.upload(source, pool, name, content)
    try:
        target.storagePoolLookupByName(there).refresh(0)
        return volumes.content(target, there, name) == content
    except libvirt.libvirtError as error:
        if error.get_error_code() not in _GONE:
            raise
        return False
    finally:
        volumes.delete(source, pool, name)
        # So that its pool does not list what is gone
        target.storagePoolLookupByName(there).refresh(0)
