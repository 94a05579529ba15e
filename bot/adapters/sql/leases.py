"""Which replica measures which host, and what it measured (the port ``Leases``).

Ages are by the database's clock.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import sqlalchemy as sa

from bot.adapters.sql import models
from bot.adapters.sql.engine import READ, SOON, transaction
from bot.adapters.sql.rows import insert_into
from bot.ports.series import Lease

_EPOCH = 2440587.5  # the Julian day of 1970-01-01, as SQLite counts days


class SqlLeases:
    """Leases in a database that is up to date. Safe to share by threads and replicas.

    Args:
        engine: opened; whoever opened it disposes of it.
        replica: this process's name.
    """

    def __init__(self, engine: sa.Engine, replica: str) -> None:
        self._engine = engine
        self._replica = replica
        self._now: sa.ColumnElement[float] = (
            sa.func.extract("epoch", sa.func.clock_timestamp()).cast(sa.Float)
            if engine.dialect.name == "postgresql"
            else (sa.func.julianday("now") - _EPOCH) * 86400.0
        )

    def replicas(self) -> frozenset[str]:
        """The replicas that count as alive; see the port."""
        table = models.replicas
        wanted = sa.select(table.c.name).where(table.c.epoch != "")
        with transaction(self._engine, READ) as connection:
            return frozenset(connection.execute(wanted).scalars())

    def leases(self) -> Mapping[str, Lease]:
        """Every lease by its host; see the port."""
        table = models.leases
        wanted = sa.select(
            table.c.host, table.c.replica, table.c.leased_at, table.c.measured_at, self._now
        )
        with transaction(self._engine, READ) as connection:
            rows = connection.execute(wanted).all()
        return {
            host: Lease(
                replica,
                max(0.0, now - leased_at),
                None if measured_at is None else max(0.0, now - measured_at),
                leased_at,
                measured_at,
            )
            for host, replica, leased_at, measured_at, now in rows
        }

    def claim(self, hosts: Mapping[str, Lease | None]) -> frozenset[str]:
        """Take leases that nobody else took meanwhile; see the port.

        In the order of the names: two replicas that claim wait for each other, never in a circle.
        """
        if not hosts:
            return frozenset()
        with transaction(self._engine, SOON) as connection:
            return frozenset(
                host
                for host, before in sorted(hosts.items())
                if self._take(connection, host, before)
            )

    def _take(self, connection: sa.Connection, host: str, before: Lease | None) -> bool:
        table = models.leases
        mine = {"replica": self._replica, "leased_at": self._now}
        if before is None:
            row = insert_into(self._engine, table).values(host=host, **mine)
            change: sa.Executable = row.on_conflict_do_nothing().returning(table.c.host)
        else:
            same = sa.and_(
                table.c.host == host,
                table.c.replica == before.replica,
                table.c.leased_at == before.mark,
            )
            change = sa.update(table).where(same).values(**mine).returning(table.c.host)
        return connection.execute(change).first() is not None

    def release(self, hosts: Collection[str]) -> None:
        """Give leases of one's own up; what was measured stays; see the port."""
        if not hosts:
            return
        table = models.leases
        mine = sa.and_(table.c.host.in_(sorted(hosts)), table.c.replica == self._replica)
        with transaction(self._engine, SOON) as connection:
            connection.execute(sa.update(table).where(mine).values(replica=""))

    def keep(self, samples: Mapping[str, str], age: float) -> None:
        """Keep what was measured of hosts whose lease is still one's own; see the port."""
        if not samples:
            return
        table = models.leases
        mine = sa.and_(table.c.host == sa.bindparam("its_host"), table.c.replica == self._replica)
        change = (
            sa.update(table)
            .where(mine)
            .values(
                leased_at=self._now,
                measured_at=self._now - sa.literal(age, sa.Float),
                data=sa.bindparam("its_data"),
            )
        )
        rows = [{"its_host": host, "its_data": text} for host, text in sorted(samples.items())]
        with transaction(self._engine, SOON) as connection:
            connection.execute(change, rows)

    def samples(self, hosts: Collection[str]) -> Mapping[str, str]:
        """What was measured of hosts, by host; see the port."""
        if not hosts:
            return {}
        table = models.leases
        wanted = sa.select(table.c.host, table.c.data).where(
            table.c.host.in_(sorted(hosts)), table.c.data.is_not(None)
        )
        with transaction(self._engine, READ) as connection:
            return {row.host: row.data for row in connection.execute(wanted)}
