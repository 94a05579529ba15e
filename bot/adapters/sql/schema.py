"""Brings the database to the newest schema at start; replicas that start together take turns."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from bot.adapters.sql import models
from bot.adapters.sql.engine import SURELY, transaction
from bot.domain.errors import StoreError
from bot.domain.message import words

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
        _upgrade(connection)


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
