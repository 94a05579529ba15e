"""Pure: planning the end of guests: a mark that can be taken back, and a purge that cannot."""

from __future__ import annotations

from bot.domain.cluster import Snapshot, Vm
from plugins.vm_lifecycle import cards
from plugins.vm_lifecycle.intents import Deletion, VmVerb
from plugins.vm_lifecycle.places import volume_on
from plugins.vm_lifecycle.planner import DELETED, DISKS, Case, Planned, elsewhere, reached, settled
from plugins.vm_lifecycle.settings import VmLifecycleSettings
from plugins.vm_lifecycle.steps import DeleteVm, PurgeVm, UndeleteVm


def delete(intent: Deletion, case: Case) -> Planned:
    """A mark that is taken away again or ends in a purge; with ``--now`` the purge at once."""
    vm, snapshot = case.vm, case.snapshot
    against = [*settled(vm, snapshot), *elsewhere(vm, snapshot)]
    against += [cards.must_be_off(vm, "deleted")] if vm.state.active else []
    against += [] if vm.persistent else [cards.transient(vm)]
    if against:
        return (), tuple(against)
    mark = DeleteVm(vm.uuid, vm.name, vm.host, intent.remove_disks, 0 if intent.now else case.settings.grace)
    if not intent.now:
        return (mark,), ()
    return (mark, _purge(case.settings, vm, snapshot, remove=intent.remove_disks)), ()


def undelete(intent: VmVerb, case: Case) -> Planned:  # noqa: ARG001 - the shape of Work
    """The mark taken away."""
    vm, snapshot = case.vm, case.snapshot
    if DELETED not in vm.tags:
        return (), ()
    return (UndeleteVm(vm.uuid, vm.name, vm.host),), (*reached(vm, snapshot), *elsewhere(vm, snapshot))


def purge(intent: VmVerb, case: Case) -> Planned:  # noqa: ARG001 - the shape of Work
    """The end of a deleted guest."""
    vm, snapshot = case.vm, case.snapshot
    if DELETED not in vm.tags:
        return (), (cards.not_deleted(vm),)
    against = [
        *reached(vm, snapshot),
        *elsewhere(vm, snapshot),
        *([cards.must_be_off(vm, "purged")] if vm.state.active else []),
    ]
    return (_purge(case.settings, vm, snapshot, remove=vm.tags.get(DISKS) == "remove"),), tuple(against)


def _purge(settings: VmLifecycleSettings, vm: Vm, snapshot: Snapshot, *, remove: bool) -> PurgeVm:
    log = f"{settings.pool}/{vm.uuid}-serial.log"
    return PurgeVm(vm.uuid, vm.name, vm.host, (*own_volumes(vm, snapshot, everything=remove), log))


def own_volumes(vm: Vm, snapshot: Snapshot, *, everything: bool) -> tuple[str, ...]:
    """``pool/volume`` of what only this guest uses: its seed and, with ``everything``, its disks."""
    host = snapshot.host(vm.host)
    others = {
        disk.source for each in snapshot.vms if each.uuid != vm.uuid and each.detail for disk in each.detail.disks
    }
    found = []
    for disk in vm.detail.disks if vm.detail else ():
        seed = "-seed." in disk.source
        mine = disk.device == "disk" and not disk.shareable and not disk.readonly
        if disk.source and disk.source not in others and (seed or (mine and everything)):
            found += [place] if (place := volume_on(disk.source, host)) else []
    return tuple(found)
