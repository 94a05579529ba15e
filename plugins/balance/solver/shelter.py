"""Where the VMs of a lost host would restart: units packed by best fit, largest first."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Host = int
Group = int


@dataclass(frozen=True, slots=True)
class Unit:
    """VMs (by index) that must restart on one host: one, or an affinity group's on that host.

    `memory` in GiB. `groups` are the members' anti-affinity groups, one entry for each member in
    one; `hosts` are those allowed, None for all.
    """

    vms: tuple[int, ...]
    memory: float
    vcpus: float
    groups: tuple[Group, ...] = ()
    hosts: frozenset[Host] | None = None


def largest_first(units: Iterable[Unit]) -> list[Unit]:
    """Return units in the order in which they are put: the largest is the hardest to place."""
    return sorted(units, key=lambda unit: (-unit.memory, unit.vms))


class Shelter:
    """Capacity left on the surviving hosts while the VMs of a lost one are put there.

    Args:
        capacity: free GiB and vCPUs of each surviving host in service.
        held: the anti-affinity group and the host of each member that survives.
        domains: the failure domain of each host that has one; {} when domains do not bind.
        sizes: how many members each anti-affinity group has. A host, and a domain, may hold an even
            share of them, rounded up: a group of as many VMs as there are hosts must not make every
            host's loss a fault.
    """

    def __init__(
        self,
        capacity: Mapping[Host, tuple[float, float]],
        held: Iterable[tuple[Group, Host]],
        domains: Mapping[Host, int],
        sizes: Mapping[Group, int],
    ) -> None:
        self._free = sorted((memory, vcpus, host) for host, (memory, vcpus) in capacity.items())
        self._domains, self._sizes = domains, sizes
        self._on_host = Counter(held)
        self._in_domain = Counter(
            (group, domains.get(host)) for group, host in self._on_host.elements()
        )
        self._domain_count = len({domains[host] for host in capacity if host in domains})

    def put(self, unit: Unit) -> Host | None:
        """Put a unit on the allowed host with the least memory that holds it; None if none does."""
        for index in range(bisect.bisect_left(self._free, (unit.memory,)), len(self._free)):
            memory, vcpus, host = self._free[index]
            if vcpus >= unit.vcpus and self._may(unit, host):
                del self._free[index]
                bisect.insort(self._free, (memory - unit.memory, vcpus - unit.vcpus, host))
                self._on_host.update((group, host) for group in unit.groups)
                self._in_domain.update((group, self._domains.get(host)) for group in unit.groups)
                return host
        return None

    def _may(self, unit: Unit, host: Host) -> bool:
        if unit.hosts is not None and host not in unit.hosts:
            return False
        domain = self._domains.get(host)
        return not any(
            self._on_host[group, host] >= self._share(group, len(self._free))
            or (
                domain is not None
                and self._in_domain[group, domain] >= self._share(group, self._domain_count)
            )
            for group in unit.groups
        )

    def _share(self, group: Group, places: int) -> int:
        return -(-self._sizes.get(group, 0) // max(1, places))

    @property
    def free(self) -> dict[Host, tuple[float, float]]:
        """GiB and vCPUs left on each host."""
        return {host: (memory, vcpus) for memory, vcpus, host in self._free}
