"""What survives a power cut: the content of a file and its name are two things, and each wants an fsync of its own.

A new file is found again only when its folder was fsynced too, and a new folder only when its parent was (fsync(2)).
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

_PIECE: Final = 256 * 1024  # octets


def sync(path: Path) -> None:
    """Put a file's content, or the names in a folder, on the disk. Raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_new(path: Path, data: bytes) -> None:
    """Write a file that nobody else may read and put its content on the disk; its name is for `sync` of the folder.

    Piece by piece: on the disk, a commit of somebody else waits behind one piece then and not behind megabytes.
    Raises FileExistsError and other OSErrors.
    """
    with open(path, "xb", opener=_privately) as file:
        for start in range(0, max(1, len(data)), _PIECE):
            file.write(data[start : start + _PIECE])
            file.flush()
            os.fsync(file.fileno())


def make_folder(folder: Path) -> None:
    """Make sure there is a folder, in one of ours that nobody else may enter, whose name is on the disk.

    Folders above it are made with the usual rights. Raises OSError.
    """
    if folder.is_dir():
        return
    made = [folder, *(above for above in folder.parents if not above.is_dir())]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        for one in made:
            sync(one.parent)
    except OSError:
        # It must not be found and trusted next time: a second fsync may succeed without having written anything.
        with contextlib.suppress(OSError):
            for one in made:
                one.rmdir()
        raise


def _privately(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
