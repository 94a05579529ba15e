"""Every sentence of this plugin that a person reads; translating the plugin is translating this file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from bot.domain.capacity import Fit, Loss
from bot.domain.card import (
    Button,
    Buttons,
    Card,
    Chart,
    Context,
    Divider,
    Element,
    Fields,
    Line,
    Section,
    Table,
    words,
)
from bot.domain.cluster import Host, Pool, Snapshot, Vm
from bot.domain.metrics import (
    Happening,
    HostSample,
    Incident,
    Losses,
    Metric,
    Pressure,
    SnapshotSeen,
    Sweep,
    VmSample,
)
from bot.domain.operation import Operation
from bot.domain.plan import Spread
from bot.domain.words import bytes_text, duration_text, plural
from bot.plugin_api import Measured
from plugins.monitor.backups import Overdue
from plugins.monitor.digest_values import Changed, Decisions, Digest, Filling, Gain, Move, Picture
from plugins.monitor.rates import By, cpu_share, memory_share
from plugins.monitor.rollups import Drawn
from plugins.monitor.trends import NEEDED, Row, Trend

# --- the commands' help
# -------------------------------------------------------------------------------------------

STATUS = "The cluster on one card: hosts, load, N+1, operations, alerts."
TOP = "VMs that use most, live for a minute."
TOP_BY = "What to order by: cpu, mem, disk, net, or wait (ready to run, but no CPU was free)."
TOP_HOST = "Only the VMs of one host."
SHOW_HOST = "One host: load, memory, VMs, pools."
CHART = "The past of a VM, a host or the whole cluster."
CHART_METRIC = "What to draw; space is for pools."
CHART_SINCE = "How far back: 6h, 24h, 30d."
DIGEST = "The digest: `now` for the channel, `preview` for you alone."
DIGEST_WEEKLY = "The weekly one."
FORECAST = "When CPU, memory and pools run out at the current trend, with a prediction interval."
FITS = "How many more VMs of a size fit while any one host may fail."
ALERTS = "What is wrong now, and what was lately."

_MANY = 8  # names in one sentence


def names(some: Sequence[str], most: int = _MANY) -> str:
    """``a, b and 3 more``."""
    shown = ", ".join(some[:most])
    return f"{shown} and {len(some) - most} more" if len(some) > most else shown


def listed(some: Sequence[str], most: int = _MANY) -> str:
    """One below the other."""
    more = [f"and {len(some) - most} more"] if len(some) > most else []
    return "\n".join([f"• {each}" for each in some[:most]] + more)


def share(value: float | None) -> str:
    """``43 %``; ``?`` for what is not known."""
    return "?" if value is None else f"{value:.0%}"


def ago(seconds: float) -> str:
    """``12 s ago``."""
    return "just now" if seconds < 1 else f"{duration_text(seconds)} ago"


def per_second(value: float | None) -> str:
    """``1.2 MiB/s``; ``–`` for what is not known."""
    return "–" if value is None else f"{bytes_text(value)}/s"


# --- status
# -------------------------------------------------------------------------------------------------------


def status(
    seen: Snapshot,
    measured: Measured,
    losses: Sequence[Loss],
    running: Sequence[Operation],
    now: datetime,
) -> Card:
    """The cluster on one card."""
    sweep = measured.sweep
    up = sum(host.up for host in seen.hosts)
    active = len({vm.uuid for vm in seen.vms if vm.state.active})
    title = f"{up} of {plural(len(seen.hosts), 'host')} up, {plural(active, 'VM')} running"
    resting = [host.name for host in seen.hosts if host.up and host.maintenance]
    standing = [each for each in measured.incidents if each.open]
    elements: list[Element] = [
        Section(verdict(losses, resting)),
        Table(("Host", "State", "VMs", "CPU", "Memory", "Allocated", "Wait"), _host_rows(seen, sweep, now),
              frozenset({2, 3, 4, 5, 6})),
    ]  # fmt: skip
    chart = load_chart(sweep)
    elements += [chart] if chart else []
    elements += [Section(words("*Active alerts* {what}", what=_standing(standing, now)))]
    under_way = names([f"{each.id} {each.plan.title} ({each.state})" for each in running]) or "none"
    elements += [
        Section(words("*Running operations* {what}", what=under_way)),
        Context(_as_of(measured, now)),
    ]
    text = f"{title}; {verdict_text(losses)} {plural(len(standing), 'alert')}."
    return Card(text=text, title=title, elements=tuple(elements))


def _host_rows(seen: Snapshot, sweep: Sweep | None, now: datetime) -> tuple[tuple[Line, ...], ...]:
    hosts = sorted(seen.hosts, key=lambda host: host.name)
    return tuple(
        _host_row(seen, host, sweep.host(host.name) if sweep else None, sweep, now)
        for host in hosts
    )


def _host_row(
    seen: Snapshot, host: Host, sample: HostSample | None, sweep: Sweep | None, now: datetime
) -> tuple[Line, ...]:
    guests = seen.on(host.name)
    count = f"{sum(vm.state.active for vm in guests)}/{len(guests)}"
    if not host.up or sample is None or sample.silent:
        seen_at = sample.seen_at if sample else host.seen_at
        age = (
            f"unreachable for {duration_text((now - seen_at).total_seconds())}"
            if seen_at
            else "never seen"
        )
        return (host.name, words("*{age}*", age=age), count, "?", "?", "?", "?")
    state = "maintenance" if host.maintenance else "up"
    usable = host.usable
    promised = seen.promised(host.name) / usable if usable > 0 else None
    waits = sum(vm.wait or 0.0 for vm in sweep.vms if vm.host == host.name) if sweep else 0.0
    cpu = f"{share(cpu_share(sample))} of {host.cpus}"
    memory = f"{share(memory_share(sample))} of {bytes_text(sample.memory)}"
    return (host.name, state, count, cpu, memory, share(promised), f"{waits:.2f}")


def verdict(losses: Sequence[Loss], resting: Sequence[str] = ()) -> Line:
    """Whether any one host may fail; ``resting``: hosts that are out of service on purpose."""
    bad = [loss for loss in losses if loss.stranded]
    if not losses:
        return words("*N+1 LOST:* no host is in service.")
    if len(losses) == 1:
        host = losses[0].host
        if not resting:
            return words(
                "*N+1 LOST:* only {host} is in service; its VMs could not be restarted.", host=host
            )
        return words(
            "*N+1 LOST:* only {host} is in service; its VMs could not be restarted. In maintenance: {resting}.",
            host=host, resting=names(resting),
        )  # fmt: skip
    if not bad:
        return words("*N+1 OK:* if any one host fails, its VMs fit on the others.")
    parts = "\n".join(
        f"• {each.host}: {names([vm.name for vm in each.stranded])}" for each in bad[:5]
    )
    return words(
        "*N+1 LOST:* if one of these hosts fails, these VMs cannot be restarted.\n{parts}",
        parts=parts,
    )


def verdict_text(losses: Sequence[Loss]) -> str:
    """The same for a notification."""
    bad = [loss.host for loss in losses if loss.stranded]
    if len(losses) < 2:
        return "N+1 LOST: too few hosts in service."
    return f"N+1 LOST: {names(bad)} cannot fail." if bad else "N+1 OK."


def load_chart(sweep: Sweep | None) -> Chart | None:
    """CPU and memory of every host that answers, in percent."""
    hosts = (
        [host for host in sweep.hosts if not host.silent and cpu_share(host) is not None]
        if sweep
        else []
    )
    if not hosts:
        return None
    cpu = tuple(round(100 * (cpu_share(host) or 0.0), 1) for host in hosts)
    memory = tuple(round(100 * (memory_share(host) or 0.0), 1) for host in hosts)
    summary = "; ".join(
        f"{h.name} CPU {c:.0f}%, memory {m:.0f}%"
        for h, c, m in zip(hosts, cpu, memory, strict=True)
    )
    series = (("CPU", cpu), ("Memory", memory))
    return Chart("Load by host", "bar", tuple(host.name for host in hosts), series, "%", summary)


def _standing(incidents: Sequence[Incident], now: datetime) -> str:
    lines = [f"{each.title} ({ago((now - each.opened_at).total_seconds())})" for each in incidents]
    return names(lines, 4) or "none"


def _as_of(measured: Measured, now: datetime) -> tuple[Line, ...]:
    lines: list[Line] = []
    if measured.sweep is not None:
        age = ago((now - measured.sweep.at).total_seconds())
        slowest = max((host.took for host in measured.sweep.hosts), default=0.0)
        lines.append(f"measured {age}; the slowest host took {duration_text(slowest)}")
    else:
        lines.append("nothing has been measured yet")
    lines += [*losses_lines(measured.losses), ALLOCATED, WAITING]
    return tuple(lines)


def losses_lines(losses: Losses) -> list[Line]:
    """What of the history waits or is lost."""
    lines: list[Line] = []
    if losses.why:
        lines.append(
            f"the history waits for the database ({plural(losses.waiting, 'minute')}): {losses.why}"
        )
    if losses.dropped:
        lines.append(
            f"{plural(losses.dropped, 'minute')} of history were lost: the database took none for too long"
        )
    return lines


# --- top, show host
# -----------------------------------------------------------------------------------------------


_BY = {
    By.CPU: "CPU",
    By.MEM: "memory",
    By.DISK: "disk",
    By.NET: "network",
    By.WAIT: "waiting for CPU",
}
WAITING = "Wait: CPU demand not served, in cores (steal/ready time)"
ALLOCATED = "Allocated: memory of running and incoming VMs / usable memory"


def top(
    sweep: Sweep, ranked: Sequence[VmSample], *, by: By, host: str, now: datetime, most: int = 15
) -> Card:
    """The hungriest guests."""
    where = f" on {host}" if host else ""
    title = f"Top VMs by {_BY[by]}{where}"
    rows = tuple(_vm_row(vm) for vm in ranked[:most])
    columns = ("VM", "Host", "CPU cores", "Wait", "Memory", "Disk", "Network")
    elements: list[Element] = (
        [Table(columns, rows, frozenset({2, 3, 4, 5, 6}))] if rows else [Section("No VM runs.")]
    )
    silent = [each.name for each in sweep.hosts if each.silent and host in ("", each.name)]
    if silent:
        elements.append(
            Section(
                words("*Not counted, because they do not answer:* {hosts}", hosts=names(silent))
            )
        )
    more = [f"{len(ranked) - most} more run"] if len(ranked) > most else []
    elements.append(Context((*more, _measured_at(sweep, now), WAITING)))
    first = f"{ranked[0].name} leads" if ranked else "no VM runs"
    return Card(text=f"{title}: {first}", title=title, elements=tuple(elements))


def _measured_at(sweep: Sweep, now: datetime) -> Line:
    return words("measured {ago} ({at})", ago=ago((now - sweep.at).total_seconds()), at=sweep.at)


def _vm_row(vm: VmSample) -> tuple[Line, ...]:
    cpu = "–" if vm.cpu is None else f"{vm.cpu:.2f} of {vm.vcpus}"
    waits = "–" if vm.wait is None else f"{vm.wait:.2f}"
    return (vm.name, vm.host, cpu, waits, _memory(vm), per_second(vm.disk), per_second(vm.net))


def _memory(vm: VmSample) -> str:
    if vm.memory is None:
        return "–"
    return (
        bytes_text(vm.memory)
        if vm.used is None
        else f"{bytes_text(vm.used)} of {bytes_text(vm.memory)}"
    )


def host(
    seen: Snapshot, box: Host, sample: HostSample | None, vms: Sequence[VmSample], now: datetime
) -> Card:
    """One host in full."""
    state = "maintenance" if box.up and box.maintenance else str(box.health)
    known = sample is not None and not sample.silent
    usable = max(1, box.usable)
    pairs: list[tuple[str, Line]] = [
        ("State", state if not box.problem else f"{state}: {box.problem}"),
        ("Last answer", words("{at}", at=box.seen_at) if box.seen_at else "never"),
        (
            "CPU",
            f"{share(cpu_share(sample)) if sample and known else '?'} of {plural(box.cpus, 'core')}",
        ),
        (
            "Memory in use",
            f"{share(memory_share(sample))} of {bytes_text(sample.memory)}"
            if sample and known
            else "?",
        ),
        ("Memory allocated", f"{bytes_text(seen.promised(box.name))} of {bytes_text(usable)}"),
        *([("Huge pages", huge)] if (huge := _huge(box)) else []),
        ("I/O wait", f"{sample.wait:.2f} cores" if sample and sample.wait is not None else "?"),
        ("Pressure (PSI, 60 s)", _stalled(sample.pressure) if sample and known else "?"),
        ("CPU model", box.cpu_model or "?"),
        ("Answer took", duration_text(sample.took) if sample and known else "?"),
    ]
    elements: list[Element] = [Fields(tuple(pairs))]
    if vms:
        elements.append(Table(("VM", "State", "CPU cores", "Wait", "Memory", "Disk", "Network"), tuple(
            (row[0], vm.state, *row[2:]) for vm, row in ((vm, _vm_row(vm)) for vm in vms)
        ), frozenset({2, 3, 4, 5, 6})))  # fmt: skip
    if box.pools:
        parts = [
            f"{pool.name} {share(_use(pool))} of {bytes_text(pool.capacity)}"
            for pool in box.pools
            if pool.active
        ]
        elements.append(Section(words("*Pools* {pools}", pools="; ".join(parts))))
    elements += _unread(seen, box, sample)
    elements.append(Context((words("as of {at}", at=now),)))
    title = f"{box.name}: {state}, {plural(len(vms), 'VM')}"
    return Card(text=title, title=title, elements=tuple(elements))


def _huge(box: Host) -> str:
    """The huge pages that a host sets aside: no part of the memory that its other figures are about."""
    if box.huge_pages is None:
        return "unknown"
    return ", ".join(
        f"{each.free} of {each.total} free ({bytes_text(each.size)} each)"
        for each in box.huge_pages
    )


def _unread(seen: Snapshot, box: Host, sample: HostSample | None) -> list[Element]:
    """What of the host could not be read, each with its reason."""
    told = [each.text for each in dict.fromkeys((*box.unread, *(sample.unread if sample else ())))]
    told += [f"VM {vm.name}: {vm.problem}" for vm in seen.on(box.name) if vm.problem]
    return [Section(words("*Could not be read*\n{parts}", parts=listed(told, 20)))] if told else []


def _stalled(pressure: Pressure | None) -> str:
    """What share of the last minute something had to wait for each; the kernel's pressure stall information."""
    if pressure is None:
        return "unknown (needs SSH or Prometheus)"
    return f"CPU {share(pressure.cpu)}, memory {share(pressure.memory)}, I/O {share(pressure.io)}"


