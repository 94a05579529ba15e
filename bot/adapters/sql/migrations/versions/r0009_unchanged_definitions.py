"""Kept definitions that did not change: by what they are known, and when they were last seen."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the columns; NULL where nothing of it is known yet."""
    op.add_column("definitions", sa.Column("mark", sa.String))
    op.add_column("definitions", sa.Column("seen_at", sa.String))
