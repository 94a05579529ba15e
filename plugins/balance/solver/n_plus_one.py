"""N+1 while a plan is made: whether any one host may be lost, kept up to date move by move.

For each host a shelter for its VMs on the others is kept. A move changes the room on two hosts, so
most shelters still hold, which a comparison of arrays tells; only those that do not are sought
anew.
"""

import numpy as np

from plugins.balance.solver.model import NO_GROUP, ROUNDING, Bools, Floats, Ints, Problem
from plugins.balance.solver.placement import Placement
from plugins.balance.solver.shelter import Shelter, Unit, largest_first

NOWHERE = -1


class SpareCapacity:
    """A shelter for the VMs of each host in service, should it be lost.

    `left` is H × H × 2: the room (GiB, vCPUs) on each host once the VMs of a lost one are there,
    -inf on the lost one itself and on drained ones; `shelter` (V) is where each VM would go;
    `stranded` (H) the GiB that would go nowhere.
    """

    def __init__(self, placement: Placement) -> None:
        problem, self.where = placement.problem, placement.copy()
        hosts = len(problem.host_names)
        self.problem, self.in_service = problem, np.flatnonzero(~problem.drained)
        self.need: Floats = np.column_stack([problem.vm_memory, problem.vcpus])
        self.left: Floats = np.full((hosts, hosts, 2), -np.inf)
        self.shelter: Ints = np.full(len(problem.vm_names), NOWHERE, dtype=np.intp)
        self.stranded: Floats = np.zeros(hosts)
        self.alone = [self._unit([vm], NO_GROUP, NOWHERE) for vm in range(len(self.need))]
        self.bound = _immovable(problem)
        for host in self.in_service.tolist():
            self._seek(host)

    def at_risk(self) -> Ints:
        """Return the hosts whose loss would leave VMs without a place."""
        return np.flatnonzero(self.stranded > ROUNDING)

    def allows(self, vm: int, target: int, *, needed: bool = False, make: bool = True) -> bool:
        """Return whether the move keeps N+1, or is `needed` anyway; if so, and `make`, make it.

        No more hosts may be at risk afterwards than before, and no more GiB lack, all hosts' losses
        added up.
        """
        source = int(self.where.host[vm])
        before = len(self.at_risk()), self._lacking()
        kept = (
            self.left[:, [source, target]].copy(),
            self.left[source].copy(),
            self.shelter.copy(),
            self.stranded.copy(),
        )
        again = self._move(vm, source, target)
        rooms = self.left[again].copy()
        for host in again:
            self._seek(host)
        worse = len(self.at_risk()) > before[0] or self._lacking() > before[1] + ROUNDING
        allowed = needed or not worse
        if allowed and make:
            return True
        self.left[again] = rooms
        self.left[:, [source, target]], self.left[source], self.shelter, self.stranded = kept
        self.where.move(vm, source)
        return allowed

    def _lacking(self) -> float:
        """Return the GiB that the VMs of each lost host exceed the free memory elsewhere, added up.

        Not what finds no place: which of the VMs do is a matter of chance where not all can.
        """
        held = self.where.load[self.in_service, 1]
        free = np.maximum(self.problem.usable_memory[self.in_service] - held, 0.0)
        return float(np.maximum(held - (free.sum() - free), 0.0).sum())

    def _move(self, vm: int, source: int, target: int) -> list[int]:
        """Move the VM; answer the hosts whose shelter no longer holds, or might now be better."""
        need = self.need[vm]
        self.left[:, source] += need
        self.left[:, target] -= need
        if self.shelter[vm] != NOWHERE:
            self.left[source, self.shelter[vm]] += need
        self.where.move(vm, target)
        broken = np.any(self.left[:, target] < -ROUNDING, axis=1)
        broken[self._of_mates(vm, target)] = True
        broken[source] |= self.stranded[source] > 0
        broken[target] = True
        return np.flatnonzero(broken & ~self.problem.drained).tolist()

    def _of_mates(self, vm: int, target: int) -> Ints:
        """Return the hosts whose shelters a member of the VM's groups on another host may upset."""
        problem, host = self.problem, self.where.host
        apart = (problem.anti_affinity == problem.anti_affinity[vm]) & (
            problem.anti_affinity[vm] != NO_GROUP
        )
        if not self.where.domains:
            apart &= self.shelter == target
        together = (problem.affinity == problem.affinity[vm]) & (problem.affinity[vm] != NO_GROUP)
        upset: Ints = host[apart | together]
        return upset

    def _seek(self, lost: int) -> None:
        """Find a shelter for the VMs of a host."""
        where = self.where
        vms = np.flatnonzero((where.host == lost) & ~self.bound)
        units = self._units(vms, lost)
        shelter = Shelter(
            self._capacity(lost), self._survivors(vms, lost), self._domains(), self._sizes(vms)
        )
        self.left[lost] = -np.inf
        self.shelter[where.host == lost] = NOWHERE
        self.stranded[lost] = 0.0
        for unit in largest_first(units):
            host = shelter.put(unit)
            if host is None:
                self.stranded[lost] += unit.memory
            else:
                self.shelter[list(unit.vms)] = host
        for host, free in shelter.free.items():
            self.left[lost, host] = free

    def _capacity(self, lost: int) -> dict[int, tuple[float, float]]:
        """Return free GiB and vCPUs of the hosts in service but the lost one."""
        problem, where = self.problem, self.where
        memory = (problem.usable_memory - where.load[:, 1]).tolist()
        vcpus = (problem.vcpu_limit - where.vcpus).tolist()
        others = (host for host in self.in_service.tolist() if host != lost)
        return {host: (memory[host], vcpus[host]) for host in others}

    def _survivors(self, vms: Ints, lost: int) -> list[tuple[int, int]]:
        """Return group and host of each surviving member of these VMs' anti-affinity groups."""
        held: list[tuple[int, int]] = []
        for group in self._groups(vms):
            members = self.where.host[self.problem.anti_affinity == group].tolist()
            held += [(group, host) for host in members if host != lost]
        return held

    def _domains(self) -> dict[int, int]:
        if not self.problem.domain_hard:
            return {}
        domains = enumerate(self.where.domain.tolist())
        return {host: domain for host, domain in domains if domain != NO_GROUP}

    def _sizes(self, vms: Ints) -> dict[int, int]:
        members = self.where.members
        return {group: int(members[:, group].sum()) for group in self._groups(vms)}

    def _groups(self, vms: Ints) -> list[int]:
        groups = np.unique(self.problem.anti_affinity[vms]).tolist()
        return [group for group in groups if group != NO_GROUP]

    def _units(self, vms: Ints, lost: int) -> list[Unit]:
        """Return the VMs as units: each alone, or with its affinity group's VMs on that host."""
        by_group: dict[int, list[int]] = {}
        for vm in vms.tolist():
            group = int(self.problem.affinity[vm])
            # Numbers below NO_GROUP: one for each VM without a group
            by_group.setdefault(group if group != NO_GROUP else -2 - vm, []).append(vm)
        return [
            self.alone[members[0]] if group < 0 else self._unit(members, group, lost)
            for group, members in by_group.items()
        ]

    def _unit(self, members: list[int], group: int, lost: int) -> Unit:
        problem, host = self.problem, self.where.host
        allowed = None if problem.allowed is None else problem.allowed[members].all(axis=0)
        others = host[(problem.affinity == group) & (host != lost)] if group >= 0 else ()
        if len(others):
            joined = np.isin(np.arange(len(problem.host_names)), others)
            allowed = joined if allowed is None else allowed & joined
        hosts = None
        if allowed is not None and not allowed.all():
            hosts = frozenset(np.flatnonzero(allowed).tolist())
        return Unit(
            tuple(members),
            float(problem.vm_memory[members].sum()),
            float(problem.vcpus[members].sum()),
            tuple(each for each in problem.anti_affinity[members].tolist() if each != NO_GROUP),
            hosts,
        )


def _immovable(problem: Problem) -> Bools:
    """Return which VMs (length V) can only be where they are, so that they fall with their host."""
    bound = np.array([why == "pinned" for why in problem.fixed], dtype=np.bool_)
    if problem.allowed is not None:
        bound |= (problem.allowed.sum(axis=1) == 1) & problem.allowed[
            np.arange(len(bound)), problem.host
        ]
    return bound
