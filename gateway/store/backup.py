"""A copy of the embedded desk while it runs: queue, store, blobs and secrets, each as it was at one moment.

Copying a database file under a running process copies half of a transaction. SQLite's own backup takes a consistent
picture without stopping anybody (sqlite.org/backup.html).

The queue comes first and the store after it, so a message that moves on meanwhile is in both, and recognised as a
duplicate after a restore, rather than in neither. Blobs never change, so they come last and may be more than needed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import make_url

from gateway.durable import sync
from gateway.settings import Settings, SettingsError


@dataclass(frozen=True, slots=True)
class Backup:
    """What was copied: bytes of the databases, number of blobs."""

    folder: Path
    queue_bytes: int
    store_bytes: int
    blobs: int


class BackupError(Exception):
    """The copy could not be made, or is not sound."""


def back_up(settings: Settings, folder: Path) -> Backup:
    """Make `folder`, which must not exist yet or be empty, a data folder to start from. Blocks.

    Raises SettingsError when the store is not SQLite, BackupError when the copy fails its check.
    """
    store = make_url(settings.database_url)
    if store.get_backend_name() != "sqlite" or not store.database:
        raise SettingsError("backup copies an embedded desk; for PostgreSQL use pg_dump or base backups")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BackupError(f"{folder} is not empty")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    queue_bytes = _copy_queue(settings.data_dir / "queue.db", folder / "queue.db")
    store_bytes = _copy_database(Path(store.database), folder / "frontdesk.db")
    blobs = _copy_blobs(settings.blob_path, folder / "blobs")
    if (secrets := settings.data_dir / "secrets").is_dir():
        shutil.copytree(secrets, folder / "secrets")
    return Backup(folder, queue_bytes, store_bytes, blobs)


def _copy_queue(source: Path, target: Path) -> int:
    """The file, and the large bodies beside it: those there are before it is copied, and those there are after."""
    beside, place = (path.with_name(path.name + ".bodies") for path in (source, target))
    _copy_new(beside, place)
    size = _copy_database(source, target)
    _copy_new(beside, place)
    return size


def _copy_new(source: Path, target: Path) -> None:
    for path in source.iterdir() if source.is_dir() else ():
        target.mkdir(mode=0o700, exist_ok=True)
        if not (target / path.name).exists():
            with contextlib.suppress(FileNotFoundError):  # recorded meanwhile
                shutil.copy2(path, target / path.name)


def _copy_database(source: Path, target: Path) -> int:
    if not source.exists():
        return 0
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with (
            contextlib.closing(sqlite3.connect(f"file:{source}?mode=rw", uri=True, timeout=30)) as running,
            contextlib.closing(sqlite3.connect(target)) as copy,
        ):
            running.backup(copy)
            verdict = copy.execute("PRAGMA integrity_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        raise BackupError(f"{source}: {error}") from error
    if verdict != "ok":
        raise BackupError(f"{source} is damaged, and so is the copy: {verdict}")
    sync(target)
    return target.stat().st_size


def _copy_blobs(source: Path, target: Path) -> int:
    count = 0
    for path in _list_blobs(source):
        place = target / path.relative_to(source)
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copy2(path, place)
        count += 1
    return count


def _list_blobs(folder: Path) -> Iterator[Path]:
    return (path for path in folder.glob("??/*") if path.is_file() and path.suffix != ".part")
