"""What is built for libvirt: volumes that keep bitmaps, and copies that share nothing they must not."""

from __future__ import annotations

from bot.adapters.libvirt import domain_build
from bot.adapters.libvirt.domain_xml import document


def test_a_new_qcow2_volume_is_of_version_3() -> None:
    made = document(domain_build.volume("a.qcow2", 1 << 20, base=("/pool/b.qcow2", "qcow2")))
    assert made.findtext("target/compat") == "1.1"
    assert made.findtext("backingStore/path") == "/pool/b.qcow2"
    assert document(domain_build.volume("a.iso", 1 << 20, format="raw")).find("target/compat") is None
