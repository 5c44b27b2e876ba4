"""Dead letters through API and CLI: looked at, tried again singly and by filter, told beforehand, harmless twice."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr
from sqlalchemy import Connection, func, select

from gateway.queues.base import Delivered, describe_death
from gateway.runtime import Runtime
from gateway.settings import Settings
from gateway.store import tables as t
from gateway.store.ledger import record_dead
from gateway.web.app import build_app
from gateway.worker.consume import Worker, _dead_row
from normalizer.message import MESSAGE_TYPE
from tests.worker.conversations import START, mail

TOKEN = "dead-letter-token"
_HEADERS = {"Authorization": f"Bearer {TOKEN}"}
_COUNT = 1000


@dataclass
class Desk:
    runtime: Runtime
    client: TestClient[Any, Any]
    folder: Path

    async def put(self, path: str) -> tuple[int, Any]:
        answer = await self.client.put(f"/api/v2/{path}", headers=_HEADERS)
        return answer.status, await answer.json()

    async def get(self, path: str) -> tuple[int, Any]:
        answer = await self.client.get(f"/api/v2/{path}", headers=_HEADERS)
        return answer.status, await answer.json()

    async def work(self) -> None:
        """Until nothing waits."""
        stop = asyncio.Event()
        working = asyncio.create_task(Worker(self.runtime.queue, self.runtime.store).run(stop))
        async with asyncio.timeout(60):
            while (await self.runtime.queue.depth()).waiting:
                assert not working.done()
                await asyncio.sleep(0.02)
        stop.set()
        await working

    async def counts(self) -> tuple[int, int, int]:
        """Comments, receipts, and letters that were not recorded since."""

        def count(conn: Connection) -> tuple[int, int, int]:
            still = t.dead_letters.c.replayed_at.is_(None)
            return (
                conn.scalar(select(func.count()).select_from(t.comments)) or 0,
                conn.scalar(select(func.count()).select_from(t.receipts)) or 0,
                conn.scalar(select(func.count()).select_from(t.dead_letters).where(still)) or 0,
            )

        return await self.runtime.store.read(count)


def _letter(number: int, reason: str) -> Delivered:
    message = mail(f"m{number}@x", f"person{number}", text=f"{number}")
    body = message.model_dump_json().encode()
    return Delivered(body, MESSAGE_TYPE, str(message.receipt_id), "email", "support", 11, number, reason)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    settings = Settings(data_dir=tmp_path / "data", api_tokens=[SecretStr(TOKEN)])
    runtime = Runtime(settings)
    await runtime.start()
    await runtime.migrate()
    client = TestClient(TestServer(build_app(runtime)))
    await client.start_server()
    yield Desk(runtime, client, tmp_path)
    await client.close()
    await runtime.close()


async def _bury(desk: Desk, count: int) -> None:
    letters = [_letter(n, "a column was too short" if n % 4 == 0 else describe_death()) for n in range(count)]
    rows = [_dead_row(letter, letter.reason) for letter in letters]
    await desk.runtime.store.write(record_dead, rows, START)


async def test_a_thousand_replayed_twice(desk: Desk) -> None:
    await _bury(desk, _COUNT)
    status, told = await desk.put("dead_letters/replay_many?all=true&dry_run=true")
    assert (status, told["replay"]["count"], told["replay"]["dry_run"]) == (202, _COUNT, True)
    assert (await desk.runtime.queue.depth()).waiting == 0

    for _ in range(2):  # both before a worker has seen one of them
        assert (await desk.put("dead_letters/replay_many?all=true"))[1]["replay"]["count"] == _COUNT
    await desk.work()
    assert await desk.counts() == (_COUNT, _COUNT, 0)
    assert (await desk.put("dead_letters/replay_many?all=true"))[1]["replay"]["count"] == 0
    assert (await desk.put("dead_letters/replay_many?ids=1,2,3"))[1]["replay"]["ids"] == [1, 2, 3]
    await desk.work()
    assert await desk.counts() == (_COUNT, _COUNT, 0)


async def test_singly_and_by_filter(desk: Desk) -> None:
    await _bury(desk, 12)
    status, one = await desk.get("dead_letters/1")
    assert status == 200
    assert one["dead_letter"]["body"]["external_id"] == "m0@x"
    assert (await desk.put("dead_letters/1/replay?dry_run=true"))[1]["replay"] == {
        "ids": [1],
        "count": 1,
        "dry_run": True,
    }
    assert (await desk.put("dead_letters/1/replay"))[0] == 202
    await desk.work()
    assert await desk.counts() == (1, 12, 11)

    status, found = await desk.get("dead_letters?reason=Too+Short&replayed=false")
    assert [letter["id"] for letter in found["dead_letters"]] == [9, 5]
    assert (await desk.put("dead_letters/replay_many?reason=too+short"))[1]["replay"]["ids"] == [5, 9]
    assert (await desk.put("dead_letters/replay_many?channel=phone"))[1]["replay"]["ids"] == []
    assert (await desk.put("dead_letters/replay_many?reason=100%25"))[1]["replay"]["ids"] == []
    await desk.work()
    assert await desk.counts() == (3, 12, 9)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("dead_letters/99/replay", 404),
        ("dead_letters/replay_many", 400),
        ("dead_letters/replay_many?all=true&channel=email", 400),
        ("dead_letters/replay_many?ids=1&reason=x", 400),
        ("dead_letters/replay_many?all=perhaps", 400),
    ],
)
async def test_what_makes_no_sense_is_said(desk: Desk, path: str, status: int) -> None:
    await _bury(desk, 1)
    assert (await desk.put(path))[0] == status
    assert (await desk.runtime.queue.depth()).waiting == 0


async def test_the_same_by_command(desk: Desk) -> None:
    await _bury(desk, 12)
    listed = await _command(desk, "list", "--reason", "too short", "--json")
    assert [json.loads(line)["id"] for line in listed.stdout.splitlines()] == [1, 5, 9]
    chosen = ("replay", "--channel", "email", "--reason", "too short", "--json")
    assert json.loads((await _command(desk, *chosen, "--dry-run")).stdout)["would_replay"] == [1, 5, 9]
    assert json.loads((await _command(desk, *chosen)).stdout)["replayed"] == [1, 5, 9]
    await desk.work()
    assert await desk.counts() == (3, 12, 9)
    assert json.loads((await _command(desk, *chosen)).stdout)["replayed"] == []
    assert (await _command(desk, "replay")).returncode == 2
    assert (await _command(desk, "replay", "1", "--all")).returncode == 2
    assert (await _command(desk, "replay", "77")).returncode == 1


async def _command(desk: Desk, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"FRONTDESK_DATA_DIR": str(desk.folder / "data")}
    command = [sys.executable, "-c", "from gateway.cli import app; app()", "dead", *words]
    return await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
