"""What this plugin's operations consist of; every step is complete and can be repeated."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from bot.domain.codec import later
from bot.domain.steps import Step
from bot.domain.words import bytes_text, plural


class Power(StrEnum):
    """What can be done to a guest without changing it."""

    START = "start"
    SHUTDOWN = "shut down"
    FORCE_OFF = "force off"
    PAUSE = "pause"
    RESUME = "resume"
    WAKE = "wake"


@dataclass(frozen=True, slots=True)
class OnGuest(Step):
    """Something done to one guest on one host."""

    uuid: str
    name: str
    host: str

    @property
    def hosts(self) -> tuple[str, ...]:
        """The host."""
        return (self.host,)

    @property
    def vms(self) -> tuple[str, ...]:
        """The guest."""
        return (self.uuid,)


@dataclass(frozen=True, slots=True)
class CreateVm(OnGuest):
    """Make a guest: volume, seed and definition; then start it.

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
    def title(self) -> str:
        """The step as one sentence."""
        size = f"{plural(self.vcpus, 'vCPU')}, {bytes_text(self.memory)}, disk {bytes_text(self.capacity)}"
        return f"Create {self.name} on {self.host}: {size}"


@dataclass(frozen=True, slots=True)
class CreateVms(Step):
    """Make several guests, side by side."""

    guests: tuple[CreateVm, ...]

    @property
    def title(self) -> str:
        """The step as one sentence."""
        where = ", ".join(f"{each.name} on {each.host}" for each in self.guests)
        return f"Create {len(self.guests)} VMs: {where}"

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every host that gets one."""
        return tuple(dict.fromkeys(each.host for each in self.guests))

    @property
    def vms(self) -> tuple[str, ...]:
        """The guests."""
        return tuple(each.uuid for each in self.guests)


@dataclass(frozen=True, slots=True)
class CloneVm(OnGuest):
    """Make a guest like ``source`` with full copies of its disks. It is not started.

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
    def title(self) -> str:
        """The step as one sentence."""
        return f"Clone {self.source_name} as {self.name} on {self.host}"

    @property
    def vms(self) -> tuple[str, ...]:
        """Both: the source must stay as it is meanwhile."""
        return (self.uuid, self.source)


@dataclass(frozen=True, slots=True)
class PowerVm(OnGuest):
    """Start, shut down, force off, pause, resume or wake a guest."""

    verb: Power
    lose_definition: bool = later(False)  # noqa: FBT003 - its default
    """People agreed that nothing is left of a transient VM when it ends."""

    @property
    def title(self) -> str:
        """The step as one sentence."""
        lost = " for good (transient)" if self.lose_definition else ""
        return f"{self.verb.capitalize()} {self.name} on {self.host}{lost}"


@dataclass(frozen=True, slots=True)
class ResizeVm(OnGuest):
    """Give a guest this many vCPUs and bytes of memory."""

    vcpus: int
    memory: int

    @property
    def title(self) -> str:
        """The step as one sentence."""
        return f"Resize {self.name} to {plural(self.vcpus, 'vCPU')} and {bytes_text(self.memory)}"


@dataclass(frozen=True, slots=True)
class DiscardMemory(OnGuest):
    """Remove the saved memory (managed save) of a VM that is off."""

    @property
    def title(self) -> str:
        """The step as one sentence."""
        return f"Discard the saved memory of {self.name} on {self.host}"


@dataclass(frozen=True, slots=True)
class RenameVm(OnGuest):
    """Give a guest another name."""

    to: str

    @property
    def title(self) -> str:
        """The step as one sentence."""
        return f"Rename {self.name} to {self.to}"


@dataclass(frozen=True, slots=True)
class AutostartVm(OnGuest):
    """Set or clear start at boot."""

    on: bool

    @property
    def title(self) -> str:
        """The step as one sentence."""
        return f"Let {self.name} {'' if self.on else 'not '}start with {self.host}"


@dataclass(frozen=True, slots=True)
class TagVm(OnGuest):
    """Give a guest these tags instead of those it has."""

    tags: tuple[tuple[str, str], ...]

    @property
    def title(self) -> str:
        """The step as one sentence."""
        return (
            f"Tag {self.name}: {', '.join(f'{key}={value}' for key, value in self.tags) or 'none'}"
        )


