"""Which process is a replica, so that one taken for dead can be fenced off."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column."""
    op.add_column("replicas", sa.Column("epoch", sa.String))
