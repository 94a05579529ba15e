"""Stores arriving requests on the path to Slack's ack, where every microsecond is waited for.

SQLAlchemy's own transaction around one insert takes about 150 µs on SQLite, the driver's 45 µs, and
the ack is due before anything else is done. So on SQLite the compiled statement is given to the
driver directly; elsewhere the network costs more than SQLAlchemy, and nothing is special.
"""

from __future__ import annotations

import sqlite3
import threading
import weakref
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa

from bot.adapters.sql import models
from bot.adapters.sql.engine import SOON, store_error, transaction, turn
from bot.adapters.sql.rows import insert_into
from bot.adapters.sql.same_file import SameFile

COLUMNS = ("key", "kind", "data", "accepted_at", "replica")


class _Own:
    """A thread's own connection, outside the pool.

    Closed with the thread, whose locals alone hold it.
    """

    def __init__(self, path: str, patience: float) -> None:
        # No transaction but ours, and closed by whichever thread collects it.
        self.driver = sqlite3.connect(
            path, timeout=patience, isolation_level=None, check_same_thread=False
        )
        # As SOON: it outlives a kill -9, not always a power cut
        self.driver.execute("PRAGMA synchronous = NORMAL")

    def __del__(self) -> None:
        if hasattr(self, "driver"):
            self.driver.close()


class Inbox:
    """Inserts requests, each once.

    Safe to share by threads; each keeps a connection of its own on SQLite.

    Args:
        engine: of the store.
        patience: seconds to wait for somebody else's lock.
    """

    def __init__(self, engine: sa.Engine, patience: float) -> None:
        self._engine, self._patience = engine, patience
        self._here = threading.local()
        self._opened: weakref.WeakSet[_Own] = weakref.WeakSet()
        self._quick = engine.dialect.name == "sqlite"
        self._file = SameFile(Path(engine.url.database or "")) if self._quick else None
        self._statement = (
            insert_into(engine, models.requests)
            .values({name: sa.bindparam(name) for name in COLUMNS})
            .on_conflict_do_nothing()
        )
        compiled = self._statement.compile(dialect=engine.dialect)
        self._sql, self._order = str(compiled), tuple(compiled.positiontup or ())

    def accept(self, row: Mapping[str, str]) -> bool:
        """Insert a row of ``COLUMNS``; False when its key is there already.

        Raises:
            StoreError: the database refused or failed.
        """
        if self._file is not None:
            self._file.check()
            return self._accept_quickly([row[name] for name in self._order])
        with transaction(self._engine, SOON) as connection:
            inserted = self._statement.returning(sa.literal(1))
            return connection.execute(inserted, dict(row)).first() is not None

    def close(self) -> None:
        """Close every thread's connection."""
        for own in tuple(self._opened):
            own.driver.close()

    def _accept_quickly(self, values: list[str]) -> bool:
        driver = self._driver()
        with turn(self._engine):
            try:
                driver.execute("BEGIN IMMEDIATE")
                fresh = driver.execute(self._sql, values).rowcount == 1
                driver.execute("COMMIT")
            except sqlite3.Error as error:
                raise store_error(error) from error
            finally:
                # Whatever was raised: what stays open would keep every other writer out. An error
                # of this is not the one to tell
                if driver.in_transaction:
                    with suppress(sqlite3.Error):
                        driver.execute("ROLLBACK")
        return fresh

    def _driver(self) -> sqlite3.Connection:
        own: _Own | None = getattr(self._here, "own", None)
        if own is None:
            try:
                own = self._here.own = _Own(self._engine.url.database or "", self._patience)
            except sqlite3.Error as error:
                raise store_error(error) from error
            self._opened.add(own)
        return own.driver
