"""Pure: what may be wrong in a cluster, each with its limits and its sentences, as alerts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.alert_rules import AT_ONCE, WORST_LIMITS, Condition, Limits, evaluate, worst
from bot.domain.card import Card, Line, Section, Words, join, nwords, said_elsewhere, words
from bot.domain.cluster import OS_CRASHED, POSTCOPY_FAILED, Pool, Snapshot
from bot.domain.message import Code, Message, Number, Percent, Size
from bot.domain.metrics import AlertSeverity, Happening, HostSample, SnapshotSeen, Sweep, VmSample
from bot.domain.state_names import state_word
from bot.domain.storage import local_disks, pool_of
from bot.domain.words import command
from bot.plugin_api import Looked, Remedy, WatchView
from plugins.monitor.backups import backup_line, overdue
from plugins.monitor.cards import names, percent, use_of
from plugins.monitor.rates import cpu_share, memory_share, waiting
from plugins.monitor.settings import MonitorSettings

# What only an event tells is resolved when an hour has passed without another
_ECHO = Limits(calm=3600.0)
_FELT = 0.05  # cores that a VM waits for; less is no reason to move it
_LEAST_SUSPECT = 2  # hosts that vanish together before the bot's own network is suspected
_WORST_SHOWN = 4  # VMs that wait most, named in an alert


def watch(settings: MonitorSettings, view: WatchView) -> Looked:
    """The alerts of this look. Those about VMs of an unreachable host stay until it answers."""
    sweep = view.measured.sweep
    if sweep is None:
        return Looked(memory=view.memory)
    known = {*view.memory, *(each.key for each in view.measured.incidents if each.open)}
    found = conditions(settings, view.snapshot, sweep, view.now, known)
    return evaluate(found, view, blind=any(host.silent for host in sweep.hosts))


def conditions(
    settings: MonitorSettings,
    seen: Snapshot,
    sweep: Sweep,
    now: datetime,
    known: Collection[str] | None = None,
) -> Iterator[Condition]:
    """Everything that may be wrong, whether it is or not.

    ``known``: keys that are, or were a moment ago. What is not among them, and not wrong now, is
    left out where there is one for each VM, host or pool: there are thousands of them. None:
    nothing is left out.
    """
    yield from _hosts(seen, sweep, known)
    noted = {key.partition(":")[2] for key in known or ()} | {each.uuid for each in sweep.events}
    vms = [vm for vm in sweep.vms if known is None or vm.uuid in noted or not _is_sound(vm)]
    for vm in vms:
        yield from _crash(vm)
        yield _failed_postcopy(vm)
        yield _io_error(vm)
    yield from _events(sweep, vms)
    yield from _pools(settings, seen, known)
    running = _running(sweep)
    memory = {host.name: _memory_level(settings, host) for host in sweep.hosts}
    cpu = {
        host.name: _cpu_level(settings, host, running.get(host.name, ())) for host in sweep.hosts
    }
    spare_memory, spare_cpu = _calm(seen, memory), _calm(seen, cpu)
    for host in sweep.hosts:
        mine = running.get(host.name, ())
        pressed = Pressed(memory[host.name], settings.memory_hold, spare_memory)
        yield from _memory(seen, host, mine, pressed, known)
        pressed = Pressed(cpu[host.name], settings.contention_hold, spare_cpu)
        yield from _contention(seen, host, mine, pressed, known)
    yield _snapshots(settings, sweep, now)
    yield _backups(settings, seen, sweep, now)


def _is_calm(key: str, value: float | None, limits: Limits, known: Collection[str] | None) -> bool:
    """Whether a look tells nothing of it: it is not wrong, and was not a moment ago."""
    return known is not None and key not in known and (value is None or value < limits.limit)


def _is_sound(vm: VmSample) -> bool:
    """Whether a VM's state alone says that nothing is wrong."""
    return vm.state in {"running", "shut off"} and not vm.why


