"""The history of what was measured, and notes."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

METRICS = ("cpu", "wait", "memory", "disk", "net", "space")


def upgrade() -> None:
    """Make the tables. Frozen here, so that later models do not change what this did."""
    op.create_table(
        "measured",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("entity", sa.String, nullable=False, unique=True),
    )
    op.create_table(
        "raw",
        sa.Column("at", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column(
            "entity",
            sa.Integer,
            sa.ForeignKey("measured.id"),
            primary_key=True,
            autoincrement=False,
        ),
        *(sa.Column(metric, sa.BigInteger) for metric in METRICS),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rollups",
        sa.Column(
            "entity",
            sa.Integer,
            sa.ForeignKey("measured.id"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("span", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("count", sa.Integer, nullable=False),
        *(
            sa.Column(f"{metric}_{kind}", sa.BigInteger)
            for metric in METRICS
            for kind in ("mean", "p95", "peak")
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "notes",
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
    )