def _use(pool: Pool) -> float | None:
    return (pool.capacity - pool.free) / pool.capacity if pool.capacity else None


# --- chart
# --------------------------------------------------------------------------------------------------------

UNITS = {
    Metric.CPU: (1.0, "cores"), Metric.WAIT: (1.0, "cores"), Metric.MEMORY: (2.0**30, "GiB"),
    Metric.SPACE: (2.0**30, "GiB"), Metric.DISK: (2.0**20, "MiB/s"), Metric.NET: (2.0**20, "MiB/s"),
}  # fmt: skip


_METRICS = {
    Metric.CPU: "CPU", Metric.WAIT: "waiting for CPU", Metric.MEMORY: "memory", Metric.SPACE: "space",
    Metric.DISK: "disk", Metric.NET: "network",
}  # fmt: skip


def chart(name: str, metric: Metric, points: Sequence[Drawn], seconds: float, form: str) -> Card:
    """A thing's past: the mean, and the highest of each stretch where that is another."""
    scale, unit = UNITS[metric]
    mean = tuple(round(point.mean / scale, 3) for point in points)
    peak = tuple(round(point.peak / scale, 3) for point in points)
    labels = tuple(point.at.strftime(form) for point in points)
    title = f"{name}: {_METRICS[metric]} over {duration_text(seconds)}"
    summary = (
        f"{_METRICS[metric]} of {name} in {unit}: mean {sum(mean) / len(mean):.3g}, now {mean[-1]:.3g}, "
        f"highest {max(peak):.3g}. Times are UTC."
    )
    series = (("mean", mean),) if mean == peak else (("mean", mean), ("highest", peak))
    return Card(text=summary, elements=(Chart(title, "line", labels, series, unit, summary),))