def _card(title: Words, text: Line, *lines: Line) -> Card:
    return Card(
        text=Words("{title}: {text}", {"title": title, "text": text}),
        title=title,
        elements=tuple(Section(line) for line in (text, *lines)),
    )


def _look_at_host(host: str) -> Remedy:
    return Remedy(words("Show host"), command("show host {}", host))


def _hosts(seen: Snapshot, sweep: Sweep, known: Collection[str] | None) -> Iterator[Condition]:
    """Hosts that do not answer. Half of them at once: it is more likely the bot's own network."""
    resting = {host.name for host in seen.hosts if host.maintenance}
    watched = [host for host in sweep.hosts if host.name not in resting]
    silent = [host for host in watched if host.silent]
    suspect = len(silent) >= _LEAST_SUSPECT and 2 * len(silent) >= len(watched)
    yield _own_network(watched, silent, suspect=suspect)
    for host in watched:
        value = None if suspect and host.silent else float(host.silent)
        if not _is_calm(f"host:{host.name}", value, AT_ONCE, known):
            active = [vm for vm in seen.on(host.name) if vm.state.active]
            yield _unreachable(host, value, len(active))


def _own_network(
    watched: Sequence[HostSample], silent: Sequence[HostSample], *, suspect: bool
) -> Condition:
    title = words("The bot's own network may be down")
    wrong = _card(
        title,
        nwords(
            "{count} of {n} host stopped answering at the same time: {hosts}.",
            "{count} of {n} hosts stopped answering at the same time: {hosts}.",
            n=len(watched),
            count=len(silent),
            hosts=names(host.name for host in silent),
        ),
        words(
            "The bot's own network is a more likely cause than all these hosts. Their VMs may "
            "still be running. Check the bot's machine and its way to the hosts first."
        ),
    )
    answer = nwords(
        "{n} host is watched; most answer again.",
        "{n} hosts are watched; most answer again.",
        n=len(watched),
    )
    well = _card(title, answer)
    return Condition("network", float(suspect), wrong, well, severity=AlertSeverity.CRITICAL)


def _unreachable(host: HostSample, value: float | None, vms: int) -> Condition:
    title = words("{host} does not answer", host=host.name)
    last = (
        words("Last answer: {at}.", at=host.seen_at)
        if host.seen_at
        else words("It has not answered since the bot started.")
    )
    wrong = _card(
        title,
        words("Reason: {problem}.", problem=host.problem or words("no answer")),
        last,
        nwords(
            "{n} VM was last seen there. Unreachable is not dead: it may still be running. "
            "Do not start it elsewhere.",
            "{n} VMs were last seen there. Unreachable is not dead: they may still be running. "
            "Do not start them elsewhere.",
            n=vms,
        )
        if vms
        else words("No VM was running there when it last answered."),
    )
    well = _card(title, words("{host} answers again.", host=host.name))
    remedies = (_look_at_host(host.name),)
    return Condition(
        f"host:{host.name}", value, wrong, well, remedies=remedies, severity=AlertSeverity.CRITICAL
    )


def _state_card(vm: VmSample) -> Card:
    """The VM is well again: the state that it is in."""
    state = words("{vm} is {state} on {host}.", vm=vm.name, state=_state(vm), host=vm.host)
    return _card(Words("{vm}", {"vm": vm.name}), state)


def _state(vm: VmSample) -> Message:
    return state_word(vm.state)


def _crash(vm: VmSample) -> Iterator[Condition]:
    kept = vm.state == "paused" and vm.why == OS_CRASHED
    crashed = kept or vm.state == "crashed"
    crashed = crashed or (vm.state == "shut off" and vm.why in {"crashed", "failed"})
    if not crashed and vm.state != "running":
        return  # a person stopped it, or nobody knows: that is neither wrong nor well
    start = Remedy(words("Start VM"), command("vm start {}", vm.name))
    reboot = Remedy(words("Reboot VM"), command("vm reboot {}", vm.name))
    yield Condition(
        f"crash:{vm.uuid}",
        float(crashed),
        _crash_kept(vm) if kept else _crash_off(vm),
        _state_card(vm),
        remedies=(reboot if kept else start,),
        severity=AlertSeverity.CRITICAL,
    )


