"""One way to run a function over a connection, on SQLite and on PostgreSQL.

Everything that touches the database is a plain function `fn(connection, ...)`. SQLite runs it in a thread (one writer,
because SQLite has one anyway; a few readers), PostgreSQL through asyncpg with SQLAlchemy's greenlet bridge. So a batch
costs one thread hop instead of one a statement, and there is one code base to get right.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, Protocol, TypeVar, cast

from pydantic_core import to_json
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from gateway.durable import make_folder
from gateway.store.sqlite_log import Log, fold

log: Final = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

# SQLSTATE classes that say "not now" rather than "never": connection, rollback, resources, operator, system, and
# 25P03/25006 (a standby or a closed idle transaction).
_TRANSIENT_CLASSES: Final = ("08", "40", "53", "55", "57", "58")
# Busy, locked, out of memory, read-only, interrupted, I/O error, full, cannot open, protocol.
_TRANSIENT_SQLITE: Final = frozenset({5, 6, 7, 8, 9, 10, 13, 14, 15})
_STATEMENT_TIMEOUT_MS: Final = 30_000
_LEDGER_LOCK: Final = 0x46726F6E74  # "Front": the advisory lock that makes recording one hand's work


class StoreUnavailableError(Exception):
    """The database cannot be reached or will not answer now. Temporary by definition."""


class Store(Protocol):
    """Runs functions over a connection, each call in a transaction of its own."""

    async def read(self, fn: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function that only reads."""

    async def write(self, fn: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function that may write: committed when it returns, rolled back when it raises."""

    async def ping(self) -> str:
        """One sentence about the database reached. Raises `StoreUnavailableError`."""

    async def close(self) -> None:
        """Give every connection back."""


def open_store(url: str, *, pool_size: int = 5) -> Store:
    """The store behind `sqlite:///path` or `postgresql://...`. Raises ValueError for anything else. Connects lazily."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ValueError(
            "store_url is not a database URL; give sqlite:///path or postgresql://user:pass@host/db"
        ) from None
    if parsed.get_backend_name() == "sqlite":
        return SqliteStore(parsed)
    if parsed.get_backend_name() == "postgresql":
        return PostgresStore(parsed, pool_size=pool_size)
    raise ValueError(f"store_url names {parsed.get_backend_name()}; Frontdesk knows sqlite and postgresql")


def lock_ledger(conn: Connection) -> None:
    """Let one transaction at a time decide which ticket things belong to, until it commits.

    Planning reads what concurrent batches are about to write; serialising the short set-based section is simpler and
    safer than locking every key of every batch, and leaves parsing, the expensive part, parallel. SQLite's writer
    lock (BEGIN IMMEDIATE) does the same by itself.

    Everything read under the lock has an index. While tables are young PostgreSQL prefers to scan them whole, and keeps
    that plan for a prepared statement long after they have grown: it is told not to, until the transaction ends.
    """
    if conn.dialect.name == "postgresql":
        conn.execute(_LOCK, {"key": _LEDGER_LOCK})


_LOCK: Final = text("SELECT pg_advisory_xact_lock(:key), set_config('enable_seqscan', 'off', true)")


def is_transient(error: BaseException) -> bool:
    """Would the same statement work later? (Connection lost, serialisation failure, disk full, shutting down.)"""
    if isinstance(error, StoreUnavailableError | OSError | asyncio.TimeoutError):
        return True
    if not isinstance(error, DBAPIError):
        return isinstance(error, SQLAlchemyError) and "QueuePool limit" in str(error)
    if state := getattr(error.orig, "sqlstate", None):
        return str(state).startswith(_TRANSIENT_CLASSES)
    if (code := getattr(error.orig, "sqlite_errorcode", None)) is not None:
        return code & 0xFF in _TRANSIENT_SQLITE  # the low byte is the primary code
    return error.connection_invalidated or isinstance(error, OperationalError)


def why(error: BaseException) -> str:
    """For an operator's log: which error, and the first line of what the database or the socket said."""
    return f"{type(error).__name__}: {_first_line(error)}"


