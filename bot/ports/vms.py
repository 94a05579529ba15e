"""Single VMs, by host and UUID, one role a protocol."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from bot.domain.cluster import Scheduler
from bot.domain.definition import Definition, MaybeUnchanged
from bot.domain.message import Message
from bot.ports.guests import (
    Address,
    Blueprint,
    Copy,
    DiskUse,
    FileSystem,
    Found,
    GuestDisk,
    GuestNic,
    GuestSnapshot,
)


class VmLookup(Protocol):
    """Finds a VM on a host.

    Every method may raise ``HypervisorError``, ``HostUnreachableError`` when the host does not
    answer.
    """

    def find(self, host: str, uuid: str) -> Found | None:
        """The guest as the host has it now; None when it is not there."""
        ...


class VmDefinitions(VmLookup, Protocol):
    """Stored definitions of VMs: read, make and change them."""

    def define(self, host: str, blueprint: Blueprint) -> None:
        """Store a guest's definition, validated by the hypervisor's own schema.

        It does not start.
        """
        ...

    def define_copy(self, host: str, copy: Copy) -> None:
        """Store the definition of a guest like another one; it does not start."""
        ...

    def definitions(self, host: str, known: Collection[str] = ()) -> tuple[MaybeUnchanged, ...]:
        """The definitions of all VMs of a host, without secrets.

        Stored ones, and live ones of transient VMs. Of those whose ``sha`` is ``known`` it is told
        that they are unchanged: of thousands of VMs reading the rest again is most of the work.
        One that cannot be read is told as such and keeps no other from being told.
        """
        ...

    def define_kept(self, host: str, kept: Definition, *, reset_nvram: bool = False) -> None:
        """Store a definition that was read before, on this host; it does not start, nor at boot.

        A screen that had a password gets a new one that nobody knows: without one it would be open
        to all. With ``reset_nvram`` its UEFI variables are made anew from the template at its
        start.
        """
        ...

    def not_copyable(self, host: str, uuid: str) -> tuple[Message, ...]:
        """What of its definition a copy cannot have as well and what cannot be made anew.

        One phrase each.
        """
        ...

    def undefine(self, host: str, uuid: str, *, keep_state: bool = False) -> None:
        """Forget a guest that is off, with its snapshots' records and saved memory; its disks stay.

        Its NVRAM and the state of its TPM go too, unless ``keep_state`` (of the TPM since libvirt
        8.9). Both stay where another guest of the host has the same NVRAM.
        """
        ...

    def resize(self, host: str, uuid: str, *, vcpus: int, memory: int) -> bool:
        """Give it as much from its next start on, and now where it can.

        Whether all of it holds now.

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
        """Leave a word in its definition.

        So that what cannot be seen otherwise is known to have been done.
        """
        ...


class VmPower(VmLookup, Protocol):
    """Start, stop, pause and resume VMs."""

    def start(self, host: str, uuid: str) -> None:
        """Start a guest; one that is active stays as it is, one that is starting is waited for.

        Look for it on every other host first.
        """
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
        """Remove the saved memory (managed save) of a guest that is off.

        It then starts from its disks.
        """
        ...

    def pause(self, host: str, uuid: str) -> None:
        """Pause a running guest."""
        ...

    def resume(self, host: str, uuid: str) -> None:
        """Let a paused guest go on."""
        ...

    def set_autostart(self, host: str, uuid: str, *, on: bool) -> None:
        """Set or clear start at boot."""
        ...

    def autostart(self, host: str, uuid: str) -> bool:
        """Whether the guest starts at boot.

        Raises:
            HypervisorError: with the code ``VM_GONE``, when the host does not have it.
        """
        ...


class VmSnapshots(VmLookup, Protocol):
    """Snapshots of VMs."""

    def has_job(self, host: str, uuid: str) -> bool:
        """Whether a snapshot, a revert, a migration or the like of it is under way.

        Whoever asked for it: libvirt goes on when its client is gone. A snapshot that is being
        taken is listed already. False when the guest is off.
        """
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


class VmDevices(VmLookup, Protocol):
    """Disks, NICs and drives of VMs."""

    def attach_disk(self, host: str, uuid: str, disk: GuestDisk) -> None:
        """Plug a volume in, now and for its next start."""
        ...

    def grow_disk(self, host: str, uuid: str, target: str, capacity: int) -> None:
        """Make a disk larger, in bytes; the guest's file systems do not grow by that.

        Raises:
            HypervisorError: it is larger than that already, among others.
        """
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


class VmViews(VmLookup, Protocol):
    """What can be seen of a VM beyond a snapshot of the cluster."""

    def disks(self, host: str, uuid: str) -> tuple[DiskUse, ...]:
        """Its disks' sizes; drives without a medium are left out."""
        ...

    def addresses(self, host: str, uuid: str) -> tuple[Address, ...]:
        """Its IP addresses by the first of agent, lease and ARP that knows any.

        None when it is off.
        """
        ...

    def file_systems(self, host: str, uuid: str) -> tuple[FileSystem, ...]:
        """What its agent tells of its file systems, by mount point.

        None when it is off or no agent answers.
        """
        ...

    def screenshot(self, host: str, uuid: str) -> bytes:
        """Its screen as PNG."""
        ...

    def console(self, host: str, uuid: str, lines: int) -> str:
        """The last lines that it wrote on its serial line."""
        ...


class CpuLimits(Protocol):
    """CPU shares and limits of VMs, and the CPU time that they used.

    Every method may raise ``HypervisorError``, ``HostUnreachableError`` when the host does not
    answer.
    """

    def set_scheduler(self, host: str, uuid: str, scheduler: Scheduler) -> None:
        """Apply the given (non-None) parameters, live and in the stored definition."""
        ...

    def scheduler(self, host: str, uuid: str) -> Scheduler:
        """The parameters in force, as the host reports them."""
        ...

    def cpu_seconds(self, host: str, uuid: str) -> float:
        """CPU time the guest has used so far on this host."""
        ...
