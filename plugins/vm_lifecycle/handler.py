"""The only impure file: looks whether a step is done, and does it; what is half made when it fails is unmade."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from bot.domain.backing import Looked, Storage
from bot.domain.cluster import Sighting, Snapshot, VmState
from bot.domain.errors import DroverError, HostUnreachableError, StepAsksError, StepCancelledError
from bot.domain.operation import Ask
from bot.domain.plan import Objection
from bot.domain.steps import Step
from bot.plugin_api import Settled
from bot.ports import (
    ClusterReader,
    Hypervisor,
    Progress,
    VmDefinitions,
    VmLookup,
    VmPower,
    VmSnapshots,
    VmViews,
    Volumes,
)
from bot.ports.guests import Found, GuestDisk, GuestNic
from plugins.vm_lifecycle import creation, devices, fates, messages, planner, provisioning, texts
from plugins.vm_lifecycle.intents import (
    Deletion,
    DiskWish,
    LookAt,
    NewClone,
    NewVms,
    SnapshotWish,
    VmVerb,
)
from plugins.vm_lifecycle.planner import AUTOSTART, DELETED, DISKS
from plugins.vm_lifecycle.provisioning import nowhere_else
from plugins.vm_lifecycle.settings import VmLifecycleSettings
from plugins.vm_lifecycle.show import Portrait
from plugins.vm_lifecycle.steps import (
    AddDisk,
    AddNic,
    AutostartVm,
    CloneVm,
    CreateVm,
    CreateVms,
    DeleteVm,
    DiscardMemory,
    EjectMedium,
    GrowDisk,
    OnGuest,
    Power,
    PowerVm,
    PurgeVm,
    RemoveNic,
    RenameVm,
    ResizeVm,
    SetTtl,
    SnapshotVerb,
    SnapshotVm,
    TagVm,
    UndeleteVm,
)

Facts = Mapping[str, str | int | float | bool]

_AT_ONCE = 16  # hosts that are asked side by side


# --- settle
# -------------------------------------------------------------------------------------------------------


def settle(step: Step, hypervisor: Hypervisor) -> Settled:
    """Only looks: DONE when the host shows the step's effect."""
    look = _LOOKS[type(step)]
    return Settled.DONE if look(step, hypervisor) else Settled.NOT_YET


def _power_is(step: PowerVm, hypervisor: ClusterReader) -> bool:
    state = _at(step, hypervisor).state
    match step.verb:
        case Power.START:
            return state is not None and state.active
        case Power.SHUTDOWN | Power.FORCE_OFF:
            return state is None or not state.active
        case Power.PAUSE:
            return state is VmState.PAUSED
        case Power.RESUME | Power.WAKE:
            return state is VmState.RUNNING


def _snapshot_is(step: SnapshotVm, hypervisor: VmSnapshots) -> bool:
    if step.verb is SnapshotVerb.REVERT:
        return _found(step, hypervisor).mark == step.token
    there = any(each.name == step.snapshot for each in hypervisor.snapshots(step.host, step.uuid))
    return there is (step.verb is SnapshotVerb.CREATE)


def _deleted(step: DeleteVm, hypervisor: VmPower) -> bool:
    return DELETED in _found(step, hypervisor).tags and not hypervisor.autostart(
        step.host, step.uuid
    )


def _purged(step: PurgeVm, hypervisor: Hypervisor) -> bool:
    if hypervisor.found(step.host, step.uuid) is not None:
        return False
    return all(
        hypervisor.volume(step.host, *provisioning.place(each)) is None for each in step.volumes
    )


def _has_disk(step: AddDisk, hypervisor: VmLookup, *, either: bool = False) -> bool:
    """Whether it has the disk, now and stored; or ``either``."""
    found, name = _found(step, hypervisor), provisioning.place(step.volume)[1]
    both = (found.detail.disks, found.detail_next.disks)
    there = [any(each.source.endswith(f"/{name}") for each in disks) for disks in both]
    return any(there) if either else all(there)


def _has_nic(step: AddNic, hypervisor: VmLookup) -> bool:
    return _macs(step, hypervisor)[1] >= {step.mac}


