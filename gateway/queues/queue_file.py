"""The SQLite file of the embedded queue: statements only, one connection, no threads and no event loop.

`message` holds what was published and never changes; `entry` is the small mutable row beside it (state, deliveries,
owner), so that claiming a large message does not write its body again. Ids are never reused: a late ack of a message
that is gone cannot hit another one.

Durability. WAL with synchronous=FULL: COMMIT returns after the log is fsynced (sqlite.org/pragma.html, synchronous).
A COMMIT that failed is rolled back and reported, never tried again by itself: after a failed fsync the kernel may call
the next one successful without having written anything. SQLite then writes the same place of the log anew. Opening
the file copies what the log holds into the database and fsyncs both before anything is added, so frames that only ever
reached the page cache of a failing disk never lie below an acknowledged one.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from gateway.durable import make_folder
from gateway.queues.base import Delivered, Depth, Outgoing, describe_death
from gateway.queues.bodies import LONGEST_MARK, is_mark
from gateway.store.sqlite_log import Log, fold

READY, DELAYED, CLAIMED, DEAD, DEAD_CLAIMED = range(5)

_VERSION: Final = 1
_BUSY_SECONDS: Final = 5.0  # how long another process may hold the write lock
_BUSY_PAUSE: Final = 0.0005  # seconds between two looks at it
_LONGEST_DELAY: Final = 3600.0  # seconds; a due time further away than this means that the clock was set back
_NO_LIMIT: Final = 1 << 60

_PRAGMAS: Final = ("journal_mode=WAL", "synchronous=FULL", "fullfsync=ON", "wal_autocheckpoint=4000")

_SCHEMA: Final = f"""
CREATE TABLE message (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  channel TEXT NOT NULL, inbox TEXT NOT NULL, receipt_id TEXT NOT NULL,
  type TEXT NOT NULL, traceparent TEXT NOT NULL, body BLOB NOT NULL
);
CREATE TABLE entry (
  id INTEGER PRIMARY KEY,
  channel TEXT NOT NULL, state INTEGER NOT NULL, deliveries INTEGER NOT NULL,
  due REAL NOT NULL, owner TEXT, reason TEXT NOT NULL
);
CREATE INDEX entry_ready ON entry (channel, id) WHERE state = {READY};
CREATE INDEX entry_delayed ON entry (due) WHERE state = {DELAYED};
CREATE INDEX entry_owner ON entry (owner) WHERE owner IS NOT NULL;
CREATE INDEX entry_dead ON entry (id) WHERE state >= {DEAD};
PRAGMA user_version = {_VERSION};
"""

_PAYLOAD: Final = """
SELECT m.body, m.type, m.receipt_id, m.channel, m.inbox, e.deliveries, m.id, e.reason, m.traceparent
FROM json_each(?) AS wanted JOIN message AS m ON m.id = wanted.value JOIN entry AS e ON e.id = m.id
ORDER BY wanted.key
"""

_ROW: Final = "(?, ?, ?, ?, ?, ?)"
_MOST_ROWS: Final = 128  # in one statement
_ENTER: Final = f"INSERT INTO entry SELECT id, channel, {READY}, 0, 0, NULL, '' FROM message WHERE id > ?"  # noqa: S608

_THESE: Final = "id IN (SELECT value FROM json_each(?))"

# What becomes of a claimed message that was not acked: :limit deliveries and it is dead, else ready now or later.
_GIVE_BACK: Final = f"""
UPDATE entry SET
  owner = NULL, due = :due,
  reason = CASE WHEN state = {CLAIMED} AND deliveries > :limit THEN :reason ELSE reason END,
  state = CASE
    WHEN state = {DEAD_CLAIMED} OR deliveries > :limit THEN {DEAD}
    WHEN :due > 0 THEN {DELAYED} ELSE {READY} END
