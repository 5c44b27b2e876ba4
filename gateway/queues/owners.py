"""Who holds claims on a shared queue file: one locked file per living process, beside the queue file.

The kernel drops a lock (flock(2)) the moment its holder dies, kill -9 included. So a dead worker's messages come back
at once, and no clock is involved: nothing expires early because a clock jumped or a machine was suspended.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import weakref
from pathlib import Path
from typing import Final
from uuid import uuid4

_SETTLED: Final = 100_000_000  # nanoseconds; a folder changed twice within one tick of the clock may show one time


class Owners:
    """The folder of lock files. Blocking calls, for the queue's own thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor: int | None = None
        self._name = ""
        self._others: frozenset[str] = frozenset()
        self._listed = 0  # when the folder had changed before we listed it
        _alive.add(self)

    def join(self) -> str:
        """Become an owner; the name is new for every life. Raises OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.forget()
        while self._descriptor is None:
            self._name = uuid4().hex
            path = self._folder / self._name
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            # Between creation and lock a neighbour may have taken the file for a dead owner's and removed it.
            if _try_lock(descriptor) and path.exists():
                self._descriptor = descriptor
            else:
                os.close(descriptor)
        return self._name

    def is_member(self) -> bool:
        """Whether our lock file is where the others look for it."""
        return self._descriptor is not None and (self._folder / self._name).exists()

    def living(self) -> set[str]:
        """Names of all owners alive, ourselves included. Lock files of the dead are removed on the way."""
        names = set()
        for path in self._folder.iterdir():
            try:
                descriptor = os.open(path, os.O_RDWR)
            except FileNotFoundError:
                continue
            try:
                if _try_lock(descriptor):
                    path.unlink(missing_ok=True)
                else:
                    names.add(path.name)
            finally:
                os.close(descriptor)
        return names

    def others(self) -> frozenset[str]:
        """Names of the other owners, some of whom may have died. Cheap: the folder is listed when it has changed."""
        changed = self._folder.stat().st_mtime_ns
        if changed != self._listed:
            self._others = frozenset(path.name for path in self._folder.iterdir()) - {self._name}
            self._listed = changed if time.time_ns() - changed > _SETTLED else 0
        return self._others

    def leave(self) -> None:
        """Stop being an owner."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                (self._folder / self._name).unlink(missing_ok=True)
            self.forget()

    def forget(self) -> None:
        """Close our copy of the lock. In a forked child: a child that outlives us must not look like us."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


_alive: weakref.WeakSet[Owners] = weakref.WeakSet()


def _forget_all() -> None:
    for owners in _alive:
        owners.forget()


os.register_at_fork(after_in_child=_forget_all)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
