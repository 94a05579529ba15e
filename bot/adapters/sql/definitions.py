"""Kept definitions of VMs: the newest versions of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import sqlalchemy as sa

from bot.adapters.sql import models
from bot.adapters.sql.engine import READ, SOON, transaction
from bot.adapters.sql.rows import data_of, insert_into, put_rows
from bot.domain import cluster, codec
from bot.domain.codec import Codec
from bot.domain.definition import (
    MOST_VERSIONS,
    Definition,
    MaybeUnchanged,
    Unchanged,
    Unreadable,
    Variables,
    merge,
)

_PARTS: tuple[type, ...] = tuple(
    each
    for each in vars(cluster).values()
    if isinstance(each, type) and dataclasses.is_dataclass(each)
)
_READ_AT_ONCE = 1000  # values in one statement: SQLite takes 32,766, PostgreSQL 65,535
_AT_ONCE = 100  # definitions that one transaction writes
_CODEC = Codec((Definition, Variables, *_PARTS))


Row = sa.Row[tuple[str, int, str, str, str | None, str | None]]
"""UUID, version, host, data, mark, and when it was last seen unchanged."""

Home = sa.Row[tuple[str, int, str, str | None]]
"""UUID, version, host, mark."""


class SqlDefinitions:
    """The part of the store that keeps definitions.

    Args:
        engine: opened; whoever opened it disposes of it.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def keep(self, seen: Collection[MaybeUnchanged], answered: Collection[str]) -> frozenset[str]:
        """Keep what hosts told; see the port.

        What is to be written is found without the lock for writing, and written a little at a
        time: with thousands of VMs a vote would else wait for it.
        """
        homes = self._homes((each.uuid for each in seen), answered)
        whole = [each for each in seen if isinstance(each, Definition)]
        same = [each for each in seen if isinstance(each, Unchanged)]
        copies = _uuids(whole)  # all that is known of others is compared with them
        marks = {uuid: home.mark for uuid, home in homes.items() if uuid not in copies}
        sure = [each for each in same if marks.get(each.uuid) == each.mark]
        gone = {uuid for uuid, home in homes.items() if home.host in answered}
        unread = _uuids(each for each in seen if isinstance(each, Unreadable))
        stays = unread - _uuids(whole) - _uuids(same)
        rows = self._rows((gone | _uuids(seen)) - _uuids(sure) - stays)
        read = {uuid: _read(row.data) for uuid, row in rows.items()}
        known = [each for each in same if each.uuid in read and _is_of(each, read[each.uuid])]
        whole += [_renew(read[each.uuid], each) for each in known]
        lost = _uuids(same) - _uuids((*sure, *known))
        self._keep_whole(
            {uuid: (row, read[uuid]) for uuid, row in rows.items() if uuid not in lost},
            whole,
            answered,
        )
        self._touch([(each, homes[each.uuid].version) for each in sure])
        return frozenset(lost)

    def _keep_whole(
        self,
        kept: Mapping[str, tuple[Row, Definition]],
        seen: Iterable[Definition],
        answered: Collection[str],
    ) -> None:
        changed: list[tuple[Definition, int, bool]] = []
        for each in merge((definition for _, definition in kept.values()), seen, answered):
            row, before = kept.get(each.uuid, (None, None))
            new = before is None or before.sha != each.sha
            if row is None or new or (row.host, row.data) != (each.host, codec.text(each)):
                changed.append((each, (row.version if row else 0) + new, new))
        for start in range(0, len(changed), _AT_ONCE):
            with transaction(self._engine, SOON) as connection:
                self._write(connection, changed[start : start + _AT_ONCE])

    def _touch(self, same: Sequence[tuple[Unchanged, int]]) -> None:
        """Note when these were seen; another replica may have written another version meanwhile."""
        table = models.definitions
        this = sa.and_(
            table.c.uuid == sa.bindparam("its_uuid"), table.c.version == sa.bindparam("its_version")
        )
        change = sa.update(table).where(this).values(seen_at=sa.bindparam("its_time"))
        for start in range(0, len(same), _AT_ONCE):
            with transaction(self._engine, SOON) as connection:
                connection.execute(
                    change,
                    [
                        {
                            "its_uuid": each.uuid,
                            "its_version": version,
                            "its_time": each.seen_at.isoformat(),
                        }
                        for each, version in same[start : start + _AT_ONCE]
                    ],
                )

    def _homes(self, told: Iterable[str], answered: Collection[str]) -> dict[str, Home]:
        """Where the newest versions are that hosts ``answered`` for, and those of VMs, by UUID."""
        newest = _newest().subquery()
        columns = sa.select(newest.c.uuid, newest.c.version, newest.c.host, newest.c.mark)
        found: dict[str, Home] = {}
        with transaction(self._engine, READ) as connection:
            wanted = columns.where(newest.c.host.in_(answered))
            found |= {row.uuid: row for row in connection.execute(wanted).all()}
            rest = sorted(set(told) - found.keys())
            for start in range(0, len(rest), _READ_AT_ONCE):
                wanted = columns.where(newest.c.uuid.in_(rest[start : start + _READ_AT_ONCE]))
                found |= {row.uuid: row for row in connection.execute(wanted).all()}
        return found

    def _rows(self, uuids: Collection[str]) -> dict[str, Row]:
        """The newest versions of these VMs, by UUID."""
        newest = _newest().subquery()
        wanted = sorted(uuids)
        found: dict[str, Row] = {}
        with transaction(self._engine, READ) as connection:
            for start in range(0, len(wanted), _READ_AT_ONCE):
                some = newest.c.uuid.in_(wanted[start : start + _READ_AT_ONCE])
                rows = connection.execute(sa.select(newest).where(some)).all()
                found |= {row.uuid: row for row in rows}
        return found

    def _write(
        self, connection: sa.Connection, some: Iterable[tuple[Definition, int, bool]]
    ) -> None:
        """Write new versions, or the newest ones again; another replica may have written the same.

        One statement of each kind for all: making them takes longer than writing.
        """
        table = models.definitions
        rows: dict[bool, list[dict[str, str | int | None]]] = {True: [], False: []}
        for each, number, new in some:
            rows[new].append(
                {
                    "its_uuid": each.uuid,
                    "its_version": number,
                    "host": each.host,
                    "data": codec.text(each),
                    "mark": each.mark,
                    "seen_at": None,  # the data tells it until it is seen again
                }
            )
        uuid: sa.BindParameter[str] = sa.bindparam("its_uuid")
        version: sa.BindParameter[int] = sa.bindparam("its_version")
        values: dict[str, object] = {
            name: sa.bindparam(name) for name in ("host", "data", "mark", "seen_at")
        }
        if rows[False]:
            this = sa.and_(table.c.uuid == uuid, table.c.version == version)
            connection.execute(sa.update(table).where(this).values(values), rows[False])
        if rows[True]:
            old = sa.and_(table.c.uuid == uuid, table.c.version <= version - MOST_VERSIONS)
            connection.execute(sa.delete(table).where(old), rows[True])
            row_of = insert_into(self._engine, table).values(uuid=uuid, version=version, **values)
            connection.execute(row_of.on_conflict_do_nothing(), rows[True])

    def keep_variables(self, copies: Iterable[Variables]) -> None:
        """Keep copies of UEFI variables; see the port."""
        rows = [{"uuid": each.uuid, "data": codec.text(each)} for each in copies]
        put_rows(self._engine, models.variables, rows, SOON)

    def variables(self, uuid: str) -> Variables | None:
        """The kept copy of a VM's UEFI variables; see the port."""
        stored = data_of(self._engine, models.variables, uuid)
        return None if stored is None else _CODEC.loads(stored)

    def read(self, *, host: str = "", uuid: str = "") -> tuple[Definition, ...]:
        """Kept definitions; see the port."""
        table = models.definitions
        columns = (table.c.data, table.c.seen_at)
        if uuid:
            wanted = (
                sa.select(*columns).where(table.c.uuid == uuid).order_by(table.c.version.desc())
            )
        else:
            newest = _newest().subquery()
            wanted = sa.select(newest.c.data, newest.c.seen_at).order_by(newest.c.uuid)
            wanted = wanted.where(newest.c.host == host) if host else wanted
        with transaction(self._engine, READ) as connection:
            rows = connection.execute(wanted).all()
            found = [_with_time(_read(row.data), row.seen_at) for row in rows]
            copies = _copies(connection, {each.uuid for each in found if each.detail.nvram})
        return tuple(replace(each, nvram=True) if each.uuid in copies else each for each in found)


