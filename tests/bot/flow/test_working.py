"""Who asks for something that takes long is told so, and how far it is."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest

from bot.domain.card import Card
from bot.flow.commands import working
from bot.plugin_api import Query
from tests.bot.flow.small_bot import small_bot, text
from tests.waiting import PATIENCE, until


def test_an_answer_that_takes_long_is_announced_with_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(working, "EVERY", 0.01)
    bot, release = small_bot(tmp_path), threading.Event()

    def count(intent: Any, seen: Any, port: Any, counted: Any) -> str:
        counted(120, 300)
        assert release.wait(PATIENCE)
        return "found"

    slow = Query(
        "slow",
        "Slow",
        click.Command("slow", callback=lambda: None),
        lambda _, view: Card(f"it is {view.found}"),
        count=count,
    )
    commands = {**bot.services.catalog.commands, "slow": slow}
    bot.services = replace(
        bot.services,
        catalog=replace(bot.services.catalog, commands=commands),
        working_after=0.01,
    )
    asked = threading.Thread(target=bot.types, args=("slow",), daemon=True)
    asked.start()
    far = "Working on `/kvm slow`: 120 of 300 looks are done."
    until(lambda: any(far in text(each) for each in whispers(bot)), "how far it is")
    release.set()
    asked.join(PATIENCE)
    assert "it is found" in text(whispers(bot)[-1])


def test_an_answer_that_is_quick_is_all_that_is_said(tmp_path: Path) -> None:
    bot = small_bot(tmp_path)
    bot.services = replace(bot.services, working_after=PATIENCE)
    bot.types("hosts")
    assert len(whispers(bot)) == 1


def whispers(bot: Any) -> list[Card]:
    return [each.card for each in bot.chat.whispers]