@dataclass(frozen=True, slots=True)
class SetTtl(OnGuest):
    """Give a VM an end: ``ttl`` as people wrote it, ``expires`` the moment, ISO 8601; both '' take its end away."""

    ttl: str
    expires: str

    @property
    def title(self) -> str:
        """The step as one sentence."""
        if not self.ttl:
            return f"Remove the end (ttl) of {self.name}"
        return f"Let {self.name} end in {self.ttl} ({datetime.fromisoformat(self.expires):%-d %b %Y %H:%M} UTC)"


@dataclass(frozen=True, slots=True)
class DeleteVm(OnGuest):
    """Mark a guest that is off as deleted; after ``grace`` seconds it may be purged."""

    remove_disks: bool
    grace: int

    @property
    def title(self) -> str:
        """The step as one sentence."""
        return f"Delete {self.name} ({'with its disks' if self.remove_disks else 'its disks are kept'})"


@dataclass(frozen=True, slots=True)
class UndeleteVm(OnGuest):
    """Take a guest's mark of deletion away."""

    @property
    def title(self) -> str:
        """The step as one sentence."""
        return f"Undelete {self.name}"


@dataclass(frozen=True, slots=True)
class PurgeVm(OnGuest):
    """Forget a deleted VM for good and remove these volumes (``pool/volume``).

    ``keep_state``: its UEFI variables and the state of its TPM stay on the host, as its disks do.
    """

    volumes: tuple[str, ...]
    keep_state: bool = later(False)  # noqa: FBT003 - its default

    @property
    def title(self) -> str:
        """The step as one sentence."""
        return f"Purge {self.name} and remove {', '.join(self.volumes) or 'no disk'}"


class SnapshotVerb(StrEnum):
    """What can be done with a snapshot."""

    CREATE = "create"
    REVERT = "revert"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class SnapshotVm(OnGuest):
    """Take a snapshot, go back to one, or remove one. ``token`` tells one going back from another."""

    verb: SnapshotVerb
    snapshot: str
    description: str = ""
    token: str = ""

    @property
    def title(self) -> str:
        """The step as one sentence."""
        what = {
            SnapshotVerb.CREATE: f"Take snapshot {self.snapshot} of {self.name}",
            SnapshotVerb.REVERT: f"Take {self.name} back to snapshot {self.snapshot}",
            SnapshotVerb.DELETE: f"Remove snapshot {self.snapshot} of {self.name}",
        }
        return what[self.verb]


@dataclass(frozen=True, slots=True)
class AddDisk(OnGuest):
    """Make an empty volume and plug it in."""

    volume: str
    target: str
    capacity: int

    @property
    def title(self) -> str:
        """The step as one sentence."""
        return f"Add disk {self.target} of {bytes_text(self.capacity)} to {self.name}"


@dataclass(frozen=True, slots=True)
class GrowDisk(OnGuest):
    """Make a disk larger."""

    target: str
    capacity: int

    @property
    def title(self) -> str:
        """The step as one sentence."""
        return f"Grow {self.target} of {self.name} to {bytes_text(self.capacity)}"


@dataclass(frozen=True, slots=True)
class AddNic(OnGuest):
    """Plug a network card in."""

    network_kind: str
    network: str
    mac: str

    @property
    def title(self) -> str:
        """The step as one sentence."""
        return f"Add a card on {self.network} ({self.mac}) to {self.name}"


@dataclass(frozen=True, slots=True)
class RemoveNic(OnGuest):
    """Take a network card out."""

    mac: str

    @property
    def title(self) -> str:
        """The step as one sentence."""
        return f"Remove the card {self.mac} from {self.name}"


@dataclass(frozen=True, slots=True)
class EjectMedium(OnGuest):
    """Take the medium out of a drive."""

    target: str

    @property
    def title(self) -> str:
        """The step as one sentence."""
        return f"Eject {self.target} of {self.name}"


ALL: tuple[type[Step], ...] = (
    CreateVm, CreateVms, CloneVm, PowerVm, ResizeVm, RenameVm, AutostartVm, TagVm, SetTtl, DeleteVm, UndeleteVm,
    PurgeVm, SnapshotVm, AddDisk, GrowDisk, AddNic, RemoveNic, EjectMedium,
    DiscardMemory,
)  # fmt: skip
"""Every kind of step that the handler carries out."""
