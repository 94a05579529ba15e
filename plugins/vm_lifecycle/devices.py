"""Pure: plans for snapshots, disks, NICs and media of VMs."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Iterator
from dataclasses import replace

from bot.domain import block_jobs
from bot.domain.cluster import Disk, Host, Snapshot, Vm, VmDetail, VmSnapshot, VmState
from bot.domain.message import Code, Join, Message, Names, Size, words
from bot.domain.plan import Objection
from bot.domain.storage import is_device, pool_of
from bot.domain.suggest import nearest
from bot.domain.words import is_older, version_text, virsh_name
from plugins.vm_lifecycle import creation, texts
from plugins.vm_lifecycle.intents import DiskWish, Ejection, NicWish, SnapshotWish
from plugins.vm_lifecycle.places import path_on, volume_on
from plugins.vm_lifecycle.planner import (
    Planned,
    VmInCluster,
    change_objections,
    copy_objections,
    idle,
    state_objections,
)
from plugins.vm_lifecycle.reverts import name_of_existing, snapshots_of
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
from plugins.vm_lifecycle.vm_states import unable_to_react, way_off

_WITH_MEMORY = frozenset({"running", "paused", ""})
"""States that a snapshot goes back to with its memory; '' where the host tells none."""
_SNAPSHOT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_NUMBER = re.compile(r"\d+")
"""QEMU reads such a name as a snapshot's number first, which may be another one's."""
_NOT_IN_A_FILE_NAME = re.compile(r"[^A-Za-z0-9._-]+")
"""VMs made by others have any name; in QEMU's tools ``:``, ``,`` and ``=`` have a meaning."""
REVERTS_EXTERNAL = 9_009_000
"""The first libvirt that reverts to external snapshots (release notes of 9.9)."""
DELETES_EXTERNAL = 9_000_000
"""The first libvirt that deletes external snapshots (release notes of 9.0)."""
GROWS_WITH_SNAPSHOTS = 5_001_000
"""The first QEMU that grows a qcow2 v3 image with internal snapshots (release notes of 5.1)."""
UEFI_WHEN_OFF = 9_003_000
"""The first libvirt that takes snapshots of any powered-off VM with UEFI.

Older ones do where they choose the firmware themselves."""
PFLASH_IN_QCOW2 = 10_010_000
"""The first libvirt that takes snapshots with memory of VMs with UEFI and qcow2 NVRAM, and reverts.

Release notes of 10.9, which could take them, and of 10.10, which could go back as well."""


def plan_snapshot(intent: SnapshotWish, case: VmInCluster) -> Planned:
    """Take, revert to, or delete a snapshot."""
    vm, verb = case.vm, SnapshotVerb(intent.verb)
    if verb is SnapshotVerb.CREATE:
        step = SnapshotVm(vm.uuid, vm.name, vm.host, verb, intent.snapshot, intent.description)
        return (step,), (
            *change_objections(vm, case.snapshot),
            *_snapshot_objections(intent.snapshot, vm, case.snapshot.host(vm.host)),
        )
    return _existing_snapshot(intent, verb, case)


def _name_objections(name: str, vm: Vm) -> Iterator[Objection]:
    """Yield objections to the name of a new snapshot."""
    if not _SNAPSHOT.fullmatch(name):
        yield Objection(
            "bad-name",
            words("“{name}” is not a valid snapshot name.", name=name),
            words(
                "Use letters, digits, dots, hyphens and underscores; begin with a letter or digit; "
                "at most 63 characters."
            ),
        )
    elif _NUMBER.fullmatch(name):
        yield Objection(
            "number",
            words(
                "“{name}” is not a valid snapshot name: QEMU also numbers snapshots and would "
                "confuse the two.",
                name=name,
            ),
            words("Use a name with a letter, for example “v{name}”.", name=name),
        )
    elif name in {each.name for each in snapshots_of(vm)}:
        yield Objection(
            "snapshot-exists",
            words("{vm} already has a snapshot “{name}”.", vm=vm.name, name=name),
            words("Use another name."),
        )


