"""The bench's own client: a silent connection that the desk closes is no reason to wait for ever."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from gateway.bench.client import BenchError, FormLane, Load, MailLane
from gateway.bench.content import Item

_RECEIPT = str(UUID(int=(7 << 76) + 1))
_ANSWER = f"HTTP/1.1 202 Accepted\r\nContent-Length: {len(_RECEIPT)}\r\n\r\n{_RECEIPT}".encode()


async def test_a_lane_that_was_hung_up_on_is_opened_again() -> None:
    served: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(writer)
        while await reader.read(1000):
            writer.write(_ANSWER)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    load = Load()
    try:
        await load.open([FormLane("contact"), FormLane("contact")], server.sockets[0].getsockname()[1])
        for writer in served[:2]:
            writer.close()
        async with asyncio.timeout(10):
            while len(served) < 4:
                await asyncio.sleep(0.01)
            answers = await load.flood([Item(str(number), "", b"{}") for number in range(4)])
        assert [answer.receipt for answer in answers] == [_RECEIPT] * 4
        assert load.failures == []
    finally:
        load.close()
        server.close()
        for writer in served:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in served), return_exceptions=True)


async def test_a_desk_that_takes_no_more_connections_is_quoted() -> None:
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"421 4.7.0 too many connections, please reuse one of them\r\n")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    load = Load()
    try:
        with pytest.raises(BenchError, match=r"takes no more connections: 421 .* please reuse one of them"):
            await load.open([MailLane("support@localhost")], server.sockets[0].getsockname()[1])
    finally:
        load.close()
        server.close()
