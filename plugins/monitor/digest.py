"""Pure: a digest's values, from the cluster, the history and the operations since the last one."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from bot.domain.capacity import losses
from bot.domain.cluster import Pool, Snapshot, Vm
from bot.domain.message import Duration, nwords
from bot.domain.metrics import Bucket, Incident, Metric, SnapshotSeen, gravest_first, pool_entity
from bot.domain.operation import Operation, State, StepEnded
from bot.domain.placement import fullness
from bot.domain.plan import Prediction
from bot.domain.steps import MigrateVm
from bot.plugin_api import Memory, ReportView
from plugins.monitor import conditions
from plugins.monitor.backups import Overdue, overdue
from plugins.monitor.digest_values import Changed, Decisions, Digest, Filling, Gain, Move, Picture
from plugins.monitor.settings import MonitorSettings
from plugins.monitor.trends import trend

_READ = 1000  # operations of one period


def digest(settings: MonitorSettings, view: ReportView, period: timedelta) -> Digest:
    """The digest of the time since the last one, at most of ``period``."""
    seen, since = view.snapshot, view.since or view.now - period
    known = view.history.operations(limit=_READ)
    operations = [each for each in known if each.changed_at > since]
    use, shares = tuple(_use(view, since)), _shares(view, since)
    return Digest(
        now=view.now,
        since=view.since,
        hosts_up=sum(host.up for host in seen.hosts),
        hosts=len(seen.hosts),
        running=len({vm.uuid for vm in seen.vms if vm.state.active}),
        vms=len({vm.uuid for vm in seen.vms}),
        changed=differences(view.memory, seen),
        losses=losses(seen, settings.vcpus_per_core, settings.domain_tag),
        hot=_ranking((name, share) for name, share in shares.items() if share >= settings.hot),
        idle=_ranking((name, share) for name, share in shares.items() if share <= settings.idle),
        idle_vms=_idle(settings, use),
        oversized=_oversizes(settings, use),
        filling=tuple(_filling(settings, view)),
        snapshots=_outdated_snapshots(settings, view),
        backups=_backups(settings, view),
        moves=tuple(move for each in operations for move in _moves(each)),
        gains=tuple(_gains(known, since)),
        decisions=decisions(operations, since),
        failed=tuple(each for each in operations if each.state in (State.FAILED, State.STALE)),
        incidents=gravest_first(
            each for each in view.measured.incidents if each.open or _lately(each, since)
        ),
        notes=tuple(each for each in view.measured.changes if each.at > since),
        picture=_picture(view.memory, seen),
    )


def _shares(view: ReportView, since: datetime) -> dict[str, float]:
    """The mean share of its CPUs that each measured host used."""
    loads = _means(view, "host", since)
    return {
        host.name: loads[host.name].mean / host.cpus
        for host in view.snapshot.hosts
        if host.name in loads and host.cpus
    }


def _outdated_snapshots(settings: MonitorSettings, view: ReportView) -> tuple[SnapshotSeen, ...]:
    sweep = view.measured.sweep
    return conditions.outdated_snapshots(settings, sweep, view.now) if sweep else ()


def _backups(settings: MonitorSettings, view: ReportView) -> tuple[Overdue, ...]:
    sweep = view.measured.sweep
    return (overdue(settings.backup_days, view.snapshot, sweep, view.now) if sweep else None) or ()


def _lately(incident: Incident, since: datetime) -> bool:
    return incident.over_at is not None and incident.over_at > since


def memory_of(seen: Snapshot) -> Memory:
    """The memory that the next digest compares with."""
    return {
        "hosts": {
            host.name: [_state(seen, host.name), round(fullness(seen, host), 4)]
            for host in seen.hosts
        },
        "vms": {vm.uuid: [vm.name, vm.host, vm.state.active] for vm in _once(seen)},
    }


def _once(seen: Snapshot) -> Iterator[Vm]:
    """Each VM once: of several hosts, the one where it is active."""
    chosen: dict[str, Vm] = {}
    for vm in seen.vms:
        if vm.uuid not in chosen or vm.state.active:
            chosen[vm.uuid] = vm
    return iter(chosen.values())


def _state(seen: Snapshot, name: str) -> str:
    host = seen.host(name)
    return "maintenance" if host.up and host.maintenance else str(host.health)


def differences(memory: Memory, seen: Snapshot) -> Changed:
    """The differences since the last digest; none before the first.

    VMs of unreachable hosts do not count as gone.
    """
    before = memory.get("vms")
    if before is None:
        return Changed()
    now = {vm.uuid: vm for vm in _once(seen)}
    both = [(before[uuid], vm) for uuid, vm in now.items() if uuid in before]
    return Changed(
        made=tuple(sorted(vm.name for uuid, vm in now.items() if uuid not in before)),
        gone=tuple(sorted(old[0] for uuid, old in before.items() if uuid not in now)),
        moved=tuple(sorted((vm.name, old[1], vm.host) for old, vm in both if old[1] != vm.host)),
        started=tuple(sorted(vm.name for old, vm in both if vm.state.active and not old[2])),
        stopped=tuple(sorted(vm.name for old, vm in both if old[2] and not vm.state.active)),
        hosts=_changed_hosts(memory, seen),
    )


def _changed_hosts(memory: Memory, seen: Snapshot) -> tuple[tuple[str, str, str], ...]:
    """The hosts whose state is another one now: name, state then, state now."""
    was = {name: stored[0] for name, stored in memory.get("hosts", {}).items()}
    states = {host.name: _state(seen, host.name) for host in seen.hosts}
    return tuple(
        (name, was[name], state) for name, state in states.items() if was.get(name, state) != state
    )


def _picture(memory: Memory, seen: Snapshot) -> tuple[Picture, ...]:
    was = memory.get("hosts", {})
    return tuple(
        Picture(host.name, was[host.name][1] if host.name in was else None, fullness(seen, host))
        for host in sorted(seen.hosts, key=lambda host: host.name)
        if host.up
    )


def _ranking(pairs: Iterator[tuple[str, float]]) -> tuple[tuple[str, float], ...]:
    return tuple(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))


def _means(view: ReportView, kind: str, since: datetime) -> Mapping[str, Bucket]:
    """A bucket of CPU for each entity of a kind, by its name without the kind."""
    if view.measured.past is None:
        return {}
    found = view.measured.past.summary(kind, Metric.CPU, since, view.now)
    return {entity.partition(":")[2]: bucket for entity, bucket in found.items()}


def _use(view: ReportView, since: datetime) -> Iterator[tuple[Vm, float]]:
    """Running VMs with the 95th percentile of their cores.

    Only those that were measured for at least half of the time.
    """
    loads = _means(view, "vm", since)
    minutes = (view.now - since).total_seconds() / 60
    for vm in _once(view.snapshot):
        bucket = loads.get(vm.uuid)
        if vm.state.active and bucket is not None and bucket.count >= minutes / 2:
            yield vm, bucket.p95


def _idle(settings: MonitorSettings, use: Iterable[tuple[Vm, float]]) -> tuple[str, ...]:
    return tuple(sorted(vm.name for vm, cores in use if cores < settings.idle_vm * vm.vcpus))


def _oversizes(
    settings: MonitorSettings, use: Iterable[tuple[Vm, float]]
) -> tuple[tuple[str, int, float], ...]:
    found = [
        (vm.name, vm.vcpus, cores)
        for vm, cores in use
        if vm.vcpus > 1 and settings.idle_vm * vm.vcpus <= cores < settings.oversized * vm.vcpus
    ]
    return tuple(sorted(found, key=lambda one: (one[2] / one[1], one[0])))


def _filling(settings: MonitorSettings, view: ReportView) -> Iterator[Filling]:
    """Pools that are full, or will be within a month at their trend."""
    for where, pool in conditions.pools(view.snapshot):
        found = pool_trend(view, where, pool)
        full = pool.capacity - pool.free >= settings.pool_full * pool.capacity
        if full or (found is not None and found.days is not None and found.days < 30):
            yield found or Filling(where, pool, None)


def pool_trend(view: ReportView, where: str, pool: Pool) -> Filling | None:
    """When a pool will be full, from a month of history; None when there is too little of it."""
    if view.measured.past is None:
        return None
    host = where if where != "shared" else first_with(view.snapshot, pool.name)
    entity = pool_entity(host, pool.name)
    past = view.measured.past.history(
        [entity], Metric.SPACE, view.now - timedelta(days=30), view.now
    )
    buckets = past.get(entity, ())
    days = [(bucket.at - view.now).total_seconds() / 86400 for bucket in buckets]
    line = trend(days, [bucket.mean for bucket in buckets], float(pool.capacity))
    return None if line is None else Filling(where, pool, line.days, line.earliest, line.latest)


def first_with(seen: Snapshot, pool: str) -> str:
    """The first host that has a pool; its history is kept under that name."""
    return next(
        (host.name for host in seen.hosts if any(each.name == pool for each in host.pools)), ""
    )


def _moves(operation: Operation) -> Iterator[Move]:
    if operation.state is not State.DONE:
        return
    together = _moves_together(operation)
    if together is not None:
        yield together
        return
    for ended in operation.ended:
        step = operation.plan.steps[ended.index]
        if isinstance(step, MigrateVm):
            only = len(operation.plan.steps) == 1
            told = operation.plan.prediction if only else Prediction()
            took, paused = _took(ended), _pause_of(ended)
            yield Move(
                operation.id,
                step.name,
                step.source,
                step.target,
                told.seconds,
                took,
                told.downtime,
                paused,
                (
                    _within(took, told.least, told.most),
                    _within(paused, told.shortest, told.longest),
                ),
            )


def _moves_together(operation: Operation) -> Move | None:
    """The migrations of a plan of several; None where not all were done, or none were predicted."""
    told, plan = operation.plan.prediction, operation.plan
    wanted = [step for step in plan.steps if isinstance(step, MigrateVm)]
    ended = [each for each in operation.ended if isinstance(plan.steps[each.index], MigrateVm)]
    times = [took for each in ended if (took := _took(each)) is not None]
    if len(wanted) < 2 or len(times) < len(wanted) or told.seconds is None:
        return None
    took = sum(times)
    return Move(
        operation.id,
        nwords("{n} VM", "{n} VMs", n=len({step.uuid for step in wanted})),
        ", ".join(sorted({step.source for step in wanted})),
        ", ".join(sorted({step.target for step in wanted})),
        told.seconds,
        took,
        held=(_within(took, told.least, told.most), None),
    )


def _within(actual: float | None, low: float | None, high: float | None) -> bool | None:
    """Whether a range held; None when there was none, or nothing was measured."""
    return None if actual is None or low is None or high is None else low <= actual <= high


def _pause_of(ended: StepEnded) -> float | None:
    pause = ended.facts.get("pause")
    return pause.seconds if isinstance(pause, Duration) else None


def _took(ended: StepEnded) -> float | None:
    """Seconds that a migration took; version 0.1 kept them as a number under another name."""
    took = ended.facts.get("took", ended.facts.get("seconds"))
    if isinstance(took, Duration):
        return took.seconds
    return float(took) if isinstance(took, int | float) else None


def _gains(operations: Sequence[Operation], since: datetime) -> Iterator[Gain]:
    """The imbalance that plans predicted when they began, and the one measured after they ended.

    A plan that ended just before a digest is in it, and again in the next one, with what was
    measured by then.
    """
    for operation in operations:
        before, foretold = operation.before, operation.foretold
        new = max(operation.changed_at, operation.measured_at or operation.changed_at) > since
        if new and operation.state is State.DONE and before is not None and foretold is not None:
            yield Gain(operation.id, before, foretold, operation.measured)


def decisions(operations: list[Operation], since: datetime) -> Decisions:
    """Requests and decisions since then; ``operations`` are those that changed since then.

    The time to decide is from the proposal to the last vote or the denial.
    """
    approved = [
        each
        for each in operations
        if each.votes and not each.votes_missing and each.votes[-1].at > since
    ]
    denied = [each for each in operations if each.state is State.DENIED]
    decided = [(each, each.votes[-1].at) for each in approved] + [
        (each, each.changed_at) for each in denied
    ]
    waits = [(at - each.proposed_at).total_seconds() for each, at in decided]
    return Decisions(
        sum(each.proposed_at > since for each in operations),
        len(approved),
        len(denied),
        sum(each.state is State.EXPIRED for each in operations),
        statistics.median(waits) if waits else None,
    )
