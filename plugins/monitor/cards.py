"""What this plugin lays out for people; each alert's own sentences stand with its condition."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime

from bot.domain.capacity import Fit, Loss
from bot.domain.card import (
    Buttons,
    Card,
    Chart,
    Context,
    Element,
    Fields,
    Line,
    Section,
    Table,
    Words,
    join,
    nwords,
    words,
)
from bot.domain.cluster import Host, Pool, Snapshot, Vm
from bot.domain.host_menu import host_buttons
from bot.domain.message import (
    Code,
    Duration,
    Member,
    Names,
    Number,
    Percent,
    Person,
    Rate,
    Size,
    Value,
    When,
)
from bot.domain.metrics import (
    HostSample,
    Incident,
    Losses,
    Metric,
    Pressure,
    Sweep,
    VmSample,
    gravest_first,
)
from bot.domain.operation import Operation
from bot.domain.pages import Page, page_buttons
from bot.domain.plan import Reason
from bot.domain.state_names import OPERATION_STATES, state_word
from bot.plugin_api import Measured
from plugins.monitor.rates import By, cpu_share, memory_share
from plugins.monitor.rollups import Point
from plugins.monitor.trends import NEEDED, Row, Trend

STATUS = words("The cluster on one card: hosts, load, N+1, operations, alerts.")
TOP = words("VMs that use most, live for a minute.")
TOP_BY = words(
    "What to order by: cpu, memory, disk, net, or wait (ready to run, but no CPU was free)."
)
TOP_HOST = words("Only the VMs of one host.")
SHOW_HOST = words("One host: load, memory, VMs, pools.")
CHART = words("The history of a VM, a host or the whole cluster.")
CHART_METRIC = words("What to draw; space is for pools.")
CHART_SINCE = words("How far back: 6h, 24h, 30d.")
DIGEST = words("The digest: `now` for the channel, `preview` for you alone.")
DIGEST_WEEKLY = words("The weekly one.")
FORECAST = words(
    "When CPU, memory and pools run out at the current trend, with a prediction interval."
)
FITS = words("How many more VMs of a size fit while any one host may fail.")
FITS_CPUS = words("vCPUs of each VM.")
FITS_MEMORY = words("Memory of each VM, such as 512M or 4G; a bare number is MiB.")
ALERTS = words("Active alerts, and those that were resolved in the last day.")
PAGE = words("Which page of the list.")
ALERTS_SHOWN = 30  # on a page
_LAST_SEEN = 50  # VMs of a host that does not answer that its card names

MANY = 8  # names in one sentence
BUSIEST = 15  # VMs of `top`
SCREEN = 20  # rows of a table, or bars of a chart, that a person takes in at once
UNKNOWN = "?"
NOT_MEASURED = "–"
NONE = words("none")
HOST = words("Host")
STATE = words("State")
USE_COLUMNS: tuple[Line, ...] = (
    words("CPU cores"),
    words("Wait"),
    words("Memory"),
    words("Disk"),
    words("Network"),
)
WAITING = words("Wait: CPU demand not served, in cores (steal/ready time)")
ALLOCATED = words("Allocated: memory of running and incoming VMs / usable memory")
STATES: Mapping[str, Words] = {
    "up": words("up"),
    "stale": words("not answering in time"),
    "unreachable": words("unreachable"),
    "maintenance": words("maintenance"),
}
"""States of hosts."""
VM_STATES = (
    words("running"),
    words("paused"),
    words("shut off"),
    words("crashed"),
    words("in shutdown"),
    words("pmsuspended"),
    words("no state"),
)
"""States of VMs, which are shown by the name that libvirt gives them."""


def show(value: Value) -> Words:
    """A value alone, as a message."""
    return Words("{value}", {"value": value})


def names(some: Iterable[Member], most: int = MANY) -> Names:
    """``a, b and 3 more``."""
    return Names(tuple(some), most=most)


def bullets(some: Sequence[Line], most: int = MANY) -> Line:
    """One below the other; of more than ``most`` the rest is counted."""
    shown: list[Line] = [Words("• {line}", {"line": each}) for each in some[:most]]
    rest = len(some) - most
    if rest > 0:
        shown.append(nwords("and {n} more", "and {n} more", n=rest))
    return join(shown, "\n")


def percent(share: float | None) -> Value:
    """``43%``; ``?`` for what is not known."""
    return UNKNOWN if share is None else Percent(share)


def use_of(pool: Pool) -> float | None:
    """The share of a pool that is used."""
    return (pool.capacity - pool.free) / pool.capacity if pool.capacity else None


def hosts_up(up: int, hosts: int, running: int, resting: int = 0) -> Words:
    """``3 of 3 hosts up, 2 of them in maintenance, 5 VMs running``.

    ``resting``: those that are up and in maintenance.
    """
    vms = nwords("{n} VM running", "{n} VMs running", n=running)
    if resting:
        return nwords(
            "{up} of {n} host up, {resting} of them in maintenance, {vms}",
            "{up} of {n} hosts up, {resting} of them in maintenance, {vms}",
            n=hosts,
            up=up,
            resting=resting,
            vms=vms,
        )
    return nwords(
        "{up} of {n} host up, {vms}", "{up} of {n} hosts up, {vms}", n=hosts, up=up, vms=vms
    )


def operation_line(operation: Operation) -> Words:
    """An operation with its title and its state."""
    state = OPERATION_STATES.get(operation.state, operation.state.value)
    return words("{id} {title} ({state})", id=operation.id, title=operation.plan.title, state=state)


# --- status


def status_card(
    seen: Snapshot,
    measured: Measured,
    losses: Sequence[Loss],
    running: Sequence[Operation],
    now: datetime,
    *,
    whole: bool = False,
) -> Card:
    """The cluster on one card; ``whole``: with every host, for a file."""
    sweep = measured.sweep
    active = len({vm.uuid for vm in seen.vms if vm.state.active})
    up = sum(host.up for host in seen.hosts)
    resting = [host.name for host in seen.hosts if host.up and host.maintenance]
    title = hosts_up(up, len(seen.hosts), active, len(resting))
    standing = [each for each in gravest_first(measured.incidents) if each.open]
    columns = (
        HOST,
        STATE,
        words("VMs"),
        words("CPU"),
        words("Memory"),
        words("Allocated"),
        words("Wait"),
    )
    shown = sorted(seen.hosts, key=lambda host: host.name)
    left = 0 if whole else len(shown) - SCREEN
    if left > 0:
        shown = list(worst_first(seen, sweep)[:SCREEN])
    rows = _host_rows(seen, sweep, shown, now)
    elements: list[Element] = [
        Section(verdict(losses, resting)),
        Table(columns, rows, frozenset({2, 3, 4, 5, 6})),
    ]
    if left > 0:
        more = nwords(
            "the worst first; {n} more host: {command}; all as a file: {file}",
            "the worst first; {n} more hosts: {command}; all as a file: {file}",
            n=left,
            command=Code("/kvm hosts"),
            file=Code("/kvm status --csv"),
        )
        elements.append(Context((more,)))
    chart = load_chart(sweep)
    elements += [chart] if chart else []
    active_alerts = [_since(each, now) for each in standing]
    elements += [
        Section(words("*Active alerts* {alerts}", alerts=_names_or_none(active_alerts, 4))),
        Section(
            words(
                "*Running operations* {operations}",
                operations=names([operation_line(each) for each in running]),
            )
            if running
            else words("*Running operations* 0")  # a “none” has a gender in other languages
        ),
        Context(_as_of(measured, now)),
    ]
    alerts = nwords("{n} alert.", "{n} alerts.", n=len(standing))
    text = join((Words("{title}.", {"title": title}), short_verdict(losses), alerts))
    return Card(text=text, title=title, elements=tuple(elements))


def _names_or_none(some: Sequence[Member], most: int = MANY) -> Value:
    return names(some, most) if some else NONE


def _since(incident: Incident, now: datetime) -> Words:
    lasts = Duration((now - incident.opened_at).total_seconds())
    return words("{title} (for {time})", title=incident.title, time=lasts)


def _host_rows(
    seen: Snapshot, sweep: Sweep | None, hosts: Sequence[Host], now: datetime
) -> tuple[tuple[Line, ...], ...]:
    samples = {each.name: each for each in sweep.hosts} if sweep else {}
    waits: dict[str, float] = {}
    for vm in sweep.vms if sweep else ():
        waits[vm.host] = waits.get(vm.host, 0.0) + (vm.wait or 0.0)
    return tuple(
        _host_row(seen, host, samples.get(host.name), waits.get(host.name, 0.0), now)
        for host in hosts
    )


def worst_first(seen: Snapshot, sweep: Sweep | None) -> tuple[Host, ...]:
    """The hosts: those that do not answer, in maintenance, then by what of them is used most."""
    samples = {each.name: each for each in sweep.hosts} if sweep else {}

    def rank(host: Host) -> tuple[bool, bool, float, str]:
        sample = samples.get(host.name)
        shares = (cpu_share(sample), memory_share(sample)) if sample else ()
        used = max((each for each in shares if each is not None), default=0.0)
        usable = host.usable
        allocated = seen.memory_promises(host.name) / usable if usable > 0 else 0.0
        return host.up, not host.maintenance, -max(used, allocated), host.name

    return tuple(sorted(seen.hosts, key=rank))


def _host_row(
    seen: Snapshot, host: Host, sample: HostSample | None, waits: float, now: datetime
) -> tuple[Line, ...]:
    there = seen.on(host.name)
    count = f"{sum(vm.state.active for vm in there)}/{len(there)}"
    if not host.up or (sample is not None and sample.silent):
        return (host.name, _silence(host, sample, now), count, *([UNKNOWN] * 4))
    usable = host.usable
    allocated = show(percent(seen.memory_promises(host.name) / usable if usable > 0 else None))
    state = STATES["maintenance" if host.maintenance else "up"]
    if sample is None:  # it answers, and the first sweep is not over
        return (host.name, state, count, UNKNOWN, UNKNOWN, allocated, UNKNOWN)
    return (
        host.name,
        state,
        count,
        words("{share} of {all}", share=percent(cpu_share(sample)), all=host.cpus),
        _memory_in_use(sample),
        allocated,
        show(Number(waits, 2)),
    )


def _silence(host: Host, sample: HostSample | None, now: datetime) -> Words:
    seen_at = (sample and sample.seen_at) or host.seen_at
    if seen_at is None:
        return words("*never seen*")
    return words("*unreachable for {time}*", time=Duration((now - seen_at).total_seconds()))


def verdict(losses: Sequence[Loss], resting: Sequence[str] = ()) -> Words:
    """Whether any one host may fail; ``resting``: hosts in maintenance."""
    if not losses:
        return words("*N+1 LOST:* no host is in service.")
    if len(losses) == 1:
        host = losses[0].host
        if not resting:
            return words(
                "*N+1 LOST:* only {host} is in service; its VMs could not be restarted.", host=host
            )
        return words(
            "*N+1 LOST:* only {host} is in service; its VMs could not be restarted. "
            "In maintenance: {resting}.",
            host=host,
            resting=names(resting),
        )
    bad = [loss for loss in losses if loss.stranded]
    if not bad:
        return words("*N+1 OK:* if any one host fails, its VMs fit on the others.")
    lines = [
        Words("{host}: {vms}", {"host": each.host, "vms": names(vm.name for vm in each.stranded)})
        for each in bad
    ]
    return words(
        "*N+1 LOST:* if one of these hosts fails, these VMs cannot be restarted.\n{hosts}",
        hosts=bullets(lines, 5),
    )


def short_verdict(losses: Sequence[Loss]) -> Words:
    """The same for a notification."""
    if len(losses) < 2:
        return words("N+1 LOST: too few hosts in service.")
    bad = [loss.host for loss in losses if loss.stranded]
    if bad:
        return words("N+1 LOST: {hosts} cannot fail.", hosts=names(bad))
    return words("N+1 OK.")


def outlook(was: Sequence[Loss], between: Iterable[Sequence[Loss]], end: Sequence[Loss]) -> Reason:
    """N+1 before, during and after a plan, for its approvers."""
    if _may_be_lost(end) and _may_be_lost(was):
        return Reason("n-plus-one-stays-lost", words("*N+1 stays LOST*: {why}", why=_why_lost(end)))
    if _may_be_lost(end):
        return Reason("n-plus-one-lost", words("*N+1 would be LOST*: {why}", why=_why_lost(end)))
    if during := next((each for each in between if _may_be_lost(each)), None):
        text = words("N+1 OK at the end, but *lost meanwhile*: {why}", why=_why_lost(during))
        return Reason("n-plus-one-meanwhile", text)
    return Reason("n-plus-one", words("N+1 OK."))


def _may_be_lost(found: Sequence[Loss]) -> bool:
    return len(found) < 2 or any(each.stranded for each in found)


def _why_lost(found: Sequence[Loss]) -> Words:
    if not found:
        return words("no host is in service.")
    if len(found) == 1:
        return words("only {host} is in service.", host=found[0].host)
    bad = [each for each in found if each.stranded]
    first = words(
        "if {host} fails, {vms} cannot be restarted elsewhere.",
        host=bad[0].host,
        vms=names(vm.name for vm in bad[0].stranded),
    )
    if len(bad) == 1:
        return first
    return words(
        "{first} The same holds for {hosts}.",
        first=first,
        hosts=names(each.host for each in bad[1:]),
    )


def load_chart(sweep: Sweep | None) -> Chart | None:
    """CPU and memory of every host that answers, in percent."""
    loads = [
        (host.name, share, memory_share(host) or 0.0)
        for host in (sweep.hosts if sweep else ())
        if not host.silent and (share := cpu_share(host)) is not None
    ]
    if not loads:
        return None
    if len(loads) > SCREEN:
        loads = sorted(loads, key=lambda each: -max(each[1], each[2]))[:SCREEN]
    summary = join(
        (
            words(
                "{host} CPU {cpu}, memory {memory}",
                host=name,
                cpu=Percent(cpu),
                memory=Percent(memory),
            )
            for name, cpu, memory in loads
        ),
        "; ",
    )
    series: tuple[tuple[Line, tuple[float, ...]], ...] = (
        (words("CPU"), tuple(round(100 * cpu, 1) for _, cpu, _ in loads)),
        (words("Memory"), tuple(round(100 * memory, 1) for _, _, memory in loads)),
    )
    hosts = tuple(name for name, _, _ in loads)
    return Chart(words("Load by host"), "bar", hosts, series, "%", summary)


def _as_of(measured: Measured, now: datetime) -> tuple[Line, ...]:
    lines: list[Line] = []
    if measured.sweep is None:
        lines.append(words("nothing has been measured yet"))
    else:
        slowest = max((host.took for host in measured.sweep.hosts), default=0.0)
        lines.append(
            words(
                "measured {age} ago; the slowest host took {time}",
                age=Duration(max(0.0, (now - measured.sweep.at).total_seconds())),
                time=Duration(slowest),
            )
        )
    return (*lines, *losses_lines(measured.losses), ALLOCATED, WAITING)


def losses_lines(losses: Losses) -> list[Line]:
    """What of the history waits for the database, or is lost."""
    lines: list[Line] = []
    if losses.why:
        lines.append(
            nwords(
                "{n} minute of history is not stored yet: the database refuses it ({why})",
                "{n} minutes of history are not stored yet: the database refuses them ({why})",
                n=losses.waiting,
                why=losses.why,
            )
        )
    if losses.dropped:
        lines.append(
            nwords(
                "{n} minute of history was lost: the database stored nothing for too long",
                "{n} minutes of history were lost: the database stored nothing for too long",
                n=losses.dropped,
            )
        )
    return lines


# --- top, show host


_TOP_TITLES: Mapping[By, Words] = {
    By.CPU: words("Top VMs by CPU"),
    By.MEM: words("Top VMs by memory"),
    By.DISK: words("Top VMs by disk I/O"),
    By.NET: words("Top VMs by network I/O"),
    By.WAIT: words("Top VMs by wait for CPU"),
}
_NUMERIC = frozenset({2, 3, 4, 5, 6})
NO_VM_RUNS = words("No VM is running.")


def top_card(
    sweep: Sweep,
    ranked: Sequence[VmSample],
    *,
    by: By,
    host: str,
    now: datetime,
    most: int = BUSIEST,
) -> Card:
    """The VMs that use most."""
    title: Words = _TOP_TITLES[by]
    if host:
        title = words("{title} on {host}", title=title, host=host)
    elements: list[Element] = []
    if ranked:
        rows = tuple(_vm_row(vm) for vm in ranked[:most])
        elements.append(Table((words("VM"), HOST, *USE_COLUMNS), rows, _NUMERIC))
    else:
        elements.append(Section(NO_VM_RUNS))
    silent = [each.name for each in sweep.hosts if each.silent and host in ("", each.name)]
    if silent:
        elements.append(
            Section(words("*Not counted, because unreachable:* {hosts}", hosts=names(silent)))
        )
    lines: list[Line] = []
    if len(ranked) > most:
        rest = len(ranked) - most
        lines.append(
            nwords(
                "{n} more VM is running; all as a file: {command}",
                "{n} more VMs are running; all as a file: {command}",
                n=rest,
                command=Code("/kvm top --csv"),
            )
        )
    # A sweep may end between the question and its answer: then it is newer than ``now``.
    age = Duration(max(0.0, (now - sweep.at).total_seconds()))
    lines += [words("measured {age} ago ({at})", age=age, at=sweep.at), WAITING]
    elements.append(Context(tuple(lines)))
    first = words("{vm} is first", vm=ranked[0].name) if ranked else NO_VM_RUNS
    text = Words("{title}: {first}", {"title": title, "first": first})
    return Card(text=text, title=title, elements=tuple(elements))


def _vm_row(vm: VmSample) -> tuple[Line, ...]:
    return (vm.name, vm.host, *_use(vm))


def _use(vm: VmSample) -> tuple[Line, ...]:
    """The cells of ``USE_COLUMNS``."""
    cpu: Line = NOT_MEASURED
    if vm.cpu is not None:
        cpu = words("{share} of {all}", share=Number(vm.cpu, 2), all=vm.vcpus)
    wait = NOT_MEASURED if vm.wait is None else show(Number(vm.wait, 2))
    return (cpu, wait, _memory(vm), _rate(vm.disk), _rate(vm.net))


def _memory(vm: VmSample) -> Line:
    if vm.memory is None:
        return NOT_MEASURED
    if vm.used is None:
        return show(Size(vm.memory))
    return words("{share} of {all}", share=Size(vm.used), all=Size(vm.memory))


def _rate(value: float | None) -> Line:
    return NOT_MEASURED if value is None else show(Rate(value))


def host_card(
    seen: Snapshot,
    host: Host,
    sample: HostSample | None,
    vms: Sequence[VmSample],
    now: datetime,
    *,
    allowed: Collection[str] = (),
) -> Card:
    """One host in full, with what can be done with it by who may use the commands ``allowed``."""
    known = sample if sample is not None and not sample.silent else None
    state: Line = STATES["maintenance" if host.up and host.maintenance else host.health.value]
    elements: list[Element] = [Fields((*_state_fields(host, state), *_fields(seen, host, known)))]
    if vms:
        rows = tuple((vm.name, state_word(vm.state), *_use(vm)) for vm in vms)
        elements.append(Table((words("VM"), STATE, *USE_COLUMNS), rows, _NUMERIC))
    elif not host.up and (last := seen.on(host.name)):
        lost = tuple((vm.name, state_word(vm.state.value)) for vm in last[:_LAST_SEEN])
        elements.append(Table((words("VM"), words("Last state")), lost))
    pools = [_pool_use(pool) for pool in host.pools if pool.active]
    if host.pools:
        elements.append(Section(words("*Pools* {pools}", pools=join(pools, "; "))))
    elements += _unread(seen, host, sample)
    if buttons := host_buttons(host, allowed):
        elements.append(Buttons(buttons))
    elements.append(Context((words("as of {at}", at=now),)))
    title = _host_title(seen, host, state)
    return Card(text=title, title=title, elements=tuple(elements))


def _host_title(seen: Snapshot, host: Host, state: Line) -> Words:
    """A host, its state and its VMs; of one that does not answer those last seen there."""
    n = len(seen.on(host.name))
    if host.up:
        return nwords(
            "{host}: {state}, {n} VM", "{host}: {state}, {n} VMs", n=n, host=host.name, state=state
        )
    return nwords(
        "{host}: {state}, {n} VM last seen there",
        "{host}: {state}, {n} VMs last seen there",
        n=n,
        host=host.name,
        state=state,
    )


def _state_fields(host: Host, state: Line) -> tuple[tuple[Line, Line], ...]:
    told: Line = state
    if host.problem:
        told = Words("{state}: {problem}", {"state": state, "problem": host.problem})
    seen_at = show(When(host.seen_at)) if host.seen_at else words("never")
    return ((STATE, told), (words("Last answer"), seen_at))


def _fields(seen: Snapshot, host: Host, sample: HostSample | None) -> Iterable[tuple[Line, Line]]:
    """What is measured of a host; ``sample`` None: it is unreachable, or not measured yet."""
    cpu = percent(cpu_share(sample)) if sample else UNKNOWN
    yield (
        words("CPU"),
        nwords("{share} of {n} core", "{share} of {n} cores", n=host.cpus, share=cpu),
    )
    yield words("Memory in use"), _memory_in_use(sample)
    yield (
        words("Memory allocated"),
        words(
            "{share} of {all}",
            share=Size(seen.memory_promises(host.name)),
            all=Size(max(1, host.usable)),
        ),
    )
    if (huge := _huge(host)) is not None:
        yield words("Huge pages"), huge
    io_wait: Line = UNKNOWN
    if sample and sample.wait is not None:
        io_wait = words("{cores} cores", cores=Number(sample.wait, 2))
    yield words("I/O wait"), io_wait
    yield words("Pressure (PSI, 60 s)"), _pressure(sample.pressure) if sample else UNKNOWN
    yield words("CPU model"), host.cpu_model or UNKNOWN
    yield words("Answer took"), show(Duration(sample.took)) if sample else UNKNOWN


def _memory_in_use(sample: HostSample | None) -> Line:
    if sample is None or not sample.memory:
        return UNKNOWN
    return words("{share} of {all}", share=percent(memory_share(sample)), all=Size(sample.memory))


def _pool_use(pool: Pool) -> Line:
    return words(
        "{pool} {share} of {all}",
        pool=pool.name,
        share=percent(use_of(pool)),
        all=Size(pool.capacity),
    )


def _huge(host: Host) -> Line | None:
    """The huge pages that a host sets aside: they are no part of the memory of its other figures.

    None: it sets none aside.
    """
    if host.huge_pages is None:
        return words("unknown")
    if not host.huge_pages:
        return None
    return join(
        (
            words("{free} of {all} free ({size} each)", free=e.free, all=e.total, size=Size(e.size))
            for e in host.huge_pages
        ),
        ", ",
    )


def _unread(seen: Snapshot, host: Host, sample: HostSample | None) -> list[Element]:
    """What of the host could not be read, each with its reason."""
    parts = dict.fromkeys((*host.unread, *(sample.unread if sample else ())))
    told: list[Line] = [each.text for each in parts]
    told += [
        words("VM {vm}: {problem}", vm=vm.name, problem=vm.problem)
        for vm in seen.on(host.name)
        if vm.problem
    ]
    if not told:
        return []
    return [Section(words("*Could not be read*\n{parts}", parts=bullets(told, 20)))]


def _pressure(pressure: Pressure | None) -> Words:
    """The kernel's pressure stall information: shares of the last minute."""
    if pressure is None:
        return words("unknown (needs SSH or Prometheus)")
    return words(
        "CPU {cpu}, memory {memory}, I/O {io}",
        cpu=Percent(pressure.cpu),
        memory=Percent(pressure.memory),
        io=Percent(pressure.io),
    )


