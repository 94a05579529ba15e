"""Live migration: ``migrate``, ``where`` and ``why``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

from bot.domain.card import Card
from bot.domain.steps import MigrateVm
from bot.hookspecs import hookimpl
from bot.plugin_api import (
    Action,
    PlacementRule,
    Query,
    Settings,
    SettingsSection,
    StepHandler,
    View,
)
from plugins.migrate import cards, handler, planner, preflight
from plugins.migrate.settings import MigrateSettings


@hookimpl
def register_settings() -> Sequence[SettingsSection]:
    """``[plugins.migrate]``."""
    return (SettingsSection("migrate", MigrateSettings),)


@hookimpl
def register_commands(settings: Settings) -> Sequence[Query | Action]:
    """``migrate``, ``where``, ``why``."""
    mine = _section(settings)
    return (
        Action(
            "migrate",
            cards.MIGRATE,
            planner.migrate_grammar(),
            planner.Migrate,
            plan=partial(planner.plan, mine),
            still_good=partial(planner.still_good, mine),
            emits=(MigrateVm,),
            focus=planner.focus,
        ),
        Query(
            "where",
            cards.WHERE,
            planner.about_grammar("where", cards.WHERE),
            _where,
            focus=planner.focus,
        ),
        Query("why", cards.WHY, planner.about_grammar("why", cards.WHY), _why, focus=planner.focus),
    )


@hookimpl
def register_step_handlers(settings: Settings) -> Sequence[StepHandler]:
    """``MigrateVm``."""
    mine = _section(settings)
    return (
        StepHandler(
            MigrateVm, partial(handler.settle, mine, time.sleep), partial(handler.run, mine)
        ),
    )


@hookimpl
# The hook's shape
def register_placement_rules(settings: Settings) -> Sequence[PlacementRule]:  # noqa: ARG001
    """Nobody plans a running guest where it cannot move to."""
    return (preflight.can_move,)


def _section(settings: Settings) -> MigrateSettings:
    found = settings.sections.get("migrate")
    return found if isinstance(found, MigrateSettings) else MigrateSettings()


def _where(about: planner.About, view: View) -> Card:
    return planner.where(about, view.snapshot, view.rules)


def _why(about: planner.About, view: View) -> Card:
    return planner.why(about, view.snapshot, view.history.touching, view.rules)
