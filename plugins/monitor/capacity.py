"""Pure: what would happen if one host were lost, and how many more guests fit while that may happen.

Memory counts after each host's reserve and with what is promised, as everywhere in Drover; vCPUs by a ratio to cores.
Anti-affinity and devices are not looked at: the verdict is about room.
"""

from __future__ import annotations

import bisect
import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bot.domain.cluster import Host, Snapshot, Vm


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes of memory and vCPUs still to be promised on a host."""

    memory: int
    vcpus: float

    def holds(self, memory: int, vcpus: int) -> bool:
        """Whether a guest of this size fits."""
        return self.memory >= memory and self.vcpus >= vcpus

    def less(self, memory: int, vcpus: int) -> Room:
        """With a guest of this size more."""
        return Room(self.memory - memory, self.vcpus - vcpus)


@dataclass(frozen=True, slots=True)
class Loss:
    """The loss of a host: the guests to start elsewhere, and those of them that found no room."""

    host: str
    guests: tuple[Vm, ...]
    stranded: tuple[Vm, ...]


@dataclass(frozen=True, slots=True)
class Fit:
    """``count`` more guests of a size fit, by host; ``any_loss``: even so that any one host may then fail."""

    count: int
    by_host: tuple[tuple[str, int], ...]
    without_spare: int
    tightest: str


def rooms(seen: Snapshot, ratio: float) -> dict[str, Room]:
    """Room on each host that can take guests: up, and not in maintenance."""
    memory = {host.name: 0 for host in seen.hosts}
    vcpus = dict.fromkeys(memory, 0)
    for vm in seen.vms:
        if vm.state.active and vm.host in memory:
            memory[vm.host] += vm.memory
            vcpus[vm.host] += vm.vcpus
    for move in seen.inbound:
        memory[move.target] = memory.get(move.target, 0) + move.memory
    return {
        host.name: Room(host.memory - host.reserve - memory[host.name], host.cpus * ratio - vcpus[host.name])
        for host in seen.hosts if _usable(host)
    }  # fmt: skip


def losses(seen: Snapshot, ratio: float) -> tuple[Loss, ...]:
    """What the loss of each usable host would mean, by name."""
    free = rooms(seen, ratio)
    active = _active(seen, free)
    return tuple(_loss(name, active[name], free) for name in sorted(free))


def _active(seen: Snapshot, free: Mapping[str, Room]) -> dict[str, list[Vm]]:
    active: dict[str, list[Vm]] = {name: [] for name in free}
    for vm in seen.vms:
        if vm.state.active and vm.host in active:
            active[vm.host].append(vm)
    return active


def _usable(host: Host) -> bool:
    return host.up and not host.maintenance


def _loss(lost: str, guests: Sequence[Vm], free: Mapping[str, Room]) -> Loss:
    left = _Shelf(room for name, room in free.items() if name != lost)
    stranded = [vm for vm in _largest_first(guests) if not left.placed(vm.memory, vm.vcpus)]
    return Loss(lost, tuple(guests), tuple(stranded))


def _largest_first(guests: Sequence[Vm]) -> list[Vm]:
    return sorted(guests, key=lambda vm: (-vm.memory, vm.name))


class _Shelf:
    """Rooms in order of their memory, so that the tightest that fits is found without looking at all."""

    def __init__(self, rooms: Iterable[Room]) -> None:
        self._rooms = sorted((room.memory, room.vcpus) for room in rooms)

    def placed(self, memory: int, vcpus: int) -> bool:
        """Put a guest where it leaves the least memory (best fit); whether it fits at all."""
        for index in range(bisect.bisect_left(self._rooms, (memory, vcpus)), len(self._rooms)):
            room = self._rooms[index]
            if room[1] >= vcpus:
                del self._rooms[index]
                bisect.insort(self._rooms, (room[0] - memory, room[1] - vcpus))
                return True
        return False


def fits(seen: Snapshot, vcpus: int, memory: int, ratio: float) -> Fit:
    """How many more guests of this size fit, spread to the emptiest hosts, such that any one host may be lost.

    Found by halving, on guests placed one by one; placing differently may fit one more here and there.
    """
    free = rooms(seen, ratio)
    plain = sum(_alone(room, vcpus, memory) for room in free.values())
    active = _active(seen, free)
    low, high = 0, plain
    while low < high:
        middle = (low + high + 1) // 2
        good = _first_failing(middle, free, active, (vcpus, memory)) is None
        low, high = (middle, high) if good else (low, middle - 1)
    failing = _first_failing(low + 1, free, active, (vcpus, memory)) if low < plain else None
    spread = _spread(low, free, (vcpus, memory))
    return Fit(low, tuple(sorted((name, count) for name, count in spread.items() if count)), plain, failing or "")


def _alone(room: Room, vcpus: int, memory: int) -> int:
    return max(0, min(room.memory // memory, int(room.vcpus // vcpus)))


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
    count: int, free: Mapping[str, Room], active: Mapping[str, Sequence[Vm]], size: tuple[int, int]
) -> str | None:
    """With ``count`` more guests: the first host whose loss the others could not take; None when all could."""
    vcpus, memory = size
    spread = _spread(count, free, size)
    after = {name: room.less(memory * spread[name], vcpus * spread[name]) for name, room in free.items()}
    for lost in sorted(free):
        left = _Shelf(room for name, room in after.items() if name != lost)
        sizes = [(vm.memory, vm.vcpus) for vm in active[lost]] + [(memory, vcpus)] * spread[lost]
        if not all(left.placed(*each) for each in sorted(sizes, reverse=True)):
            return lost
    return None
