"""Pure: on which host each VM of a dead host starts.

Within memory, vCPUs and the rules of its tags.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from bot.domain.capacity import Shelter, Spread, Unit, rooms
from bot.domain.cluster import Disk, Health, Host, Pool, Snapshot, Vm, VmDetail
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


def place(
    settings: FailoverSettings, snapshot: Snapshot, lost: str, candidates: Sequence[Candidate]
) -> tuple[tuple[Placed, ...], tuple[StaysOff, ...]]:
    """Places for the VMs in their order, and those that find none, with why.

    No host takes more than its memory and its vCPUs; no pin and no anti-affinity is broken for it.
    """
    seen = replace(snapshot, hosts=tuple(_taking(host, lost) for host in snapshot.hosts))
    free = {
        name: room for name, room in rooms(seen, settings.vcpus_per_core).items() if name != lost
    }
    here = [vm for vm in seen.vms if vm.state.active and vm.host in free]
    held = [(vm.tags[APART], vm.host) for vm in here if vm.tags.get(APART)]
    domains = {
        host.name: host.tags[settings.domain]
        for host in seen.hosts
        if settings.domain and settings.domain in host.tags
    }
    groups = {each.vm.tags[APART] for each in candidates if each.vm.tags.get(APART)}
    # One of a group on each host, and in each domain.
    sizes = dict.fromkeys((*groups, *(group for group, _ in held)), 1)
    spread = Spread(held, domains)
    able = _Able(snapshot, frozenset(free))
    units = [_unit(able, members, here) for members in _together(candidates)]
    shelter = Shelter(free, spread, sizes)
    targets = _spread_out(units, shelter)
    if not all(targets.values()):
        # Packed tightly, more of them may fit.
        packed = Shelter(free, spread, sizes)
        tight = {
            uuid: host for unit in units for host in (packed.put(unit),) for uuid in unit.members
        }
        if sum(map(bool, tight.values())) > sum(map(bool, targets.values())):
            shelter, targets = packed, tight
    placed = [Placed(each, targets[each.vm.uuid]) for each in candidates if targets[each.vm.uuid]]
    off = [
        StaysOff(each.vm.uuid, each.vm.name, _why_nowhere(snapshot, each, shelter, frozenset(free)))
        for each in candidates
        if not targets[each.vm.uuid]
    ]
    return tuple(placed), tuple(off)


def _spread_out(units: Iterable[Unit], shelter: Shelter) -> dict[str, str]:
    """Each VM's host, '' for none: the one with the most memory left that takes it."""
    found: dict[str, str] = {}
    for unit in units:
        order = sorted(shelter.rooms.items(), key=lambda item: (-item[1].memory, item[0]))
        wanted = [
            name
            for name, room in order
            if room.holds(unit.memory, unit.vcpus) and (unit.hosts is None or name in unit.hosts)
        ]
        takers = (shelter.put(replace(unit, hosts=frozenset({name}))) for name in wanted)
        target = next(filter(None, takers), "")
        found.update(dict.fromkeys(unit.members, target))
    return found


def _taking(host: Host, lost: str) -> Host:
    """The lost host as one that takes nothing, whatever its health."""
    return replace(host, health=Health.UNREACHABLE) if host.name == lost else host


def _together(candidates: Sequence[Candidate]) -> Iterable[Sequence[Candidate]]:
    """The candidates in their order; an affinity group with its first."""
    groups: dict[str, list[Candidate]] = {}
    for each in candidates:
        groups.setdefault(each.vm.tags.get(TOGETHER) or f"\0{each.vm.uuid}", []).append(each)
    return groups.values()


class _Able:
    """Which hosts have what a VM needs. Most need the same, which is looked for once."""

    def __init__(self, snapshot: Snapshot, free: frozenset[str]) -> None:
        self._snapshot = snapshot
        self._known: dict[tuple[object, ...], frozenset[str]] = {}
        self.names = frozenset(host.name for host in snapshot.hosts)
        self.free = free

    def hosts(self, candidate: Candidate) -> frozenset[str]:
        """Those that may take VMs, lack nothing, and have no other VM of its name."""
        detail, lost = candidate.kept.detail, self._snapshot.host(candidate.vm.host)
        nics = ((nic.kind, nic.source) for nic in detail.nics)
        pools = ((disk.kind, pool.name) for disk, pool in _shared_pools(lost, detail))
        needs = (lost.name, detail.machine, *nics, *sorted(set(pools)))
        if needs not in self._known:
            self._known[needs] = frozenset(
                name for name in self.free if not _lacking(self._snapshot.host(name), detail, lost)
            )
        return self._known[needs] - _hosts_with_namesake(self._snapshot, candidate)


def _unit(able: _Able, members: Sequence[Candidate], here: Sequence[Vm]) -> Unit:
    names, free = able.names, able.free
    allowed = [free]
    for each in members:
        pinned = pin_hosts(each.vm, names)
        allowed.append(pinned or (frozenset() if is_pinned_here(each.vm, names) else free))
        allowed.append(able.hosts(each))
        group = each.vm.tags.get(TOGETHER)
        joined = frozenset(vm.host for vm in here if group and vm.tags.get(TOGETHER) == group)
        allowed.append(joined or free)
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
    """The networks, the shared pools and the machine type of a VM that a host has not."""
    found = (*lacking_networks(host, detail), *_lacking_pools(host, detail, lost))
    if host.machines and detail.machine and detail.machine not in host.machines:
        return (*found, f"machine {detail.machine}")
    return found


def _hosts_with_namesake(snapshot: Snapshot, candidate: Candidate) -> frozenset[str]:
    """The hosts on which another VM has its name: libvirt refuses a second one."""
    vm = candidate.vm
    return frozenset(each.host for each in snapshot.namesakes(vm.name) if each.uuid != vm.uuid)


def _why_nowhere(
    snapshot: Snapshot, candidate: Candidate, shelter: Shelter, free: frozenset[str]
) -> Objection:
    vm = candidate.vm
    names = frozenset(host.name for host in snapshot.hosts)
    if is_pinned_here(vm, names):
        return Objection("pinned", words("{vm} is pinned to {host}.", vm=vm.name, host=vm.host))
    if free and all(lacks(snapshot, candidate, name) for name in free):
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
    best = max(shelter.rooms.values(), key=lambda room: room.memory, default=None)
    if best is None:
        return Objection("no-host", words("No other host is up and takes VMs."))
    if best.memory < vm.memory:
        return Objection(
            "no-room",
            words(
                "{vm} needs {memory}; the most that a host has left is {room}.",
                vm=vm.name,
                memory=Size(vm.memory),
                room=Size(max(0, best.memory)),
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
