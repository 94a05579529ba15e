"""Inserts that a key may be in the way of, in the words of the database at hand."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from bot.adapters.sql.engine import READ, SURELY, transaction


def insert_into(engine: sa.Engine, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    """An ``INSERT`` that can say what happens on a conflict."""
    if engine.dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


def put_rows(
    engine: sa.Engine, table: sa.Table, rows: Sequence[dict[str, str]], lasting: str = SURELY
) -> None:
    """Write rows with a column ``data``, each in place of the one with its key."""
    if not rows:
        return
    row = insert_into(engine, table)
    row = row.on_conflict_do_update(
        index_elements=list(table.primary_key), set_={"data": row.excluded.data}
    )
    with transaction(engine, lasting) as connection:
        connection.execute(row, rows)


def data_of(engine: sa.Engine, table: sa.Table, key: str) -> str | None:
    """The ``data`` of the row with this key, which is one column; None: there is no such row."""
    (column,) = table.primary_key
    with transaction(engine, READ) as connection:
        wanted = sa.select(table.c.data).where(column == key)
        return connection.execute(wanted).scalar_one_or_none()
