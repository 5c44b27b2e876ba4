"""Large bodies of a queue file: each in a file of its own beside it, and only its name in the row.

A commit that writes a message of a megabyte keeps the one who writes the queue file, and everybody who waits to, for as
long as that takes; so does the transaction that deletes it. Beside the file nobody waits. A body is fsynced before the
row that names it is committed, and removed after the row's deletion is: a crash in between leaves a file too many.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar
from uuid import uuid4

from gateway.durable import make_folder, sync, write_new
from gateway.queues.base import Delivered, Outgoing, QueueUnavailableError, room_in

_log = logging.getLogger(__name__)

LARGE: Final = 64 * 1024  # octets; a larger body is not written into the queue file
LONGEST_MARK: Final = 64
_MARK: Final = b"\0body "  # no body begins so: a message is JSON
# What keeps this process from reading any file; another time the same file may be read.
_PASSING: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EINTR})
_UNREAD: Final = ".unread"
_ABANDONED: Final = 7 * 86_400.0  # seconds; a file set aside as damaged may still be looked at by somebody

A = TypeVar("A")
R = TypeVar("R")


class Bodies:
    """The folder. Files are written and read in threads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def put_apart(self, messages: Sequence[Outgoing]) -> tuple[Outgoing, ...]:
        """The messages with marks for their large bodies, which are durable. Raises QueueUnavailableError."""
        return tuple(
            [message if len(message.body) <= LARGE else await self._run(self._put, message) for message in messages]
        )

    async def bring_back(self, deliveries: list[Delivered]) -> list[Delivered]:
        """The deliveries with their large bodies, or the first of them, once these have `MOST_BYTES`.

        Raises QueueUnavailableError while this process cannot read any.

        One whose file is gone or cannot be read keeps the mark, which is no message of the queue contract: it ends
        among the dead letters, and what lies behind it is not kept waiting.
        """
        if not any(is_mark(delivery.body) for delivery in deliveries):
            return deliveries
        return await self._run(self._read, deliveries)

    async def drop(self, marks: Collection[bytes]) -> None:
        """Nobody needs these any more."""
        await asyncio.to_thread(self._unlink, *map(_name_in, marks))

    async def sweep(self, named: Collection[bytes]) -> None:
        """Remove old files that none of these marks names, but none that could not be read."""
        await asyncio.to_thread(self._sweep, {_name_in(mark) for mark in named})

    def are_any(self) -> bool:
        """Whether there is a file at all."""
        return self.folder.is_dir() and next(self.folder.iterdir(), None) is not None

    async def _run(self, work: Callable[[A], R], about: A) -> R:
        try:
            return await asyncio.to_thread(work, about)
        except OSError as error:
            raise QueueUnavailableError(f"large bodies in {self.folder}: {error.strerror}") from error

    def _put(self, message: Outgoing) -> Outgoing:
        name = uuid4().hex
        make_folder(self.folder)
        try:
            write_new(self.folder / name, message.body)
            sync(self.folder)
        except BaseException:
            self._unlink(name)
            raise
        return replace(message, body=_MARK + name.encode())

    def _read(self, deliveries: list[Delivered]) -> list[Delivered]:
        read: list[Delivered] = []
        for delivery in deliveries:
            if room_in(read) <= 0:
                break
            read.append(replace(delivery, body=self._body(delivery.body)) if is_mark(delivery.body) else delivery)
        return read

    def _body(self, mark: bytes) -> bytes:
        path = self.folder / _name_in(mark)
        try:
            return path.read_bytes()
        except OSError as error:
            if error.errno in _PASSING:
                raise
            _log.error("%s", self._keep_unread(path, error))
            return mark

    def _keep_unread(self, path: Path, error: OSError) -> str:
        """Set aside what may still be saved by hand: the row that names it is about to go. A sentence for the log."""
        sentence = f"the body of a message in {path} cannot be read: {error.strerror}"
        aside = path.with_suffix(_UNREAD)
        with contextlib.suppress(OSError):
            path.rename(aside)
            sentence += f"; kept as {aside.name}, replay its dead letter once it is mended and has its old name again"
        return sentence

    def _sweep(self, known: Collection[str]) -> None:
        eldest = time.time() - _ABANDONED
        for path in self.folder.iterdir():
            if path.suffix != _UNREAD and path.name not in known and path.stat().st_mtime < eldest:
                self._unlink(path.name)

    def _unlink(self, *names: str) -> None:
        for name in names:
            with contextlib.suppress(OSError):  # a file too many
                (self.folder / name).unlink()


def is_mark(found: bytes) -> bool:
    """Whether a row's body is the name of a file."""
    return found.startswith(_MARK) and len(found) <= LONGEST_MARK


def _name_in(mark: bytes) -> str:
    name = mark[len(_MARK) :].decode("ascii", "replace")
    return name if name.isalnum() else "-"
