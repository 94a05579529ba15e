"""Values of the ports that work on single VMs and volumes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from bot.domain.cluster import VmDetail
from bot.domain.message import Message


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
    """A NoCloud seed.

    Its files as text (https://docs.cloud-init.io/en/latest/reference/datasources/nocloud.html).

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
    """A guest as its host has it now.

    ``*_next`` is what its stored definition says, for its next start.

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
    """A disk's size and what it takes on the host, in bytes.

    ``source`` as in the domain's ``Disk``.

    ``problem``: why its size cannot be read, '' when it can; the sizes are then 0.
    """

    target: str
    source: str
    capacity: int
    allocation: int
    problem: Message = ""


@dataclass(frozen=True, slots=True)
class FileSystem:
    """A file system as the guest itself has it mounted, in bytes.

    ``disks`` are their targets, such as ``vda``.
    """

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
    problem: Message = ""
