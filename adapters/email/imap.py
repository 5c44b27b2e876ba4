"""A mailbox read by IMAP, as the event loop sees it: all reading is done by one thread of its own.

With one folder that thread also waits for news; with several, `imap_watch` watches them on connections of their own.

[inboxes.support.imap]
host = "imap.example.com"           new mail wakes us at once where the server can IDLE (RFC 2177), and is
user = "support@example.com"        asked for every poll_seconds in any case
password = "..."
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from adapters.base import Page, PermanentError, TemporaryError
from adapters.email.imap_cursor import load
from adapters.email.imap_options import ImapOptions
from adapters.email.imap_watch import IDLE_SECONDS, MOST, Watches

if TYPE_CHECKING:
    from adapters.email.imap_walk import Line

ResultT = TypeVar("ResultT")

_IDLE_SECONDS: Final = IDLE_SECONDS
_FIRST_PAUSE: Final = 1.0  # after an IDLE that broke, or that promised mail there was not
_LONGEST_PAUSE: Final = 30.0  # so a mailbox that fails is known to fail within a minute
_ENDING_SECONDS: Final = 3.0


class Mailbox:
    """One mailbox of one inbox. `limit`: octets of the largest mail the inbox takes."""

    def __init__(self, options: ImapOptions, limit: int) -> None:
        self.options = options
        self._limit = min(limit, options.max_bytes)
        self._thread: ThreadPoolExecutor | None = None
        self._line: Line | None = None
        self._watches = Watches(options) if len(options.folders) > 1 else None
        self._next_uids: dict[str, int] = {}  # by folder; empty: there is nothing to IDLE with
        self._alarms = 0  # IDLEs in a row that ended early and for nothing

    async def poll(self, cursor: str) -> AsyncIterator[Page]:
        """Pages of mail after the cursor. Raises `TemporaryError` and `PermanentError` with the mailbox's name."""
        from adapters.email.imap_walk import Walk  # noqa: PLC0415  IMAPClient takes a while, and few inboxes poll

        line = self._open_line()
        position = load(cursor, self.options.account)
        self._next_uids = {}
        pages = Walk(line, position, self._limit, time.time).pages()
        found = False
        try:
            while (page := await self._in_thread(partial(next, pages, None))) is not None:
                found = found or bool(page.arrivals)
                yield page
        finally:
            await self._in_thread(pages.close)
        self._next_uids = {folder: position.folder(folder).uid + 1 for folder in self.options.folders}
        if found:
            self._alarms = 0

    async def idle(self, seconds: float) -> None:
        """Return when new mail came, or after `seconds`. Never raises for what the server does: the next poll tells."""
        clock = asyncio.get_running_loop().time
        until = clock() + seconds
        while (left := until - clock()) > 0:
            began = clock()
            try:
                woken = await self._listen(min(left, _IDLE_SECONDS))
            except (TemporaryError, PermanentError):
                woken = True
            if woken is None:
                await asyncio.sleep(max(0.0, until - clock()))
            elif woken:
                if clock() - began > _LONGEST_PAUSE:
                    self._alarms = 0
                pause = _FIRST_PAUSE * 2 ** min(self._alarms - 1, 10) if self._alarms else 0.0
                self._alarms += 1
                await asyncio.sleep(max(0.0, min(pause, _LONGEST_PAUSE, until - clock())))
                return

    async def _listen(self, seconds: float) -> bool | None:
        """Whether there is news; None: nobody can tell."""
        if self._watches is not None:
            return await self._watches.wait(self._next_uids, seconds)
        return await self._in_thread(partial(self._idle, seconds))

    async def reach(self) -> str:
        """Log in on a connection of its own and open every folder. Raises as `poll` does."""
        from adapters.email.imap_walk import Line  # noqa: PLC0415  as above

        line = Line(self.options)
        thread = ThreadPoolExecutor(1, thread_name_prefix="imap check")
        asked = asyncio.get_running_loop().run_in_executor(thread, _look, line)
        asked.add_done_callback(_heard)
        try:
            return await asyncio.shield(asked)
        except asyncio.CancelledError:
            line.interrupt()
            raise
        finally:
            thread.shutdown(wait=False)

    async def close(self) -> None:
        """Log out and end the thread. A later poll opens both again."""
        if self._watches is not None:
            await self._watches.close()
        if self._line is not None:
            await self._in_thread(self._line.drop)
        thread, self._thread, self._line = self._thread, None, None
        if thread is not None:
            thread.shutdown(wait=False)

    def _open_line(self) -> Line:
        from adapters.email.imap_walk import Line  # noqa: PLC0415  as above

        if self._line is None:
            self._line = Line(self.options)
        return self._line

    def _idle(self, seconds: float) -> bool | None:
        """Runs in the thread. None: this server, or this connection, cannot IDLE."""
        line = self._line
        session = line.session if line is not None else None
        next_uid = self._next_uids.get(self.options.folders[0])
        if line is None or session is None or not next_uid:
            return None
        try:
            if session.view is None or session.view.folder != self.options.folders[0] or not session.idles:
                return None
            return session.idle(next_uid, seconds)
        except TemporaryError:
            line.drop()
            raise

    async def _in_thread(self, work: Callable[[], ResultT]) -> ResultT:
        """Run it in the mailbox's thread; when we are cancelled, the thread stops waiting for the server."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"imap {self.options.user[:40]}")
        running = asyncio.get_running_loop().run_in_executor(self._thread, work)
        running.add_done_callback(_heard)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            if self._line is not None:
                self._line.interrupt()
            await asyncio.wait([running], timeout=_ENDING_SECONDS)
            raise


def _heard(task: asyncio.Future[Any]) -> None:
    """Nobody waits for it any more; an error in it is no news."""
    if not task.cancelled():
        task.exception()


def _look(line: Line) -> str:
    try:
        views = [line.select(folder) for folder in line.options.folders]
        counts = ", ".join(f"{view.folder} {view.exists} mails" for view in views)
        every = f"asked every {line.options.poll_seconds:g} s"
        wakes = "new mail is told at once" if line.open().idles else every
        if line.open().idles and len(views) > MOST:
            wakes += f", in the first {MOST} folders; the others are {every}"
        return f"{line.options.account}: {counts}; {wakes}"
    finally:
        with contextlib.suppress(OSError):
            line.drop()
