"""Checks the durable engine's own tables before it starts.

Also sets aside what it could not work with.

The tables hold nothing but the queue: operations are found again in Drover's own events. So a
damaged queue is made anew instead of keeping the bot from starting.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa
import structlog
from dbos._migration import get_dbos_migrations, sqlite_migrations
from dbos._schemas.system_database import SystemSchema
from sqlalchemy.exc import DatabaseError

from bot.adapters.private import make_private

log = structlog.get_logger()

SCHEMA = "dbos"
VERSIONS = "dbos_migrations"


def prepare(url: str) -> None:
    """Make the queue's database usable: private, in write-ahead mode, whole; or set aside and new.

    Raises:
        OSError: the file cannot be made.
        SQLAlchemyError: PostgreSQL does not answer.
    """
    if not url.startswith("sqlite:///"):
        _prepare_schema(url)
        return
    path = Path(url.removeprefix("sqlite:///"))
    make_private(path)
    if fault := _file_fault(path):
        set_aside(path, fault)
    with closing(sqlite3.connect(path)) as connection:
        # SQLite keeps this mode in the file. It spares the engine a journal file and two disk waits
        # per transaction.
        connection.execute("PRAGMA journal_mode = WAL")


def set_aside(path: Path, fault: str) -> None:
    """Rename a damaged file, with what lies beside it, and make an empty one."""
    kept = path.with_name(f"{path.name}.damaged-{int(time.time())}")
    log.warning(
        "the work queue is damaged: it is made anew from the events",
        file=str(path),
        kept=kept.name,
        why=fault,
    )
    for end in ("", "-wal", "-shm"):
        part = path.with_name(f"{path.name}{end}")
        if part.exists():
            part.replace(kept.with_name(f"{kept.name}{end}"))
    make_private(path)


def _file_fault(path: Path) -> str:
    """Why the engine could not work with a file; '' when it can, or the file is empty."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return str(error)
        raise
    if said != "ok":
        return str(said)
    engine = sa.create_engine(f"sqlite:///{path}", poolclass=sa.NullPool)
    try:
        with engine.connect() as connection:
            return table_fault(connection, None)
    finally:
        engine.dispose()


def _prepare_schema(url: str) -> None:
    """As for a file: a schema in which tables are missing is renamed.

    Also the engine makes a new one.
    """
    address = sa.make_url(url).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(
        address, poolclass=sa.NullPool, connect_args={"prepare_threshold": None}
    )
    try:
        with engine.begin() as connection:
            if not sa.inspect(connection).has_schema(SCHEMA):
                return
            if fault := table_fault(connection, SCHEMA):
                kept = f"{SCHEMA}_damaged_{int(time.time())}"
                log.warning(
                    "the work queue is damaged: it is made anew from the events",
                    kept=kept,
                    why=fault,
                )
                # no message: a fact for the log
                connection.execute(sa.text(f"ALTER SCHEMA {SCHEMA} RENAME TO {kept}"))
    finally:
        engine.dispose()


def table_fault(connection: sa.Connection, schema: str | None) -> str:
    """What is missing of the engine's tables.

    '' when nothing is, or the engine has yet to make or upgrade them.
    """
    look = sa.inspect(connection)
    there = set(look.get_table_names(schema=schema))
    if VERSIONS not in there:
        # no message: a fact for the log
        return f"the table {VERSIONS} is missing" if there else ""
    versions = sa.table(VERSIONS, sa.column("version"), schema=schema)
    try:
        version = connection.execute(sa.select(versions.c.version)).scalar() or 0
    except DatabaseError as error:
        return str(error.orig)
    if version < _newest(schema):
        return ""
    for table in SystemSchema.metadata_obj.tables.values():
        if table.name not in there:
            # no message: a fact for the log
            return f"the table {table.name} is missing"
        columns = {column["name"] for column in look.get_columns(table.name, schema=schema)}
        if missing := {column.name for column in table.columns} - columns:
            # no message: a fact for the log
            return f"the table {table.name} lacks {', '.join(sorted(missing))}"
    return ""


def _newest(schema: str | None) -> int:
    """The engine's newest migration: a database that is at it has every table."""
    return (
        len(sqlite_migrations)
        if schema is None
        else len(get_dbos_migrations(schema, use_listen_notify=True))
    )
