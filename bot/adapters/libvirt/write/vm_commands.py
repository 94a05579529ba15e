"""What is done to one guest through libvirt; each may be repeated and then changes nothing more."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

import libvirt
from lxml import etree

from bot.adapters.libvirt.read.domain_xml import TAGS, Definition, document, nvram_of, parse
from bot.adapters.libvirt.read.stats import state_of
from bot.adapters.libvirt.transport.connections import Connection
from bot.adapters.libvirt.transport.errors import report_text
from bot.adapters.libvirt.write import copying, domain_build, volumes
from bot.domain.backing import plain
from bot.domain.cluster import STARTING_UP, Disk, VmState
from bot.domain.errors import HypervisorError
from bot.domain.message import Message, Size, nwords, words
from bot.ports.guests import Blueprint, Copy, GuestDisk

Domain: TypeAlias = libvirt.virDomain
"""A ``libvirt.virDomain``; the vendor publishes no types."""

_KIB = 1024
_LIVE, _CONFIG = libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG
_CANNOT_NOW = frozenset(
    {
        libvirt.VIR_ERR_NO_SUPPORT,
        libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
        libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
        libvirt.VIR_ERR_OPERATION_INVALID,
        libvirt.VIR_ERR_OPERATION_FAILED,
        libvirt.VIR_ERR_INVALID_ARG,
        libvirt.VIR_ERR_INTERNAL_ERROR,
        libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED,
    }
)
_IMAGES = frozenset({"qcow2", "qcow", "qed", "vmdk", "vdi", "vpc", "luks"})
_START_LOOK = 0.2  # seconds between looks at a start that is under way
_KEEPS_TPM = 8_009_000  # the first libvirt that can keep it
_UNDEFINE = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
)


def define(connection: Connection, blueprint: Blueprint) -> None:
    """Store a definition that libvirt's own schema finds valid."""
    disks = tuple(volumes.place(connection, disk) for disk in blueprint.disks)
    log = ""
    if blueprint.log_pool and (directory := volumes.pool_path(connection, blueprint.log_pool)):
        log = f"{directory}/{blueprint.uuid}-serial.log"  # its name may change
    virt_type = choose_accelerator(connection, blueprint.accelerator)
    xml = domain_build.domain(blueprint, disks, virt_type=virt_type, log=log)
    connection.defineXMLFlags(xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)


def define_copy(connection: Connection, copy: Copy) -> None:
    """Store another guest's definition under a new identity."""
    stored = _whole(connection, copy.source)
    disks = {disk.target: volumes.place(connection, disk) for disk in copy.disks}
    xml = copying.copy_definition(document(stored), copy, disks)
    connection.defineXMLFlags(xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)


def not_copyable(connection: Connection, uuid: str) -> tuple[Message, ...]:
    """What of a VM's definition a copy cannot have as well."""
    stored = _whole(connection, uuid)
    other = _other_formats(connection, parse(stored).detail.disks)
    return (*copying.obstacles(document(stored)), *other)


def _other_formats(connection: Connection, disks: Iterable[Disk]) -> Iterator[Message]:
    """Yield the raw disks whose content looks like an image of another format.

    A guest may have written that. libvirt's pools go by the content and would copy what that image
    shows, other files of the host included.
    """
    for disk in disks:
        if (
            disk.device == "disk"
            and disk.format == "raw"
            and (other := _looks_like(connection, disk))
        ):
            yield words(
                "the disk {target} (raw in the definition, but its content looks like {other})",
                target=disk.target,
                other=other,
            )


def _looks_like(connection: Connection, disk: Disk) -> str:
    """The format that a pool finds in a raw disk, '' where it is raw or in no active pool."""
    try:
        place = _place_of(connection, disk) if disk.source else None
        found = volumes.find(connection, *place) if place else None
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:
            raise
        return ""  # a pool that is not active, from which nothing can be copied either
    return found.format if found and found.format in _IMAGES else ""


