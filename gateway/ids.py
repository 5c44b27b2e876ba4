"""Receipt ids: UUID version 7 (RFC 9562 section 5.7), increasing within a process even when the clock steps back."""

from __future__ import annotations

import os
import threading
import time
from uuid import UUID

_lock = threading.Lock()
_last = 0


def uuid7() -> UUID:
    """48 bits of Unix milliseconds, then 12 bits that count within one millisecond, then 62 random bits."""
    global _last  # noqa: PLW0603  monotonic order is a property of the process
    with _lock:
        now = (time.time_ns() // 1_000_000) << 12
        _last = max(now, _last + 1)
        stamp = _last
    random = int.from_bytes(os.urandom(8)) & ((1 << 62) - 1)
    return UUID(int=(stamp >> 12) << 80 | 0x7 << 76 | (stamp & 0xFFF) << 64 | 0b10 << 62 | random)
