"""The history on SQLite or PostgreSQL (the port ``Series``).

A minute's values for two days, then rollups.

Hosts are rolled up by the minute, guests and pools by five minutes; all of them by the hour and the
day.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import sqlalchemy as sa

from bot.adapters.sql import models
from bot.adapters.sql.engine import READ, SOON, open_engine, transaction
from bot.adapters.sql.leases import SqlLeases
from bot.adapters.sql.notes import SqlNotes
from bot.adapters.sql.rows import insert_into
from bot.adapters.sql.schema import migrate
from bot.domain.metrics import Bucket, Metric, Point

T = TypeVar("T")

MINUTE, FIVE, HOUR, DAY = 60, 300, 3600, 86400
_SPANS: Mapping[str, tuple[int, ...]] = {
    "host": (MINUTE, HOUR, DAY),
    "vm": (FIVE, HOUR, DAY),
    "pool": (FIVE, HOUR, DAY),
    "cluster": (MINUTE, HOUR, DAY),
}
# From which a rollup is made; 0: from the raw values
_SOURCE = {MINUTE: 0, FIVE: 0, HOUR: 0, DAY: HOUR}
# How far back a late one is still made, seconds
_CATCH_UP = {MINUTE: 7200, FIVE: 7200, HOUR: 86400, DAY: 3 * 86400}
_FINE_UNTIL = 2 * DAY  # longer times are shown by the hour, and from two months on by the day
_HOURS_UNTIL = 62 * DAY
_FINE_SUMMARY = 6 * HOUR
_HOURS_SUMMARY = 3 * DAY
_KIB = frozenset({Metric.MEMORY, Metric.DISK, Metric.NET, Metric.SPACE})
_AT_ONCE = 400  # rows of one statement: SQLite takes 32766 values, a row of rollups has 22
_LOCK = "rolled:"
_SLICE = 5 * MINUTE  # seconds whose raw values one transaction drops: 30,000 rows of 6000 VMs
_BREATH = 0.02  # seconds between two of them, in which others get the lock


class SqlSeries(SqlNotes):
    """The ports ``Series`` and ``Notes`` in Drover's own database.

    Safe to share by threads and replicas.

    Args:
        url: ``sqlite:///path`` or ``postgresql://…``.
        patience: seconds to wait for somebody else's lock.
        keep_raw: how long a minute's values are kept.
        keep: how long rollups are kept.

    Raises:
        StoreError: the database cannot be opened or brought up to date.
    """

    def __init__(
        self,
        url: str,
        *,
        patience: float = 2.0,
        keep_raw: timedelta = timedelta(days=2),
        keep: timedelta = timedelta(days=365),
    ) -> None:
        engine = open_engine(url, patience)
        try:
            migrate(engine)
        except BaseException:
            engine.dispose()
            raise
        super().__init__(engine)
        self._keep_raw, self._keep = keep_raw, keep
        self._ids: dict[str, int] = {}

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def leases(self, replica: str) -> SqlLeases:
        """Which replica measures which host, kept in the same database. ``replica``: this one."""
        return SqlLeases(self._engine, replica)

    # writing

    def write(self, at: datetime, points: Sequence[Point]) -> None:
        """Keep what was measured; see the port."""
        if not points:
            return
        ids = self._numbers_of([point.entity for point in points])
        moment = int(at.timestamp())
        rows = [
            {"at": moment, "entity": ids[point.entity], **_columns(point.values)}
            for point in points
        ]
        with transaction(self._engine, SOON) as connection:
            for some in _batches(rows):
                connection.execute(
                    insert_into(self._engine, models.raw).on_conflict_do_nothing(), some
                )

    def roll_up(self, now: datetime) -> None:
        """Make what is over; see the port.

        Each span in a transaction of its own, marked where it ended.
        """
        for span in (MINUTE, FIVE, HOUR, DAY):
            end = int(now.timestamp()) // span * span
            text, version = self.note(f"{_LOCK}{span}")
            first = max(int(text or 0), end - _CATCH_UP[span] // span * span)
            for start in range(first, end, span):
                self._roll(span, start)
            if end > first:
                self.put_note(f"{_LOCK}{span}", str(end), version)

    def forget(self, now: datetime) -> None:
        """Drop what is too old; see the port.

        Raw values by time, rollups entity by entity, as their keys go; a little in each
        transaction, for a vote may wait for the lock.
        """
        old = int((now - self._keep_raw).timestamp())
        while self._forget_some(old):
            time.sleep(_BREATH)
        with transaction(self._engine, READ) as connection:
            everything = connection.execute(sa.select(models.measured.c.id)).scalars().all()
        old, table = int((now - self._keep).timestamp()), models.rollups
        for entity in everything:
            with transaction(self._engine, SOON) as connection:
                connection.execute(
                    sa.delete(table).where(table.c.entity == entity, table.c.at < old)
                )

    def _forget_some(self, old: int) -> bool:
        """Drop the oldest raw values, those of a few minutes; whether there may be more."""
        at = models.raw.c.at
        with transaction(self._engine, SOON) as connection:
            first = connection.execute(sa.select(sa.func.min(at))).scalar()
            if first is None or first >= old:
                return False
            connection.execute(sa.delete(models.raw).where(at < min(old, first + _SLICE)))
        return True

    def _roll(self, span: int, start: int) -> None:
        source = _SOURCE[span]
        with transaction(self._engine, READ) as connection:
            found = connection.execute(
                _hours(start, span) if source else _minutes(start, span, _kinds(span))
            ).all()
        rows = [
            {
                "entity": entity,
                "span": span,
                "at": start,
                **(_of_rollups(some) if source else _of_raw(some)),
            }
            for entity, some in itertools.groupby(found, key=lambda row: row.entity)
        ]
        if not rows:
            return
        with transaction(self._engine, SOON) as connection:
            for some in _batches(rows):
                connection.execute(
                    insert_into(self._engine, models.rollups).on_conflict_do_nothing(), some
                )

    def _numbers_of(self, entities: Sequence[str]) -> Mapping[str, int]:
        """Numbers of entities, given to new ones."""
        new = [entity for entity in entities if entity not in self._ids]
        table = models.measured
        for some in _batches(new):
            rows = [{"entity": entity} for entity in some]
            with transaction(self._engine, SOON) as connection:
                connection.execute(insert_into(self._engine, table).on_conflict_do_nothing(), rows)
                found = connection.execute(
                    sa.select(table.c.entity, table.c.id).where(table.c.entity.in_(some))
                )
                self._ids |= {row.entity: row.id for row in found}
        return self._ids

    # reading

    def history(
        self, entities: Collection[str], metric: Metric, since: datetime, until: datetime
    ) -> Mapping[str, tuple[Bucket, ...]]:
        """Buckets of each entity; see the port."""
        found: dict[str, list[Bucket]] = {}
        with transaction(self._engine, READ) as connection:
            for kind, some in itertools.groupby(sorted(entities), key=_kind):
                span = _span(kind, since, until)
                for some_of_them in _batches(list(some)):
                    names = models.measured.c.entity.in_(some_of_them)
                    for row in connection.execute(_buckets(names, span, metric, since, until)):
                        found.setdefault(row.entity, []).append(_bucket(row, span, metric))
        return {entity: tuple(buckets) for entity, buckets in found.items()}

    def summary(
        self, kind: str, metric: Metric, since: datetime, until: datetime
    ) -> Mapping[str, Bucket]:
        """One bucket for the whole time of each; see the port."""
        span = _coarse(kind, since, until)
        # The names come first in the join: each entity's rollups are then one range of the key.
        names = models.measured.c.entity.like(f"{kind}:%")
        with transaction(self._engine, READ) as connection:
            rows = connection.execute(_buckets(names, span, metric, since, until)).all()
        return {
            entity: _join(list(some), metric, since, until)
            for entity, some in itertools.groupby(rows, key=lambda row: row.entity)
        }


def _kind(entity: str) -> str:
    return entity.partition(":")[0]


def _kinds(span: int) -> tuple[str, ...]:
    return tuple(kind for kind, spans in _SPANS.items() if span in spans)


def _span(kind: str, since: datetime, until: datetime) -> int:
    fine, hour, day = _SPANS[kind]
    asked = (until - since).total_seconds()
    return fine if asked <= _FINE_UNTIL else hour if asked <= _HOURS_UNTIL else day


def _coarse(kind: str, since: datetime, until: datetime) -> int:
    """For summaries of everything.

    A day of 6000 guests by the five minutes would be 1.7 million rows.
    """
    fine, hour, day = _SPANS[kind]
    asked = (until - since).total_seconds()
    return fine if asked <= _FINE_SUMMARY else hour if asked <= _HOURS_SUMMARY else day


def _batches(rows: Sequence[T]) -> Iterator[list[T]]:
    for start in range(0, len(rows), _AT_ONCE):
        yield list(rows[start : start + _AT_ONCE])


def _columns(values: Mapping[Metric, float]) -> dict[str, int | None]:
    return {metric.value: _whole(metric, values.get(metric)) for metric in Metric}


def _whole(metric: Metric, value: float | None) -> int | None:
    if value is None:
        return None
    return round(value / 1024) if metric in _KIB else round(value * 1000)


def _real(metric: Metric, value: float) -> float:
    return value * 1024.0 if metric in _KIB else value / 1000.0


def _minutes(start: int, span: int, kinds: Iterable[str]) -> sa.Select[Any]:
    raw, names = models.raw, models.measured
    wanted = sa.or_(*(names.c.entity.like(f"{kind}:%") for kind in kinds))
    return (
        sa.select(raw)
        .join(names, names.c.id == raw.c.entity)
        .where(raw.c.at >= start, raw.c.at < start + span, wanted)
        .order_by(raw.c.entity)
    )


def _hours(start: int, span: int) -> sa.Select[Any]:
    table, names = models.rollups, models.measured
    return (
        sa.select(table)
        .select_from(names.join(table, table.c.entity == names.c.id))
        .where(table.c.span == HOUR, table.c.at >= start, table.c.at < start + span)
        .order_by(table.c.entity)
    )


def _buckets(
    names: sa.ColumnElement[bool], span: int, metric: Metric, since: datetime, until: datetime
) -> sa.Select[Any]:
    table, named = models.rollups, models.measured
    first, last = int(since.timestamp()), int(until.timestamp())
    columns = [table.c[f"{metric.value}_{kind}"].label(kind) for kind in models.KINDS]
    return (
        sa.select(named.c.entity, table.c.at, table.c["count"].label("number"), *columns)
        .select_from(named.join(table, table.c.entity == named.c.id))
        .where(
            names,
            table.c.span == span,
            table.c.at >= first - span + 1,
            table.c.at < last,
            columns[0].is_not(None),
        )
        .order_by(named.c.entity, table.c.at)
    )


def _bucket(row: sa.Row[Any], span: int, metric: Metric) -> Bucket:
    at = datetime.fromtimestamp(row.at, UTC)
    return Bucket(
        at,
        span,
        _real(metric, row.mean),
        _real(metric, row.p95),
        _real(metric, row.peak),
        row.number,
    )


def _join(rows: Sequence[sa.Row[Any]], metric: Metric, since: datetime, until: datetime) -> Bucket:
    count = sum(row.number for row in rows)
    return Bucket(
        since,
        int((until - since).total_seconds()),
        _real(metric, sum(row.mean * row.number for row in rows) / count),
        _real(metric, percentile(row.p95 for row in rows)),
        _real(metric, max(row.peak for row in rows)),
        count,
    )


def percentile(values: Iterable[float], share: float = 0.95) -> float:
    """The smallest value that ``share`` of the values do not exceed (the nearest rank)."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


