"""Opens the database and turns what it complains of into errors that people can act on."""

from __future__ import annotations

import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from bot.adapters.sql.same_file import SameFile
from bot.domain.errors import StoreError
from bot.domain.message import Message, Words, words

# How surely a transaction must last. SURELY waits for the disk (power may fail); SOON survives the
# end of the process, a kill -9 included, but a power cut may lose the last of them; READ changes
# nothing.
READ, SOON, SURELY = "read", "soon", "surely"

LONGEST = 10.0  # seconds to wait for this process's own other writers
_turns: weakref.WeakKeyDictionary[sa.Pool, threading.Lock] = weakref.WeakKeyDictionary()
# The first two writers of a database must not make a lock each
_making = threading.Lock()

_LOG = words("See the log for the message of the database.")
_HELD = words(
    "Another program locks the database. If this continues, find it with `fuser` and stop it."
)
_FULL = words("Free space on the file system of the database. Nothing was changed.")
_WRITE = words("Give the user of the bot write permission for the database and its directory.")
_SQLITE_ADVICE = {
    sqlite3.SQLITE_BUSY: _HELD,
    sqlite3.SQLITE_LOCKED: _HELD,
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_READONLY: _WRITE,
    sqlite3.SQLITE_PERM: _WRITE,
    sqlite3.SQLITE_CANTOPEN: words(
        "Check that the directory exists and that the user of the bot can write in it."
    ),
    sqlite3.SQLITE_IOERR: words("Check the disk of the database with `dmesg`."),
    sqlite3.SQLITE_CORRUPT: words(
        "The file is damaged. Stop the bot, keep a copy of the file, and restore the last backup."
    ),
    sqlite3.SQLITE_NOTADB: words("The file is not an SQLite database. Check `database.url`."),
}
"""Advice by SQLite's primary result code."""

_REACH = words(
    "Check that PostgreSQL runs and answers at the configured address, and the user, "
    "password and database in the URL."
)
_POSTGRESQL_ADVICE = {
    "08P01": words("A proxy or pooler before PostgreSQL refused the connection. See its log."),
    "08": _REACH,
    "25006": words("The server is read-only. Set the address of the primary."),
    "26000": words(
        "A pooler lost a prepared statement. Drover makes none: check who else uses its "
        "connections."
    ),
    "28": words("Check the user and password in `database.url`."),
    "3D000": words("Create the database first, as the README shows."),
    "3F000": words("Create a schema for the user of the bot, or give the user access to it."),
    "42501": words(
        "Give the user of the bot permission to create and write tables in its database."
    ),
    "42P01": words("A table is missing. Restore the last backup, or check `database.url`."),
    "53100": words("Free space on the file system of PostgreSQL. Nothing was changed."),
    "53300": words(
        "PostgreSQL has no connection left. Raise `max_connections`, or close other connections."
    ),
    "55P03": words("Another program locks the database. If this continues, check `pg_locks`."),
    "57014": words("The statement took too long. If this continues, check `pg_stat_activity`."),
    "57P": words("PostgreSQL is starting or stopping. Wait a moment."),
}
"""Advice by PostgreSQL's SQLSTATE: whole, or else its class."""


def open_engine(url: str, patience: float) -> sa.Engine:
    """An engine for a SQLite file or a PostgreSQL database; nothing is connected yet.

    Args:
        url: ``sqlite:///path`` or ``postgresql://…``.
        patience: seconds to wait for somebody else's lock.

    Raises:
        StoreError: the URL names neither.
    """
    try:
        address = sa.make_url(url)
    except (ArgumentError, ValueError) as error:  # ValueError: its port is no number
        raise _refusal(words("The URL of the database cannot be read.")) from error
    kind = address.get_backend_name()
    if kind == "sqlite" and address.database not in (None, "", ":memory:"):
        return _sqlite(address, patience)
    if kind == "postgresql":
        return _postgresql(address.set(drivername="postgresql+psycopg"), patience)
    raise _refusal(
        words(
            "Drover cannot use the database “{url}”.",
            url=without_password(url),
        )
    )


def exists(url: str, patience: float = 5.0) -> bool:
    """Whether Drover has stored anything there; nothing is made by looking.

    Raises:
        StoreError: the URL names no database, or PostgreSQL does not answer.
    """
    engine = open_engine(url, patience)
    try:
        if engine.dialect.name == "sqlite":
            file = Path(str(engine.url.database))
            return file.is_file() and file.stat().st_size > 0
        return sa.inspect(engine).has_table("events")
    except SQLAlchemyError as error:
        raise store_error(error) from error
    finally:
        engine.dispose()


def without_password(url: str) -> str:
    """The URL without its password, and without its options, which may hold one."""
    return sa.make_url(url).set(query={}).render_as_string(hide_password=True)