# --- chart

_UNITS: Mapping[Metric, tuple[float, Line]] = {
    Metric.CPU: (1.0, words("cores")),
    Metric.WAIT: (1.0, words("cores")),
    Metric.MEMORY: (2.0**30, "GiB"),
    Metric.SPACE: (2.0**30, "GiB"),
    Metric.DISK: (2.0**20, "MiB/s"),
    Metric.NET: (2.0**20, "MiB/s"),
}
_METRICS: Mapping[Metric, Words] = {
    Metric.CPU: words("CPU"),
    Metric.WAIT: words("wait for CPU"),
    Metric.MEMORY: words("memory"),
    Metric.SPACE: words("space used"),
    Metric.DISK: words("disk I/O"),
    Metric.NET: words("network I/O"),
}


def chart_card(
    name: str, metric: Metric, points: Sequence[Point], seconds: float, form: str
) -> Card:
    """The history of one thing: the mean, and the highest value of each point where they differ."""
    scale, unit = _UNITS[metric]
    mean = tuple(round(point.mean / scale, 3) for point in points)
    peak = tuple(round(point.peak / scale, 3) for point in points)
    labels = tuple(point.at.strftime(form) for point in points)
    title = words(
        "{name}: {metric}, last {time}", name=name, metric=_METRICS[metric], time=Duration(seconds)
    )
    summary = words(
        "{metric} of {name} in {unit}: mean {mean}, now {now}, highest {peak}. Times are UTC.",
        metric=_METRICS[metric],
        name=name,
        unit=unit,
        mean=_round(sum(mean) / len(mean)),
        now=_round(mean[-1]),
        peak=_round(max(peak)),
    )
    series: tuple[tuple[Line, tuple[float, ...]], ...] = ((words("mean"), mean),)
    if mean != peak:
        series = (*series, (words("highest"), peak))
    chart = Chart(title, "line", labels, series, unit, summary)
    return Card(text=summary, elements=(chart,))


