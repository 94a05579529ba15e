"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make every table. Frozen here, so that later models do not change what this did."""
    requests()
    operations()
    events()
    make_messages()
    small()


def requests() -> None:
    """What people asked, until it is handled."""
    op.create_table(
        "requests",
        sa.Column("arrived", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("key", sa.String, nullable=False, unique=True),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("accepted_at", sa.String, nullable=False),
        sa.Column("handled_at", sa.String),
    )
    open_ones = sa.text("handled_at IS NULL")
    op.create_index(
        "requests_waiting",
        "requests",
        ["arrived"],
        sqlite_where=open_ones,
        postgresql_where=open_ones,
    )


def operations() -> None:
    """What is asked of operations often."""
    op.create_table(
        "operations",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("origin_key", sa.String, unique=True),
        sa.Column("state", sa.String, nullable=False, index=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("requester", sa.String, nullable=False, index=True),
    )
    op.create_table(
        "operation_vms",
        sa.Column("uuid", sa.String, primary_key=True),
        sa.Column("operation", sa.Integer, sa.ForeignKey("operations.number"), primary_key=True),
    )


def events() -> None:
    """The truth, and where its chain ends."""
    op.create_table(
        "events",
        sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("operation", sa.Integer, sa.ForeignKey("operations.number"), nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("at", sa.String, nullable=False),
        sa.Column("by", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.UniqueConstraint("operation", "seq"),
    )
    head = op.create_table(
        "head",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
    )
    op.bulk_insert(head, [{"id": 1, "position": 0, "hash": "", "number": 0}])


def make_messages() -> None:
    """Where operations are shown."""
    op.create_table(
        "copies",
        sa.Column("operation", sa.Integer, sa.ForeignKey("operations.number"), primary_key=True),
        sa.Column("channel", sa.String, primary_key=True),
        sa.Column("ts", sa.String, primary_key=True),
    )


def small() -> None:
    """Hosts in maintenance, keys taken once, replicas alive."""
    op.create_table(
        "maintenance", sa.Column("host", sa.String, primary_key=True), sa.Column("since", sa.String)
    )
    op.create_table(
        "claims",
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("at", sa.String, nullable=False),
    )
    op.create_table(
        "replicas",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("beats", sa.BigInteger, nullable=False),
    )
