"""How VMs leave a host without a plain live migration: disks copied, or shut down; pure."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from bot.domain import only_live
from bot.domain.cluster import Disk, Host, Pool, Snapshot, Vm, VmState
from bot.domain.message import Code, Size, words
from bot.domain.plan import Objection, Reason
from bot.domain.steps import MigrateVm
from bot.domain.storage import copied_disks
from bot.domain.vm_steps import PowerVerb, PowerVm
from bot.domain.words import command
from plugins.balance.intents import Ways

STUCK = "stuck:"  # begins the code of an objection about a VM that stays; its name follows


def with_copies(ways: Ways, snapshot: Snapshot, hosts: Collection[str]) -> Snapshot:
    """The cluster in which the disks of these hosts' VMs are copied, where that is asked for."""
    copied = frozenset(
        vm.uuid
        for vm in snapshot.vms
        if vm.host in hosts and vm.state.active and ways.copies(vm.name) and _disks(snapshot, vm)
    )
    return replace(snapshot, copying=copied)


def _disks(snapshot: Snapshot, vm: Vm) -> tuple[Disk, ...]:
    host = snapshot.host(vm.host)
    return copied_disks(host, vm.detail) if vm.detail is not None else ()


def unknown_names(ways: Ways, snapshot: Snapshot, hosts: Collection[str]) -> Iterator[Objection]:
    """Objections to names of VMs that run on none of the hosts."""
    there = {vm.name for vm in snapshot.vms if vm.host in hosts and vm.state.active}
    for name in dict.fromkeys((*ways.copy_vms, *ways.off_vms)):
        if name not in there:
            yield Objection(
                "not-there",
                words("{vm} does not run on {hosts}.", vm=name, hosts=sorted(hosts)),
                words("{command} lists what runs where.", command=Code("/kvm vms")),
            )


def shut_down(
    ways: Ways, snapshot: Snapshot, host: str, stuck: Iterable[Objection]
) -> tuple[tuple[PowerVm, ...], tuple[Objection, ...]]:
    """Shutdowns of the VMs that would stay and may end, and what is said of the others."""
    there = {vm.name: vm for vm in snapshot.on(host) if vm.state.active}
    off: list[PowerVm] = []
    stay: list[Objection] = []
    for each in stuck:
        vm = there.get(each.code.removeprefix(STUCK))
        if vm is not None and ways.ends(vm.name) and can_end(vm, snapshot):
            off.append(PowerVm(vm.uuid, vm.name, host, PowerVerb.SHUTDOWN))
        else:
            stay.append(each)
    return tuple(off), tuple(stay)


def can_end(vm: Vm, snapshot: Snapshot) -> bool:
    """Whether it can react to a shutdown, keeps its definition, and is not on its way elsewhere."""
    moving = any(each.vm_uuid == vm.uuid for each in snapshot.inbound)
    return vm.state is VmState.RUNNING and vm.persistent and not vm.problem and not moving


def with_other_ways(ways: Ways, snapshot: Snapshot, hosts: Collection[str]) -> frozenset[str]:
    """UUIDs of the VMs on some hosts whose disks might be copied, or that might be shut down.

    How large the disks are, and what a VM has only while it runs, shows only a look in depth.
    """
    return frozenset(
        vm.uuid
        for vm in snapshot.vms
        if vm.host in hosts and vm.state.active and (ways.copies(vm.name) or ways.ends(vm.name))
    )


def jobs_over(snapshot: Snapshot) -> Snapshot:
    """The cluster without the jobs of VMs: they may be over when it is a VM's turn.

    Each VM is looked at again then.
    """
    return replace(snapshot, vms=tuple(map(_without_jobs, snapshot.vms)))


def _without_jobs(vm: Vm) -> Vm:
    detail = vm.detail
    if detail is None or not (detail.job or any(disk.busy for disk in detail.disks)):
        return vm
    disks = tuple(replace(disk, busy="") for disk in detail.disks)
    calm = replace(detail, job="", local_job=False, silent=False, disks=disks)
    return replace(vm, detail=calm)


