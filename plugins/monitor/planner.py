"""Pure: the grammars of the commands, and their answers."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import click

from bot.domain.capacity import fits as fitting
from bot.domain.capacity import losses
from bot.domain.card import Card, nwords, words
from bot.domain.cluster import Snapshot, sound
from bot.domain.errors import AmbiguousNameError, UnknownNameError, UsageError
from bot.domain.message import Code, Join, Message, Names, Number, Percent, Size
from bot.domain.metrics import (
    CLUSTER,
    Bucket,
    Metric,
    VmSample,
    gravest_first,
    host_entity,
    metric_name,
    pool_entity,
    vm_entity,
)
from bot.domain.operation import State
from bot.domain.plan import Plan, Reason
from bot.domain.suggest import nearest
from bot.domain.units import seconds_of, size
from bot.plugin_api import Composed, MetricName, ReportView, View
from plugins.monitor import cards, conditions, digest
from plugins.monitor.digest_cards import digest_card
from plugins.monitor.rates import By, ranking
from plugins.monitor.rollups import condense, grain
from plugins.monitor.settings import MonitorSettings
from plugins.monitor.trends import Row, Trend, trend

DAY = timedelta(days=1)
DAILY, WEEKLY = "digest daily", "digest weekly"
_FULL = 0.9  # of the cluster's cores and memory: from there on no room is left for new VMs
_LEAST_CHART = 300  # seconds: history comes in buckets of five minutes


@dataclass(frozen=True, slots=True)
class Status:
    """``status``."""


@dataclass(frozen=True, slots=True)
class Top:
    """``top [--by …] [--host …]``."""

    by: By = By.CPU
    host: str = ""


@dataclass(frozen=True, slots=True)
class ShowHost:
    """``show host HOST``."""

    host: str


@dataclass(frozen=True, slots=True)
class ChartOf:
    """``chart WHAT [--metric …] [--since …]``; ``since`` in seconds."""

    what: str
    metric: Metric = Metric.CPU
    since: int = 86400


@dataclass(frozen=True, slots=True)
class DigestNow:
    """``digest now|preview [--weekly]``."""

    when: str
    weekly: bool = False


@dataclass(frozen=True, slots=True)
class Forecast:
    """``forecast [cpu|memory|pool NAME]``."""

    pool: str = ""
    metric: Metric | None = None


@dataclass(frozen=True, slots=True)
class Fits:
    """``fits --cpus N --memory SIZE``; memory in bytes."""

    cpus: int
    memory: int


@dataclass(frozen=True, slots=True)
class Alerts:
    """``alerts [--page N]``."""

    page: int = 1

    def line(self, page: int) -> str:
        """The command of a page."""
        return f"alerts --page {page}" if page > 1 else "alerts"


def status_grammar() -> click.Command:
    """``status`` → ``Status``."""
    return click.Command("status", callback=Status, help=str(cards.STATUS), add_help_option=False)


def alerts_grammar() -> click.Command:
    """``alerts [--page N]`` → ``Alerts``."""
    page = click.Option(
        ["--page"], type=click.IntRange(1, 1000), default=1, metavar="N", help=str(cards.PAGE)
    )
    return click.Command(
        "alerts", params=[page], callback=Alerts, help=str(cards.ALERTS), add_help_option=False
    )


def top_grammar() -> click.Command:
    """``top [METRIC] [--by cpu|memory|disk|net|wait] [--host HOST]`` → ``Top``."""
    choice = MetricName([each.value for each in By])
    return click.Command(
        "top",
        params=[
            click.Argument(["metric"], type=choice, required=False, metavar="[METRIC]"),
            click.Option(["--by"], type=choice, help=str(cards.TOP_BY)),
            click.Option(["--host"], default="", metavar="HOST", help=str(cards.TOP_HOST)),
        ],
        callback=lambda metric, by, host: Top(By(by or metric or By.CPU), host),
        help=str(cards.TOP),
        add_help_option=False,
    )


def show_host_grammar() -> click.Command:
    """``show host HOST`` → ``ShowHost``."""
    argument = click.Argument(["host"], metavar="HOST")
    return click.Command(
        "show host",
        params=[argument],
        callback=ShowHost,
        help=str(cards.SHOW_HOST),
        add_help_option=False,
    )


def chart_grammar() -> click.Command:
    """``chart WHAT [METRIC] [--metric …] [--since 24h]`` → ``ChartOf``."""
    choice = MetricName([each.value for each in Metric])
    return click.Command(
        "chart",
        params=[
            click.Argument(["what"], metavar="VM|HOST|POOL|cluster"),
            click.Argument(["word"], type=choice, required=False, metavar="[METRIC]"),
            click.Option(["--metric"], type=choice, help=str(cards.CHART_METRIC)),
            click.Option(
                ["--since"],
                default="24h",
                show_default=True,
                metavar="TIME",
                help=str(cards.CHART_SINCE),
            ),
        ],
        callback=lambda what, word, metric, since: ChartOf(
            what, Metric(metric or word or Metric.CPU), _duration(since)
        ),
        help=str(cards.CHART),
        add_help_option=False,
    )


def digest_grammar() -> click.Command:
    """``digest now|preview [--weekly]`` → ``DigestNow``."""
    return click.Command(
        "digest",
        params=[
            click.Argument(["when"], type=click.Choice(["now", "preview"]), default="preview"),
            click.Option(["--weekly"], is_flag=True, help=str(cards.DIGEST_WEEKLY)),
        ],
        callback=DigestNow,
        help=str(cards.DIGEST),
        add_help_option=False,
    )


def forecast_grammar() -> click.Command:
    """``forecast [pool NAME]`` → ``Forecast``."""
    argument = click.Argument(["pool"], nargs=-1, metavar="[pool NAME]")
    return click.Command(
        "forecast",
        params=[argument],
        callback=_forecast,
        help=str(cards.FORECAST),
        add_help_option=False,
    )


def _forecast(pool: tuple[str, ...]) -> Forecast:
    """Read ``forecast [cpu|memory|pool NAME]``; a pool of such a name is meant behind ``pool``."""
    metric = metric_name(pool[0]) if len(pool) == 1 else ""
    if metric in {Metric.CPU, Metric.MEMORY}:
        return Forecast(metric=Metric(metric))
    return Forecast(pool[-1] if pool else "")


def fits_grammar() -> click.Command:
    """``fits --cpus 4 --memory 16G`` → ``Fits``."""
    return click.Command(
        "fits",
        params=[
            click.Option(
                ["--cpus"],
                type=click.IntRange(1, 1024),
                default=2,
                show_default=True,
                help=str(cards.FITS_CPUS),
            ),
            click.Option(
                ["--memory"],
                default="4G",
                show_default=True,
                metavar="SIZE",
                help=str(cards.FITS_MEMORY),
            ),
        ],
        callback=lambda cpus, memory: Fits(cpus, _bytes(memory)),
        help=str(cards.FITS),
        add_help_option=False,
    )


def _duration(text: str) -> int:
    found = seconds_of(text)
    if found < _LEAST_CHART:
        raise UsageError(
            words("A chart covers five minutes at least."), words("Write `--since 5m` or more.")
        )
    return found


def _bytes(text: str) -> int:
    found = size(text, "M")  # as `vm create` reads it
    if found <= 0:
        raise UsageError(
            words("“{text}” is not a valid size of memory.", text=text),
            words("Write for example `--memory 4G`."),
        )
    return found


# answers


def status(settings: MonitorSettings, intent: Status, view: View) -> Card:
    """The cluster on one card."""
    del intent
    busy = view.history.operations(states=(State.APPROVED, State.RUNNING), limit=50)
    running = tuple(each for each in busy if not each.early(view.asker.now))
    lost = losses(view.snapshot, settings.vcpus_per_core, settings.domain_tag)
    return cards.status_card(
        view.snapshot, view.measured, lost, running, view.asker.now, whole=view.whole
    )


def n_plus_one(
    settings: MonitorSettings, plan: Plan, before: Snapshot, stages: tuple[Snapshot, ...]
) -> Reason | None:
    """What a plan would make of N+1; None where a loss could never be taken: of a single host."""
    del plan
    if len(before.hosts) < 2:
        return None
    was, *between, end = (
        losses(each, settings.vcpus_per_core, settings.domain_tag) for each in (before, *stages)
    )
    return cards.outlook(was, between, end)


def top(intent: Top, view: View) -> Card:
    """The VMs that use most.

    Raises:
        UnknownNameError: no such host.
    """
    sweep = view.measured.sweep
    if sweep is None:
        return cards.nothing_measured_card()
    if intent.host and sweep.host(intent.host) is None:
        known = [host.name for host in sweep.hosts]
        raise UnknownNameError(
            words("There is no host “{host}”.", host=intent.host),
            nearest(intent.host, known)
            or words("{command} lists all hosts.", command=Code(f"{view.slash} hosts")),
        )
    ranked = ranking(sweep, intent.by, intent.host)
    return cards.top_card(
        sweep,
        ranked,
        by=intent.by,
        host=intent.host,
        now=view.asker.now,
        most=len(ranked) if view.whole else cards.BUSIEST,
    )


def show_host(intent: ShowHost, view: View) -> Card:
    """One host in full."""
    box = view.snapshot.host(intent.host)
    sweep = view.measured.sweep
    sample = sweep.host(box.name) if sweep else None
    measured = {vm.uuid: vm for vm in sweep.vms if vm.host == box.name} if sweep else {}
    vms = [
        measured.get(vm.uuid) or VmSample(vm.uuid, vm.name, vm.host, vm.state.value, vm.vcpus)
        for vm in (view.snapshot.on(box.name) if box.up else ())
    ]
    vms.sort(key=lambda vm: (vm.state != "running", -(vm.cpu or 0.0), vm.name))
    allowed = {each.name for each in view.commands if each.allowed}
    return cards.host_card(view.snapshot, box, sample, vms, view.asker.now, allowed=allowed)


def chart(intent: ChartOf, view: View) -> Card:
    """The history of a VM, a host, a pool, or all hosts together."""
    now = view.asker.now
    since = now - timedelta(seconds=intent.since)
    past = view.measured.past
    entity = _entity(intent.what, view.snapshot)
    metric = Metric.SPACE if entity.startswith("pool:") else intent.metric
    buckets = past.history([entity], metric, since, now).get(entity, ()) if past else ()
    if not buckets:
        return cards.no_history_card(intent.what, metric)
    most, form = grain(buckets)
    lasts = (now - buckets[0].at).total_seconds()  # history may be shorter than what is wanted
    span = min(float(intent.since), max(float(_LEAST_CHART), lasts))
    return cards.chart_card(intent.what, metric, condense(buckets, most), span, form)


def _entity(what: str, seen: Snapshot) -> str:
    """The name in the history of what is to be drawn.

    Raises:
        UnknownNameError: nothing has this name.
        AmbiguousNameError: several hosts have a pool of this name each.
    """
    if what == "cluster":
        return CLUSTER
    if any(host.name == what for host in seen.hosts):
        return host_entity(what)
    of_hosts = [(host.name, pool) for host in seen.hosts for pool in host.pools]
    pools = {
        pool_entity(host, pool.name): f"{host}/{pool.name}"
        for host, pool in of_hosts
        if what in (pool.name, f"{host}/{pool.name}")
    }
    shared = any(pool.shared for _, pool in of_hosts if pool.name == what)
    if len(pools) > 1 and not shared:
        lines = tuple(Code(f"/kvm chart {shlex.quote(name)}") for name in pools.values())
        raise AmbiguousNameError(
            words(
                "Hosts have a pool of their own named {pool}: {n} of them.", n=len(pools), pool=what
            ),
            words("Use {commands}.", commands=Names(lines, Join.OR, most=6)),
        )
    return next(iter(pools), "") or vm_entity(seen.vm(what).uuid)


def answer_digest(settings: MonitorSettings, intent: DigestNow, view: View) -> Card:
    """The digest as it would be now; what it compares with stays as it is."""
    name = WEEKLY if intent.weekly else DAILY
    kept = view.measured.kept.get(name, {})
    since = datetime.fromisoformat(kept["slot"]) if kept.get("slot") else None
    memory = kept.get("memory", {})
    report = ReportView(
        view.snapshot,
        view.rules,
        view.history,
        view.measured,
        memory,
        view.asker.now,
        since,
        slash=view.slash,
    )
    found = digest.digest(settings, report, 7 * DAY if intent.weekly else DAY)
    return digest_card(found, view.slash, weekly=intent.weekly)


def compose(settings: MonitorSettings, name: str, view: ReportView) -> Composed:
    """A digest at its time; none when nothing happened."""
    found = digest.digest(settings, view, 7 * DAY if name == WEEKLY else DAY)
    card = None if found.quiet else digest_card(found, view.slash, weekly=name == WEEKLY)
    return Composed(card, digest.memory_of(view.snapshot))


def fits(settings: MonitorSettings, intent: Fits, view: View) -> Card:
    """How many more VMs of a size fit."""
    return fits_card(settings, intent.cpus, intent.memory, view.snapshot)


def fits_card(settings: MonitorSettings, cpus: int, memory: int, seen: Snapshot) -> Card:
    """How many more VMs of this many vCPUs and bytes of memory, with what is not counted."""
    found = fitting(seen, cpus, memory, settings.vcpus_per_core, settings.domain_tag)
    wanted = nwords("{n} vCPU and {memory}", "{n} vCPUs and {memory}", n=cpus, memory=Size(memory))
    odd = [vm for vm in map(sound, seen.vms) if vm.problem and vm.state.active]
    return cards.fits_card(found, wanted, settings.vcpus_per_core, odd)


def alerts(intent: Alerts, view: View) -> Card:
    """Active alerts, and those resolved in the last day."""
    now = view.asker.now
    found = [
        one
        for one in view.measured.incidents
        if one.open or (one.over_at and now - one.over_at < DAY)
    ]
    return cards.alerts_card(gravest_first(found), now, intent.page, intent.line)


def forecast(intent: Forecast, view: View) -> Card:
    """When CPU, memory and pools run out.

    Raises:
        UnknownNameError: no such pool.
    """
    if intent.metric is not None:
        return cards.forecast_card([_host_row(intent.metric, view)], _limit())
    rows = list(_pool_rows(intent.pool, view))
    if intent.pool and not rows:
        known = sorted({pool.name for _, pool in conditions.pools(view.snapshot)})
        all_of_them = words("The pools are: {names}.", names=Names(tuple(known), most=20))
        otherwise = all_of_them if known else words("No host that answers has a pool.")
        raise UnknownNameError(
            words("There is no pool “{pool}”.", pool=intent.pool),
            nearest(intent.pool, known, otherwise),
        )
    if not intent.pool:
        rows = [_host_row(Metric.CPU, view), _host_row(Metric.MEMORY, view), *rows]
    return cards.forecast_card(rows, _limit())


def _limit() -> Message:
    return words(
        "CPU and memory count as run out at {share} of all hosts that are up", share=Percent(_FULL)
    )


def _host_row(metric: Metric, view: View) -> Row:
    """All hosts together: their use now, and when it reaches 90% of the hosts in service."""
    up = [host for host in view.snapshot.hosts if host.up and not host.maintenance]
    whole = float(
        sum(host.cpus if metric is Metric.CPU else host.memory - host.set_aside for host in up)
    )
    buckets = _history([CLUSTER], metric, view).get(CLUSTER, ())
    line = _line(buckets, _FULL * whole, view.asker.now)
    used = _used_now(metric, {host.name for host in up}, view)
    what = words("CPU") if metric is Metric.CPU else words("Memory")
    return Row(what, _use_now(metric, used, whole), line, metric, _days_of(buckets))


def _use_now(metric: Metric, used: float | None, whole: float) -> Message:
    if used is None:
        return cards.UNKNOWN
    if metric is Metric.CPU:
        return nwords(
            "{used} of {n} core", "{used} of {n} cores", n=round(whole), used=Number(used, 1)
        )
    return words("{share} of {all}", share=Size(used), all=Size(whole))


def _used_now(metric: Metric, hosts: Collection[str], view: View) -> float | None:
    """The use of these hosts by the newest sweep; None when one of them could not be measured."""
    sweep = view.measured.sweep
    told = [each for each in sweep.hosts if each.name in hosts and not each.silent] if sweep else []
    values = [each.cpu if metric is Metric.CPU else each.memory_used for each in told]
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(hosts) else None


def _pool_rows(wanted: str, view: View) -> Iterator[Row]:
    for where, pool in conditions.pools(view.snapshot):
        if wanted and pool.name != wanted:
            continue
        host = where if where != "shared" else digest.first_with(view.snapshot, pool.name)
        entity = pool_entity(host, pool.name)
        buckets = _history([entity], Metric.SPACE, view).get(entity, ())
        line = _line(buckets, float(pool.capacity), view.asker.now)
        used = words(
            "{share} of {all}", share=Size(pool.capacity - pool.free), all=Size(pool.capacity)
        )
        what = (
            words("Pool {pool} (shared)", pool=pool.name)
            if where == "shared"
            else words("Pool {pool} ({host})", pool=pool.name, host=where)
        )
        yield Row(what, used, line, Metric.SPACE, _days_of(buckets))


def _days_of(buckets: Sequence[Bucket]) -> float:
    """Days that a history spans."""
    if not buckets:
        return 0.0
    last = buckets[-1]
    return (last.at - buckets[0].at).total_seconds() / 86400 + last.seconds / 86400


def _history(entities: list[str], metric: Metric, view: View) -> dict[str, tuple[Bucket, ...]]:
    past, now = view.measured.past, view.asker.now
    return dict(past.history(entities, metric, now - 30 * DAY, now)) if past and entities else {}


def _line(buckets: Sequence[Bucket], limit: float, now: datetime) -> Trend | None:
    days = [(bucket.at - now).total_seconds() / 86400 for bucket in buckets]
    return trend(days, [bucket.mean for bucket in buckets], limit)


def is_public(intent: DigestNow) -> bool:
    """``now`` is for all in the channel, ``preview`` for who asks."""
    return intent.when == "now"
