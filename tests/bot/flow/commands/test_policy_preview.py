"""`policy` of a command with its arguments: whose votes this very line would take."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bot.flow.small_bot import Bot, small_bot, text


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Bot]:
    made = small_bot(tmp_path, plugins=("migrate", "vm_lifecycle"))
    yield made
    made.store.close()


def test_this_very_line_is_planned_and_nothing_is_proposed(bot: Bot) -> None:
    said = text(bot.types("policy migrate web-1 to host-b"))
    assert "it takes 1 vote from approver, by rule “default”" in said
    risky = text(bot.types("policy migrate web-1 to host-b --policy postcopy"))
    assert "it takes 2 votes from approver, by rule “careful”" in risky
    assert bot.store.operations() == ()


def test_what_would_be_refused_or_only_reads_or_lacks_something_is_told(bot: Bot) -> None:
    assert "There is no VM" in text(bot.types("policy migrate web-9 to host-b"))
    assert "needs no vote" in text(bot.types("policy vm show web-1"))
    assert "There is no command" in text(bot.types("policy mgirate web-1"))
    assert "The first matching rule applies" in text(bot.types("policy migrate"))
