"""Bring a database to the schema this version expects."""

from __future__ import annotations

import logging
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

_log = logging.getLogger(__name__)

_MIGRATION_LOCK = 0x46726F6E75  # several processes start at once: one migrates, the others wait and find it done


def migrate(conn: Connection) -> tuple[str | None, str]:
    """Upgrade to the newest revision; returns (revision before, revision now). Safe to run in several processes.

    A database that a newer version has migrated is left as it is: during a rolling restart processes of both run, and
    one of the older that starts again has to go on. Migrations take nothing away that it uses, so that it can.
    """
    if conn.dialect.name == "postgresql":
        conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
    config = _config()
    before = current_revision(conn)
    newest = newest_revision()
    if before is not None and before not in known_revisions():
        _log.warning("the database is at %s, of a newer version than this one, which knows %s", before, newest)
        return before, before
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


def known_revisions() -> set[str]:
    """All revisions of this version."""
    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config
