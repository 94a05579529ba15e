"""Failover: a dead host is proven off, and its VMs start elsewhere, each once."""

from __future__ import annotations

from collections.abc import Sequence

from bot.hookspecs import hookimpl
from bot.plugin_api import Query, Settings, SettingsSection
from plugins.failover import kept
from plugins.failover.settings import FailoverSettings


@hookimpl
def register_settings() -> Sequence[SettingsSection]:
    """``[plugins.failover]``."""
    return (SettingsSection("failover", FailoverSettings),)


@hookimpl
# The shape of the hook
def register_commands(settings: Settings) -> Sequence[Query]:  # noqa: ARG001
    """``vm definition``."""
    return (
        Query("vm definition", kept.SUMMARY, kept.grammar(), kept.answer, needs_snapshot=False),
    )