"""  # noqa: S608


class QueueFile:
    """Open it, then use it inside `transaction()`. Everything raises sqlite3.Error or OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = Log(path)
        self._turn = 0  # whose turn it is to be first in a batch
        self._inode = _create_privately(path)
        self._connection = sqlite3.connect(path, timeout=0, isolation_level=None)  # `_when_free` waits instead
        try:
            _when_free(self._prepare)
            self._log.note()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the connection; the last one to close folds the log into the file."""
        self._connection.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside is durable when it ends, or nothing of it happened."""
        # IMMEDIATE: a deferred transaction that upgrades to writing fails at once when another process writes.
        self._begin()
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # SQLITE_FULL and I/O errors may already have rolled back
                self._connection.execute("ROLLBACK")
            raise

    def prove(self) -> None:
        """Write something that changes nothing, so that the commit has to reach the disk."""
        self._connection.execute(f"PRAGMA user_version = {_VERSION}")

    def _begin(self) -> None:
        _when_free(lambda: self._connection.execute("BEGIN IMMEDIATE"))

    def is_in_place(self) -> bool:
        """False when the file was deleted or replaced under us: what we write would vanish with our last descriptor."""
        try:
            return self._path.stat().st_ino == self._inode
        except OSError:
            return False

    def has_log(self) -> bool:
        """False when the write-ahead log was deleted under us: what only it holds would vanish with our descriptor."""
        return not self._log.is_gone()

    def fold(self) -> None:
        """Save what the log holds, deleted or not."""
        self._wait_at_most(_BUSY_SECONDS)
        fold(self._connection)

    def append(self, messages: Sequence[Outgoing]) -> None:
        """Add messages, ready at once.

        In as few statements as may be: each of them lets go of the interpreter, and gets it back when a busy event loop
        has had its slice. A batch sent row by row spends most of its commit waiting for that.
        """
        first: int | None = None
        for rows in _in_powers(messages, _MOST_ROWS):
            values = [value for row in rows for value in _row_of(row)]
            last = self._connection.execute(_insert_of(len(rows)), values).lastrowid
            assert last is not None  # noqa: S101  something was inserted
            first = last - len(rows) if first is None else first
        if first is not None:
            self._connection.execute(_ENTER, (first,))

    def has_ready(self) -> bool:
        """Whether `claim` would find something, by a read that takes no lock."""
        now = time.time()
        query = f"""
            SELECT EXISTS (SELECT 1 FROM entry WHERE state = {READY})
                OR EXISTS (SELECT 1 FROM entry WHERE state = {DELAYED} AND (due <= ? OR due > ?))"""  # noqa: S608
        try:
            return bool(self._connection.execute(query, (now, now + _LONGEST_DELAY)).fetchone()[0])
        except sqlite3.OperationalError as error:
            if _is_busy(error):  # somebody mends the file; whoever claims waits for him
                return True
            raise

    def claim(self, limit: int, owner: str) -> list[Delivered]:
        """Up to `limit` messages for this owner, oldest first within a channel, channels taking turns."""
        self._ripen()
        ids = self._pick(limit)
        if not ids:
            return []
        wanted = json.dumps(ids)
        self._connection.execute(
            f"UPDATE entry SET state = {CLAIMED}, owner = ?, deliveries = deliveries + 1 WHERE {_THESE}",  # noqa: S608
            (owner, wanted),
        )
        return self._load(wanted)

    def claim_dead(self, limit: int, owner: str) -> list[Delivered]:
        """Up to `limit` dead letters, oldest first."""
        query = f"SELECT id FROM entry WHERE state = {DEAD} ORDER BY id LIMIT ?"  # noqa: S608
        wanted = json.dumps([row[0] for row in self._connection.execute(query, (limit,))])
        self._connection.execute(
            f"UPDATE entry SET state = {DEAD_CLAIMED}, owner = ? WHERE {_THESE}",  # noqa: S608
            (owner, wanted),
        )
        return self._load(wanted)

    def list_marks(self, ids: Sequence[int] | None = None) -> list[bytes]:
        """What stands for large bodies in these rows, or in all."""
        query = "SELECT body FROM message WHERE length(body) <= ?"
        if ids is not None:
            query += f" AND {_THESE}"
        values = (LONGEST_MARK,) if ids is None else (LONGEST_MARK, json.dumps(ids))
        return [body for (body,) in self._connection.execute(query, values) if is_mark(body)]

    def forget(self, ids: Sequence[int]) -> None:
        """Delete messages, whoever has them now: they are recorded."""
        wanted = json.dumps(ids)
        self._connection.execute(f"DELETE FROM entry WHERE {_THESE}", (wanted,))  # noqa: S608
        self._connection.execute(f"DELETE FROM message WHERE {_THESE}", (wanted,))  # noqa: S608

    def give_back(self, ids: Sequence[int], owner: str, *, delay: float, limit: int | None) -> None:
        """Return claims after a delivery that counts; past the limit they are dead. Claims lost meanwhile stay put."""
        due = time.time() + min(delay, _LONGEST_DELAY) if delay > 0 else 0.0
        values = {"due": due, "ids": json.dumps(ids), "owner": owner} | _limit_values(limit)
        wanted = "id IN (SELECT value FROM json_each(:ids))"
        self._connection.execute(f"{_GIVE_BACK} WHERE owner = :owner AND {wanted}", values)

    def return_unseen(self, ids: Sequence[int], owner: str) -> None:
        """Return claims that reached nobody: the delivery does not count."""
        self._connection.execute(
            f"""UPDATE entry SET owner = NULL, state = {READY}, deliveries = deliveries - 1
                WHERE owner = ? AND state = {CLAIMED} AND {_THESE}""",  # noqa: S608
            (owner, json.dumps(ids)),
        )

    def has_claims_besides(self, owner: str) -> bool:
        """Whether anybody else holds a claim, alive or not."""
        query = "SELECT EXISTS (SELECT 1 FROM entry WHERE owner < ?) OR EXISTS (SELECT 1 FROM entry WHERE owner > ?)"
        return bool(self._connection.execute(query, (owner, owner)).fetchone()[0])

    def void_claims(self, living: Collection[str], *, limit: int | None) -> int:
        """Return the claims of everybody who is not alive; how many there were."""
        values = {"due": 0.0, "living": json.dumps(list(living))} | _limit_values(limit)
        dead = "owner IS NOT NULL AND owner NOT IN (SELECT value FROM json_each(:living))"
        return self._connection.execute(f"{_GIVE_BACK} WHERE {dead}", values).rowcount

    def count(self) -> Depth:
        """What waits. Delayed messages count as ready."""
        # Each query is worded so that it runs on one of the partial indexes and never on the whole table.
        query = self._connection.execute
        ready = Counter(dict(query(f"SELECT channel, count(*) FROM entry WHERE state = {READY} GROUP BY channel")))  # noqa: S608
        ready += Counter(dict(query(f"SELECT channel, count(*) FROM entry WHERE state = {DELAYED} GROUP BY channel")))  # noqa: S608
        held = f"SELECT channel, count(*) FROM entry WHERE owner IS NOT NULL AND state < {DEAD} GROUP BY channel"  # noqa: S608
        dead = query(f"SELECT count(*) FROM entry WHERE state >= {DEAD}").fetchone()[0]  # noqa: S608
        return Depth(ready=dict(ready), held=dict(query(held)), dead=dead)

    def _prepare(self) -> None:
        # SQLite refuses, however long it may wait, when two open a new file at once and both begin its log.
        for pragma in _PRAGMAS:
            self._connection.execute(f"PRAGMA {pragma}")
        mode = self._connection.execute("PRAGMA journal_mode").fetchone()[0]
        if mode != "wal":
            raise sqlite3.OperationalError(f"the file system does not support write-ahead logging (journal is {mode})")
        self._fold_whole_log()
        with self.transaction():
            version = self._connection.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                for statement in _SCHEMA.split(";\n"):
                    self._connection.execute(statement)
            elif version != _VERSION:
                raise sqlite3.DatabaseError(f"written by another version of Frontdesk (format {version})")

    def _fold_whole_log(self) -> None:
        """What it holds is in the database then, fsynced; not while neighbours commit all the time."""
        deadline = time.monotonic() + _BUSY_SECONDS
        while self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            if time.monotonic() > deadline:
                return
            time.sleep(_BUSY_PAUSE)

    def _wait_at_most(self, seconds: float) -> None:
        self._connection.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")

    def _ripen(self) -> None:
        now = time.time()
        self._connection.execute(
            f"UPDATE entry SET state = {READY} WHERE state = {DELAYED} AND (due <= ? OR due > ?)",  # noqa: S608
            (now, now + _LONGEST_DELAY),
        )

    def _pick(self, limit: int) -> list[int]:
        channels = self._list_channels()
        if not channels:
            return []
        self._turn = (self._turn + 1) % len(channels)
        lanes = [self._list_ready(channel, limit) for channel in channels[self._turn :] + channels[: self._turn]]
        longest = max(map(len, lanes))
        return [lane[row] for row in range(longest) for lane in lanes if row < len(lane)][:limit]

    def _list_channels(self) -> list[str]:
        # One index seek a channel; DISTINCT would walk the whole backlog.
        first = f"SELECT min(channel) FROM entry WHERE state = {READY}"  # noqa: S608
        channels: list[str] = []
        (found,) = self._connection.execute(first).fetchone()
        while found is not None:
            channels.append(found)
            (found,) = self._connection.execute(f"{first} AND channel > ?", (found,)).fetchone()
        return channels

    def _list_ready(self, channel: str, limit: int) -> list[int]:
        query = f"SELECT id FROM entry WHERE state = {READY} AND channel = ? ORDER BY id LIMIT ?"  # noqa: S608
        return [row[0] for row in self._connection.execute(query, (channel, limit))]

    def _load(self, wanted: str) -> list[Delivered]:
        return [_read_delivery(row) for row in self._connection.execute(_PAYLOAD, (wanted,))]


