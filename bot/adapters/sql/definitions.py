"""Kept definitions of VMs: the newest versions of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable

import sqlalchemy as sa

from bot.adapters.sql import models
from bot.adapters.sql.engine import READ, SOON, transaction
from bot.domain import cluster, codec
from bot.domain.codec import Codec
from bot.domain.definition import MOST_VERSIONS, Definition, merged

_PARTS: tuple[type, ...] = tuple(
    each
    for each in vars(cluster).values()
    if isinstance(each, type) and dataclasses.is_dataclass(each)
)
_CODEC = Codec((Definition, *_PARTS))


class SqlDefinitions:
    """The part of the store that keeps definitions.

    Args:
        engine: opened; whoever opened it disposes of it.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def keep(self, seen: Iterable[Definition], answered: Collection[str]) -> None:
        """Keep what hosts told; see the port."""
        table = models.definitions
        with transaction(self._engine, SOON) as connection:
            rows = connection.execute(_newest()).all()
            numbers = {row.uuid: row.version for row in rows}
            kept = [_read(row.data) for row in rows]
            shas = {each.uuid: each.sha for each in kept}
            for each in merged(kept, seen, answered):
                version = numbers.get(each.uuid, 0)
                if shas.get(each.uuid) != each.sha:
                    version += 1
                    old = sa.and_(
                        table.c.uuid == each.uuid, table.c.version <= version - MOST_VERSIONS
                    )
                    connection.execute(sa.delete(table).where(old))
                    row = {
                        "uuid": each.uuid,
                        "version": version,
                        "host": each.host,
                        "data": codec.text(each),
                    }
                    connection.execute(sa.insert(table).values(row))
                else:
                    this = sa.and_(table.c.uuid == each.uuid, table.c.version == version)
                    values = {"host": each.host, "data": codec.text(each)}
                    connection.execute(sa.update(table).where(this).values(values))

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
            return tuple(_read(data) for data in connection.execute(wanted).scalars())


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
