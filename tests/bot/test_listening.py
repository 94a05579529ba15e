"""A bot that nobody can reach does not call itself well."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from bot.app import DEAF, Drover
from bot.settings import DroverSettings, SlackSection


def deaf(mode: Any, *, connected: bool, since: float) -> Drover:
    """As much of a bot as looks whether requests arrive."""
    bot = object.__new__(Drover)
    bot._settings = DroverSettings(slack=SlackSection(mode=mode))
    bot._listeners = SimpleNamespace(connected=lambda: connected)  # type: ignore[assignment]
    bot._heard_at = time.monotonic() - since
    return bot


@pytest.mark.parametrize(
    ("mode", "connected", "since", "well"),
    [
        ("socket", True, DEAF + 1, True),
        ("socket", False, 0, True),  # a disconnect is routine; the SDK comes back
        ("socket", False, DEAF + 1, False),
        ("http", False, DEAF + 1, True),
    ],
)
def test_a_bot_without_a_socket_for_long_is_not_well(
    mode: str, since: float, *, connected: bool, well: bool
) -> None:
    assert deaf(mode, connected=connected, since=since)._listening() is well
