"""Kept definitions of VMs: the newest versions of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable
from dataclasses import replace

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from bot.adapters.sql import models
from bot.adapters.sql.engine import READ, SOON, transaction
from bot.domain import cluster, codec
from bot.domain.codec import Codec
from bot.domain.definition import MOST_VERSIONS, Definition, Variables, merge

_PARTS: tuple[type, ...] = tuple(
    each
    for each in vars(cluster).values()
    if isinstance(each, type) and dataclasses.is_dataclass(each)
)
_READ_AT_ONCE = 1000
_AT_ONCE = 100  # definitions that one transaction writes
_CODEC = Codec((Definition, Variables, *_PARTS))


class SqlDefinitions:
    """The part of the store that keeps definitions.

    Args:
        engine: opened; whoever opened it disposes of it.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def keep(self, seen: Iterable[Definition], answered: Collection[str]) -> None:
        """Keep what hosts told; see the port.

        What is to be written is found without the lock for writing, and written a little at a
        time: with thousands of VMs a vote would else wait for it.
        """
        seen = tuple(seen)
        rows = self._newest_of({each.uuid for each in seen}, answered)
        kept = [_read(row.data) for row in rows.values()]
        shas = {each.uuid: each.sha for each in kept}
        changed: list[tuple[Definition, int, bool]] = []
        for each in merge(kept, seen, answered):
            row = rows.get(each.uuid)
            new = shas.get(each.uuid) != each.sha
            if row is None or new or (row.host, row.data) != (each.host, codec.text(each)):
                changed.append((each, (row.version if row else 0) + new, new))
        for start in range(0, len(changed), _AT_ONCE):
            with transaction(self._engine, SOON) as connection:
                for each, version, new in changed[start : start + _AT_ONCE]:
                    self._write(connection, each, version, new=new)

    def _newest_of(
        self, seen: Collection[str], answered: Collection[str]
    ) -> dict[str, sa.Row[tuple[str, int, str, str]]]:
        """The newest versions of these VMs, and of what these hosts had, by UUID."""
        newest = _newest().subquery()
        with transaction(self._engine, READ) as connection:
            homes = connection.execute(sa.select(newest.c.uuid, newest.c.host)).all()
            wanted = [uuid for uuid, host in homes if uuid in seen or host in answered]
            found: dict[str, sa.Row[tuple[str, int, str, str]]] = {}
            for start in range(0, len(wanted), _READ_AT_ONCE):
                some = newest.c.uuid.in_(wanted[start : start + _READ_AT_ONCE])
                rows = connection.execute(sa.select(newest).where(some)).all()
                found |= {row.uuid: row for row in rows}
        return found

    def _write(
        self, connection: sa.Connection, definition: Definition, version: int, *, new: bool
    ) -> None:
        """Write one version, or the newest again; another replica may have written the same."""
        table, uuid = models.definitions, definition.uuid
        values = {"host": definition.host, "data": codec.text(definition)}
        if not new:
            this = sa.and_(table.c.uuid == uuid, table.c.version == version)
            connection.execute(sa.update(table).where(this).values(values))
            return
        old = sa.and_(table.c.uuid == uuid, table.c.version <= version - MOST_VERSIONS)
        connection.execute(sa.delete(table).where(old))
        insert = postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert
        row = insert(table).values(uuid=uuid, version=version, **values)
        connection.execute(row.on_conflict_do_nothing())

    def keep_variables(self, copies: Iterable[Variables]) -> None:
        """Keep copies of UEFI variables; see the port."""
        table = models.variables
        insert = postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert
        row = insert(table)
        row = row.on_conflict_do_update(
            index_elements=[table.c.uuid], set_={"data": row.excluded.data}
        )
        rows = [{"uuid": each.uuid, "data": codec.text(each)} for each in copies]
        if rows:
            with transaction(self._engine, SOON) as connection:
                connection.execute(row, rows)

    def variables(self, uuid: str) -> Variables | None:
        """The kept copy of a VM's UEFI variables; see the port."""
        table = models.variables
        with transaction(self._engine, READ) as connection:
            stored = connection.execute(
                sa.select(table.c.data).where(table.c.uuid == uuid)
            ).scalar_one_or_none()
            return None if stored is None else _CODEC.loads(stored)

    def read(self, *, host: str = "", uuid: str = "") -> tuple[Definition, ...]:
        """Kept definitions; see the port."""
        table = models.definitions
        if uuid:
            wanted = (
                sa.select(table.c.data).where(table.c.uuid == uuid).order_by(table.c.version.desc())
            )
        else:
            newest = _newest().subquery()
            wanted = sa.select(newest.c.data).order_by(newest.c.uuid)
            wanted = wanted.where(newest.c.host == host) if host else wanted
        with transaction(self._engine, READ) as connection:
            found = [_read(data) for data in connection.execute(wanted).scalars()]
            copies = set(connection.execute(sa.select(models.variables.c.uuid)).scalars())
        return tuple(
            replace(each, nvram=True) if each.uuid in copies and each.detail.nvram else each
            for each in found
        )


def _read(data: str) -> Definition:
    found: Definition = _CODEC.loads(data)
    return found


def _newest() -> sa.Select[tuple[str, int, str, str]]:
    """The newest version of each VM."""
    table = models.definitions
    last = (
        sa.select(table.c.uuid, sa.func.max(table.c.version).label("version"))
        .group_by(table.c.uuid)
        .subquery()
    )
    both = sa.and_(table.c.uuid == last.c.uuid, table.c.version == last.c.version)
    return sa.select(table.c.uuid, table.c.version, table.c.host, table.c.data).join(last, both)
