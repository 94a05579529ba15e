"""What is read of one guest through libvirt, beyond what a snapshot of the cluster tells."""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias

import libvirt

from bot.adapters.libvirt.read.domain_xml import document, parse
from bot.adapters.libvirt.read.vm_detail import sizes, snapshot_of
from bot.adapters.libvirt.transport.connections import Connection
from bot.adapters.libvirt.transport.errors import refusal
from bot.adapters.libvirt.transport.parts import NONSENSE, count, moment, reason, text
from bot.adapters.libvirt.write.domain_build import MARK
from bot.adapters.libvirt.write.volumes import receive
from bot.domain.cluster import Disk
from bot.domain.errors import HypervisorError
from bot.domain.message import Code, words
from bot.domain.words import command
from bot.ports.guests import Address, DiskUse, FileSystem, Found, GuestSnapshot

Domain: TypeAlias = libvirt.virDomain
"""A ``libvirt.virDomain``; the vendor publishes no types."""

_SOURCES = (
    (libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT, "agent"),
    (libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE, "lease"),
    (libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP, "arp"),
)
_NO_JOBS = frozenset({libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_NO_SUPPORT})
"""How it says that there is no job to tell of: powered off meanwhile, a driver without jobs."""


def find(connection: Connection, uuid: str) -> Found | None:
    """The guest; None when it is not on this host."""
    try:
        domain = connection.lookupByUUIDString(uuid)
        live = domain.XMLDesc(0)
        persistent = bool(domain.isPersistent())
        stored = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE) if persistent else live
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise
    now, later = parse(live), parse(stored)
    mark = document(stored).find(f"metadata/{{{MARK}}}mark")
    return Found(
        name=now.name,
        vcpus=now.vcpus,
        memory=now.memory,
        vcpus_next=later.vcpus,
        memory_next=later.memory,
        tags=now.tags,
        detail=now.detail,
        detail_next=later.detail,
        mark="" if mark is None else mark.get("text", ""),
        persistent=persistent,
        saved=not domain.isActive() and bool(domain.hasManagedSaveImage(0)),
    )


def has_job(domain: Domain) -> bool:
    """Whether an asynchronous job of it is active; the question waits for none."""
    if not domain.isActive():
        return False
    try:
        return count(domain.controlInfo()[0]) == int(libvirt.VIR_DOMAIN_CONTROL_JOB)
    except libvirt.libvirtError as error:
        if error.get_error_code() in _NO_JOBS:
            return False
        raise


def snapshots(domain: Domain) -> tuple[GuestSnapshot, ...]:
    """All snapshots, oldest first; one that cannot be read with its ``problem``."""
    found = [_try_snapshot(each) for each in domain.listAllSnapshots(0)]
    return tuple(sorted((each for each in found if each), key=lambda each: each.made_at))


def _try_snapshot(snapshot: libvirt.virDomainSnapshot) -> GuestSnapshot | None:
    """The snapshot; None when it was removed meanwhile."""
    try:
        return _snapshot(snapshot)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN_SNAPSHOT:
            return None
        problem = reason(error)
    except NONSENSE as error:
        problem = reason(error)
    try:
        name = text(snapshot.getName())
    except (libvirt.libvirtError, *NONSENSE):
        name = "?"
    return GuestSnapshot(
        name, datetime.fromtimestamp(0, UTC), "unknown", current=False, problem=problem
    )


def _snapshot(snapshot: libvirt.virDomainSnapshot) -> GuestSnapshot:
    root, kind = document(snapshot.getXMLDesc(0)), snapshot_of(snapshot)
    return GuestSnapshot(
        name=root.findtext("name", ""),
        made_at=moment(root.findtext("creationTime") or "0"),
        state=root.findtext("state", ""),
        current=bool(snapshot.isCurrent(0)),
        description=root.findtext("description", ""),
        external=kind.external,
    )


def disks(domain: Domain) -> tuple[DiskUse, ...]:
    """Each disk with a source; one whose size cannot be read with its ``problem``."""
    made = parse(domain.XMLDesc(0)).detail.disks
    return tuple(_use(domain, disk) for disk in made if disk.source)


def _use(domain: Domain, disk: Disk) -> DiskUse:
    try:
        capacity, allocation, _ = sizes(domain, disk)
        return DiskUse(disk.target, disk.source, count(capacity), count(allocation))
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            raise
        return DiskUse(disk.target, disk.source, 0, 0, problem=reason(error))
    except NONSENSE as error:
        return DiskUse(disk.target, disk.source, 0, 0, problem=reason(error))


