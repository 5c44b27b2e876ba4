"""Floods, silence, hanging up, and stopping."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from contextlib import suppress

import pytest

from adapters.base import Raw
from gateway.mail import dialogue
from gateway.mail.limits import Lease, Limits
from tests.mail.conftest import Desk, Line, OpenDesk, receipt_in


async def gone(desk: Desk) -> None:
    """Wait until every connection has been forgotten."""
    async with asyncio.timeout(20):
        while desk.server.connections:
            await asyncio.sleep(0.005)


def reset(line: Line) -> None:
    """Hang up with RST."""
    linger = struct.pack("ii", 1, 0)
    line.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    line.writer.transport.abort()


async def test_sixty_connections_from_one_peer(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        lines = [await desk.connect() for _ in range(50)]
        for _ in range(10):
            reader, writer = await asyncio.open_connection(*desk.smtp)
            reply = await reader.read()
            assert reply.startswith(b"421 4.7.0 too many connections from 127.0.0.1")
            writer.close()
            await writer.wait_closed()
        assert desk.server.connections == 50
        await asyncio.gather(*(line.close() for line in lines))
        await gone(desk)
        line = await desk.connect()
        await line.close()


async def test_the_total_is_limited_too(open_desk: OpenDesk) -> None:
    async with open_desk(limits=Limits(connections=2, per_peer=50)) as desk:
        lines = [await desk.connect(), await desk.connect(lmtp=True)]
        reader, writer = await asyncio.open_connection(*desk.smtp)
        assert (await reader.read()).startswith(b"421 4.7.0 too many connections, ")
        writer.close()
        await writer.wait_closed()
        await asyncio.gather(*(line.close() for line in lines))


async def test_an_endless_message_is_cut_off_with_552(open_desk: OpenDesk) -> None:
    async with open_desk(limits=Limits(message=200_000)) as desk:
        line = await desk.connect()
        await line.envelope("help@desk.example")
        with suppress(ConnectionError):
            while not line.reader.at_eof():
                await line.send(b"x" * 65_536)
        await gone(desk)
        assert desk.door.arrived == []
        await line.close()


async def test_an_oversized_message_hears_552_and_the_conversation_goes_on(open_desk: OpenDesk) -> None:
    async with open_desk(limits=Limits(message=200_000)) as desk:
        line = await desk.connect()
        await line.envelope("help@desk.example")
        await line.send(b"Subject: big\r\n\r\n" + b"y" * 250_000 + b"\r\n.\r\n")
        assert (await line.reply()).startswith("552 5.3.4 Message is larger than 200000 bytes")
        await line.envelope("help@desk.example")
        await line.send(b"Subject: small\r\n\r\n.\r\n")
        receipt_in(await line.reply())
        assert desk.door.bodies == [b"Subject: small\r\n\r\n"]
        await line.close()


async def test_an_oversized_message_by_lmtp_is_refused_for_each(open_desk: OpenDesk) -> None:
    async with open_desk(limits=Limits(message=2000)) as desk:
        line = await desk.connect(lmtp=True)
        await line.envelope("a@desk.example", "b@desk.example")
        await line.send(b"y" * 3000 + b"\r\n.\r\n")
        assert [(await line.reply())[:9] for _ in range(2)] == ["552 5.3.4"] * 2
        await line.close()


async def test_an_endless_command_line_is_not_kept_and_ends_with_the_idle_time(open_desk: OpenDesk) -> None:
    async with open_desk(limits=Limits(idle=0.2)) as desk:
        line = await desk.connect()
        await line.send(b"MAIL FROM:<" + b"a" * 300_000)
        assert (await line.rest()).startswith(b"421 4.4.2 ")
        await gone(desk)


async def test_a_long_command_line_is_refused(desk: Desk) -> None:
    line = await desk.connect()
    assert (await line.ask("MAIL FROM:<" + "a" * 3000 + "@example.com>")).startswith("500 5.5.2 Command line too long")
    assert (await line.ask("MAIL FROM:<" + "a" * 70_000 + "@example.com>")).startswith(
        "500 5.5.2 Command line too long"
    )
    await line.close()


async def test_five_unknown_commands_end_the_conversation(desk: Desk) -> None:
    line = await desk.connect()
    await line.say(*["XJUNK"] * 8)
    heard = (await line.rest()).decode().splitlines()
    assert [reply[:9] for reply in heard] == ["500 5.5.2"] * 4 + ["502 5.5.1"]


@pytest.mark.parametrize("verb", ["GET", "POST", "HEAD", "PUT", "OPTIONS", "CONNECT"])
async def test_a_browser_is_sent_away_before_its_body_is_read(desk: Desk, verb: str) -> None:
    line = await desk.connect(hello=False)
    await line.say(f"{verb} / HTTP/1.1", "Host: desk.example", "", "EHLO x", "MAIL FROM:<a@b.example>")
    assert await line.rest() == b"421 4.7.0 This is a mail port, not a web server\r\n"


async def test_idle_clients_are_told_and_closed(open_desk: OpenDesk) -> None:
    async with open_desk(limits=Limits(idle=0.05)) as desk:
        line = await desk.connect()
        assert (await line.rest()).startswith(b"421 4.4.2 ")
        await gone(desk)


@pytest.mark.parametrize("limits", [Limits(data=0.1), Limits(chunk=0.1)], ids=["total", "chunk"])
async def test_slow_data_is_cut_off(open_desk: OpenDesk, limits: Limits) -> None:
    async with open_desk(limits=limits) as desk:
        line = await desk.connect()
        await line.envelope("help@desk.example")
        await line.send(b"Subject: slow")
        assert (await line.rest()).startswith(b"421 4.4.2 ")
        await gone(desk)
        assert desk.door.arrived == []


async def test_hanging_up_before_the_dot_stores_nothing(desk: Desk) -> None:
    line = await desk.connect()
    await line.envelope("help@desk.example")
    await line.send(b"Subject: half\r\n\r\nnot yet")
    await line.close()
    await gone(desk)
    assert desk.door.arrived == []


async def test_hanging_up_after_the_dot_does_not_stop_the_delivery(desk: Desk) -> None:
    begun, go_on, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slowly(name: str, raw: Raw) -> None:
        begun.set()
        await go_on.wait()
        done.set()

    desk.door.answer = slowly
    line = await desk.connect()
    await line.envelope("help@desk.example")
    await line.send(b"Subject: whole\r\n\r\n.\r\n")
    await begun.wait()
    line.writer.transport.abort()
    await line.close()
    go_on.set()
    await done.wait()
    await gone(desk)
    assert len(desk.door.arrived) == 1


async def test_a_reset_after_the_dot_does_not_stop_the_delivery(desk: Desk) -> None:
    begun, go_on, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slowly(name: str, raw: Raw) -> None:
        begun.set()
        await go_on.wait()
        done.set()

    desk.door.answer = slowly
    line = await desk.connect()
    await line.envelope("help@desk.example")
    await line.send(b"Subject: whole\r\n\r\n.\r\n")
    await begun.wait()
    reset(line)
    await gone(desk)
    go_on.set()
    await done.wait()
    assert len(desk.door.arrived) == 1


async def test_a_mail_in_hand_counts_until_it_is_delivered(open_desk: OpenDesk) -> None:
    """However often its sender hangs up and comes again."""
    async with open_desk(limits=Limits(transit=400_000)) as desk:
        go_on, inside = asyncio.Event(), 0

        async def slowly(name: str, raw: Raw) -> None:
            nonlocal inside
            inside += 1
            await go_on.wait()

        desk.door.answer = slowly
        reply = ""
        while not reply and inside < 50:
            line, before = await desk.connect(), inside
            await line.envelope("help@desk.example")
            await line.send(b"Subject: large\r\n\r\n" + (b"y" * 98 + b"\r\n") * 1000 + b".\r\n")
            answer = asyncio.create_task(line.reply())
            async with asyncio.timeout(20):
                while inside == before and not answer.done():
                    await asyncio.sleep(0.005)
            reply = answer.result() if answer.done() else ""
            answer.cancel()
            await asyncio.gather(answer, return_exceptions=True)
            reset(line)
            await gone(desk)
        assert reply.startswith("452 ")
        assert 0 < inside * (100_000 - Lease.free) <= 400_000
        go_on.set()
        async with asyncio.timeout(20):
            while desk.server._hall.deliveries or desk.server._hall.budget.used:
                await asyncio.sleep(0.005)
        assert len(desk.door.arrived) == inside


async def test_a_client_that_does_not_listen_keeps_no_place(
    open_desk: OpenDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialogue, "_LAST_WORDS", 0.1)
    async with open_desk(limits=Limits(idle=0.5)) as desk:
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            deaf.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(deaf, desk.smtp)
            await loop.sock_sendall(deaf, b"EHLO x\r\n")
            with suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(20):
                    while desk.server.connections:
                        await asyncio.wait_for(loop.sock_sendall(deaf, b"RSET\r\n" * 500), 1)
            await gone(desk)


async def test_a_half_closed_client_still_hears_its_answers(desk: Desk) -> None:
    line = await desk.connect()
    await line.say("MAIL FROM:<erika@example.com>", "RCPT TO:<help@desk.example>", "DATA")
    await line.send(b"Subject: nc\r\n\r\n.\r\n")
    line.writer.write_eof()
    heard = (await line.rest()).decode().splitlines()
    assert [reply[:3] for reply in heard] == ["250", "250", "354", "250", "221"]
    receipt_in(heard[3])


async def test_a_bug_in_the_conversation_is_a_temporary_refusal(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(runtime: object, address: str) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("gateway.mail.session.inbox_for", broken)
    line = await desk.connect()
    await line.ask("MAIL FROM:<erika@example.com>")
    assert await line.ask("RCPT TO:<help@desk.example>") == (
        "451 4.3.0 Temporary trouble here, nothing was accepted; please try again later"
    )
    assert "mail conversation failed" in caplog.text
    await line.close()


async def test_ordinary_mail_is_not_logged_with_its_addresses(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    line = await desk.connect()
    await line.envelope("help@desk.example", sender="secret-person@example.com")
    await line.send(b"Subject: x\r\n\r\n.\r\n")
    receipt_in(await line.reply())
    await line.close()
    assert "secret-person" not in caplog.text


async def test_stopping_answers_the_message_in_hand_and_tells_the_others(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def slowly(name: str, raw: Raw) -> None:
            begun.set()
            await go_on.wait()

        desk.door.answer = slowly
        idle, receiving, busy = [await desk.connect() for _ in range(3)]
        await receiving.envelope("help@desk.example")
        await receiving.send(b"Subject: half")
        await busy.envelope("help@desk.example")
        await busy.send(b"Subject: x\r\n\r\n.\r\n")
        await begun.wait()
        stopping = asyncio.create_task(desk.server.stop())
        assert (await idle.rest()).startswith(b"421 4.3.2 ")
        assert (await receiving.rest()).startswith(b"421 4.3.2 ")
        go_on.set()
        receipt_in(await busy.reply())
        assert (await busy.rest()).startswith(b"421 4.3.2 ")
        await stopping
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*desk.smtp)
        assert len(desk.door.arrived) == 1
        await asyncio.gather(*(line.close() for line in (idle, receiving, busy)))


async def test_stopping_waits_no_longer_than_its_grace(open_desk: OpenDesk) -> None:
    async with open_desk(limits=Limits(grace=0.05)) as desk:
        begun, never = asyncio.Event(), asyncio.Event()

        async def stuck(name: str, raw: Raw) -> None:
            begun.set()
            await never.wait()

        desk.door.answer = stuck
        line = await desk.connect()
        await line.envelope("help@desk.example")
        await line.send(b"Subject: x\r\n\r\n.\r\n")
        await begun.wait()
        await desk.server.stop()
        assert desk.server.connections == 0
        never.set()
        await line.close()
