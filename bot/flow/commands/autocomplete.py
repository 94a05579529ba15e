"""The cluster's names in memory, so that pickers are answered without asking a host."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bot.domain.cluster import MANY_VMS, Snapshot
from bot.ports import Hypervisor

MOST = 100  # choices: what Slack's pickers take


def _hosts(seen: Snapshot) -> set[str]:
    return {host.name for host in seen.hosts}


_SOURCES: Mapping[str, Callable[[Snapshot], set[str]]] = {
    "vms": lambda seen: {vm.name for vm in seen.vms},
    "hosts": _hosts,
    "networks": lambda seen: {
        name for host in seen.hosts for name in (*host.networks, *host.bridges)
    },
}


class Inventory:
    """The last sweep.

    It also keeps the load samples fresh, which are differences between two sweeps.

    Args:
        hypervisor: swept now and then.
    """

    def __init__(self, hypervisor: Hypervisor) -> None:
        self._hypervisor = hypervisor
        self._seen: Snapshot | None = None
        self._glances = False

    def sweep(self) -> None:
        """Read the cluster; called by the clock.

        Of very many VMs only every second time: it would be most of what the bot does.
        """
        many = self._seen is not None and len(self._seen.vms) > MANY_VMS
        self._glances = many and not self._glances
        self._seen = self._hypervisor.glance() if self._glances else self._hypervisor.snapshot()

    def latest(self) -> Snapshot | None:
        """The last sweep; None before the first."""
        return self._seen

    def choices(self, source: str, typed: str) -> Sequence[tuple[str, str]]:
        """(value, text) of what has a name that holds what was typed.

        Of the VMs (``vms``), ``hosts`` or ``networks``.
        """
        seen = self._seen
        if seen is None:
            return ()
        names = _SOURCES.get(source, _hosts)(seen)
        return [(name, name) for name in sorted(names) if typed.lower() in name.lower()][:MOST]
