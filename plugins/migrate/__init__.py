"""Live migration: ``migrate``, ``where`` and ``why``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

from bot.domain.card import Card
from bot.domain.past_moves import PastMove
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
from plugins.migrate import grammar, handler, planner, preflight, queries, summaries
from plugins.migrate.settings import MigrateSettings


@hookimpl
def register_settings() -> Sequence[SettingsSection]:
    """``[plugins.migrate]``."""
    return (SettingsSection("migrate", MigrateSettings),)


@hookimpl
def register_commands(settings: Settings) -> Sequence[Query | Action]:
    """``migrate``, ``where``, ``why``."""
    mine = settings.of(MigrateSettings)
    return (
        Action(
            "migrate",
            grammar.MIGRATE,
            grammar.migrate_grammar(),
            grammar.Migrate,
            plan=partial(planner.plan, mine),
            still_good=partial(planner.still_good, mine),
            emits=(MigrateVm,),
            focus=grammar.focus,
            recall=planner.with_past,
            summarize=summaries.after_copy,
            values=(PastMove,),
            example="migrate web-1 to host-b",
            also=("move", "live-migrate", "relocate", "vmotion", "migrar", "mover"),
        ),
        Query(
            "where",
            grammar.WHERE,
            grammar.about_grammar("where", grammar.WHERE),
            _where,
            focus=grammar.focus,
            example="where web-1",
            also=("targets", "candidates"),
        ),
        Query(
            "why",
            grammar.WHY,
            grammar.about_grammar("why", grammar.WHY),
            _why,
            focus=grammar.focus,
            example="why web-1",
            also=("reason", "explain"),
        ),
    )


@hookimpl
def register_step_handlers(settings: Settings) -> Sequence[StepHandler]:
    """``MigrateVm``."""
    mine = settings.of(MigrateSettings)
    return (
        StepHandler(
            MigrateVm, partial(handler.settle, mine, time.sleep), partial(handler.run, mine)
        ),
    )


@hookimpl
# The hook's shape
def register_placement_rules(settings: Settings) -> Sequence[PlacementRule]:  # noqa: ARG001
    """Nobody plans a running VM where it cannot move to."""
    return (preflight.can_move,)


def _where(about: grammar.About, view: View) -> Card:
    return queries.where(about, view.snapshot, view.rules)


def _why(about: grammar.About, view: View) -> Card:
    return queries.why(about, view.snapshot, view.history.touching, view.rules)