def no_history(name: str, metric: Metric) -> Card:
    """Nothing to draw."""
    text = f"There is no history of {_METRICS[metric]} for {name} yet."
    advice = "The first rollup comes five minutes after the bot's start, a minute for hosts."
    return Card(text=text, elements=(Section(words("{text}\n{advice}", text=text, advice=advice)),))


def nothing_measured() -> Card:
    """Before the first sweep."""
    text = "Nothing has been measured yet; ask again in a few seconds."
    return Card(text=text, elements=(Section(text),))


# --- forecast, fits, alerts
# ---------------------------------------------------------------------------------------


def forecast(rows: Sequence[Row], limit_text: str) -> Card:
    """When things run out."""
    table = Table(("What", "Now", "Growth per week", "Runs out"), tuple(
        (row.what, row.now, _growth(row), _when(row.line)) for row in rows
    ))  # fmt: skip
    note = "Linear trend over up to 30 days; 80% prediction interval."
    text = _forecast_text(rows)
    return Card(
        text=text, title="Forecast", elements=(Section(text), table, Context((note, limit_text)))
    )


def _forecast_text(rows: Sequence[Row]) -> str:
    """What runs out soon; nothing is said of what has too little history."""
    soon = [
        row.what for row in rows if row.line and row.line.days is not None and row.line.days < _SOON
    ]
    unknown = [row for row in rows if row.line is None]
    if len(unknown) == len(rows):
        has = max((row.history for row in rows), default=0.0)
        return f"Not enough history to forecast (needs {_days(NEEDED)}, has {_days(has)})."
    said = (
        f"Within {_SOON} days: {names(soon)}."
        if soon
        else f"Nothing runs out within {_SOON} days at this trend."
    )
    if not unknown:
        return said
    left = names([f"{row.what} (has {_days(row.history)})" for row in unknown])
    return f"{said} Not enough history (needs {_days(NEEDED)}): {left}."