def _round(value: float) -> float:
    """Three digits that count."""
    return float(f"{value:.3g}")


def no_history_card(name: str, metric: Metric) -> Card:
    """Nothing to draw."""
    text = words(
        "There is no history of {name} yet ({metric}).", name=name, metric=_METRICS[metric]
    )
    advice = words(
        "It begins five minutes after the bot's start; that of hosts, one minute after it."
    )
    return Card(text=text, elements=(Section(join((text, advice), "\n")),))


def nothing_measured_card() -> Card:
    """Before the first sweep."""
    text = words("Nothing has been measured yet. Ask again in a few seconds.")
    return Card(text=text, elements=(Section(text),))


# --- forecast, fits, alerts


_SOON = 90  # days
_FAR = 730.0  # days, beyond which a straight line says nothing


def forecast_card(rows: Sequence[Row], limit: Line) -> Card:
    """When things run out."""
    columns = (words("What"), words("Now"), words("Growth per week"), words("Runs out"))
    table = Table(columns, tuple((row.what, row.now, _growth(row), _end(row.line)) for row in rows))
    note = words("Linear trend over up to 30 days; 80% prediction interval.")
    text = _forecast_text(rows)
    return Card(
        text=text,
        title=words("Forecast"),
        elements=(Section(text), table, Context((note, limit))),
    )


