"""The store: one schema for SQLite and PostgreSQL, plain functions over a connection, one guarded door for writing."""