def _snapshot_objections(name: str, vm: Vm, host: Host) -> Iterator[Objection]:
    """Yield objections to a new internal snapshot of this name."""
    yield from _name_objections(name, vm)
    written = [
        disk
        for disk in (vm.detail.disks if vm.detail else ())
        if disk.device != "cdrom" and disk.source and not disk.readonly
    ]
    yield from block_jobs.objections(vm, written)
    yield from _not_internal(vm, host, written)
    formats = {disk.format for disk in written}
    if formats - {"qcow2"}:
        yield Objection(
            "format",
            words(
                "{vm} has disks in formats without snapshots: {formats}.",
                vm=vm.name,
                formats=sorted(formats - {"qcow2"}),
            ),
            words("Convert them to qcow2."),
        )
    if vm.state is VmState.SUSPENDED and (unable := unable_to_react(vm)):
        yield unable
    if vm.state.active and vm.detail and (parts := tuple(_without_memory(vm, vm.detail))):
        yield Objection(
            "memory-not-stored",
            words(
                "The memory of {vm} cannot be stored in a snapshot, because of {parts}.",
                vm=vm.name,
                parts=Names(parts, Join.AND),
            ),
            words(
                "Take it while the VM is off: {command}.",
                command=texts.chat("vm shutdown {}", vm.name),
            ),
        )
    if vm.detail and vm.detail.pflash and host.up and not _takes_uefi(vm, vm.detail, host):
        off = not (is_older(host.libvirt_version, UEFI_WHEN_OFF) and vm.detail.loader)
        yield _no_uefi_snapshot(vm, host, off=off)


def _not_internal(vm: Vm, host: Host, written: Iterable[Disk]) -> Iterator[Objection]:
    """Yield the disks that the definition keeps out of an internal snapshot."""
    if out := [disk.target for disk in written if disk.snapshot in {"no", "manual", "external"}]:
        yield Objection(
            "left-out",
            words(
                "The definition of {vm} excludes {disks} from snapshots, or keeps them for "
                "external ones. libvirt takes an internal snapshot of all disks, or of none.",
                vm=vm.name,
                disks=Names(tuple(out), Join.AND),
            ),
            words(
                "Remove `snapshot=` from `<disk>` in the definition, on {host}: {command}.",
                host=host.name,
                command=texts.shell("virsh edit {}", virsh_name(vm)),
            ),
        )


def _without_memory(vm: Vm, detail: VmDetail) -> Iterator[Message]:
    """What libvirt and QEMU refuse to store with the memory, as in a migration.

    ``qemuMigrationSrcIsAllowed`` decides on both.
    """
    if not vm.tries_devices:
        yield from detail.bound_devices
        yield from (words("directory {path}", path=each) for each in detail.shared_dirs)
    yield from (words("shared memory {name}", name=each) for each in detail.ties.shmem)
    yield from (
        words("transient disk {disk}", disk=disk.target) for disk in detail.disks if disk.transient
    )
    if detail.ties.launch_security:
        yield words("its encryption ({kind})", kind=detail.ties.launch_security)
    if detail.needs_its_clock:
        yield words("the CPU feature invtsc without a fixed TSC frequency")


def _no_uefi_snapshot(vm: Vm, host: Host, *, off: bool) -> Objection:
    """The NVRAM would not be part of the snapshot; ``off``: a powered-off VM can have one."""
    args = {"vm": vm.name, "version": version_text(host.libvirt_version), "host": host.name}
    if vm.state.active:
        text = words(
            "{vm} has UEFI firmware: libvirt {version} on {host} cannot take a snapshot of it "
            "with its memory.",
            **args,
        )
    else:
        text = words(
            "{vm} has UEFI firmware: libvirt {version} on {host} cannot take a snapshot of it.",
            **args,
        )
    if off:
        remedy = words(
            "Take it while the VM is off: {command}.",
            command=texts.chat("vm shutdown {}", vm.name),
        )
    else:
        remedy = words(
            "libvirt 9.3 and later can, while the VM is off. Or clone it while it is off, and keep "
            "the clone: {command}.",
            command=texts.chat("vm clone {} {}", vm.name, f"{vm.name}-copy"),
        )
    return Objection("uefi-snapshot", text, remedy)


