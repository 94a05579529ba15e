"""Alembic's entry: migrates on the connection it is handed, in that connection's transaction."""

from alembic import context

from bot.adapters.sql.models import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
)
context.run_migrations()