_SOON = 90  # days


def _days(days: float) -> str:
    return duration_text(86400 * days) if days else "none"


def _growth(row: Row) -> str:
    if row.line is None:
        return f"not enough history ({_days(row.history)})"
    weekly = 7 * row.line.per_day
    sign = "−" if weekly < 0 else "+"
    return (
        f"{sign}{abs(weekly):.2f} cores"
        if row.of is Metric.CPU
        else f"{sign}{bytes_text(abs(weekly))}"
    )


def _when(line: Trend | None) -> str:
    return "?" if line is None else days_left(line.days, line.earliest, line.latest)


_FAR = 730.0  # days, beyond which a straight line says nothing


def days_left(days: float | None, earliest: float | None, latest: float | None) -> str:
    """``in 12 days (9 to 20)``."""
    if days is None:
        return (
            "not at this trend"
            if earliest is None
            else f"not at this trend; at the earliest in {earliest:.0f} days"
        )
    if days == 0:
        return "now"
    if days > _FAR:
        return "not within 2 years"
    late = "never" if latest is None else f"{latest:.0f}"
    return f"in {plural(round(days), 'day')} ({earliest or 0:.0f} to {late})"


def fits(fit: Fit, size: str, ratio: float, odd: Sequence[Vm] = ()) -> Card:
    """How many more of a size."""
    title = f"{fit.count} more VMs of {size} fit" if fit.count != 1 else f"1 more VM of {size} fits"
    where = ", ".join(f"{count} on {name}" for name, count in fit.by_host) or "none"
    limiting = f" Limiting host: {fit.tightest}." if fit.tightest else ""
    said = "*{title}* with N+1 kept: {where}. Without N+1: {without}.{limiting}"
    elements: list[Element] = [
        Section(
            words(said, title=title, where=where, without=fit.without_spare, limiting=limiting)
        ),
        Context((f"Counted: memory minus reserve, {ratio:g} vCPUs per core, placement tags.",)),
    ]
    if odd:
        told = listed([f"{vm.name} on {vm.host}: {vm.problem}" for vm in odd])
        elements.insert(1, Section(words("*Size not known for sure*\n{told}", told=told)))
    return Card(text=f"{title} with N+1 kept", title=title, elements=tuple(elements))


