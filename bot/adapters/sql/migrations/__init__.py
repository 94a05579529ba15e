"""Alembic's migrations, run by ``bot.adapters.sql.schema`` at start."""