def _takes_uefi(vm: Vm, detail: VmDetail, host: Host) -> bool:
    """Whether the libvirt takes an internal snapshot of a VM with UEFI, NVRAM included."""
    if not vm.state.active:
        return not (is_older(host.libvirt_version, UEFI_WHEN_OFF) and detail.loader)
    return detail.nvram_format == "qcow2" and not is_older(host.libvirt_version, PFLASH_IN_QCOW2)


def _existing_snapshot(intent: SnapshotWish, verb: SnapshotVerb, case: VmInCluster) -> Planned:
    """Revert to, or delete, an existing snapshot; its name is taken as it is."""
    vm, snapshot = case.vm, case.snapshot
    reverts = verb is SnapshotVerb.REVERT
    against = (
        [*change_objections(vm, snapshot)]
        if reverts
        else [*state_objections(vm, snapshot), *_elsewhere_if_off(vm, snapshot)]
    )
    there = {each.name: each for each in snapshots_of(vm)}
    name = name_of_existing(intent.snapshot, vm)
    if reverts:
        against += block_jobs.objections(vm, vm.detail.disks if vm.detail else ())
    if name in there:
        against += (
            _revert_objections(there[name], vm, snapshot.host(vm.host))
            if reverts
            else (_delete_objections(there[name], vm, snapshot.host(vm.host)))
        )
    elif vm.detail and vm.detail.snapshot_list is not None:
        against.append(_no_snapshot(vm, intent.snapshot, list(there)))
    token = creation.identity(f"{vm.uuid} {name}", snapshot)[:8] if reverts else ""
    tags = tuple(sorted(vm.tags.items())) if reverts else None
    return (SnapshotVm(vm.uuid, vm.name, vm.host, verb, name, "", token, tags),), tuple(against)


def _no_snapshot(vm: Vm, name: str, known: list[str]) -> Objection:
    if not known:
        return Objection("no-snapshot", words("{vm} has no snapshots.", vm=vm.name))
    see = words(
        "{command} lists its snapshots.", command=texts.chat("vm snapshot list {}", vm.name)
    )
    return Objection(
        "no-snapshot",
        words("{vm} has no snapshot “{name}”.", vm=vm.name, name=name),
        nearest(name, known, see),
    )


def _elsewhere_if_off(vm: Vm, snapshot: Snapshot) -> Iterator[Objection]:
    if not vm.state.active:
        yield from copy_objections(vm, snapshot)


def _revert_objections(taken: VmSnapshot, vm: Vm, host: Host) -> Iterator[Objection]:
    if taken.external and host.up and is_older(host.libvirt_version, REVERTS_EXTERNAL):
        # Nothing needs to be deleted for it
        yield Objection(
            "external-snapshot",
            words(
                "“{name}” of {vm} is an external snapshot: libvirt {version} on {host} cannot "
                "revert to it, 9.9 and later can.",
                name=taken.name,
                vm=vm.name,
                version=version_text(host.libvirt_version),
                host=host.name,
            ),
            words(
                "Update libvirt on {host}. To revert by hand: {list} shows its disks, and "
                "`qemu-img info --backing-chain` of each shows the files of that snapshot.",
                host=host.name,
                list=texts.shell("virsh domblklist {}", virsh_name(vm)),
            ),
        )
    if not vm.persistent and taken.state not in _WITH_MEMORY:
        # libvirt would have to end it for that, and then there is nothing left to revert
        yield Objection(
            "transient",
            words(
                "{vm} is transient, and “{name}” was taken without its memory: libvirt cannot "
                "revert to it.",
                vm=vm.name,
                name=taken.name,
            ),
            words("Store its definition first, with `virsh define` on {host}.", host=vm.host),
        )
    if taken.clashes:
        yield Objection(
            "number",
            words(
                "The name of the snapshot “{name}” of {vm} is a number: QEMU would revert to "
                "another snapshot with this number, or may do so.",
                name=taken.name,
                vm=vm.name,
            ),
            words(
                "While {vm} is off, on {host}, for each of its disks: `qemu-img snapshot -l DISK` "
                "shows the ID beside the tag {name}. `qemu-img snapshot -a ID DISK` reverts to "
                "it, if no other snapshot has that ID as its tag.",
                vm=vm.name,
                host=vm.host,
                name=taken.name,
            ),
        )


