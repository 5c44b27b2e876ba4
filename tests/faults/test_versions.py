"""A rolling restart: for a while processes of two versions share one broker and one database."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from uuid import uuid4

import pytest

from gateway.queues.base import Outgoing
from gateway.queues.rabbitmq import RabbitQueue
from gateway.runtime import QUEUE_CHANNELS
from normalizer.message import MESSAGE_TYPE
from tests.faults.checking import check
from tests.faults.customers import Crowd
from tests.faults.desk import Desk, until
from tests.faults.journal import Fact, Journal
from tests.services.postgres import PostgresCluster
from tests.services.rabbitmq import RabbitNode
from tests.worker.conversations import mail

pytestmark = [
    pytest.mark.fault,
    pytest.mark.chaos,
    pytest.mark.rabbitmq,
    pytest.mark.postgres,
    pytest.mark.timeout(300),
]

ROOT = Path(__file__).parents[2]


async def test_an_older_gateway_and_this_worker(
    tmp_path: Path, broker: RabbitNode, database: PostgresCluster, journal: Journal
) -> None:
    """The gateway before the last change of the wire message goes on beside one of today; workers are today's.

    And a gateway of tomorrow sends fields that this worker does not know.
    """
    older = _check_out(tmp_path / "older")
    queue_url = await asyncio.to_thread(broker.desk_url)
    store_url = await asyncio.to_thread(database.create_database, f"faults_{uuid4().hex[:12]}")
    spare = await asyncio.to_thread(database.create_database, f"faults_{uuid4().hex[:12]}")
    desk = Desk(tmp_path, queue_url=queue_url, store_url=store_url)
    # A database of its own, which it only migrates: some older versions end when they meet a newer schema.
    old = desk.add("old", "serve", store_url=spare)
    old.prefix = ["env", "-C", str(older)]
    desk.add("new", "serve")
    worker = desk.add("worker", "work")
    try:
        await desk.start()
        async with Crowd(desk.gates, journal, each=2) as crowd:
            await crowd.hear(60)
            await _publish_from_tomorrow(queue_url, journal)
            await asyncio.to_thread(old.stop)
            await crowd.hear(20)
        assert "accepted" in old.log.read_text(), "nobody came to the older gateway"
        await until(lambda: worker.running, timeout=1, what="the worker alive")
        del desk.members["old"]
        await check(desk, journal, at_least=80)
    finally:
        await desk.close()
        old.bury()


def _check_out(folder: Path) -> Path:
    """The commit before the newest that changed the wire message."""
    command = ["git", "-C", str(ROOT), "log", "--format=%H", "-n", "1", "--", "normalizer/message.py"]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    done = subprocess.run(["git", "-C", str(ROOT), "archive", f"{found}~1"], capture_output=True, check=False)
    if not found or done.returncode:
        pytest.skip("this is no git checkout with a history: there is no older version to run")
    folder.mkdir()
    subprocess.run(["tar", "-x", "-C", str(folder)], input=done.stdout, check=True)
    return folder


async def _publish_from_tomorrow(url: str, journal: Journal) -> None:
    message = mail("tomorrow@customer.example", "alice", text="from tomorrow")
    journal.attempt(Fact("email", "tomorrow@customer.example"), "from tomorrow")
    body = json.dumps(json.loads(message.model_dump_json()) | {"sentiment": {"score": 0.5}, "schema_minor": 7})
    queue = RabbitQueue(url, channels=QUEUE_CHANNELS)
    await queue.start()
    await queue.publish([Outgoing(body.encode(), MESSAGE_TYPE, str(message.receipt_id), "email", "support")])
    await queue.close()
    journal.acknowledge(Fact("email", "tomorrow@customer.example"))