def _macs(step: OnGuest, hypervisor: VmLookup) -> tuple[set[str], set[str]]:
    """MAC addresses of its cards in either definition, and in both."""
    found = _found(step, hypervisor)
    now, later = (
        {each.mac.lower() for each in detail.nics} for detail in (found.detail, found.detail_next)
    )
    return now | later, now & later


def _grown(step: GrowDisk, hypervisor: VmViews) -> bool:
    sizes = {each.target: each.capacity for each in hypervisor.disks(step.host, step.uuid)}
    return sizes.get(step.target, 0) >= step.capacity


def _ejected(step: EjectMedium, hypervisor: VmLookup) -> bool:
    found = _found(step, hypervisor)
    disks = (*found.detail.disks, *found.detail_next.disks)
    return not any(each.target == step.target and each.source for each in disks)


def _resized(step: ResizeVm, hypervisor: VmLookup) -> bool:
    found = _found(step, hypervisor)
    return (found.vcpus_next, found.memory_next) == (step.vcpus, step.memory)


def _has_ttl(step: SetTtl, hypervisor: VmLookup) -> bool:
    tags = dict(_found(step, hypervisor).tags)
    return tags == {**_endless(tags), **_end_of(step)}


def _endless(tags: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in tags.items() if key not in {texts.TTL, texts.EXPIRES}}


def _end_of(step: SetTtl) -> dict[str, str]:
    return {texts.TTL: step.ttl, texts.EXPIRES: step.expires} if step.ttl else {}


_LOOKS: Mapping[type[Step], Callable[[Any, Hypervisor], bool]] = {
    CreateVm: provisioning.made,
    CreateVms: lambda step, hypervisor: all(
        provisioning.made(each, hypervisor) for each in step.guests
    ),
    CloneVm: provisioning.made,
    PowerVm: _power_is,
    ResizeVm: _resized,
    RenameVm: lambda step, hypervisor: _found(step, hypervisor).name == step.to,
    AutostartVm: lambda step, hypervisor: hypervisor.autostart(step.host, step.uuid) is step.on,
    TagVm: lambda step, hypervisor: dict(_found(step, hypervisor).tags) == dict(step.tags),
    SetTtl: _has_ttl,
    DeleteVm: _deleted,
    UndeleteVm: lambda step, hypervisor: DELETED not in _found(step, hypervisor).tags,
    PurgeVm: _purged,
    SnapshotVm: _snapshot_is,
    AddDisk: _has_disk,
    GrowDisk: _grown,
    AddNic: _has_nic,
    RemoveNic: lambda step, hypervisor: step.mac not in _macs(step, hypervisor)[0],
    EjectMedium: _ejected,
    DiscardMemory: lambda step, hypervisor: not _found(step, hypervisor).saved,
}


# --- run
# ----------------------------------------------------------------------------------------------------------


def run(
    settings: VmLifecycleSettings, step: Step, hypervisor: Hypervisor, progress: Progress
) -> Facts:
    """Do a step; safe to repeat. Facts are for the audit."""
    return _RUNS[type(step)](step, Site(settings, hypervisor, progress))


@dataclass(frozen=True, slots=True)
class Site:
    """What a step is done with."""

    settings: VmLifecycleSettings
    hypervisor: Hypervisor
    progress: Progress


def _create(step: CreateVm, at: Site) -> Facts:
    return provisioning.make(step, at.hypervisor, at.progress)


def _create_many(step: CreateVms, at: Site) -> Facts:
    return provisioning.make_many(step, at.hypervisor, at.progress, at.settings.parallel)


def _clone(step: CloneVm, at: Site) -> Facts:
    return provisioning.clone(step, at.hypervisor, at.progress)


def _power(step: PowerVm, at: Site) -> Facts:
    match step.verb:
        case Power.START:
            nowhere_else(step, at.hypervisor)
            at.hypervisor.start(step.host, step.uuid)
        case Power.SHUTDOWN:
            _may_end(step, at.hypervisor)
            return _shut_down(step, at)
        case Power.FORCE_OFF:
            _may_end(step, at.hypervisor)
            at.hypervisor.force_off(step.host, step.uuid)
        case Power.PAUSE:
            at.hypervisor.pause(step.host, step.uuid)
        case Power.RESUME:
            nowhere_else(step, at.hypervisor)
            at.hypervisor.resume(step.host, step.uuid)
        case Power.WAKE:
            return _wake(step, at)
    return {}


