"""Readiness of hosts: ``host check``, ``host pair``, ``host baseline``, ``host maintenance``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from bot.domain.card import Card
from bot.domain.plan import Risk
from bot.domain.steps import SetMaintenance
from bot.hookspecs import hookimpl
from bot.plugin_api import Action, Query, Report, Settings, SettingsSection, View, Watch
from plugins.host_check import cards, daily, drift, handler, matrix, planner
from plugins.host_check.settings import HostCheckSettings


@hookimpl
def register_settings() -> Sequence[SettingsSection]:
    """``[plugins.host_check]``."""
    return (SettingsSection("host_check", HostCheckSettings),)


@hookimpl
def register_commands(settings: Settings) -> Sequence[Query | Action]:
    """The four commands."""
    mine = settings.of(HostCheckSettings)
    return (
        Query(
            "host check",
            cards.CHECK,
            planner.check_grammar(),
            _check,
            gather=partial(handler.check, mine),
            example="host check host-a",
            also=("verify", "doctor", "preflight", "ready"),
        ),
        Query(
            "host pair",
            cards.PAIR,
            planner.pair_grammar(),
            _pair,
            gather=partial(handler.pair, mine),
            count=partial(handler.pair, mine),
            example="host pair host-a host-b",
            also=("matrix", "compatible"),
        ),
        Query(
            "host baseline",
            cards.BASELINE,
            planner.baseline_grammar(),
            _baseline,
            gather=handler.baseline,
            example="host baseline",
            also=("cpu model",),
        ),
        Action(
            "host maintenance",
            cards.MAINTENANCE,
            planner.maintenance_grammar(),
            planner.HostMaintenance,
            planner.plan,
            planner.recheck,
            emits=(SetMaintenance,),
            risk=Risk.LOW,
            form=planner.maintenance_form,
            example="host maintenance host-b on",
        ),
    )


@hookimpl
def register_jobs(settings: Settings) -> Sequence[Watch | Report]:
    """Once a day, changes in readiness; every few minutes, clocks and certificates."""
    mine = settings.of(HostCheckSettings)
    check = partial(handler.check, mine, planner.HostCheck())
    return (
        Watch("readiness", timedelta(hours=mine.watch_hours), daily.watch, gather=check),
        Watch(
            "ageing",
            timedelta(minutes=mine.ageing_minutes),
            partial(drift.watch, mine),
            gather=partial(handler.read_ageing, mine),
        ),
    )


def _check(intent: planner.HostCheck, view: View) -> Card:
    return cards.check_card(view.found, intent.page, intent.line, verbose=intent.verbose)


def _pair(intent: planner.HostPair, view: View) -> Card:  # noqa: ARG001
    reports = view.found.reports
    drawn = len(reports) > 2 and not view.found.groups
    return cards.pair_card(view.found, matrix.draw_matrix(reports) if drawn else None)


def _baseline(intent: planner.HostBaseline, view: View) -> Card:  # noqa: ARG001
    return cards.baseline_card(view.found)
