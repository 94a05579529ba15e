"""Operations of plugins that are not loaded, and of newer versions: shown, left alone, in nobody's way."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from bot import catalog
from bot.adapters.sql.store import SqlStore
from bot.domain.errors import CatalogError
from bot.domain.operation import State
from bot.flow.commands import dispatcher
from bot.flow.commands.queries import Core
from bot.flow.operations import overdue, perform
from bot.flow.operations.operation_messages import OperationMessages
from tests.bot.flow.small_bot import Bot, small_bot, text


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Bot]:
    made = small_bot(tmp_path, plugins=("migrate", "balance", "tests.bot.flow.several"))
    yield made
    made.store.close()


def without(bot: Bot, tmp_path: Path, *plugins: str) -> Bot:
    """The bot started again with fewer plugins."""
    loaded = catalog.load(plugins, extra=(Core(),))
    store = SqlStore(f"sqlite:///{tmp_path}/drover.sqlite", loaded.codec(), clock=bot.clock)
    bot.store.close()
    screen = OperationMessages(store, bot.chat, bot.services.messages._draw)
    services = replace(bot.services, catalog=loaded, store=store, messages=screen)
    return replace(bot, services=services, store=store)


@pytest.fixture
def fewer(bot: Bot, tmp_path: Path) -> Bot:
    """op-1 approved and op-2 proposed by a plugin that is gone; op-3 proposed by one that is loaded."""
    bot.types("several web-1=host-c")
    bot.clicks("op.approve", bot.value(1), "UBRUNO")
    bot.types("several app-1=host-c")
    bot.types("migrate db-1 to host-b")
    bot.work.ids.clear()
    return without(bot, tmp_path, "migrate", "balance")


def test_others_are_listed_decided_and_performed(fewer: Bot) -> None:
    dispatcher.pick_up(fewer.services)
    dispatcher.pick_up(fewer.services)
    assert fewer.work.ids == []
    told = [text(card) for ref, card in fewer.chat.messages.items() if ref.channel == "COPS"]
    assert sum("op-1 (Move several) is left alone" in each for each in told) == 1
    assert "Move several" in text(fewer.types("ops"))
    assert "Move several" in text(fewer.types("audit op-1"))
    assert "op-3" in text(fewer.types("approvals", by="UBRUNO"))
    fewer.clicks("op.approve", fewer.value(3), "UBRUNO")
    fewer.works()
    assert fewer.operation(3).state is State.DONE
    assert fewer.operation(1).state is State.APPROVED


def test_it_takes_no_vote_and_is_not_performed_but_can_be_ended(fewer: Bot) -> None:
    assert "left alone" in text(fewer.clicks("op.approve", fewer.value(2), "UBRUNO"))
    with pytest.raises(CatalogError, match="left alone"):
        perform.perform(fewer.services, "op-1")
    assert fewer.operation(1).state is State.APPROVED
    fewer.clicks("op.cancel", fewer.value(1), "UBRUNO")
    assert fewer.operation(1).state is State.CANCELLED
    fewer.clock.turn(700)
    overdue.expire(fewer.services)
    assert [fewer.operation(2).state, fewer.operation(3).state] == [State.EXPIRED, State.EXPIRED]
    overdue.remind(fewer.services)
    assert fewer.store.broken_link() == ""


def test_with_its_plugin_again_it_goes_on(fewer: Bot, tmp_path: Path) -> None:
    again = without(fewer, tmp_path, "migrate", "balance", "tests.bot.flow.several")
    dispatcher.pick_up(again.services)
    again.works()
    assert again.operation(1).state is State.DONE


def test_an_event_of_a_newer_version_is_in_nobodys_way(fewer: Bot, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "drover.sqlite")) as connection, connection:
        connection.execute(
            'UPDATE events SET data = replace(data, \'"is":"VotedFor"\', \'"is":"SangFor"\')'
        )
    dispatcher.pick_up(fewer.services)
    fewer.clock.turn(700)
    overdue.expire(fewer.services)
    overdue.remind(fewer.services)
    assert (
        "left alone here" in text(fewer.clicks("op.cancel", fewer.value(1), "UBRUNO"))
        or fewer.operation(1).unreadable
    )
    assert fewer.operation(3).state is State.EXPIRED
    assert "SangFor (not read here" in text(fewer.types("audit op-1"))
    assert "op-1" in text(fewer.types("ops"))