def alerts(incidents: Sequence[Incident], now: datetime) -> Card:
    """What stands, and what stood in the last day."""
    if not incidents:
        text = "No alert is active, and none was in the last day."
        return Card(text=text, elements=(Section(text),))
    rows = tuple(_incident_row(each, now) for each in incidents)
    standing = sum(each.open for each in incidents)
    title = f"{standing} active, {len(incidents) - standing} resolved"
    return Card(
        text=title,
        title=title,
        elements=(Table(("What", "State", "Since", "Duration", "Count"), rows),),
    )


def _incident_row(each: Incident, now: datetime) -> tuple[Line, ...]:
    end = each.over_at or now
    state = "active" if each.open else "resolved"
    state = "acknowledged" if each.open and each.acknowledged_by else state
    lasted = duration_text((end - each.opened_at).total_seconds())
    return (each.title, state, words("{at}", at=each.opened_at), lasted, str(each.times))


# --- alerts' own cards
# --------------------------------------------------------------------------------------------


def _card(title: str, text: str, *lines: Line) -> Card:
    return Card(
        text=f"{title}: {text}",
        title=title,
        elements=(Section(text), *(Section(line) for line in lines)),
    )


def network_suspect(silent: Sequence[HostSample], of: int) -> Card:
    """Half the hosts vanished: it is likely the bot."""
    hosts = names([host.name for host in silent])
    return _card(
        "The bot's own network is suspect",
        f"{len(silent)} of {of} hosts stopped answering at once: {hosts}.",
        "That is more likely the bot's own network than all of them. Nothing is known to have stopped there; look at "
        "the bot's machine and its way to the hosts first.",
    )


