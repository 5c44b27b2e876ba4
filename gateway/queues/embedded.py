"""The embedded queue: a durable SQLite file shared by any number of processes of one machine.

One thread a process owns the connection. Whatever arrives while a commit runs (publishes, claims, acks, releases, from
any number of callers) is committed together by the next one, so a hundred waiting senders cost one fsync. The event
loop only awaits futures. It is the default queue, the spool in front of RabbitMQ, and the test double of both.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from gateway.queues.base import DELIVERY_LIMIT, Delivered, Depth, Outgoing, QueueUnavailableError
from gateway.queues.bell import Bell
from gateway.queues.bodies import LARGE, Bodies
from gateway.queues.owners import Owners
from gateway.queues.queue_file import QueueFile
from gateway.queues.salvage import open_or_set_aside

_log = logging.getLogger(__name__)

_POLL_SECONDS: Final = 0.04  # how late a message is noticed whose process could not ring
_SWEEP_SECONDS: Final = 1.0  # how often claims of dead owners are looked for
_GROUP_LIMIT: Final = 2000  # operations in one commit
_MIN_FREE_BYTES: Final = 64 << 20
_MIN_FREE_INODES: Final = 256

# After these the connection is of no use any more; the next operation opens the file anew.
_REOPEN_AFTER: Final = frozenset(
    {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_READONLY}
)

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Operation:
    """One caller's wish. `undo` takes a result nobody is waiting for any more."""

    run: Callable[[QueueFile], Any] | None
    future: asyncio.Future[Any]
    messages: tuple[Outgoing, ...] = ()  # to append, together with those of everybody else in the group
    wakes: bool = False  # consumers have something to look at afterwards
    claims: bool = False  # runs after the others, and not at all while nothing is ready
    undo: Callable[[Any], None] | None = None
    outcome: Any = None
    error: Exception | None = None


