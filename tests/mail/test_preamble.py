"""The PROXY protocol: believed from configured proxies only, and counted for the client it names."""

from __future__ import annotations

import asyncio
import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail import preamble
from gateway.mail.limits import Limits
from gateway.mail.preamble import BadPreambleError, Proxies, read_client
from tests.mail.conftest import Desk, Line, OpenDesk, receipt_in

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
BEHIND = {"smtp_proxy_protocol": True, "trusted_proxies": ["127.0.0.0/8"]}


def version_2(source: str, command: int = 1, tail: bytes = b"") -> bytes:
    address = ipaddress.ip_address(source)
    target = ipaddress.ip_address("::1" if address.version == 6 else "127.0.0.1")
    body = address.packed + target.packed + struct.pack("!HH", 40_000, 25) + tail
    family = 0x21 if address.version == 6 else 0x11
    return SIGNATURE + struct.pack("!BBH", 0x20 | command, family, len(body)) + body


GOOD = {
    "version 1": (b"PROXY TCP4 203.0.113.7 127.0.0.1 40000 25\r\n", "203.0.113.7"),
    "version 1, IPv6": (b"PROXY TCP6 2001:db8::7 ::1 40000 25\r\n", "2001:db8::7"),
    "version 1, unknown": (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    "version 2": (version_2("203.0.113.7"), "203.0.113.7"),
    "version 2, IPv6": (version_2("2001:db8::7"), "2001:db8::7"),
    "version 2 with more": (version_2("203.0.113.7", tail=b"\x04\x00\x02ab"), "203.0.113.7"),
    "version 2, a health check": (version_2("203.0.113.7", command=0), "127.0.0.1"),
}


async def connect(desk: Desk, first: bytes) -> Line:
    reader, writer = await asyncio.open_connection(*desk.smtp)
    line = Line(reader, writer)
    await line.send(first)
    return line


@pytest.mark.parametrize("form", GOOD)
async def test_the_client_behind_the_proxy_is_the_peer(open_desk: OpenDesk, form: str) -> None:
    first, remote = GOOD[form]
    async with open_desk(**BEHIND) as desk:
        line = await connect(desk, first + b"EHLO x\r\n")
        assert (await line.reply()).startswith("220 ")
        assert (await line.reply()).startswith("250-")
        await line.envelope("help@desk.example")
        await line.send(b"Subject: x\r\n\r\n.\r\n")
        receipt_in(await line.reply())
        assert desk.door.arrived[0][1].facts["remote"] == remote
        await line.close()


BAD = {
    "none": b"EHLO client.example\r\n",
    "empty": b"PROXY\r\n",
    "no addresses": b"PROXY TCP4\r\n",
    "names": b"PROXY TCP4 evil.example desk.example 1 2\r\n",
    "ports": b"PROXY TCP4 1.2.3.4 1.2.3.4 99999 25\r\n",
    "mixed families": b"PROXY TCP4 ::1 1.2.3.4 1 25\r\n",
    "endless": b"PROXY " + b"x" * 100_000 + b"\r\n",
    "version 3": SIGNATURE + b"\x31\x11\x00\x0c" + bytes(12),
    "cut addresses": SIGNATURE + b"\x21\x11\x00\x04" + bytes(4),
    "HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("form", BAD)
async def test_a_proxy_that_names_nobody_is_turned_away(open_desk: OpenDesk, form: str) -> None:
    async with open_desk(**BEHIND) as desk:
        line = await connect(desk, BAD[form])
        try:
            heard = await line.rest()
        except ConnectionResetError:  # it was still sending when we closed
            heard = b""
        assert heard == b"" or heard.startswith(b"421 4.7.0 The PROXY preamble")
        async with asyncio.timeout(20):
            while desk.server.connections:
                await asyncio.sleep(0.005)


async def test_a_proxy_that_says_nothing_is_not_waited_for(
    open_desk: OpenDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preamble, "SECONDS", 0.05)
    async with open_desk(**BEHIND) as desk:
        for said in (b"", b"PROXY TCP4 203.0", SIGNATURE):
            line = await connect(desk, said)
            assert (await line.rest()).startswith(b"421 4.7.0 ")


async def test_a_proxy_that_hangs_up_leaves_nothing_behind(open_desk: OpenDesk) -> None:
    async with open_desk(**BEHIND) as desk:
        for said in (b"", b"PRO", SIGNATURE):
            await (await connect(desk, said)).close()
        async with asyncio.timeout(20):
            while desk.server.connections:
                await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    "settings",
    [
        {"smtp_proxy_protocol": True, "trusted_proxies": ["192.0.2.0/24"]},
        {"smtp_proxy_protocol": False, "trusted_proxies": ["127.0.0.0/8"]},
    ],
    ids=["not a proxy", "switched off"],
)
async def test_who_is_no_proxy_cannot_claim_an_address(open_desk: OpenDesk, settings: dict[str, object]) -> None:
    async with open_desk(**settings) as desk:
        line = await connect(desk, b"PROXY TCP4 203.0.113.7 127.0.0.1 40000 25\r\nEHLO x\r\n")
        assert (await line.reply()).startswith("220 ")
        assert (await line.reply()).startswith("500 5.5.2")
        assert (await line.reply()).startswith("250-")
        await line.envelope("help@desk.example")
        await line.send(b"Subject: x\r\n\r\n.\r\n")
        receipt_in(await line.reply())
        assert desk.door.arrived[0][1].facts["remote"] == "127.0.0.1"
        await line.close()


async def test_limits_count_the_clients_and_not_the_proxy(open_desk: OpenDesk) -> None:
    async with open_desk(limits=Limits(per_peer=2), **BEHIND) as desk:
        lines = []
        for client in ("203.0.113.7", "203.0.113.7", "203.0.113.8", "203.0.113.9"):
            lines.append(await connect(desk, version_2(client)))
            assert (await lines[-1].reply()).startswith("220 ")
        refused = await connect(desk, version_2("203.0.113.7"))
        assert (await refused.rest()).startswith(b"421 4.7.0 too many connections from 203.0.113.7")
        await lines[0].close()
        async with asyncio.timeout(20):
            while desk.server.connections > 3:
                await asyncio.sleep(0.005)
        again = await connect(desk, version_2("203.0.113.7"))
        assert (await again.reply()).startswith("220 ")
        await asyncio.gather(*(line.close() for line in (*lines[1:], again)))
        async with asyncio.timeout(20):
            while desk.server.connections:
                await asyncio.sleep(0.005)


async def test_lmtp_has_no_preamble(open_desk: OpenDesk) -> None:
    async with open_desk(**BEHIND) as desk:
        line = await desk.connect(lmtp=True)
        await line.close()


@given(st.binary(max_size=200), st.sampled_from([b"", b"PROXY ", SIGNATURE, SIGNATURE + b"\x21\x11\x00\x0c"]))
def test_any_bytes_name_a_client_or_nobody(data: bytes, start: bytes) -> None:
    async def read() -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(start + data)
        reader.feed_eof()
        try:
            client = await read_client(reader)
        except BadPreambleError as error:
            assert str(error)
        else:
            assert client is None or ipaddress.ip_address(client[0])

    asyncio.run(read())


def test_the_networks_of_proxies() -> None:
    proxies = Proxies(["127.0.0.1", "10.0.0.0/8", "2001:db8::/32"])
    assert [peer in proxies for peer in ("127.0.0.1", "::ffff:10.1.2.3", "2001:db8::1%eth0")] == [True] * 3
    assert [peer in proxies for peer in ("127.0.0.2", "11.0.0.1", "", "x", "::1")] == [False] * 5
    assert "127.0.0.1" not in Proxies()
