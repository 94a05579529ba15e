"""A guest's definition built element by element (https://libvirt.org/formatdomain.html)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lxml import etree

from bot.adapters.libvirt.read.domain_xml import TAGS
from bot.ports.guests import Blueprint, GuestDisk, GuestNic

LIBOSINFO = "http://libosinfo.org/xmlns/libvirt/domain/1.0"
MARK = "https://drover.dev/mark/1"
"""Namespace of ``<drovermark:mark text=/>`` in a guest's ``<metadata>``."""

_SPARE_PORTS = 6  # devices that can be plugged into a running q35 guest
_OWN_DEVICES = 3  # channel, balloon and random numbers


@dataclass(frozen=True, slots=True)
class PlacedDisk:
    """A disk whose volume has been looked up on the host.

    Its path, and whether that is a block device.
    """

    disk: GuestDisk
    path: str
    block: bool = False


def domain(blueprint: Blueprint, disks: tuple[PlacedDisk, ...], *, virt_type: str, log: str) -> str:
    """The definition as XML.

    Args:
        blueprint: the guest.
        disks: its disks in order; the first is booted from.
        virt_type: ``kvm`` or ``qemu``.
        log: path of the file that its serial line is logged to, '' for none.
    """
    root = etree.Element("domain", type=virt_type)
    _add(root, "name", blueprint.name)
    _add(root, "uuid", blueprint.uuid)
    _metadata(root, blueprint)
    _add(root, "memory", str(blueprint.memory), unit="b")
    _add(root, "vcpu", str(blueprint.vcpus_max), current=str(blueprint.vcpus))
    _boot(root, blueprint)
    features = _add(root, "features")
    _add(features, "acpi")
    _add(features, "apic")
    if virt_type == "kvm":
        # Emulated guests get QEMU's own model, equal on every host
        _add(root, "cpu", mode="host-model")
    _add(root, "clock", offset="utc")
    _devices(root, blueprint, disks, log)
    return etree.tostring(root, encoding="unicode")


def disk(placed: PlacedDisk) -> etree._Element:
    """A ``<disk>``.

    The cache is ``none`` because a guest whose disk is cached on one host cannot move.
    """
    made, wanted = etree.Element("disk"), placed.disk
    made.set("type", "block" if placed.block else "file")
    made.set("device", wanted.device)
    cdrom = wanted.device == "cdrom"
    driver = _add(made, "driver", name="qemu", type=wanted.format)
    if not cdrom:
        driver.set("cache", "none")
        driver.set("discard", "unmap")
    source = _add(made, "source")
    source.set("dev" if placed.block else "file", placed.path)
    _add(made, "target", dev=wanted.target, bus="sata" if cdrom else "virtio")
    if cdrom:
        _add(made, "readonly")
    return made


def nic(wanted: GuestNic) -> etree._Element:
    """An ``<interface>``."""
    made = etree.Element("interface", type=wanted.kind)
    _add(made, "mac", address=wanted.mac)
    source = _add(made, "source")
    source.set(wanted.kind, wanted.source)
    _add(made, "model", type="virtio")
    return made


def tags(wanted: Mapping[str, str]) -> etree._Element:
    """The element of all tags.

    Its namespace is the default one: libvirt adds its own prefix and refuses it twice.
    """
    default: Any = {None: TAGS}  # the stubs know no default namespace
    made = etree.Element(f"{{{TAGS}}}tags", nsmap=default)
    for key, value in sorted(wanted.items()):
        each: etree._Element = etree.SubElement(made, f"{{{TAGS}}}tag")
        each.set("key", key)
        each.set("value", value)
    return made


def text(element: etree._Element) -> str:
    """An element as libvirt takes it."""
    return etree.tostring(element, encoding="unicode")


def volume(
    name: str,
    capacity: int,
    *,
    format: str = "qcow2",  # noqa: A002
    base: tuple[str, str] | None = None,
) -> str:
    """A ``<volume>`` (https://libvirt.org/formatstorage.html).

    ``base`` is path and format of its backing file.
    """
    root = etree.Element("volume")
    _add(root, "name", name)
    _add(root, "capacity", str(capacity), unit="bytes")
    target = _add(root, "target")
    _add(target, "format", type=format)
    if format == "qcow2":
        _add(target, "compat", "1.1")  # version 2, libvirt's default, keeps no bitmaps for backups
    if base is not None:
        backing = _add(root, "backingStore")
        _add(backing, "path", base[0])
        _add(backing, "format", type=base[1])
    return text(root)


def snapshot(name: str, description: str) -> str:
    """A ``<domainsnapshot>`` (https://libvirt.org/formatsnapshot.html)."""
    root = etree.Element("domainsnapshot")
    _add(root, "name", name)
    if description:
        _add(root, "description", description)
    return text(root)


def _metadata(root: etree._Element, blueprint: Blueprint) -> None:
    metadata = _add(root, "metadata")
    metadata.append(tags(blueprint.tags))
    if blueprint.os_id:
        info = etree.SubElement(
            metadata, f"{{{LIBOSINFO}}}libosinfo", nsmap={"libosinfo": LIBOSINFO}
        )
        etree.SubElement(info, f"{{{LIBOSINFO}}}os").set("id", blueprint.os_id)


def _boot(root: etree._Element, blueprint: Blueprint) -> None:
    os = _add(root, "os")
    _add(os, "type", "hvm", arch=blueprint.arch, machine=blueprint.machine)
    if blueprint.kernel:
        _add(os, "kernel", blueprint.kernel)
        _add(os, "initrd", blueprint.initrd)
        _add(os, "cmdline", blueprint.cmdline)
    else:
        _add(os, "boot", dev="hd")


def _devices(
    root: etree._Element, blueprint: Blueprint, disks: tuple[PlacedDisk, ...], log: str
) -> None:
    devices = _add(root, "devices")
    if "q35" in blueprint.machine:
        # libvirt makes a port for every device and one to spare; more cannot be added to a running
        # guest.
        _add(devices, "controller", type="pci", index="0", model="pcie-root")
        for _ in range(len(disks) + len(blueprint.nics) + _OWN_DEVICES + _SPARE_PORTS):
            _add(devices, "controller", type="pci", model="pcie-root-port")
    devices.extend(disk(each) for each in disks)
    devices.extend(nic(each) for each in blueprint.nics)
    serial = _add(devices, "serial", type="pty")
    if log:
        _add(serial, "log", file=log, append="on")
    agent = _add(devices, "channel", type="unix")
    _add(agent, "target", type="virtio", name="org.qemu.guest_agent.0")
    video = _add(devices, "video")
    # Text mode from the first moment: a screenshot shows the firmware too
    _add(video, "model", type="vga")
    balloon = _add(devices, "memballoon", model="virtio")
    _add(balloon, "stats", period="5")
    rng = _add(devices, "rng", model="virtio")
    _add(rng, "backend", "/dev/urandom", model="random")


def _add(parent: etree._Element, tag: str, content: str = "", **attributes: str) -> etree._Element:
    made: etree._Element = etree.SubElement(parent, tag)
    for name, value in attributes.items():
        made.set(name, value)
    if content:
        made.text = content
    return made
