"""Bring a database to the schema this version expects."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

_MIGRATION_LOCK = 0x46726F6E75  # several processes start at once: one migrates, the others wait and find it done


def migrate(conn: Connection) -> tuple[str | None, str]:
    """Upgrade to the newest revision; returns (revision before, revision now). Safe to run in several processes."""
    if conn.dialect.name == "postgresql":
        conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
    config = _config()
    before = current_revision(conn)
    newest = newest_revision()
    if before != newest:
        config.attributes["connection"] = conn
        command.upgrade(config, "head")
    return before, newest


def current_revision(conn: Connection) -> str | None:
    """The revision a database is at; None when it is empty."""
    return MigrationContext.configure(conn).get_current_revision()


def newest_revision() -> str:
    """The revision this version of the code expects."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise RuntimeError("the package holds no migrations")
    return head


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config
