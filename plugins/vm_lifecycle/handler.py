"""The impure part: check whether a step is done, do it, and clean up after a failed one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from bot.domain.backing import Looked, Storage, written_since
from bot.domain.cluster import Sighting, Snapshot, VmState
from bot.domain.errors import (
    DroverError,
    HostUnreachableError,
    Remedy,
    StepAsksError,
    StepCancelledError,
)
from bot.domain.message import Duration, Message, Names, Size, nwords, words
from bot.domain.operation import Ask, Facts
from bot.domain.plan import Objection
from bot.domain.steps import OnVm, Step
from bot.domain.vm_steps import PowerVerb, PowerVm
from bot.domain.words import command
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
from plugins.vm_lifecycle import creation, devices, fates, planner, provisioning, texts
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
from plugins.vm_lifecycle.show import VmReading
from plugins.vm_lifecycle.snapshot_schedule import Taken, scheduled_vms
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

T = TypeVar("T")
Written = TypeVar("Written", VmVerb, SnapshotWish, DiskWish, NewClone)
"""A request that reads or writes the disks of a VM that may be off."""

_JOB_SECONDS = 600.0  # the memory of a large VM takes minutes to be written
_AT_ONCE = 16  # hosts that are asked side by side, so that a silent one delays no other

LABELS = (words("took"), words("created"))
"""Names of facts, for translation: a card shows a fact's name before its value."""

GONE_ADVICE = words("It was moved or removed in the meantime: ask again.")
SILENT_ADVICE = words("Check the host and its libvirtd: its VMs may still be running.")


# --- settle


def settle(step: Step, hypervisor: Hypervisor) -> Settled:
    """Check, without a change, whether the host shows the step's effect."""
    look = _LOOKS[type(step)]
    return Settled.DONE if look(step, hypervisor) else Settled.NOT_YET


def _power_is(step: PowerVm, hypervisor: ClusterReader) -> bool:
    seen = _at(step, hypervisor)
    state = seen.state
    match step.verb:
        case PowerVerb.START:
            return seen.is_up
        case PowerVerb.SHUTDOWN | PowerVerb.FORCE_OFF:
            return state is None or not state.active
        case PowerVerb.PAUSE:
            return state is VmState.PAUSED
        case PowerVerb.RESUME | PowerVerb.WAKE:
            return state is VmState.RUNNING


def _snapshot_is(step: SnapshotVm, hypervisor: VmSnapshots) -> bool:
    if step.verb is SnapshotVerb.REVERT:
        return _find(step, hypervisor).mark == step.token
    there = any(each.name == step.snapshot for each in hypervisor.snapshots(step.host, step.uuid))
    if there is not (step.verb is SnapshotVerb.CREATE):
        return False
    # It is listed while it is being taken, which may fail
    return not there or not hypervisor.has_job(step.host, step.uuid)


def _is_deleted(step: DeleteVm, hypervisor: VmPower) -> bool:
    return DELETED in _find(step, hypervisor).tags and not hypervisor.autostart(
        step.host, step.uuid
    )


def _is_purged(step: PurgeVm, hypervisor: Hypervisor) -> bool:
    if hypervisor.find(step.host, step.uuid) is not None:
        return False
    return all(
        hypervisor.volume(step.host, *provisioning.place(each)) is None for each in step.volumes
    )


def _has_disk(step: AddDisk, hypervisor: VmLookup, *, either: bool = False) -> bool:
    """Whether it has the disk, now and stored; or ``either``."""
    found, name = _find(step, hypervisor), provisioning.place(step.volume)[1]
    both = (found.detail.disks, found.detail_next.disks)
    there = [any(each.source.endswith(f"/{name}") for each in disks) for disks in both]
    return any(there) if either else all(there)


def _has_nic(step: AddNic, hypervisor: VmLookup) -> bool:
    return _macs(step, hypervisor)[1] >= {step.mac}


