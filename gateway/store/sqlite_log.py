"""The write-ahead log beside an SQLite file, watched by whoever keeps the file open.

SQLite deletes a log only when the last connection closes. So while ours is open a missing or exchanged log was somebody
tidying up: what we commit goes into a file without a name and vanishes with our last descriptor (sqlite.org,
howtocorrupt, 1.4). We still have it open, and can fold it into the database before anything more is promised.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path


class Log:
    """The log of one open connection. `note` once it exists, `is_gone` before each write."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(f"{database.name}-wal")
        self._inode: int | None = None

    def note(self) -> None:
        """Remember which file it is, the first time."""
        if self._inode is None:
            self._inode = self._find()

    def is_gone(self) -> bool:
        """Whether the file we noted is no longer there under its name."""
        return self._inode is not None and self._find() != self._inode

    def _find(self) -> int | None:
        try:
            return self._path.stat().st_ino
        except OSError:
            return None


def fold(connection: sqlite3.Connection) -> None:
    """Copy what the log holds into the database and fsync it. Raises sqlite3.OperationalError while another reads."""
    busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise sqlite3.OperationalError("the log cannot be folded into the database while another process reads it")
