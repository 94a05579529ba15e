"""Opens the database and turns what it complains of into errors that people can act on."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from bot.domain.errors import StoreError

# How surely a transaction must last. SURELY waits for the disk (power may fail); SOON survives the end of the
# process, a kill -9 included, but a power cut may lose the last of them; READ changes nothing.
READ, SOON, SURELY = "read", "soon", "surely"

_ADVICE = (
    ("locked", "Another program holds the database; if this lasts, find it with `fuser` and end it."),
    ("disk is full", "Free space where the database lies; nothing was changed."),
    ("no space left", "Free space where the database lies; nothing was changed."),
    ("readonly", "Let the bot's user write the database and its directory."),
    ("read-only", "Let the bot's user write the database and its directory."),
    ("unable to open", "Check that the directory exists and that the bot's user may write in it."),
    ("malformed", "The file is damaged: stop the bot, keep a copy, and restore the last backup."),
    ("not a database", "The file is not a SQLite database: check database.url."),
    ("password", "Check the user and password in the database's URL."),
    ("does not exist", "Create the database and its user first, as the README shows."),
    ("lock timeout", "Another program holds the database; look at pg_locks if this lasts."),
    ("connection", "Check that PostgreSQL runs and answers at the configured address."),
)


def opened(url: str, patience: float) -> sa.Engine:
    """An engine for a SQLite file or a PostgreSQL database; nothing is connected yet.

    Args:
        url: ``sqlite:///path`` or ``postgresql://…``.
        patience: seconds to wait for somebody else's lock.

    Raises:
        StoreError: the URL names neither.
    """
    try:
        address = sa.make_url(url)
    except ArgumentError as error:
        raise _refused("The database's URL cannot be read.") from error
    kind = address.get_backend_name()
    if kind == "sqlite" and address.database not in (None, "", ":memory:"):
        return _sqlite(address, patience)
    if kind == "postgresql":
        return _postgresql(address.set(drivername="postgresql+psycopg"), patience)
    raise _refused(f"“{address.render_as_string(hide_password=True)}” cannot keep Drover's state.")


def _refused(text: str) -> StoreError:
    return StoreError(text, "Write database.url as sqlite:///path/of/file or postgresql://user@host/database.")


def _sqlite(address: sa.URL, patience: float) -> sa.Engine:
    engine = sa.create_engine(address, connect_args={"check_same_thread": False}, pool_size=4, max_overflow=28)

    @event.listens_for(engine, "connect")
    def settled(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # BEGIN is ours to say: the driver's own comes too late
        connection.execute(f"PRAGMA busy_timeout = {int(patience * 1000)}")
        _write_ahead(connection, patience)
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def begun(connection: sa.Connection) -> None:
        lasting = connection.get_execution_options().get("lasting", READ)
        if lasting == READ:
            connection.exec_driver_sql("BEGIN")
            return
        connection.exec_driver_sql(f"PRAGMA synchronous = {'FULL' if lasting == SURELY else 'NORMAL'}")
        # IMMEDIATE: one writer from the first statement on, so that no upgrade of a read can deadlock.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _write_ahead(connection: sqlite3.Connection, patience: float) -> None:
    """Turn the database to WAL. Two that turn a new one at once lock each other out, and SQLite waits for neither."""
    until = time.monotonic() + patience
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() >= until:
                raise
            time.sleep(0.02)
        else:
            return


def _postgresql(address: sa.URL, patience: float) -> sa.Engine:
    milliseconds = int(patience * 1000)
    options = f"-c lock_timeout={milliseconds} -c statement_timeout={milliseconds * 5}"
    return sa.create_engine(
        address,
        connect_args={"connect_timeout": 5, "application_name": "drover", "options": options},
        pool_pre_ping=True,  # a restarted server costs a round trip, not a lost request
        pool_size=4,
        max_overflow=12,
        pool_timeout=patience * 5,
    )


@contextmanager
def transaction(engine: sa.Engine, lasting: str) -> Iterator[sa.Connection]:
    """A transaction that commits at the end of the block, and leaves nothing behind when the block raises.

    Raises:
        StoreError: the database refused or failed.
    """
    options: dict[str, Any] = {"lasting": lasting}
    if lasting == READ and engine.dialect.name == "postgresql":
        options["isolation_level"] = "REPEATABLE READ"  # several reads of one moment, as SQLite has them anyhow
    try:
        with engine.execution_options(**options).begin() as connection:
            yield connection
    except SQLAlchemyError as error:
        raise told(error) from error


def told(error: Exception) -> StoreError:
    """A database's complaint in one line, with what to do about it."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    said = " ".join(str(cause).split("\n", maxsplit=1)[0].split()) or type(cause).__name__
    advice = next((advice for word, advice in _ADVICE if word in said.lower()), "See the log for the database's words.")
    return StoreError(f"The database failed: {said}.", advice)