def _refusal(text: Message) -> StoreError:
    return StoreError(
        text,
        words(
            "Write `database.url` as `sqlite:///path/of/file` or `postgresql://user@host/database`."
        ),
    )


def _sqlite(address: sa.URL, patience: float) -> sa.Engine:
    file = SameFile(Path(address.database or ""))
    engine = sa.create_engine(
        address, connect_args={"check_same_thread": False}, pool_size=4, max_overflow=28
    )

    @event.listens_for(engine, "connect")
    def on_connect(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # BEGIN is ours to say: the driver's own comes too late
        connection.execute(f"PRAGMA busy_timeout = {int(patience * 1000)}")
        _write_ahead(connection, patience)
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def on_begin(connection: sa.Connection) -> None:
        file.check()
        lasting = connection.get_execution_options().get("lasting", READ)
        if lasting == READ:
            connection.exec_driver_sql("BEGIN")
            return
        connection.exec_driver_sql(
            f"PRAGMA synchronous = {'FULL' if lasting == SURELY else 'NORMAL'}"
        )
        # IMMEDIATE: one writer from the first statement on, so that no upgrade of a read can
        # deadlock.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _write_ahead(connection: sqlite3.Connection, patience: float) -> None:
    """Turn the database to WAL.

    Two that turn a new one at once lock each other out, and SQLite waits for neither.
    """
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
    engine = sa.create_engine(
        address,
        # A pooler such as PgBouncer gives each transaction another session: it takes no startup
        # options, and would lose prepared statements and what was set for a session.
        connect_args={
            "connect_timeout": 5,
            "application_name": "drover",
            "prepare_threshold": None,
        },
        pool_pre_ping=True,  # a restarted server costs a round trip, not a lost request
        pool_size=4,
        max_overflow=12,
        pool_timeout=patience * 5,
    )
    milliseconds = int(patience * 1000)
    limits = (
        f"SET LOCAL lock_timeout = {milliseconds}; SET LOCAL statement_timeout = {milliseconds * 5}"
    )

    @event.listens_for(engine, "begin")
    def on_begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(limits)

    return engine


@contextmanager
def transaction(engine: sa.Engine, lasting: str) -> Iterator[sa.Connection]:
    """A transaction that commits at the end of the block.

    Also leaves nothing behind when the block raises.

    Raises:
        StoreError: the database refused or failed.
    """
    with turn(engine) if lasting != READ else nullcontext(), _begin(engine, lasting) as connection:
        yield connection


@contextmanager
def turn(engine: sa.Engine) -> Iterator[None]:
    """Wait for this process's turn to write a SQLite file.

    SQLite lets one write at a time, and whoever waits for it looks again after up to 100 ms; a lock
    is handed on at once, so that a vote does not wait long behind the work of many operations.
    Other processes are SQLite's to queue.

    Raises:
        StoreError: it is not one's turn within ``LONGEST`` seconds.
    """
    if engine.dialect.name != "sqlite":
        yield
        return
    with _making:
        lock = _turns.setdefault(engine.pool, threading.Lock())
    if not lock.acquire(timeout=LONGEST):
        raise StoreError(words("The database failed: it was locked for too long."), _HELD)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _begin(engine: sa.Engine, lasting: str) -> Iterator[sa.Connection]:
    options: dict[str, Any] = {"lasting": lasting}
    if lasting == READ and engine.dialect.name == "postgresql":
        # Several reads of one moment, as SQLite has them anyhow
        options["isolation_level"] = "REPEATABLE READ"
    try:
        # Options of the connection; those of the engine would make another engine each time
        with engine.connect() as connection:
            connection.execution_options(**options)
            with connection.begin():
                yield connection
    except SQLAlchemyError as error:
        raise store_error(error) from error


def store_error(error: Exception) -> StoreError:
    """A database's complaint in one line, with what to do about it."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    said = " ".join(str(cause).split("\n", maxsplit=1)[0].split()) or type(cause).__name__
    return StoreError(words("The database failed: {reason}.", reason=said), _advice(cause))


def _advice(cause: BaseException) -> Words:
    """What to do, by the code of the error alone; its words are a translator's."""
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", None)
        return _SQLITE_ADVICE.get((code or 0) & 0xFF, _LOG)
    state = str(getattr(cause, "sqlstate", None) or "")
    if not state:
        # The driver tells no code of a connection that failed or broke.
        return _REACH if type(cause).__name__ in ("OperationalError", "ConnectionTimeout") else _LOG
    keys = (state, state[:3], state[:2])
    return next((_POSTGRESQL_ADVICE[key] for key in keys if key in _POSTGRESQL_ADVICE), _LOG)
