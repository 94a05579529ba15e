"""Pure: the plans for guests that exist, one function for each kind of wish, and the test at the last moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bot.domain import placement
from bot.domain.cluster import Health, Host, Snapshot, StoredSize, Vm, VmState, tags_of
from bot.domain.errors import AmbiguousNameError, UnknownNameError
from bot.domain.placement import Rule
from bot.domain.plan import Blast, Objection, Plan, Reason, Refused, Risk
from bot.domain.steps import Step
from plugins.vm_lifecycle import cards, creation, texts
from plugins.vm_lifecycle.intents import (
    NewAutostart,
    NewName,
    NewSize,
    NewTags,
    NewTtl,
    VmVerb,
)
from plugins.vm_lifecycle.settings import VmLifecycleSettings
from plugins.vm_lifecycle.steps import (
    AddNic,
    AutostartVm,
    CloneVm,
    DiscardMemory,
    Power,
    PowerVm,
    RenameVm,
    ResizeVm,
    SetTtl,
    SnapshotVm,
    TagVm,
)

DELETED = "drover.deleted"
"""The tag of a deleted guest: when its grace ends, ISO 8601."""
DISKS = "drover.disks"
"""Beside it: ``keep`` or ``remove``."""
AUTOSTART = "drover.autostart"
"""Beside it, where the guest started with its host before: ``on``."""

Answer = Plan | Refused
Planned = tuple[tuple[Step, ...], tuple[Objection, ...]]


@dataclass(frozen=True, slots=True)
class Case:
    """One guest that a wish is about, in the cluster as it is."""

    settings: VmLifecycleSettings
    vm: Vm
    snapshot: Snapshot
    rules: tuple[Rule, ...]


Work = Callable[[Any, Case], Planned]
"""Steps for one guest, or what stands against them; neither when there is nothing to do."""


def focus(intent: Any) -> tuple[str, ...]:
    """The guest that is named is read in depth."""
    name = getattr(intent, "vm", "") or getattr(intent, "name", "")
    return (name,) if name else ()


def plan(  # noqa: PLR0917 - what a command is bound to, and what an Action is called with
    work: Work,
    risk: Risk,
    settings: VmLifecycleSettings,
    intent: Any,
    snapshot: Snapshot,
    rules: Iterable[Rule],
) -> Answer:
    """The plan of ``work`` for the guest that ``intent`` names, or for all that have its tag."""
    title = cards.wish_title(intent)
    if bad := tuple(texts.slips(intent)):
        return Refused(cards.refused_title(title), bad)
    found = chosen(intent, snapshot)
    if isinstance(found, Objection):
        return Refused(cards.refused_title(title), (found,))
    rules = tuple(rules)
    steps: list[Step] = []
    touched: list[Vm] = []
    idle: list[Reason] = []
    against: list[Objection] = []
    for vm in found:
        mine, objections = work(intent, Case(settings, vm, snapshot, rules))
        against += objections or (_written_under(intent, vm) if mine else ())
        steps += mine
        touched += [vm] if mine else []
        idle += [] if mine or objections else [cards.nothing_to_do(vm, title)]
    if against or not steps:
        against += [Objection(each.code, each.text, "") for each in idle] if not against else []
        return Refused(cards.refused_title(title), tuple(dict.fromkeys(against)))
    return Plan(
        title=steps[0].title if len(steps) == 1 else cards.many_title(title, touched),
        steps=tuple(steps),
        risk=_risk(risk, touched),
        blast=_blast(touched),
        reasons=(*(cards.listed(vm) for vm in touched if len(found) > 1), *idle),
        warnings=tuple(
            each for vm in touched for each in cards.warnings_for(intent, vm, settings.grace)
        ),
        tags=tags_of(touched),
    )


def _written_under(intent: Any, vm: Vm) -> Iterator[Objection]:
    """What would be destroyed if the VM wrote to its disks."""
    if getattr(intent, "verb", "") in {"start", "revert"}:
        yield from (
            cards.others_stand_on(vm, each)
            for each in intent.fates
            if each.vm == vm.uuid and each.holders
        )


def chosen(intent: Any, snapshot: Snapshot) -> tuple[Vm, ...] | Objection:
    """The guests a wish is about, by name; each UUID once, where it runs if it does."""
    tag = getattr(intent, "tag", "")
    if not tag:
        try:
            return (snapshot.vm(intent.vm),)
        except UnknownNameError as error:
            return cards.unknown("unknown-vm", error)
        except AmbiguousNameError as error:
            return cards.unknown("ambiguous-vm", error)
    key, _, value = tag.partition("=")
    found = {vm.uuid: snapshot.vm(vm.uuid) for vm in snapshot.vms if vm.tags.get(key) == value}
    return tuple(sorted(found.values(), key=lambda vm: vm.name)) or cards.no_such_tag(tag)


def still_good(  # noqa: PLR0917 - as for plan
    work: Work, risk: Risk, settings: VmLifecycleSettings, intent: Any, planned: Plan, snapshot: Snapshot,
    rules: Iterable[Rule],
) -> tuple[Objection, ...]:  # fmt: skip
    """The same wish must still lead to the same steps."""
    again = plan(work, risk, settings, intent, snapshot, rules)
    if isinstance(again, Refused):
        return again.objections
    if _timeless(again.steps) != _timeless(planned.steps):
        return (cards.changed_meanwhile(planned, again),)
    return tuple(_macs_taken(planned.steps, snapshot))


def _macs_taken(steps: Sequence[Step], snapshot: Snapshot) -> Iterator[Objection]:
    """An approved MAC address is kept, as long as nobody else has got it meanwhile."""
    taken = {nic.mac.lower(): vm for vm in snapshot.vms if vm.detail for nic in vm.detail.nics}
    for step in steps:
        if isinstance(step, AddNic) and step.mac in taken:
            yield cards.mac_taken(step.mac, taken[step.mac])


def _timeless(steps: Sequence[Step]) -> list[Step]:
    """Steps without what is made from the moment of planning."""
    bare: list[Step] = []
    for step in steps:
        if isinstance(step, SnapshotVm):
            bare.append(replace(step, token=""))
        elif isinstance(step, AddNic):
            bare.append(replace(step, mac=""))
        elif isinstance(step, CloneVm):
            bare.append(
                replace(
                    step, uuid="", disks=(), seed=("", ""), meta_data="", network_config="", macs=()
                )
            )
        elif isinstance(step, SetTtl):
            bare.append(replace(step, expires=""))
        elif isinstance(step, TagVm):
            bare.append(
                replace(step, tags=tuple(each for each in step.tags if each[0] != "expires"))
            )
        else:
            bare.append(step)
    return bare


def _risk(usual: Risk, touched: Sequence[Vm]) -> Risk:
    """Of several at once never low: a policy that lets low ones pass would show their list to nobody first."""
    return Risk.MEDIUM if usual is Risk.LOW and len(touched) > 1 else usual


def _blast(touched: Sequence[Vm]) -> Blast:
    hosts = tuple(dict.fromkeys(vm.host for vm in touched))
    return Blast(tuple(vm.name for vm in touched), hosts, sum(vm.memory for vm in touched))


# --- what stands against touching a guest at all
# ------------------------------------------------------------------


def reached(vm: Vm, snapshot: Snapshot) -> Iterator[Objection]:
    """Its host answers."""
    host = snapshot.host(vm.host)
    if not host.up:
        yield cards.unreachable(vm, host)


def settled(vm: Vm, snapshot: Snapshot) -> Iterator[Objection]:
    """Nobody touches a guest that is on its way, deleted, or on a host that is silent."""
    yield from reached(vm, snapshot)
    if vm.problem and vm.detail is None:
        yield cards.not_readable(vm)
    # libvirt keeps the job of a post-copy that broke for ever; it must not keep people from ending
    # what is left.
    job = vm.detail and vm.detail.job and not lost_memory(vm, snapshot)
    if any(move.vm_uuid == vm.uuid for move in snapshot.inbound) or job:
        yield cards.busy(vm)
    if DELETED in vm.tags:
        yield cards.is_deleted(vm)


def changeable(vm: Vm, snapshot: Snapshot) -> Iterator[Objection]:
    """Nobody changes a VM that may run elsewhere, or that goes on from saved memory: it would not show the change."""
    yield from settled(vm, snapshot)
    if not vm.state.active:
        yield from elsewhere(vm, snapshot)
    if vm.saved:
        yield cards.memory_is_saved(vm)


def lost_memory(vm: Vm, snapshot: Snapshot) -> bool:
    """Tell whether a post-copy of it broke off and the other half is gone: it never runs again as it is."""
    return (
        vm.state.active and vm.paused_by == "postcopy failed" and not any(elsewhere(vm, snapshot))
    )


def elsewhere(vm: Vm, snapshot: Snapshot) -> Iterator[Objection]:
    """Why a start could make a second copy: a host that has it, had it last, or was never heard of."""
    for other in snapshot.vms:
        if other.uuid == vm.uuid and other.host != vm.host:
            host = snapshot.host(other.host)
            if not host.up:
                yield cards.maybe_there(vm, host)
            elif other.state.active:
                yield cards.runs_there(vm, other)
    for host in snapshot.hosts:
        if host.health is not Health.UP and host.seen_at is None:
            yield cards.never_heard(vm, host)


# --- the wishes
# ---------------------------------------------------------------------------------------------------


def start(intent: VmVerb, case: Case) -> Planned:  # noqa: ARG001 - the shape of Work
    """A start where the guest is defined, if it can be nowhere else."""
    vm, snapshot = case.vm, case.snapshot
    if vm.state is VmState.SUSPENDED:
        return _wake(vm, snapshot)
    if vm.state.active:
        return (), ((cards.paused_not_off(vm),) if vm.state is VmState.PAUSED else ())
    against = [*settled(vm, snapshot), *elsewhere(vm, snapshot)]
    if not against:
        against += placement.objections(
            snapshot, vm, vm.host, dict.fromkeys((*placement.CORE_RULES, *case.rules))
        )
    return (PowerVm(vm.uuid, vm.name, vm.host, Power.START),), tuple(against)


def shutdown(intent: VmVerb, case: Case) -> Planned:
    """An orderly end; a paused guest cannot hear that it is wanted."""
    steps, against = _ending(intent, case, Power.SHUTDOWN)
    return steps, (*against, *_deaf(case.vm))


def force_off(intent: VmVerb, case: Case) -> Planned:
    """The plug."""
    return _ending(intent, case, Power.FORCE_OFF)


def _ending(intent: VmVerb, case: Case, verb: Power) -> Planned:
    """The end of an active VM; of a transient one nothing is left, so people must have agreed to that."""
    vm, snapshot = case.vm, case.snapshot
    lost = vm.state.active and not vm.persistent
    steps, against = _power(vm, snapshot, verb, wanted=vm.state.active, lose_definition=lost)
    if lost and not intent.lose_definition:
        against = (*against, cards.only_while_it_runs(vm, intent.verb))
    return steps, against


def pause(intent: VmVerb, case: Case) -> Planned:  # noqa: ARG001 - the shape of Work
    """Stand still."""
    vm, snapshot = case.vm, case.snapshot
    if vm.state is VmState.SUSPENDED:
        return (), (cards.asleep(vm),)
    if vm.state is not VmState.RUNNING and vm.state is not VmState.PAUSED:
        return (), (cards.not_running(vm),)
    return _power(vm, snapshot, Power.PAUSE, wanted=vm.state is VmState.RUNNING)


def resume(intent: VmVerb, case: Case) -> Planned:  # noqa: ARG001 - the shape of Work
    """Go on. A guest that a migration left paused is not for this command: it may run elsewhere."""
    vm, snapshot = case.vm, case.snapshot
    if not vm.state.active:
        return (), (cards.not_running(vm),)
    if vm.state is VmState.SUSPENDED:
        return _wake(vm, snapshot)
    if vm.state is VmState.PAUSED and vm.paused_by in {"migration", "postcopy", "postcopy failed"}:
        return (), (cards.half_moved(vm),)
    steps, against = _power(vm, snapshot, Power.RESUME, wanted=vm.state is VmState.PAUSED)
    return steps, (*against, *(elsewhere(vm, snapshot) if steps else ()))


def reboot(intent: VmVerb, case: Case) -> Planned:  # noqa: ARG001 - the shape of Work
    """An orderly end and a new start: both can be seen from outside, and what waits for a restart takes effect."""
    vm, snapshot = case.vm, case.snapshot
    if not vm.state.active:
        return (), (cards.not_running(vm),)
    dead = lost_memory(vm, snapshot)  # it would hear nothing
    against = (*settled(vm, snapshot), *elsewhere(vm, snapshot), *(() if dead else _deaf(vm)))
    against += () if vm.persistent else (cards.cannot_reboot(vm),)
    verbs = (Power.FORCE_OFF if dead else Power.SHUTDOWN, Power.START)
    off, on = (PowerVm(vm.uuid, vm.name, vm.host, verb) for verb in verbs)
    return (off, on), against


def _deaf(vm: Vm) -> Iterator[Objection]:
    if vm.state is VmState.PAUSED:
        yield cards.cannot_hear(vm)
    if vm.state is VmState.SUSPENDED:
        yield cards.asleep(vm)


def _wake(vm: Vm, snapshot: Snapshot) -> Planned:
    """A VM that its own system put to sleep goes on where it was."""
    return (PowerVm(vm.uuid, vm.name, vm.host, Power.WAKE),), (
        *settled(vm, snapshot),
        *elsewhere(vm, snapshot),
    )


def _power(
    vm: Vm, snapshot: Snapshot, verb: Power, *, wanted: bool, lose_definition: bool = False
) -> Planned:
    if not wanted:
        return (), tuple(reached(vm, snapshot))
    step = PowerVm(vm.uuid, vm.name, vm.host, verb, lose_definition)
    return (step,), tuple(settled(vm, snapshot))


def resize(intent: NewSize, case: Case) -> Planned:
    """More or less of vCPUs and memory; what is not named stays as it is stored for the next start."""
    vm, snapshot = case.vm, case.snapshot
    stored = vm.stored or StoredSize(
        vm.vcpus, vm.memory, vm.detail.vcpus_max if vm.detail else 0, vm.memory_max
    )
    vcpus, memory = intent.cpus or stored.vcpus, intent.memory or stored.memory
    if (vcpus, memory) == (stored.vcpus, stored.memory) == (vm.vcpus, vm.memory):
        return (), ()
    host = snapshot.host(vm.host)
    against = [*changeable(vm, snapshot), *(() if vm.persistent else (cards.transient(vm),))]
    against += cards.fixed_size(vm, stored, vcpus, memory)
    if not against and vcpus > host.cpus:
        against.append(cards.too_many_cpus(replace(vm, vcpus=vcpus), host))
    room = _room_beside(vm, host, snapshot)
    if not against and memory > vm.memory and memory - vm.memory > room:
        against.append(cards.no_room(vm, memory, room))
    return (ResizeVm(vm.uuid, vm.name, vm.host, vcpus, memory),), tuple(against)


def _room_beside(vm: Vm, host: Host, snapshot: Snapshot) -> int:
    """Bytes that this VM could get more on its host: of huge pages for one that is made of them."""
    if not vm.huge or host.huge_pages is None:
        return snapshot.room(vm.host)
    pages = host.pages_of(vm)
    free = pages.free * pages.size if pages else 0
    return free if vm.state.active else free - vm.memory


RENAMES_WITH_SNAPSHOTS = 6_010_000
"""The libvirt that renames a VM that has snapshots (release notes of 6.10)."""


def rename(intent: NewName, case: Case) -> Planned:
    """Another name, for a guest that is off."""
    vm, snapshot = case.vm, case.snapshot
    if vm.name == intent.to:
        return (), ()
    host = snapshot.host(vm.host)
    against = [
        *changeable(vm, snapshot),
        *creation.name_slips(intent.to),
        *creation.name_taken((intent.to,), snapshot),
    ]
    against += [cards.must_be_off(vm, "renamed")] if vm.state.active else []
    if (
        vm.detail
        and vm.detail.snapshots
        and host.up
        and host.libvirt_version < RENAMES_WITH_SNAPSHOTS
    ):
        against.append(cards.cannot_rename(vm, host))
    return (RenameVm(vm.uuid, vm.name, vm.host, intent.to),), tuple(against)


def discard_memory(intent: VmVerb, case: Case) -> Planned:  # noqa: ARG001 - the shape of Work
    """The end of a saved memory: the next start boots from the disks."""
    vm, snapshot = case.vm, case.snapshot
    if not vm.saved:
        return (), (cards.no_saved_memory(vm),)
    against = (*settled(vm, snapshot), *elsewhere(vm, snapshot))
    return (DiscardMemory(vm.uuid, vm.name, vm.host),), against


def autostart(intent: NewAutostart, case: Case) -> Planned:
    """Start at boot."""
    vm, snapshot = case.vm, case.snapshot
    if vm.autostart is intent.on:
        return (), ()
    against = (*settled(vm, snapshot), *(() if vm.persistent else (cards.transient(vm),)))
    return (AutostartVm(vm.uuid, vm.name, vm.host, intent.on),), against


def tag(intent: NewTags, case: Case) -> Planned:
    """Other tags; Drover's own cannot be changed by hand."""
    vm, snapshot = case.vm, case.snapshot
    if against := tuple(texts.reserved((*dict(intent.give), *intent.take), vm.name)):
        return (), against
    kept = {key: value for key, value in vm.tags.items() if key not in intent.take}
    wanted = tuple(sorted({**kept, **dict(intent.give)}.items()))
    if wanted == tuple(sorted(vm.tags.items())):
        return (), ()
    return (TagVm(vm.uuid, vm.name, vm.host, wanted),), tuple(settled(vm, snapshot))


def ttl(intent: NewTtl, case: Case) -> Planned:
    """When its time is over; the same wish later means a later moment."""
    vm, snapshot = case.vm, case.snapshot
    if not intent.ttl and not {texts.TTL, texts.EXPIRES} & set(vm.tags):
        return (), ()
    ends = (
        dict(creation.with_end((("ttl", intent.ttl),), snapshot))["expires"] if intent.ttl else ""
    )
    return (SetTtl(vm.uuid, vm.name, vm.host, intent.ttl, ends),), tuple(settled(vm, snapshot))
