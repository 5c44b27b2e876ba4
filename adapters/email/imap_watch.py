"""Watching the folders of a mailbox for new mail, each on a connection of its own that does nothing but IDLE.

A connection that IDLEs hears of one folder only (RFC 2177), and reading is done on another one. Watching is a help and
never a duty: a folder that cannot be watched is read every poll_seconds all the same, so trouble here is told once and
makes no mailbox fail.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from adapters.base import PermanentError, TemporaryError
from adapters.email.imap_options import ImapOptions

if TYPE_CHECKING:
    from adapters.email.imap_walk import Line

log = logging.getLogger(__name__)

MOST: Final = 4  # folders watched; with the one that reads, half of the connections that Dovecot lets an address have
IDLE_SECONDS: Final = 540.0  # RFC 2177 asks for less than 29 minutes; Gmail hangs up after 10
_AGAIN: Final = 300.0  # seconds until a folder that could not be watched is tried again
_ENDING_SECONDS: Final = 3.0


class Watches:
    """The watched folders of one mailbox: the first few that are configured."""

    def __init__(self, options: ImapOptions) -> None:
        self._watches = [_Watch(options, folder) for folder in options.folders[:MOST]]

    async def wait(self, next_uids: Mapping[str, int], seconds: float) -> bool:
        """True as soon as one of the folders has a mail of its UID in `next_uids` or above; False after `seconds`."""
        clock = asyncio.get_running_loop().time
        until = clock() + seconds
        while (left := until - clock()) > 0:
            running = [task for watch in self._watches if (task := watch.running(next_uids, clock())) is not None]
            due = min((watch.due for watch in self._watches if watch.due > clock()), default=until)
            if not running:
                await asyncio.sleep(max(0.0, min(left, due - clock())))
                continue
            pause = max(0.0, min(left, due - clock()))
            await asyncio.wait(running, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
            news = [watch.collect(clock()) for watch in self._watches]
            if any(news):
                return True
        return False

    async def close(self) -> None:
        """End every connection and thread."""
        await asyncio.gather(*(watch.close() for watch in self._watches))


class _Watch:
    """One folder, one connection, one thread. A wait that nobody has collected yet goes on over polls."""

    def __init__(self, options: ImapOptions, folder: str) -> None:
        self._options = options
        self._folder = folder
        self._line: Line | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._waiting: asyncio.Future[bool | None] | None = None
        self._told = ""
        self.due = 0.0  # on the loop's clock: not before that

    def running(self, next_uids: Mapping[str, int], now: float) -> asyncio.Future[bool | None] | None:
        """The wait, begun if there is none; None while there is no use in one."""
        if self._waiting is None and now >= self.due and next_uids.get(self._folder):
            if self._thread is None or self._line is None:
                from adapters.email.imap_walk import Line  # noqa: PLC0415  IMAPClient takes a while, and few inboxes poll

                self._line = Line(self._options)
                self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"imap {self._folder[:40]}")
            loop, low = asyncio.get_running_loop(), next_uids[self._folder]
            self._waiting = loop.run_in_executor(self._thread, _idle, self._line, self._folder, low)
        return self._waiting

    def collect(self, now: float) -> bool:
        """Whether the wait has ended with news. After anything else the folder is left alone for a while."""
        waiting = self._waiting
        if waiting is None or not waiting.done():
            return False
        self._waiting = None
        try:
            woken = waiting.result()
        except (TemporaryError, PermanentError) as error:
            if str(error) != self._told:
                every = self._options.poll_seconds
                log.warning("%s is read every %g s, as it cannot be watched: %s", self._folder, every, error)
            self._told, self.due = str(error), now + _AGAIN
            return False
        if woken is None:
            self.due = float("inf")  # this server cannot IDLE
        self._told = ""
        return bool(woken)

    async def close(self) -> None:
        """Stop waiting, hang up, end the thread."""
        line, thread, waiting = self._line, self._thread, self._waiting
        self._line = self._thread = self._waiting = None
        self.due = 0.0
        if line is not None:
            line.interrupt()
        if waiting is not None:
            await asyncio.wait([waiting], timeout=_ENDING_SECONDS)
            if waiting.done() and not waiting.cancelled():
                waiting.exception()  # that it ended is all that was wanted
        if thread is not None:
            if line is not None:
                with contextlib.suppress(OSError):
                    await asyncio.get_running_loop().run_in_executor(thread, line.drop)
            thread.shutdown(wait=False)


def _idle(line: Line, folder: str, low: int) -> bool | None:
    """Runs in the thread until there is news or an IDLE has to be renewed. None: the server cannot IDLE."""
    try:
        line.begin()
        session = line.open()
        if not session.idles:
            line.drop()
            return None
        if session.view is None:
            session.select(folder, writable=False)
        return session.idle(low, IDLE_SECONDS)
    except BaseException:
        line.drop()
        raise
