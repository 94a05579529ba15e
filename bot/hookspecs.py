"""The whole contract with plugins: seven hooks.

The first six run once, at start; the last after each commit.
"""

from __future__ import annotations

from collections.abc import Sequence

import pluggy

from bot.domain.operation import Event, Operation
from bot.plugin_api import (
    Action,
    Outlook,
    PlacementRule,
    Query,
    Report,
    Settings,
    SettingsSection,
    StepHandler,
    Watch,
)

PROJECT = "drover"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a plugin's implementation of a hook: ``from bot.hookspecs import hookimpl``."""


@hookspec
def register_settings() -> Sequence[SettingsSection]:
    """The plugin's own part of the configuration."""
    return ()


@hookspec
def register_commands(settings: Settings) -> Sequence[Query | Action]:
    """The commands the plugin adds to the slash command."""
    return ()


@hookspec
def register_step_handlers(settings: Settings) -> Sequence[StepHandler]:
    """Who does which kind of step; one handler per kind in the whole bot."""
    return ()


@hookspec
def register_placement_rules(settings: Settings) -> Sequence[PlacementRule]:
    """Objections to a guest on a host, asked for every placement by every plugin."""
    return ()


@hookspec
def register_jobs(settings: Settings) -> Sequence[Watch | Report]:
    """What runs by the clock."""
    return ()


@hookspec
def register_outlooks(settings: Settings) -> Sequence[Outlook]:
    """What a plan would make true of the cluster, told with every proposal that changes hosts."""
    return ()


@hookspec
def operation_changed(operation: Operation, event: Event) -> None:
    """Told after each commit; a failure in it is logged and stops nobody."""