def _wake(step: PowerVm, at: Site) -> Facts:
    """It takes a moment until its own system goes on."""
    nowhere_else(step, at.hypervisor)
    at.hypervisor.wake(step.host, step.uuid)
    waited = 0.0
    while not _power_is(step, at.hypervisor):
        if waited >= at.settings.shutdown_seconds:
            raise DroverError(
                messages.does_not_wake(step, waited), messages.does_not_wake_advice(step)
            )
        at.progress.sleep(at.settings.poll_seconds)
        waited += at.settings.poll_seconds
    return {}


def _changeable(step: OnGuest, hypervisor: Hypervisor) -> None:
    """Refuse to change a VM that may run elsewhere, or that would go on from saved memory without the change.

    Raises:
        DroverError: its memory was saved since the plan was made.
        StepLostError: as ``nowhere_else``.
    """
    if not _active(step, hypervisor):
        nowhere_else(step, hypervisor)
        if _found(step, hypervisor).saved:
            raise DroverError(messages.memory_is_saved(step), messages.memory_is_saved_advice(step))


def _may_end(step: PowerVm, hypervisor: VmLookup) -> None:
    """Refuse to end a VM whose definition would be lost, unless people agreed to that.

    Raises:
        DroverError: it is transient, and nobody was told.
    """
    found = hypervisor.found(step.host, step.uuid)
    if found is not None and not found.persistent and not step.lose_definition:
        raise DroverError(
            messages.only_while_it_runs(step), messages.only_while_it_runs_advice(step)
        )


def _shut_down(step: PowerVm, at: Site) -> Facts:
    """Ask, and look until it is off; asked a second time half way, for a guest that was not up yet."""
    waited, asked = 0.0, 0
    while True:
        if _power_is(step, at.hypervisor):
            return {messages.SECONDS: round(waited, 1)}
        if waited >= asked * at.settings.shutdown_seconds / 2 and asked < 2:
            at.hypervisor.shutdown(step.host, step.uuid)
            asked += 1
        if Ask.CANCEL in at.progress.asked():
            raise StepCancelledError(messages.stopped_waiting(step, waited))
        if waited >= at.settings.shutdown_seconds:
            raise StepAsksError(
                messages.does_not_listen(step, waited),
                messages.DOES_NOT_LISTEN,
                messages.force_off(step),
            )
        at.progress.say(messages.waits_for_shutdown(step, waited))
        at.progress.sleep(at.settings.poll_seconds)
        waited += at.settings.poll_seconds


def _resize(step: ResizeVm, at: Site) -> Facts:
    _changeable(step, at.hypervisor)
    if at.hypervisor.resize(step.host, step.uuid, vcpus=step.vcpus, memory=step.memory):
        return {}
    at.progress.note(messages.at_next_start(step))
    now = _found(step, at.hypervisor)
    return {
        messages.NOW: messages.size(now.vcpus, now.memory),
        messages.NEXT: messages.size(now.vcpus_next, now.memory_next),
    }


def _discard_memory(step: DiscardMemory, at: Site) -> Facts:
    nowhere_else(step, at.hypervisor)
    at.hypervisor.discard_saved(step.host, step.uuid)
    return {}


def _rename(step: RenameVm, at: Site) -> Facts:
    _changeable(step, at.hypervisor)
    provisioning.name_is_free(step, step.to, at.hypervisor)
    at.hypervisor.rename(step.host, step.uuid, step.to)
    return {}


def _autostart(step: AutostartVm, at: Site) -> Facts:
    at.hypervisor.set_autostart(step.host, step.uuid, on=step.on)
    return {}


def _tag(step: TagVm, at: Site) -> Facts:
    at.hypervisor.set_tags(step.host, step.uuid, dict(step.tags))
    return {}


def _set_ttl(step: SetTtl, at: Site) -> Facts:
    """Only the end is changed: other tags may have been given meanwhile."""
    tags = dict(_found(step, at.hypervisor).tags)
    at.hypervisor.set_tags(step.host, step.uuid, {**_endless(tags), **_end_of(step)})
    return {}


