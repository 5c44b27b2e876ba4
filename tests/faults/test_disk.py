"""A disk that is full, out of inodes, read-only, failing or slow. Needs the right to mount and to trace."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.checking import check, settle
from tests.faults.customers import Crowd, Gate
from tests.faults.desk import Desk, embedded, until
from tests.faults.injecting import Strace, require_strace, small_disk
from tests.faults.journal import Journal
from tests.faults.probing import ask, post_form, send_mail

pytestmark = [pytest.mark.fault, pytest.mark.chaos, pytest.mark.timeout(300)]

_MARK = 8 << 20  # bytes that must be free
_SYNCS = "fsync,fdatasync"


async def refuses(gate: Gate, what: str) -> None:
    """Every kind of sender hears "later", and so does whoever asks whether we are ready."""
    form = await post_form(gate, f"refused-{what}")
    assert form.status == 503, form
    assert int(form.retry_after) > 0, form
    assert await send_mail(gate, f"refused-{what}@customer.example") in (451, 452)
    ready = await ask(gate, "/readyz")
    assert ready.status == 503, ready
    assert (await ask(gate, "/healthz")).status == 200


@contextlib.contextmanager
def filled(folder: Path, leave: int) -> Iterator[None]:
    """Somebody else's file takes all but `leave` bytes."""
    ballast = folder / "ballast"
    with ballast.open("wb") as file, contextlib.suppress(OSError):
        while _free(folder) > leave:
            file.write(bytes(min(64 << 10, max(1, _free(folder) - leave))))
            file.flush()
    yield
    ballast.unlink()


def _free(folder: Path) -> int:
    facts = os.statvfs(folder)
    return facts.f_bavail * facts.f_frsize


async def _fill_refuse_heal(desk: Desk, journal: Journal, disk: Path, leave: int) -> None:
    gate = desk.gates[0]
    async with Crowd(desk.gates, journal, each=1) as crowd:
        await crowd.hear(10)
        with filled(disk, leave):
            await settle(desk, journal)  # what was let in before has its ticket, on the other disk
            accepted = len(journal.acknowledged)
            await refuses(gate, "full")
            await crowd.go_on(2)
            assert len(journal.acknowledged) == accepted, "accepted on a full disk"
        await crowd.hear(10)
    await check(desk, journal, at_least=20)


async def test_below_the_watermark_senders_are_asked_to_wait(tmp_path: Path, journal: Journal) -> None:
    """While there still is room to work what was accepted, so it heals by itself."""
    with small_disk(tmp_path / "up", "size=32m") as disk:
        async with embedded(tmp_path, spool_min_free=str(_MARK)) as desk:
            await _fill_refuse_heal(desk, journal, disk, _MARK // 2)


async def test_the_last_byte_is_taken(tmp_path: Path, journal: Journal) -> None:
    """Without a watermark: SQLite itself finds no room. No half message is in the queue afterwards."""
    with small_disk(tmp_path / "up", "size=24m") as disk:
        async with embedded(tmp_path, spool_min_free="0") as desk:
            gate = desk.gates[0]
            await post_form(gate, "before", journal=journal)
            await settle(desk, journal)
            with filled(disk, 0):
                answers = [(await post_form(gate, f"full-{number}", journal=journal)).status for number in range(200)]
                assert 503 in answers, "the log still had room for all of it"
                assert set(answers) <= {201, 503}
            async with Crowd(desk.gates, journal, each=1) as crowd:
                await crowd.hear(10)
            await check(desk, journal, at_least=10)


async def test_inodes_run_out(tmp_path: Path, journal: Journal) -> None:
    """Bytes are plenty, names are not."""
    with small_disk(tmp_path / "up", "size=256m,nr_inodes=400") as disk:
        async with embedded(tmp_path) as desk:
            async with Crowd(desk.gates, journal, each=1) as crowd:
                await crowd.hear(10)
                names = [disk / f"other-{number}" for number in range(250)]
                for name in names:
                    name.touch()
                await settle(desk, journal)
                await refuses(desk.gates[0], "inodes")
                for name in names:
                    name.unlink()
                await crowd.hear(10)
            await check(desk, journal, at_least=20)


async def test_a_read_only_disk_is_said_at_start(tmp_path: Path) -> None:
    """Better no gateway than one that can keep nothing."""
    with small_disk(tmp_path / "up", "size=32m,ro"):
        async with embedded(tmp_path, start=False) as desk:
            member = desk.members["up"]
            await asyncio.to_thread(member.start, wait=False)
            await until(lambda: not member.running, timeout=20, what="its end")
            assert "ead-only" in member.said()
            member.bury()
            assert not desk.tracebacks()


@pytest.mark.parametrize("error", ["EIO", "ENOSPC", "EROFS"])
async def test_fsync_fails(error: str, tmp_path: Path, journal: Journal) -> None:
    """Nobody is told 250 or 201 while it does; what was promised before and after survives a kill."""
    require_strace()
    async with embedded(tmp_path) as desk:
        member, gate = desk.members["up"], desk.gates[0]
        async with Crowd(desk.gates, journal, each=1) as crowd:
            await crowd.hear(10)
            failing = ("-e", f"trace={_SYNCS}", "-e", f"inject={_SYNCS}:error={error}")
            with Strace(member.pid, tmp_path / "trace", *failing):
                await asyncio.sleep(1)
                accepted = len(journal.acknowledged)
                await refuses(gate, error)
                await crowd.go_on(2)
                assert len(journal.acknowledged) == accepted, "acknowledged though no fsync succeeded"
            await crowd.hear(10)
            member.kill()
            await asyncio.to_thread(member.start)
            await crowd.hear(10)
        await check(desk, journal, at_least=30)


async def test_fsync_is_slow(tmp_path: Path, journal: Journal) -> None:
    """Two seconds each: acknowledgements wait for it, and the event loop does not."""
    require_strace()
    async with embedded(tmp_path) as desk:
        member, gate = desk.members["up"], desk.gates[0]
        await post_form(gate, "before", journal=journal)
        await settle(desk, journal)
        slow = ("-e", f"trace={_SYNCS}", "-e", f"inject={_SYNCS}:delay_enter=2000000")
        with Strace(member.pid, tmp_path / "trace", *slow):
            waiting = asyncio.create_task(post_form(gate, "slow", journal=journal, patience=30))
            for _ in range(10):
                assert (await ask(gate, "/healthz", patience=1.5)).status == 200
            assert not waiting.done(), "answered before its fsync"
            assert (await waiting).status == 201
        await check(desk, journal, at_least=2)
