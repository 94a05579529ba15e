"""Copies of VMs' UEFI variables."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "variables",
        sa.Column("uuid", sa.String, primary_key=True),
        sa.Column("data", sa.Text, nullable=False),
    )
