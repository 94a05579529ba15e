"""What a failover needs: kept definitions of VMs, hosts on hold.

Also whose power controllers are whose.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "definitions",
        sa.Column("uuid", sa.String, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("host", sa.String, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
    )
    op.create_table(
        "holds",
        sa.Column("host", sa.String, primary_key=True),
        sa.Column("data", sa.Text, nullable=False),
    )
    op.create_table(
        "bonds",
        sa.Column("host", sa.String, primary_key=True),
        sa.Column("device", sa.String, primary_key=True),
        sa.Column("data", sa.Text, nullable=False),
    )
