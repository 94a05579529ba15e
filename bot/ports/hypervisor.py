"""All hosts of the cluster through one object: every role at once."""

from __future__ import annotations

from typing import Protocol

from bot.ports.cluster import ClusterReader
from bot.ports.migrations import Migrations
from bot.ports.power import PowerAccess
from bot.ports.readiness import Readiness
from bot.ports.shell import Shell
from bot.ports.vms import (
    CpuLimits,
    VmDefinitions,
    VmDevices,
    VmPower,
    VmSnapshots,
    VmViews,
)
from bot.ports.volumes import Volumes


class Hypervisor(
    ClusterReader,
    Migrations,
    VmDefinitions,
    VmPower,
    VmSnapshots,
    VmDevices,
    VmViews,
    CpuLimits,
    Volumes,
    Readiness,
    Shell,
    PowerAccess,
    Protocol,
):
    """Every role of a cluster: what the bot holds, and of which a handler asks for one.

    Hosts are named as in the configuration, VMs by UUID. Every method may raise
    ``HypervisorError``; ``HostUnreachableError`` when the host does not answer in time. A function
    that needs one role takes that role.
    """

    def close(self) -> None:
        """Let go of every connection."""
        ...
