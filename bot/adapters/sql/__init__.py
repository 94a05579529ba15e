"""The database: SQLite by default, PostgreSQL by URL. The only place that imports SQLAlchemy."""