def _macs(step: OnVm, hypervisor: VmLookup) -> tuple[set[str], set[str]]:
    """MAC addresses of its NICs in either definition, and in both."""
    found = _find(step, hypervisor)
    now, later = (
        {each.mac.lower() for each in detail.nics} for detail in (found.detail, found.detail_next)
    )
    return now | later, now & later


def _is_grown(step: GrowDisk, hypervisor: VmViews) -> bool:
    sizes = {each.target: each.capacity for each in hypervisor.disks(step.host, step.uuid)}
    return sizes.get(step.target, 0) >= step.capacity


def _is_ejected(step: EjectMedium, hypervisor: VmLookup) -> bool:
    found = _find(step, hypervisor)
    disks = (*found.detail.disks, *found.detail_next.disks)
    return not any(each.target == step.target and each.source for each in disks)


def _is_resized(step: ResizeVm, hypervisor: VmLookup) -> bool:
    found = _find(step, hypervisor)
    return (found.vcpus_next, found.memory_next) == (step.vcpus, step.memory)


def _has_ttl(step: SetTtl, hypervisor: VmLookup) -> bool:
    tags = dict(_find(step, hypervisor).tags)
    return tags == {**_endless(tags), **_end_of(step)}


def _endless(tags: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in tags.items() if key not in {texts.TTL, texts.EXPIRES}}


def _end_of(step: SetTtl) -> dict[str, str]:
    return {texts.TTL: step.ttl, texts.EXPIRES: step.expires} if step.ttl else {}


_LOOKS: Mapping[type[Step], Callable[[Any, Hypervisor], bool]] = {
    CreateVm: provisioning.is_made,
    CreateVms: lambda step, hypervisor: all(
        provisioning.is_made(each, hypervisor) for each in step.guests
    ),
    CloneVm: provisioning.is_made,
    PowerVm: _power_is,
    ResizeVm: _is_resized,
    RenameVm: lambda step, hypervisor: _find(step, hypervisor).name == step.to,
    AutostartVm: lambda step, hypervisor: hypervisor.autostart(step.host, step.uuid) is step.on,
    TagVm: lambda step, hypervisor: dict(_find(step, hypervisor).tags) == dict(step.tags),
    SetTtl: _has_ttl,
    DeleteVm: _is_deleted,
    UndeleteVm: lambda step, hypervisor: DELETED not in _find(step, hypervisor).tags,
    PurgeVm: _is_purged,
    SnapshotVm: _snapshot_is,
    AddDisk: _has_disk,
    GrowDisk: _is_grown,
    AddNic: _has_nic,
    RemoveNic: lambda step, hypervisor: step.mac not in _macs(step, hypervisor)[0],
    EjectMedium: _is_ejected,
    DiscardMemory: lambda step, hypervisor: not _find(step, hypervisor).saved,
}


# --- run


def run(
    settings: VmLifecycleSettings, step: Step, hypervisor: Hypervisor, progress: Progress
) -> Facts:
    """Do a step; safe to repeat. Facts are for the audit."""
    return _RUNS[type(step)](step, Tools(settings, hypervisor, progress))


@dataclass(frozen=True, slots=True)
class Tools:
    """What a step is done with."""

    settings: VmLifecycleSettings
    hypervisor: Hypervisor
    progress: Progress


def _create(step: CreateVm, at: Tools) -> Facts:
    return provisioning.make(step, at.hypervisor, at.progress)


def _create_many(step: CreateVms, at: Tools) -> Facts:
    return provisioning.make_many(step, at.hypervisor, at.progress, at.settings.parallel)


def _clone(step: CloneVm, at: Tools) -> Facts:
    return provisioning.clone(step, at.hypervisor, at.progress)


