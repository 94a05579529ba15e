"""The plugin's part of the configuration: ``[plugins.migrate]``."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class MigrateSettings(BaseModel):
    """How fast, how patient and how careful a migration is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bandwidth_mib_s: int = Field(
        0, ge=0, description="Limit of each migration in MiB/s; 0: no limit."
    )
    assumed_mib_s: float = Field(
        100.0, gt=0, description="Assumed network speed in MiB/s, for predictions without a limit."
    )
    seconds_per_gib: float = Field(
        60.0,
        gt=0,
        description="Seconds per GiB to move (at least one) until the policy's next step.",
    )
    stall_seconds: float = Field(
        60.0,
        gt=0,
        description="Seconds without progress after which the policy's next step is taken.",
    )
    downtime_steps_ms: tuple[int, ...] = Field(
        (500, 1000, 2000, 4000),
        description="Policy fast: pauses allowed at the end, in milliseconds, tried in this order.",
    )
    rung_seconds: float = Field(
        10.0, gt=0, description="Seconds that each of these pauses is given to work."
    )
    paused_seconds: float = Field(
        120.0,
        gt=0,
        description="Policy fast: seconds that the paused VM may take before giving up.",
    )
    poll_seconds: float = Field(
        0.5, gt=0, description="Seconds between two checks of a running migration."
    )
    settle_seconds: float = Field(
        30.0,
        gt=0,
        description="Seconds that both hosts may take to agree on the outcome.",
    )
    unreachable_seconds: float = Field(
        300.0,
        gt=0,
        description="Seconds that a host may be unreachable before people are asked to check.",
    )
    still_seconds: float = Field(
        120.0,
        gt=0,
        description="Seconds without progress before people are told what both hosts show.",
    )
    still_limit_seconds: float = Field(
        900.0,
        gt=0,
        description="Seconds without progress until Drover leaves it to people.",
    )
    cpu_check_seconds: float = Field(
        2.0,
        gt=0,
        description="Seconds for which the CPU of a VM with a CPU limit is measured on the target.",
    )
    cpu_tolerance: float = Field(
        0.15, ge=0, description="How far over its CPU limit a VM may measure, as a share."
    )
    cpu_broken: float = Field(
        0.5,
        ge=0,
        description="How far over its limit a VM may be before the migration is incomplete.",
    )
    downtime_floor_ms: int = Field(
        30, ge=0, description="For predictions: the pause of an idle VM, in milliseconds."
    )
