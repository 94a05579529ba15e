"""What is done to one VM, asked of libvirt's own test driver."""

from __future__ import annotations

from typing import Any

import libvirt
import pytest

from bot.adapters.libvirt.write import vm_commands
from bot.domain.errors import HypervisorError

MIB = 1 << 20


def with_disk(connection: libvirt.virConnect, form: str, content: str, more: str = "") -> Any:
    """A VM that is off; its disk's volume looks like ``content``."""
    pool = connection.storagePoolLookupByName("default-pool")
    volume = pool.createXML(
        f"<volume><name>web</name><capacity>{MIB}</capacity>"
        f"<target><format type='{content}'/></target></volume>"
    )
    return connection.defineXML(
        "<domain type='test'><name>web</name><memory>1024</memory><os><type>hvm</type></os><devices>"
        f"<disk type='file'><driver type='{form}'/><source file='{volume.path()}'>{more}</source>"
        "<target dev='vda'/></disk></devices></domain>"
    )


@pytest.mark.parametrize("content", ["qcow2", "vmdk"])
def test_a_raw_disk_whose_content_looks_like_an_image_is_not_copied_as_one(
    connection: libvirt.virConnect, content: str
) -> None:
    """Its VM may have written that; libvirt would copy what the image shows."""
    domain = with_disk(connection, "raw", content)
    (told,) = vm_commands.not_copyable(connection, domain.UUIDString())
    assert (
        str(told) == f"the disk vda (raw in the definition, but its content looks like {content})"
    )
    with pytest.raises(HypervisorError, match="It was not changed"):
        vm_commands.grow_disk(connection, domain, "vda", 2 * MIB)


@pytest.mark.parametrize(("form", "content"), [("raw", "raw"), ("qcow2", "qcow2"), ("raw", "iso")])
def test_a_disk_that_looks_as_its_definition_says_is_copied(
    connection: libvirt.virConnect, form: str, content: str
) -> None:
    domain = with_disk(connection, form, content)
    assert vm_commands.not_copyable(connection, domain.UUIDString()) == ()


def test_a_disk_that_is_a_part_of_its_file_is_not_copied_as_the_whole(
    connection: libvirt.virConnect,
) -> None:
    part = "<slices><slice type='storage' offset='512' size='1024'/></slices>"
    domain = with_disk(connection, "raw", "raw", part)
    (told,) = vm_commands.not_copyable(connection, domain.UUIDString())
    assert str(told) == "the disk vda, which is only a part of its file"


def test_a_pool_that_is_not_active_tells_nothing(connection: libvirt.virConnect) -> None:
    domain = with_disk(connection, "raw", "qcow2")
    named = domain.XMLDesc(0).replace("type='file'", "type='volume'", 1)
    named = named.replace(
        "<source file='/default-pool/web'", "<source pool='default-pool' volume='web'"
    )
    connection.defineXML(named)
    uuid = domain.UUIDString()
    assert len(vm_commands.not_copyable(connection, uuid)) == 1
    connection.storagePoolLookupByName("default-pool").destroy()
    assert vm_commands.not_copyable(connection, uuid) == ()