def _delete(step: DeleteVm, at: Site) -> Facts:
    """The mark is in the definition itself: it survives the bot, and every tool on the host shows it."""
    if _active(step, at.hypervisor):
        raise DroverError(messages.still_runs(step), messages.still_runs_advice(step))
    nowhere_else(step, at.hypervisor)
    ends = datetime.now(UTC) + timedelta(seconds=step.grace)
    until = ends.isoformat(timespec="seconds")
    tags = {
        **_found(step, at.hypervisor).tags,
        DELETED: until,
        DISKS: "remove" if step.remove_disks else "keep",
    }
    if at.hypervisor.autostart(step.host, step.uuid):
        tags[AUTOSTART] = "on"
    at.hypervisor.set_tags(step.host, step.uuid, tags)
    at.hypervisor.set_autostart(step.host, step.uuid, on=False)
    return {messages.UNTIL: messages.restorable(step, ends)} if step.grace else {}


def _undelete(step: UndeleteVm, at: Site) -> Facts:
    nowhere_else(step, at.hypervisor)
    tags = _found(step, at.hypervisor).tags
    if tags.get(AUTOSTART) == "on":
        at.hypervisor.set_autostart(step.host, step.uuid, on=True)
    kept = {key: value for key, value in tags.items() if key not in {DELETED, DISKS, AUTOSTART}}
    at.hypervisor.set_tags(step.host, step.uuid, kept)
    return {}


def _purge(step: PurgeVm, at: Site) -> Facts:
    found = at.hypervisor.found(step.host, step.uuid)
    if found is not None and DELETED not in found.tags:
        raise DroverError(messages.undeleted(step), messages.UNDELETED_ADVICE)
    if _active(step, at.hypervisor):
        raise DroverError(messages.still_runs(step), messages.still_runs_advice(step))
    nowhere_else(step, at.hypervisor)
    _nobody_needs(step, at)
    at.hypervisor.undefine(step.host, step.uuid, keep_state=step.keep_state)
    for each in step.volumes:
        at.hypervisor.delete_volume(step.host, *provisioning.place(each))
    return {messages.REMOVED: ", ".join(step.volumes) or messages.NOTHING}


def _nobody_needs(step: PurgeVm, at: Site) -> None:
    """Look at the storage once more: what others need now is not removed.

    Raises:
        DroverError: they do, or it cannot be known; what was done before stays as it is.
    """
    snapshot = at.hypervisor.snapshot()
    looked = look_at_storage(at.hypervisor, snapshot, {step.host})
    if why := looked.failed.get(step.host):
        raise HostUnreachableError(why, messages.SILENT_ADVICE)
    needed = fates.held(
        (step.host, step.uuid), step.volumes, fates.Scene.of(at.settings, snapshot, looked)
    )
    if needed:
        raise DroverError(messages.needed(step, needed), messages.needed_advice(step))


def _snapshot(step: SnapshotVm, at: Site) -> Facts:
    match step.verb:
        case SnapshotVerb.CREATE:
            _changeable(step, at.hypervisor)
            at.hypervisor.create_snapshot(step.host, step.uuid, step.snapshot, step.description)
        case SnapshotVerb.REVERT:
            _changeable(step, at.hypervisor)
            at.hypervisor.revert_snapshot(step.host, step.uuid, step.snapshot)
            # Nothing on the host tells one going back from another; the mark does.
            at.hypervisor.leave_mark(step.host, step.uuid, step.token)
        case SnapshotVerb.DELETE:
            if not _active(step, at.hypervisor):
                nowhere_else(step, at.hypervisor)
            at.hypervisor.delete_snapshot(step.host, step.uuid, step.snapshot)
    return {}


def _add_disk(step: AddDisk, at: Site) -> Facts:
    _changeable(step, at.hypervisor)
    pool, name = provisioning.place(step.volume)
    if at.hypervisor.volume(step.host, pool, name) is None:
        at.hypervisor.create_volume(step.host, pool, name, step.capacity)
    try:
        at.hypervisor.attach_disk(step.host, step.uuid, GuestDisk(pool, name, step.target))
    except HostUnreachableError:
        raise
    except DroverError as error:
        if _has_disk(step, at.hypervisor, either=True):
            raise  # never remove what the guest holds, whatever the answer was
        at.hypervisor.delete_volume(step.host, pool, name)
        raise DroverError(messages.undone(error.text, [step.volume]), error.advice) from error
    return {}