def _forecast_text(rows: Sequence[Row]) -> Line:
    """What runs out soon; nothing is said of what has too little history."""
    unknown = [row for row in rows if row.line is None]
    if len(unknown) == len(rows):
        has = max((row.history for row in rows), default=0.0)
        return words(
            "Not enough history to forecast (needs {needed}, has {has}).",
            needed=_days(NEEDED),
            has=_days(has),
        )
    soon = [
        show_line(row.what)
        for row in rows
        if row.line and row.line.days is not None and row.line.days < _SOON
    ]
    said = (
        words("Runs out within {days} days: {what}.", days=_SOON, what=names(soon))
        if soon
        else words("Nothing runs out within {days} days at this trend.", days=_SOON)
    )
    if not unknown:
        return said
    left = [words("{what} (has {has})", what=row.what, has=_days(row.history)) for row in unknown]
    return join(
        (
            said,
            words(
                "Not enough history (needs {needed}): {what}.",
                needed=_days(NEEDED),
                what=names(left),
            ),
        )
    )


def show_line(line: Line) -> Words:
    """A message as a member of a list."""
    return line if isinstance(line, Words) else show(line)


def _days(days: float) -> Value:
    return Duration(86400 * days) if days else NONE


def _growth(row: Row) -> Line:
    if row.line is None:
        return words("not enough history ({has})", has=_days(row.history))
    weekly = 7 * row.line.per_day
    sign = "−" if weekly < 0 else "+"
    if row.of is Metric.CPU:
        return words("{sign}{cores} cores", sign=sign, cores=Number(abs(weekly), 2))
    return Words("{sign}{size}", {"sign": sign, "size": Size(abs(weekly))})


