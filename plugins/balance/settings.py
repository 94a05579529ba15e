"""The plugin's part of the configuration: ``[plugins.balance]``."""

from __future__ import annotations

from datetime import time
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class Mode(StrEnum):
    """What the bot does about an imbalance by itself: nothing, alert, propose, or move.

    AUTO moves within the limits below and only where a rule of the policy with ``automatic = true``
    lets it.
    """

    OFF = "off"
    ALERT = "alert"
    PROPOSE = "propose"
    AUTO = "auto"


class Domains(StrEnum):
    """Must, should, or need not VMs of an anti-affinity group be spread over failure domains."""

    HARD = "hard"
    SOFT = "soft"
    OFF = "off"


class WatchSettings(BaseModel):
    """When an imbalance is reported: above the threshold, long enough, not right after the last."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Mode = Mode.OFF
    hold_minutes: float = Field(
        15.0, ge=0, description="So long without a break the cluster must be uneven."
    )
    min_gain: float = Field(
        0.02, ge=0, description="The whole plan must lower the score by at least this."
    )
    cooldown_minutes: float = Field(
        60.0, ge=0, description="So long after a plan or an alert nothing new is said."
    )
    max_moves: int = Field(
        10, ge=1, description="Most moves of one plan that the bot proposes by itself."
    )
    window_hours: float = Field(24.0, gt=0, description="The window of auto's limit of moves.")
    window_moves: int = Field(
        20, ge=1, description="Most moves that auto makes in any such window; then it alerts."
    )
    smooth_minutes: float = Field(
        5.0, gt=0, description="Load is averaged over about this long (EWMA)."
    )
    quiet_from: time | None = Field(
        None, description="Nothing is said from this time of day, such as 22:00 …"
    )
    quiet_to: time = Field(time(6), description="… to this one.")
    quiet_zone: str = Field("UTC", description="The time zone of these times.")


class RollingSettings(BaseModel):
    """What a rolling maintenance may run, and how long it waits for people, commands and hosts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    commands: tuple[str, ...] = Field(
        (),
        description="Commands that --run may run on hosts, word by word; * in one stands for one "
        "plain word, never for an option. None: --run is refused. The pattern * alone: anything.",
    )
    pause_hours: float = Field(
        24.0, gt=0, description="So long it waits for a person; then it ends as failed."
    )
    command_minutes: float = Field(60.0, gt=0, description="So long a command may run.")
    return_minutes: float = Field(
        30.0, gt=0, description="So long a host may be away, and its libvirtd, afterwards."
    )
    marks: str = Field(
        "/var/tmp",  # noqa: S108
        description="Where a command's mark is left on a host; it must outlive a reboot.",
    )


class BalanceSettings(BaseModel):
    """How even is even enough, what a move may cost, and who is never moved."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    band: float = Field(
        0.05, ge=0, description="At or below this score nothing is moved for balance."
    )
    per_move: float = Field(
        0.03,
        gt=0,
        description="A move must lower the score by this ÷ number of hosts; 0.1 is thrifty.",
    )
    per_gib: float = Field(
        0.02, ge=0, description="What a GiB to transfer costs, as a share of a move."
    )
    max_moves: int = Field(0, ge=0, description="Most moves of one plan; 0: as many as pay.")
    effort: int = Field(
        100, ge=0, description="How often a plan is shaken to find a better one; its time follows."
    )
    domain_tag: str = Field(
        "zone", description="The hosts' tag that names their failure domain, such as zone or rack."
    )
    domains: Domains = Field(
        Domains.SOFT,
        description="VMs apart over domains: soft, hard (a drain obeys it too), or off.",
    )
    keep_spare: bool = Field(
        default=True,
        description="No move for balance may spend what the loss of one host needs (N+1).",
    )
    vcpu_ratio: float = Field(
        4.0, gt=0, description="vCPUs per core of a host; a host's tag vcpu-ratio overrides it."
    )
    own_vm: tuple[str, ...] = Field(
        (), description="Names or UUIDs of the VMs that the bot and its database run in."
    )
    cooldown_minutes: float = Field(
        60.0, ge=0, description="So long a VM that moved is not moved again for balance."
    )
    assumed_mib_s: float = Field(
        100.0, gt=0, description="What the network carries, for predictions."
    )
    bandwidth_mib_s: int = Field(
        0, ge=0, description="Limit of each migration in MiB/s; 0: as fast as it goes."
    )
    cpu_check_seconds: float = Field(
        2.0, gt=0, description="How long a VM with a new CPU limit is measured."
    )
    cpu_broken: float = Field(
        0.5,
        ge=0,
        description="How far over its limit, as a share, a VM may be.",
    )
    watch: WatchSettings = WatchSettings()
    rolling: RollingSettings = RollingSettings()