def _power(step: PowerVm, at: Tools) -> Facts:
    match step.verb:
        case PowerVerb.START:
            nowhere_else(step, at.hypervisor)
            at.hypervisor.start(step.host, step.uuid)
        case PowerVerb.SHUTDOWN:
            _may_end(step, at.hypervisor)
            return _shut_down(step, at)
        case PowerVerb.FORCE_OFF:
            _may_end(step, at.hypervisor)
            at.hypervisor.force_off(step.host, step.uuid)
        case PowerVerb.PAUSE:
            at.hypervisor.pause(step.host, step.uuid)
        case PowerVerb.RESUME:
            nowhere_else(step, at.hypervisor)
            at.hypervisor.resume(step.host, step.uuid)
        case PowerVerb.WAKE:
            return _wake(step, at)
    return {}


def _wake(step: PowerVm, at: Tools) -> Facts:
    """Wake a VM and wait until its system runs again."""
    nowhere_else(step, at.hypervisor)
    at.hypervisor.wake(step.host, step.uuid)
    waited = 0.0
    while not _power_is(step, at.hypervisor):
        if waited >= at.settings.shutdown_seconds:
            raise DroverError(
                words(
                    "{vm} was woken and is still asleep after {time}.",
                    vm=step.name,
                    time=Duration(waited),
                ),
                words(
                    "Look at its screen with {look}, or force it off with {off}.",
                    look=texts.chat("vm screenshot {}", step.name),
                    off=texts.chat("vm force-off {}", step.name),
                ),
                code="still-asleep",
            )
        at.progress.sleep(at.settings.poll_seconds)
        waited += at.settings.poll_seconds
    return {}


def _changeable(step: OnVm, hypervisor: Hypervisor) -> None:
    """Refuse to change a VM that may run elsewhere, or whose saved memory would hide the change.

    Raises:
        DroverError: its memory was saved since the plan was made.
        StepLostError: as ``nowhere_else``.
    """
    if not _is_active(step, hypervisor):
        nowhere_else(step, hypervisor)
        if _find(step, hypervisor).saved:
            raise DroverError(
                words(
                    "{vm} is now powered off with its memory saved on {host}. Nothing was changed.",
                    vm=step.name,
                    host=step.host,
                ),
                words(
                    "Start it with {start}, then ask again; or discard that memory with {discard}.",
                    start=texts.chat("vm start {}", step.name),
                    discard=texts.chat("vm discard-memory {}", step.name),
                ),
                code="memory-saved",
            )


def _may_end(step: PowerVm, hypervisor: VmLookup) -> None:
    """Refuse to end a VM whose definition would be lost, unless people agreed to that.

    Raises:
        DroverError: it is transient, and nobody was told.
    """
    found = hypervisor.find(step.host, step.uuid)
    if found is not None and not found.persistent and not step.lose_definition:
        verb = {PowerVerb.SHUTDOWN: "shutdown"}.get(step.verb, "force-off")
        raise DroverError(
            words(
                "{vm} on {host} is now transient: it would lose its definition. "
                "It was not powered off.",
                vm=step.name,
                host=step.host,
            ),
            words(
                "To power it off anyway: {command}.",
                command=texts.chat(f"vm {verb} {{}} --lose-definition", step.name),
            ),
            code="definition-lost",
        )


def _shut_down(step: PowerVm, at: Tools) -> Facts:
    """Request a shutdown and wait until the VM is off.

    It is requested again half way, for a system that was still booting at the first request.
    """
    waited, asked = 0.0, 0
    while True:
        if _power_is(step, at.hypervisor):
            return {"took": Duration(round(waited, 1))}
        if waited >= asked * at.settings.shutdown_seconds / 2 and asked < 2:
            at.hypervisor.shutdown(step.host, step.uuid)
            asked += 1
        if Ask.CANCEL in at.progress.asks():
            raise StepCancelledError(
                words(
                    "{vm} is still running {time} after the shutdown request; "
                    "it may still shut down.",
                    vm=step.name,
                    time=Duration(waited),
                )
            )
        if waited >= at.settings.shutdown_seconds:
            raise StepAsksError(
                words(
                    "{vm} did not shut down within {time} of the request.",
                    vm=step.name,
                    time=Duration(waited),
                ),
                words(
                    "Shut it down from inside, or force it off: unwritten data is then lost, "
                    "and an approver must agree."
                ),
                (_force_off(step),),
            )
        at.progress.say(
            words(
                "{vm} was asked to shut down {time} ago and is still running.",
                vm=step.name,
                time=Duration(waited),
            )
        )
        at.progress.sleep(at.settings.poll_seconds)
        waited += at.settings.poll_seconds


