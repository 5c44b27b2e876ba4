"""One message found in a file, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

MAIL: Final = "message/rfc822"
# The largest message read from a file; what the listeners take is smaller, archives hold what older servers took.
MAX_MESSAGE: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Found:
    """`body` is what arrived, byte for byte; with an `error` there is none. `inbox`, `facts` come from JSON lines."""

    origin: str  # path, `path#n` for the n-th message of an mbox, `path:n` for a line
    body: bytes = b""
    content_type: str = MAIL
    inbox: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    stored_at: datetime | None = None  # when the mailbox says that it came
    archived: bool = True  # it lay somewhere before we took it; a mail on standard input comes now


def too_large(origin: str) -> Found:
    """What is past `MAX_MESSAGE` is named and passed over."""
    return Found(origin, error=f"larger than {MAX_MESSAGE // 2**20} MiB, which no mail server accepts")
