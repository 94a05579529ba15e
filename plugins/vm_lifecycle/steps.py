"""What this plugin's operations consist of; every step is complete and can be repeated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from bot.domain.codec import later
from bot.domain.message import Message, Names, Size, When, nwords, words
from bot.domain.owner import tag_title
from bot.domain.steps import Demand, OnVm, Step
from bot.domain.vm_steps import PowerVm


@dataclass(frozen=True, slots=True)
class CreateVm(OnVm):
    """Make a VM: volume, seed and definition; then start it.

    Sizes in bytes; disks are ``pool/volume``.
    """

    vcpus: int
    vcpus_max: int
    memory: int
    disk: str
    capacity: int
    base: str
    full_copy: bool
    seed: str
    seed_as: str
    meta_data: str
    user_data: str
    vendor_data: str
    network_config: str
    network_kind: str
    network: str
    mac: str
    machine: str
    arch: str
    accelerator: str
    kernel: str = ""
    initrd: str = ""
    cmdline: str = ""
    os_id: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    start: bool = True

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        return nwords(
            "Create {vm} on {host}: {n} vCPU, {memory}, disk {disk}",
            "Create {vm} on {host}: {n} vCPUs, {memory}, disk {disk}",
            n=self.vcpus,
            vm=self.name,
            host=self.host,
            memory=Size(self.memory),
            disk=Size(self.capacity),
        )

    @property
    def demands(self) -> tuple[Demand, ...]:
        """Its size, where it is created."""
        return (Demand(self.uuid, self.host, self.vcpus, self.memory, self.start, self.tags),)


@dataclass(frozen=True, slots=True)
class CreateVms(Step):
    """Make several VMs, side by side."""

    guests: tuple[CreateVm, ...]

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        where = [words("{vm} on {host}", vm=each.name, host=each.host) for each in self.guests]
        return nwords(
            "Create {n} VM: {where}", "Create {n} VMs: {where}", n=len(where), where=where
        )

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every host that gets one."""
        return tuple(dict.fromkeys(each.host for each in self.guests))

    @property
    def vms(self) -> tuple[str, ...]:
        """The VMs."""
        return tuple(each.uuid for each in self.guests)

    @property
    def demands(self) -> tuple[Demand, ...]:
        """Those of each."""
        return tuple(demand for each in self.guests for demand in each.demands)


@dataclass(frozen=True, slots=True)
class CloneVm(OnVm):
    """Clone the VM ``source`` with full copies of its disks; the clone is not started.

    ``disks`` are (target, ``pool/volume`` of the source, ``pool/volume`` to make); ``seed``
    (target, ``pool/volume``) gets a new name and identity for cloud-init instead of a copy, '' when
    the source has none.
    """

    source: str
    source_name: str
    disks: tuple[tuple[str, str, str], ...]
    seed: tuple[str, str]
    meta_data: str
    network_config: str
    macs: tuple[str, ...]
    tags: tuple[tuple[str, str], ...] = ()

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        return words(
            "Clone {source} as {vm} on {host}",
            source=self.source_name,
            vm=self.name,
            host=self.host,
        )

    @property
    def vms(self) -> tuple[str, ...]:
        """Both: the source must stay as it is meanwhile."""
        return (self.uuid, self.source)


@dataclass(frozen=True, slots=True)
class ResizeVm(OnVm):
    """Give a VM this many vCPUs and bytes of memory."""

    vcpus: int
    memory: int

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        return nwords(
            "Resize {vm} to {n} vCPU and {memory}",
            "Resize {vm} to {n} vCPUs and {memory}",
            n=self.vcpus,
            vm=self.name,
            memory=Size(self.memory),
        )

    @property
    def demands(self) -> tuple[Demand, ...]:
        """The new size."""
        return (Demand(self.uuid, self.host, self.vcpus, self.memory, starts=False),)


@dataclass(frozen=True, slots=True)
class DiscardMemory(OnVm):
    """Remove the saved memory (managed save) of a VM that is off."""

    @property
    def destroys(self) -> bool:
        """Its memory."""
        return True

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        return words("Discard the saved memory of {vm} on {host}", vm=self.name, host=self.host)


@dataclass(frozen=True, slots=True)
class RenameVm(OnVm):
    """Give a VM another name."""

    to: str

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        return words("Rename {vm} to {name}", vm=self.name, name=self.to)


@dataclass(frozen=True, slots=True)
class AutostartVm(OnVm):
    """Enable or disable autostart."""

    on: bool

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        if self.on:
            return words("Enable autostart of {vm} on {host}", vm=self.name, host=self.host)
        return words("Disable autostart of {vm} on {host}", vm=self.name, host=self.host)


@dataclass(frozen=True, slots=True)
class TagVm(OnVm):
    """Replace the tags of a VM."""

    tags: tuple[tuple[str, str], ...]

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        if not self.tags:
            return words("Remove all tags of {vm}", vm=self.name)
        tags = Names(tuple(tag_title(*each) for each in self.tags))
        return words("Set the tags of {vm}: {tags}", vm=self.name, tags=tags)