def network_well(hosts: Sequence[HostSample]) -> Card:
    """They are back."""
    return _card(
        "The bot's own network is suspect",
        f"{plural(len(hosts), 'host')} are watched; most answer again.",
    )


def host_down(host: HostSample, guests: int) -> Card:
    """A host does not answer."""
    last = (
        words("Last answer: {at}.", at=host.seen_at)
        if host.seen_at
        else "It was never seen since the bot's start."
    )
    return _card(
        f"{host.name} does not answer",
        f"{host.problem or 'no answer'}.",
        last,
        words(
            "{guests} last seen there. Unreachable is not dead: they may be running. Do not start them elsewhere.",
            guests=plural(guests, "VM"),
        ),
    )


def host_back(host: HostSample) -> Card:
    """It answers again."""
    return _card(f"{host.name} does not answer", f"{host.name} answers again.")


def crashed(vm: VmSample) -> Card:
    """A guest's QEMU ended by itself."""
    return _card(
        f"{vm.name} crashed",
        f"{vm.name} ended by itself on {vm.host} ({vm.why or vm.state}).",
        "Its log on the host says more; it stays off until somebody starts it.",
    )


def runs_again(vm: VmSample) -> Card:
    """It is well."""
    return _card(vm.name, f"{vm.name} is {vm.state} on {vm.host}.")


def io_error(vm: VmSample) -> Card:
    """Paused because its storage failed."""
    return _card(f"{vm.name} is paused: its storage failed", f"QEMU paused {vm.name} on {vm.host} at an I/O error.",
                 "Mend the storage first (a full pool, a lost share), then resume it.")  # fmt: skip


WHERE = "Where is it?"


def lost_memory(vm: VmSample) -> Card:
    """A post-copy migration broke off; libvirt may still call the VM running."""
    return _card(
        f"{vm.name} has only a part of its memory",
        f"The post-copy migration of {vm.name} broke off; {vm.host} calls it {vm.state}, and it does not run.",
        "If the other host still has its half, resume that migration there. If not, a reboot forces it off and starts "
        "it anew; its disks are as after a power failure.",
    )


def event(vm: VmSample, kind: str, told: Happening | None) -> Card:
    """What only an event tells."""
    what = "its watchdog fired" if kind == "watchdog" else "a disk passed its threshold"
    return _card(f"{vm.name}: {what}", f"{vm.name} on {vm.host}: {told.detail if told else what}.")


def quiet(vm: VmSample, kind: str) -> Card:
    """Not again for an hour."""
    return _card(f"{vm.name}: {kind}", f"{vm.name} was quiet for an hour.")


def pool_full(where: str, pool: Pool) -> Card:
    """A pool fills."""
    place = "shared storage" if where == "shared" else where
    free = bytes_text(pool.free)
    return _card(f"Pool {pool.name} on {place} is filling", f"{share(_use(pool))} of {bytes_text(pool.capacity)} used.",
                 words("{free} are left; guests pause when none is.", free=free))  # fmt: skip


def pool_well(where: str, pool: Pool) -> Card:
    """There is room again."""
    place = "shared storage" if where == "shared" else where
    return _card(
        f"Pool {pool.name} on {place} is filling",
        f"{share(_use(pool))} used, {bytes_text(pool.free)} free.",
    )


def memory_pressure(host: HostSample) -> Card:
    """A host runs out of memory."""
    used = (
        f"{share(memory_share(host))} of {bytes_text(host.memory)} in use{_waited(host, 'memory')}."
    )
    return _card(
        f"{host.name} is short of memory",
        used,
        "A host without memory kills guests: move one away, or start nothing more there.",
    )


