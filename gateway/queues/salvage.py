"""A damaged queue file is set aside whole, and what can still be read of it goes into a new one.

Nothing is deleted: the file lies in `corrupt/` beside the queue, with its log, for whoever wants to look. What could
not be read is not guessed at; `frontdesk audit` names every message that was promised and is missing.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway.durable import make_folder, sync
from gateway.queues.base import Outgoing
from gateway.queues.queue_file import QueueFile

_log = logging.getLogger(__name__)

_FOLDER: Final = "corrupt"
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_CHECKED_BYTES: Final = 256 << 20  # a larger file is checked once it is suspect: the check reads every page
_HEADER: Final = b"SQLite format 3\x00"
_GIVE_UP_AFTER: Final = 10_000  # numbers in a row without a message
_BATCH: Final = 500


def open_or_set_aside(path: Path, *, suspect: bool = False) -> QueueFile:
    """Open the queue file; a damaged one is set aside first. Raises sqlite3.Error or OSError.

    A file that never was SQLite's is somebody's, and left alone. `suspect`: SQLite has found damage in it before.
    """
    if not _is_damaged(path, suspect=suspect):
        return QueueFile(path)
    aside = _set_aside(path)
    _log.error("queue file %s is damaged; it was moved to %s and a new one is started", path, aside)
    file = QueueFile(path)
    saved = _refill(file, aside)
    _log.error("%d messages were read back from %s; `frontdesk audit` names what is missing", saved, aside)
    return file


def _is_damaged(path: Path, *, suspect: bool) -> bool:
    if not path.exists() or path.stat().st_size == 0:
        return False
    # Its first bytes are read only then: closing a file lets go of all locks that this process has on it
    # (sqlite.org/howtocorrupt, 2.2), and a healthy one may be open here already.
    return _looks_damaged(path, suspect=suspect) and _was_ours(path)


def _looks_damaged(path: Path, *, suspect: bool) -> bool:
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=5, isolation_level=None)) as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if not version or (path.stat().st_size > _CHECKED_BYTES and not suspect):
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
                return False
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok")
    except sqlite3.DatabaseError as error:
        return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF in _DAMAGED


def _was_ours(path: Path) -> bool:
    """SQLite's name at its beginning, or zeros there, which a file system leaves after a power cut."""
    with path.open("rb") as file:
        start = file.read(len(_HEADER))
    return start in (_HEADER, bytes(len(_HEADER)))


def _set_aside(path: Path) -> Path:
    folder = path.parent / _FOLDER
    make_folder(folder)
    number = 1 + max((int(found.name) for found in folder.iterdir() if found.name.isdigit()), default=0)
    place = folder / str(number)
    make_folder(place)
    # The log first: a file without its log is less, and a log without its file would be taken for the new file's.
    for name in (f"{path.name}-wal", f"{path.name}-shm", path.name):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(name).rename(place / name)
    sync(path.parent)
    return place / path.name


def _refill(file: QueueFile, aside: Path) -> int:
    saved, batch = 0, list[Outgoing]()
    with contextlib.closing(sqlite3.connect(aside, isolation_level=None)) as damaged:
        damaged.execute("PRAGMA writable_schema = ON")  # else SQLite refuses a file shorter than it claims to be
        for message in _read_back(damaged):
            batch.append(message)
            if len(batch) == _BATCH:
                saved += _append(file, batch)
    return saved + _append(file, batch)


def _append(file: QueueFile, batch: list[Outgoing]) -> int:
    count = len(batch)
    if batch:
        with file.transaction():
            file.append(batch)
        batch.clear()
    return count


def _read_back(damaged: sqlite3.Connection) -> Iterator[Outgoing]:
    """One by one by number, so that a page that cannot be read costs only what lies on it.

    Whether a message was claimed does not matter: what was recorded already is recognised by its receipt.
    """
    number = (_find_number(damaged, "SELECT min(id) FROM message") or 1) - 1
    last = _find_number(damaged, "SELECT max(id) FROM message")
    last = last or _find_number(damaged, "SELECT seq FROM sqlite_sequence WHERE name = 'message'")
    missed = 0
    while number < last if last else missed < _GIVE_UP_AFTER:
        number += 1
        try:
            row = damaged.execute(
                "SELECT body, type, receipt_id, channel, inbox, traceparent FROM message WHERE id = ?", (number,)
            ).fetchone()
        except sqlite3.DatabaseError:
            row = None
        if row is None:
            missed += 1
        elif isinstance(row[0], bytes) and all(isinstance(word, str) for word in row[1:]):
            missed = 0
            yield Outgoing(*row)


def _find_number(damaged: sqlite3.Connection, query: str) -> int | None:
    with contextlib.suppress(sqlite3.DatabaseError):
        row = damaged.execute(query).fetchone()
        return int(row[0]) if row and isinstance(row[0], int) else None
    return None
