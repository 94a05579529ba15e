"""Where a guest may be put.

The objections every plan shares, and the order of the hosts that are left.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

from bot.domain.cluster import Host, Snapshot, Vm, VmState
from bot.domain.message import Code, Size, Value, nwords, words
from bot.domain.plan import HostBar, Objection
from bot.domain.words import command, virsh_name

PIN, APART, TOGETHER = "pin", "apart", "together"
"""Tags of guests.

Where one may be (hosts, or anything else for "here"), and groups that are kept apart or together.
"""

Rule = Callable[[Snapshot, Vm, str], Objection | None]
"""Any plugin may object to a guest on a host: ``(snapshot, vm, host name) -> Objection | None``."""


# The shape of a Rule
def host_is_up(snapshot: Snapshot, vm: Vm, host: str) -> Objection | None:  # noqa: ARG001
    """A host that does not answer takes nobody."""
    box = snapshot.host(host)
    if box.up:
        return None
    return Objection(
        "host-unreachable",
        words(
            "{host} does not answer: {problem}.",
            host=host,
            problem=box.problem or words("no connection"),
        ),
        words("Check the host and its libvirtd; nothing was changed."),
    )


def not_in_maintenance(snapshot: Snapshot, vm: Vm, host: str) -> Objection | None:  # noqa: ARG001
    """A host in maintenance takes nobody."""
    if not snapshot.host(host).maintenance:
        return None
    return Objection(
        "maintenance",
        words("{host} is in maintenance.", host=host),
        words(
            "Choose another host, or end it with {command}.",
            command=Code(command("/kvm host maintenance {} off", host)),
        ),
    )


def not_held(snapshot: Snapshot, vm: Vm, host: str) -> Objection | None:  # noqa: ARG001
    """A host that failed takes nobody until people admit it again."""
    if not snapshot.host(host).held:
        return None
    return Objection(
        "held",
        words("{host} failed and was not admitted again.", host=host),
        words(
            "Choose another host, or look at it and admit it: {command}.",
            command=Code(command("/kvm host readmit {}", host)),
        ),
    )


def memory_fits(snapshot: Snapshot, vm: Vm, host: str) -> Objection | None:
    """The guest's memory fits beside what is promised there, moves under way included."""
    if not snapshot.host(host).up:
        return None  # host_is_up says it
    box = snapshot.host(host)
    if vm.huge and box.huge_pages is not None:
        return _huge_pages_suffice(box, vm)
    room = snapshot.room(host)
    if vm.memory <= room:
        return None
    coming = sum(1 for move in snapshot.inbound if move.target == host)
    said: dict[str, Value] = {
        "host": host,
        "room": Size(max(0, room)),
        "vm": vm.name,
        "memory": Size(vm.memory),
    }
    return Objection(
        "memory",
        nwords(
            "{host} has room for {room}, {vm} needs {memory} (including {n} VM already "
            "migrating there).",
            "{host} has room for {room}, {vm} needs {memory} (including {n} VMs already "
            "migrating there).",
            n=coming,
            **said,
        )
        if coming
        else words("{host} has room for {room}, {vm} needs {memory}.", **said),
        words("Choose another host or free memory there."),
    )


