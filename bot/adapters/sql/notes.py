"""Small texts by key (the port ``Notes``), changed by compare-and-swap."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from bot.adapters.sql import models
from bot.adapters.sql.engine import READ, SOON, transaction
from bot.adapters.sql.rows import insert_into


class SqlNotes:
    """Notes in a database that is up to date.

    Args:
        engine: opened; whoever opened it disposes of it.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def note(self, key: str) -> tuple[str, int]:
        """The text and its version; see the port."""
        table = models.notes
        with transaction(self._engine, READ) as connection:
            row = connection.execute(
                sa.select(table.c.text, table.c.version).where(table.c.key == key)
            ).first()
        return (row.text, row.version) if row else ("", 0)

    def notes(self, prefix: str) -> Mapping[str, str]:
        """Every text whose key begins so, by key."""
        return {key: text for key, (text, _) in self.versioned_notes(prefix).items()}

    def versioned_notes(self, prefix: str) -> Mapping[str, tuple[str, int]]:
        """Every text whose key begins so, with its version, by key; see the port."""
        table = models.notes
        wanted = sa.select(table.c.key, table.c.text, table.c.version).where(
            table.c.key.startswith(prefix, autoescape=True)
        )
        with transaction(self._engine, READ) as connection:
            rows = connection.execute(wanted.order_by(table.c.key)).all()
        return {row.key: (row.text, row.version) for row in rows}

    def put_note(self, key: str, text: str, version: int) -> bool:
        """Replace the text if nobody else did; see the port."""
        return bool(self.put_notes({key: (text, version)}))

    def put_notes(self, changes: Mapping[str, tuple[str, int]]) -> frozenset[str]:
        """Replace several texts at one stroke; see the port.

        In the order of their keys: two replicas that change the same ones wait for each other,
        and never in a circle.
        """
        if not changes:
            return frozenset()
        with transaction(self._engine, SOON) as connection:
            return frozenset(
                key
                for key, change in sorted(changes.items())
                if self._put(connection, key, *change)
            )

    def _put(self, connection: sa.Connection, key: str, text: str, version: int) -> bool:
        table = models.notes
        this = sa.and_(table.c.key == key, table.c.version == version)
        if not text:
            change: sa.Executable = sa.delete(table).where(this).returning(sa.literal(1))
        elif version:
            change = (
                sa.update(table)
                .where(this)
                .values(text=text, version=version + 1)
                .returning(sa.literal(1))
            )
        else:
            row = insert_into(self._engine, table).values(key=key, text=text, version=1)
            change = row.on_conflict_do_nothing().returning(sa.literal(1))
        return connection.execute(change).first() is not None