def _force_off(step: PowerVm) -> Remedy:
    lost = " --lose-definition" if step.lose_definition else ""
    # no message: a reason, as if the person had typed it
    reason = "it ignored the shutdown request"
    return Remedy(
        words("Force off {vm}…", vm=step.name),
        command(f"vm force-off {{}}{lost} --reason={{}}", step.name, reason),
    )


def _resize(step: ResizeVm, at: Tools) -> Facts:
    _changeable(step, at.hypervisor)
    if at.hypervisor.resize(step.host, step.uuid, vcpus=step.vcpus, memory=step.memory):
        return {}
    at.progress.note(
        words(
            "The new size of {vm} takes effect at its next start: use {command}.",
            vm=step.name,
            command=texts.chat("vm reboot {}", step.name),
        )
    )
    now = _find(step, at.hypervisor)
    return {
        "now": nwords(
            "takes effect at the next start (now {n} vCPU, {memory})",
            "takes effect at the next start (now {n} vCPUs, {memory})",
            n=now.vcpus,
            memory=Size(now.memory),
        )
    }


def _discard_memory(step: DiscardMemory, at: Tools) -> Facts:
    nowhere_else(step, at.hypervisor)
    at.hypervisor.discard_saved(step.host, step.uuid)
    return {}


def _rename(step: RenameVm, at: Tools) -> Facts:
    _changeable(step, at.hypervisor)
    provisioning.name_is_free(step, step.to, at.hypervisor)
    at.hypervisor.rename(step.host, step.uuid, step.to)
    return {}


def _autostart(step: AutostartVm, at: Tools) -> Facts:
    if step.on and not _is_active(step, at.hypervisor):
        # libvirt asks nobody when it starts the VM with its host
        nowhere_else(step, at.hypervisor)
    at.hypervisor.set_autostart(step.host, step.uuid, on=step.on)
    return {}


def _tag(step: TagVm, at: Tools) -> Facts:
    at.hypervisor.set_tags(step.host, step.uuid, dict(step.tags))
    return {}


def _set_ttl(step: SetTtl, at: Tools) -> Facts:
    """Change only the end: other tags may have been given meanwhile."""
    tags = dict(_find(step, at.hypervisor).tags)
    at.hypervisor.set_tags(step.host, step.uuid, {**_endless(tags), **_end_of(step)})
    return {}


def _delete(step: DeleteVm, at: Tools) -> Facts:
    """Mark the VM in its definition, which survives the bot and which every tool shows."""
    _refuse_running(step, at.hypervisor)
    nowhere_else(step, at.hypervisor)
    ends = datetime.now(UTC) + timedelta(seconds=step.grace)
    until = ends.isoformat(timespec="seconds")
    tags = {
        **_find(step, at.hypervisor).tags,
        DELETED: until,
        DISKS: "remove" if step.remove_disks else "keep",
    }
    if at.hypervisor.autostart(step.host, step.uuid):
        tags[AUTOSTART] = "on"
    at.hypervisor.set_tags(step.host, step.uuid, tags)
    at.hypervisor.set_autostart(step.host, step.uuid, on=False)
    if not step.grace:
        return {}
    kept = words(
        "kept until {at}; {command} restores it",
        at=ends,
        command=texts.chat("vm undelete {}", step.name),
    )
    return {"kept_until": kept}