def _copies(connection: sa.Connection, uuids: Collection[str]) -> frozenset[str]:
    """Of these VMs with UEFI those whose variables are kept."""
    if not uuids:
        return frozenset()
    wanted = sa.select(models.variables.c.uuid)
    if len(uuids) <= _READ_AT_ONCE:
        wanted = wanted.where(models.variables.c.uuid.in_(uuids))
    return frozenset(connection.execute(wanted).scalars()) & frozenset(uuids)


def _with_time(kept: Definition, at: str | None) -> Definition:
    return kept if at is None else replace(kept, seen_at=datetime.fromisoformat(at))


def _uuids(told: Iterable[MaybeUnchanged]) -> set[str]:
    return {each.uuid for each in told}


def _is_of(same: Unchanged, kept: Definition) -> bool:
    """Whether it is this one that is unchanged."""
    return (same.sha, same.host) == (kept.sha, kept.host)


def _renew(kept: Definition, same: Unchanged) -> Definition:
    return replace(
        kept,
        seen_at=same.seen_at,
        state=same.state,
        persistent=same.persistent,
        password=same.password,
    )


def _read(data: str) -> Definition:
    found: Definition = _CODEC.loads(data)
    return found


def _newest() -> sa.Select[tuple[str, int, str, str, str | None, str | None]]:
    """The newest version of each VM."""
    table = models.definitions
    last = (
        sa.select(table.c.uuid, sa.func.max(table.c.version).label("version"))
        .group_by(table.c.uuid)
        .subquery()
    )
    both = sa.and_(table.c.uuid == last.c.uuid, table.c.version == last.c.version)
    columns = (table.c.uuid, table.c.version, table.c.host, table.c.data)
    return sa.select(*columns, table.c.mark, table.c.seen_at).join(last, both)
