"""The configuration as the adapters are handed it."""

from __future__ import annotations

from bot.adapters.libvirt import HostAddress
from bot.parts import addresses
from bot.settings import DroverSettings, HostSection


def test_a_hosts_table_says_how_it_is_reached_and_whether_memory_is_encrypted_on_its_way_there() -> None:
    whole = HostSection(
        name="host-a", uri="qemu+ssh://drover@host-a/system", migrate_uri="qemu+tls://host-a/system",
        migrate_data_uri="tcp://10.0.0.1", migrate_tls=True, reserve=1 << 30, tags={"rack": "r1"},
    )  # fmt: skip
    short = HostSection(name="host-b", uri="qemu+tls://host-b/system")
    assert addresses(DroverSettings(hosts=(whole, short))) == [
        HostAddress(
            "host-a", "qemu+ssh://drover@host-a/system", "qemu+tls://host-a/system", "tcp://10.0.0.1",
            migrate_tls=True, reserve=1 << 30, tags={"rack": "r1"},
        ),
        HostAddress("host-b", "qemu+tls://host-b/system", "qemu+tls://host-b/system"),
    ]  # fmt: skip
