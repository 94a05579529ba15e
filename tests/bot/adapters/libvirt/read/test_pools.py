"""What a host tells of its storage pools: what of its servers each is, and which servers those are."""

from __future__ import annotations

from typing import Any

import pytest

from bot.adapters.libvirt.read.inventory import pools_of


class Handle:
    """A pool, or a connection that has one."""

    def __init__(self, text: str) -> None:
        self._text = text

    def name(self) -> str:
        return "pool"

    def XMLDesc(self, _: int = 0) -> str:  # noqa: N802 - libvirt's name
        return self._text

    def info(self) -> list[int]:
        return [2, 100, 10, 90]

    def autostart(self) -> int:
        return 1

    def listAllStoragePools(self, _: int = 0) -> list[Any]:  # noqa: N802
        return [self]


NETFS = "<host name='nas'/><dir path='/export//vms/'/><format type='nfs'/>"
RBD = "<host name='mon-2' port='6789'/><host name='mon-1'/><name>vms</name>"


@pytest.mark.parametrize(
    ("kind", "told", "source", "servers"),
    [
        ("netfs", NETFS, "/export/vms", ("nas",)),
        ("rbd", RBD, "vms", ("mon-1", "mon-2")),
        ("gluster", "<host name='g'/><dir path='/x'/><name>vol</name>", "vol", ("g",)),
        ("iscsi", "<host name='san'/><device path='iqn.x'/>", "iqn.x", ("san",)),
        ("logical", "<device path='/dev/sdb'/><name>vg</name>", "", ()),
        ("dir", "", "", ()),
    ],
)
def test_what_of_its_servers_a_pool_is(
    kind: str, told: str, source: str, servers: tuple[str, ...]
) -> None:
    text = (
        f"<pool type='{kind}'><name>pool</name><source>{told}</source>"
        "<target><path>/mnt</path></target></pool>"
    )
    (pool,) = pools_of(Handle(text)).pools
    assert (pool.source, pool.servers) == (source, servers)
