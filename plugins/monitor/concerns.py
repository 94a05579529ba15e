"""Pure: what may be wrong in a cluster, each as one value with its limits, and the alerts that come of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from bot.alert_rules import WEIGHED, Concern, Limits, looked, weighed
from bot.domain.cluster import Pool, Snapshot
from bot.domain.metrics import HostSample, SnapshotSeen, Sweep, VmSample
from bot.domain.storage import local_disks, pool_of
from bot.domain.words import command
from bot.plugin_api import Looked, Remedy, WatchView
from plugins.monitor import cards
from plugins.monitor.backups import overdue
from plugins.monitor.rates import memory_share, waiting
from plugins.monitor.settings import MonitorSettings

# What only an event tells is over when an hour has passed without another
_ECHO = Limits(calm=3600.0)
_FELT = 0.05  # cores that a VM waits for; less is no reason to move it
_LEAST_SUSPECT = 2  # hosts that vanish together before the bot's own network is suspected


def look(settings: MonitorSettings, view: WatchView) -> Looked:
    """The alerts of this look. Concerns of a silent host's guests are kept until it answers."""
    sweep = view.measured.sweep
    if sweep is None:
        return Looked(memory=view.memory)
    found = concerns(settings, view.snapshot, sweep, view.now)
    return looked(found, view, blind=any(host.silent for host in sweep.hosts))


def concerns(
    settings: MonitorSettings, seen: Snapshot, sweep: Sweep, now: datetime
) -> Iterator[Concern]:
    """Everything that may be wrong, whether it is or not."""
    yield from _hosts(seen, sweep)
    yield from _guests(sweep)
    yield from _events(sweep)
    yield from _pools(settings, seen)
    for host in sweep.hosts:
        yield _memory(settings, seen, host, sweep)
        yield _contention(settings, seen, host, sweep)
    yield _snapshots(settings, sweep, now)
    yield _backups(settings, seen, sweep, now)


def _hosts(seen: Snapshot, sweep: Sweep) -> Iterator[Concern]:
    """Hosts that do not answer. Half of them at once: it is more likely us."""
    resting = {host.name for host in seen.hosts if host.maintenance}
    watched = [host for host in sweep.hosts if host.name not in resting]
    silent = [host for host in watched if host.silent]
    suspect = len(silent) >= _LEAST_SUSPECT and 2 * len(silent) >= len(watched)
    yield Concern(
        "network",
        float(suspect),
        cards.network_suspect(silent, len(watched)),
        cards.network_well(watched),
    )
    for host in watched:
        value = None if suspect and host.silent else float(host.silent)
        guests = len([vm for vm in seen.on(host.name) if vm.state.active])
        remedies = (Remedy(cards.LOOK_AT_HOST, command("show host {}", host.name)),)
        yield Concern(
            f"host:{host.name}",
            value,
            cards.host_down(host, guests),
            cards.host_back(host),
            remedies=remedies,
        )


def _guests(sweep: Sweep) -> Iterator[Concern]:
    for vm in sweep.vms:
        crashed = vm.state == "crashed" or (
            vm.state == "shut off" and vm.why in {"crashed", "failed"}
        )
        if crashed or vm.state == "running":
            remedy = (Remedy(cards.START, command("vm start {}", vm.name)),)
            yield Concern(
                f"crash:{vm.uuid}",
                float(crashed),
                cards.crashed(vm),
                cards.runs_again(vm),
                remedies=remedy,
            )
        dead = vm.why == "postcopy failed"
        yield Concern(f"postcopy:{vm.uuid}", float(dead), cards.lost_memory(vm), cards.runs_again(vm), remedies=(
            Remedy(cards.WHERE, command("where {}", vm.name)), Remedy(cards.REBOOT, command("vm reboot {}", vm.name)),
        ))  # fmt: skip
        failed = vm.state == "paused" and vm.why == "ioerror"
        yield Concern(f"io:{vm.uuid}", float(failed), cards.io_error(vm), cards.runs_again(vm), remedies=(
            Remedy(cards.RESUME, command("vm resume {}", vm.name)),
            Remedy(cards.ITS_HOST, command("show host {}", vm.host)),
        ))  # fmt: skip


def _events(sweep: Sweep) -> Iterator[Concern]:
    """What leaves no trace in a state: watchdogs, and disks that pass a threshold."""
    told = {
        (event.kind, event.uuid): event
        for event in sweep.events
        if event.kind in {"watchdog", "threshold"}
    }
    for vm in sweep.vms:
        for kind in ("watchdog", "threshold"):
            event = told.get((kind, vm.uuid))
            key, wrong, well = (
                f"{kind}:{vm.uuid}",
                cards.event(vm, kind, event),
                cards.quiet(vm, kind),
            )
            remedies = (
                (Remedy(cards.REBOOT, command("vm reboot {}", vm.name)),)
                if kind == "watchdog"
                else ()
            )
            yield Concern(key, float(event is not None), wrong, well, _ECHO, remedies)