def _end(line: Trend | None) -> Line:
    return UNKNOWN if line is None else days_left(line.days, line.earliest, line.latest)


def days_left(days: float | None, earliest: float | None, latest: float | None) -> Words:
    """``in 12 days (9 to 20)``."""
    if days is None and earliest is None:
        return words("not at this trend")
    if days is None:
        return nwords(
            "not at this trend; in {n} day at the earliest",
            "not at this trend; in {n} days at the earliest",
            n=round(earliest or 0),
        )
    if days == 0:
        return words("now")
    if days > _FAR:
        return words("not within 2 years")
    return nwords(
        "in {n} day ({earliest} to {latest})",
        "in {n} days ({earliest} to {latest})",
        n=round(days),
        earliest=round(earliest or 0),
        latest=words("never") if latest is None else round(latest),
    )


def fits_card(fit: Fit, size: Line, ratio: float, odd: Sequence[Vm] = ()) -> Card:
    """How many more VMs of a size fit."""
    title = nwords(
        "{n} more VM of {size} fits", "{n} more VMs of {size} fit", n=fit.count, size=size
    )
    roomy = sorted(fit.by_host, key=lambda each: (-each[1], each[0]))
    by_host = [words("{n} on {host}", n=count, host=name) for name, count in roomy]
    lines: list[Line] = [
        words("*{title}* with N+1 kept: {hosts}.", title=title, hosts=_all_or_none(by_host)),
        words("Without N+1: {n}.", n=fit.without_spare),
    ]
    if fit.tightest:
        lines.append(words("Limiting host: {host}.", host=fit.tightest))
    elements: list[Element] = [Section(join(lines))]
    if odd:
        told = [
            words("{vm} on {host}: {problem}", vm=vm.name, host=vm.host, problem=vm.problem)
            for vm in odd[:_MOST_FITTING]
        ]
        if more := len(odd[_MOST_FITTING:]):
            told.append(nwords("{n} more VM", "{n} more VMs", n=more))
        elements.append(Section(words("*Size not known for sure*\n{vms}", vms=bullets(told))))
    counted = words(
        "Counted: memory minus reserve, {ratio} vCPUs per core, placement tags.", ratio=ratio
    )
    elements.append(Context((counted,)))
    text = words("{title} with N+1 kept", title=title)
    rows = tuple((host, str(count)) for host, count in roomy)
    export = Table((words("Host"), words("VMs")), rows, frozenset({1}))
    return Card(text=text, title=title, elements=tuple(elements), export=export)