def _crash_kept(vm: VmSample) -> Card:
    """Its definition asks to keep it as it is (``on_crash``)."""
    return _card(
        words("{vm} crashed", vm=vm.name),
        words(
            "The operating system of {vm} on {host} crashed. QEMU keeps it stopped, with its "
            "memory and disks.",
            vm=vm.name,
            host=vm.host,
        ),
        words("Look at it. A reboot forces it off and starts it again."),
    )


def _crash_off(vm: VmSample) -> Card:
    return _card(
        words("{vm} crashed", vm=vm.name),
        words(
            "The QEMU process of {vm} on {host} ended by itself ({why}).",
            vm=vm.name,
            host=vm.host,
            why=said_elsewhere(vm.why or vm.state),
        ),
        words(
            "See its log on {host}: {file}. It stays off until someone starts it.",
            host=vm.host,
            file=Code(f"/var/log/libvirt/qemu/{vm.name}.log"),
        ),
    )


def _failed_postcopy(vm: VmSample) -> Condition:
    """A post-copy migration broke off; libvirt may still call the VM running."""
    wrong = _card(
        words("{vm} has only part of its memory", vm=vm.name),
        words(
            "The post-copy migration of {vm} failed. {host} reports it as {state}, "
            "but it does not run.",
            vm=vm.name,
            host=vm.host,
            state=_state(vm),
        ),
        words(
            "If the other host still has its part of the memory, resume the migration there. "
            "If not, reboot the VM: it is powered off at once and starts again, with its disks "
            "as after a power failure."
        ),
    )
    remedies = (
        Remedy(words("Where is it?"), command("where {}", vm.name)),
        Remedy(words("Reboot VM"), command("vm reboot {}", vm.name)),
    )
    failed = float(vm.why == POSTCOPY_FAILED)
    return Condition(
        f"postcopy:{vm.uuid}",
        failed,
        wrong,
        _state_card(vm),
        remedies=remedies,
        severity=AlertSeverity.CRITICAL,
    )


def _io_error(vm: VmSample) -> Condition:
    wrong = _card(
        words("{vm} is paused: its storage failed", vm=vm.name),
        words("QEMU paused {vm} on {host} after an I/O error.", vm=vm.name, host=vm.host),
        words("Fix the storage first (a full pool, a lost share), then resume the VM."),
    )
    remedies = (
        Remedy(words("Resume VM"), command("vm resume {}", vm.name)),
        _look_at_host(vm.host),
    )
    failed = float(vm.state == "paused" and vm.why == "ioerror")
    return Condition(
        f"io:{vm.uuid}",
        failed,
        wrong,
        _state_card(vm),
        remedies=remedies,
        severity=AlertSeverity.CRITICAL,
    )


def _events(sweep: Sweep, vms: Iterable[VmSample]) -> Iterator[Condition]:
    """What leaves no trace in a state: watchdogs, and disks that pass a threshold."""
    told = {
        (event.kind, event.uuid): event
        for event in sweep.events
        if event.kind in {"watchdog", "threshold"}
    }
    for vm in vms:
        yield _watchdog(vm, told.get(("watchdog", vm.uuid)))
        yield _threshold(vm, told.get(("threshold", vm.uuid)))


def _watchdog(vm: VmSample, event: Happening | None) -> Condition:
    title = words("{vm}: its watchdog fired", vm=vm.name)
    reboot = Remedy(words("Reboot VM"), command("vm reboot {}", vm.name))
    wrong, well = _event_card(title, vm, event), _quiet_card(title, vm)
    return Condition(f"watchdog:{vm.uuid}", float(event is not None), wrong, well, _ECHO, (reboot,))