def _undelete(step: UndeleteVm, at: Tools) -> Facts:
    nowhere_else(step, at.hypervisor)
    tags = _find(step, at.hypervisor).tags
    if tags.get(AUTOSTART) == "on":
        at.hypervisor.set_autostart(step.host, step.uuid, on=True)
    kept = {key: value for key, value in tags.items() if key not in {DELETED, DISKS, AUTOSTART}}
    at.hypervisor.set_tags(step.host, step.uuid, kept)
    return {}


def _purge(step: PurgeVm, at: Tools) -> Facts:
    found = at.hypervisor.find(step.host, step.uuid)
    if found is not None and DELETED not in found.tags:
        raise DroverError(
            words("{vm} is not marked as deleted any more. Nothing was removed.", vm=step.name),
            words("Somebody undeleted it. Delete it again if that is still wanted."),
            code="undeleted",
        )
    _refuse_running(step, at.hypervisor)
    nowhere_else(step, at.hypervisor)
    keep = step.keep_state or _nobody_needs(step, at, found)
    for each in step.volumes:
        # A pool that is not active refuses here, before the definition is gone
        at.hypervisor.volume(step.host, *provisioning.place(each))
    at.hypervisor.undefine(step.host, step.uuid, keep_state=keep)
    _remove_volumes(step, at)
    return {"removed": words("removed {volumes}", volumes=step.volumes)} if step.volumes else {}


def _remove_volumes(step: PurgeVm, at: Tools) -> None:
    """Remove every volume that can be removed, each when it is free.

    Raises:
        DroverError: some are left; the definition is gone, so nobody can ask for them again.
    """
    left: dict[str, DroverError] = {}
    for each in step.volumes:
        try:
            provisioning.delete_when_free(step.host, each, at.hypervisor, at.progress)
        except HostUnreachableError:
            raise
        except DroverError as error:
            left[each] = error
    if left:
        pool, name = provisioning.place(next(iter(left)))
        told = [words("{volume} ({why})", volume=each, why=why.text) for each, why in left.items()]
        raise DroverError(
            words(
                "{vm} is removed from {host}, but not all of its volumes: {volumes}.",
                vm=step.name,
                host=step.host,
                volumes=Names(tuple(told)),
            ),
            words(
                "Remove them by hand on {host}, for example: {command}.",
                host=step.host,
                command=texts.shell("virsh vol-delete {} --pool={}", name, pool),
            ),
            code="volumes-left",
        )


def _refuse_running(step: OnVm, hypervisor: Hypervisor) -> None:
    """Refuse to remove anything of a VM that runs.

    Raises:
        DroverError: it was started since the plan was made.
    """
    if _is_active(step, hypervisor):
        raise DroverError(
            words("{vm} runs on {host}. Nothing was removed.", vm=step.name, host=step.host),
            words(
                "Shut it down first: {command}.", command=texts.chat("vm shutdown {}", step.name)
            ),
            code="running",
        )


def _nobody_needs(step: PurgeVm, at: Tools, found: Found | None) -> bool:
    """Read the storage once more: what others need now is not removed.

    Tells whether others need its UEFI variables, which stay then.

    Raises:
        DroverError: something is needed, or it cannot be known.
    """
    snapshot = at.hypervisor.snapshot()
    looked = look_at_storage(at.hypervisor, snapshot, {step.host})
    if why := looked.failed.get(step.host):
        raise HostUnreachableError(why, SILENT_ADVICE)
    scene = fates.StorageView.of(at.settings, snapshot, looked)
    needed = fates.needed_volumes((step.host, step.uuid), step.volumes, scene)
    if needed:
        each = [
            words("{disk} by {users}", disk=place, users=Names(users))
            for place, users in needed.items()
        ]
        raise DroverError(
            words(
                "Disks of {vm} are now in use elsewhere: {each}. None was removed.",
                vm=step.name,
                each=each,
            ),
            words(
                "Delete those first, or keep its disks: {undelete}, then {delete}.",
                undelete=texts.chat("vm undelete {}", step.name),
                delete=texts.chat("vm delete {} --keep-disks", step.name),
            ),
            code="disk-needed",
        )
    nvram = found.detail.nvram if found else ""
    return bool(fates.firmware_users((step.host, step.uuid), nvram, scene))


