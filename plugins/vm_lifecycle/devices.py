"""Pure: planning snapshots, disks, network cards and media of guests."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator

from bot.domain.cluster import Host, Snapshot, Vm, VmDetail, VmSnapshot, VmState
from bot.domain.plan import Objection
from bot.domain.words import names_for
from plugins.vm_lifecycle import cards, creation
from plugins.vm_lifecycle.intents import DiskWish, Ejection, NicWish, SnapshotWish
from plugins.vm_lifecycle.places import own_disk, volume_on
from plugins.vm_lifecycle.planner import Case, Planned, changeable, elsewhere, settled
from plugins.vm_lifecycle.settings import VmLifecycleSettings
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
_NUMBER = re.compile(r"\d+")
"""QEMU takes such a name for the number of a snapshot first, which may be another one's."""
_NOT_IN_A_FILE_NAME = re.compile(r"[^A-Za-z0-9._-]+")
"""A VM of others may be called anything; QEMU's tools read ``:``, ``,`` and ``=`` in names as more than letters."""
REVERTS_EXTERNAL = 9_009_000
"""The libvirt that goes back to external snapshots (release notes of 9.9)."""
DELETES_EXTERNAL = 9_000_000
"""The libvirt that removes external snapshots (release notes of 9.0)."""
GROWS_WITH_SNAPSHOTS = 5_001_000
"""The QEMU that grows a qcow2 image with internal snapshots, of version 3 of the format (release notes of 5.1)."""
UEFI_WHEN_OFF = 9_003_000
"""The libvirt that takes snapshots of any VM with UEFI that is off; older ones only where they choose its firmware."""
PFLASH_IN_QCOW2 = 10_010_000
"""The libvirt that takes snapshots with memory of VMs with UEFI whose NVRAM is qcow2, and goes back to them.

Release notes of 10.9, which could take them, and of 10.10, which could go back as well."""


def snapshot_wish(intent: SnapshotWish, case: Case) -> Planned:
    """Take, go back, remove."""
    vm, verb = case.vm, SnapshotVerb(intent.verb)
    if verb is SnapshotVerb.CREATE:
        step = SnapshotVm(vm.uuid, vm.name, vm.host, verb, intent.snapshot, intent.description)
        return (step,), (
            *changeable(vm, case.snapshot),
            *_cannot_take(intent.snapshot, vm, case.snapshot.host(vm.host)),
        )
    return _of_a_snapshot(intent, verb, case)


def _cannot_take(name: str, vm: Vm, host: Host) -> Iterator[Objection]:
    """What stands against a new internal snapshot of this name."""
    if not _SNAPSHOT.fullmatch(name):
        yield cards.bad_snapshot_name(name)
    elif _NUMBER.fullmatch(name):
        yield cards.number_for_a_name(name)
    elif name in {each.name for each in _snapshots_of(vm)}:
        yield cards.snapshot_exists(vm, name)
    formats = {
        disk.format
        for disk in (vm.detail.disks if vm.detail else ())
        if own_disk(disk) and not disk.readonly
    }
    if formats - {"qcow2"}:
        yield cards.cannot_snapshot(vm, formats - {"qcow2"})
    if vm.state is VmState.SUSPENDED:
        yield cards.asleep(vm)
    if vm.detail and vm.detail.pflash and host.up and not _takes_uefi(vm, vm.detail, host):
        off = host.libvirt_version >= UEFI_WHEN_OFF or not vm.detail.loader
        yield cards.cannot_snapshot_uefi(vm, host, off=off)


def _takes_uefi(vm: Vm, detail: VmDetail, host: Host) -> bool:
    """Whether its libvirt takes an internal snapshot of a VM with UEFI: the NVRAM is part of one with memory."""
    if not vm.state.active:
        return host.libvirt_version >= UEFI_WHEN_OFF or not detail.loader
    return detail.nvram_format == "qcow2" and host.libvirt_version >= PFLASH_IN_QCOW2


def _snapshots_of(vm: Vm) -> tuple[VmSnapshot, ...]:
    return (vm.detail.snapshot_list if vm.detail else None) or ()


def _of_a_snapshot(intent: SnapshotWish, verb: SnapshotVerb, case: Case) -> Planned:
    """Going back to, or removing, a snapshot that exists; its name is taken as it is."""
    vm, snapshot = case.vm, case.snapshot
    reverts = verb is SnapshotVerb.REVERT
    against = (
        [*changeable(vm, snapshot)]
        if reverts
        else [*settled(vm, snapshot), *_elsewhere_if_off(vm, snapshot)]
    )
    there = {each.name: each for each in _snapshots_of(vm)}
    alike = names_for(intent.snapshot, there)
    name = alike[0] if len(alike) == 1 else intent.snapshot
    if name in there:
        against += (
            _cannot_revert(there[name], vm, snapshot.host(vm.host))
            if reverts
            else (_cannot_delete(there[name], vm, snapshot.host(vm.host)))
        )
    elif vm.detail and vm.detail.snapshot_list is not None:
        against.append(cards.no_snapshot(vm, intent.snapshot, list(there)))
    token = creation.identity(f"{vm.uuid} {name}", snapshot)[:8] if reverts else ""
    return (SnapshotVm(vm.uuid, vm.name, vm.host, verb, name, "", token),), tuple(against)