def _threshold(vm: VmSample, event: Happening | None) -> Condition:
    title = words("{vm}: a disk passed its write threshold", vm=vm.name)
    wrong, well = _event_card(title, vm, event), _quiet_card(title, vm)
    return Condition(f"threshold:{vm.uuid}", float(event is not None), wrong, well, _ECHO)


def _event_card(title: Words, vm: VmSample, event: Happening | None) -> Card:
    if event is None or not event.detail:
        return _card(title, words("{vm} on {host}.", vm=vm.name, host=vm.host))
    what = {"vm": vm.name, "host": vm.host, "detail": event.detail}
    return _card(title, Words("{vm}, {host}: {detail}.", what))


def _quiet_card(title: Words, vm: VmSample) -> Card:
    return _card(title, words("It did not happen to {vm} again for an hour.", vm=vm.name))


def _pools(
    settings: MonitorSettings, seen: Snapshot, known: Collection[str] | None
) -> Iterator[Condition]:
    limits = Limits(settings.pool_full, settings.pool_clear)
    for where, pool in pools(seen):
        share = (pool.capacity - pool.free) / pool.capacity
        if _is_calm(f"pool:{where}/{pool.name}", share, limits, known):
            continue
        remedies = (
            *_move_away(seen, where, _in_pool(seen, where, pool)),
            Remedy(words("Show growth"), command("forecast pool {}", pool.name)),
        )
        title = (
            words("Shared pool {pool} is filling", pool=pool.name)
            if where == "shared"
            else words("Pool {pool} on {host} is filling", pool=pool.name, host=where)
        )
        used, free = percent(use_of(pool)), Size(pool.free)
        wrong = _card(
            title,
            words("{share} of {all} used.", share=used, all=Size(pool.capacity)),
            words(
                "{free} are left. When none is, QEMU pauses the VMs that write to it.", free=free
            ),
        )
        well = _card(title, words("{share} used, {free} free.", share=used, free=free))
        yield Condition(f"pool:{where}/{pool.name}", share, wrong, well, limits, remedies)


def _in_pool(seen: Snapshot, host: str, pool: Pool) -> list[str]:
    """Running VMs with a disk in a host's own pool, the largest disk first.

    Those disks would move with their VM.
    """
    found = {
        vm.name: disk.capacity or 0
        for vm in seen.on(host)
        if vm.state.active and vm.detail
        for disk in vm.detail.disks
        if pool_of(seen.host(host), disk) == pool
    }
    return sorted(found, key=lambda name: (-found[name], name))


def pools(seen: Snapshot) -> Iterator[tuple[str, Pool]]:
    """Active pools with their host, or with ``shared``, once, where several hosts share one."""
    told: set[str] = set()
    for host in seen.hosts:
        for pool in host.pools if host.up else ():
            if not pool.active or not pool.capacity or (pool.shared and pool.name in told):
                continue
            told |= {pool.name} if pool.shared else set()
            yield ("shared" if pool.shared else host.name), pool


@dataclass(frozen=True, slots=True)
class Pressed:
    """How far a host's memory or CPU is from its limit, as ``worst`` has it.

    Attributes:
        level: None where it is not measured.
        hold: seconds above the limit before it is told.
        calm: the hosts in service that are far below the limit.
    """

    level: float | None
    hold: float
    calm: frozenset[str]

    def relief(self, host: str) -> bool:
        """Whether another host could take a VM without the same trouble."""
        return bool(self.calm - {host})


def _calm(seen: Snapshot, levels: Mapping[str, float | None]) -> frozenset[str]:
    clear = WORST_LIMITS[1]
    return frozenset(
        host.name
        for host in seen.hosts
        if host.up and not (host.maintenance or host.held)
        if (level := levels.get(host.name)) is not None and level <= clear
    )


