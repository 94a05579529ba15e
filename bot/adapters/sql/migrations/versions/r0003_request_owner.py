"""Which replica accepted a request, so that another can take it over.

NULL: accepted before this was known.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column."""
    op.add_column("requests", sa.Column("replica", sa.String))