class SqliteStore:
    """A SQLite file: WAL, synchronous=FULL, one writer thread. An in-memory database is refused: it cannot survive."""

    def __init__(self, url: URL) -> None:
        if not url.database or url.database == ":memory:":
            raise ValueError(
                "store_url names an SQLite database in memory; give a file, such as sqlite:///frontdesk.db"
            )
        self.path = Path(url.database)
        self.engine: Engine = create_engine(url, poolclass=NullPool, json_serializer=_as_json)
        event.listen(self.engine, "connect", _configure_sqlite)
        event.listen(self.engine, "begin", _begin_immediate)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store-writer")
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="store-reader")
        self._connection: Connection | None = None
        self._log = Log(self.path)

    async def read(self, fn: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """See `Store.read`."""

        def run() -> T:
            with self._opened() as conn:
                return fn(conn, *args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._readers, run)

    async def write(self, fn: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """See `Store.write`."""

        def run() -> T:
            conn = self._writing()
            try:
                with conn.begin():
                    result = fn(conn, *args, **kwargs)
                self._log.note()
                return result
            except DBAPIError:
                self._forget()  # after a full disk SQLite may leave a transaction open; a fresh connection does not
                raise

        return await asyncio.get_running_loop().run_in_executor(self._writer, run)

    async def ping(self) -> str:
        """See `Store.ping`."""
        try:
            version = await self.read(lambda conn: conn.scalar(text("SELECT sqlite_version()")))
        except SQLAlchemyError as error:
            raise StoreUnavailableError(f"cannot open {self.path}: {_first_line(error)}") from error
        return f"SQLite {version} at {self.path}"

    async def close(self) -> None:
        """See `Store.close`."""
        await asyncio.get_running_loop().run_in_executor(self._writer, self._forget)
        self._writer.shutdown()
        self._readers.shutdown()
        self.engine.dispose()

    def _opened(self) -> Connection:
        make_folder(self.path.parent)
        return self.engine.connect().execution_options(frontdesk_read=True)

    def _writing(self) -> Connection:
        if self._connection is not None and self._log.is_gone():
            log.error("the write-ahead log of %s was removed while in use; saving what it held", self.path)
            try:
                fold(cast(sqlite3.Connection, self._connection.connection.driver_connection))
            except sqlite3.Error as error:
                raise StoreUnavailableError(f"cannot save the log of {self.path}: {error}") from error
            self._forget()
        if self._connection is None:
            self._log = Log(self.path)
            make_folder(self.path.parent)
            self._connection = self.engine.connect()
        return self._connection

    def _forget(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close()


def _as_json(value: Any) -> str:
    return to_json(value).decode()


def _configure_sqlite(connection: Any, _record: Any) -> None:
    """Durable and concurrent: see SQLite's documentation on WAL and PRAGMA synchronous."""
    connection.isolation_level = None  # we say BEGIN ourselves
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=15000"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_immediate(conn: Connection) -> None:
    """A deferred transaction that turns from reading to writing fails at once, busy_timeout or not."""
    reading = conn.get_execution_options().get("frontdesk_read")
    conn.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


class PostgresStore:
    """PostgreSQL through asyncpg, with deadlines on everything (asyncpg has none of its own)."""

    def __init__(self, url: URL, *, pool_size: int = 5) -> None:
        self.host = f"{url.host or 'localhost'}:{url.port or 5432}/{url.database}"
        self.engine: AsyncEngine = create_async_engine(
            url.set(drivername="postgresql+asyncpg"),
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=10,
            pool_pre_ping=False,
            json_serializer=_as_json,
            connect_args={
                "timeout": 10,
                "command_timeout": _STATEMENT_TIMEOUT_MS / 1000 + 5,
                "server_settings": {
                    "application_name": "frontdesk",
                    "jit": "off",  # compiling takes longer than any of our statements, and is done anew each time
                    "statement_timeout": str(_STATEMENT_TIMEOUT_MS),
                    "idle_in_transaction_session_timeout": "60000",
                    "timezone": "UTC",
                },
            },
        )

    async def read(self, fn: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """See `Store.read`."""
        with self._reaching():
            async with self.engine.connect() as conn:
                return await conn.run_sync(fn, *args, **kwargs)

    async def write(self, fn: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """See `Store.write`. A deadlock or serialisation failure is tried again: nothing of it was kept."""
        for attempt in range(5):
            try:
                with self._reaching():
                    async with self.engine.begin() as conn:
                        return await conn.run_sync(fn, *args, **kwargs)
            except DBAPIError as error:
                state = str(getattr(error.orig, "sqlstate", ""))
                if not state.startswith("40") or attempt == 4:
                    raise
                await asyncio.sleep(random.uniform(0.01, 0.05) * 2**attempt)  # noqa: S311  jitter, not a secret
        raise AssertionError("unreachable")

    async def ping(self) -> str:
        """See `Store.ping`."""
        try:
            version = await self.read(lambda conn: conn.scalar(text("SHOW server_version")))
        except SQLAlchemyError as error:
            raise StoreUnavailableError(f"cannot use PostgreSQL at {self.host}: {_first_line(error)}") from error
        return f"PostgreSQL {str(version).split()[0]} at {self.host}"

    async def close(self) -> None:
        """See `Store.close`."""
        await self.engine.dispose()

    @contextlib.contextmanager
    def _reaching(self) -> Iterator[None]:
        """asyncpg raises what the socket raised; callers know one word for all of it."""
        try:
            yield
        except (OSError, TimeoutError) as error:
            raise StoreUnavailableError(f"cannot reach PostgreSQL at {self.host}: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    origin = getattr(error, "orig", None) or error
    return (str(origin).splitlines() or [type(origin).__name__])[0][:200]