def addresses(domain: Domain) -> tuple[Address, ...]:
    """What the first source that knows anything says.

    A source that cannot be asked knows nothing.
    """
    if not domain.isActive():
        return ()
    for source, name in _SOURCES:
        try:
            known = _addresses(domain.interfaceAddresses(source, 0), name)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                raise
            continue  # no agent in it, no network of libvirt's: the next source may know
        except NONSENSE:
            continue  # what a guest's agent says is as good as its guest
        if known:
            return known
    return ()


def _addresses(told: Mapping[str, Mapping[str, Any]], source: str) -> tuple[Address, ...]:
    return tuple(
        Address(each["addr"], source, card.get("hwaddr") or "")
        for name, card in told.items()
        if name != "lo"
        for each in card.get("addrs") or ()
        if not each["addr"].startswith(("127.", "fe80:", "::1"))
    )


def file_systems(domain: Domain) -> tuple[FileSystem, ...]:
    """What the agent in it tells, by mount point; nothing where there is none, or an old one."""
    if not domain.isActive():
        return ()
    try:
        told = domain.guestInfo(libvirt.VIR_DOMAIN_GUEST_INFO_FILESYSTEM)
        found = [_try_file_system(told, number) for number in range(count(told.get("fs.count", 0)))]
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            raise
        return ()
    except NONSENSE:
        return ()  # what a guest's agent says is as good as its guest
    return tuple(sorted((each for each in found if each), key=lambda each: each.mount))


def _try_file_system(told: dict[str, Any], number: int) -> FileSystem | None:
    """One file system; None when what the guest's agent says of it makes no sense."""
    try:
        return _file_system(told, f"fs.{number}.")
    except NONSENSE:
        return None


def _file_system(told: dict[str, Any], key: str) -> FileSystem:
    disks = (
        told.get(f"{key}disk.{number}.alias", "")
        for number in range(told.get(f"{key}disk.count", 0))
    )
    total, used = count(told.get(f"{key}total-bytes", 0)), count(told.get(f"{key}used-bytes", 0))
    return FileSystem(
        text(told[f"{key}mountpoint"]),
        told.get(f"{key}fstype", ""),
        total,
        used,
        tuple(filter(None, disks)),
    )


def screenshot(connection: Connection, domain: Domain) -> bytes:
    """The first screen as PNG, whatever the hypervisor gives (QEMU: PPM).

    Raises:
        HypervisorError: it is off, it has no screen, or what came is no picture.
    """
    from PIL import Image

    name = str(domain.name())
    if not domain.isActive():
        raise HypervisorError(
            words("{vm} is off; a screenshot needs a running VM.", vm=name),
            words("Start it with {command}.", command=Code(command("/kvm vm start {}", name))),
        )
    # What libvirt itself looks at first, and refuses in words of its own
    if document(domain.XMLDesc(0)).find("devices/video") is None:
        raise HypervisorError(
            words("{vm} has no display (no `<video>` device), so there is no screenshot.", vm=name),
            words(
                "Its serial console, where it is logged: {command}.",
                command=Code(command("/kvm vm console {}", name)),
            ),
        )
    stream = connection.newStream(0)
    domain.screenshot(stream, 0, 0)
    shot = receive(stream)
    png = io.BytesIO()
    try:
        Image.open(io.BytesIO(shot)).save(png, "PNG")
    except (*NONSENSE, OSError, Image.DecompressionBombError) as error:  # also what is cut off
        raise HypervisorError(
            words("The screenshot that the host sent cannot be read."),
            words("Update QEMU on that host."),
        ) from error
    return png.getvalue()


def serial_log(domain: Domain) -> str:
    """Path of the file that its serial line is logged to, '' when it is not."""
    devices = document(domain.XMLDesc(0)).find("devices")
    if devices is None:
        return ""
    log = devices.find("serial/log")
    if log is not None:
        return log.get("file", "")
    file = devices.find("serial[@type='file']/source")
    return "" if file is None else file.get("path", "")


def hang_up(connection: Connection) -> None:
    """Close a connection; one that broke is closed already."""
    try:
        connection.close()
    except libvirt.libvirtError as error:
        if connection.isAlive():
            raise refusal(error, words("A connection could not be closed")) from error