def _pools(settings: MonitorSettings, seen: Snapshot) -> Iterator[Concern]:
    limits = Limits(settings.pool_full, settings.pool_clear)
    for where, pool in pools(seen):
        share = (pool.capacity - pool.free) / pool.capacity
        remedy = (
            *_move_away(seen, where, _in_pool(seen, where, pool)),
            Remedy(cards.GREW, command("forecast pool {}", pool.name)),
        )
        wrong, well = cards.pool_full(where, pool), cards.pool_well(where, pool)
        yield Concern(f"pool:{where}/{pool.name}", share, wrong, well, limits, remedy)


def _in_pool(seen: Snapshot, host: str, pool: Pool) -> list[str]:
    """Running guests with a disk in a host's own pool, whose disks would move with them; the largest disk first."""
    found = {
        vm.name: disk.capacity or 0
        for vm in seen.on(host) if vm.state.active and vm.detail
        for disk in vm.detail.disks if pool_of(seen.host(host), disk) == pool
    }  # fmt: skip
    return sorted(found, key=lambda name: (-found[name], name))


def pools(seen: Snapshot) -> Iterator[tuple[str, Pool]]:
    """Active pools with where they are: their host, or ``shared`` once for those that several hosts share."""
    told: set[str] = set()
    for host in seen.hosts:
        for pool in host.pools if host.up else ():
            if not pool.active or not pool.capacity or (pool.shared and pool.name in told):
                continue
            told |= {pool.name} if pool.shared else set()
            yield ("shared" if pool.shared else host.name), pool


def _memory(settings: MonitorSettings, seen: Snapshot, host: HostSample, sweep: Sweep) -> Concern:
    limits = Limits(*WEIGHED, settings.memory_hold)
    value = None if host.silent else weighed(
        (memory_share(host), settings.memory_high, settings.memory_clear),
        (host.pressure.memory if host.pressure else None, settings.memory_stall, settings.memory_stall_clear),
    )  # fmt: skip
    return Concern(
        f"memory:{host.name}", value, cards.memory_pressure(host), cards.memory_well(host), limits,
        _move_away(seen, host.name, [vm.name for vm in _by_memory(sweep, host.name)]),
    )  # fmt: skip


def _contention(
    settings: MonitorSettings, seen: Snapshot, host: HostSample, sweep: Sweep
) -> Concern:
    limits = Limits(*WEIGHED, settings.contention_hold)
    cores = waiting(sweep, host.name)
    value = None if host.silent else weighed(
        (cores / host.cpus if host.cpus else None, settings.contention_high, settings.contention_clear),
        (host.pressure.cpu if host.pressure else None, settings.cpu_stall, settings.cpu_stall_clear),
    )  # fmt: skip
    worst = [vm for vm in _by_wait(sweep, host.name) if vm.wait and vm.wait >= _FELT]
    return Concern(
        f"contention:{host.name}", value,
        cards.contention(host, cores, worst) if worst else cards.cpu_pressure(host), cards.contention_over(host),
        limits, _move_away(seen, host.name, [vm.name for vm in worst]),
    )  # fmt: skip


def _by_memory(sweep: Sweep, host: str) -> list[VmSample]:
    some = [vm for vm in sweep.vms if vm.host == host and vm.state == "running"]
    return sorted(some, key=lambda vm: (-(vm.memory or 0), vm.name))


def _by_wait(sweep: Sweep, host: str) -> list[VmSample]:
    some = [vm for vm in sweep.vms if vm.host == host and vm.state == "running"]
    return sorted(some, key=lambda vm: (-(vm.wait or 0.0), vm.name))


def _move_away(seen: Snapshot, host: str, names: Sequence[str]) -> tuple[Remedy, ...]:
    """The first one's move, with the disks that only its host has."""
    if not names:
        return ()
    vm = next((vm for vm in seen.on(host) if vm.name == names[0]), None)
    copy = " --copy-storage" if vm and vm.detail and local_disks(seen.host(host), vm.detail) else ""
    return (Remedy(cards.move_away(names[0]), command(f"migrate {{}}{copy}", names[0])),)


def _snapshots(settings: MonitorSettings, sweep: Sweep, now: datetime) -> Concern:
    old = old_snapshots(settings, sweep, now)
    oldest = old[0] if old else None
    remedies = (
        Remedy(cards.delete_snapshot(oldest), command("vm snapshot delete {} {}", oldest.vm, oldest.name)),
    ) if oldest else ()  # fmt: skip
    limits = Limits(hold=settings.snapshot_hold)
    return Concern(
        "snapshots", float(len(old)), cards.old_snapshots(old, now), cards.no_old_snapshots(), limits, remedies
    )  # fmt: skip


def _backups(settings: MonitorSettings, seen: Snapshot, sweep: Sweep, now: datetime) -> Concern:
    late = overdue(settings.backup_days, seen, sweep, now)
    value, limits = None if late is None else float(len(late)), Limits(hold=settings.backup_hold)
    return Concern(
        "backups", value, cards.old_backups(late or (), now), cards.no_old_backups(), limits
    )


def old_snapshots(
    settings: MonitorSettings, sweep: Sweep, now: datetime
) -> tuple[SnapshotSeen, ...]:
    """Snapshots older than they should get, oldest first."""
    limit = timedelta(days=settings.snapshot_days)
    return tuple(
        sorted(
            (one for one in sweep.snapshots if now - one.made_at > limit),
            key=lambda one: one.made_at,
        )
    )
