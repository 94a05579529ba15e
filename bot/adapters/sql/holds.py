"""Hosts on hold, and which power controllers were shown to be whose (the port ``Holds``)."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from bot.adapters.sql import models
from bot.adapters.sql.engine import READ, SOON, SURELY, transaction
from bot.adapters.sql.rows import data_of, put_rows
from bot.domain import codec, power
from bot.domain.codec import Codec
from bot.domain.power import Bound, Hold, LastSeen

_CODEC = Codec((power.Hold, power.Proof, power.Reading, power.Bound, power.LastSeen))


class SqlHolds:
    """The part of the store that failover needs.

    Args:
        engine: opened; whoever opened it disposes of it.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def holds(self) -> tuple[Hold, ...]:
        """All hosts on hold; see the port."""
        with transaction(self._engine, READ) as connection:
            stored = connection.execute(
                sa.select(models.holds.c.data).order_by(models.holds.c.host)
            ).scalars()
            return tuple(_CODEC.loads(each) for each in stored)

    def put_hold(self, hold: Hold) -> None:
        """Put a host on hold; see the port."""
        put_rows(self._engine, models.holds, [{"host": hold.host, "data": codec.text(hold)}])

    def lift_hold(self, host: str) -> None:
        """The host is admitted again; see the port."""
        with transaction(self._engine, SURELY) as connection:
            connection.execute(sa.delete(models.holds).where(models.holds.c.host == host))

    def bonds(self) -> tuple[Bound, ...]:
        """Which controllers are whose; see the port."""
        table = models.bonds
        with transaction(self._engine, READ) as connection:
            stored = connection.execute(
                sa.select(table.c.data).order_by(table.c.host, table.c.device)
            ).scalars()
            return tuple(_CODEC.loads(each) for each in stored)

    def put_bond(self, bound: Bound) -> None:
        """Keep whose a controller is; see the port."""
        row = {"host": bound.host, "device": bound.device, "data": codec.text(bound)}
        put_rows(self._engine, models.bonds, [row])

    def last_seen(self, host: str) -> LastSeen | None:
        """What was last read of a host while it answered; see the port."""
        stored = data_of(self._engine, models.last_seen, host)
        return None if stored is None else _CODEC.loads(stored)

    def put_last_seen(self, seen: Sequence[LastSeen]) -> None:
        """Keep what was read of hosts that answer; see the port."""
        rows = [{"host": each.host, "data": codec.text(each)} for each in seen]
        put_rows(self._engine, models.last_seen, rows, SOON)
