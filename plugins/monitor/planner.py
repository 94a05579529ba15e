"""Pure: the words of the commands, and their answers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import click

from bot.domain.capacity import fits as fitting
from bot.domain.capacity import losses
from bot.domain.card import Card
from bot.domain.cluster import Snapshot, sound
from bot.domain.errors import UnknownNameError
from bot.domain.metrics import CLUSTER, Bucket, Metric, host_entity, pool_entity, vm_entity
from bot.domain.operation import State
from bot.domain.words import bytes_text, nearest, seconds_of, size
from bot.plugin_api import Composed, ReportView, View
from plugins.monitor import cards, concerns, digest
from plugins.monitor.rates import By, ranked
from plugins.monitor.rollups import drawn, grain
from plugins.monitor.settings import MonitorSettings
from plugins.monitor.trends import Row, Trend, trend

DAY = timedelta(days=1)
DAILY, WEEKLY = "digest daily", "digest weekly"
_FULL = 0.9  # of the cluster's cores and memory: there it has run out for new guests


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
    """``forecast [pool NAME]``."""

    pool: str = ""


@dataclass(frozen=True, slots=True)
class Fits:
    """``fits --cpus N --memory SIZE``; memory in bytes."""

    cpus: int
    memory: int


@dataclass(frozen=True, slots=True)
class Alerts:
    """``alerts``."""


def status_grammar() -> click.Command:
    """``status`` → ``Status``."""
    return click.Command("status", callback=Status, help=cards.STATUS, add_help_option=False)


def alerts_grammar() -> click.Command:
    """``alerts`` → ``Alerts``."""
    return click.Command("alerts", callback=Alerts, help=cards.ALERTS, add_help_option=False)


def top_grammar() -> click.Command:
    """``top [--by cpu|mem|disk|net|wait] [--host HOST]`` → ``Top``."""
    choice = click.Choice([each.value for each in By], case_sensitive=False)
    return click.Command(
        "top",
        params=[
            click.Option(
                ["--by"], type=choice, default=By.CPU.value, show_default=True, help=cards.TOP_BY
            ),
            click.Option(["--host"], default="", metavar="HOST", help=cards.TOP_HOST),
        ],
        callback=lambda by, host: Top(By(by.lower()), host),
        help=cards.TOP,
        add_help_option=False,
    )


def show_host_grammar() -> click.Command:
    """``show host HOST`` → ``ShowHost``."""
    argument = click.Argument(["host"], metavar="HOST")
    return click.Command(
        "show host",
        params=[argument],
        callback=ShowHost,
        help=cards.SHOW_HOST,
        add_help_option=False,
    )


def chart_grammar() -> click.Command:
    """``chart WHAT [--metric …] [--since 24h]`` → ``ChartOf``."""
    choice = click.Choice([each.value for each in Metric], case_sensitive=False)
    return click.Command(
        "chart",
        params=[
            click.Argument(["what"], metavar="VM|HOST|POOL|cluster"),
            click.Option(
                ["--metric"], type=choice, default="cpu", show_default=True, help=cards.CHART_METRIC
            ),
            click.Option(
                ["--since"],
                default="24h",
                show_default=True,
                metavar="TIME",
                help=cards.CHART_SINCE,
            ),
        ],
        callback=lambda what, metric, since: ChartOf(
            what, Metric(metric.lower()), _duration(since)
        ),
        help=cards.CHART,
        add_help_option=False,
    )


def digest_grammar() -> click.Command:
    """``digest now|preview [--weekly]`` → ``DigestNow``."""
    return click.Command(
        "digest",
        params=[
            click.Argument(["when"], type=click.Choice(["now", "preview"]), default="preview"),
            click.Option(["--weekly"], is_flag=True, help=cards.DIGEST_WEEKLY),
        ],
        callback=DigestNow,
        help=cards.DIGEST,
        add_help_option=False,
    )


def forecast_grammar() -> click.Command:
    """``forecast [pool NAME]`` → ``Forecast``."""
    argument = click.Argument(["words"], nargs=-1, metavar="[pool NAME]")
    return click.Command(
        "forecast",
        params=[argument],
        callback=lambda words: Forecast(words[-1] if words else ""),
        help=cards.FORECAST,
        add_help_option=False,
    )


def fits_grammar() -> click.Command:
    """``fits --cpus 4 --memory 16G`` → ``Fits``."""
    return click.Command(
        "fits",
        params=[
            click.Option(["--cpus"], type=click.IntRange(1, 1024), default=2, show_default=True),
            click.Option(["--memory"], default="4G", show_default=True, metavar="SIZE"),
        ],
        callback=lambda cpus, memory: Fits(cpus, _bytes(memory)),
        help=cards.FITS,
        add_help_option=False,
    )


def _duration(text: str) -> int:
    try:
        found = seconds_of(text)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if found < 300:
        raise click.UsageError("Charts begin at five minutes: --since 5m or more.")
    return found


def _bytes(text: str) -> int:
    try:
        found = size(text)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if found <= 0:
        raise click.UsageError("A VM needs memory: --memory 4G for example.")
    return found


# answers


def status(settings: MonitorSettings, intent: Status, view: View) -> Card:
    """The cluster on one card."""
    del intent
    running = view.history.operations(states=(State.APPROVED, State.RUNNING), limit=50)
    lost = losses(view.snapshot, settings.vcpus_per_core, settings.domain_tag)
    return cards.status(view.snapshot, view.measured, lost, running, view.asker.now)


def top(intent: Top, view: View) -> Card:
    """The hungriest guests.

    Raises:
        UnknownNameError: no such host.
    """
    sweep = view.measured.sweep
    if sweep is None:
        return cards.nothing_measured()
    if intent.host and sweep.host(intent.host) is None:
        known = [host.name for host in sweep.hosts]
        raise UnknownNameError(
            f"There is no host “{intent.host}”.",
            nearest(intent.host, known, "See all with `hosts`."),
        )
    return cards.top(
        sweep,
        ranked(sweep, intent.by, intent.host),
        by=intent.by,
        host=intent.host,
        now=view.asker.now,
    )


def show_host(intent: ShowHost, view: View) -> Card:
    """One host in full."""
    box = view.snapshot.host(intent.host)
    sweep = view.measured.sweep
    sample = sweep.host(box.name) if sweep else None
    vms = [vm for vm in sweep.vms if vm.host == box.name] if sweep else []
    vms.sort(key=lambda vm: (vm.state != "running", -(vm.cpu or 0.0), vm.name))
    return cards.host(view.snapshot, box, sample, vms, view.asker.now)


def chart(intent: ChartOf, view: View) -> Card:
    """The past of a guest, a host, a pool, or all hosts together."""
    now = view.asker.now
    since = now - timedelta(seconds=intent.since)
    past = view.measured.past
    entity = _entity(intent.what, view.snapshot)
    metric = Metric.SPACE if entity.startswith("pool:") else intent.metric
    buckets = past.history([entity], metric, since, now).get(entity, ()) if past else ()
    if not buckets:
        return cards.no_history(intent.what, metric)
    most, form = grain(buckets)
    return cards.chart(intent.what, metric, drawn(buckets, most), float(intent.since), form)


def _entity(what: str, seen: Snapshot) -> str:
    """What is to be drawn, by its name in the history.

    Raises:
        UnknownNameError: nothing is called so.
    """
    if what == "cluster":
        return CLUSTER
    if any(host.name == what for host in seen.hosts):
        return host_entity(what)
    for host in seen.hosts:
        if any(pool.name == what for pool in host.pools):
            return pool_entity(host.name, what)
    return vm_entity(seen.vm(what).uuid)


def answer_digest(settings: MonitorSettings, intent: DigestNow, view: View) -> Card:
    """The digest as it would be now; what it compares with stays as it is."""
    name = WEEKLY if intent.weekly else DAILY
    kept = view.measured.kept.get(name, {})
    since = datetime.fromisoformat(kept["slot"]) if kept.get("slot") else None
    report = ReportView(
        view.snapshot, view.rules, view.history, view.measured, kept.get("memory", {}), view.asker.now, since,
        slash=view.slash,
    )  # fmt: skip
    found = digest.digest(settings, report, 7 * DAY if intent.weekly else DAY)
    return cards.digest(found, "weekly" if intent.weekly else "daily", view.slash)


def compose(settings: MonitorSettings, name: str, view: ReportView) -> Composed:
    """A digest at its time; none when nothing happened."""
    found = digest.digest(settings, view, 7 * DAY if name == WEEKLY else DAY)
    card = None if found.quiet else cards.digest(found, name.removeprefix("digest "), view.slash)
    return Composed(card, digest.remembered(view.snapshot))


def fits(settings: MonitorSettings, intent: Fits, view: View) -> Card:
    """How many more of a size."""
    return fits_card(settings, intent.cpus, intent.memory, view.snapshot)


def fits_card(settings: MonitorSettings, cpus: int, memory: int, seen: Snapshot) -> Card:
    """How many more VMs of this many vCPUs and bytes of memory, with what is not counted."""
    found = fitting(seen, cpus, memory, settings.vcpus_per_core, settings.domain_tag)
    wanted = f"{cpus} vCPU{'s' * (cpus != 1)} and {bytes_text(memory)}"
    odd = [vm for vm in map(sound, seen.vms) if vm.problem and vm.state.active]
    return cards.fits(found, wanted, settings.vcpus_per_core, odd)


def alerts(intent: Alerts, view: View) -> Card:
    """What stands, and what stood in the last day."""
    del intent
    now = view.asker.now
    found = [
        one
        for one in view.measured.incidents
        if one.open or (one.over_at and now - one.over_at < DAY)
    ]
    return cards.alerts(sorted(found, key=lambda one: (not one.open, one.opened_at)), now)


def forecast(intent: Forecast, view: View) -> Card:
    """When CPU, memory and pools run out.

    Raises:
        UnknownNameError: no such pool.
    """
    rows = list(_pool_rows(intent.pool, view))
    if intent.pool and not rows:
        known = [pool.name for _, pool in concerns.pools(view.snapshot)]
        raise UnknownNameError(f"There is no pool “{intent.pool}”.", nearest(intent.pool, known))
    if not intent.pool:
        rows = [_host_row(Metric.CPU, view), _host_row(Metric.MEMORY, view), *rows]
    return cards.forecast(
        rows, f"CPU and memory count as run out at {cards.share(_FULL)} of all hosts that are up"
    )


def _host_row(metric: Metric, view: View) -> Row:
    """All hosts together: what they use now, against nine tenths of what those have that are in service."""
    up = [host for host in view.snapshot.hosts if host.up and not host.maintenance]
    whole = float(
        sum(host.cpus if metric is Metric.CPU else host.memory - host.set_aside for host in up)
    )
    buckets = _history([CLUSTER], metric, view).get(CLUSTER, ())
    line = _line(buckets, _FULL * whole, view.asker.now)
    used = _used_now(metric, {host.name for host in up}, view)
    if metric is Metric.CPU:
        now = "?" if used is None else f"{used:.1f} of {whole:.0f} cores"
        return Row("CPU", now, line, metric, _days_of(buckets))
    now = "?" if used is None else f"{bytes_text(used)} of {bytes_text(whole)}"
    return Row("Memory", now, line, metric, _days_of(buckets))


def _used_now(metric: Metric, hosts: Collection[str], view: View) -> float | None:
    """What these hosts use by the newest sweep; None when one of them could not tell."""
    sweep = view.measured.sweep
    told = [each for each in sweep.hosts if each.name in hosts and not each.silent] if sweep else []
    values = [each.cpu if metric is Metric.CPU else float(each.used) for each in told]
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(hosts) else None


def _pool_rows(wanted: str, view: View) -> Iterator[Row]:
    for where, pool in concerns.pools(view.snapshot):
        if wanted and pool.name != wanted:
            continue
        host = where if where != "shared" else digest.first_with(view.snapshot, pool.name)
        entity = pool_entity(host, pool.name)
        buckets = _history([entity], Metric.SPACE, view).get(entity, ())
        line = _line(buckets, float(pool.capacity), view.asker.now)
        used = f"{bytes_text(pool.capacity - pool.free)} of {bytes_text(pool.capacity)}"
        yield Row(f"Pool {pool.name} ({where})", used, line, Metric.SPACE, _days_of(buckets))


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


def posted(intent: DigestNow) -> bool:
    """``now`` is for all in the channel, ``preview`` for who asks."""
    return intent.when == "now"
