"""A plugin that makes its own bot's clock jump, as a wrong time server would: by the seconds in the file ``jump``.

The file lies beside the one that the environment's ``DIE_MARK`` names; without it the clock is
right.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bot.factories import SystemClock
from bot.hookspecs import hookimpl
from bot.plugin_api import SettingsSection


def _jumped(clock: SystemClock) -> datetime:
    try:
        seconds = float(Path(os.environ["DIE_MARK"]).with_name("jump").read_text(encoding="utf-8"))
    except FileNotFoundError:
        seconds = 0.0
    return datetime.now(UTC) + timedelta(seconds=seconds)


@hookimpl
def register_settings() -> Sequence[SettingsSection]:
    SystemClock.now = _jumped  # type: ignore[method-assign,assignment]
    return ()
