"""Pure: plans to delete VMs: a mark that can be removed, and a purge that cannot be undone."""

from __future__ import annotations

from collections.abc import Iterator

from bot.domain.backing import Fate
from bot.domain.cluster import Vm
from bot.domain.message import Names, words
from bot.domain.plan import Objection
from plugins.vm_lifecycle import fates, texts
from plugins.vm_lifecycle.intents import Deletion, VmVerb
from plugins.vm_lifecycle.planner import (
    DELETED,
    DISKS,
    Planned,
    VmInCluster,
    copy_objections,
    host_objections,
    idle,
    state_objections,
    transient,
)
from plugins.vm_lifecycle.settings import VmLifecycleSettings
from plugins.vm_lifecycle.steps import DeleteVm, PurgeVm, UndeleteVm
from plugins.vm_lifecycle.vm_states import must_be_off


def delete(intent: Deletion, case: VmInCluster) -> Planned:
    """Mark a VM as deleted; with ``--now`` purge it at once."""
    vm, snapshot = case.vm, case.snapshot
    against = [*state_objections(vm, snapshot), *copy_objections(vm, snapshot)]
    if vm.state.active:
        against.append(must_be_off(vm, words("Only a powered-off VM can be deleted.")))
    elif not vm.persistent:
        against.append(transient(vm))
    against += [] if against else _needed_elsewhere(intent, vm, remove=intent.remove_disks)
    if against:
        return (), tuple(against)
    mark = DeleteVm(
        vm.uuid, vm.name, vm.host, intent.remove_disks, 0 if intent.now else case.settings.grace
    )
    if not intent.now:
        return (mark,), ()
    return (mark, _purge(case.settings, intent, vm, remove=intent.remove_disks)), ()


def undelete(_intent: VmVerb, case: VmInCluster) -> Planned:
    """Remove the mark."""
    vm, snapshot = case.vm, case.snapshot
    if DELETED not in vm.tags:
        return idle(words("{vm} is not deleted.", vm=vm.name))
    return (UndeleteVm(vm.uuid, vm.name, vm.host),), (
        *host_objections(vm, snapshot),
        *copy_objections(vm, snapshot),
    )


def purge(intent: VmVerb, case: VmInCluster) -> Planned:
    """Purge a deleted VM."""
    vm, snapshot = case.vm, case.snapshot
    if DELETED not in vm.tags:
        only = words("Only a powered-off VM can be purged.")
        return (), (
            *((*state_objections(vm, snapshot), must_be_off(vm, only)) if vm.state.active else ()),
            Objection(
                "not-deleted",
                words("{vm} is not deleted.", vm=vm.name),
                words(
                    "Delete it first: {keep}, or with its disks: {remove}.",
                    keep=texts.chat("vm delete {} --keep-disks", vm.name),
                    remove=texts.chat("vm delete {} --remove-disks", vm.name),
                ),
            ),
        )
    remove = vm.tags.get(DISKS) == "remove"
    against = [*host_objections(vm, snapshot), *copy_objections(vm, snapshot)]
    if vm.state.active:
        against.append(must_be_off(vm, words("Only a powered-off VM can be purged.")))
    against += [] if against else _needed_elsewhere(intent, vm, remove=remove)
    return (_purge(case.settings, intent, vm, remove=remove),), tuple(against)


def of(intent: Deletion | VmVerb, vm: Vm) -> tuple[Fate, ...]:
    """What becomes of one VM's images."""
    return tuple(each for each in intent.fates if each.vm == vm.uuid)


def _needed_elsewhere(intent: Deletion | VmVerb, vm: Vm, *, remove: bool) -> Iterator[Objection]:
    """Yield the disks to remove that others need; what could not be read counts as needed."""
    if not remove:
        return
    if vm.uuid not in intent.looked:
        yield Objection(
            "storage-unknown",
            words(
                "The storage of {host} could not be read, so it is not known who else uses the "
                "disks of {vm}.",
                host=vm.host,
                vm=vm.name,
            ),
            words(
                "Try again, or keep its disks: {command}.",
                command=texts.chat("vm delete {} --keep-disks", vm.name),
            ),
        )
    for each in of(intent, vm):
        if each.holders and not each.stays and not each.seed:
            yield _disk_needed(vm, each)


def _disk_needed(vm: Vm, fate: Fate) -> Objection:
    args = {
        "undelete": texts.chat("vm undelete {}", vm.name),
        "delete": texts.chat("vm delete {} --keep-disks", vm.name),
    }
    return Objection(
        "disk-needed",
        words(
            "{disk} of {vm} is in use by {users}.",
            disk=fate.place,
            vm=vm.name,
            users=Names(fate.holders, most=texts.MOST_NAMED),
        ),
        words("Delete those first, or keep its disks: {undelete}, then {delete}.", **args)
        if DELETED in vm.tags
        else words("Delete those first, or keep its disks: {delete}.", delete=args["delete"]),
    )


def _purge(
    settings: VmLifecycleSettings, intent: Deletion | VmVerb, vm: Vm, *, remove: bool
) -> PurgeVm:
    mine = of(intent, vm)
    gone = (each.place for each in mine if not each.stays and (each.seed or remove))
    keep = not remove or any(each.stays == fates.FIRMWARE for each in mine)
    return PurgeVm(
        vm.uuid, vm.name, vm.host, (*gone, f"{settings.pool}/{vm.uuid}-serial.log"), keep
    )