def _wait_for_job(step: OnVm, at: Tools) -> None:
    """Wait for what is under way: a bot that ended may have begun this very step.

    Only for a while: libvirt then says itself what is in the way.
    """
    waited = 0.0
    while waited < _JOB_SECONDS and at.hypervisor.has_job(step.host, step.uuid):
        at.progress.say(
            words(
                "Waiting: a snapshot or another job of {vm} is under way on {host}.",
                vm=step.name,
                host=step.host,
            )
        )
        at.progress.sleep(at.settings.poll_seconds)
        waited += at.settings.poll_seconds


def _snapshot(step: SnapshotVm, at: Tools) -> Facts:
    _wait_for_job(step, at)
    if step.verb is SnapshotVerb.CREATE and _snapshot_is(step, at.hypervisor):
        return {}
    match step.verb:
        case SnapshotVerb.CREATE:
            _changeable(step, at.hypervisor)
            at.hypervisor.create_snapshot(step.host, step.uuid, step.snapshot, step.description)
        case SnapshotVerb.REVERT:
            _changeable(step, at.hypervisor)
            at.hypervisor.revert_snapshot(step.host, step.uuid, step.snapshot)
            if step.tags is not None:
                # Its definition went back, too: an owner, a rule or an old TTL with it
                at.hypervisor.set_tags(step.host, step.uuid, dict(step.tags))
            # Nothing on the host tells one revert from another; the mark does
            at.hypervisor.leave_mark(step.host, step.uuid, step.token)
        case SnapshotVerb.DELETE:
            if not _is_active(step, at.hypervisor):
                nowhere_else(step, at.hypervisor)
            at.hypervisor.delete_snapshot(step.host, step.uuid, step.snapshot)
    return {}


def _add_disk(step: AddDisk, at: Tools) -> Facts:
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
            raise  # never remove what the VM holds, whatever the answer was
        at.hypervisor.delete_volume(step.host, pool, name)
        raise provisioning.clean_failure(error, [step.volume]) from error
    return {}


def _grow(step: GrowDisk, at: Tools) -> Facts:
    _changeable(step, at.hypervisor)
    at.hypervisor.grow_disk(step.host, step.uuid, step.target, step.capacity)
    return {}


def _add_nic(step: AddNic, at: Tools) -> Facts:
    _changeable(step, at.hypervisor)
    at.hypervisor.attach_nic(
        step.host, step.uuid, GuestNic(step.network_kind, step.network, step.mac)
    )
    return {}


def _remove_nic(step: RemoveNic, at: Tools) -> Facts:
    """Unplug a NIC; the VM's system must release it, and is asked again until it does."""
    _changeable(step, at.hypervisor)
    waited = 0.0
    while step.mac in _macs(step, at.hypervisor)[0]:
        if waited >= at.settings.shutdown_seconds:
            raise DroverError(
                words(
                    "{vm} still has the NIC {mac} after {time}.",
                    vm=step.name,
                    mac=step.mac,
                    time=Duration(waited),
                ),
                words(
                    "Its system did not release it. Take the interface down inside the VM, or "
                    "shut the VM down ({command}), and ask again.",
                    command=texts.chat("vm shutdown {}", step.name),
                ),
                code="nic-held",
            )
        at.hypervisor.detach_nic(step.host, step.uuid, step.mac)
        at.progress.sleep(at.settings.poll_seconds)
        waited += at.settings.poll_seconds
    return {}


def _eject(step: EjectMedium, at: Tools) -> Facts:
    _changeable(step, at.hypervisor)
    at.hypervisor.eject(step.host, step.uuid, step.target)
    return {}