def _delete_objections(taken: VmSnapshot, vm: Vm, host: Host) -> Iterator[Objection]:
    if taken.external and host.up and is_older(host.libvirt_version, DELETES_EXTERNAL):
        yield Objection(
            "external-snapshot",
            words(
                "“{name}” of {vm} is an external snapshot: libvirt {version} on {host} cannot "
                "delete it, 9.0 and later can.",
                name=taken.name,
                vm=vm.name,
                version=version_text(host.libvirt_version),
                host=host.name,
            ),
            words("Update libvirt on {host}.", host=host.name),
        )


def plan_disk(intent: DiskWish, case: VmInCluster) -> Planned:
    """Add a disk, or grow one."""
    vm, snapshot = case.vm, case.snapshot
    host = snapshot.host(vm.host)
    against = [*change_objections(vm, snapshot)]
    if intent.verb == "grow":
        return _grow_disk(intent, vm, host, against)
    against += _no_port(vm)
    against += (
        creation.image_objections(case.settings.pool, intent.capacity, host, creation.SET_POOL)
        if host.up
        else ()
    )
    free = (
        (name, volume)
        for name, volume in free_targets(case.settings, vm)
        if volume not in intent.taken
    )
    target, volume = next(free, ("", ""))
    if not target:
        full = Objection(
            "no-target",
            words("{vm} has no free target from vda to vdz.", vm=vm.name),
            words("Remove a disk, or the volume of a former one."),
        )
        return (), (*against, full)
    return (AddDisk(vm.uuid, vm.name, vm.host, volume, target, intent.capacity),), tuple(against)


def _no_port(vm: Vm) -> Iterator[Objection]:
    """Yield that no device can be plugged into a running VM with this chipset."""
    if vm.state.active and vm.detail and vm.detail.free_ports == 0:
        yield Objection(
            "no-free-port",
            words(
                "{vm} has no free PCIe port: nothing more can be plugged in while it runs.",
                vm=vm.name,
            ),
            way_off(vm),
        )


def free_targets(settings: VmLifecycleSettings, vm: Vm) -> Iterator[tuple[str, str]]:
    """Yield the free targets of a VM, each with the volume that a new disk there would be."""
    taken = {disk.target for disk in (vm.detail.disks if vm.detail else ())}
    stem = _NOT_IN_A_FILE_NAME.sub("-", vm.name).strip("-.")[:63]
    for letter in string.ascii_lowercase:
        if (target := f"vd{letter}") not in taken:
            yield target, f"{settings.pool}/{stem}-{vm.uuid[:8]}-{target}.qcow2"


def _grow_disk(intent: DiskWish, vm: Vm, host: Host, against: list[Objection]) -> Planned:
    disks = {
        disk.target: disk
        for disk in (vm.detail.disks if vm.detail else ())
        if disk.device in {"disk", "lun"}
    }
    disk = disks.get(intent.target)
    if disk is None:
        against.append(_no_device("no-disk", vm, intent.target, list(disks)))
    else:
        against += block_jobs.objections(vm, (disk,))
        against += _size_objections(intent, vm, disk, host)
        against += _snapshots_hinder(vm, disk, host)
    return (GrowDisk(vm.uuid, vm.name, vm.host, intent.target, intent.capacity),), tuple(against)


