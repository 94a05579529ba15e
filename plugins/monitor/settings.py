"""The plugin's part of the configuration: ``[plugins.monitor]``."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bot.domain.errors import UnfitError
from bot.domain.message import words


class MonitorSettings(BaseModel):
    """When digests come, and what is worth an alert.

    Shares are 0..1; a clear value lies below its limit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    daily: str = Field(
        "0 8 * * *",
        description="Cron line of the daily digest, in the configured zone; '' for none.",
    )
    weekly: str = Field("0 8 * * mon", description="Cron line of the weekly digest; '' for none.")
    vcpus_per_core: float = Field(
        4.0, gt=0, description="vCPUs that a host's core may carry, for N+1 and `fits`."
    )
    domain_tag: str = Field(
        "", description="The hosts' tag whose failure domains N+1 and `fits` spread over; '': none."
    )
    watch_seconds: float = Field(
        5.0, gt=0, description="At most this often; never more often than hosts are measured."
    )
    pool_full: float = Field(
        0.85, gt=0, le=1, description="A storage pool this full is worth an alert."
    )
    pool_clear: float = Field(
        0.80, gt=0, le=1, description="It ends when the pool is no fuller than this."
    )
    memory_high: float = Field(
        0.92, gt=0, le=1, description="A host's memory in use that is pressure."
    )
    memory_clear: float = Field(0.88, gt=0, le=1, description="It ends at this.")
    memory_hold: float = Field(60.0, ge=0, description="After so many seconds above the limit.")
    memory_stall: float = Field(
        0.10, gt=0, le=1, description="Share of a minute waited for memory that is pressure too."
    )
    memory_stall_clear: float = Field(0.05, ge=0, le=1, description="It ends at this.")
    contention_high: float = Field(
        0.20, gt=0, description="Cores VMs wait for, as a share of the host's cores."
    )
    contention_clear: float = Field(0.10, gt=0, description="It ends at this.")
    contention_hold: float = Field(
        120.0, ge=0, description="After so many seconds above the limit."
    )
    cpu_stall: float = Field(
        0.50, gt=0, le=1, description="Share of a minute waited for a CPU that is contention too."
    )
    cpu_stall_clear: float = Field(0.30, ge=0, le=1, description="It ends at this.")
    snapshot_days: float = Field(
        14.0, gt=0, description="Snapshots older than this are named; they slow disks down."
    )
    snapshot_hold: float = Field(
        3600.0, ge=0, description="After so many seconds too old: a rotation may be late."
    )
    backup_days: float = Field(
        0.0, ge=0, description="Days a backup may be old, of VMs without the tag; 0: any age."
    )
    backup_hold: float = Field(
        3600.0, ge=0, description="After so many seconds too old: a nightly job may be late."
    )
    hot: float = Field(0.75, gt=0, le=1, description="Mean CPU of a hot host.")
    idle: float = Field(0.10, ge=0, le=1, description="Mean CPU of an idle host.")
    idle_vm: float = Field(
        0.02, ge=0, le=1, description="95th percentile of CPU per vCPU of an idle VM."
    )
    oversized: float = Field(
        0.25, ge=0, le=1, description="The same of a VM with more vCPUs than it needs."
    )

    @model_validator(mode="after")
    def _clear_below_limit(self) -> MonitorSettings:
        pairs = (
            ("pool_full", "pool_clear"),
            ("memory_high", "memory_clear"),
            ("contention_high", "contention_clear"),
            ("memory_stall", "memory_stall_clear"),
            ("cpu_stall", "cpu_stall_clear"),
        )
        for limit, clear in pairs:
            if getattr(self, clear) > getattr(self, limit):
                raise UnfitError(
                    words(
                        "{clear} is above {limit}: an alert would end at once",
                        clear=clear,
                        limit=limit,
                    )
                )
        return self
