"""The cluster's names in memory, so that pickers are answered without asking a host."""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.cluster import Snapshot
from bot.ports import Hypervisor

MOST = 100


class Inventory:
    """The last sweep. It also keeps the load samples fresh, which are differences between two sweeps.

    Args:
        hypervisor: swept now and then.
    """

    def __init__(self, hypervisor: Hypervisor) -> None:
        self._hypervisor = hypervisor
        self._seen: Snapshot | None = None

    def sweep(self) -> None:
        """Read the cluster; called by the clock."""
        self._seen = self._hypervisor.snapshot()

    def latest(self) -> Snapshot | None:
        """The last sweep; None before the first."""
        return self._seen

    def choices(self, source: str, typed: str) -> Sequence[tuple[str, str]]:
        """(value, text) of the guests (``vms``) or hosts (``hosts``) whose name holds what was typed."""
        seen = self._seen
        if seen is None:
            return ()
        names = (
            {vm.name for vm in seen.vms} if source == "vms" else {host.name for host in seen.hosts}
        )
        return [(name, name) for name in sorted(names) if typed.lower() in name.lower()][:MOST]
