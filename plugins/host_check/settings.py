"""The plugin's part of the configuration: ``[plugins.host_check]``."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bot.domain.errors import UnfitError
from bot.domain.message import words


class HostCheckSettings(BaseModel):
    """From where on something is worth a warning, and how long a host is looked at."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pool_free_warn: float = Field(
        0.15, ge=0, le=1, description="Free share of a storage pool below which it warns."
    )
    pool_free_fail: float = Field(0.05, ge=0, le=1, description="Free share below which it fails.")
    certificate_days: int = Field(
        30, ge=0, description="Days before a certificate's end when it begins to warn."
    )
    clock_warn_seconds: float = Field(
        0.5, gt=0, description="How far a clock may be off the bot's, or another host's."
    )
    clock_fail_seconds: float = Field(5.0, gt=0, description="How far off it fails.")
    clock_clear_seconds: float = Field(
        0.25, ge=0, description="An alert about a clock ends when it is no further off."
    )
    clock_hold: float = Field(
        600.0, ge=0, description="After so many seconds off there is an alert."
    )
    ageing_minutes: float = Field(
        10.0, gt=0, description="How often clocks and certificates are looked at for alerts."
    )
    overcommit_warn: float = Field(
        1.0,
        gt=0,
        description="Memory allocated to running VMs, as a share of the host's less its reserve.",
    )
    oldest_libvirt: int = Field(
        6_000_000, ge=0, description="Older libvirt warns; 6.0.0 is 6000000."
    )
    oldest_qemu: int = Field(4_002_000, ge=0, description="Older QEMU warns; 4.2.0 is 4002000.")
    survey_seconds: float = Field(
        30.0, gt=0, description="How long all looks at one host over SSH may take."
    )
    pair_seconds: float = Field(
        30.0, gt=0, description="The same for the looks from one host at another."
    )
    watch_hours: float = Field(
        24.0, gt=0, description="How often changes in readiness are looked for."
    )

    @model_validator(mode="after")
    def _clear_below_limit(self) -> HostCheckSettings:
        if self.clock_clear_seconds > self.clock_warn_seconds:
            raise UnfitError(
                words("clock_clear_seconds is above clock_warn_seconds: an alert would end at once")
            )
        return self
