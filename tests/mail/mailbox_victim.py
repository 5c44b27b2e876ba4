"""`python -m tests.mail.mailbox_victim DATA_DIR IMAP_JSON N`: polls, and dies by SIGKILL where the N-th cursor is due.

Everything before that cursor was accepted by the real queue, and nobody wrote down that it was.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from gateway.store import cursors
from tests.mail.mailboxes import desk_at


def die_at(number: int) -> None:
    """Replace the saving of cursors: the given one, counted from 1, is the last thing this process does."""
    save, seen = cursors.save_cursor, 0

    def save_or_die(*arguments: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)
        save(*arguments)

    cursors.save_cursor = save_or_die  # type: ignore[assignment]


async def main(folder: str, imap: str, number: str) -> None:
    die_at(int(number))
    async with desk_at(Path(folder), json.loads(imap)) as desk:
        await desk.free_lease()
        await desk.poll()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
