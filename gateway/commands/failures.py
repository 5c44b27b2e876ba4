"""Exit codes, and the sentence for every error a person can do something about.

0   done, and what was asked about is so
1   the thing asked about is not so: the audit does not balance, a check failed, some files were refused
2   usage or settings
75  temporary (EX_TEMPFAIL of sysexits.h): a service cannot be reached; the same command works later
"""

from __future__ import annotations

import errno
import socket
import sys
from typing import Final

OK: Final = 0
NOT_SO: Final = 1
USAGE: Final = 2
TEMPORARY: Final = 75

# Seen in exceptions of both databases when the schema was never created.
_NO_TABLES: Final = ("no such table", "undefinedtable", "does not exist")
_NO_DESK: Final = "the database has no Frontdesk tables yet; run `frontdesk migrate` (or `frontdesk up`, which does it)"


class CommandError(Exception):
    """A verb cannot do what was asked. `str(error)` says why and what to do; `code` is the exit code."""

    def __init__(self, sentence: str, code: int = NOT_SO) -> None:
        super().__init__(sentence)
        self.code = code


def explain(error: BaseException) -> tuple[int, str] | None:
    """Exit code and sentence of an expected error; None for a bug, which keeps its traceback."""
    if isinstance(error, CommandError):
        return error.code, str(error)
    if isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        return explain(error.exceptions[0])
    return _explain_settings(error) or _explain_service(error) or _explain_system(error)


def _explain_settings(error: BaseException) -> tuple[int, str] | None:
    from gateway.settings import SettingsError  # noqa: PLC0415  pydantic takes a fifth of a second

    if isinstance(error, SettingsError):
        return USAGE, f"settings: {error}"
    return None


def _explain_service(error: BaseException) -> tuple[int, str] | None:
    """Queue, store and blobs have words of their own for being away; a database error may also slip through raw."""
    name = type(error).__name__
    if name in {"QueueUnavailableError", "NotDurableError"}:
        return (
            TEMPORARY,
            f"queue: {error or 'nothing can be made durable now'}; is the broker up (FRONTDESK_QUEUE_URL)?",
        )
    if name == "StoreUnavailableError":
        return TEMPORARY, f"store: {error}; is the database up (FRONTDESK_STORE_URL)?"
    if name == "BlobsUnavailableError":
        return TEMPORARY, f"blobs: {error}; is the disk full or read-only (FRONTDESK_BLOB_DIR)?"
    if isinstance(error, ConnectionError | TimeoutError | socket.gaierror):
        # The queue and the listeners wrap theirs; what comes bare comes from the database driver.
        return TEMPORARY, f"store: {error.strerror or 'no answer'}; is the database up (FRONTDESK_STORE_URL)?"
    if "sqlalchemy" not in sys.modules or not type(error).__module__.startswith(("sqlalchemy", "asyncpg")):
        return None
    text = f"{type(getattr(error, 'orig', error)).__name__} {error}".lower()
    if any(mark in text for mark in _NO_TABLES) and ("table" in text or "relation" in text):
        return USAGE, _NO_DESK
    from gateway.store.engine import is_transient  # noqa: PLC0415  SQLAlchemy takes half a second

    if is_transient(error):
        first = (str(getattr(error, "orig", None) or error).splitlines() or [name])[0]
        return TEMPORARY, f"store: {first}; is the database up (FRONTDESK_STORE_URL)?"
    return None


def _explain_system(error: BaseException) -> tuple[int, str] | None:
    if not isinstance(error, OSError):
        return None
    if error.errno == errno.EADDRINUSE:
        return (
            USAGE,
            f"{error.strerror}; another process listens there: stop it, or set FRONTDESK_HTTP_LISTEN (or SMTP, LMTP)",
        )
    if error.errno in {errno.EACCES, errno.EPERM, errno.ENOENT, errno.EROFS, errno.ENOTDIR, errno.EISDIR}:
        where = f"{error.filename}: " if error.filename else ""
        return USAGE, f"{where}{error.strerror}"
    reason = error.strerror or str(error) or type(error).__name__
    return TEMPORARY, f"{reason}; try again, or see `frontdesk check`"