@dataclass(frozen=True, slots=True)
class SetTtl(OnVm):
    """Set when a VM is shut down: ``ttl`` as people wrote it, ``expires`` the moment, ISO 8601.

    Both '': never.
    """

    ttl: str
    expires: str

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        if not self.ttl:
            return words("Remove the TTL of {vm}", vm=self.name)
        return words(
            "Set the TTL of {vm} to {ttl}: it is shut down at {at}",
            vm=self.name,
            ttl=self.ttl,
            at=When(datetime.fromisoformat(self.expires)),
        )


@dataclass(frozen=True, slots=True)
class DeleteVm(OnVm):
    """Mark a VM that is off as deleted; after ``grace`` seconds it may be purged."""

    remove_disks: bool
    grace: int

    @property
    def destroys(self) -> bool:
        """The VM, once the time for second thoughts is over."""
        return True

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        if self.remove_disks:
            return words("Delete {vm} with its disks", vm=self.name)
        return words("Delete {vm} and keep its disks", vm=self.name)


@dataclass(frozen=True, slots=True)
class UndeleteVm(OnVm):
    """Remove a VM's mark of deletion."""

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        return words("Undelete {vm}", vm=self.name)


@dataclass(frozen=True, slots=True)
class PurgeVm(OnVm):
    """Undefine a deleted VM and remove these volumes (``pool/volume``).

    ``keep_state``: its UEFI variables and the state of its TPM stay on the host, as its disks do.
    """

    volumes: tuple[str, ...]
    keep_state: bool = later(False)

    @property
    def destroys(self) -> bool:
        """The VM and its volumes."""
        return True

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        if not self.volumes:
            return words("Purge {vm}", vm=self.name)
        return words("Purge {vm} and remove {volumes}", vm=self.name, volumes=self.volumes)


class SnapshotVerb(StrEnum):
    """What can be done with a snapshot."""

    CREATE = "create"
    REVERT = "revert"
    DELETE = "delete"


_SNAPSHOT = {
    SnapshotVerb.CREATE: words("Take snapshot {snapshot} of {vm}"),
    SnapshotVerb.REVERT: words("Revert {vm} to snapshot {snapshot}"),
    SnapshotVerb.DELETE: words("Delete snapshot {snapshot} of {vm}"),
}


@dataclass(frozen=True, slots=True)
class SnapshotVm(OnVm):
    """Take a snapshot, revert to one, or delete one. ``token`` tells one revert from another.

    ``tags``: those that the VM keeps over a revert, which takes its definition back as well; None
    in steps of older versions.
    """

    verb: SnapshotVerb
    snapshot: str
    description: str = ""
    token: str = ""
    tags: tuple[tuple[str, str], ...] | None = later(None)

    @property
    def destroys(self) -> bool:
        """What was written since, or the snapshot."""
        return self.verb is not SnapshotVerb.CREATE

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        args = {"vm": self.name, "snapshot": self.snapshot}
        return replace(_SNAPSHOT[self.verb], args=args)


@dataclass(frozen=True, slots=True)
class AddDisk(OnVm):
    """Make an empty volume and plug it in."""

    volume: str
    target: str
    capacity: int

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        return words(
            "Add disk {target} of {size} to {vm}",
            target=self.target,
            size=Size(self.capacity),
            vm=self.name,
        )


@dataclass(frozen=True, slots=True)
class GrowDisk(OnVm):
    """Make a disk larger."""

    target: str
    capacity: int

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        return words(
            "Grow {target} of {vm} to {size}",
            target=self.target,
            vm=self.name,
            size=Size(self.capacity),
        )


@dataclass(frozen=True, slots=True)
class AddNic(OnVm):
    """Plug a NIC in."""

    network_kind: str
    network: str
    mac: str

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        return words(
            "Add a NIC on {network} ({mac}) to {vm}",
            network=self.network,
            mac=self.mac,
            vm=self.name,
        )


@dataclass(frozen=True, slots=True)
class RemoveNic(OnVm):
    """Unplug a NIC."""

    mac: str

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        return words("Remove the NIC {mac} from {vm}", mac=self.mac, vm=self.name)


@dataclass(frozen=True, slots=True)
class EjectMedium(OnVm):
    """Take the medium out of a drive."""

    target: str

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        return words("Eject the medium in {target} of {vm}", target=self.target, vm=self.name)


ALL: tuple[type[Step], ...] = (
    CreateVm, CreateVms, CloneVm, PowerVm, ResizeVm, RenameVm, AutostartVm, TagVm, SetTtl, DeleteVm,
    UndeleteVm, PurgeVm, SnapshotVm, AddDisk, GrowDisk, AddNic, RemoveNic, EjectMedium,
    DiscardMemory,
)  # fmt: skip
"""Every kind of step that the handler carries out."""
