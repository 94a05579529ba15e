"""A plugin with one command, ``die``: the first bot that answers it dies before it can; the next one answers."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from bot.domain.card import Card, error_card
from bot.hookspecs import hookimpl
from bot.plugin_api import Query, Settings, View


@dataclass(frozen=True, slots=True)
class Die:
    """`die`."""


@click.command("die")
def _die() -> Die:
    """Die, once."""
    return Die()


def _answer(intent: Die, seen: View) -> Card:
    mark = Path(os.environ["DIE_MARK"])
    if not mark.exists():
        mark.write_text("died", encoding="utf-8")
        os.kill(os.getpid(), signal.SIGKILL)
    return error_card("Somebody else lives.")


@hookimpl
def register_commands(settings: Settings) -> Sequence[Query]:
    return (Query("die", "Die, once", _die, _answer, needs_snapshot=False),)
