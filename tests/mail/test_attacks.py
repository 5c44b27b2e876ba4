"""What strangers try on a mail port, by volume: memory, connections and guesses stay bounded; mail still comes in."""

from __future__ import annotations

import asyncio
import tracemalloc
from contextlib import suppress

import pytest

from gateway.mail.limits import Limits
from tests.mail.conftest import Desk, Line, OpenDesk, receipt_in

MIB = 1 << 20


async def deliver(desk: Desk) -> None:
    """An ordinary client is served as ever."""
    line = await desk.connect()
    await line.envelope("help@desk.example")
    await line.send(b"Subject: x\r\n\r\nhello\r\n.\r\n")
    receipt_in(await line.reply())
    await line.close()


async def gone(desk: Desk) -> None:
    async with asyncio.timeout(20):
        while desk.server.connections:
            await asyncio.sleep(0.005)


async def pour(line: Line, data: bytes, times: int) -> None:
    with suppress(ConnectionError):
        for _ in range(times):
            await line.send(data)


@pytest.mark.parametrize(
    "filling",
    [b"x" * 65_536, b"x" * 10_000 + b"\r\n", b"\r\n" * 30_000, b".." * 30_000],
    ids=["one line", "lines", "blank", "dots"],
)
async def test_an_endless_message_costs_no_more_than_the_limit(open_desk: OpenDesk, filling: bytes) -> None:
    async with open_desk(limits=Limits(message=MIB)) as desk:
        line = await desk.connect()
        await line.envelope("help@desk.example")
        tracemalloc.start()
        try:
            await pour(line, filling, 100 * MIB // len(filling))
            await gone(desk)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 6 * MIB
        assert desk.door.arrived == []
        await line.close()
        await deliver(desk)


async def test_an_endless_command_costs_nothing(open_desk: OpenDesk) -> None:
    async with open_desk(limits=Limits(idle=1.0)) as desk:
        line = await desk.connect()
        tracemalloc.start()
        try:
            await pour(line, b"HELP" * 16_384, 500)
            await gone(desk)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 6 * MIB
        await line.close()
        await deliver(desk)


async def test_ten_thousand_recipients_are_a_hundred(desk: Desk) -> None:
    line = await desk.connect()
    await line.ask("MAIL FROM:<erika@example.com>")
    heard: list[str] = []
    for number in range(10_000):
        heard.append((await line.ask(f"RCPT TO:<r{number}@desk.example>"))[:9])
        if heard[-1].startswith("421"):
            break
    assert heard == ["250 2.1.5"] * 100 + ["452 4.5.3"] * 200 + ["421 4.7.0"]
    await line.close()
    await deliver(desk)


async def test_addresses_cannot_be_guessed_on_one_connection(open_desk: OpenDesk) -> None:
    async with open_desk(limits=Limits(refusals=20)) as desk:
        line = await desk.connect()
        await line.ask("MAIL FROM:<erika@example.com>")
        for number in range(20):
            assert (await line.ask(f"RCPT TO:<guess{number}@elsewhere.example>")).startswith("550 5.1.1")
        assert (await line.ask("RCPT TO:<one.more@elsewhere.example>")).startswith("421 4.7.0")
        await line.close()
        await gone(desk)
        await deliver(desk)


async def test_five_hundred_idle_connections_of_one_peer_are_fifty(desk: Desk) -> None:
    async def knock() -> tuple[bytes, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(*desk.smtp)
        return await reader.readline(), writer

    heard = [await knock() for _ in range(500)]
    welcomed = [greeting for greeting, _ in heard if greeting.startswith(b"220 ")]
    refused = [
        greeting for greeting, _ in heard if greeting.startswith(b"421 4.7.0 too many connections from 127.0.0.1")
    ]
    assert (len(welcomed), len(refused)) == (50, 450)
    for _, writer in heard:
        writer.close()
    await gone(desk)
    await deliver(desk)


@pytest.mark.parametrize(("announced", "sent"), [(10, 5_000), (2_000, 100), (0, 5_000)])
async def test_what_counts_is_what_is_sent(open_desk: OpenDesk, announced: int, sent: int) -> None:
    async with open_desk(limits=Limits(message=3_000)) as desk:
        line = await desk.connect()
        await line.ask(f"MAIL FROM:<a@b.example> SIZE={announced}")
        await line.ask("RCPT TO:<help@desk.example>")
        await line.ask("DATA")
        await line.send(b"x" * sent + b"\r\n.\r\n")
        assert (await line.reply())[:3] == ("552" if sent > 3_000 else "250")
        await line.close()


@pytest.mark.parametrize("size", ["-1", "x", "1e9", "99999999999999999999999999", "٣"])
async def test_odd_sizes_are_no_error_of_ours(desk: Desk, size: str) -> None:
    line = await desk.connect()
    assert (await line.ask(f"MAIL FROM:<a@b.example> SIZE={size}"))[0] in "25"
    assert (await line.ask("NOOP")).startswith("250")
    await line.close()


async def test_passwords_are_not_taken_and_guessing_ends_the_connection(desk: Desk) -> None:
    line = await desk.connect()
    heard = [await line.ask("AUTH PLAIN AGEAYg==") for _ in range(4)]
    assert [reply[:3] for reply in heard] == ["538", "538", "538", "421"]
    await gone(desk)
    await line.close()


@pytest.mark.parametrize(
    "end",
    [
        b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\r", b"\r\n.\n", b"\r.\r\n", b"\r\n\x00.\r\n", b"\r\n.\x00\r\n",
        b"\r\n. \r\n", b"\r\r\n.\r\r\n",
    ],
)  # fmt: skip
async def test_only_one_sequence_ends_a_message(desk: Desk, end: bytes) -> None:
    """A60: what some server before or behind us might take for the end is content, so one mail is never two."""
    line = await desk.connect()
    await line.envelope("help@desk.example")
    smuggled = b"MAIL FROM:<boss@desk.example>\r\nRCPT TO:<help@desk.example>\r\nDATA\r\nSubject: pay\r\n\r\npay"
    await line.send(b"Subject: x\r\n\r\nhello" + end + smuggled + b"\r\n.\r\n")
    receipt_in(await line.reply())
    assert (await line.ask("NOOP")).startswith("250 2.0.0")
    assert len(desk.door.arrived) == 1
    assert b"pay" in desk.door.bodies[0]
    await line.close()
