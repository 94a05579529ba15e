"""What the database can do to the bot: full, locked, killed, missing, foreign; nothing is ever half written."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import event

from bot.adapters.sql import models, schema
from bot.adapters.sql.inbox import Inbox
from bot.adapters.sql.store import SqlStore
from bot.domain.errors import StoreError
from bot.domain.operation import Noted, State
from bot.testing.clock import TickingClock
from tests.operations import CODEC, later, proposal, request

ROOT = Path(__file__).parents[4]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "drover.sqlite"


@pytest.fixture
def store(file: Path) -> Iterator[SqlStore]:
    made = SqlStore(f"sqlite:///{file}", CODEC, clock=TickingClock(), patience=0.05)
    yield made
    made.close()


def fill_disk(store: SqlStore) -> None:
    """From now on the file may not grow."""

    @event.listens_for(store._engine, "connect")
    def full(connection: sqlite3.Connection, _record: object) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")

    store._engine.dispose()
    store._inbox = Inbox(store._engine, 2.0)
    full(store._inbox._driver(), None)


def noted_often(store: SqlStore) -> None:
    for n in range(2000):
        store.append(store.operation("op-1"), Noted(later(n), "drover", "x" * 2000))


def proposed_often(store: SqlStore) -> None:
    for n in range(2000):
        store.propose(proposal(f"k{n}"))


def accepted_often(store: SqlStore) -> None:
    for n in range(2000):
        store.accept(request(f"k{n}", "x" * 2000))


@pytest.mark.parametrize("writing", [noted_often, proposed_often, accepted_often])
def test_a_full_disk_is_told_with_advice_and_nothing_is_half_written(
    store: SqlStore, writing: Callable[[SqlStore], None]
) -> None:
    store.propose(proposal())
    store.accept(request("kept"))
    fill_disk(store)
    with pytest.raises(StoreError, match=r"disk is full.*Free space"):
        writing(store)
    assert store.operation("op-1").version == len(store.events("op-1"))
    assert store.broken_link() == ""
    assert store.pending_requests()[0] == request("kept")


def test_space_freed_again_is_used_again(store: SqlStore) -> None:
    operation = store.propose(proposal())
    fill_disk(store)
    with pytest.raises(StoreError):
        store.append(operation, *(Noted(later(n), "drover", "x" * 3000) for n in range(50)))
    with store._engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    noted = store.append(operation, *(Noted(later(n), "drover", "x" * 3000) for n in range(50)))
    assert store.operation("op-1") == noted


def test_a_locked_database_is_told_after_the_patience_and_works_again_after(
    store: SqlStore, file: Path
) -> None:
    operation = store.propose(proposal())
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for write in (
            lambda: store.accept(request()),
            lambda: store.append(operation, Noted(later(1), "drover", "x")),
            lambda: store.propose(proposal("another")),
            lambda: store.claim("key"),
        ):
            with pytest.raises(StoreError, match=r"locked.*Another program"):
                write()
        assert store.operation("op-1") == operation  # readers are not kept out
        other.execute("ROLLBACK")
    assert store.append(operation, Noted(later(1), "drover", "x")).version == 2
    assert store.accept(request())
    assert [each.id for each in store.operations()] == ["op-1"]


def test_a_damaged_file_is_told(file: Path) -> None:
    file.write_bytes(b"this is a letter, not a database" * 200)
    with pytest.raises(StoreError, match=r"not a database.*Check .database.url"):
        SqlStore(f"sqlite:///{file}", CODEC, clock=TickingClock())


def test_a_missing_directory_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"unable to open.*directory exists"):
        SqlStore(f"sqlite:///{tmp_path}/nowhere/drover.sqlite", CODEC, clock=TickingClock())


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///:memory:",
        "mysql://root:secret@db/drover",
        "mysql://root@db/drover?password=secret",
        "postgresql://drover:secret@db:port/drover",
        "drover:secret@db/drover",
        "drover.sqlite",
    ],
)
def test_other_databases_are_refused_without_telling_a_password(url: str) -> None:
    with pytest.raises(StoreError, match="sqlite:///path") as caught:
        SqlStore(url, CODEC, clock=TickingClock())
    assert "secret" not in str(caught.value)


def test_a_postgresql_that_does_not_answer_is_told() -> None:
    with pytest.raises(StoreError, match="PostgreSQL runs and answers") as caught:
        SqlStore("postgresql://drover:secret@127.0.0.1:1/drover", CODEC, clock=TickingClock())
    assert "secret" not in str(caught.value)


WRITER = """
import os, signal, sys
from bot.adapters.sql.store import SqlStore
from bot.domain.operation import Approved, VotedFor
from bot.testing.clock import TickingClock
from tests.operations import CODEC, later, proposal, request
store = SqlStore(sys.argv[1], CODEC, clock=TickingClock())
assert store.accept(request("a"))
operation = store.propose(proposal())
store.append(operation, VotedFor(later(1), "UAPP", operation.plan.digest), Approved(later(1), "UAPP"))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.process
def test_what_was_answered_survives_kill_9(file: Path, store: SqlStore) -> None:
    words = [sys.executable, "-c", WRITER, f"sqlite:///{file}"]
    died = subprocess.run(
        words, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False, timeout=60
    )
    assert died.returncode == -signal.SIGKILL
    assert store.pending_requests() == (request("a"),)
    assert store.operation("op-1").state is State.APPROVED
    assert store.broken_link() == ""


