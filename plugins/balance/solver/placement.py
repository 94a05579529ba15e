"""Where every VM is while a plan is sought: per-host totals kept up to date move by move."""

from collections.abc import Iterable
from typing import Self

import numpy as np

from plugins.balance.solver.model import NO_GROUP, Bools, Floats, Ints, Problem

Assignment = tuple[int, int]
"""A VM and the host it goes to."""

# Below this deviation the weights stop growing: dividing by almost nothing would make noise look
# like gain.
LEAST_DEVIATION = 0.002


class Placement:
    """A placement that can be changed and asked what is legal; totals are per host.

    `load` is H × 2 (cores, GiB), `vcpus` H, `members` H × groups counts VMs of each anti-affinity
    group (the last, spare column stands for "no group" and stays 0). `domain` (H) is each
    host's failure domain, `domain_members` counts members per domain and group (the last, spare
    row: hosts of no domain), `domain_quota` is how many of a group one domain may hold.
    """

    __slots__ = (
        "domain",
        "domain_members",
        "domain_quota",
        "domains",
        "home",
        "host",
        "load",
        "members",
        "problem",
        "size",
        "units",
        "vcpus",
    )

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.home = problem.host
        self.host = problem.host.copy()
        self.size: Floats = np.column_stack([problem.cpu, problem.vm_memory])
        self.units: Floats = np.column_stack([problem.cores, problem.memory])
        hosts = len(problem.host_names)
        groups = int(problem.anti_affinity.max(initial=NO_GROUP)) + 1
        self.load: Floats = np.zeros((hosts, 2))
        np.add.at(self.load, self.host, self.size)
        self.vcpus: Floats = np.bincount(self.host, problem.vcpus, hosts).astype(np.float64)
        self.members = np.zeros((hosts, groups + 1), dtype=np.int32)
        np.add.at(self.members, (self.host, problem.anti_affinity), 1)
        self.members[:, groups] = 0
        self._count_domains(groups)

    def _count_domains(self, groups: int) -> None:
        problem = self.problem
        everywhere = np.full(len(self.load), NO_GROUP, dtype=np.intp)
        self.domain = everywhere if problem.domain is None else problem.domain
        self.domains = len(np.unique(self.domain[(self.domain != NO_GROUP) & ~problem.drained]))
        self.domain_members = np.zeros(
            (int(self.domain.max(initial=NO_GROUP)) + 2, groups + 1), dtype=np.int32
        )
        np.add.at(self.domain_members, self.domain, self.members)
        self.domain_quota: Ints = -(-self.domain_members.sum(axis=0) // max(1, self.domains))

    def copy(self) -> Self:
        """Return an independent copy; it shares only what never changes."""
        twin = object.__new__(type(self))
        twin.problem, twin.home, twin.size, twin.units = (
            self.problem,
            self.home,
            self.size,
            self.units,
        )
        twin.host, twin.load = self.host.copy(), self.load.copy()
        twin.vcpus, twin.members = self.vcpus.copy(), self.members.copy()
        twin.domain, twin.domains, twin.domain_quota, twin.domain_members = (
            self.domain,
            self.domains,
            self.domain_quota,
            self.domain_members.copy(),
        )
        return twin

    def move(self, vm: int, target: int) -> None:
        """Put one VM on another host, legal or not."""
        source, group = self.host[vm], self.problem.anti_affinity[vm]
        self.load[source] -= self.size[vm]
        self.load[target] += self.size[vm]
        self.vcpus[source] -= self.problem.vcpus[vm]
        self.vcpus[target] += self.problem.vcpus[vm]
        if group != NO_GROUP:
            self.members[source, group] -= 1
            self.members[target, group] += 1
            self.domain_members[self.domain[source], group] -= 1
            self.domain_members[self.domain[target], group] += 1
        self.host[vm] = target

    def try_all(self, steps: Iterable[Assignment]) -> bool:
        """Make all moves if every target ends within its limits; else make none, return False."""
        steps = list(steps)
        old = [(vm, int(self.host[vm])) for vm, _ in steps]
        for vm, target in steps:
            self.move(vm, target)
        if all(self._holds(vm, target) for vm, target in steps):
            return True
        for vm, source in reversed(old):
            self.move(vm, source)
        return False

    def _holds(self, vm: int, target: int) -> bool:
        """Is the host, which now holds the VM, within memory, vCPUs and anti-affinity?"""
        problem = self.problem
        group = problem.anti_affinity[vm]
        return bool(
            self.load[target, 1] <= problem.usable_memory[target]
            and self.vcpus[target] <= problem.vcpu_limit[target]
            and (group == NO_GROUP or self.members[target, group] <= 1)
            and not (problem.domain_hard and self.is_crowded(target, group))
        )

    def is_crowded(self, host: int, group: int) -> bool:
        """Does the host's failure domain hold more of the group than its share?"""
        zone = self.domain[host]
        return bool(
            zone != NO_GROUP and self.domain_members[zone, group] > self.domain_quota[group]
        )

    def keeps_spread(self, vms: Ints, targets: Ints) -> Bools:
        """Return for each VM (parallel to `targets`) whether the target's domain could take it."""
        if not self.domains:
            return np.ones(len(vms), dtype=np.bool_)
        group, zone = self.problem.anti_affinity[vms], self.domain[targets]
        same = (zone == self.domain[self.host[vms]]) | (zone == NO_GROUP) | (group == NO_GROUP)
        spread: Bools = same | (self.domain_members[zone, group] < self.domain_quota[group])
        return spread

    def legal_targets(self, vm: int, *, strict: bool = False) -> Bools:
        """Return which hosts (length H) could take this VM now; `strict`: soft rules hold too."""
        problem = self.problem
        legal: Bools = (
            ~problem.drained
            & (self.load[:, 1] + problem.vm_memory[vm] <= problem.usable_memory)
            & (self.vcpus + problem.vcpus[vm] <= problem.vcpu_limit)
            & (self.members[:, problem.anti_affinity[vm]] == 0)
        )
        if problem.allowed is not None:
            legal &= problem.allowed[vm]
        if strict or problem.domain_hard:
            hosts = np.arange(len(legal))
            legal &= self.keeps_spread(np.full(len(legal), vm), hosts)
        legal[self.host[vm]] = False
        return legal

    def imbalance(self) -> float:
        """J: standard deviation of CPU share plus that of memory share, over hosts in service."""
        in_service = ~self.problem.drained
        if not in_service.any():
            return 0.0
        return float((self.load / self.units)[in_service].std(axis=0).sum())

    def slope(self) -> tuple[Floats, Floats]:
        """Return each host's distance from the mean share (H × 2), and its square's weight in J.

        sqrt(S/n) ≤ (S/(n·s) + s)/2 for every s > 0, with equality at s = sqrt(S/n): the weighted
        sum of squares lies above J and touches it here, so whatever lowers the sum lowers J
        (majorise, then minimise). It splits by host.
        """
        in_service = ~self.problem.drained
        share = self.load / self.units
        away = share - share[in_service].mean(axis=0)
        deviation = np.maximum(share[in_service].std(axis=0), LEAST_DEVIATION)
        return away, 1.0 / (2.0 * in_service.sum() * deviation)

    def away_from_home(self) -> Bools:
        """Return which VMs (length V) are not at home."""
        away: Bools = self.host != self.home
        return away

    def bill(self) -> tuple[int, float]:
        """Return how many VMs are away from home and how many GiB it takes to bring them there."""
        away = self.away_from_home()
        return int(away.sum()), float(self.problem.transfer[away].sum())
