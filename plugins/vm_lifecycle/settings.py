"""The plugin's part of the configuration, ``[plugins.vm_lifecycle]``: images, sizes and limits."""

from __future__ import annotations

from datetime import time
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from bot.domain.errors import UnfitError
from bot.domain.message import words
from bot.setting_values import Bytes, Seconds, shape


class CatalogueImage(BaseModel):
    """What a VM can be made from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base: Annotated[str, shape(r"[^/]+/[^/]+", words("write pool/volume"))] = Field(
        description="pool/volume of the base image, present on each host."
    )
    user: str = Field("", description="The first user, when `--user` names none.")
    os: str = Field(
        "", description="The id libosinfo knows it by, such as http://debian.org/debian/12."
    )
    least_memory: Bytes = Field(0, description="It does not start with less.")
    least_disk: Bytes = Field(0, description="The base image's own size.")
    clone: Literal["backing", "copy"] = Field(
        "backing", description="On top of the base image, or a full copy."
    )
    machine: str = Field("q35", description="The machine type.")
    arch: str = "x86_64"
    kernel: str = Field(
        "", description="Path on the host of a kernel to boot directly; usually none."
    )
    initrd: str = ""
    cmdline: str = ""


class CatalogueSize(BaseModel):
    """A size that has a name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cpus: int = Field(ge=1)
    memory: Bytes
    disk: Bytes


class SnapshotSchedule(BaseModel):
    """When snapshots are taken of the VMs with the tag `snapshots=NAME`, and how many are kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at: time = Field(description="The time of day, such as 02:00.")
    days: tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...] = Field(
        (), description="Days of the week; empty: every day."
    )
    zone: str = Field("UTC", description="The time zone of `at`, such as Europe/Lisbon.")
    keep: int = Field(7, ge=1, description="Snapshots of this schedule that are kept of a VM.")
    late: Seconds = Field(
        3600, ge=60, le=43_200, description="So late one is still taken, after a stop of the bot."
    )

    @field_validator("zone")
    @classmethod
    def _is_zone(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise UnfitError(words("“{zone}” is not a time zone", zone=zone)) from error
        return zone


class VmLifecycleSettings(BaseModel):
    """Images and sizes of new VMs, where they go, and how long the bot waits for them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: dict[str, CatalogueImage] = Field(
        default_factory=dict, description="The catalogue of images by name."
    )
    snapshots: dict[str, SnapshotSchedule] = Field(
        default_factory=dict, description="Schedules of snapshots by name, as the tag has it."
    )
    sizes: dict[str, CatalogueSize] = Field(
        default_factory=dict, description="Named sizes for `--size`."
    )
    default_image: str = Field(
        "", description="Used when none is named; empty: the only one, if there is one."
    )
    default_cpus: int = Field(2, ge=1)
    default_memory: Bytes = Field(4 << 30)
    default_disk: Bytes = Field(20 << 30)
    network: str = Field(
        "default", description="libvirt network or bridge, when `--network` names none."
    )
    pool: str = Field("default", description="The pool for disks and seeds, on each host.")
    seed_as: Literal["disk", "cdrom"] = Field(
        "disk",
        description="How the cloud-init seed is attached; a disk is copied by a migration.",
    )
    accelerator: Literal["auto", "kvm", "qemu"] = Field(
        "auto", description="auto: kvm where the CPU truly has it."
    )
    machine_version: Literal["common", "newest"] = Field(
        "common",
        description="Version of a new VM's machine type: `common`, the newest that all hosts know, "
        "so that it can move to each of them; `newest`, that of its own host.",
    )
    ssh_keys: tuple[str, ...] = Field((), description="Public keys that every new VM lets in.")
    shutdown_seconds: float = Field(
        120.0, gt=0, description="How long a VM may take to shut down when asked."
    )
    grace: Seconds = Field(
        259_200, ge=0, description="How long a deleted VM can still be undeleted (3d)."
    )
    ttl_notice: Seconds = Field(
        86_400, ge=0, description="How long before its end a VM with `ttl` is announced."
    )
    parallel: int = Field(4, ge=1, le=32, description="VMs made at once on one host.")
    most: int = Field(50, ge=1, description="The most VMs that one command may make.")
    poll_seconds: float = Field(1.0, gt=0, description="How often a VM that shuts down is checked.")

    @model_validator(mode="after")
    def _default_exists(self) -> VmLifecycleSettings:
        if self.default_image and self.default_image not in self.images:
            raise UnfitError(
                words(
                    "default_image is “{image}”, and images has none of that name",
                    image=self.default_image,
                )
            )
        return self
