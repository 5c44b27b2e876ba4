"""One folder, one desk: a second process, a log that is deleted, copies, and a damaged queue."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.store.engine import open_store
from tests.faults.checking import check, hold_against, read_stored, settle
from tests.faults.customers import Crowd
from tests.faults.desk import Desk, embedded, until
from tests.faults.journal import Journal
from tests.faults.probing import post_form

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]


async def test_a_second_process_on_the_folder_is_refused(tmp_path: Path, journal: Journal) -> None:
    """It says who is there, touches nothing, and may come when the first is gone, even killed."""
    async with embedded(tmp_path) as desk:
        first = desk.members["up"]
        second = desk.add("second", "up", data_dir=first.environment["FRONTDESK_DATA_DIR"])
        async with Crowd(desk.gates[:1], journal, each=1) as crowd:
            await asyncio.to_thread(second.start, wait=False)
            await until(lambda: not second.running, timeout=20, what="the second process ending")
            assert f"process {first.pid} already plays" in second.said()
            second.bury()
            await crowd.hear(5)
        first.kill()
        await asyncio.to_thread(second.start)
        await asyncio.to_thread(second.stop)
        await asyncio.to_thread(first.start)
        del desk.members["second"]
        await check(desk, journal, at_least=10)


async def test_logs_deleted_while_the_desk_runs(tmp_path: Path, journal: Journal) -> None:
    """Somebody tidied up. The next write notices and saves what only the log held; a kill afterwards costs nothing."""
    async with embedded(tmp_path) as desk:
        member = desk.members["up"]
        async with Crowd(desk.gates, journal, each=1) as crowd:
            await crowd.hear(15)
            for log in (tmp_path / "frontdesk.db-wal", tmp_path / "up" / "queue.db-wal"):
                log.unlink()
            await crowd.hear(15)
            member.kill()
            await asyncio.to_thread(member.start)
            await crowd.hear(5)
        await check(desk, journal, at_least=20)


async def test_a_backup_of_a_desk_at_work(tmp_path: Path, journal: Journal) -> None:
    """The copy starts, balances, and holds what was in tickets before it was begun; a plain copy need not even open."""
    copy = tmp_path / "copy"
    async with embedded(tmp_path) as desk:
        await post_form(desk.gates[0], "before", journal=journal)
        await settle(desk, journal)
        async with Crowd(desk.gates, journal, each=1) as crowd:
            await crowd.hear(15)
            done = await desk.command("backup", str(copy), "--json")
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)["store_bytes"] > 0
            again = await desk.command("backup", str(copy))
            assert again.returncode == 1
            assert "is not empty" in again.stderr
            await crowd.hear(5)
        await check(desk, journal, at_least=20)

    restored = Desk(tmp_path, store_url=f"sqlite:///{copy / 'frontdesk.db'}")
    restored.add("restored", "up", data_dir=str(copy), blob_dir=str(copy / "blobs"))
    await restored.start()
    try:
        await post_form(restored.gates[0], "after", journal=journal)
        audit = await _until_balanced(restored)
    finally:
        await restored.close()
    assert audit["balanced"], audit
    keys = _external_ids(copy / "frontdesk.db")
    assert {"before", "after"} <= keys
    with Journal(tmp_path / "nobody") as known:
        known.attempted = journal.attempted
        store = open_store(restored.store_url, pool_size=1)
        stored = await store.read(read_stored)
        await store.close()
        balance = hold_against(known, stored)
        assert not (balance.doubled or balance.unexpected), balance


async def test_a_damaged_queue_file_is_set_aside(tmp_path: Path, journal: Journal) -> None:
    """A gateway was killed with messages in its queue, and the file has a hole: it starts and says what is missing."""
    desk = Desk(tmp_path)
    folder = str(tmp_path / "data")
    gateway = desk.add("gateway", "serve", data_dir=folder)
    worker = desk.add("worker", "work", data_dir=folder)
    try:
        await asyncio.to_thread(worker.start, wait=False)  # makes the tables
        await asyncio.to_thread(gateway.start)
        await post_form(desk.gates[0], "first", journal=journal)
        await settle(desk, journal)
        await asyncio.to_thread(worker.stop)
        for number in range(40):
            await post_form(desk.gates[0], f"waiting-{number}", journal=journal)
        await asyncio.sleep(2.5)  # a tally says that they were accepted
        gateway.kill()
        lost = _make_a_hole(tmp_path / "data" / "queue.db")

        await asyncio.to_thread(gateway.start)
        assert "is damaged; it was moved to" in gateway.said()
        assert (tmp_path / "data" / "corrupt" / "1" / "queue.db").exists()
        await post_form(desk.gates[0], "last", journal=journal)
        await asyncio.to_thread(worker.start, wait=False)
        await until(lambda: "last" in _external_ids(tmp_path / "frontdesk.db"), timeout=30, what="the last form")
        keys = _external_ids(tmp_path / "frontdesk.db")
        kept = {f"waiting-{number}" for number in range(40)} & keys
        assert 0 < len(kept) < 40, (len(kept), lost)
        audit = json.loads((await desk.command("audit", "--json")).stdout)
        assert audit["unrecorded"] >= 40 - len(kept) or not audit["balanced"], audit
    finally:
        await desk.close()


def _make_a_hole(path: Path) -> int:
    """Fold the log in, as the next start would, and overwrite pages in the middle."""
    with closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = path.stat().st_size
    with path.open("r+b") as raw:
        raw.seek(size // 2 // 4096 * 4096)
        raw.write(os.urandom(4 * 4096))
    return size


def _external_ids(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as file:
        return {row[0] for row in file.execute("SELECT external_id FROM comments")}


async def _until_balanced(desk: Desk) -> dict[str, object]:
    audit: dict[str, object] = {}
    for _ in range(30):
        audit = json.loads((await desk.command("audit", "--json")).stdout)
        if audit["balanced"] and audit["queued"] == 0:
            break
        await asyncio.sleep(0.5)
    return audit
