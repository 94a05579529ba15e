"""Pure: planning the end of VMs: a mark that can be taken back, and a purge that cannot."""

from __future__ import annotations

from collections.abc import Iterator

from bot.domain.backing import Fate
from bot.domain.cluster import Vm
from bot.domain.plan import Objection
from plugins.vm_lifecycle import cards
from plugins.vm_lifecycle.intents import Deletion, VmVerb
from plugins.vm_lifecycle.planner import DELETED, DISKS, Case, Planned, elsewhere, reached, settled
from plugins.vm_lifecycle.settings import VmLifecycleSettings
from plugins.vm_lifecycle.steps import DeleteVm, PurgeVm, UndeleteVm


def delete(intent: Deletion, case: Case) -> Planned:
    """A mark that is taken away again or ends in a purge; with ``--now`` the purge at once."""
    vm, snapshot = case.vm, case.snapshot
    against = [*settled(vm, snapshot), *elsewhere(vm, snapshot)]
    against += [cards.must_be_off(vm, "deleted")] if vm.state.active else []
    against += [] if vm.persistent else [cards.transient(vm)]
    against += [] if against else _needed(intent, vm, remove=intent.remove_disks)
    if against:
        return (), tuple(against)
    mark = DeleteVm(
        vm.uuid, vm.name, vm.host, intent.remove_disks, 0 if intent.now else case.settings.grace
    )
    if not intent.now:
        return (mark,), ()
    return (mark, _purge(case.settings, intent, vm, remove=intent.remove_disks)), ()


def undelete(intent: VmVerb, case: Case) -> Planned:  # noqa: ARG001 - the shape of Work
    """The mark taken away."""
    vm, snapshot = case.vm, case.snapshot
    if DELETED not in vm.tags:
        return (), ()
    return (UndeleteVm(vm.uuid, vm.name, vm.host),), (
        *reached(vm, snapshot),
        *elsewhere(vm, snapshot),
    )


def purge(intent: VmVerb, case: Case) -> Planned:
    """The end of a deleted VM."""
    vm, snapshot = case.vm, case.snapshot
    if DELETED not in vm.tags:
        return (), (cards.not_deleted(vm),)
    remove = vm.tags.get(DISKS) == "remove"
    against = [*reached(vm, snapshot), *elsewhere(vm, snapshot)]
    against += [cards.must_be_off(vm, "purged")] if vm.state.active else []
    against += [] if against else _needed(intent, vm, remove=remove)
    return (_purge(case.settings, intent, vm, remove=remove),), tuple(against)


def of(intent: Deletion | VmVerb, vm: Vm) -> tuple[Fate, ...]:
    """The fates of one VM's images."""
    return tuple(each for each in intent.fates if each.vm == vm.uuid)


def _needed(intent: Deletion | VmVerb, vm: Vm, *, remove: bool) -> Iterator[Objection]:
    """What others need of the disks that would be removed; what could not be looked at counts as needed."""
    if not remove:
        return
    if vm.uuid not in intent.looked:
        yield cards.storage_not_read(vm)
    for each in of(intent, vm):
        if each.holders and not each.stays and not each.seed:
            yield cards.disk_needed(vm, each)


def _purge(
    settings: VmLifecycleSettings, intent: Deletion | VmVerb, vm: Vm, *, remove: bool
) -> PurgeVm:
    gone = (each.place for each in of(intent, vm) if not each.stays and (each.seed or remove))
    return PurgeVm(
        vm.uuid, vm.name, vm.host, (*gone, f"{settings.pool}/{vm.uuid}-serial.log"), not remove
    )
