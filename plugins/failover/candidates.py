"""Pure: which VMs of a dead host are to be started elsewhere, in which wave.

And which stay off, and why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bot.domain.cluster import POSTCOPY_SOURCE, Host, Snapshot, Vm, VmState
from bot.domain.definition import Definition
from bot.domain.message import Duration, Names, words
from bot.domain.plan import Objection
from bot.domain.state_names import VM_STATES
from bot.domain.storage import is_medium, is_shared, shared_names
from plugins.failover import variables
from plugins.failover.commands import chat
from plugins.failover.settings import FailoverSettings, Nvram, Priority

PRIORITY, AFTER, READY = "failover", "failover.after", "failover.ready"
"""Tags of VMs.

The priority, the names of VMs that must be ready before, and how it shows that it is ready.
"""
READINESS = ("agent", "none")
_RANKS = {Priority.FIRST: 0, Priority.NORMAL: 1, Priority.LAST: 2}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A VM to start elsewhere.

    ``wave``: from 1; ``after``: UUIDs of VMs that must be ready before it starts.
    """

    vm: Vm
    kept: Definition
    priority: Priority
    wave: int = 1
    after: tuple[str, ...] = ()
    ready: str = "none"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which VMs people ask for, by name.

    ``skip`` stay off; of ``only``, unless it is empty, all others do.
    """

    skip: tuple[str, ...] = ()
    only: tuple[str, ...] = ()

    def takes(self, vm: Vm) -> bool:
        """Whether this one is asked for."""
        return vm.name not in self.skip and (not self.only or vm.name in self.only)


@dataclass(frozen=True, slots=True)
class StaysOff:
    """A VM that is not started elsewhere, and the first reason."""

    uuid: str
    name: str
    why: Objection


def priority_of(vm: Vm, settings: FailoverSettings) -> Priority:
    """Its tag ``failover``, or the configured default.

    A tag that says something else counts as the default.
    """
    tag = _tag(vm, PRIORITY)
    return Priority(tag) if tag in list(Priority) else settings.default


def has_odd_priority(vm: Vm) -> bool:
    """Whether its tag ``failover`` says something that means nothing."""
    return _tag(vm, PRIORITY) not in {"", *Priority}


def _tag(vm: Vm, key: str) -> str:
    return vm.tags.get(key, "").strip().casefold()


def running_elsewhere(vm: Vm, snapshot: Snapshot) -> list[Vm]:
    """What runs of it on hosts other than its own."""
    return [each for each in snapshot.copies(vm.uuid) if each.host != vm.host and each.state.active]


def lost_vms(snapshot: Snapshot, host: str, kept: Iterable[Definition]) -> tuple[Vm, ...]:
    """The VMs of a host as last seen.

    Those that the bot has not seen since its start as their definitions tell.
    """
    seen = {vm.uuid: vm for vm in snapshot.on(host)}
    for each in kept:
        if each.host == host and each.uuid not in seen:
            seen[each.uuid] = Vm(
                each.uuid,
                each.name,
                host,
                each.state,
                each.vcpus,
                each.memory,
                persistent=each.persistent,
                tags=each.tags,
                detail=each.detail,
            )
    return tuple(sorted(seen.values(), key=lambda vm: vm.name))


def definitions_elsewhere(
    snapshot: Snapshot,
    host: str,
    kept: Iterable[Definition],
    newest: Callable[[str], Definition | None],
) -> tuple[Definition, ...]:
    """The definitions of VMs that came to a host after they were last kept.

    Moved a moment ago, or not wholly yet: their home was another host then.

    Args:
        snapshot: the cluster.
        host: the host.
        kept: what is kept of the host's own VMs.
        newest: the newest kept definition of the VM of a UUID, of whichever host.
    """
    known = {each.uuid for each in kept}
    came = [vm.uuid for vm in snapshot.on(host) if vm.state.active and vm.uuid not in known]
    return tuple(found for uuid in came if (found := newest(uuid)) is not None)


def choose(
    settings: FailoverSettings,
    snapshot: Snapshot,
    host: str,
    kept: Sequence[Definition],
    wanted: Wanted = Wanted(),
) -> tuple[tuple[Candidate, ...], tuple[StaysOff, ...]]:
    """The VMs to start elsewhere by wave, and those that stay off with the first reason.

    Args:
        settings: the configuration.
        snapshot: the cluster, with the dead host's VMs as last seen.
        host: the dead host.
        kept: the newest kept definition of each VM.
        wanted: which VMs are asked for.
    """
    newest = {each.uuid: each for each in kept}
    found: list[Candidate] = []
    off: list[StaysOff] = []
    for vm in lost_vms(snapshot, host, kept):
        if not vm.state.active:
            continue
        why = next(_reasons(settings, snapshot, vm, newest.get(vm.uuid), wanted), None)
        why = why or _second_writer(snapshot, host, newest[vm.uuid])
        if why is not None:
            off.append(StaysOff(vm.uuid, vm.name, why))
            continue
        ready = _tag(vm, READY)
        found.append(
            Candidate(
                vm,
                newest[vm.uuid],
                priority_of(vm, settings),
                ready=ready if ready in READINESS else "none",
            )
        )
    return _in_waves(found), tuple(off)


def _reasons(
    settings: FailoverSettings,
    snapshot: Snapshot,
    vm: Vm,
    kept: Definition | None,
    wanted: Wanted,
) -> Iterator[Objection]:
    """Why a VM is not started on any other host."""
    if not wanted.takes(vm):
        yield Objection("left-out", words("{vm} is left out, as asked.", vm=vm.name))
    if priority_of(vm, settings) is Priority.OFF:
        yield Objection("tagged-off", words("{vm} has the tag `failover=off`.", vm=vm.name))
    if vm.state is not VmState.RUNNING and vm.paused_by != POSTCOPY_SOURCE:
        yield Objection(
            "not-running",
            words(
                "{vm} was {state} on {host}, not running.",
                vm=vm.name,
                state=VM_STATES[vm.state],
                host=vm.host,
            ),
            words(
                "It can start once {host} is admitted again: {command}.",
                host=vm.host,
                command=chat("vm start {}", vm.name),
            ),
        )
    if elsewhere := running_elsewhere(vm, snapshot):
        yield Objection(
            "runs-elsewhere",
            words("{vm} already runs on {host}.", vm=vm.name, host=elsewhere[0].host),
        )
    if kept is None:
        yield Objection(
            "no-definition",
            words("Drover has no copy of the definition of {vm}.", vm=vm.name),
            words("Define it by hand on another host."),
        )
        return
    yield from _bound_to_its_host(settings, snapshot.host(vm.host), vm, kept)


def _writers(snapshot: Snapshot) -> Mapping[str, tuple[Vm, ...]]:
    """The VMs that run, by each name of their shared disks."""
    found: dict[str, tuple[Vm, ...]] = {}
    for vm in snapshot.vms:
        if vm.state.active and vm.detail:
            for name in shared_names(snapshot.host(vm.host), vm.detail):
                found[name] = (*found.get(name, ()), vm)
    return found


def _second_writer(snapshot: Snapshot, lost: str, kept: Definition) -> Objection | None:
    """Another VM that writes to a disk of this one: somebody may have started it in its place."""
    for name, disk in shared_names(snapshot.host(lost), kept.detail).items():
        there = snapshot.table(_writers).get(name, ())
        others = (vm for vm in there if vm.host != lost and vm.uuid != kept.uuid)
        if (other := next(others, None)) is not None:
            return Objection(
                "disk-in-use",
                words(
                    "{other} runs on {host} with a disk of {vm} ({disk}): two VMs that write to "
                    "one disk destroy its data.",
                    other=other.name,
                    host=other.host,
                    vm=kept.name,
                    disk=disk.source,
                ),
                words("If {vm} should run instead, shut {other} down first: {command}.",
                      vm=kept.name, other=other.name, command=chat("vm shutdown {}", other.name)),
            )  # fmt: skip
    return None


def _bound_to_its_host(
    settings: FailoverSettings, host: Host, vm: Vm, kept: Definition
) -> Iterator[Objection]:
    """What of a VM is on the dead host alone."""
    detail = kept.detail
    local = [
        disk
        for disk in detail.disks
        if disk.source and not is_medium(disk) and not is_shared(host, disk)
    ]
    if local:
        yield Objection(
            "local-disk",
            words(
                "The disks of {vm} are on {host} only: {disks}.",
                vm=vm.name,
                host=host.name,
                disks=Names(tuple(disk.target for disk in local)),
            ),
            words("It starts again when {host} is back.", host=host.name),
        )
    if detail.hostdevs:
        yield Objection(
            "host-device",
            words(
                "{vm} uses a device of {host}: {device}.",
                vm=vm.name,
                host=host.name,
                device=detail.hostdevs[0],
            ),
        )
    if detail.tpm:
        yield Objection(
            "tpm",
            words("The state of the TPM of {vm} is on {host} only.", vm=vm.name, host=host.name),
            words("A start without it would lock disks that are encrypted with it."),
        )
    if settings.nvram is Nvram.REFUSE and variables.are_lost(host, kept):
        yield Objection(
            "nvram",
            words(
                "The UEFI variables of {vm} are on {host} only, and no copy is kept.",
                vm=vm.name,
                host=host.name,
            ),
            words(
                'Set `nvram = "reset"` in `[plugins.failover]` to make them anew from the template.'
            ),
        )


def old_copies(
    candidates: Iterable[Candidate], now: datetime, settings: FailoverSettings
) -> tuple[Objection, ...]:
    """A warning for each VM whose kept definition is older than it should be."""
    oldest = now - timedelta(seconds=settings.stale)
    return tuple(
        Objection(
            "old-definition",
            words(
                "The copy of the definition of {vm} is {age} old.",
                vm=each.vm.name,
                age=Duration((now - each.kept.seen_at).total_seconds()),
            ),
        )
        for each in candidates
        if each.kept.seen_at < oldest
    )


def _in_waves(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """The candidates with their waves.

    By priority, and behind those that they name in ``failover.after``.

    A VM that is waited for is started no later than the one that waits. Of a circle the dependency
    that closes it does not count.
    """
    order = _Order({each.vm.name: each for each in candidates})
    places = {name: order.place(name) for name in sorted(order.by_name)}
    numbers = {place: number for number, place in enumerate(sorted(set(places.values())), 1)}
    placed = [
        replace(
            each,
            wave=numbers[places[each.vm.name]],
            after=tuple(sorted(order.by_name[name].vm.uuid for name in order.needs[each.vm.name])),
        )
        for each in candidates
    ]
    return tuple(sorted(placed, key=lambda each: (each.wave, -each.vm.memory, each.vm.name)))


class _Order:
    """Places of candidates.

    The rank of their priority, and how many must be ready one after the other before.
    """

    def __init__(self, by_name: Mapping[str, Candidate]) -> None:
        self.by_name = by_name
        self.needs: dict[str, list[str]] = {}
        self._places: dict[str, tuple[int, int]] = {}

    def place(self, name: str, path: tuple[str, ...] = ()) -> tuple[int, int]:
        """Where a VM comes; ``path``: those that wait for it, which it cannot wait for."""
        if name in self._places:
            return self._places[name]
        path = (*path, name)
        vm = self.by_name[name].vm
        self.needs[name] = [
            each for each in _after_names(vm) if each in self.by_name and each not in path
        ]
        place = (_RANKS[self.by_name[name].priority], 0)
        for each in self.needs[name]:
            before = self.place(each, path)
            place = max(place, (before[0], before[1] + 1))
        self._places[name] = place
        return place


def _after_names(vm: Vm) -> tuple[str, ...]:
    return tuple(part for part in vm.tags.get(AFTER, "").replace("+", ",").split(",") if part)
