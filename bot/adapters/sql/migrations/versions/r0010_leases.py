"""Which replica measures which host, and what it measured."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "leases",
        sa.Column("host", sa.String, primary_key=True),
        sa.Column("replica", sa.String, nullable=False),
        sa.Column("leased_at", sa.Float, nullable=False),
        sa.Column("measured_at", sa.Float),
        sa.Column("data", sa.Text),
    )
