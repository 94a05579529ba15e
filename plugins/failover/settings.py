"""The plugin's part of the configuration: ``[plugins.failover]``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from bot.domain.message import words
from bot.setting_values import shape
from plugins.failover.sight import Sight, own_machine


class Mode(StrEnum):
    """What the bot does by itself about a dead host.

    Nothing, tell people, propose a failover, or carry it out.

    AUTO acts only where a rule of the policy with ``automatic = true`` lets it, and within the
    limits below.
    """

    OFF = "off"
    ALERT = "alert"
    PROPOSE = "propose"
    AUTO = "auto"


class Priority(StrEnum):
    """In which wave a VM is started elsewhere; OFF: not at all."""

    FIRST = "first"
    NORMAL = "normal"
    LAST = "last"
    OFF = "off"


class Nvram(StrEnum):
    """What becomes of a VM's UEFI variables, which were on the dead host.

    REFUSE: the VM is not started elsewhere without a copy. RESET: made anew from the template; boot
    entries and keys are lost.
    """

    REFUSE = "refuse"
    RESET = "reset"


class FailoverSettings(BaseModel):
    """When a host counts as dead, and how its VMs are started elsewhere. Times in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Mode = Mode.PROPOSE
    silence: float = Field(
        45.0, ge=10, description="So long no sign of life, over 3 sweeps at least."
    )
    confirm_reads: int = Field(
        3, ge=2, le=20, description="OFF readings of every controller of a level."
    )
    confirm_every: float = Field(3.0, ge=1, description="Seconds between two of them, at least.")
    fence_patience: float = Field(
        60.0, ge=5, description="So long a controller may take to read OFF after the order."
    )
    window: float = Field(1800.0, ge=0, description="At most one automatic failover in it.")
    flap: float = Field(
        86400.0,
        ge=0,
        description="A host that failed over is not failed over automatically for so long.",
    )
    storm_cooldown: float = Field(
        300.0, ge=0, description="Nothing is fenced for so long after the bot saw nothing."
    )
    start_cooldown: float = Field(
        300.0, ge=0, description="Nothing is fenced for so long after the bot's start."
    )
    starts_per_host: int = Field(4, ge=1, le=64, description="VMs started on one host at a time.")
    ready_patience: float = Field(
        180.0, ge=0, description="So long a wave waits for its VMs to be ready."
    )
    lock_patience: float = Field(
        120.0,
        ge=0,
        description="So long a start waits for a lock on its disks that outlives the dead host.",
    )
    default: Priority = Field(
        Priority.NORMAL, description="The priority of VMs without the tag `failover`."
    )
    nvram: Nvram = Field(
        Nvram.REFUSE, description="For UEFI VMs without a kept copy of their variables."
    )
    stale: float = Field(86400.0, ge=0, description="A kept definition that is older is warned of.")
    vcpus_per_core: float = Field(4.0, gt=0, description="vCPUs that a core may be promised to.")
    domain: str = Field("", description="The host tag that names failure domains.")
    anchors: tuple[Annotated[str, shape(r"\S+:\d{1,5}", words("write address:port"))], ...] = Field(
        (),
        description="Places that are no hosts, such as a gateway, as `address:port`. Nothing is "
        "fenced while the bot hears half of them or fewer.",
    )
    own_vms: tuple[str, ...] = Field(
        (),
        description="VMs that the bot or its database runs in: a failover of their host is "
        "for people. The bot's own is known where the bot runs as root.",
    )
    _sight: Sight = PrivateAttr(default_factory=Sight)

    def model_post_init(self, _context: object) -> None:
        """Let the bot's sight know what it is measured by."""
        self._sight.anchors = self.anchors
        self._sight.own = frozenset({*self.own_vms, own_machine()} - {""})

    @property
    def sight(self) -> Sight:
        """What this bot has seen since its start; the commands and the watch share it."""
        return self._sight
