"""Pure: what keeps a VM on its host, whatever the target. Each check yields objections."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator

from bot.domain import block_jobs
from bot.domain.cluster import OS_CRASHED, Disk, Host, Inbound, Vm, VmState
from bot.domain.message import Code, Message, Names, Size, join, nwords, words
from bot.domain.plan import Objection
from bot.domain.state_names import VM_STATES, reason_text
from bot.domain.storage import can_be_copied, is_medium, local_disks
from bot.domain.words import is_older, virsh_name
from plugins.migrate.case import (
    MigrationCase,
    as_code,
    disk_targets,
    disks_and_sources,
    version_text,
)
from plugins.migrate.outcome import normalize_reason, paused_by_migration

SAFE_CACHES = frozenset({"none", "directsync"})

# From these versions on libvirt and QEMU move what older ones cannot; numbers as libvirt counts
# versions.
TPM_MOVES = 7_001_000  # libvirt: the state of an emulated TPM
# Libvirt and QEMU: from these on libvirt asks QEMU what keeps a VM (`blocked-reasons`), instead of
# refusing every host device but USB.
DEVICES_ASKED = (8_006_000, 6_000_000)
# 9.0 refuses virtiofs; 11.3 allows it where virtiofsd can (`migrate-precopy`), by QEMU 8.2
VIRTIOFS_ASKED = (10_005_000, 8_002_000)
# Libvirt and QEMU: the source's page cache, for every cache mode
CACHES_DROPPED = (5_006_000, 4_000_000)


def _state(case: MigrationCase) -> Iterator[Objection]:
    vm = case.vm
    if vm.paused_by == OS_CRASHED:
        yield Objection(
            "vm-crashed",
            words("The operating system of {vm} crashed on {host}.", vm=vm.name, host=vm.host),
            words(
                "Look at it, then restart it with {command}. A crashed VM cannot be moved.",
                command=as_code("/kvm vm reboot {}", vm.name),
            ),
        )
    elif vm.state is VmState.CRASHED:
        yield Objection(
            "vm-crashed",
            words("{vm} crashed on {host}.", vm=vm.name, host=vm.host),
            words("Find the cause in its log, then start it. A crashed VM cannot be moved."),
        )
    elif vm.state is VmState.SHUT_OFF:
        yield Objection(
            "vm-off",
            words(
                "{vm} is powered off on {host}: live migration does not apply.",
                vm=vm.name,
                host=vm.host,
            ),
            words("Start it first: {command}.", command=as_code("/kvm vm start {}", vm.name)),
        )
    elif vm.state not in (VmState.RUNNING, VmState.PAUSED):
        yield Objection(
            "vm-state",
            words(
                "{vm} is {state} on {host}.", vm=vm.name, state=VM_STATES[vm.state], host=vm.host
            ),
            words("Wait until it runs (wake it if it sleeps), then try again."),
        )
    elif normalize_reason(vm.paused_by) == "postcopyfailed":
        yield _broken_postcopy(vm)
    elif vm.state is VmState.PAUSED:
        yield from _pause(vm)


def _broken_postcopy(vm: Vm) -> Objection:
    return Objection(
        "post-copy-failed",
        words(
            "{vm} is {state} on {host}, but its post-copy migration failed: only part of its "
            "memory is there.",
            vm=vm.name,
            state=VM_STATES[vm.state],
            host=vm.host,
        ),
        words(
            "If the other host still has its half, resume that migration there. If not, {command} "
            "forces the VM off and starts it again.",
            command=as_code("/kvm vm reboot {}", vm.name),
        ),
    )


def _pause(vm: Vm) -> Iterator[Objection]:
    if normalize_reason(vm.paused_by) == "ioerror":
        yield Objection(
            "io-error",
            words("{vm} is paused because its storage failed on {host}.", vm=vm.name, host=vm.host),
            words(
                "Fix the storage (a full pool, a lost share) and resume the VM ({command}). Then "
                "move it.",
                command=as_code("/kvm vm resume {}", vm.name),
            ),
        )
    elif paused_by_migration(vm.paused_by):
        yield Objection(
            "half-moved",
            words(
                "{vm} is paused on {host} by a migration that failed ({reason}).",
                vm=vm.name,
                host=vm.host,
                reason=reason_text(vm.paused_by),
            ),
            words("Check both hosts first. Do not resume it while another host may have it."),
        )


def _source_answers(case: MigrationCase) -> Iterator[Objection]:
    if case.source.up:
        return
    yield Objection(
        "source-unreachable",
        words(
            "{host}, where {vm} was last seen, does not answer: {problem}.",
            host=case.vm.host,
            vm=case.vm.name,
            problem=case.source.problem or words("no connection"),
        ),
        words(
            "Unreachable is not dead: the VM may still run there. Check the host and its "
            "libvirtd. Restart its VMs elsewhere only when the host is proven to be off."
        ),
    )


def _in_one_place(case: MigrationCase) -> Iterator[Objection]:
    """One UUID active on two hosts is a migration under way, or a disaster.

    An unreachable host counts as having it.
    """
    copies = [each for each in case.snapshot.vms if each.uuid == case.vm.uuid and each.state.active]
    move = next((each for each in case.snapshot.inbound if each.vm_uuid == case.vm.uuid), None)
    if move is None and len(copies) < 2:
        return
    if move is None and not any(_waits_for_migration(each) for each in copies):
        yield _running_twice(case, copies)
        return
    yield Objection(
        "moving",
        _already_moving(case.vm, move),
        words("Wait until that migration ends, or cancel it, then try again."),
    )


def _waits_for_migration(vm: Vm) -> bool:
    return vm.state is VmState.PAUSED and paused_by_migration(vm.paused_by)


def _running_twice(case: MigrationCase, copies: list[Vm]) -> Objection:
    places = tuple(_place(each, case.snapshot.host(each.host)) for each in copies)
    return Objection(
        "running-twice",
        words(
            "{vm} ({uuid}) may be running in more than one place: {places}.",
            vm=case.vm.name,
            uuid=case.vm.uuid,
            places=Names(places),
        ),
        words(
            "Check each host at once: two running copies destroy their disks. Change nothing "
            "until you know."
        ),
    )


def _already_moving(vm: Vm, move: Inbound | None) -> Message:
    if move is None:
        return words("{vm} is already being migrated by something other than Drover.", vm=vm.name)
    return words(
        "{vm} is already being migrated to {target} by {operation}.",
        vm=vm.name,
        target=move.target,
        operation=move.operation,
    )


def _place(vm: Vm, host: Host) -> Message:
    state = VM_STATES[vm.state]
    if host.up:
        return words("{host} ({state})", host=host.name, state=state)
    return words("{host} (last seen {state}; does not answer)", host=host.name, state=state)


def _no_jobs(case: MigrationCase) -> Iterator[Objection]:
    vm = case.vm
    if case.detail.job:
        yield Objection(
            "job-active",
            words("{vm} has an active job ({job}).", vm=vm.name, job=case.detail.job),
            words(
                "Wait until it ends. {command} shows it.",
                command=as_code("virsh domjobinfo {}", virsh_name(vm)),
            ),
        )
    yield from block_jobs.objections(vm, case.detail.disks)


def _devices(case: MigrationCase) -> Iterator[Objection]:
    vm, detail = case.vm, case.detail
    if (devices := case.detail.bound_devices) and not _may_try(case, DEVICES_ASKED):
        yield Objection(
            "host-devices",
            words(
                "{vm} uses devices of {host}: {devices}.",
                vm=vm.name,
                host=vm.host,
                devices=devices,
            ),
            join(
                (
                    words(
                        "Detach them first, or shut the VM down. For an SR-IOV NIC, a virtio NIC "
                        "as failover partner also helps."
                    ),
                    _try_them(case, DEVICES_ASKED),
                )
            ),
        )
    asked = VIRTIOFS_ASKED if detail.ties.virtiofs else (0, 0)
    if detail.shared_dirs and not _may_try(case, asked):
        yield Objection(
            "shared-dirs",
            words(
                "{vm} has directories of {host} mounted: {directories}.",
                vm=vm.name,
                host=vm.host,
                directories=detail.shared_dirs,
            ),
            join((words("Unmount and detach them first."), _try_them(case, asked))),
        )
    if detail.ties.shmem:
        yield Objection(
            "shmem",
            words(
                "{vm} shares memory with other programs on {host}: {devices}.",
                vm=vm.name,
                host=vm.host,
                devices=detail.ties.shmem,
            ),
            words(
                "Detach the device before the migration: {detach} ({dump} shows its alias).",
                detach=as_code("virsh detach-device-alias {} ALIAS", virsh_name(vm)),
                dump=as_code("virsh dumpxml {}", virsh_name(vm)),
            ),
        )
    if detail.ties.launch_security:
        yield Objection(
            "launch-security",
            words(
                "The memory of {vm} is encrypted for the CPU of {host} ({kind}); QEMU cannot move "
                "it.",
                vm=vm.name,
                host=vm.host,
                kind=detail.ties.launch_security,
            ),
            words(
                "Shut it down and start it on the other host: {command}.",
                command=as_code("/kvm vm shutdown {}", vm.name),
            ),
        )


def _may_try(case: MigrationCase, least: tuple[int, int]) -> bool:
    """Check that somebody wants QEMU to decide, and that libvirt there asks it."""
    return case.vm.tries_devices and _asks_qemu(case.source, least)


def _asks_qemu(source: Host, least: tuple[int, int]) -> bool:
    libvirt, qemu = least
    return not (
        is_older(source.libvirt_version, libvirt) or is_older(source.hypervisor_version, qemu)
    )


def _try_them(case: MigrationCase, least: tuple[int, int]) -> Message:
    """Say how to leave it to QEMU, or which versions would do so."""
    if _asks_qemu(case.source, least):
        return words(
            "If the device can be migrated, let QEMU decide: {command}.",
            command=as_code("/kvm vm tag {} device-migration=try", case.vm.name),
        )
    libvirt, qemu = least
    return words(
        "Before libvirt {libvirt} and QEMU {qemu} they cannot be migrated at all; {host} has "
        "{libvirt_here} and {qemu_here}.",
        libvirt=version_text(libvirt),
        qemu=version_text(qemu),
        host=case.source.name,
        libvirt_here=version_text(case.source.libvirt_version),
        qemu_here=version_text(case.source.hypervisor_version),
    )


def _tpm(case: MigrationCase) -> Iterator[Objection]:
    vm, kind = case.vm, case.detail.tpm
    if kind == "passthrough":
        text = words("{vm} uses the TPM of its host {host}.", vm=vm.name, host=vm.host)
    elif kind == "external":
        text = words(
            "{vm} uses a TPM that libvirt on {host} does not run.", vm=vm.name, host=vm.host
        )
    else:
        yield from tpm_too_old(case, case.source)
        return
    yield Objection(
        "tpm",
        text,
        words(
            "It can move with an emulated TPM (`<backend type='emulator'/>`). A new TPM cannot "
            "open disks that are sealed to the old one."
        ),
    )


def tpm_too_old(case: MigrationCase, host: Host) -> Iterator[Objection]:
    """Object when libvirt on ``host`` cannot move an emulated TPM; both sides must be able to."""
    if case.detail.tpm != "emulator" or not is_older(host.libvirt_version, TPM_MOVES):
        return
    yield Objection(
        "tpm",
        words(
            "libvirt {version} on {host} cannot move the emulated TPM of {vm}; 7.1 and later can.",
            version=version_text(host.libvirt_version),
            host=host.name,
            vm=case.vm.name,
        ),
        words("Upgrade libvirt on {host}.", host=host.name),
    )


def _definition(case: MigrationCase) -> Iterator[Objection]:
    vm, detail = case.vm, case.detail
    if detail.snapshots:
        yield Objection(
            "snapshots",
            nwords(
                "{vm} has {n} snapshot; libvirt does not move a VM with snapshots.",
                "{vm} has {n} snapshots; libvirt does not move a VM with snapshots.",
                n=detail.snapshots,
                vm=vm.name,
            ),
            words(
                "See which are still needed: {command}.",
                command=as_code("/kvm vm snapshot list {}", vm.name),
            ),
        )
    if detail.needs_its_clock:
        yield Objection(
            "invtsc",
            words(
                "{vm} requires the CPU feature invtsc, which ties it to the clock of {host}.",
                vm=vm.name,
                host=vm.host,
            ),
            words(
                "Give its clock a fixed frequency (`<timer name='tsc' frequency='…'/>`) or drop "
                "the feature ({edit}), then {reboot}.",
                edit=as_code("virsh edit {}", virsh_name(vm)),
                reboot=as_code("/kvm vm reboot {}", vm.name),
            ),
        )
    if dropped := [disk for disk in detail.disks if disk.transient]:
        yield Objection(
            "transient-disk",
            words(
                "{vm} has transient disks ({disks}): their changes are lost when it ends, and "
                "libvirt does not move them.",
                vm=vm.name,
                disks=disk_targets(dropped),
            ),
            words(
                "Shut it down ({command}) and start it on the other host.",
                command=as_code("/kvm vm shutdown {}", vm.name),
            ),
        )


def _storage(case: MigrationCase) -> Iterator[Objection]:
    """Foresee libvirt's own rules (``qemuMigrationSrcIsSafe``).

    Asked to copy where there is no local disk, it would copy all disks.
    """
    vm = case.vm
    media, local = case.own_media, local_disks(case.source, case.detail)
    if media and not case.same_somewhere(media):
        yield local_media(vm, media)
    if local and not case.copy_storage and not case.same_somewhere(local):
        yield local_disk(case, local)
    if case.copy_storage and not local:
        yield Objection(
            "nothing-to-copy",
            words(
                "{vm} has no local disk to copy; `--copy-storage` would overwrite its shared disks "
                "with themselves.",
                vm=vm.name,
            ),
            words(
                "Leave out `--copy-storage`: {command}.",
                command=as_code("/kvm migrate {}", vm.name),
            ),
        )


def _disk_cache(case: MigrationCase) -> Iterator[Objection]:
    vm = case.vm
    unsafe = [disk for disk in case.shared_disks if _cached_on_host(disk)]
    if unsafe and not _drops_caches(case.source):
        yield Objection(
            "disk-cache",
            words(
                "{vm} has shared disks that are cached on the host: {disks}.",
                vm=vm.name,
                disks=Names(tuple(f"{disk.target} ({disk.cache or 'default'})" for disk in unsafe)),
            ),
            words(
                "Upgrade libvirt to 5.6 and QEMU to 4.0 on {host}, or set cache='none' and restart "
                "the VM. A migration could corrupt its data otherwise.",
                host=vm.host,
            ),
        )


def _cached_on_host(disk: Disk) -> bool:
    """Check that a disk is written through the host's page cache by this VM alone."""
    if is_medium(disk) or disk.shareable or disk.kind == "network":
        return False
    return disk.cache not in SAFE_CACHES