def test_events_wait_for_the_disk_and_requests_do_not(store: SqlStore) -> None:
    said: list[str] = []
    event.listen(store._engine, "before_cursor_execute", lambda *args: said.append(args[2]))
    operation = store.propose(proposal())
    store.append(operation, Noted(later(1), "drover", "x"))
    assert [each for each in said if "synchronous" in each] == ["PRAGMA synchronous = FULL"] * 2
    store.accept(request())
    (normal,) = store._inbox._driver().execute("PRAGMA synchronous").fetchone()
    assert normal == 1


def test_the_newest_migration_is_the_one_the_code_knows() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [models.REVISION]


def test_the_migrations_make_exactly_the_tables_of_the_code(store: SqlStore) -> None:
    with store._engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), models.metadata) == []


def test_a_database_made_at_once_is_the_one_that_the_migrations_make(
    store: SqlStore, tmp_path: Path
) -> None:
    migrated = sa.create_engine(f"sqlite:///{tmp_path}/migrated.sqlite")
    with migrated.begin() as connection:
        schema._upgrade(connection)
        by_steps = layout(connection)
    migrated.dispose()
    with store._engine.connect() as connection:
        assert layout(connection) == by_steps


def layout(connection: sa.Connection) -> dict[str, object]:
    """Columns, keys, indexes, and what else SQLite was told of each table; and the rows it begins with."""
    seen = sa.inspect(connection)
    found: dict[str, object] = {}
    for table in seen.get_table_names():
        found[table] = (
            [
                (each["name"], str(each["type"]), each["nullable"])
                for each in seen.get_columns(table)
            ],
            seen.get_pk_constraint(table),
            seen.get_foreign_keys(table),
            sorted(map(str, seen.get_unique_constraints(table))),
            # Names of our own tables
            connection.exec_driver_sql(f"SELECT * FROM {table}").fetchall(),  # noqa: S608
            ["WITHOUT ROWID" in each for each in statements(connection, table, "table")],
            statements(connection, table, "index"),
        )
    return found


def statements(connection: sa.Connection, table: str, kind: str) -> list[str]:
    wanted = sa.text(
        "SELECT sql FROM sqlite_master WHERE tbl_name = :table AND type = :kind ORDER BY name"
    )
    return [
        str(each) for each in connection.execute(wanted, {"table": table, "kind": kind}).scalars()
    ]


@pytest.mark.process
def test_a_start_does_without_alembic(file: Path) -> None:
    program = f"""
import sys
from bot.adapters.sql.store import SqlStore
from bot.testing.clock import TickingClock
from tests.operations import CODEC
SqlStore("sqlite:///{file}", CODEC, clock=TickingClock()).close()
print("alembic" in sys.modules)
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    told = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert (told.stdout, told.stderr) == ("False\n", "")


@pytest.mark.parametrize(
    ("way", "last_word"),
    [
        ("_make", "sqlalchemy.schema.CreateTable"),
        ("_upgrade", "alembic.operations.Operations.bulk_insert"),
    ],
)
def test_a_failed_migration_leaves_an_empty_database(
    file: Path, monkeypatch: pytest.MonkeyPatch, way: str, last_word: str
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise sa.exc.OperationalError("CREATE TABLE", {}, Exception("database or disk is full"))

    monkeypatch.setattr(schema, "_make", getattr(schema, way))
    monkeypatch.setattr(last_word, broken)
    with pytest.raises(StoreError, match="disk is full"):
        SqlStore(f"sqlite:///{file}", CODEC, clock=TickingClock())
    monkeypatch.undo()
    with closing(sqlite3.connect(file)) as plain:
        assert plain.execute("SELECT name FROM sqlite_master").fetchall() == []
    again = SqlStore(f"sqlite:///{file}", CODEC, clock=TickingClock())
    assert again.propose(proposal()).id == "op-1"
    again.close()


def test_threads_that_come_and_go_leave_no_connection_behind(store: SqlStore) -> None:
    for number in range(60):
        thread = threading.Thread(target=store.accept, args=(request(f"t{number}"),))
        thread.start()
        thread.join()
    assert len(store.pending_requests()) == 60
    assert len(store._inbox._opened) == 0