_MOST_FITTING = 20  # hosts and VMs that are named; the file has every host


def _all_or_none(some: Sequence[Member]) -> Value:
    return Names(tuple(some), most=_MOST_FITTING) if some else NONE


def alerts_card(
    incidents: Sequence[Incident], now: datetime, number: int, line: Callable[[int], str]
) -> Card:
    """A page of the active alerts, and those resolved in the last day; ``line``: its command."""
    if not incidents:
        text = words("No alert is active, and none was in the last day.")
        return Card(text=text, elements=(Section(text),))
    rows = tuple(_incident_row(each, now) for each in incidents)
    active = sum(each.open for each in incidents)
    title = words(
        "{active} active, {resolved} resolved", active=active, resolved=len(incidents) - active
    )
    columns = (words("What"), STATE, words("Since"), words("Duration"), words("Count"))
    page = Page(len(rows), number, ALERTS_SHOWN)
    elements: list[Element] = [
        Table(columns, rows[page.first : page.last]),
        page_buttons(line, page),
        *([Context((page.text,))] if page.count > 1 else []),
    ]
    return Card(text=title, title=title, elements=tuple(elements), export=Table(columns, rows))


def _incident_row(each: Incident, now: datetime) -> tuple[Line, ...]:
    state = words("active") if each.open else words("resolved")
    if each.open and each.acknowledged_by:
        state = words("acknowledged by {who}", who=Person(each.acknowledged_by))
    if each.open and each.muted:
        state = words("silenced until resolved")
    elif each.open and each.is_silenced(now) and each.silent_until is not None:
        state = words("silenced until {at}", at=When(each.silent_until))
    lasts = Duration(((each.over_at or now) - each.opened_at).total_seconds())
    return (each.title, state, show(When(each.opened_at)), show(lasts), str(each.times))
