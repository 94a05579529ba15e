"""States as libvirt tells them, by code and reason."""

from __future__ import annotations

import libvirt
import pytest

from bot.adapters.libvirt.read.stats import state_of
from bot.domain.cluster import VmState


@pytest.mark.parametrize(
    ("state", "reason", "ours", "why"),
    [
        (
            libvirt.VIR_DOMAIN_RUNNING,
            libvirt.VIR_DOMAIN_RUNNING_POSTCOPY_FAILED,
            VmState.RUNNING,
            "postcopy failed",
        ),
        (
            libvirt.VIR_DOMAIN_RUNNING,
            libvirt.VIR_DOMAIN_RUNNING_POSTCOPY,
            VmState.RUNNING,
            "postcopy incoming",
        ),
        (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_MIGRATED, VmState.RUNNING, ""),
        (
            libvirt.VIR_DOMAIN_PAUSED,
            libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED,
            VmState.PAUSED,
            "postcopy failed",
        ),
        (
            libvirt.VIR_DOMAIN_PAUSED,
            libvirt.VIR_DOMAIN_PAUSED_MIGRATION,
            VmState.PAUSED,
            "migration",
        ),
        (libvirt.VIR_DOMAIN_PAUSED, 99, VmState.PAUSED, "reason 99"),
        (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_FAILED, VmState.SHUT_OFF, ""),
    ],
)
def test_a_running_vm_whose_postcopy_broke_is_told_apart(
    state: int, reason: int, ours: VmState, why: str
) -> None:
    assert state_of(state, reason) == (ours, why)