def _elsewhere_if_off(vm: Vm, snapshot: Snapshot) -> Iterator[Objection]:
    if not vm.state.active:
        yield from elsewhere(vm, snapshot)


def _cannot_revert(taken: VmSnapshot, vm: Vm, host: Host) -> Iterator[Objection]:
    if taken.external and host.up and host.libvirt_version < REVERTS_EXTERNAL:
        yield cards.cannot_revert_external(vm, taken.name, host)
    if taken.clashes:
        yield cards.cannot_revert_number(vm, taken.name)


def _cannot_delete(taken: VmSnapshot, vm: Vm, host: Host) -> Iterator[Objection]:
    if taken.external and host.up and host.libvirt_version < DELETES_EXTERNAL:
        yield cards.cannot_delete_external(vm, taken.name, host)


def disk_wish(intent: DiskWish, case: Case) -> Planned:
    """A new disk, or a larger one."""
    vm, snapshot = case.vm, case.snapshot
    host = snapshot.host(vm.host)
    against = [*changeable(vm, snapshot)]
    if intent.verb == "grow":
        return _grow(intent, vm, host, against)
    against += (
        creation.pool_objections(case.settings.pool, intent.capacity, host) if host.up else ()
    )
    free = (
        (name, volume)
        for name, volume in new_disks(case.settings, vm)
        if volume not in intent.taken
    )
    target, volume = next(free, ("", ""))
    if not target:
        return (), (*against, cards.no_free_target(vm))
    return (AddDisk(vm.uuid, vm.name, vm.host, volume, target, intent.capacity),), tuple(against)


def new_disks(settings: VmLifecycleSettings, vm: Vm) -> Iterator[tuple[str, str]]:
    """Targets that a VM has free, each with the volume that a new disk there would be."""
    taken = {disk.target for disk in (vm.detail.disks if vm.detail else ())}
    stem = _NOT_IN_A_FILE_NAME.sub("-", vm.name).strip("-.")[:63]
    for letter in string.ascii_lowercase:
        if (target := f"vd{letter}") not in taken:
            yield target, f"{settings.pool}/{stem}-{vm.uuid[:8]}-{target}.qcow2"


def _grow(intent: DiskWish, vm: Vm, host: Host, against: list[Objection]) -> Planned:
    disks = {
        disk.target: disk
        for disk in (vm.detail.disks if vm.detail else ())
        if disk.device == "disk"
    }
    disk = disks.get(intent.target)
    if disk is None:
        against.append(cards.no_disk(vm, intent.target, disks))
    elif disk.capacity is not None and intent.capacity <= disk.capacity:
        against.append(cards.cannot_shrink(vm, intent.target, disk.capacity))
    elif host.up and not vm.state.active and not volume_on(disk.source, host):
        against.append(cards.cannot_grow_off(vm, disk))
    elif host.up and (place := volume_on(disk.source, host)):
        more = intent.capacity - (disk.capacity or 0)
        against += creation.pool_objections(place.partition("/")[0], more, host)
    if (
        disk
        and host.up
        and disk.format == "qcow2"
        and any(not each.external for each in _snapshots_of(vm))
    ):
        old = disk.compat == "0.10" or host.hypervisor_version < GROWS_WITH_SNAPSHOTS
        against += [cards.cannot_grow_with_snapshots(vm, disk, host)] if old else []
    return (GrowDisk(vm.uuid, vm.name, vm.host, intent.target, intent.capacity),), tuple(against)


def nic_wish(intent: NicWish, case: Case) -> Planned:
    """A card more or less."""
    vm, snapshot = case.vm, case.snapshot
    against, host = [*changeable(vm, snapshot)], snapshot.host(vm.host)
    macs = {nic.mac.lower() for nic in (vm.detail.nics if vm.detail else ())}
    if intent.verb == "remove":
        # It could not let go of it
        against += [cards.asleep(vm)] if vm.state is VmState.SUSPENDED else []
        against += [] if intent.what.lower() in macs else [cards.no_card(vm, intent.what, macs)]
        return (RemoveNic(vm.uuid, vm.name, vm.host, intent.what.lower()),), tuple(against)
    kind = creation.network_kind(host, intent.what)
    against += [] if kind or not host.up else [cards.no_network(intent.what, host)]
    taken = {nic.mac.lower() for each in snapshot.vms if each.detail for nic in each.detail.nics}
    drawn = (
        creation.mac_of(creation.identity(f"{vm.uuid} card {n}", snapshot))
        for n in range(len(taken) + 1)
    )
    mac = next(each for each in drawn if each not in taken)
    return (AddNic(vm.uuid, vm.name, vm.host, kind, intent.what, mac),), tuple(against)


def eject(intent: Ejection, case: Case) -> Planned:
    """An empty drive."""
    vm, snapshot = case.vm, case.snapshot
    drives = {
        disk.target: disk
        for disk in (vm.detail.disks if vm.detail else ())
        if disk.device in {"cdrom", "floppy"}
    }
    full = [target for target, disk in drives.items() if disk.source]
    if intent.target and intent.target not in drives:
        return (), (cards.no_drive(vm, intent.target, drives),)
    if not intent.target and len(full) > 1:
        return (), (cards.which_drive(vm, full),)
    targets = [intent.target] if intent.target in full else full if not intent.target else []
    steps = tuple(EjectMedium(vm.uuid, vm.name, vm.host, target) for target in targets)
    return steps, tuple(changeable(vm, snapshot)) if steps else ()
