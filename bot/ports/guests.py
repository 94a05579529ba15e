"""Guests made, changed and looked at on one host: what a life-cycle needs of the hypervisor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Protocol

from bot.domain.backing import Storage
from bot.domain.cluster import VmDetail
from bot.domain.definition import Definition


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume of a storage pool. ``path`` is its place on the host, sizes in bytes."""

    pool: str
    name: str
    path: str
    capacity: int
    allocation: int
    format: str = ""
    base: str = ""  # path of the image that it stands on


@dataclass(frozen=True, slots=True)
class Seed:
    """A NoCloud seed: its files as text (https://docs.cloud-init.io/en/latest/reference/datasources/nocloud.html).

    Empty files are left out, but for ``user_data``, which must exist.
    """

    meta_data: str
    user_data: str
    vendor_data: str = ""
    network_config: str = ""


@dataclass(frozen=True, slots=True)
class GuestDisk:
    """A volume as a guest's disk (or ``cdrom``) under ``target``, such as ``vda``."""

    pool: str
    volume: str
    target: str
    format: str = "qcow2"
    device: str = "disk"


@dataclass(frozen=True, slots=True)
class GuestNic:
    """A network card: ``kind`` is ``network`` or ``bridge``, ``source`` its name on the host."""

    kind: str
    source: str
    mac: str


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A whole guest to be defined. Memory in bytes.

    ``kernel``, ``initrd`` and ``cmdline`` boot it directly ('' boots its first disk).
    ``accelerator`` is ``kvm``,
    ``qemu`` or ``auto``: kvm where the host's CPU truly has it. ``log_pool`` names the directory
    pool in which its serial line is logged as ``UUID-serial.log`` ('' for none). ``os_id`` is
    libosinfo's.
    """

    uuid: str
    name: str
    vcpus: int
    vcpus_max: int
    memory: int
    disks: tuple[GuestDisk, ...] = ()
    nics: tuple[GuestNic, ...] = ()
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    machine: str = "q35"
    arch: str = "x86_64"
    accelerator: str = "auto"
    kernel: str = ""
    initrd: str = ""
    cmdline: str = ""
    os_id: str = ""
    log_pool: str = ""


@dataclass(frozen=True, slots=True)
class Copy:
    """A guest to be defined like another one of the same host, ``source`` (a UUID).

    ``disks`` stand instead of the source's under the same targets; drives that are not named come
    empty, disks that are not named stay shared. ``macs`` go to its cards in their order.
    """

    source: str
    uuid: str
    name: str
    disks: tuple[GuestDisk, ...]
    macs: tuple[str, ...]
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Found:
    """A guest as its host has it now. ``*_next`` is what its stored definition says, for its next start.

    ``mark`` is the last word left by ``leave_mark``. Memory in bytes. ``saved``: it is off, and its
    next start goes on from memory kept on the host (managed save).
    """

    name: str
    vcpus: int
    memory: int
    vcpus_next: int
    memory_next: int
    tags: Mapping[str, str]
    detail: VmDetail
    detail_next: VmDetail
    mark: str = ""
    persistent: bool = True  # False: it exists only while it runs
    saved: bool = False


@dataclass(frozen=True, slots=True)
class Address:
    """An IP address of a guest; ``source`` tells who says so: agent, lease or arp."""

    ip: str
    source: str
    mac: str = ""


@dataclass(frozen=True, slots=True)
class DiskUse:
    """A disk's size and what it takes on the host, in bytes; ``source`` as in the domain's ``Disk``.

    ``problem``: why its size cannot be read, '' when it can; the sizes are then 0.
    """

    target: str
    source: str
    capacity: int
    allocation: int
    problem: str = ""


@dataclass(frozen=True, slots=True)
class FileSystem:
    """A file system as the guest itself has it mounted, in bytes; ``disks`` are their targets, such as ``vda``."""

    mount: str
    kind: str
    total: int
    used: int
    disks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GuestSnapshot:
    """One snapshot of a guest; ``external`` as in ``VmSnapshot``.

    ``problem``: why it cannot be read, '' when it can.
    """

    name: str
    made_at: datetime
    state: str
    current: bool
    description: str = ""
    external: bool = False
    problem: str = ""


class Guests(Protocol):
    """Guests one by one, by host and UUID.

    Every method may raise ``HypervisorError``, ``HostUnreachableError`` when the host does not
    answer. A volume or a guest that is to be removed and is not there is no error.
    """

    def volume(self, host: str, pool: str, name: str) -> Volume | None:
        """A volume by pool and name, looked for afresh; None when there is none."""
        ...

    def create_volume(
        self,
        host: str,
        pool: str,
        name: str,
        capacity: int,
        *,
        base: Volume | None = None,
        copy: bool = False,
    ) -> Volume:
        """Make a qcow2 volume of ``capacity`` bytes, empty or grown from ``base``: on top of it, or a full copy."""
        ...

    def storage(self, host: str, *, whole: bool = True, directories: bool = True) -> Storage:
        """The images of a host, what each stands on, and every definition and snapshot that names one.

        ``whole``: with all volumes of its pools, read afresh, which may take long; else only what
            definitions name.
        ``directories``: with what lies in directories that belong to no pool; a pool exists while
            one is looked at.
        """
        ...

    def upload_seed(
        self, host: str, pool: str, name: str, seed: Seed, *, form: str = "raw"
    ) -> Volume:
        """Make an ISO 9660 image labelled ``cidata`` and put it into a pool; one of this name is replaced.

        ``form`` is ``raw``, or ``qcow2`` around the image: a writable disk of a guest that is to
            have snapshots.
        """
        ...

    def delete_volume(self, host: str, pool: str, name: str) -> None:
        """Remove a volume and what is in it."""
        ...

    def define(self, host: str, blueprint: Blueprint) -> None:
        """Store a guest's definition, validated by the hypervisor's own schema; it does not start."""
        ...

    def define_copy(self, host: str, copy: Copy) -> None:
        """Store the definition of a guest like another one; it does not start."""
        ...

    def definitions(self, host: str) -> tuple[Definition, ...]:
        """The definitions of all VMs of a host, without secrets: stored ones, and live ones of transient VMs."""
        ...

    def define_kept(self, host: str, kept: Definition, *, reset_nvram: bool = False) -> None:
        """Store a definition that was read before, on this host; it does not start, nor at boot.

        A screen that had a password gets a new one that nobody knows: without one it would be open
            to all. With
        ``reset_nvram`` its UEFI variables are made anew from the template at its start.
        """
        ...

    def not_copyable(self, host: str, uuid: str) -> tuple[str, ...]:
        """What of its definition a copy cannot have as well and what cannot be made anew, one phrase each."""
        ...

    def undefine(self, host: str, uuid: str, *, keep_state: bool = False) -> None:
        """Forget a guest that is off, with its snapshots' records and saved memory; its disks stay.

        Its NVRAM and the state of its TPM go too, unless ``keep_state`` (of the TPM since libvirt
        8.9).
        """
        ...

    def found(self, host: str, uuid: str) -> Found | None:
        """The guest as the host has it now; None when it is not there."""
        ...

    def start(self, host: str, uuid: str) -> None:
        """Start a guest; one that is active stays as it is. Look for it on every other host first."""
        ...

    def shutdown(self, host: str, uuid: str) -> None:
        """Ask the guest to shut down (ACPI or its agent); it may not listen.

        One that is off stays off.
        """
        ...

    def force_off(self, host: str, uuid: str) -> None:
        """Pull the plug; what the guest had not written is lost. One that is off stays off."""
        ...

    def wake(self, host: str, uuid: str) -> None:
        """Wake a guest that sleeps (ACPI S3, ``pmsuspended``); one that is awake stays so."""
        ...

    def discard_saved(self, host: str, uuid: str) -> None:
        """Remove the saved memory (managed save) of a guest that is off; it then starts from its disks."""
        ...

    def resize(self, host: str, uuid: str, *, vcpus: int, memory: int) -> bool:
        """Give it as much from its next start on, and now where it can; whether all of it holds now.

        The stored size changes as a whole or not at all: an error says which if it could not be put
            back.
        """
        ...

    def rename(self, host: str, uuid: str, name: str) -> None:
        """Give a guest that is off another name."""
        ...

    def set_tags(self, host: str, uuid: str, tags: Mapping[str, str]) -> None:
        """Replace all its tags."""
        ...

    def leave_mark(self, host: str, uuid: str, mark: str) -> None:
        """Leave a word in its definition, so that what cannot be seen otherwise is known to have been done."""
        ...

    def snapshots(self, host: str, uuid: str) -> tuple[GuestSnapshot, ...]:
        """Its snapshots, oldest first."""
        ...

    def create_snapshot(self, host: str, uuid: str, name: str, description: str = "") -> None:
        """Take a snapshot of its disks and, when it runs, of its memory."""
        ...

    def revert_snapshot(self, host: str, uuid: str, name: str) -> None:
        """Go back to a snapshot; what happened since is lost."""
        ...

    def delete_snapshot(self, host: str, uuid: str, name: str) -> None:
        """Remove a snapshot; the present state stays."""
        ...

    def attach_disk(self, host: str, uuid: str, disk: GuestDisk) -> None:
        """Plug a volume in, now and for its next start."""
        ...

    def grow_disk(self, host: str, uuid: str, target: str, capacity: int) -> None:
        """Make a disk larger, in bytes; the guest's file systems do not grow by that."""
        ...

    def attach_nic(self, host: str, uuid: str, nic: GuestNic) -> None:
        """Plug a network card in, now and for its next start."""
        ...

    def detach_nic(self, host: str, uuid: str, mac: str) -> None:
        """Ask the guest to let go of a network card, now and for its next start."""
        ...

    def eject(self, host: str, uuid: str, target: str) -> None:
        """Take the medium out of a drive, now and for its next start."""
        ...

    def disks(self, host: str, uuid: str) -> tuple[DiskUse, ...]:
        """Its disks' sizes; drives without a medium are left out."""
        ...

    def addresses(self, host: str, uuid: str) -> tuple[Address, ...]:
        """Its IP addresses by the first of agent, lease and ARP that knows any; none when it is off."""
        ...

    def file_systems(self, host: str, uuid: str) -> tuple[FileSystem, ...]:
        """What its agent tells of its file systems, by mount point; none when it is off or no agent answers."""
        ...

    def screenshot(self, host: str, uuid: str) -> bytes:
        """Its screen as PNG."""
        ...

    def console(self, host: str, uuid: str, lines: int) -> str:
        """The last lines that it wrote on its serial line."""
        ...