def _grow(step: GrowDisk, at: Site) -> Facts:
    _changeable(step, at.hypervisor)
    at.hypervisor.grow_disk(step.host, step.uuid, step.target, step.capacity)
    return {}


def _add_nic(step: AddNic, at: Site) -> Facts:
    _changeable(step, at.hypervisor)
    at.hypervisor.attach_nic(
        step.host, step.uuid, GuestNic(step.network_kind, step.network, step.mac)
    )
    return {}


def _remove_nic(step: RemoveNic, at: Site) -> Facts:
    """The guest must let go of it; it is asked again while it does not."""
    _changeable(step, at.hypervisor)
    waited = 0.0
    while step.mac in _macs(step, at.hypervisor)[0]:
        if waited >= at.settings.shutdown_seconds:
            raise DroverError(messages.card_stays(step, waited), messages.CARD_STAYS_ADVICE)
        at.hypervisor.detach_nic(step.host, step.uuid, step.mac)
        at.progress.sleep(at.settings.poll_seconds)
        waited += at.settings.poll_seconds
    return {}


def _eject(step: EjectMedium, at: Site) -> Facts:
    _changeable(step, at.hypervisor)
    at.hypervisor.eject(step.host, step.uuid, step.target)
    return {}


_RUNS: Mapping[type[Step], Callable[[Any, Site], Facts]] = {
    CreateVm: _create,
    CreateVms: _create_many,
    CloneVm: _clone,
    PowerVm: _power,
    ResizeVm: _resize,
    RenameVm: _rename,
    AutostartVm: _autostart,
    TagVm: _tag,
    SetTtl: _set_ttl,
    DeleteVm: _delete,
    UndeleteVm: _undelete,
    PurgeVm: _purge,
    SnapshotVm: _snapshot,
    AddDisk: _add_disk,
    GrowDisk: _grow,
    AddNic: _add_nic,
    RemoveNic: _remove_nic,
    EjectMedium: _eject,
    DiscardMemory: _discard_memory,
}


def _at(step: OnGuest, hypervisor: ClusterReader) -> Sighting:
    """What the step's host says of the guest.

    Raises:
        HostUnreachableError: it says nothing.
    """
    seen = next(each for each in hypervisor.sightings(step.uuid) if each.host == step.host)
    if not seen.reachable:
        raise HostUnreachableError(messages.silent(step), messages.SILENT_ADVICE)
    return seen


def _active(step: OnGuest, hypervisor: ClusterReader) -> bool:
    state = _at(step, hypervisor).state
    return state is not None and state.active


def _found(step: OnGuest, hypervisor: VmLookup) -> Found:
    found = hypervisor.found(step.host, step.uuid)
    if found is None:
        raise DroverError(messages.gone(step), messages.GONE_ADVICE)
    return found


# --- what plans and queries look at
# -------------------------------------------------------------------------------


def bases(
    settings: VmLifecycleSettings, intent: NewVms, snapshot: Snapshot, hypervisor: Volumes
) -> NewVms:
    """The wish with the image's size on every host that answers; a host that falls silent meanwhile is left open."""
    image = creation.image(settings, intent)
    if image is None:
        return intent

    def size(host: str) -> tuple[tuple[str, int], ...]:
        try:
            found = hypervisor.volume(host, *provisioning.place(image.base))
        except DroverError:
            # Its pool or the host itself is away, which the snapshot tells, or the step does
            return ()
        return ((host, 0 if found is None else found.capacity),)

    up = [host.name for host in snapshot.hosts if host.up]
    with ThreadPoolExecutor(min(_AT_ONCE, len(up)) or 1, thread_name_prefix="bases") as pool:
        return replace(intent, bases=tuple(each for found in pool.map(size, up) for each in found))


def doomed(
    settings: VmLifecycleSettings,
    intent: Deletion | VmVerb,
    snapshot: Snapshot,
    hypervisor: Volumes,
) -> Deletion | VmVerb:
    """The wish with what becomes of each image; a host whose storage cannot be read leaves its VMs out."""
    vms = planner.chosen(intent, snapshot)
    if isinstance(vms, Objection):
        return intent
    looked = look_at_storage(hypervisor, snapshot, {vm.host for vm in vms})
    scene = fates.Scene.of(settings, snapshot, looked)
    seen = [vm for vm in vms if vm.host in looked.storages]
    found = tuple(fate for vm in seen for fate in fates.fates(vm, scene))
    return replace(intent, fates=found, looked=tuple(vm.uuid for vm in seen))


