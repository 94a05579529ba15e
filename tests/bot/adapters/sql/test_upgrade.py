"""A database of Drover 0.1 (schema 0004, written by commit 1264282) is brought up to date and loses nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from bot import catalog
from bot.adapters.sql import models
from bot.adapters.sql.store import SqlStore
from bot.domain.errors import FencedError, StoreError
from bot.domain.operation import Noted, State, VotedFor
from bot.flow.commands import late_requests
from bot.flow.commands.queries import Core
from bot.testing.clock import TickingClock
from tests import postgres
from tests.bot.flow.small_bot import Bot, small_bot

OLD = Path(__file__).parents[3] / "data" / "drover-0.1.sql"
MIGRATIONS = Path(models.__file__).parent / "migrations"
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


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Postgres]:
    if postgres.missing():
        pytest.skip(postgres.missing())
    with postgres.running() as running:
        yield running


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.process)])
def url(request: pytest.FixtureRequest, file: Path) -> str:
    """The same database of 0.1 on both engines."""
    if request.param == "sqlite":
        return f"sqlite:///{file}"
    server: postgres.Postgres = request.getfixturevalue("server")
    found = server.database()
    copy(file, found)
    return found


def engine_of(url: str) -> sa.Engine:
    return sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))


def copy(file: Path, url: str) -> None:
    """Make the tables as 0.1 made them, and fill them from its SQLite file."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    old, new = engine_of(f"sqlite:///{file}"), engine_of(url)
    with old.connect() as source, new.begin() as target:
        config.attributes["connection"] = target
        command.upgrade(config, "0004")
        tables = sa.MetaData()
        tables.reflect(target)
        tables.remove(tables.tables["alembic_version"])
        for table in tables.sorted_tables:
            target.execute(sa.delete(table))  # the migrations made the first row of some
            rows = source.execute(sa.text(f"SELECT * FROM {table.name}")).mappings()  # noqa: S608
            for row in rows:
                target.execute(sa.insert(table).values(**row))
    old.dispose()
    new.dispose()


def change(url: str, statement: str, **values: str) -> None:
    engine = engine_of(url)
    with engine.begin() as connection:
        connection.execute(sa.text(statement), values)
    engine.dispose()


@pytest.fixture
def store(url: str) -> Iterator[SqlStore]:
    loaded = catalog.load(PLUGINS, extra=(Core(),))
    opened = SqlStore(url, loaded.codec(), clock=TickingClock())
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
    assert [each.key for each in store.pending_requests()] == ["left"]


def test_it_is_at_the_newest_schema_and_an_older_drover_would_refuse_it(
    store: SqlStore, url: str
) -> None:
    engine = engine_of(url)
    with engine.connect() as connection:
        found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    engine.dispose()
    assert found == models.REVISION
    assert models.REVISION > "0004"  # what 0.1 knows: beyond it, it says so and does not start
    change(url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="newer Drover"):
        SqlStore(url, catalog.core_codec(), clock=TickingClock())


def test_a_bot_that_runs_ends_when_a_newer_drover_has_upgraded_its_database(
    store: SqlStore, url: str
) -> None:
    store.mark_alive()
    head = store.head()
    change(url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(FencedError, match="newer Drover upgraded the database to schema 9999"):
        store.mark_alive()
    assert store.head() == head


def test_nothing_is_upgraded_beneath_a_bot_of_an_older_version(url: str) -> None:
    now = datetime.now(UTC)
    change(
        url,
        "INSERT INTO notes (key, text, version) VALUES ('alive', :text, 1)"
        " ON CONFLICT (key) DO UPDATE SET text = excluded.text",
        text=now.isoformat(),
    )
    with pytest.raises(StoreError, match="a bot of an older version is at work") as told:
        SqlStore(url, catalog.core_codec(), clock=TickingClock())
    assert "Stop every replica" in str(told.value.advice)
    change(
        url,
        "UPDATE notes SET text = :text WHERE key = 'alive'",
        text=(now - timedelta(seconds=30)).isoformat(),
    )
    opened = SqlStore(url, catalog.core_codec(), clock=TickingClock())
    assert opened.head() == HEAD
    opened.close()


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
