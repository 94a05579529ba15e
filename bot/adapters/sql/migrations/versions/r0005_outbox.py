"""What is still to be said in the chat, so that a crash loses none of it."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "outbox",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("key", sa.String, nullable=False, unique=True),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("replica", sa.String, nullable=False),
    )
