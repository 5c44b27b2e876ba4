"""PostgreSQL in trouble while customers of five channels send."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import text

from gateway.store.engine import Store, open_store
from tests.faults.checking import check, settle
from tests.faults.customers import Crowd
from tests.faults.desk import Desk
from tests.faults.injecting import small_disk
from tests.faults.journal import Journal
from tests.faults.probing import ask, post_form
from tests.services.postgres import PostgresCluster
from tests.services.rabbitmq import RabbitNode

pytestmark = [pytest.mark.fault, pytest.mark.rabbitmq, pytest.mark.postgres, pytest.mark.timeout(400)]

chaos = pytest.mark.chaos


@pytest.fixture
async def desk(tmp_path: Path, broker: RabbitNode, database: PostgresCluster) -> AsyncIterator[Desk]:
    """One gateway and two workers, started."""
    url = await asyncio.to_thread(database.create_database, f"faults_{uuid4().hex[:12]}")
    desk = Desk(tmp_path, queue_url=await asyncio.to_thread(broker.desk_url), store_url=url)
    for name, verb in (("gateway", "serve"), ("worker-1", "work"), ("worker-2", "work")):
        desk.add(name, verb)
    await desk.start()
    yield desk
    await desk.close()


@contextlib.asynccontextmanager
async def administering(desk: Desk) -> AsyncIterator[Store]:
    """A connection of our own."""
    store = open_store(desk.store_url, pool_size=1)
    try:
        yield store
    finally:
        await store.close()


async def run(desk: Desk, *statements: str) -> None:
    async with administering(desk) as store:

        def execute(conn: object) -> None:
            for statement in statements:
                conn.execute(text(statement))  # type: ignore[attr-defined]

        await store.write(execute)


async def answers_quickly(desk: Desk, how_many: int) -> list[int]:
    """Ask the API as often at once; everybody is answered within three seconds. The statuses."""

    async def once() -> int:
        return (await ask(desk.gates[0], "/api/v2/tickets.json", patience=3.0)).status

    return await asyncio.gather(*(once() for _ in range(how_many)))


async def until_ok(desk: Desk, within: float = 60.0) -> None:
    async with asyncio.timeout(within):
        while (await ask(desk.gates[0], "/api/v2/tickets.json")).status != 200:
            await asyncio.sleep(0.5)


@contextlib.asynccontextmanager
async def locked(desk: Desk, *tables: str) -> AsyncIterator[None]:
    """Somebody's long ALTER TABLE: nobody else reads or writes these tables meanwhile."""
    begun, finish = asyncio.Event(), asyncio.Event()
    async with administering(desk) as store:

        async def hold() -> None:
            async with store.engine.begin() as conn:  # type: ignore[attr-defined]
                await conn.execute(text(f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE"))
                begun.set()
                await finish.wait()

        holding = asyncio.create_task(hold())
        await asyncio.wait_for(begun.wait(), 20)
        try:
            yield
        finally:
            finish.set()
            await holding


async def test_a_frozen_database_and_an_exhausted_pool(desk: Desk, database: PostgresCluster, journal: Journal) -> None:
    """F29, F33: the API says 503 within three seconds, to fifty callers at once; intake goes on; both heal."""
    async with Crowd(desk.gates, journal, each=1) as crowd:
        await crowd.hear(10)
        await until_ok(desk)
        async with locked(desk, "tickets"):
            assert set(await answers_quickly(desk, 50)) == {503}
            await crowd.hear(5)
        await until_ok(desk)
        await asyncio.to_thread(database.freeze)
        assert set(await answers_quickly(desk, 30)) == {503}
        await crowd.hear(5)
        await asyncio.to_thread(database.thaw)
        await until_ok(desk)
        await crowd.hear(5)
    await check(desk, journal, at_least=20)


@chaos
async def test_one_backend_is_killed(desk: Desk, database: PostgresCluster, journal: Journal) -> None:
    """F28: the postmaster ends every session then and recovers. Nothing is given up for having been tried too often."""
    async with Crowd(desk.gates, journal, each=1) as crowd:
        for _ in range(5):
            await crowd.hear(10)
            await asyncio.to_thread(_kill_a_backend, database)
            await crowd.go_on(1)
        await crowd.hear(10)
    await check(desk, journal, at_least=50)


def _kill_a_backend(database: PostgresCluster) -> None:
    command = ["ps", "-o", "pid=,args=", "--ppid", str(database.pid)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    sessions = [line.split()[0] for line in done.stdout.splitlines() if "frontdesk faults_" in line]
    if sessions:
        os.kill(int(sessions[0]), signal.SIGKILL)


@chaos
async def test_the_database_is_frozen_for_ninety_seconds(
    desk: Desk, database: PostgresCluster, journal: Journal
) -> None:
    """F29: longer than every timeout there is."""
    async with Crowd(desk.gates, journal, each=1) as crowd:
        await crowd.hear(10)
        await asyncio.to_thread(database.freeze)
        for _ in range(9):
            await crowd.hear(5)
            await crowd.go_on(8)
        assert set(await answers_quickly(desk, 5)) == {503}
        await asyncio.to_thread(database.thaw)
        await crowd.hear(10)
        await until_ok(desk)
    await check(desk, journal, at_least=60)


@chaos
async def test_the_database_is_away_while_thousands_come(
    desk: Desk, database: PostgresCluster, journal: Journal
) -> None:
    """F30: a minute and some thousands of messages stand for half an hour; workers hold, then work it all off."""
    await asyncio.to_thread(database.kill)
    async with Crowd(desk.gates, journal, each=8, pause=0.0) as crowd:
        await crowd.go_on(60)
    await asyncio.to_thread(database.start)
    await settle(desk, journal, within=240)  # tens of thousands wait: a minute's work and more
    await check(desk, journal, at_least=2000)


@chaos
async def test_deadlocks_and_serialisation_failures(desk: Desk, journal: Journal) -> None:
    """F32: every fifth insert fails with 40001 or 40P01, as when two workers meet; tried again, one effect."""
    async with Crowd(desk.gates, journal, each=1) as crowd:
        await crowd.hear(10)
        await run(
            desk,
            """CREATE FUNCTION sometimes() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF random() < 0.1 THEN RAISE EXCEPTION 'injected' USING ERRCODE = '40001'; END IF;
                 IF random() < 0.1 THEN RAISE EXCEPTION 'injected' USING ERRCODE = '40P01'; END IF;
                 RETURN NEW; END $$""",
            "CREATE TRIGGER sometimes BEFORE INSERT ON comments FOR EACH ROW EXECUTE FUNCTION sometimes()",
        )
        await crowd.hear(80)
        await run(desk, "DROP TRIGGER sometimes ON comments")
        await crowd.hear(10)
    await check(desk, journal, at_least=100)


@chaos
async def test_a_long_lock_on_the_tables(desk: Desk, journal: Journal) -> None:
    """F35: a migration that takes a minute: intake does not notice, workers wait."""
    async with Crowd(desk.gates, journal, each=1) as crowd:
        await crowd.hear(10)
        async with locked(desk, "comments", "tickets", "receipts"):
            for _ in range(6):
                await crowd.hear(5)
                await crowd.go_on(9)
        await crowd.hear(10)
    await check(desk, journal, at_least=50)


@chaos
async def test_the_disk_of_the_database_is_full(
    tmp_path: Path, broker: RabbitNode, database: PostgresCluster, journal: Journal
) -> None:
    """F34: inserts fail with 53100; workers hold what they have; a file is removed and all of it is recorded."""
    place = database.folder / f"disk-{uuid4().hex[:8]}"
    with small_disk(place, "size=64m") as disk:
        inner = disk / "space"
        inner.mkdir()
        if os.geteuid() == 0:
            shutil.chown(disk, "postgres")
            shutil.chown(inner, "postgres")
        name = f"faults_{uuid4().hex[:12]}"
        await asyncio.to_thread(database.create_tablespace, f"space_{name}", inner)
        url = await asyncio.to_thread(database.create_database, name, tablespace=f"space_{name}")
        desk = Desk(tmp_path, queue_url=await asyncio.to_thread(broker.desk_url), store_url=url)
        desk.add("gateway", "serve")
        desk.add("worker", "work")
        await desk.start()
        try:
            async with Crowd(desk.gates, journal, each=2, pause=0.01) as crowd:
                await crowd.hear(20)
                ballast = disk / "ballast"
                with ballast.open("wb") as file, contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(64 << 10))
                        file.flush()
                async with asyncio.timeout(60):
                    while "the store is away, holding" not in desk.members["worker"].said():
                        await crowd.go_on(0.5)
                await crowd.hear(20)
                ballast.unlink()
                await crowd.hear(20)
            await check(desk, journal, at_least=80)
        finally:
            await desk.close()
            await asyncio.to_thread(database.drop_database, name)
            await asyncio.to_thread(database.drop_tablespace, f"space_{name}")


@chaos
async def test_an_older_backup_is_restored(desk: Desk, database: PostgresCluster, journal: Journal) -> None:
    """F36: what was recorded since is missing and the audit names it; what senders repeat is taken in again, once.

    Cursors of pollers are rows of the same database, so they go back with it and nothing is skipped.
    """
    dump = desk.folder / "dump"
    async with Crowd(desk.gates, journal, each=1) as crowd:
        await crowd.hear(20)
    await settle(desk, journal)
    name = desk.store_url.rpartition("/")[2]
    await asyncio.to_thread(database.dump, name, dump)
    with Journal(desk.folder / "later") as later:
        for number in range(10):
            await post_form(desk.gates[0], f"later-{number}", journal=later)
        await asyncio.sleep(3)  # the tally tells
        for member in ("worker-1", "worker-2"):
            await asyncio.to_thread(desk.members[member].stop)
        await asyncio.to_thread(database.restore, name, dump)
        for member in ("worker-1", "worker-2"):
            await asyncio.to_thread(desk.members[member].start)
        for number in range(5):  # their senders repeat them: what the idempotency key promises
            await post_form(desk.gates[0], f"later-{number}", journal=later)
        await asyncio.sleep(3)
        audit = json.loads((await desk.command("audit", "--json")).stdout)
        assert not audit["balanced"], audit
        assert audit["unrecorded"] >= 10, audit
    balance = await settle(desk, journal)
    assert not (balance.lost or balance.doubled), balance
    assert len([line for line in balance.unexpected if "later-" in line]) == 5, balance