def _size_objections(intent: DiskWish, vm: Vm, disk: Disk, host: Host) -> Iterator[Objection]:
    """Yield what stands against the new size of a disk."""
    if disk.capacity is not None and intent.capacity <= disk.capacity:
        yield Objection(
            "shrink",
            words(
                "{target} of {vm} already has {size}; a disk can only grow.",
                target=intent.target,
                vm=vm.name,
                size=Size(disk.capacity),
            ),
            words("Use a larger size."),
        )
    elif host.up and is_device(host, disk):
        yield from _device_objections(intent, vm, disk, host)
    elif host.up and (place := volume_on(disk.source, host)):
        more = intent.capacity - (disk.capacity or 0)
        yield from creation.pool_objections(place.partition("/")[0], more, host)
        yield from () if vm.state.active else _fixed_volume(vm, disk, host)
    elif host.up and not vm.state.active:
        # Only a pool, or the running QEMU, can do it
        yield Objection(
            "no-pool",
            words(
                "{target} of {vm} ({source}) is in no storage pool of {host}, and the VM is off.",
                target=disk.target,
                vm=vm.name,
                source=disk.source,
                host=vm.host,
            ),
            words(
                "Start the VM with {command} and ask again; or define a pool for that directory.",
                command=texts.chat("vm start {}", vm.name),
            ),
        )


def _device_objections(intent: DiskWish, vm: Vm, disk: Disk, host: Host) -> Iterator[Objection]:
    """Yield that a device must be enlarged by its storage; QEMU and libvirt cannot.

    A running VM then takes the new size; one that is off has it at its next start.
    """
    args = {"target": disk.target, "vm": vm.name, "host": host.name, "source": disk.source}
    enlarge = _enlarge(intent.capacity, disk, host)
    if disk.format == "qcow2":
        if not vm.state.active:
            yield Objection(
                "device",
                words(
                    "{target} of {vm} is a qcow2 image on the device {source}: only a running VM "
                    "can grow it.",
                    **args,
                ),
                words(
                    "{enlarge} Then start the VM with {command} and ask again.",
                    enlarge=enlarge,
                    command=texts.chat("vm start {}", vm.name),
                ),
            )
    elif not vm.state.active:
        yield Objection(
            "device",
            words("{target} of {vm} is the device {source}: libvirt cannot enlarge it.", **args),
            words("{enlarge} The VM has the new size at its next start.", enlarge=enlarge),
        )
    elif disk.physical is not None and intent.capacity > disk.physical:
        yield Objection(
            "device",
            words("{target} of {vm} is the device {source}: QEMU cannot enlarge it.", **args),
            words("{enlarge} Then ask again: the running VM takes the new size.", enlarge=enlarge),
        )


def _enlarge(capacity: int, disk: Disk, host: Host) -> Message:
    """What to do with the device itself."""
    pool, size = pool_of(host, disk), Size(capacity)
    if pool is None or pool.kind != "logical":
        return words("On {host}, enlarge that device to {size} or more.", host=host.name, size=size)
    return words(
        "On {host}, enlarge that device to {size} or more: {command}.",
        host=host.name,
        size=size,
        command=texts.shell(f"lvextend --size={capacity}b {{}}", path_on(disk, host)),
    )


def _fixed_volume(vm: Vm, disk: Disk, host: Host) -> Iterator[Objection]:
    """Yield that the pool of a VM that is off changes the size of no volume."""
    pool = pool_of(host, disk)
    if pool is not None and not pool.grows_volumes:
        yield Objection(
            "pool-kind",
            words(
                "{target} of {vm} is in the pool {pool} ({kind}), in which libvirt changes the "
                "size of no volume.",
                target=disk.target,
                vm=vm.name,
                pool=pool.name,
                kind=Code(pool.kind),
            ),
            words(
                "Start the VM with {command} and ask again.",
                command=texts.chat("vm start {}", vm.name),
            ),
        )


def _snapshots_hinder(vm: Vm, disk: Disk, host: Host) -> Iterator[Objection]:
    """Yield that an old QEMU, or an old image, grows no disk that has internal snapshots."""
    if not host.up or disk.format != "qcow2" or all(each.external for each in snapshots_of(vm)):
        return
    if disk.compat == "0.10" or is_older(host.hypervisor_version, GROWS_WITH_SNAPSHOTS):
        yield _cannot_grow(vm, disk, host)


