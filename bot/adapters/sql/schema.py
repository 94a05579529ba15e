"""Brings the database to the newest schema at start; replicas that start together take turns."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from bot.adapters.sql import models
from bot.adapters.sql.engine import SURELY, transaction
from bot.domain.errors import FencedError, StoreError
from bot.domain.message import Duration, words

_TURN = 0x64726F766572  # "drover": PostgreSQL's advisory lock for one migration at a time

_VERSION = sa.Table(  # alembic's own, as it makes it
    "alembic_version",
    sa.MetaData(),
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)


def migrate(engine: sa.Engine) -> None:
    """Run the migrations that are missing, all in one transaction.

    Raises:
        StoreError: the database failed, or was made by a newer Drover.
    """
    with transaction(engine, SURELY) as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_TURN)))
        found = _revision(connection)
        if found == models.REVISION:
            return  # alembic takes 0.2 s and 7 MiB to import; only an upgrade needs it
        if not found:
            _make(connection)
            return
        if found > models.REVISION:
            raise StoreError(
                words(
                    "The database has schema {found}; this Drover supports schemas up to {known}.",
                    found=found,
                    known=models.REVISION,
                ),
                words(
                    "Start the newer Drover again, or restore the backup from before the upgrade."
                ),
            )
        _refuse_beside(connection)
        _upgrade(connection)


def check(connection: sa.Connection) -> None:
    """Notice that a newer Drover upgraded the database while this process is at work on it.

    Raises:
        FencedError: it did; this process has to end.
    """
    found = connection.execute(sa.select(_VERSION.c.version_num)).scalar_one_or_none() or ""
    if found > models.REVISION:
        raise FencedError(
            words(
                "A newer Drover upgraded the database to schema {found}; this process knows "
                "schemas up to {known}, and stops.",
                found=found,
                known=models.REVISION,
            ),
            words("Start the newer version in its place."),
        )


def _refuse_beside(connection: sa.Connection) -> None:
    """Upgrade nothing beneath a bot that is at work: it would not know what it finds."""
    table = models.notes
    if not sa.inspect(connection).has_table(table.name):
        return
    text = connection.execute(
        sa.select(table.c.text).where(table.c.key == models.ALIVE)
    ).scalar_one_or_none()
    age = (datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds() if text else BUSY
    if abs(age) < BUSY:
        raise StoreError(
            words(
                "The database must be upgraded, and a bot of an older version is at work on it: "
                "it reported {age} ago.",
                age=Duration(max(age, 0.0)),
            ),
            words(
                "Stop every replica of the older version, wait {time}, and start this one again.",
                time=Duration(BUSY),
            ),
        )


BUSY = 20.0
"""Seconds after its last report in which a bot counts as at work; it reports every 5 seconds."""


def _revision(connection: sa.Connection) -> str:
    if not sa.inspect(connection).has_table("alembic_version"):
        return ""
    return (
        connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
        or ""
    )


def _make(connection: sa.Connection) -> None:
    """All tables as they are now; a test holds them equal to what the migrations make."""
    models.metadata.create_all(connection, checkfirst=False)
    connection.execute(sa.insert(models.head).values(id=1, position=0, hash="", number=0))
    connection.execute(sa.schema.CreateTable(_VERSION))
    connection.execute(sa.insert(_VERSION).values(version_num=models.REVISION))


def _upgrade(connection: sa.Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option(
        "script_location", str(Path(__file__).parent / "migrations").replace("%", "%%")
    )
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