def _waited(host: HostSample, what: str) -> str:
    """What the kernel tells of the last minute, where it does."""
    if host.pressure is None:
        return ""
    value = host.pressure.memory if what == "memory" else host.pressure.cpu
    return f". {'CPU' if what == 'CPU' else 'Memory'} pressure (PSI) {share(value)}"


def memory_well(host: HostSample) -> Card:
    """It has some again."""
    return _card(f"{host.name} is short of memory", f"{share(memory_share(host))} in use.")


def contention(host: HostSample, cores: float, worst: Sequence[VmSample]) -> Card:
    """VMs wait for CPU."""
    waiting = names([f"{vm.name} ({vm.wait:.2f})" for vm in worst if vm.wait], 4)
    demand = (
        f"CPU contention: {cores:.1f} cores of demand unmet (of {host.cpus}){_waited(host, 'CPU')}."
    )
    lines = [words("Worst: {waiting}.", waiting=waiting)] if waiting else []
    return _card(f"VMs on {host.name} wait for CPU", demand, *lines)


def cpu_pressure(host: HostSample) -> Card:
    """Something else than VMs waits for CPU there."""
    value = share(host.pressure.cpu) if host.pressure else "?"
    return _card(
        f"CPU pressure on {host.name}",
        f"CPU pressure (PSI) {value} in the last minute. No VM there waits for CPU.",
        "Something other than its VMs uses the CPUs of this host: look at its processes.",
    )


def contention_over(host: HostSample) -> Card:
    """Nothing waits any more."""
    return _card(
        f"CPU of {host.name}",
        f"CPU of {host.name} is {share(cpu_share(host))} busy, and hardly anything waits.",
    )


def old_snapshots(old: Sequence[SnapshotSeen], now: datetime) -> Card:
    """Snapshots that were forgotten."""
    lines = [f"{each.vm}: {each.name}, {(now - each.made_at).days} days" for each in old]
    return _card(
        plural(len(old), "snapshot is", "snapshots are") + " too old",
        names(lines) + ".",
        "They grow and slow their disks down; delete what nobody will go back to.",
    )


def no_old_snapshots() -> Card:
    """None is left."""
    return _card("Old snapshots", "No snapshot is too old any more.")


def delete_snapshot(oldest: SnapshotSeen) -> str:
    """A button."""
    return f"Delete {oldest.name} of {oldest.vm}"


def old_backups(late: Sequence[Overdue], now: datetime) -> Card:
    """Backups that were forgotten, or failed."""
    return _card(
        plural(len(late), "VM's backup is", "VMs' backups are") + " too old",
        names([backup_age(each, now) for each in late]) + ".",
        "See to the backup job; what is lost meanwhile cannot be brought back.",
    )


def backup_age(late: Overdue, now: datetime) -> str:
    """``web-1: 3 d ago``."""
    if late.problem:
        return f"{late.vm}: a tag is not understood ({late.problem})"
    return f"{late.vm}: {ago((now - late.last).total_seconds()) if late.last else 'none is known'}"


def no_old_backups() -> Card:
    """They are made again."""
    return _card("Old backups", "Every VM that should have a backup has one that is new enough.")


START, RESUME, REBOOT = "Start it", "Resume it", "Reboot it"
ITS_HOST, LOOK_AT_HOST, GREW = "What its host says", "Look at it", "How it grew"


def move_away(vm: str) -> str:
    """A button."""
    return f"Move {vm} away"


# --- digest
# -------------------------------------------------------------------------------------------------------


def digest(found: Digest, name: str, slash: str) -> Card:
    """The digest."""
    title = f"{name.capitalize()} digest: {found.hosts_up} of {plural(found.hosts, 'host')} up, {found.running} VMs running"
    elements: list[Element] = [Section(verdict(found.losses))]
    changes = _changes(found.changed)
    if found.since is None:
        changes = ["This is the first digest; the next one says what changed."]
    elements.append(Section(words("*What changed*\n{what}", what="\n".join(changes) or "Nothing.")))
    picture = _picture(found.picture)
    elements += [picture] if picture else []
    elements += [
        Section(words("*{head}*\n{what}", head=head, what=what))
        for head, what in _parts(found)
        if what
    ]
    moves = _moves_table(found.moves)
    elements += [Divider(), moves] if moves else []
    elements.append(
        Buttons((Button("Status", "run", "status"), Button("Forecast", "run", "forecast")))
    )
    since = words("since {at}", at=found.since) if found.since else "since the bot's start"
    elements.append(
        Context(
            (since, words("more: `{slash} forecast`, `{slash} alerts`, `{slash} ops`", slash=slash))
        )
    )
    return Card(
        text=f"{title}. {verdict_text(found.losses)}", title=title, elements=tuple(elements)
    )