class EmbeddedQueue:
    """A `gateway.queues.base.Queue` in the file `path`.

    Publishing is refused while the file system has less than `min_free_bytes` bytes or `min_free_inodes` files left:
    on a full disk SQLite could not even delete. `delivery_limit` None never buries anything (a spool).
    """

    def __init__(
        self,
        path: Path,
        *,
        min_free_bytes: int = _MIN_FREE_BYTES,
        min_free_inodes: int = _MIN_FREE_INODES,
        delivery_limit: int | None = DELIVERY_LIMIT,
    ) -> None:
        self.path = path
        self.delivery_limit = delivery_limit
        self.poll_seconds = _POLL_SECONDS
        self._min_free_bytes = min_free_bytes
        self._min_free_inodes = min_free_inodes
        self._owners = Owners(path.with_name(path.name + ".owners"))
        self._owner = ""
        self._bell = Bell()
        self._bodies = Bodies(path.with_name(path.name + ".bodies"))
        self._file: QueueFile | None = None
        self._suspect = False  # SQLite said that the file is damaged
        self._next_sweep = 0.0
        self._inbox: queue.SimpleQueue[_Operation | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._arrived = asyncio.Event()

    async def start(self) -> None:
        """Open the file. Raises QueueUnavailableError when it cannot be written: better now than at a message."""
        self._loop = asyncio.get_running_loop()
        name = f"queue {self.path.name}"
        self._thread = threading.Thread(target=self._serve, args=(self._loop,), name=name, daemon=True)
        self._thread.start()
        try:
            await self._submit(self._prove)
            if self._bodies.are_any():
                await self._bodies.sweep(await self._submit(QueueFile.list_marks))
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Give back what is claimed and close the file."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._bell.hang_up(asyncio.get_running_loop())
            self._inbox.put(None)
            await asyncio.to_thread(thread.join)

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        """Durable when it returns: the commit that holds the messages has been fsynced."""
        if not messages:
            return
        self._check_space()
        await self._submit(None, messages=await self._bodies.put_apart(messages), wakes=True)

    async def consume(self, limit: int, *, linger: float = 0.0) -> list[Delivered]:
        """Wait for a first message, gather more for at most `linger` seconds."""
        loop = asyncio.get_running_loop()
        gathered: list[Delivered] = []
        deadline: float | None = None
        try:
            while len(gathered) < limit:
                self._bell.listen(self._owner, loop, self._arrived.set)
                self._arrived.clear()
                more = await self._claim(limit - len(gathered))
                gathered += more
                if gathered and deadline is None:
                    deadline = loop.time() + linger
                if deadline is not None and loop.time() >= deadline:
                    break
                if not more:
                    await self._wait_for_arrival(deadline)
            brought = await self._bodies.bring_back(gathered)
        except BaseException:
            self._return_unseen(gathered)
            raise
        self._return_unseen(gathered[len(brought) :])
        return brought

    async def ack(self, deliveries: Sequence[Delivered]) -> None:
        """Delete them."""
        if not deliveries:
            return
        ids = [delivery.tag for delivery in deliveries]
        large = [delivery.tag for delivery in deliveries if len(delivery.body) > LARGE]

        def forget(file: QueueFile) -> list[bytes]:
            marks = file.list_marks(large) if large else []
            file.forget(ids)
            return marks

        if marks := await self._submit(forget):
            await self._bodies.drop(marks)

    async def release(self, deliveries: Sequence[Delivered], *, delay: float = 0.0) -> None:
        """Give them back; the delay survives a restart."""
        if not deliveries:
            return
        ids = [delivery.tag for delivery in deliveries]

        def give_back(file: QueueFile) -> None:
            file.give_back(ids, self._owner, delay=delay, limit=self.delivery_limit)

        await self._submit(give_back, wakes=delay <= 0)

    async def consume_dead(self, limit: int) -> list[Delivered]:
        """Dead letters, held by us until acked or released."""

        def claim(file: QueueFile) -> list[Delivered]:
            return file.claim_dead(limit, self._owner)

        letters = await self._take(claim, self._return_dead)
        try:
            brought = await self._bodies.bring_back(letters)
        except BaseException:
            self._return_dead(letters)
            raise
        self._return_dead(letters[len(brought) :])
        return brought

    async def depth(self) -> Depth:
        """What waits in the file, for all processes together."""
        return await self._submit(QueueFile.count)

    async def ping(self) -> str:
        """Writes and fsyncs once, so that a disk which refuses is found out."""
        self._check_space()
        await self._submit(self._prove)
        return f"queue file {self.path} is writable"

    # --- the event loop's side -----------------------------------------------------------------------------------

    def _submit(
        self,
        run: Callable[[QueueFile], T] | None,
        *,
        messages: tuple[Outgoing, ...] = (),
        wakes: bool = False,
        claims: bool = False,
        undo: Callable[[Any], None] | None = None,
    ) -> asyncio.Future[T]:
        if self._thread is None or self._loop is None:
            raise QueueUnavailableError(f"queue file {self.path} is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._inbox.put(_Operation(run, future, messages=messages, wakes=wakes, claims=claims, undo=undo))
        return future

    def _settle(self, group: list[_Operation]) -> None:
        for operation in group:
            if operation.wakes and operation.error is None:
                self._arrived.set()
            if not operation.future.done():
                if operation.error is None:
                    operation.future.set_result(operation.outcome)
                else:
                    operation.future.set_exception(operation.error)
            elif operation.undo is not None and operation.error is None:
                operation.undo(operation.outcome)

    async def _claim(self, limit: int) -> list[Delivered]:
        def claim(file: QueueFile) -> list[Delivered]:
            return file.claim(limit, self._owner)

        return await self._take(claim, self._return_unseen, claims=True)

    async def _take(
        self,
        claim: Callable[[QueueFile], list[Delivered]],
        give_back: Callable[[Sequence[Delivered]], None],
        *,
        claims: bool = False,
    ) -> list[Delivered]:
        """What `claim` finds; it goes back when whoever waits for it is cancelled, at whichever moment."""
        future = self._submit(claim, claims=claims, undo=give_back)
        try:
            return await future
        except asyncio.CancelledError:
            # It came in the same turn of the loop as the cancellation: settled, and nobody will look at it.
            if not future.cancelled() and future.exception() is None:
                give_back(future.result())
            raise

    def _return_unseen(self, deliveries: Sequence[Delivered]) -> None:
        # The caller was cancelled between our claim and its return, or the batch is full: nobody knows of these.
        ids = [delivery.tag for delivery in deliveries]
        if ids:
            self._give_back(lambda file: file.return_unseen(ids, self._owner))

    def _return_dead(self, letters: Sequence[Delivered]) -> None:
        ids = [letter.tag for letter in letters]
        if ids:
            self._give_back(lambda file: file.give_back(ids, self._owner, delay=0, limit=self.delivery_limit))

    def _give_back(self, work: Callable[[QueueFile], None]) -> None:
        """Until a disk that refuses takes it: nobody else will. Closing gives back whatever is left."""
        if self._thread is None:
            return

        def look(done: asyncio.Future[None]) -> None:
            if not done.cancelled() and done.exception() is not None:
                done.get_loop().call_later(_SWEEP_SECONDS, self._give_back, work)

        self._submit(work, wakes=True).add_done_callback(look)

    async def _wait_for_arrival(self, deadline: float | None) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + self.poll_seconds
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until if deadline is None else min(until, deadline)):
                await self._arrived.wait()

    def _check_space(self) -> None:
        try:
            facts = os.statvfs(self.path.parent)
        except OSError as error:
            raise QueueUnavailableError(f"queue file {self.path}: {error.strerror}") from error
        free = facts.f_bavail * facts.f_frsize
        if free < self._min_free_bytes:
            raise QueueUnavailableError(
                f"queue file {self.path}: {free >> 20} MiB free on its file system, {self._min_free_bytes >> 20} needed"
            )
        # Zero files in all: a file system without a fixed number of inodes.
        if facts.f_files and facts.f_favail < self._min_free_inodes:
            raise QueueUnavailableError(f"queue file {self.path}: its file system is short of inodes")

    # --- the thread's side ---------------------------------------------------------------------------------------

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        closing = False
        while not closing:
            first = self._inbox.get()
            group = [] if first is None else [first]
            closing = first is None
            while not closing and len(group) < _GROUP_LIMIT:
                try:
                    operation = self._inbox.get_nowait()
                except queue.Empty:
                    break
                if operation is None:
                    closing = True
                else:
                    group.append(operation)
            if group:
                self._run_group(group)
                self._ring_after(group)
                with contextlib.suppress(RuntimeError):  # the loop was closed without closing us: nobody listens
                    loop.call_soon_threadsafe(self._settle, group)
        self._finish()

    def _run_group(self, group: list[_Operation]) -> None:
        try:
            file = self._ensure_open()
            writes = [operation for operation in group if not operation.claims]
            claims = [operation for operation in group if operation.claims]
            if claims:
                self._maybe_sweep(file)
            if claims and not writes and not file.has_ready():
                _set_all(claims, [])
                return
            self._commit(file, writes + claims)
        except (sqlite3.Error, OSError) as error:
            self._fail(group, error)

    def _ring_after(self, group: list[_Operation]) -> None:
        if any(operation.wakes and operation.error is None for operation in group):
            with contextlib.suppress(OSError):  # they look by themselves as well
                self._bell.ring(self._owners.others())

    def _commit(self, file: QueueFile, group: list[_Operation]) -> None:
        try:
            with file.transaction():
                file.append([message for operation in group for message in operation.messages])
                for operation in group:
                    if operation.run is not None:
                        operation.outcome = operation.run(file)
        except (sqlite3.OperationalError, sqlite3.DatabaseError, OSError) as error:
            if len(group) == 1 or not isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
                raise
            self._commit_singly(file, group)
        except Exception as error:
            if len(group) == 1:
                group[0].error = error
                return
            self._commit_singly(file, group)

    def _commit_singly(self, file: QueueFile, group: list[_Operation]) -> None:
        # One caller handed in something that cannot be stored (text with a lone surrogate); its neighbours are fine.
        for operation in group:
            try:
                self._commit(file, [operation])
            except (sqlite3.Error, OSError) as error:
                self._fail([operation], error)

    def _fail(self, group: list[_Operation], error: Exception) -> None:
        sentence = f"queue file {self.path}: {error}"
        _log.error("%s; %d operations failed and may be tried again", sentence, len(group))
        for operation in group:
            operation.error = QueueUnavailableError(sentence)
        code = getattr(error, "sqlite_errorcode", None)
        if not isinstance(error, sqlite3.Error) or (code is not None and code & 0xFF in _REOPEN_AFTER):
            self._drop_file()
            self._suspect = code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

    def _ensure_open(self) -> QueueFile:
        if self._file is not None and not self._file.is_in_place():
            _log.error("queue file %s was removed or replaced while in use; starting a new one", self.path)
            self._drop_file()
        if self._file is not None and not self._file.has_log():
            _log.error("the write-ahead log of queue file %s was removed while in use; saving what it held", self.path)
            self._file.fold()
            self._drop_file()
        if self._file is None:
            self._file = open_or_set_aside(self.path, suspect=self._suspect)
            self._suspect = False
        if not self._owners.is_member():
            self._owner = self._owners.join()
        return self._file

    def _drop_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(sqlite3.Error):
                file.close()

    def _maybe_sweep(self, file: QueueFile) -> None:
        if time.monotonic() < self._next_sweep:
            return
        self._next_sweep = time.monotonic() + _SWEEP_SECONDS
        if file.has_claims_besides(self._owner):
            with file.transaction():
                self._sweep(file)

    def _prove(self, file: QueueFile) -> None:
        self._sweep(file)
        file.prove()

    def _sweep(self, file: QueueFile) -> None:
        # Inside the transaction no new claim can appear, so whoever claimed before holds his lock or is dead.
        returned = file.void_claims(self._owners.living(), limit=self.delivery_limit)
        if returned:
            _log.warning("queue file %s: %d messages of a process that ended come again", self.path, returned)

    def _finish(self) -> None:
        if self._file is not None:
            try:
                with self._file.transaction():
                    self._file.void_claims(self._owners.living() - {self._owner}, limit=self.delivery_limit)
            except (sqlite3.Error, OSError) as error:
                _log.warning("queue file %s: claims come back only when another process looks: %s", self.path, error)
        self._drop_file()
        self._owners.leave()
        self._bell.close()


def _set_all(group: list[_Operation], outcome: Any) -> None:
    for operation in group:
        operation.outcome = outcome