def _drops_caches(source: Host) -> bool:
    """Check that QEMU on the source drops its page cache before the switch, whatever the mode."""
    libvirt, qemu = CACHES_DROPPED
    too_old = is_older(source.libvirt_version, libvirt) or is_older(source.hypervisor_version, qemu)
    return not too_old


def local_media(vm: Vm, disks: tuple[Disk, ...]) -> Objection:
    """Refuse to move a VM with an ISO or a seed image that the target does not have."""
    return Objection(
        "local-media",
        words(
            "{vm} has media that only {host} has: {disks}.",
            vm=vm.name,
            host=vm.host,
            disks=disks_and_sources(disks),
        ),
        words(
            "Eject first: {command}.",
            command=as_code("/kvm vm eject {} {}", vm.name, disks[0].target),
        ),
    )


OTHER_WAYS = words(
    "Move them to files or pool volumes first, or shut the VM down and copy them by hand."
)


def local_disk(case: MigrationCase, disks: tuple[Disk, ...]) -> Objection:
    """Refuse to move a VM whose disks the target cannot see when nobody asked to copy them."""
    vm, there = case.vm, case.hosts_with(disks)
    listed = Names(tuple(_disk_with_size(disk) for disk in disks))
    if there:
        return Objection(
            "local-disk",
            nwords(
                "{vm} has disks that are not known to be shared: {disks}. {hosts} has a file at "
                "the same place.",
                "{vm} has disks that are not known to be shared: {disks}. {hosts} have a file at "
                "the same place.",
                n=len(there),
                vm=vm.name,
                disks=listed,
                hosts=there,
            ),
            declare_shared(disks),
        )
    return Objection(
        "local-disk",
        words(
            "{vm} has disks that only {host} has: {disks}.", vm=vm.name, host=vm.host, disks=listed
        ),
        _copy_or_declare(case, disks),
    )


