"""A bot that nobody can reach does not call itself well."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from bot import app
from bot.app import DEAF, Drover
from bot.domain.errors import ChatError, StoreGoneError
from bot.flow.operations import overdue
from bot.flow.operations.outbox import Item, Outbox
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


@pytest.mark.parametrize(("connected", "well"), [(True, [True]), (False, [])])
def test_the_health_file_of_a_bot_without_a_socket_grows_old(
    monkeypatch: pytest.MonkeyPatch, *, connected: bool, well: list[bool]
) -> None:
    bot = deaf("socket", connected=connected, since=DEAF + 1)
    said: list[bool] = []
    bot._store = SimpleNamespace(mark_alive=lambda: None)  # type: ignore[assignment]
    bot.services = SimpleNamespace()  # type: ignore[assignment]
    monkeypatch.setattr(overdue, "expire", lambda _: None)
    monkeypatch.setattr(overdue, "remind", lambda _: None)
    monkeypatch.setattr(app, "say_well", lambda _: said.append(True))
    bot._tick()
    assert said == well


def test_that_the_database_is_gone_is_told_once_and_until_the_chat_takes_it() -> None:
    outbox, tries = Outbox(), []

    def post(place: str, card: Any, **_: object) -> None:
        tries.append((place, str(card.text)))
        if len(tries) == 1:
            raise ChatError("Slack does not answer.")

    bot = object.__new__(Drover)
    bot._told_gone = False
    bot.services = SimpleNamespace(  # type: ignore[assignment]
        places=SimpleNamespace(ops="COPS", approvals="CAPP"),
        chat=SimpleNamespace(post=post),
        messages=SimpleNamespace(say=lambda lane, say: outbox.put(lane, Item(say))),
    )
    for _ in range(3):
        bot._tell_gone(StoreGoneError("The database file was deleted.", "Stop the bot."))
    assert len(tries) == 1
    outbox.catch_up()
    assert tries == [("COPS", "The database file was deleted. Stop the bot.")] * 2
    outbox.catch_up()
    assert len(tries) == 2
