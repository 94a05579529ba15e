"""The plugin's part of the configuration: ``[plugins.migrate]``."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class MigrateSettings(BaseModel):
    """How fast, how patient and how careful a migration is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bandwidth_mib_s: int = Field(
        0, ge=0, description="Limit of each migration in MiB/s; 0: as fast as it goes."
    )
    assumed_mib_s: float = Field(
        100.0, gt=0, description="What the network carries, for predictions when no limit says it."
    )
    seconds_per_gib: float = Field(
        60.0,
        gt=0,
        description="After this long per GiB to move (at least one), the policy's next means is taken.",
    )
    stall_seconds: float = Field(
        60.0,
        gt=0,
        description="The same when what remains has not been lower than before for this long.",
    )
    downtime_steps_ms: tuple[int, ...] = Field(
        (500, 1000, 2000, 4000),
        description="Policy fast: pauses allowed at the end, tried in this order.",
    )
    rung_seconds: float = Field(
        10.0, gt=0, description="How long each of these means is given to work."
    )
    paused_seconds: float = Field(
        120.0,
        gt=0,
        description="Policy fast: how long the paused guest may take to finish before it is given up.",
    )
    poll_seconds: float = Field(
        0.5, gt=0, description="How often a running migration is looked at."
    )
    settle_seconds: float = Field(
        30.0,
        gt=0,
        description="How long both hosts may take to agree on the outcome after the migration's end.",
    )
    unreachable_seconds: float = Field(
        300.0, gt=0, description="How long a host may be silent before people are asked to look."
    )
    still_seconds: float = Field(
        120.0,
        gt=0,
        description="How long a migration may show no progress before people are told what both hosts show.",
    )
    still_limit_seconds: float = Field(
        900.0,
        gt=0,
        description="How long it may show none before Drover stops following it and people must decide.",
    )
    cpu_check_seconds: float = Field(
        2.0, gt=0, description="How long a capped guest's CPU is measured after it arrived."
    )
    cpu_tolerance: float = Field(
        0.15, ge=0, description="How far over its cap, as a share, a guest may measure."
    )
    cpu_broken: float = Field(
        0.5,
        ge=0,
        description="How far over it a cap counts as not in force, and the move as not complete.",
    )
    downtime_floor_ms: int = Field(
        30, ge=0, description="For predictions: the pause that even an idle guest sees."
    )