def _changes(found: Changed) -> list[str]:
    moved = [f"{vm} ({source} → {target})" for vm, source, target in found.moved]
    lines = [f"{host}: {before} → {now}" for host, before, now in found.hosts]
    for word, some in (
        ("New", found.made), ("Gone", found.gone), ("Moved", moved), ("Started", found.started),
        ("Stopped", found.stopped),
    ):  # fmt: skip
        lines += [f"{word}: {names(some)}"] if some else []
    return lines


def _parts(found: Digest) -> Iterable[tuple[str, str]]:
    yield (
        "Alerts",
        listed(
            [f"{one.title} ({'active' if one.open else 'resolved'})" for one in found.incidents]
        ),
    )
    for about in dict.fromkeys(each.about for each in found.notes):
        yield about, listed([str(each.text) for each in found.notes if each.about == about])
    yield "Pools that fill", names([_filling(one) for one in found.filling], 5)
    yield "Hot hosts", names([f"{name} {share(value)}" for name, value in found.hot])
    yield "Idle hosts", names([f"{name} {share(value)}" for name, value in found.idle])
    yield "VMs that do nothing", names(found.idle_vms)
    yield (
        "VMs larger than they need",
        names([f"{n} ({v} vCPUs, needs {c:.1f})" for n, v, c in found.oversized]),
    )
    yield "Old snapshots", names([f"{one.vm}: {one.name}" for one in found.snapshots])
    yield "Backups that are too old", names([backup_age(one, found.now) for one in found.backups])
    yield "Imbalance, predicted and actual", "\n".join(_gain(one) for one in found.gains[:5])
    yield (
        "Not completed",
        names([f"{one.id} {one.plan.title} ({one.state})" for one in found.failed], 5),
    )
    yield "Decisions", _decisions(found.decisions) if found.decisions != Decisions() else ""


def _filling(one: Filling) -> str:
    place = "" if one.where == "shared" else f" on {one.where}"
    left = days_left(one.days, one.earliest, one.latest)
    return f"{one.pool.name}{place} {share(_use(one.pool))} of {bytes_text(one.pool.capacity)}, full {left}"


def _gain(one: Gain) -> str:
    after = "not measured yet" if one.measured is None else f"actual {_evenness(one.measured)}"
    return (
        f"{one.operation}: {_evenness(one.before)} → predicted {_evenness(one.foretold)} → {after}"
    )


def _evenness(found: Spread) -> str:
    """``0.350 (busiest 80 %, idlest 10 %)``."""
    return f"{found.unevenness:.3f} (CPU {share(found.busiest)} and {share(found.idlest)})"


def _decisions(found: Decisions) -> str:
    time = (
        "" if found.median is None else f". Median time to decision {duration_text(found.median)}"
    )
    return f"{found.asked} requests: {found.approved} approved, {found.denied} denied, {found.expired} expired{time}"


def _moves_table(moves: Sequence[Move]) -> Table | None:
    if not moves:
        return None
    rows = tuple(
        (
            one.operation,
            one.vm,
            f"{one.source} → {one.target}",
            _seconds(one.foretold),
            _seconds(one.took),
        )
        for one in moves[:20]
    )
    return Table(("Operation", "VM", "Move", "Predicted", "Actual"), rows, frozenset({3, 4}))


def _seconds(value: float | None) -> str:
    return "–" if value is None else duration_text(value)


def _picture(found: Sequence[Picture]) -> Chart | None:
    if not found:
        return None
    now = tuple(round(100 * each.now, 1) for each in found)
    series: tuple[tuple[str, tuple[float, ...]], ...] = (("now", now),)
    if all(each.before is not None for each in found):
        series = (
            ("before", tuple(round(100 * (each.before or 0.0), 1) for each in found)),
            *series,
        )
    summary = "Memory allocated: " + ", ".join(f"{each.host} {share(each.now)}" for each in found)
    return Chart(
        "Memory allocated by host", "bar", tuple(each.host for each in found), series, "%", summary
    )