_RUNS: Mapping[type[Step], Callable[[Any, Tools], Facts]] = {
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


def _at(step: OnVm, hypervisor: ClusterReader) -> Sighting:
    """The VM's state on the step's host.

    Raises:
        HostUnreachableError: the host does not answer.
    """
    seen = next(each for each in hypervisor.sightings(step.uuid) if each.host == step.host)
    if not seen.reachable:
        raise HostUnreachableError(
            words("{host}, where {vm} is, does not answer.", host=step.host, vm=step.name),
            SILENT_ADVICE,
        )
    return seen


def _is_active(step: OnVm, hypervisor: ClusterReader) -> bool:
    state = _at(step, hypervisor).state
    return state is not None and state.active


def _find(step: OnVm, hypervisor: VmLookup) -> Found:
    found = hypervisor.find(step.host, step.uuid)
    if found is None:
        raise DroverError(
            words("{vm} is not on {host} any more.", vm=step.name, host=step.host),
            GONE_ADVICE,
            code="gone",
        )
    return found


# --- what plans and queries look at


def add_image_sizes(
    settings: VmLifecycleSettings, intent: NewVms, snapshot: Snapshot, hypervisor: Volumes
) -> NewVms:
    """Add the image's size on each host to a request; hosts that do not answer are left out."""
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


def add_fates(
    settings: VmLifecycleSettings,
    intent: Deletion | VmVerb,
    snapshot: Snapshot,
    hypervisor: Volumes,
) -> Deletion | VmVerb:
    """Add what becomes of each image to a request; a host whose storage fails is left out."""
    vms = planner.choose(intent, snapshot)
    if isinstance(vms, Objection):
        return intent
    looked = look_at_storage(hypervisor, snapshot, {vm.host for vm in vms})
    scene = fates.StorageView.of(settings, snapshot, looked)
    seen = [vm for vm in vms if vm.host in looked.storages]
    found = tuple(fate for vm in seen for fate in fates.fates(vm, scene))
    return replace(intent, fates=found, looked=tuple(vm.uuid for vm in seen))


def add_unshareable(intent: NewClone, snapshot: Snapshot, hypervisor: VmDefinitions) -> NewClone:
    """Add what two VMs cannot share to a request; the step checks again before it copies."""
    vms = planner.choose(intent, snapshot)
    if isinstance(vms, Objection) or not snapshot.host(vms[0].host).up:
        return intent
    return replace(intent, unique=hypervisor.not_copyable(vms[0].host, vms[0].uuid))


def add_existing_volumes(
    settings: VmLifecycleSettings, intent: DiskWish, snapshot: Snapshot, hypervisor: Volumes
) -> DiskWish:
    """Add the volumes of former disks to a request: a new disk must not overwrite them."""
    vms = planner.choose(intent, snapshot)
    if isinstance(vms, Objection) or not snapshot.host(vms[0].host).up:
        return intent
    there: list[str] = []
    for _, volume in devices.free_targets(settings, vms[0]):
        if hypervisor.volume(vms[0].host, *provisioning.place(volume)) is None:
            break
        there.append(volume)
    return replace(intent, taken=tuple(there))


def survey_clone(
    settings: VmLifecycleSettings, intent: NewClone, snapshot: Snapshot, hypervisor: Hypervisor
) -> NewClone:
    """Add what two VMs cannot share, and disks that another VM writes to."""
    unique = add_unshareable(intent, snapshot, hypervisor)
    return add_written_disks(settings, unique, snapshot, hypervisor)


def add_written_disks(
    settings: VmLifecycleSettings, intent: Written, snapshot: Snapshot, hypervisor: Volumes
) -> Written:
    """Add the disks of a VM that is off and that another VM writes to.

    While it runs itself, only QEMU and its locks are between it and its disks.
    """
    vms = planner.choose(intent, snapshot)
    if isinstance(vms, Objection) or all(vm.state.active for vm in vms):
        return intent
    return add_base_images(settings, intent, snapshot, hypervisor)


def add_base_images(
    settings: VmLifecycleSettings, intent: Written, snapshot: Snapshot, hypervisor: Volumes
) -> Written:
    """Add the disks that other VMs are based on to a request; a host that fails is left out."""
    vms = planner.choose(intent, snapshot)
    if isinstance(vms, Objection):
        return intent
    scene = fates.StorageView.of(
        settings, snapshot, look_at_storage(hypervisor, snapshot, frozenset(), directories=False)
    )
    return replace(intent, fates=tuple(each for vm in vms for each in fates.base_disks(vm, scene)))


def look_at_storage(
    hypervisor: Volumes, snapshot: Snapshot, whole: AbstractSet[str], *, directories: bool = True
) -> Looked:
    """Read the images of all hosts that answer; of those in ``whole`` every pool's volumes."""
    failed: dict[str, Message] = {}

    def look(host: str) -> tuple[str, Storage | None]:
        try:
            return host, hypervisor.storage(host, whole=host in whole, directories=directories)
        except DroverError as error:
            failed[host] = error.text
            return host, None

    up = [host.name for host in snapshot.hosts if host.up]
    with ThreadPoolExecutor(min(_AT_ONCE, len(up)) or 1, thread_name_prefix="storage") as pool:
        found = dict(pool.map(look, up))
        # Hosts do not look at one moment: a file that one of them writes to would be two
        twice = whole & found.keys() if len(up) > 1 else frozenset[str]()
        again = dict(pool.map(look, twice))
    storages = {host: each for host, each in found.items() if each is not None}
    for host, later in again.items():
        first = storages.pop(host, None)
        if first is not None and later is not None:
            storages[host] = written_since(first, later)
    return Looked(storages, failed)


def portrait(intent: LookAt, snapshot: Snapshot, hypervisor: Hypervisor) -> VmReading:
    """Read what the card of a VM shows beside the snapshot; what cannot be read is told."""
    vm = snapshot.vm(intent.vm)
    troubles: list[Message] = []

    def attempt(look: Callable[[str, str], tuple[T, ...]]) -> tuple[T, ...]:
        try:
            return look(vm.host, vm.uuid)
        except DroverError as error:
            troubles.append(error.text)
            return ()

    addresses, disks = attempt(hypervisor.addresses), attempt(hypervisor.disks)
    snapshots, mounted = attempt(hypervisor.snapshots), attempt(hypervisor.file_systems)
    return VmReading(addresses, disks, snapshots, tuple(dict.fromkeys(troubles)), mounted)


def screen(intent: LookAt, snapshot: Snapshot, hypervisor: VmViews) -> bytes:
    """Take a screenshot of the VM, as PNG."""
    vm = snapshot.vm(intent.vm)
    return hypervisor.screenshot(vm.host, vm.uuid)


def console(intent: LookAt, snapshot: Snapshot, hypervisor: VmViews) -> str:
    """Read the last lines of the VM's serial console."""
    vm = snapshot.vm(intent.vm)
    return hypervisor.console(vm.host, vm.uuid, intent.lines)


def taken_snapshots(
    settings: VmLifecycleSettings, snapshot: Snapshot, hypervisor: VmSnapshots
) -> Taken:
    """Read the snapshots of every VM that a schedule takes some of."""
    names: dict[str, tuple[str, ...]] = {}
    for vm in scheduled_vms(settings, snapshot):
        try:
            found = hypervisor.snapshots(vm.host, vm.uuid)
        except DroverError:  # this VM is left out; the next look, in a minute, reads it again
            continue
        names[vm.uuid] = tuple(each.name for each in found)
    return Taken(names)


def snapshots(intent: LookAt, snapshot: Snapshot, hypervisor: VmSnapshots) -> VmReading:
    """Read the VM's snapshots."""
    vm = snapshot.vm(intent.vm)
    return VmReading(snapshots=hypervisor.snapshots(vm.host, vm.uuid))