def _whole(connection: Connection, uuid: str) -> str:
    """The stored definition with its passwords: a screen without one would be open to all."""
    flags = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
    return str(connection.lookupByUUIDString(uuid).XMLDesc(flags))


def undefine(connection: Connection, uuid: str, *, keep_state: bool = False) -> None:
    """Forget a guest that is off; see the port."""
    try:
        domain = connection.lookupByUUIDString(uuid)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return
        raise
    if domain.isActive():
        # libvirt would make it transient and let it run on, unknown to the next restart.
        raise HypervisorError(
            words("{vm} is still running.", vm=domain.name()), words("Shut it down first.")
        )
    keep = keep_state or _shares_nvram(connection, domain)
    domain.undefineFlags(_UNDEFINE | _state_flags(connection, keep=keep))


def _shares_nvram(connection: Connection, domain: Domain) -> bool:
    """Whether another VM of the host has the UEFI variables of this one.

    libvirt names the file after the VM and keeps that name when the VM is renamed: the next VM of
    the old name gets the same file.
    """
    mine = _nvram(domain)
    others = (each for each in connection.listAllDomains(0) if each.name() != domain.name())
    return bool(mine) and any(_nvram(each) == mine for each in others)


def _nvram(domain: Domain) -> str:
    try:
        root = document(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return ""
        raise
    return plain(nvram_of(root))


def _state_flags(connection: Connection, *, keep: bool) -> int:
    """What becomes of the NVRAM and of the TPM's state, which older libvirt always removes."""
    if not keep:
        return int(libvirt.VIR_DOMAIN_UNDEFINE_NVRAM)
    tpm = (
        getattr(libvirt, "VIR_DOMAIN_UNDEFINE_KEEP_TPM", 0)
        if connection.getLibVersion() >= _KEEPS_TPM
        else 0
    )
    return int(libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM | tpm)


def start(domain: Domain) -> None:
    """Start it unless it is active; a start under way, of whomever, is waited for: it may fail."""
    while state_of(*domain.state()) == (VmState.PAUSED, STARTING_UP):
        time.sleep(_START_LOOK)
    if not domain.isActive():
        domain.create()


def shutdown(domain: Domain) -> None:
    """Ask it to shut down unless it is off."""
    if domain.isActive():
        domain.shutdown()


def force_off(domain: Domain) -> None:
    """End it unless it is off."""
    try:
        domain.destroy()
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID or domain.isActive():
            raise


def wake(domain: Domain) -> None:
    """Wake it unless it is awake."""
    if domain.state()[0] == libvirt.VIR_DOMAIN_PMSUSPENDED:
        domain.pMWakeup(0)


def discard_saved(domain: Domain) -> None:
    """Remove its saved memory unless there is none."""
    if domain.hasManagedSaveImage(0):
        domain.managedSaveRemove(0)


def resize(domain: Domain, vcpus: int, memory: int) -> bool:
    """Set both for the next start, or neither; then try both now."""
    stored = parse(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
    _set_memory(domain, memory // _KIB, stored)
    try:
        _set_vcpus(domain, vcpus)
    except libvirt.libvirtError as error:
        _put_memory_back(domain, stored, error)
        raise
    if not domain.isActive():
        return True
    # Both are tried, whatever becomes of the first.
    got_memory = _now(lambda: domain.setMemoryFlags(memory // _KIB, _LIVE))
    got_vcpus = _now(lambda: domain.setVcpusFlags(vcpus, _LIVE))
    return got_memory and got_vcpus


def rename(domain: Domain, name: str) -> None:
    """Rename it unless it has that name."""
    if domain.name() != name:
        domain.rename(name, 0)


def set_tags(domain: Domain, wanted: Mapping[str, str]) -> None:
    """Replace all tags."""
    element = domain_build.text(domain_build.tags(wanted)) if wanted else None
    _set_metadata(domain, element, "drover", TAGS)


def leave_mark(domain: Domain, mark: str) -> None:
    """Replace the mark."""
    element = etree.Element("mark")
    element.set("text", mark)
    _set_metadata(domain, domain_build.text(element), "drovermark", domain_build.MARK)


def delete_snapshot(domain: Domain, name: str) -> None:
    """Remove a snapshot unless it is gone."""
    try:
        domain.snapshotLookupByName(name).delete(0)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN_SNAPSHOT:
            raise


def attach_disk(connection: Connection, uuid: str, disk: GuestDisk) -> None:
    """Plug a disk in."""
    domain = connection.lookupByUUIDString(uuid)
    element = domain_build.disk(volumes.place(connection, disk))
    domain.attachDeviceFlags(domain_build.text(element), affected_flags(domain))


def grow_disk(connection: Connection, domain: Domain, target: str, capacity: int) -> None:
    """Make a disk larger, through QEMU when it runs and through the pool when it does not."""
    if domain.isActive():
        # QEMU would cut it off: somebody may have grown it since the plan was made
        _refuse_to_shrink(target, domain.blockInfo(target, 0)[0], capacity)
        domain.blockResize(target, capacity, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)
        return
    disks = parse(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)).detail.disks
    found = next((disk for disk in disks if disk.target == target and disk.source), None)
    place = None if found is None else _place_of(connection, found)
    if place is None:
        raise HypervisorError(
            words("Disk {target} is not in a storage pool.", target=target),
            words("Start the VM: a disk of a running VM can be resized."),
        )
    if found is not None and found.format == "raw" and (other := _looks_like(connection, found)):
        # The pool would change that image within the disk
        raise HypervisorError(
            words(
                "Disk {target} is raw, but its content looks like {other}. It was not changed.",
                target=target,
                other=other,
            ),
            words("Start the VM: a disk of a running VM can be resized."),
        )
    pool, name = place
    volume = connection.storagePoolLookupByName(pool).storageVolLookupByName(name)
    # Asked anew: what libvirt goes by in a resize is as old as its last look at the volume
    _refuse_to_shrink(target, volume.info()[1], capacity)
    volume.resize(capacity, 0)


def _refuse_to_shrink(target: str, now: int, wanted: int) -> None:
    if wanted < now:
        raise HypervisorError(
            words(
                "Disk {target} now has {size}, which is more than {wanted}. It was not changed.",
                target=target,
                size=Size(now),
                wanted=Size(wanted),
            ),
            words("Ask again with a larger size."),
        )


def _place_of(connection: Connection, disk: Disk) -> tuple[str, str] | None:
    """Pool and name of a disk's volume; None when no pool has it."""
    if disk.kind == "volume":
        pool, _, name = disk.source.partition("/")
        found = volumes.find(connection, pool, name)  # it reads the pool again if it has to
        return None if found is None else (pool, name)
    return volumes.by_source(connection, disk.source)


def detach_nic(domain: Domain, mac: str) -> None:
    """Take a card out of the stored definition and ask the running guest to let go of it."""
    if (stored := _nic(domain, mac, libvirt.VIR_DOMAIN_XML_INACTIVE)) and domain.isPersistent():
        domain.detachDeviceFlags(stored, _CONFIG)
    if domain.isActive() and (live := _nic(domain, mac, 0)):
        domain.detachDeviceFlags(live, _LIVE)


def eject(domain: Domain, target: str) -> None:
    """Empty a drive."""
    flags = libvirt.VIR_DOMAIN_XML_INACTIVE if not domain.isActive() else 0
    for drive in document(domain.XMLDesc(flags)).iterfind("devices/disk"):
        found, source = drive.find("target"), drive.find("source")
        if found is None or found.get("dev") != target or source is None:
            continue
        drive.remove(source)
        for child in ("backingStore", "alias", "address"):
            if (leftover := drive.find(child)) is not None and child != "address":
                drive.remove(leftover)
        domain.updateDeviceFlags(domain_build.text(drive), affected_flags(domain))


def affected_flags(domain: Domain) -> int:
    """Now and at the next start, as far as each exists."""
    return (_LIVE if domain.isActive() else 0) | (_CONFIG if domain.isPersistent() else 0)


def _set_metadata(domain: Domain, element: str | None, prefix: str, uri: str) -> None:
    kind = libvirt.VIR_DOMAIN_METADATA_ELEMENT
    try:
        domain.setMetadata(kind, element, prefix, uri, affected_flags(domain))
    except libvirt.libvirtError as error:
        if element is not None or error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN_METADATA:
            raise


def _set_memory(domain: Domain, wanted: int, stored: Definition) -> None:
    """Set KiB of memory for the next start.

    Without a balloon only the maximum counts, in both directions.
    """
    most = stored.memory_max // _KIB
    if wanted > most or (wanted < most and not stored.detail.balloon):
        domain.setMemoryFlags(wanted, _CONFIG | libvirt.VIR_DOMAIN_MEM_MAXIMUM)
    domain.setMemoryFlags(wanted, _CONFIG)


def _put_memory_back(domain: Domain, stored: Definition, error: object) -> None:
    """Undo ``_set_memory`` after ``error``.

    Raises:
        HypervisorError: that failed too; it says what holds now.
    """
    try:
        if parse(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)).memory_max != stored.memory_max:
            domain.setMemoryFlags(
                stored.memory_max // _KIB, _CONFIG | libvirt.VIR_DOMAIN_MEM_MAXIMUM
            )
        domain.setMemoryFlags(stored.memory // _KIB, _CONFIG)
    except libvirt.libvirtError as second:
        now = parse(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
        raise HypervisorError(
            nwords(
                "Only the memory was changed. At the next start the VM has {memory} and still {n} "
                "vCPU. The vCPUs: {reason}. The memory could not be set back: {second}.",
                "Only the memory was changed. At the next start the VM has {memory} and still {n} "
                "vCPUs. The vCPUs: {reason}. The memory could not be set back: {second}.",
                n=now.vcpus,
                memory=Size(now.memory),
                reason=report_text(error),
                second=report_text(second),
            ),
            words("Resize the memory back, or change the vCPUs with `virsh edit` on the host."),
        ) from second


def _set_vcpus(domain: Domain, wanted: int) -> None:
    if wanted > domain.vcpusFlags(_CONFIG | libvirt.VIR_DOMAIN_VCPU_MAXIMUM):
        domain.setVcpusFlags(wanted, _CONFIG | libvirt.VIR_DOMAIN_VCPU_MAXIMUM)
    domain.setVcpusFlags(wanted, _CONFIG)


def _now(change: Callable[[], object]) -> bool:
    """Whether the running VM took it.

    Why not is no matter: it is stored for the next start, and the caller looks.
    """
    try:
        change()
    except libvirt.libvirtError:
        return False
    return True


def _nic(domain: Domain, mac: str, flags: int) -> str:
    for nic in document(domain.XMLDesc(flags)).iterfind("devices/interface"):
        address = nic.find("mac")
        if address is not None and address.get("address", "").lower() == mac.lower():
            return domain_build.text(nic)
    return ""


def choose_accelerator(connection: Connection, wanted: str) -> str:
    """``kvm`` where the CPU has it: that ``/dev/kvm`` exists proves nothing.

    What is ``wanted`` is taken as it is, unless it is ``auto``.
    """
    if wanted != "auto":
        return wanted
    capabilities = document(connection.getCapabilities())
    offered = any(each.get("type") == "kvm" for each in capabilities.iterfind("guest/arch/domain"))
    cpu = capabilities.find("host/cpu")
    if not offered or cpu is None:
        return "qemu"
    try:
        whole = connection.baselineCPU(
            [domain_build.text(cpu)], libvirt.VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES
        )
    except libvirt.libvirtError as error:
        if error.get_error_code() in _CANNOT_NOW:
            return "qemu"
        raise
    # Libvirt 11 also names what the model has and this CPU lacks
    features = {
        each.get("name")
        for each in document(whole).iterfind("feature")
        if each.get("policy") not in {"disable", "forbid"}
    }
    return "kvm" if features & {"vmx", "svm"} else "qemu"
