"""A database of Drover 0.1 (schema 0004, written by commit 1264282) is brought up to date and loses nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from bot import catalog
from bot.adapters.sql import models
from bot.adapters.sql.store import SqlStore
from bot.domain.errors import StoreError
from bot.domain.operation import Noted, State, VotedFor
from bot.flow.commands import late_requests
from bot.flow.commands.queries import Core
from bot.testing.clock import TickingClock
from tests.bot.flow.small_bot import Bot, small_bot

OLD = Path(__file__).parents[3] / "data" / "drover-0.1.sql"
PLUGINS = ("migrate", "balance", "vm_lifecycle", "host_check", "monitor")
HEAD = (85, "eb58853edd72023d44abf16985563dfcdca66e453f50e9daa9276e0c240629b9")
STATES = {
    "op-1": "done", "op-2": "done", "op-3": "denied", "op-4": "withdrawn", "op-5": "expired", "op-6": "stale",
    "op-7": "failed", "op-8": "done", "op-9": "done", "op-10": "done", "op-11": "done", "op-12": "done",
    "op-13": "cancelled", "op-14": "running", "op-15": "proposed", "op-16": "proposed",
}  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "drover.sqlite"
    with closing(sqlite3.connect(made)) as connection:
        connection.executescript(OLD.read_text(encoding="utf-8"))
    return made


@pytest.fixture
def store(file: Path) -> Iterator[SqlStore]:
    loaded = catalog.load(PLUGINS, extra=(Core(),))
    opened = SqlStore(f"sqlite:///{file}", loaded.codec(), clock=TickingClock())
    yield opened
    opened.close()


@pytest.fixture
def bot(file: Path, tmp_path: Path) -> Iterator[Bot]:
    made = small_bot(tmp_path, plugins=PLUGINS)
    yield made
    made.store.close()


def test_every_operation_and_the_chain_are_kept(store: SqlStore) -> None:
    operations = store.operations(limit=1000)
    assert {each.id: str(each.state) for each in operations} == STATES
    assert [each.unreadable for each in operations if each.unreadable] == []
    assert (store.broken_link(), store.head()) == ("", HEAD)
    assert [each.key for each in store.unhandled()] == ["left"]


def test_it_is_at_the_newest_schema_and_an_older_drover_would_refuse_it(
    store: SqlStore, file: Path
) -> None:
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == (
            models.REVISION,
        )
    assert models.REVISION > "0004"  # what 0.1 knows: beyond it, it says so and does not start
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="newer Drover"):
        SqlStore(f"sqlite:///{file}", catalog.core_codec(), clock=TickingClock())


def test_the_chain_goes_on_behind_the_old_events(store: SqlStore) -> None:
    store.append(store.operation("op-16"), Noted(TickingClock().now(), "drover", "hm"))
    assert store.head()[0] == HEAD[0] + 1
    assert store.broken_link() == ""


def test_old_votes_are_for_the_plan_they_were_given_for(store: SqlStore) -> None:
    assert [vote.by for vote in store.operation("op-2").votes] == ["UBRUNO", "UCARLA"]
    assert any(isinstance(event, VotedFor) for event in store.events("op-2"))


def test_an_open_proposal_is_decided_and_what_ran_goes_on_when_people_say_so(bot: Bot) -> None:
    bot.clock.turn((bot.operation(16).proposed_at - bot.clock.now()).total_seconds() + 5)
    bot.clicks("op.approve", bot.value(16), "UBRUNO", key="new-1")
    assert bot.operation(16).state is State.APPROVED
    late_requests.hold(bot.services)
    rolling = bot.operation(14)
    assert rolling.state is State.RUNNING
    assert rolling.waiting is not None  # a person is waited for already
    bot.clicks("op.continue", f"op-14:{rolling.waiting}", "UANA", key="new-2")
    assert bot.operation(14).continued
    assert bot.clock.now() - rolling.changed_at < timedelta(days=1)
