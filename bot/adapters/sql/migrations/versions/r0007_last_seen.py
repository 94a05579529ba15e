"""What was last read of each host while it answered: its boot id, the power by its controllers."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "last_seen",
        sa.Column("host", sa.String, primary_key=True),
        sa.Column("data", sa.Text, nullable=False),
    )
