"""Large bodies by the SHA-256 of their content, in a directory that several processes may share.

A blob is written to a temporary name, fsynced, renamed, and its folder fsynced: once `put` returns it survives a power
cut, and a reader never sees half of one. Names are hashes, so nothing a stranger wrote ever becomes a path.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import secrets
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from gateway.durable import make_folder, sync, write_new

_NAME: Final = re.compile(r"[0-9a-f]{64}")


class BlobsUnavailableError(Exception):
    """The bytes cannot be made durable now (disk full, read-only, gone)."""


class Blobs:
    """A content-addressed directory, fanned out by the first two hex digits.

    With less than `min_free_bytes` or `min_free_inodes` left nothing more is taken in, so that those who share the disk
    can go on working off what was.
    """

    def __init__(self, root: Path, *, min_free_bytes: int = 0, min_free_inodes: int = 0) -> None:
        self.root = root
        self._min_free_bytes = min_free_bytes
        self._min_free_inodes = min_free_inodes
        self._unsealed: set[str] = set()  # names that may not be on the disk yet, though they can be read
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="blobs")

    async def put(self, data: bytes) -> str:
        """Keep the bytes and return their SHA-256 in hex. Raises `BlobsUnavailableError`."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._write, data)

    async def get(self, name: str) -> bytes:
        """The bytes of a blob. Raises KeyError when there is none of that name."""
        if not _NAME.fullmatch(name):
            raise KeyError(name)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self.path(name).read_bytes)
        except FileNotFoundError:
            raise KeyError(name) from None

    def path(self, name: str) -> Path:
        """Where a blob lies."""
        return self.root / name[:2] / name

    async def check(self) -> str:
        """Write, read and remove a small blob; one sentence for `frontdesk check`. Raises `BlobsUnavailableError`."""
        name = await self.put(b"frontdesk check " + secrets.token_bytes(8))
        self.path(name).unlink(missing_ok=True)
        return f"blobs writable at {self.root}"

    def close(self) -> None:
        """Let running writes finish."""
        self._threads.shutdown()

    def _write(self, data: bytes) -> str:
        name = hashlib.sha256(data).hexdigest()
        target = self.path(name)
        try:
            if target.exists() and name not in self._unsealed:
                sync(target.parent)  # whoever wrote it may not have come that far yet
                return name
            make_folder(target.parent)
            self._check_space(target.parent, len(data))
            temporary = target.with_name(f"{name}.{secrets.token_hex(6)}.part")
            try:
                write_new(temporary, data)
                temporary.rename(target)
            finally:
                temporary.unlink(missing_ok=True)
            self._seal(target)
        except OSError as error:
            raise BlobsUnavailableError(f"cannot write below {self.root}: {error.strerror}") from error
        return name

    def _seal(self, target: Path) -> None:
        try:
            sync(target.parent)
        except OSError:
            # A second fsync of the folder may succeed without having written anything; the next put starts anew. It is
            # not removed: another put of the same content may have been told that it is durable.
            self._unsealed.add(target.name)
            raise
        self._unsealed.discard(target.name)

    def _check_space(self, folder: Path, size: int) -> None:
        facts = os.statvfs(folder)
        free = facts.f_bavail * facts.f_frsize
        if self._min_free_bytes and free < self._min_free_bytes + size:
            needed = (self._min_free_bytes + size) >> 20
            raise BlobsUnavailableError(f"{free >> 20} MiB free below {self.root}, {needed} needed")
        # Zero files in all: a file system without a fixed number of inodes.
        if facts.f_files and facts.f_favail < self._min_free_inodes:
            raise BlobsUnavailableError(f"the file system of {self.root} is short of inodes")