def _when_free(work: Callable[[], object]) -> None:
    """Wait for a lock. SQLite's own waiting sleeps ever longer, to 100 ms, beside neighbours that commit every few:
    whoever waits that way comes last."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            work()
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(random.uniform(0.5, 1.5) * _BUSY_PAUSE)  # noqa: S311
        else:
            return


def _is_busy(error: sqlite3.OperationalError) -> bool:
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF == sqlite3.SQLITE_BUSY


def _in_powers(messages: Sequence[Outgoing], most: int) -> Iterator[Sequence[Outgoing]]:
    """The messages in parts whose sizes are powers of two, so that there are few different statements."""
    start = 0
    while left := len(messages) - start:
        size = min(most, 1 << (left.bit_length() - 1))
        yield messages[start : start + size]
        start += size


@cache
def _insert_of(rows: int) -> str:
    values = ", ".join([_ROW] * rows)
    return f"INSERT INTO message (channel, inbox, receipt_id, type, traceparent, body) VALUES {values}"  # noqa: S608


def _row_of(message: Outgoing) -> tuple[str | bytes, ...]:
    return (message.channel, message.inbox, message.receipt_id, message.type, message.traceparent, message.body)


def _read_delivery(row: tuple[Any, ...]) -> Delivered:
    body, kind, receipt_id, channel, inbox, deliveries, number, reason, traceparent = row
    return Delivered(
        body=body,
        type=kind,
        receipt_id=receipt_id,
        channel=channel,
        inbox=inbox,
        attempts=deliveries if reason else deliveries - 1,  # a dead letter was delivered every time that was counted
        tag=number,
        reason=reason,
        traceparent=traceparent,
    )


def _limit_values(limit: int | None) -> dict[str, int | str]:
    if limit is None:
        return {"limit": _NO_LIMIT, "reason": ""}
    return {"limit": limit, "reason": describe_death(limit)}


def _create_privately(path: Path) -> int:
    """Make sure the file exists, readable by its owner only (SQLite gives its log the same mode); its inode.

    One that exists is not opened: closing it again would let go of all locks that this process has on it
    (sqlite.org/howtocorrupt, 2.2), and another process that closes the file would take itself for the last.
    """
    make_folder(path.parent)
    if not path.exists():
        new = path.with_name(f"{path.name}.{secrets.token_hex(6)}.new")
        os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(new)
        finally:
            new.unlink()
    return path.stat().st_ino