def _memory_level(settings: MonitorSettings, host: HostSample) -> float | None:
    stall = host.pressure.memory if host.pressure else None
    return worst(
        (memory_share(host), settings.memory_high, settings.memory_clear),
        (stall, settings.memory_stall, settings.memory_stall_clear),
    )


def _cpu_level(
    settings: MonitorSettings, host: HostSample, running: Sequence[VmSample]
) -> float | None:
    stall = host.pressure.cpu if host.pressure else None
    share = waiting(running) / host.cpus if host.cpus else None
    return worst(
        (share, settings.contention_high, settings.contention_clear),
        (stall, settings.cpu_stall, settings.cpu_stall_clear),
    )


def _memory(
    seen: Snapshot,
    host: HostSample,
    running: Sequence[VmSample],
    pressed: Pressed,
    known: Collection[str] | None,
) -> Iterator[Condition]:
    key, value = f"memory:{host.name}", None if host.silent else pressed.level
    limits = Limits(*WORST_LIMITS, pressed.hold)
    if _is_calm(key, value, limits, known):
        return
    stall = host.pressure.memory if host.pressure else None
    share = memory_share(host)
    title = words("{host} is short of memory", host=host.name)
    used = words(
        "{share} of {all} in use.", host=host.name, share=percent(share), all=Size(host.memory)
    )
    told: Line = used
    if stall is not None:
        told = join((used, words("Memory pressure (PSI) {share}.", share=Percent(stall))))
    relief = pressed.relief(host.name)
    wrong = _card(
        title,
        told,
        words(
            "A host that runs out of memory kills VMs. Move a VM away, and start no other VM there."
        )
        if relief
        else words(
            "A host that runs out of memory kills VMs. No other host has memory to spare: shut a "
            "VM down, and start no other VM."
        ),
    )
    well = _card(title, words("{share} in use.", share=percent(share)))
    movable = [vm.name for vm in _by_memory(running)] if relief else []
    yield Condition(key, value, wrong, well, limits, _move_away(seen, host.name, movable))


def _contention(
    seen: Snapshot,
    host: HostSample,
    running: Sequence[VmSample],
    pressed: Pressed,
    known: Collection[str] | None,
) -> Iterator[Condition]:
    key, value = f"contention:{host.name}", None if host.silent else pressed.level
    limits = Limits(*WORST_LIMITS, pressed.hold)
    if _is_calm(key, value, limits, known):
        return
    relief = pressed.relief(host.name)
    waiters = [vm for vm in _by_wait(running) if vm.wait and vm.wait >= _FELT]
    well = _card(
        words("CPU of {host}", host=host.name),
        words(
            "CPU of {host} is {share} busy, and nearly all demand is served.",
            host=host.name,
            share=percent(cpu_share(host)),
        ),
    )
    yield Condition(
        key,
        value,
        _contention_card(host, waiting(running), waiters, relief=relief)
        if waiters
        else _cpu_pressure_card(host),
        well,
        limits,
        _move_away(seen, host.name, [vm.name for vm in waiters] if relief else []),
    )


def _contention_card(
    host: HostSample, cores: float, waiters: Sequence[VmSample], *, relief: bool
) -> Card:
    told: list[Line] = [
        words(
            "CPU contention: {cores} cores of demand unmet (of {all}).",
            cores=Number(cores, 1),
            all=host.cpus,
        )
    ]
    if host.pressure is not None:
        told.append(words("CPU pressure (PSI) {share}.", share=Percent(host.pressure.cpu)))
    waits = [
        Words("{vm} ({cores})", {"vm": vm.name, "cores": Number(vm.wait or 0.0, 2)})
        for vm in waiters
    ]
    return _card(
        words("VMs on {host} wait for CPU", host=host.name),
        join(told),
        words("Worst: {vms}.", vms=names(waits, _WORST_SHOWN)),
        *(() if relief else (words("No other host has CPU to spare, so no move would help."),)),
    )