def _of_raw(rows: Iterable[sa.Row[Any]]) -> dict[str, int | None]:
    """A rollup of a minute's values."""
    some = list(rows)
    made: dict[str, int | None] = {"count": len(some)}
    for index, metric in enumerate(models.METRICS, 2):
        values = [row[index] for row in some if row[index] is not None]
        made[f"{metric}_mean"] = round(sum(values) / len(values)) if values else None
        made[f"{metric}_p95"] = int(percentile(values)) if values else None
        made[f"{metric}_peak"] = max(values, default=None)
    return made


def _of_rollups(rows: Iterable[sa.Row[Any]]) -> dict[str, int | None]:
    """A rollup of rollups: means weighted by their counts, the 95th percentile of percentiles.

    The peak of peaks.
    """
    some = [row._mapping for row in rows]  # noqa: SLF001 - SQLAlchemy's public name for it
    made: dict[str, int | None] = {"count": sum(row["count"] for row in some)}
    for metric in models.METRICS:
        told = [row for row in some if row[f"{metric}_mean"] is not None]
        count = sum(row["count"] for row in told)
        made[f"{metric}_mean"] = (
            round(sum(r[f"{metric}_mean"] * r["count"] for r in told) / count) if told else None
        )
        made[f"{metric}_p95"] = (
            int(percentile(row[f"{metric}_p95"] for row in told)) if told else None
        )
        made[f"{metric}_peak"] = max((row[f"{metric}_peak"] for row in told), default=None)
    return made
