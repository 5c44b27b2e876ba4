"""Senders that lose the answer, repeat themselves, or send what no worker can record."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest

from gateway.ids import uuid7
from gateway.queues.base import Outgoing
from gateway.queues.embedded import EmbeddedQueue
from normalizer.message import MESSAGE_TYPE
from tests.faults.checking import check, settle
from tests.faults.customers import Crowd
from tests.faults.desk import embedded
from tests.faults.injecting import memory_limit
from tests.faults.journal import Fact, Journal
from tests.faults.probing import compose_mail, post_form, send_mail

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]


async def test_a_mail_server_dies_after_the_dot_and_sends_again(tmp_path: Path, journal: Journal) -> None:
    """Twice the connection is gone before our 250 is read; the third time it is. One message."""
    async with embedded(tmp_path) as desk:
        gate = desk.gates[0]
        message_id = "after-the-dot@customer.example"
        journal.attempt(Fact("email", message_id), message_id)
        for _ in range(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", gate.smtp)
            await _until_data(reader, writer)
            writer.write(compose_mail(message_id, message_id) + b".\r\n")
            await writer.drain()
            writer.transport.abort()
        assert await send_mail(gate, message_id, journal=journal) == 250
        balance = await check(desk, journal, at_least=1)
        assert balance.stored == 1


async def _until_data(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    mail_from, to = b"MAIL FROM:<probe@customer.example>\r\n", b"RCPT TO:<support@localhost>\r\n"
    for words in (b"", b"EHLO peer\r\n", mail_from, to, b"DATA\r\n"):
        writer.write(words)
        await _read_reply(reader)


async def _read_reply(reader: asyncio.StreamReader) -> None:
    while True:
        line = await reader.readline()
        assert line[:1] in b"23", line
        if line[3:4] == b" ":
            return


@pytest.mark.chaos
async def test_a_chat_sends_a_thousand_unacknowledged_messages_at_once(tmp_path: Path, journal: Journal) -> None:
    """A widget comes back after an outage: it is slowed down, told so, and in the end all of it is there once."""
    slow = {"inboxes__website__messages_per_minute": "3000"}
    async with embedded(tmp_path, **slow) as desk, aiohttp.ClientSession() as http:
        url, headers = desk.gates[0].url, {"Content-Type": "application/json"}
        async with http.post(f"{url}/chat/website/sessions", data=b"{}", headers=headers) as got:
            token = (await got.json())["session_token"]
        waiting = {f"old-{number}": f"old-{number} where is my parcel?" for number in range(1000)}
        for name, words in waiting.items():
            journal.attempt(Fact("chat", name), words)
        refused = 0
        async with asyncio.timeout(120):
            while waiting:
                async with http.ws_connect(f"{url}/chat/website/ws") as socket:
                    await socket.send_json({"type": "join", "token": token})
                    for name, words in waiting.items():
                        await socket.send_json({"type": "message.send", "client_msg_id": name, "text": words})
                    unanswered = set(waiting)
                    pause = 0.0
                    while unanswered:
                        message = await socket.receive(timeout=20)
                        if message.type is not aiohttp.WSMsgType.TEXT:
                            break
                        answer = message.json()
                        name = answer.get("client_msg_id")
                        unanswered.discard(name)
                        if answer["type"] == "message.ack":
                            journal.acknowledge(Fact("chat", name), str(answer["receipt_id"]))
                            waiting.pop(name, None)
                        elif answer["type"] == "message.nack":
                            refused += 1
                            pause = max(pause, float(answer.get("retry_after", answer.get("retry", 1))))
                await asyncio.sleep(min(pause, 5.0))
        balance = await check(desk, journal, at_least=1000)
        assert balance.stored == 1000


async def test_a_message_that_no_worker_can_record(tmp_path: Path, journal: Journal) -> None:
    """It is tried a few times, then visible among the dead with its reason; its neighbours are unharmed."""
    async with embedded(tmp_path) as desk:
        gate = desk.gates[0]
        await post_form(gate, "before", journal=journal)
        queue = EmbeddedQueue(tmp_path / "up" / "queue.db", min_free_bytes=0)
        await queue.start()
        receipts = [str(uuid7()) for _ in range(2)]
        await queue.publish(
            [
                Outgoing(b"{not json", MESSAGE_TYPE, receipts[0], "form", "contact"),
                Outgoing(b"{}", "frontdesk.from-the-future.v9", receipts[1], "form", "contact"),
            ]
        )
        await queue.close()
        await post_form(gate, "after", journal=journal)

        async def letters() -> list[dict[str, object]]:
            done = await desk.command("dead", "list", "--json")
            return [json.loads(line) for line in done.stdout.splitlines()]

        async with asyncio.timeout(30):
            while len(dead := await letters()) < 2:
                await asyncio.sleep(0.2)
        assert {letter["receipt_id"] for letter in dead} == set(receipts)
        assert all("not a message of the queue contract" in str(letter["reason"]) for letter in dead)
        assert all(int(str(letter["attempts"])) <= 11 for letter in dead)
        for letter in dead:
            assert (await desk.command("dead", "drop", str(letter["id"]), "--yes")).returncode == 0
        await check(desk, journal, at_least=2)


@pytest.mark.chaos
async def test_hostile_mail_in_little_memory(tmp_path: Path, journal: Journal) -> None:
    """250 MiB for the whole process, and mails made to take more: budgets hold before parsing, nobody is killed."""
    with memory_limit(f"frontdesk-{uuid4().hex[:8]}", 250 << 20) as group:
        async with embedded(tmp_path, start=False) as desk:
            member = desk.members["up"]
            member.prefix = ["sh", "-c", f'echo $$ > {group / "cgroup.procs"}; exec "$@"', "sh"]
            await asyncio.to_thread(member.start)
            gate = desk.gates[0]
            for name, content in _bombs().items():
                code = await _send_raw(gate.smtp, content)
                assert code in (250, 550, 552, 554), (name, code)
                member.check()
            async with Crowd(desk.gates, journal, each=1) as crowd:
                await crowd.hear(10)
            member.check()
            await settle(desk, journal)
            held = (await desk.command("receipts", "--outcome", "suspended", "--json")).stdout
            assert "(delivery_limit)" not in held


def _bombs() -> dict[str, bytes]:
    head = b"From: a@b.example\r\nTo: support@localhost\r\nSubject: bomb\r\nMIME-Version: 1.0\r\n"
    nested = b"".join(b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (n, n) for n in range(20_000))
    parts = b'Content-Type: multipart/mixed; boundary="x"\r\n\r\n' + b"--x\r\n\r\na\r\n" * 500_000 + b"--x--\r\n"
    headers = b"".join(b"X-%d: y\r\n" % n for n in range(100_000)) + b"\r\nbody\r\n"
    large = b"Content-Type: text/plain\r\n\r\n" + (b"z" * 76 + b"\r\n") * 300_000
    return {"nested": head + nested, "parts": head + parts, "headers": head + headers, "large": head + large}


async def _send_raw(port: int, content: bytes) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(60):
            await _until_data(reader, writer)
            writer.write(content + b"\r\n.\r\n")
            await writer.drain()
            return int((await reader.readline())[:3] or 0)
    except ConnectionError:
        return 552  # cut at the limit
    finally:
        writer.close()