def _copy_or_declare(case: MigrationCase, disks: tuple[Disk, ...]) -> Message:
    """Say what helps; no copy is advised that ``--copy-storage`` would refuse."""
    stuck = [disk for disk in disks if not can_be_copied(disk)]
    if not stuck:
        return words(
            "Copy them: {command}. {declare}",
            command=as_code("/kvm migrate {} --copy-storage", case.vm.name),
            declare=declare_shared(disks),
        )
    by_path = tuple(disk for disk in stuck if disk.source.startswith("/") or disk.kind == "network")
    return words(
        "libvirt cannot copy {disks} to another host. {advice} {declare}",
        disks=Names(tuple(disk.target for disk in stuck)),
        advice=OTHER_WAYS,
        declare=declare_shared(by_path) if by_path else "",
    )


def _disk_with_size(disk: Disk) -> Message:
    if not disk.capacity:
        return f"{disk.target} ({disk.source})"
    return words(
        "{disk} ({file}, {size})", disk=disk.target, file=disk.source, size=Size(disk.capacity)
    )


def declare_shared(disks: tuple[Disk, ...]) -> Message:
    """Say how to declare storage that hosts share and Drover takes for local."""
    where = disks[0].source.rpartition("/")[0] or disks[0].source
    # JSON's strings are TOML's
    setting = f"{'name' if disks[0].kind == 'volume' else 'path'} = {json.dumps(where)}"
    return words(
        "If the hosts share that storage, declare it in the configuration: `[[pools]]`, {setting}, "
        "`shared = true`.",
        setting=Code(setting),
    )


SOURCE_CHECKS: tuple[Callable[[MigrationCase], Iterable[Objection]], ...] = (
    _state,
    _source_answers,
    _in_one_place,
    _no_jobs,
    _devices,
    _tpm,
    _definition,
    _storage,
    _disk_cache,
)
"""Each yields what keeps a VM where it is, whatever the target."""
