"""The audit is not taken in: what somebody removes by hand is missed, by its name."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.faults.checking import check
from tests.faults.customers import Crowd
from tests.faults.desk import Desk
from tests.faults.journal import Journal

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """A desk that has worked, balances, and was closed in order."""
    desk = Desk(tmp_path)
    desk.add("up", "up")
    await desk.start()
    with Journal(tmp_path / "journal") as journal:
        async with Crowd(desk.gates, journal, each=1) as crowd:
            await crowd.go_on(1.5)
        await check(desk, journal, at_least=10)
    await desk.close()
    yield desk


async def test_a_receipt_that_was_deleted(desk: Desk) -> None:
    """Its number is missing from its gateway's tally, and its comment has no receipt."""
    gone = _receipt_deleted(desk)
    code, audit = await _audit(desk)
    assert code == 1
    assert not audit["balanced"]
    assert audit["unrecorded"] == 1
    assert audit["missing"] == [f"number {gone['sequence']} of gateway {gone['gateway']}"]
    assert audit["broken"] == [f"comment {gone['comment_id']} has no receipt"]

    told = await desk.command("audit")
    assert told.returncode == 1
    assert f"missing: number {gone['sequence']} of gateway {gone['gateway']}" in told.stdout
    assert told.stdout.rstrip().endswith("NOT BALANCED")


async def test_a_comment_that_was_deleted(desk: Desk) -> None:
    """Its receipt says that it is on a ticket."""
    with _by_hand(desk) as file:
        gone = file.execute("SELECT id, receipt_id FROM comments WHERE channel = 'form' LIMIT 1").fetchone()
        file.execute("DELETE FROM comments WHERE id = ?", (gone["id"],))
    code, audit = await _audit(desk)
    assert code == 1
    assert not audit["balanced"]
    receipt = UUID(gone["receipt_id"])
    assert audit["broken"] == [f"receipt {receipt} says it is on a ticket, and its comment is gone"]


@contextmanager
def _by_hand(desk: Desk) -> Iterator[sqlite3.Connection]:
    """The file as the sqlite3 shell opens it, where no foreign key protects anything."""
    with closing(sqlite3.connect(desk.store_url.removeprefix("sqlite:///"))) as file, file:
        file.row_factory = sqlite3.Row
        yield file


def _receipt_deleted(desk: Desk) -> Any:
    with _by_hand(desk) as file:
        gone = file.execute(
            "SELECT * FROM receipts WHERE outcome = 'ticketed' AND channel = 'email' LIMIT 1"
        ).fetchone()
        file.execute("DELETE FROM receipts WHERE receipt_id = ?", (gone["receipt_id"],))
    return gone


async def _audit(desk: Desk) -> tuple[int, dict[str, Any]]:
    done = await desk.command("audit", "--json")
    return done.returncode, json.loads(done.stdout)
