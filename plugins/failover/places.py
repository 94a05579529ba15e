"""Pure: on which host each VM of a dead host starts.

Within memory, vCPUs and the rules of its tags.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bot.domain.backing import plain
from bot.domain.capacity import Shelter, Spread, Unit, rooms
from bot.domain.cluster import Disk, Host, Pool, Snapshot, VmDetail
from bot.domain.message import Names, Size, words
from bot.domain.placement import APART, TOGETHER, is_pinned_here, pin_hosts
from bot.domain.plan import Objection
from bot.domain.storage import is_medium, is_one_storage, is_same_place, pool_of
from plugins.failover.candidates import Candidate, StaysOff
from plugins.failover.commands import chat
from plugins.failover.settings import FailoverSettings


@dataclass(frozen=True, slots=True)
class Placed:
    """A VM and the host that it starts on."""

    candidate: Candidate
    target: str


@dataclass(frozen=True, slots=True)
class _Known:
    """Makes the table of what is the same whichever host is lost, with these settings."""

    vcpus_per_core: float
    domain: str

    def __call__(self, snapshot: Snapshot) -> _Cluster:
        return _Cluster(snapshot, self)


class _Cluster:
    """What is the same whichever host is lost.

    A what-if asks for the loss of each host; made for each anew it would be the square of the
    cluster.
    """

    def __init__(self, snapshot: Snapshot, known: _Known) -> None:
        self.names = frozenset(host.name for host in snapshot.hosts)
        rooms_of = rooms(snapshot, known.vcpus_per_core)
        self._takers = frozenset(rooms_of)
        here = [vm for vm in snapshot.vms if vm.state.active and vm.host in rooms_of]
        held = [(vm.tags[APART], vm.host) for vm in here if vm.tags.get(APART)]
        domains = {
            host.name: host.tags[known.domain]
            for host in snapshot.hosts
            if known.domain and known.domain in host.tags
        }
        self._whole = Shelter(rooms_of, Spread(held, domains), sizes=None)
        self._joined: dict[str, set[str]] = {}
        for vm in here:
            if group := vm.tags.get(TOGETHER):
                self._joined.setdefault(group, set()).add(vm.host)
        self._able: dict[tuple[object, ...], frozenset[str]] = {}
        self._snapshot = snapshot

    def shelter(self, lost: str) -> Shelter:
        """The rooms without the lost host's.

        No host takes more than its memory and its vCPUs, and one of a group on each host, and in
        each domain.
        """
        return self._whole.without(lost)

    def free(self, lost: str) -> frozenset[str]:
        """The hosts that may take VMs of the lost one."""
        return self._takers - {lost}

    def hosts_of_group(self, group: str) -> frozenset[str]:
        """The hosts that may take VMs on which an affinity group runs."""
        return frozenset(self._joined.get(group, ()))

    def able(self, candidate: Candidate) -> frozenset[str]:
        """Those of the hosts that may take VMs that lack nothing, the lost one perhaps among them.

        Most VMs need the same, which is looked for once.
        """
        detail, lost = candidate.kept.detail, self._snapshot.host(candidate.vm.host)
        nics = ((nic.kind, nic.source) for nic in detail.nics)
        pools = {_place_of(disk, pool) for disk, pool in _shared_pools(lost, detail)}
        ties = detail.ties
        needs = (detail.machine, *nics, *sorted(pools), ties.pins, ties.numa_nodes)
        if needs not in self._able:
            self._able[needs] = frozenset(
                name
                for name in self._takers
                if not _lacking(self._snapshot.host(name), detail, lost)
            )
        return self._able[needs]


def place(
    settings: FailoverSettings, snapshot: Snapshot, lost: str, candidates: Sequence[Candidate]
) -> tuple[tuple[Placed, ...], tuple[StaysOff, ...]]:
    """Places for the VMs in their order, and those that find none, with why.

    No host takes more than its memory and its vCPUs; no pin and no anti-affinity is broken for it.
    The lost host takes nothing, whatever its health.
    """
    cluster = snapshot.table(_Known(settings.vcpus_per_core, settings.domain))
    able = _Able(snapshot, cluster, lost)
    units = [_unit(able, members) for members in _together(candidates)]
    shelter = cluster.shelter(lost)
    targets = {
        uuid: host
        for unit in units
        for host in (shelter.put_widest(unit),)
        for uuid in unit.members
    }
    if not all(targets.values()):
        # Packed tightly, more of them may fit.
        packed = cluster.shelter(lost)
        tight = {
            uuid: host for unit in units for host in (packed.put(unit),) for uuid in unit.members
        }
        if sum(map(bool, tight.values())) > sum(map(bool, targets.values())):
            shelter, targets = packed, tight
    placed = [Placed(each, targets[each.vm.uuid]) for each in candidates if targets[each.vm.uuid]]
    off = [
        StaysOff(each.vm.uuid, each.vm.name, _why_nowhere(snapshot, each, shelter, able))
        for each in candidates
        if not targets[each.vm.uuid]
    ]
    return tuple(placed), tuple(off)


def _together(candidates: Sequence[Candidate]) -> Iterable[Sequence[Candidate]]:
    """The candidates in their order; an affinity group with its first."""
    groups: dict[str, list[Candidate]] = {}
    for each in candidates:
        groups.setdefault(each.vm.tags.get(TOGETHER) or f"\0{each.vm.uuid}", []).append(each)
    return groups.values()


class _Able:
    """Which hosts have what a VM of the lost one needs."""

    def __init__(self, snapshot: Snapshot, cluster: _Cluster, lost: str) -> None:
        self._snapshot, self.cluster, self._lost = snapshot, cluster, lost
        self.free = cluster.free(lost)

    def hosts(self, candidate: Candidate) -> frozenset[str]:
        """Those that may take VMs, lack nothing, and have no other VM of its name."""
        taken = _hosts_with_namesake(self._snapshot, candidate)
        return self.cluster.able(candidate) - {self._lost} - taken

    def hosts_of_group(self, group: str) -> frozenset[str]:
        """Those that may take VMs and on which an affinity group runs."""
        return self.cluster.hosts_of_group(group) - {self._lost}


def _unit(able: _Able, members: Sequence[Candidate]) -> Unit:
    names, free = able.cluster.names, able.free
    allowed = [free]
    for each in members:
        pinned = pin_hosts(each.vm, names)
        allowed.append(pinned or (frozenset() if is_pinned_here(each.vm, names) else free))
        allowed.append(able.hosts(each))
        if joined := able.hosts_of_group(each.vm.tags.get(TOGETHER, "")):
            allowed.append(joined)
    return Unit(
        tuple(each.vm.uuid for each in members),
        sum(each.vm.memory for each in members if not each.vm.huge),
        sum(each.vm.vcpus for each in members),
        tuple(each.vm.tags[APART] for each in members if each.vm.tags.get(APART)),
        frozenset.intersection(*allowed),
        sum(each.vm.memory for each in members if each.vm.huge),
    )


def lacking_networks(host: Host, detail: VmDetail | None) -> tuple[str, ...]:
    """The bridges and networks of a VM that a host has not, each as ``kind name``."""
    listed = {"bridge": (host.bridges, "interface"), "network": (host.networks, "network")}
    found = []
    for nic in detail.nics if detail else ():
        there, kind = listed.get(nic.kind, (None, ""))
        # What could not be listed may well be there; the start tells
        if there is not None and nic.source not in there and not host.why_unread(kind):
            found.append(f"{nic.kind} {nic.source}")
    return tuple(found)


def lacks(snapshot: Snapshot, candidate: Candidate, name: str) -> tuple[str, ...]:
    """What a host has not that a VM needs for its start, each as ``kind name``."""
    lost = snapshot.host(candidate.vm.host)
    found = _lacking(snapshot.host(name), candidate.kept.detail, lost)
    if name in _hosts_with_namesake(snapshot, candidate):
        return (*found, f"name {candidate.vm.name}")
    return found


def _shared_pools(lost: Host, detail: VmDetail) -> Iterator[tuple[Disk, Pool]]:
    """Yield the disks of a VM that lie in shared pools, each with its pool on the lost host."""
    for disk in detail.disks:
        pool = pool_of(lost, disk) if disk.source and disk.kind != "network" else None
        if pool is not None and pool.shared and not is_medium(disk):
            yield disk, pool


def _place_of(disk: Disk, pool: Pool) -> tuple[str, ...]:
    """What of a disk and its pool decides whether another host has that pool."""
    place = ("volume", pool.name) if disk.kind == "volume" else ("path", plain(pool.path))
    return (*place, pool.source, "declared" if pool.declared else "")


def _lacking_pools(host: Host, detail: VmDetail, lost: Host) -> tuple[str, ...]:
    """The shared pools of a VM that a host has not, or has as another storage.

    There the VM would start with a file of the same name, if there is one.
    """
    if host.why_unread("pool"):
        return ()  # they may well be there; the start tells
    active = [pool for pool in host.pools if pool.active]
    missing = (
        f"pool {pool.name}"
        for disk, pool in _shared_pools(lost, detail)
        if not any(
            is_same_place(disk, pool, each) and is_one_storage(pool, each) for each in active
        )
    )
    return tuple(dict.fromkeys(missing))


def _lacking(host: Host, detail: VmDetail, lost: Host) -> tuple[str, ...]:
    """What a VM needs and a host has not.

    Its networks, shared pools and machine type; the CPUs and NUMA nodes that it is pinned to.
    """
    found = (*lacking_networks(host, detail), *_lacking_pools(host, detail, lost))
    if host.machines and detail.machine and detail.machine not in host.machines:
        found = (*found, f"machine {detail.machine}")
    cpus = (f"CPU {each}" for each in sorted(detail.ties.lacks_cpus(host)))
    nodes = (f"NUMA node {each}" for each in sorted(detail.ties.lacks_numa_nodes(host)))
    return (*found, *cpus, *nodes)


def _hosts_with_namesake(snapshot: Snapshot, candidate: Candidate) -> frozenset[str]:
    """The hosts on which another VM has its name: libvirt refuses a second one."""
    vm = candidate.vm
    return frozenset(each.host for each in snapshot.namesakes(vm.name) if each.uuid != vm.uuid)


def _why_nowhere(
    snapshot: Snapshot, candidate: Candidate, shelter: Shelter, able: _Able
) -> Objection:
    vm, free = candidate.vm, able.free
    if is_pinned_here(vm, able.cluster.names):
        return Objection("pinned", words("{vm} is pinned to {host}.", vm=vm.name, host=vm.host))
    if free and not able.hosts(candidate):
        first = min(free)
        what = lacks(snapshot, candidate, first)
        return Objection(
            "lacks",
            words(
                "No host has what {vm} needs; {host} lacks: {what}.",
                vm=vm.name,
                host=first,
                what=Names(what),
            ),
        )
    most = shelter.most_memory
    if most is None:
        return Objection("no-host", words("No other host is up and takes VMs."))
    if most < vm.memory:
        return Objection(
            "no-room",
            words(
                "{vm} needs {memory}; the most that a host has left is {room}.",
                vm=vm.name,
                memory=Size(vm.memory),
                room=Size(max(0, most)),
            ),
            words(
                "Free memory, then: {command}.",
                command=chat("host failover {} --only={}", vm.host, vm.name),
            ),
        )
    return Objection(
        "no-place",
        words(
            "{vm} finds no host: those that it may be on by its tags have too little memory "
            "or too few CPUs.",
            vm=vm.name,
        ),
    )