def unique(intent: NewClone, snapshot: Snapshot, hypervisor: VmDefinitions) -> NewClone:
    """The wish with what of the definition a clone cannot have as well; the step looks again before it copies."""
    vms = planner.chosen(intent, snapshot)
    if isinstance(vms, Objection) or not snapshot.host(vms[0].host).up:
        return intent
    return replace(intent, unique=hypervisor.not_copyable(vms[0].host, vms[0].uuid))


def taken(
    settings: VmLifecycleSettings, intent: DiskWish, snapshot: Snapshot, hypervisor: Volumes
) -> DiskWish:
    """The wish with the volumes that a new disk would be and that exist: of former disks, with their data."""
    vms = planner.chosen(intent, snapshot)
    if isinstance(vms, Objection) or not snapshot.host(vms[0].host).up:
        return intent
    there: list[str] = []
    for _, volume in devices.new_disks(settings, vms[0]):
        if hypervisor.volume(vms[0].host, *provisioning.place(volume)) is None:
            break
        there.append(volume)
    return replace(intent, taken=tuple(there))


def written_under(
    settings: VmLifecycleSettings,
    intent: VmVerb | SnapshotWish,
    snapshot: Snapshot,
    hypervisor: Volumes,
) -> VmVerb | SnapshotWish:
    """The wish with the disks that other VMs' images stand on; a host that cannot tell in time is left open."""
    vms = planner.chosen(intent, snapshot)
    if isinstance(vms, Objection):
        return intent
    scene = fates.Scene.of(
        settings, snapshot, look_at_storage(hypervisor, snapshot, (), directories=False)
    )
    return replace(
        intent, fates=tuple(each for vm in vms for each in fates.written_under(vm, scene))
    )


def look_at_storage(
    hypervisor: Volumes, snapshot: Snapshot, whole: Collection[str], *, directories: bool = True
) -> Looked:
    """The images of all hosts that answer; of those in ``whole`` every volume of their pools; see the port."""
    failed: dict[str, str] = {}

    def look(host: str) -> tuple[str, Storage | None]:
        try:
            return host, hypervisor.storage(host, whole=host in whole, directories=directories)
        except DroverError as error:
            failed[host] = str(error.text)
            return host, None

    up = [host.name for host in snapshot.hosts if host.up]
    with ThreadPoolExecutor(min(_AT_ONCE, len(up)) or 1, thread_name_prefix="storage") as pool:
        found = dict(pool.map(look, up))
    return Looked({host: each for host, each in found.items() if each is not None}, failed)


def portrait(intent: LookAt, snapshot: Snapshot, hypervisor: Hypervisor) -> Portrait:
    """Everything the card of a guest shows that no snapshot holds; what cannot be read is left out and told."""
    vm = snapshot.vm(intent.vm)
    troubles: list[str] = []

    def tried(look: Callable[[str, str], tuple[Any, ...]]) -> tuple[Any, ...]:
        try:
            return look(vm.host, vm.uuid)
        except DroverError as error:
            troubles.append(str(error.text))
            return ()

    looks = (hypervisor.addresses, hypervisor.disks, hypervisor.snapshots, hypervisor.file_systems)
    addresses, disks, snapshots, mounted = [tried(each) for each in looks]
    return Portrait(addresses, disks, snapshots, tuple(dict.fromkeys(troubles)), mounted)


def screen(intent: LookAt, snapshot: Snapshot, hypervisor: VmViews) -> bytes:
    """The guest's screen as PNG."""
    vm = snapshot.vm(intent.vm)
    return hypervisor.screenshot(vm.host, vm.uuid)


def console(intent: LookAt, snapshot: Snapshot, hypervisor: VmViews) -> str:
    """The last lines of its serial line."""
    vm = snapshot.vm(intent.vm)
    return hypervisor.console(vm.host, vm.uuid, intent.lines)


def snapshots(intent: LookAt, snapshot: Snapshot, hypervisor: VmSnapshots) -> Portrait:
    """The guest's snapshots."""
    vm = snapshot.vm(intent.vm)
    return Portrait(snapshots=hypervisor.snapshots(vm.host, vm.uuid))