def _cannot_grow(vm: Vm, disk: Disk, host: Host) -> Objection:
    """QEMU refuses to grow a disk that has snapshots."""
    args = {"target": disk.target, "vm": vm.name, "host": host.name}
    if disk.compat == "0.10":
        return Objection(
            "snapshots",
            words(
                "{target} of {vm} has snapshots and is a qcow2 file of the old version 2: "
                "QEMU cannot grow it.",
                target=disk.target,
                vm=vm.name,
            ),
            words(
                "While {vm} is off, on {host}: {command}.",
                vm=vm.name,
                host=host.name,
                command=texts.shell(
                    "qemu-img amend -f qcow2 -o compat=1.1 {}", path_on(disk, host)
                ),
            ),
        )
    return Objection(
        "snapshots",
        words(
            "{target} of {vm} has snapshots: QEMU {version} on {host} cannot grow it, "
            "5.1 and later can.",
            **args,
            version=version_text(host.hypervisor_version),
        ),
        words("Update QEMU on {host}, and restart the VM with it.", host=host.name),
    )


_NO_DEVICE = {
    "no-disk": words("{vm} has no disk “{device}”."),
    "no-card": words("{vm} has no NIC “{device}”."),
    "no-drive": words("{vm} has no drive “{device}”."),
}


def _no_device(code: str, vm: Vm, device: str, known: list[str]) -> Objection:
    text = replace(_NO_DEVICE[code], args={"vm": vm.name, "device": device})
    if not known:
        return Objection(code, text)
    return Objection(code, text, words("It has: {devices}.", devices=known))


def plan_nic(intent: NicWish, case: VmInCluster) -> Planned:
    """Add or remove a NIC."""
    vm, snapshot = case.vm, case.snapshot
    against, host = [*change_objections(vm, snapshot)], snapshot.host(vm.host)
    macs = {nic.mac.lower() for nic in (vm.detail.nics if vm.detail else ()) if nic.mac}
    if intent.verb == "remove":
        unable = unable_to_react(vm)  # its system must release it
        against += [unable] if unable and unable not in against else []
        if intent.what.lower() not in macs:
            against.append(_no_device("no-card", vm, intent.what, sorted(macs)))
        return (RemoveNic(vm.uuid, vm.name, vm.host, intent.what.lower()),), tuple(against)
    against += _no_port(vm)
    kind = creation.network_kind(host, intent.what)
    against += [] if kind or not host.up else [creation.no_network(intent.what, host, vm.name)]
    mac = _free_mac(vm, snapshot)
    return (AddNic(vm.uuid, vm.name, vm.host, kind, intent.what, mac),), tuple(against)


def _free_mac(vm: Vm, snapshot: Snapshot) -> str:
    """The first MAC drawn for a VM that no NIC of the cluster has."""
    taken = {nic.mac.lower() for each in snapshot.vms if each.detail for nic in each.detail.nics}
    drawn = (
        creation.mac_of(creation.identity(f"{vm.uuid} card {n}", snapshot))
        for n in range(len(taken) + 1)
    )
    return next(each for each in drawn if each not in taken)


def eject(intent: Ejection, case: VmInCluster) -> Planned:
    """Eject the medium of a drive."""
    vm, snapshot = case.vm, case.snapshot
    drives = {
        disk.target: disk
        for disk in (vm.detail.disks if vm.detail else ())
        if disk.device in {"cdrom", "floppy"}
    }
    full = [target for target, disk in drives.items() if disk.source]
    if intent.target and intent.target not in drives:
        return (), (_no_device("no-drive", vm, intent.target, list(drives)),)
    if not drives:
        return idle(words("{vm} has no removable drive.", vm=vm.name))
    if not full or (intent.target and intent.target not in full):
        return idle(
            words("The drive {drive} of {vm} is empty.", drive=intent.target, vm=vm.name)
            if intent.target
            else words("The removable drives of {vm} are empty.", vm=vm.name)
        )
    if not intent.target and len(full) > 1:
        which = Objection(
            "which-drive",
            words("{vm} has media in {drives}.", vm=vm.name, drives=Names(tuple(full), Join.AND)),
            words("Name one: {command}.", command=texts.chat("vm eject {} {}", vm.name, full[0])),
        )
        return (), (which,)
    step = EjectMedium(vm.uuid, vm.name, vm.host, intent.target or full[0])
    return (step,), tuple(change_objections(vm, snapshot))
