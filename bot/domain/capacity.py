"""What would happen if one host were lost, and how many more guests fit while that may happen.

Memory counts after each host's reserve and with what is promised, as everywhere in Drover; vCPUs by
a ratio to cores. Who must be apart, together, on hosts of its pin, or spread over failure domains
must be so after a loss too. A guest
whose pin binds it to its own host falls with it: that is what a pin means, and no spare room would
help.
"""

from __future__ import annotations

import bisect
import copy
import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from bot.domain.cluster import Host, Snapshot, Vm
from bot.domain.placement import APART, PIN, TOGETHER, is_pinned_here, pin_hosts


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes of memory and vCPUs still to be promised on a host.

    ``huge``: bytes of its huge pages that are free.
    """

    memory: float
    vcpus: float
    huge: float = 0.0

    def holds(self, memory: float, vcpus: float) -> bool:
        """Whether a guest of this size fits."""
        return self.memory >= memory and self.vcpus >= vcpus

    def less(self, memory: float, vcpus: float) -> Room:
        """With a guest of this size more."""
        return Room(self.memory - memory, self.vcpus - vcpus, self.huge)


@dataclass(frozen=True, slots=True)
class Loss:
    """The loss of a host: the guests to start elsewhere, and those of them that found no room."""

    host: str
    guests: tuple[Vm, ...]
    stranded: tuple[Vm, ...]


@dataclass(frozen=True, slots=True)
class Fit:
    """``count`` more guests of a size fit, by host.

    ``any_loss``: even so that any one host may then fail.
    """

    count: int
    by_host: tuple[tuple[str, int], ...]
    without_spare: int
    tightest: str


def rooms(seen: Snapshot, ratio: float) -> dict[str, Room]:
    """Room on each host that can take guests: up, not in maintenance, and not one that failed."""
    hosts = {host.name: host for host in seen.hosts}
    apart = {name for name, host in hosts.items() if host.set_aside}
    huge = {vm.uuid for vm in seen.vms if vm.huge} if apart else set()
    memory, vcpus = dict.fromkeys(hosts, 0), dict.fromkeys(hosts, 0)
    for vm in seen.sound_vms:
        if vm.state.active and vm.host in memory:
            memory[vm.host] += 0 if vm.host in apart and vm.uuid in huge else vm.memory
            vcpus[vm.host] += vm.vcpus
    for move in seen.inbound:
        more = 0 if move.target in apart and move.vm_uuid in huge else move.memory
        memory[move.target] = memory.get(move.target, 0) + more
    return {
        name: Room(host.usable - memory[name], host.cpus * ratio - vcpus[name], _free_huge(host))
        for name, host in hosts.items() if _usable(host)
    }  # fmt: skip


def _free_huge(host: Host) -> int:
    return sum(each.size * each.free for each in host.huge_pages or ())


@dataclass(frozen=True, slots=True)
class Unit:
    """Guests (by name or number) that must start on one host: one, or an affinity group.

    ``hosts`` None: anywhere.

    ``huge`` are the bytes that must be huge pages; ``memory`` is without them.
    """

    members: tuple[str, ...]
    memory: float
    vcpus: float
    apart: tuple[str, ...] = ()
    hosts: frozenset[str] | None = None
    huge: float = 0.0


@dataclass(frozen=True, slots=True)
class Spread:
    """Where anti-affinity groups have members, and the failure domains of hosts.

    Of each member the group and the host; of each host its failure domain, if any.
    """

    held: Iterable[tuple[str, str]] = ()
    domains: Mapping[str, str] = field(default_factory=dict)


class Shelter:
    """Rooms that are filled one unit after another.

    The tightest that holds it and that its rules allow.
    """

    def __init__(
        self, rooms: Mapping[str, Room], spread: Spread, sizes: Mapping[str, int] | None
    ) -> None:
        """``sizes``: how many members each group has.

        A host, and a domain, may hold an even share of them, rounded up.

        So a group of as many as there are hosts is no reason why none may fail. None: one member
        of each group on a host, and in a domain.
        """
        self._given = rooms
        self._rooms = sorted((room.memory, room.vcpus, name) for name, room in rooms.items())
        self._huge = {name: room.huge for name, room in rooms.items()}
        self._domains = spread.domains
        self._held = Counter(spread.held)
        self._shares = Counter(
            (group, self._domains.get(host)) for group, host in self._held.elements()
        )
        self._sizes = sizes
        self._places = Counter(self._domains[name] for name in rooms if name in self._domains)
        self._groups: dict[str, list[str]] = {}
        for group, host in self._held:
            self._groups.setdefault(host, []).append(group)

    def without(self, lost: str) -> Shelter:
        """A copy without one host and what it holds, of a shelter in which nothing was put yet.

        To look at the loss of each host, a new one for each would take the square of their number.
        """
        left = copy.copy(self)
        left.lose(lost)
        return left

    def lose(self, lost: str) -> None:
        """Take a host away, with what it holds; nothing was put yet. Copies stay as they are.

        One that has no room, as it takes nothing, is not there to begin with.
        """
        room = self._given.get(lost)
        at = bisect.bisect_left(self._rooms, (room.memory, room.vcpus, lost)) if room else -1
        self._rooms = [each for index, each in enumerate(self._rooms) if index != at]
        self._huge = self._huge.copy()
        self._held, self._shares = self._held.copy(), self._shares.copy()
        domain = self._domains.get(lost)
        for group in self._groups.get(lost, ()):
            self._shares[group, domain] -= self._held.pop((group, lost))
        if domain is not None and room is not None:
            self._places = self._places - Counter((domain,))

    def put(self, unit: Unit) -> str:
        """Put a unit on a host; '' when none takes it."""
        for index in range(bisect.bisect_left(self._rooms, (unit.memory,)), len(self._rooms)):
            _, vcpus, host = self._rooms[index]
            if vcpus >= unit.vcpus and self._may(unit, host):
                return self._take(index, unit)
        return ""

    def put_widest(self, unit: Unit) -> str:
        """Put a unit on the host with the most memory left that takes it; '' when none does.

        Of equal ones, the first by name.
        """
        begin = bisect.bisect_left(self._rooms, (unit.memory,))
        widest = range(len(self._rooms) - 1, begin - 1, -1)
        for _, equal in groupby(widest, key=lambda index: self._rooms[index][0]):
            for index in sorted(equal, key=lambda index: self._rooms[index][2]):
                _, vcpus, host = self._rooms[index]
                if vcpus >= unit.vcpus and self._may(unit, host):
                    return self._take(index, unit)
        return ""

    def _take(self, index: int, unit: Unit) -> str:
        memory, vcpus, host = self._rooms.pop(index)
        bisect.insort(self._rooms, (memory - unit.memory, vcpus - unit.vcpus, host))
        self._huge[host] -= unit.huge
        self._held.update((group, host) for group in unit.apart)
        self._shares.update((group, self._domains.get(host)) for group in unit.apart)
        return host

    def _may(self, unit: Unit, host: str) -> bool:
        if unit.hosts is not None and host not in unit.hosts:
            return False
        if unit.huge > self._huge[host]:
            return False
        domain = self._domains.get(host)
        return not any(
            self._held[group, host] >= self._share(group, len(self._rooms))
            or (
                domain is not None
                and self._shares[group, domain] >= self._share(group, len(self._places))
            )
            for group in unit.apart
        )

    def _share(self, group: str, places: int) -> int:
        size = 1 if self._sizes is None else self._sizes.get(group, 0)
        return -(-size // max(1, places))

    @property
    def most_memory(self) -> float | None:
        """The most memory left on a host; None when there is none."""
        return self._rooms[-1][0] if self._rooms else None

    @property
    def rooms(self) -> dict[str, Room]:
        """What is left on each host."""
        return {name: Room(memory, vcpus, self._huge[name]) for memory, vcpus, name in self._rooms}


def largest_first(units: Iterable[Unit]) -> list[Unit]:
    """The order in which units are put: the largest is the hardest to place."""
    return sorted(units, key=lambda unit: (-unit.memory - unit.huge, unit.members))


def losses(seen: Snapshot, ratio: float, domain: str = "") -> tuple[Loss, ...]:
    """What the loss of each usable host would mean, by name.

    ``domain``: the host tag that names failure domains.
    """
    free = rooms(seen, ratio)
    active = _active(seen, free)
    rules = _Rules(seen, free, domain)
    whole = rules.shelter(free)
    return tuple(_loss(active[name], whole.without(name), rules, name) for name in sorted(free))


class _Rules:
    """What guests of a snapshot demand of the hosts they start on."""

    def __init__(self, seen: Snapshot, free: Mapping[str, Room], domain: str) -> None:
        self.names = frozenset(host.name for host in seen.hosts)
        # Else nobody knows, and memory is memory
        self.huge = any(host.set_aside for host in seen.hosts)
        self.domains = {
            host.name: host.tags[domain] for host in seen.hosts if domain and domain in host.tags
        }
        on = [vm for vm in seen.vms if vm.state.active and vm.host in free]
        self.held = [(vm.tags[APART], vm.host) for vm in on if vm.tags.get(APART)]
        self.sizes = Counter(group for group, _ in self.held)
        self.joined: dict[str, set[str]] = {}  # the hosts that each affinity group is on
        for vm in on:
            if group := vm.tags.get(TOGETHER):
                self.joined.setdefault(group, set()).add(vm.host)

    def shelter(self, free: Mapping[str, Room]) -> Shelter:
        """The rooms of all hosts, before one is lost."""
        return Shelter(free, Spread(self.held, self.domains), self.sizes)

    def units(self, guests: Iterable[Vm]) -> list[Unit]:
        """The guests of a lost host as units, those left out that are bound to it."""
        units: list[Unit] = []
        joined: dict[str, list[Vm]] = {}
        for vm in guests:
            if not vm.tags and not (self.huge and vm.huge):  # nearly all: it demands its size alone
                units.append(Unit((vm.uuid,), vm.memory, vm.vcpus))
            elif not is_pinned_here(vm, self.names):
                joined.setdefault(vm.tags.get(TOGETHER) or f"\0{vm.uuid}", []).append(vm)
        return units + [self._unit(group, members) for group, members in joined.items()]

    def _unit(self, group: str, members: Sequence[Vm]) -> Unit:
        allowed = [pin_hosts(vm, self.names) for vm in members if PIN in vm.tags]
        if group in self.joined:
            allowed.append(frozenset(self.joined[group] - {members[0].host}))
        named = [hosts for hosts in allowed if hosts]
        huge = [vm.memory for vm in members if vm.huge] if self.huge else ()
        return Unit(
            tuple([vm.uuid for vm in members]),
            sum([vm.memory for vm in members]) - sum(huge),
            sum([vm.vcpus for vm in members]),
            tuple([vm.tags[APART] for vm in members if vm.tags.get(APART)]),
            frozenset.intersection(*named) if named else None,
            sum(huge),
        )


def _active(seen: Snapshot, free: Mapping[str, Room]) -> dict[str, list[Vm]]:
    active: dict[str, list[Vm]] = {name: [] for name in free}
    for vm in seen.sound_vms:
        if vm.state.active and vm.host in active:
            active[vm.host].append(vm)
    return active


def _usable(host: Host) -> bool:
    return host.up and not host.maintenance and not host.held


def _loss(guests: Sequence[Vm], left: Shelter, rules: _Rules, lost: str) -> Loss:
    failed = {
        uuid
        for unit in largest_first(rules.units(guests))
        if not left.put(unit)
        for uuid in unit.members
    }
    stranded = [
        vm for vm in sorted(guests, key=lambda vm: (-vm.memory, vm.name)) if vm.uuid in failed
    ]
    return Loss(lost, tuple(guests), tuple(stranded))


def fits(seen: Snapshot, vcpus: int, memory: int, ratio: float, domain: str = "") -> Fit:
    """How many more guests of this size fit, such that any one host may be lost.

    They are spread to the emptiest hosts.

    Found by halving, on guests placed one by one; placing differently may fit one more here and
    there.
    """
    free = rooms(seen, ratio)
    plain = sum(_alone(room, vcpus, memory) for room in free.values())
    active = _active(seen, free)
    rules = _Rules(seen, free, domain)
    low, high = 0, plain
    while low < high:
        middle = (low + high + 1) // 2
        good = _first_failing(middle, free, active, (vcpus, memory), rules) is None
        low, high = (middle, high) if good else (low, middle - 1)
    failing = _first_failing(low + 1, free, active, (vcpus, memory), rules) if low < plain else None
    spread = _spread(low, free, (vcpus, memory))
    return Fit(
        low,
        tuple(sorted((name, count) for name, count in spread.items() if count)),
        plain,
        failing or "",
    )


def _alone(room: Room, vcpus: int, memory: int) -> int:
    return max(0, min(int(room.memory // memory), int(room.vcpus // vcpus)))


def _spread(count: int, free: Mapping[str, Room], size: tuple[int, int]) -> dict[str, int]:
    """How many of ``count`` go to each host, one by one to the one with the most memory left."""
    vcpus, memory = size
    left, placed = dict(free), dict.fromkeys(free, 0)
    order = [(-room.memory, name) for name, room in left.items()]
    heapq.heapify(order)
    while count and order:
        _, chosen = heapq.heappop(order)
        if left[chosen].holds(memory, vcpus):  # otherwise it never will again
            left[chosen] = left[chosen].less(memory, vcpus)
            placed[chosen] += 1
            count -= 1
            heapq.heappush(order, (-left[chosen].memory, chosen))
    return placed


def _first_failing(
    count: int,
    free: Mapping[str, Room],
    active: Mapping[str, Sequence[Vm]],
    size: tuple[int, int],
    rules: _Rules,
) -> str | None:
    """With ``count`` more guests: the first host whose loss the others could not take.

    None when all could.
    """
    vcpus, memory = size
    spread = _spread(count, free, size)
    after = {
        name: room.less(memory * spread[name], vcpus * spread[name]) for name, room in free.items()
    }
    whole = rules.shelter(after)
    for lost in sorted(free):
        left = whole.without(lost)
        new = [Unit((f"\0{number}",), memory, vcpus) for number in range(spread[lost])]
        if not all(left.put(unit) for unit in largest_first([*rules.units(active[lost]), *new])):
            return lost
    return None
