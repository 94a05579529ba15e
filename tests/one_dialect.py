"""SQLite for the tests: a statement is compiled once for all of their databases, instead of once for each.

Each test has a database of its own, and SQLAlchemy keeps what it has compiled for one engine alone.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

COMPILED: dict[Any, Any] = {}


class OneDialect(SQLiteDialect_pysqlite):
    """Equal to every other of its kind, as the key of what is compiled demands: all are made alike."""

    supports_statement_cache = True

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)

    def __hash__(self) -> int:
        return hash(type(self))

    @classmethod
    def engine_created(cls, engine: sa.Engine) -> None:
        engine.update_execution_options(compiled_cache=COMPILED)


def register() -> None:
    """Use it for every SQLite database of this process."""
    registry.register("sqlite", __name__, OneDialect.__name__)
