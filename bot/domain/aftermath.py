"""The cluster as a plan would leave it, between its parts and at its end; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from types import MappingProxyType

from bot.domain import placement
from bot.domain.cluster import Snapshot, Vm, VmState
from bot.domain.plan import Plan
from bot.domain.steps import Demand, MigrateVm, SetMaintenance, Step

STAGES = 8  # parts of a plan that are looked at, from the first; a rolling one may have a hundred


def stages(plan: Plan, seen: Snapshot) -> tuple[Snapshot, ...]:
    """The cluster before each host returns to service, and at the end.

    Empty when the plan changes nothing of where VMs run, what they take, and which hosts serve.
    """
    if not any(_matters(step) for step in plan.steps):
        return ()
    ends = [
        index
        for index, step in enumerate(plan.steps)
        if index and isinstance(step, SetMaintenance) and not step.on
    ]
    return tuple(after(plan.steps[:end], seen) for end in (*ends[:STAGES], len(plan.steps)))


def after(steps: Sequence[Step], seen: Snapshot) -> Snapshot:
    """The cluster once these steps are done."""
    maintenance = {step.host: step.on for step in steps if isinstance(step, SetMaintenance)}
    hosts = tuple(
        replace(host, maintenance=maintenance.get(host.name, host.maintenance))
        for host in seen.hosts
    )
    moved = placement.with_moves(
        replace(seen, hosts=hosts),
        {step.uuid: step.target for step in steps if isinstance(step, MigrateVm)},
    )
    return _with_demands(moved, (demand for step in steps for demand in step.demands))


def _matters(step: Step) -> bool:
    return isinstance(step, MigrateVm | SetMaintenance) or bool(step.demands)


def _with_demands(seen: Snapshot, demands: Iterable[Demand]) -> Snapshot:
    found = {(vm.uuid, vm.host): vm for vm in seen.vms}
    for demand in demands:
        key = (demand.uuid, demand.host)
        found[key] = _change(found[key], demand) if key in found else _new(demand)
    return replace(seen, vms=tuple(found.values()))


def _new(demand: Demand) -> Vm:
    state = VmState.RUNNING if demand.starts else VmState.SHUT_OFF
    tags = MappingProxyType(dict(demand.tags))
    return Vm(demand.uuid, demand.uuid, demand.host, state, demand.vcpus, demand.memory, tags=tags)


def _change(vm: Vm, demand: Demand) -> Vm:
    state = VmState.RUNNING if demand.starts else vm.state
    vcpus, memory = demand.vcpus or vm.vcpus, demand.memory or vm.memory
    return replace(vm, state=state, vcpus=vcpus, memory=memory)
