"""Secrets nobody configured: made once, kept in the data folder, readable by us alone.

Processes on several machines must agree on them, so production sets the options that they stand in for.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from pathlib import Path

from gateway.durable import make_folder, sync, write_new

_NAME = re.compile(r"[a-z0-9_.-]{1,100}")


class KeptSecrets:
    """A folder with a file a secret."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, name: str) -> str:
        """The secret of that name, made at the first call. Two processes that make it at once agree on one."""
        path = self.folder / (name if _NAME.fullmatch(name) else name.encode().hex()[:100])
        with contextlib.suppress(FileNotFoundError):
            return path.read_text()
        make_folder(self.folder)
        temporary = path.with_name(f"{path.name}.{secrets.token_hex(6)}")
        write_new(temporary, secrets.token_urlsafe(32).encode())
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(temporary)
        temporary.unlink()
        sync(self.folder)
        return path.read_text()