def _cpu_pressure_card(host: HostSample) -> Card:
    """Something other than VMs waits for CPU there."""
    return _card(
        words("CPU pressure on {host}", host=host.name),
        words(
            "CPU pressure (PSI) {share} in the last minute. No VM there waits for CPU.",
            share=percent(host.pressure.cpu if host.pressure else None),
        ),
        words("Something other than its VMs uses the CPUs of this host. Check its processes."),
    )


def _running(sweep: Sweep) -> Mapping[str, Sequence[VmSample]]:
    """The running VMs by their host: a walk over all for each host would be the square."""
    found: dict[str, list[VmSample]] = {}
    for vm in sweep.vms:
        if vm.state == "running":
            found.setdefault(vm.host, []).append(vm)
    return found


def _by_memory(running: Iterable[VmSample]) -> list[VmSample]:
    return sorted(running, key=lambda vm: (-(vm.memory or 0), vm.name))


def _by_wait(running: Iterable[VmSample]) -> list[VmSample]:
    return sorted(running, key=lambda vm: (-(vm.wait or 0.0), vm.name))


def _move_away(seen: Snapshot, host: str, vms: Sequence[str]) -> tuple[Remedy, ...]:
    """The first one's migration, with the disks that only its host has."""
    if not vms:
        return ()
    vm = next((vm for vm in seen.on(host) if vm.name == vms[0]), None)
    copy = " --copy-storage" if vm and vm.detail and local_disks(seen.host(host), vm.detail) else ""
    text = words("Migrate {vm} away", vm=vms[0])
    return (Remedy(text, command(f"migrate {{}}{copy}", vms[0])),)


def _snapshots(settings: MonitorSettings, sweep: Sweep, now: datetime) -> Condition:
    old = outdated_snapshots(settings, sweep, now)
    ages = [
        nwords(
            "{vm}: {snapshot}, {n} day",
            "{vm}: {snapshot}, {n} days",
            n=(now - each.made_at).days,
            vm=each.vm,
            snapshot=each.name,
        )
        for each in old
    ]
    wrong = _card(
        nwords("{n} snapshot is too old", "{n} snapshots are too old", n=len(old)),
        Words("{snapshots}.", {"snapshots": names(ages)}),
        words("Snapshots grow, and slow their disks down. Delete those that nobody needs."),
    )
    well = _card(words("Old snapshots"), words("No snapshot is too old any more."))
    limits = Limits(hold=settings.snapshot_hold)
    return Condition(
        "snapshots", float(len(old)), wrong, well, limits, tuple(_delete(each) for each in old[:1])
    )


def _delete(snapshot: SnapshotSeen) -> Remedy:
    return Remedy(
        words("Delete {snapshot} of {vm}", snapshot=snapshot.name, vm=snapshot.vm),
        command("vm snapshot delete {} {}", snapshot.vm, snapshot.name),
    )


def _backups(settings: MonitorSettings, seen: Snapshot, sweep: Sweep, now: datetime) -> Condition:
    late = overdue(settings.backup_days, seen, sweep, now)
    ages = [backup_line(each, now) for each in late or ()]
    wrong = _card(
        nwords("Backup of {n} VM is too old", "Backups of {n} VMs are too old", n=len(ages)),
        Words("{backups}.", {"backups": names(ages)}),
        words("Check the backup job. Until it succeeds, newer data cannot be restored."),
    )
    well = _card(
        words("Old backups"), words("Every VM that should have a backup has a recent one.")
    )
    value = None if late is None else float(len(late))
    return Condition("backups", value, wrong, well, Limits(hold=settings.backup_hold))


def outdated_snapshots(
    settings: MonitorSettings, sweep: Sweep, now: datetime
) -> tuple[SnapshotSeen, ...]:
    """Snapshots that are older than they should get, oldest first."""
    limit = timedelta(days=settings.snapshot_days)
    old = [one for one in sweep.snapshots if now - one.made_at > limit]
    return tuple(sorted(old, key=lambda one: one.made_at))
