"""One process a role on one embedded data folder.

SQLite would let several in; they would answer the same customers from two places, fight for one writer lock and make
one another's kills hard to reason about. Whoever wants several of a role has RabbitMQ and PostgreSQL.

The lock is the kernel's (flock(2)) and dies with its holder, kill -9 included: no stale file keeps anybody out.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from gateway.durable import make_folder
from gateway.settings import SettingsError


@contextlib.contextmanager
def occupied(folder: Path, roles: Iterable[str]) -> Iterator[None]:
    """Hold these roles of the folder meanwhile. Raises SettingsError that names the process which has one of them."""
    with contextlib.ExitStack() as held:
        for role in sorted(roles):
            held.callback(os.close, _take(folder, role))
        yield


def _take(folder: Path, role: str) -> int:
    make_folder(folder)
    path = folder / f"{role}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.read(descriptor, 20).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise SettingsError(
            f"data_dir: process {pid} already plays `{role}` in {folder}; stop it, or give this one a folder of its own"
        ) from None
    except BaseException:
        os.close(descriptor)
        raise
    # Whom to name, nothing more; on a full disk the lock holds all the same.
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor
