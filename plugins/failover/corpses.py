"""Pure: what is left on other hosts of VMs whose memory can never arrive there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from bot.domain.cluster import POSTCOPY, POSTCOPY_FAILED, Snapshot, Vm
from bot.domain.definition import Definition
from plugins.failover.candidates import lost_vms


def corpses(snapshot: Snapshot, lost: str, kept: Iterable[Definition]) -> tuple[Vm, ...]:
    """What is left of migrations in post-copy that broke, or break with the host ``lost``.

    What still reads as running there waits for memory that only its source has; what reads as
    paused has memory that only its target can use. It is the rest of a VM of ``lost`` when its own
    host answers: of one that does not, nobody knows whether the migration had ended.
    """
    halves = snapshot.table(_halves)
    if not halves:
        return ()  # as nearly always, and what-ifs ask for every host
    mine = {vm.uuid for vm in lost_vms(snapshot, lost, kept) if vm.state.active}
    return tuple(
        vm
        for vm in halves
        if vm.paused_by == POSTCOPY_FAILED
        or (vm.uuid in mine and vm.host != lost and snapshot.host(vm.host).up)
    )


def _halves(snapshot: Snapshot) -> tuple[Vm, ...]:
    return tuple(vm for vm in snapshot.vms if vm.paused_by in POSTCOPY)


def without_corpses(snapshot: Snapshot, lost: str, kept: Iterable[Definition]) -> Snapshot:
    """The cluster as it is for the VMs of the host ``lost``.

    No rest of one stands for the whole.
    """
    dead = {(vm.host, vm.uuid) for vm in corpses(snapshot, lost, kept)}
    if not dead:
        return snapshot  # as it is, it keeps the tables that others made of it
    return replace(snapshot, vms=tuple(vm for vm in snapshot.vms if (vm.host, vm.uuid) not in dead))
