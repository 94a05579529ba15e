"""Pure: planning snapshots, disks, network cards and media of guests."""

from __future__ import annotations

import re

from bot.domain.cluster import Host, Vm
from bot.domain.plan import Objection
from plugins.vm_lifecycle import cards, creation
from plugins.vm_lifecycle.intents import DiskWish, Ejection, NicWish, SnapshotWish
from plugins.vm_lifecycle.places import own_disk, volume_on
from plugins.vm_lifecycle.planner import Case, Planned, elsewhere, settled
from plugins.vm_lifecycle.steps import (
    AddDisk,
    AddNic,
    EjectMedium,
    GrowDisk,
    RemoveNic,
    SnapshotVerb,
    SnapshotVm,
)

_SNAPSHOT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def snapshot_wish(intent: SnapshotWish, case: Case) -> Planned:
    """Take, go back, remove. Whether the snapshot exists is known to its host alone, which says so."""
    vm, snapshot = case.vm, case.snapshot
    verb = SnapshotVerb(intent.verb)
    against = [*settled(vm, snapshot)]
    if not _SNAPSHOT.fullmatch(intent.snapshot):
        against.append(cards.bad_snapshot_name(intent.snapshot))
    formats = {disk.format for disk in (vm.detail.disks if vm.detail else ()) if own_disk(disk)}
    if verb is SnapshotVerb.CREATE and formats - {"qcow2"}:
        against.append(cards.cannot_snapshot(vm, formats - {"qcow2"}))
    if verb is SnapshotVerb.REVERT and not vm.state.active:
        against += elsewhere(vm, snapshot)
    token = creation.identity(f"{vm.uuid} {intent.snapshot}", snapshot)[:8] if verb is SnapshotVerb.REVERT else ""
    step = SnapshotVm(vm.uuid, vm.name, vm.host, verb, intent.snapshot, intent.description, token)
    return (step,), tuple(against)


def disk_wish(intent: DiskWish, case: Case) -> Planned:
    """A new disk, or a larger one."""
    vm, snapshot = case.vm, case.snapshot
    host, disks = snapshot.host(vm.host), vm.detail.disks if vm.detail else ()
    against = [*settled(vm, snapshot)]
    if intent.verb == "grow":
        return _grow(intent, vm, host, against)
    against += creation.pool_objections(case.settings.pool, intent.capacity, host) if host.up else ()
    taken = {disk.target for disk in disks}
    target = next(name for letter in "abcdefghijklmnopqrstuvwxyz" if (name := f"vd{letter}") not in taken)
    volume = f"{case.settings.pool}/{vm.name}-{vm.uuid[:8]}-{target}.qcow2"
    return (AddDisk(vm.uuid, vm.name, vm.host, volume, target, intent.capacity),), tuple(against)


def _grow(intent: DiskWish, vm: Vm, host: Host, against: list[Objection]) -> Planned:
    disks = {disk.target: disk for disk in (vm.detail.disks if vm.detail else ()) if disk.device == "disk"}
    disk = disks.get(intent.target)
    if disk is None:
        against.append(cards.no_disk(vm, intent.target, disks))
    elif disk.capacity is not None and intent.capacity <= disk.capacity:
        against.append(cards.cannot_shrink(vm, intent.target, disk.capacity))
    elif host.up and (place := volume_on(disk.source, host)):
        more = intent.capacity - (disk.capacity or 0)
        against += creation.pool_objections(place.partition("/")[0], more, host)
    return (GrowDisk(vm.uuid, vm.name, vm.host, intent.target, intent.capacity),), tuple(against)


def nic_wish(intent: NicWish, case: Case) -> Planned:
    """A card more or less."""
    vm, snapshot = case.vm, case.snapshot
    against, host = [*settled(vm, snapshot)], snapshot.host(vm.host)
    macs = {nic.mac.lower() for nic in (vm.detail.nics if vm.detail else ())}
    if intent.verb == "remove":
        against += [] if intent.what.lower() in macs else [cards.no_card(vm, intent.what, macs)]
        return (RemoveNic(vm.uuid, vm.name, vm.host, intent.what.lower()),), tuple(against)
    kind = creation.network_kind(host, intent.what)
    against += [] if kind or not host.up else [cards.no_network(intent.what, host)]
    free = (creation.mac_of(creation.identity(f"{vm.uuid} card {number}", snapshot)) for number in range(len(macs) + 1))
    mac = next(each for each in free if each not in macs)
    return (AddNic(vm.uuid, vm.name, vm.host, kind, intent.what, mac),), tuple(against)


def eject(intent: Ejection, case: Case) -> Planned:
    """An empty drive."""
    vm, snapshot = case.vm, case.snapshot
    drives = {
        disk.target: disk for disk in (vm.detail.disks if vm.detail else ()) if disk.device in {"cdrom", "floppy"}
    }
    full = [target for target, disk in drives.items() if disk.source]
    if intent.target and intent.target not in drives:
        return (), (cards.no_drive(vm, intent.target, drives),)
    if not intent.target and len(full) > 1:
        return (), (cards.which_drive(vm, full),)
    targets = [intent.target] if intent.target in full else full if not intent.target else []
    steps = tuple(EjectMedium(vm.uuid, vm.name, vm.host, target) for target in targets)
    return steps, tuple(settled(vm, snapshot)) if steps else ()
