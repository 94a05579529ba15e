"""Monitoring: ``status``, ``top``, ``show host``, ``chart``, digests, forecasts and alerts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from bot.hookspecs import hookimpl
from bot.plugin_api import Outlook, Query, Report, Settings, SettingsSection, Watch
from plugins.monitor import cards, conditions, planner
from plugins.monitor.settings import MonitorSettings

LIVE = 60.0  # seconds


@hookimpl
def register_settings() -> Sequence[SettingsSection]:
    """``[plugins.monitor]``."""
    return (SettingsSection("monitor", MonitorSettings),)


@hookimpl
def register_commands(settings: Settings) -> Sequence[Query]:
    """The commands, all of them queries."""
    mine = settings.of(MonitorSettings)
    return (
        Query(
            "status",
            cards.STATUS,
            planner.status_grammar(),
            partial(planner.status, mine),
            example="status",
            also=("overview", "dashboard", "cluster", "health", "info"),
        ),
        Query(
            "top",
            cards.TOP,
            planner.top_grammar(),
            planner.top,
            live=LIVE,
            needs_snapshot=False,
            example="top --by cpu",
            also=("busiest", "load", "usage"),
        ),
        Query(
            "show host",
            cards.SHOW_HOST,
            planner.show_host_grammar(),
            planner.show_host,
            example="show host host-a",
            also=("show", "info", "describe", "host info", "host status", "host list vms"),
        ),
        Query(
            "chart",
            cards.CHART,
            planner.chart_grammar(),
            planner.chart,
            example="chart web-1",
            also=("graph", "plot", "metrics", "trend", "gráfico"),
        ),
        Query(
            "digest",
            cards.DIGEST,
            planner.digest_grammar(),
            partial(planner.answer_digest, mine),
            public=planner.is_public,
            example="digest preview",
            also=("report", "daily", "resumo"),
        ),
        Query(
            "forecast",
            cards.FORECAST,
            planner.forecast_grammar(),
            planner.forecast,
            example="forecast",
            also=("predict", "run out", "previsão"),
        ),
        Query(
            "fits",
            cards.FITS,
            planner.fits_grammar(),
            partial(planner.fits, mine),
            example="fits --cpus 2 --memory 4G",
            also=("capacity", "how many", "spare"),
        ),
        Query(
            "alerts",
            cards.ALERTS,
            planner.alerts_grammar(),
            planner.alerts,
            needs_snapshot=False,
            example="alerts",
            also=("alarms", "incidents", "warnings", "problems", "alertas"),
        ),
    )


@hookimpl
def register_outlooks(settings: Settings) -> Sequence[Outlook]:
    """Whether any one host may still fail after a plan."""
    return (partial(planner.n_plus_one, settings.of(MonitorSettings)),)


@hookimpl
def register_jobs(settings: Settings) -> Sequence[Watch | Report]:
    """The watch that raises alerts, and the digests that have a time."""
    mine = settings.of(MonitorSettings)
    watch = Watch("monitor", timedelta(seconds=mine.watch_seconds), partial(conditions.watch, mine))
    times = ((planner.DAILY, mine.daily), (planner.WEEKLY, mine.weekly))
    reports = [
        Report(name, cron, partial(planner.compose, mine, name)) for name, cron in times if cron
    ]
    return (watch, *reports)
