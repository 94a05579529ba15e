"""What another host has of the things that a VM would need there.

Asked of that host before a migration.
"""

from __future__ import annotations

import errno
import secrets
from collections.abc import Callable, Iterator
from functools import partial

import libvirt
from lxml import etree

from bot.adapters.libvirt.read.domain_xml import Definition, document
from bot.adapters.libvirt.read.ties import usb_names
from bot.adapters.libvirt.transport.connections import Connection, is_alive
from bot.adapters.libvirt.transport.parts import NONSENSE, Parts, name_of
from bot.domain.cluster import Lack, TargetLook, Vm

_NO_SECRET = frozenset({libvirt.VIR_ERR_NO_SECRET})


def look(connection: Connection, vm: Vm, live: Definition, host: str) -> TargetLook:
    """Ask ``host`` for the emulator, the TPM emulator, the secrets.

    Folders and network devices that a VM needs.
    """
    return TargetLook(vm.uuid, host, tuple(_lacks(connection, live)))


def _lacks(connection: Connection, live: Definition) -> Iterator[Lack]:
    detail = live.detail
    yield from _of_qemu(connection, live)
    for uuid in detail.ties.secrets:
        if _lacks_secret(connection, uuid):
            yield Lack("secret", uuid)
    yield from (
        Lack("folder", each) for each in detail.ties.folders if _lacks_folder(connection, each)
    )
    parents = {nic.source for nic in detail.nics if nic.kind == "direct"}
    devices = _network_devices(connection) if parents else None
    if devices is not None:
        yield from (Lack("network-device", each) for each in sorted(parents - devices))
    needed = {each.name for each in detail.ties.usb if each.needed}
    usb = _usb_devices(connection) if needed else None
    if usb is not None:
        yield from (Lack("usb-device", each) for each in sorted(needed - usb))


def _of_qemu(connection: Connection, live: Definition) -> Iterator[Lack]:
    """The emulator, and whether libvirt has a TPM emulator for it."""
    detail = live.detail
    try:
        told = connection.getDomainCapabilities(
            detail.emulator or None, live.arch or None, None, live.virt_type or None, 0
        )
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_SYSTEM_ERROR and detail.emulator:
            yield Lack("emulator", detail.emulator)
        elif not is_alive(connection):
            raise
        return  # a host that cannot say: nothing is concluded
    try:
        backends = document(told).find("devices/tpm/enum[@name='backendModel']")
    except NONSENSE:
        return  # nothing is concluded from what makes no sense
    known = set() if backends is None else {each.text for each in backends.iterfind("value")}
    if detail.tpm == "emulator" and backends is not None and "emulator" not in known:
        yield Lack("tpm-emulator", "swtpm")


def _lacks_secret(connection: Connection, uuid: str) -> bool:
    """Whether a host has no such secret; one that cannot say is not held to lack it."""
    parts = Parts(connection)
    found = parts.read(
        "secret", uuid, lambda: connection.secretLookupByUUIDString(uuid), absent=_NO_SECRET
    )
    return found is None and not parts.unread


def _lacks_folder(connection: Connection, path: str) -> bool:
    """Whether a host has no such folder, by a pool that exists only for this look.

    False where it cannot say.
    """
    root = etree.Element("pool", type="dir")
    etree.SubElement(root, "name").text = f"drover-look-{secrets.token_hex(6)}"
    etree.SubElement(etree.SubElement(root, "target"), "path").text = path
    try:
        made = connection.storagePoolCreateXML(etree.tostring(root, encoding="unicode"), 0)
    except libvirt.libvirtError as error:
        if not is_alive(connection):
            raise
        return bool(
            error.get_error_code() == libvirt.VIR_ERR_SYSTEM_ERROR
            and error.get_int1() == errno.ENOENT
        )
    made.destroy()  # a directory's pool that is not stored is gone by that; its files stay
    return False


def _network_devices(connection: Connection) -> frozenset[str] | None:
    """Names of the host's network devices; None when it cannot say all of them."""
    return _devices(connection, libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_NET, _interface)


def _usb_devices(connection: Connection) -> frozenset[str] | None:
    """What VMs may call the host's USB devices; None when it cannot say all of them."""
    return _devices(connection, libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_USB_DEV, usb_names)


def _devices(
    connection: Connection, kind: int, names: Callable[[etree._Element], tuple[str, ...]]
) -> frozenset[str] | None:
    parts = Parts(connection)
    devices = parts.read("device", "", lambda: list(connection.listAllDevices(kind)), absent=())
    told = [
        parts.read("device", name_of(each), partial(_names, each, names)) for each in devices or ()
    ]
    return None if parts.unread else frozenset(name for each in told for name in each or ())


def _names(
    device: libvirt.virNodeDevice, names: Callable[[etree._Element], tuple[str, ...]]
) -> tuple[str, ...]:
    return names(document(device.XMLDesc(0)))


def _interface(device: etree._Element) -> tuple[str, ...]:
    found = device.findtext("capability/interface", "")
    return (found,) if found else ()