def _huge_pages_suffice(box: Host, vm: Vm) -> Objection | None:
    """The host has as many free huge pages as the VM is made of.

    QEMU takes them all when it starts.
    """
    pages = box.pages_of(vm)
    asked = vm.detail.hugepage_size if vm.detail else 0
    if pages is None:
        size = asked or (2 << 20)
        said = (
            words(
                "{host} has no huge pages of {size}, {vm} needs them.",
                host=box.name,
                size=Size(asked),
                vm=vm.name,
            )
            if asked
            else words("{host} has no huge pages, {vm} needs them.", host=box.name, vm=vm.name)
        )
    else:
        needed, size = -(-vm.memory // pages.size), pages.size
        if needed <= pages.free:
            return None
        said = nwords(
            "{host} has {n} free huge page of {size}, {vm} needs {needed} ({memory}).",
            "{host} has {n} free huge pages of {size}, {vm} needs {needed} ({memory}).",
            n=pages.free,
            host=box.name,
            size=Size(size),
            vm=vm.name,
            needed=needed,
            memory=Size(vm.memory),
        )
    return Objection(
        "huge-pages",
        said,
        words(
            "Choose another host, or reserve more on {host}: {command}.",
            host=box.name,
            command=Code(f"virsh allocpages {size >> 10}KiB COUNT --add"),
        ),
    )


def read_whole(snapshot: Snapshot, vm: Vm, host: str) -> Objection | None:  # noqa: ARG001
    """A VM of which a part could not be read is not moved: what must move with it is not known."""
    if not vm.problem or host == vm.host:
        return None
    return Objection(
        "not-readable",
        words(
            "{vm} cannot be read whole on {host}: {problem}.",
            vm=vm.name,
            host=vm.host,
            problem=vm.problem,
        ),
        words(
            "Look at it there: {command}.",
            command=Code(command("virsh dumpxml {}", virsh_name(vm))),
        ),
    )


CORE_RULES: tuple[Rule, ...] = (read_whole, host_is_up, not_held, not_in_maintenance, memory_fits)


def objections(
    snapshot: Snapshot, vm: Vm, host: str, rules: Iterable[Rule]
) -> tuple[Objection, ...]:
    """Everything that stands against ``vm`` on ``host``, in the order of the rules."""
    found = (rule(snapshot, vm, host) for rule in rules)
    return tuple(each for each in found if each is not None)


def pin_names(tags: Mapping[str, str]) -> frozenset[str]:
    """What a ``pin`` names, such as ``host-a,host-b`` or ``host-a+host-b``; maybe no hosts."""
    parts = tags.get(PIN, "").replace("+", ",").split(",")
    return frozenset(name for part in parts if (name := part.strip()))


def pin_hosts(vm: Vm, hosts: Collection[str]) -> frozenset[str]:
    """The hosts that a pin names; empty when it names none, which pins the guest to where it is."""
    named = pin_names(vm.tags)
    return named if named <= frozenset(hosts) else frozenset()


def is_pinned_here(vm: Vm, hosts: Collection[str]) -> bool:
    """Whether a pin keeps the guest on the host it is on, so that it falls with it."""
    return PIN in vm.tags and pin_hosts(vm, hosts) <= {vm.host}


def fullness(snapshot: Snapshot, host: Host, extra: int = 0) -> float:
    """Share of the host's usable memory that is promised, with ``extra`` bytes more.

    1.0 is full.
    """
    usable = host.usable
    return (snapshot.memory_promises(host.name) + extra) / usable if usable > 0 else 1.0


def cpu_share(snapshot: Snapshot, host: Host) -> float | None:
    """Busy share of the host's CPUs: its own measure, else the sum of its guests'.

    None when nobody measured.
    """
    if host.cpus <= 0:
        return None
    if host.cpu is not None:
        return host.cpu / host.cpus
    loads = [vm.cpu for vm in snapshot.on(host.name) if vm.state.active and vm.cpu is not None]
    return sum(loads) / host.cpus if loads else None


def preference(snapshot: Snapshot, vm: Vm, host: str) -> tuple[float, float, str]:
    """Sort key for hosts that may take the guest.

    Least full after it arrives, then least busy, then by name.

    Memory leads because it cannot be shared; the busy share decides between hosts within 5 % of
    fullness.
    """
    box = snapshot.host(host)
    return (round(fullness(snapshot, box, vm.memory) / 0.05), cpu_share(snapshot, box) or 0.0, host)


def with_moves(snapshot: Snapshot, places: Mapping[str, str]) -> Snapshot:
    """The cluster with these active guests (by UUID) on these hosts alone.

    Whatever a move under way shows now.
    """
    theirs = [vm for vm in snapshot.vms if vm.uuid in places and vm.state.active]
    running_last = sorted(theirs, key=lambda vm: vm.state is VmState.RUNNING)
    one = {vm.uuid: replace(vm, host=places[vm.uuid]) for vm in running_last}
    others = (vm for vm in snapshot.vms if not (vm.uuid in one and vm.state.active))
    return replace(snapshot, vms=(*others, *one.values()))


def with_loads(snapshot: Snapshot, loads: Mapping[str, float]) -> Snapshot:
    """The cluster with these loads (cores, by UUID) instead of what it shows for these guests."""
    vms = (
        replace(vm, cpu=loads[vm.uuid]) if vm.uuid in loads and vm.state.active else vm
        for vm in snapshot.vms
    )
    return replace(snapshot, vms=tuple(vms))


def bars(snapshot: Snapshot, moves: Iterable[tuple[Vm, str]]) -> tuple[HostBar, ...]:
    """The before/after picture of moving guests to hosts.

    One pair of bars for each reachable host, by name.
    """
    moves = tuple(moves)
    return tuple(
        _bar(snapshot, host, moves) for host in sorted(snapshot.hosts, key=_name) if host.up
    )


def _name(host: Host) -> str:
    return host.name


def _bar(snapshot: Snapshot, host: Host, moves: tuple[tuple[Vm, str], ...]) -> HostBar:
    arriving = [vm for vm, target in moves if target == host.name and vm.host != host.name]
    leaving = [vm for vm, target in moves if vm.host == host.name and target != host.name]
    change = sum(vm.memory for vm in arriving) - sum(vm.memory for vm in leaving)
    cpu = cpu_share(snapshot, host)
    cpu_change = sum(vm.cpu or 0 for vm in arriving) - sum(vm.cpu or 0 for vm in leaving)
    return HostBar(
        host.name,
        round(fullness(snapshot, host), 4),
        round(fullness(snapshot, host, change), 4),
        None if cpu is None else round(cpu, 4),
        None if cpu is None else round(max(0.0, cpu + cpu_change / host.cpus), 4),
    )