def disk_bytes(vm: Vm, snapshot: Snapshot) -> int | None:
    """Bytes of a VM's disks that only its host has; None where one's size is not known."""
    disks = tuple(_disks(snapshot, vm))
    return None if any(disk.capacity is None for disk in disks) else _size(disks)


def copied_bytes(moves: Iterable[MigrateVm], snapshot: Snapshot) -> int:
    """Bytes of disks that moves copy."""
    found = (snapshot.copy_on(move.uuid, move.source) for move in moves if move.copy_storage)
    return sum(_size(_disks(snapshot, vm)) for vm in found if vm is not None)


def _size(disks: Iterable[Disk]) -> int:
    return sum(disk.capacity or 0 for disk in disks)


def full_pools(moves: Sequence[MigrateVm], snapshot: Snapshot) -> Iterator[Objection]:
    """Objections to pools that cannot hold all the copies together, however each fits alone."""
    for (host, pool), size in _needed_space(moves, snapshot).items():
        if pool.capacity and size > pool.free:
            yield Objection(
                "pool-full",
                words(
                    "Pool {pool} on {host} has {free} free; the copies need {needed}.",
                    pool=pool.name,
                    host=host,
                    free=Size(pool.free),
                    needed=Size(size),
                ),
                words("Free space there, or shut some VMs down: `--shutdown-vm VM`."),
            )


def _needed_space(moves: Sequence[MigrateVm], snapshot: Snapshot) -> Mapping[tuple[str, Pool], int]:
    """The bytes that copies of disks take, by host and pool."""
    needed: dict[tuple[str, Pool], int] = {}
    for move in moves:
        vm = snapshot.copy_on(move.uuid, move.source)
        if vm is None or not move.copy_storage:
            continue
        for disk in _disks(snapshot, vm):
            pool = _pool_for(disk, snapshot.host(move.target))
            if pool is not None:
                key = (move.target, pool)
                needed[key] = needed.get(key, 0) + (disk.capacity or 0)
    return needed


def _pool_for(disk: Disk, host: Host) -> Pool | None:
    """Where libvirt makes the copy: in the pool of that name, or of that folder."""
    by_name = disk.kind == "volume"
    place = disk.source.split("/", 1)[0] if by_name else posixpath.dirname(disk.source)
    found = (
        each
        for each in host.pools
        if each.active and (each.name if by_name else each.path.rstrip("/")) == place
    )
    return next(found, None)


def notes(
    moves: Iterable[MigrateVm], off: Iterable[PowerVm], snapshot: Snapshot
) -> Iterator[Reason]:
    """What approvers should know of copies and shutdowns."""
    for move in moves:
        if move.copy_storage:
            vm = snapshot.copy_on(move.uuid, move.source)  # None: it arrives there before
            size = disk_bytes(vm, snapshot) if vm else None
            yield Reason(
                "copied",
                words(
                    "The disks of {vm} ({size}) are copied to {target}. The old files stay on "
                    "{source}; delete them there when the copies have proved good.",
                    vm=move.name,
                    size=words("size unknown") if size is None else Size(size),
                    target=move.target,
                    source=move.source,
                ),
            )
    for step in off:
        yield Reason(
            "shut-down",
            words(
                "{vm} is shut down on {host}: it stops serving until it is started again. "
                "{command} starts it.",
                vm=step.name,
                host=step.host,
                command=Code(command("/kvm host undrain {}", step.host)),
            ),
        )
        if ended := snapshot.copy_on(step.uuid, step.host):
            yield from only_live.warnings(ended)
            yield from only_live.aborted_jobs(ended)


def starts(uuids: Iterable[str], snapshot: Snapshot, host: str) -> tuple[PowerVm, ...]:
    """Starts of the VMs that were shut down on a host and are still off there."""
    there = {vm.uuid: vm for vm in snapshot.on(host) if vm.state is VmState.SHUT_OFF}
    return tuple(
        PowerVm(uuid, there[uuid].name, host, PowerVerb.START) for uuid in uuids if uuid in there
    )
