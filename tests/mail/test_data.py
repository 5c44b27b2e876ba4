"""The end of a message, however it is cut: exactly one message, byte for byte what was sent."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.data import END, Fate, read_message
from gateway.mail.limits import Budget
from tests.mail.conftest import Desk, receipt_in

# Smuggling variants (faults-and-attacks A60): each is content, never an end.
FALSE_ENDS = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r\n.\r",
    b"\r.\r\n",
    b"\n\r.\r\n",
    b"\r\n\x00.\r\n",
    b"\r\r\n.\n",
]


async def feed(*chunks: bytes, limit: int = 1 << 20, stream: int = 65_536) -> tuple[Fate, bytes, bytes]:
    """Fate, message and what was left in the stream, when the chunks arrive one by one."""
    reader = asyncio.StreamReader(limit=stream)
    with Budget(1 << 30).lease() as lease:
        reading = asyncio.create_task(read_message(reader, limit, lease, 10))
        for chunk in chunks:
            reader.feed_data(chunk)
            await asyncio.sleep(0)
        fate, message = await reading
    return fate, message, bytes(reader._buffer)  # type: ignore[attr-defined]


def stuffed(message: bytes) -> bytes:
    """What a client sends for a message (RFC 5321 4.5.2)."""
    if message and not message.endswith(b"\r\n"):
        message += b"\r\n"
    lines = message.split(b"\r\n")
    return b"\r\n".join(b"." + line if line.startswith(b".") else line for line in lines) + b".\r\n"


pieces = st.lists(st.sampled_from([b"\r\n", b".", b"\r", b"\n", b"a", b"\r\n.", b"..", *FALSE_ENDS]), max_size=30).map(
    b"".join
)


@given(message=pieces, cuts=st.lists(st.integers(0, 200), max_size=6), stream=st.sampled_from([16, 64, 65_536]))
def test_any_message_cut_anywhere_arrives_once_and_whole(message: bytes, cuts: list[int], stream: int) -> None:
    wire = stuffed(message) + b"QUIT\r\n"
    edges = sorted({0, len(wire), *(cut for cut in cuts if cut < len(wire))})
    chunks = [wire[start:end] for start, end in itertools.pairwise(edges)]
    fate, received, rest = asyncio.run(feed(*chunks, stream=stream))
    expected = message if not message or message.endswith(b"\r\n") else message + b"\r\n"
    assert (fate, received, rest) == (Fate.COMPLETE, expected, b"QUIT\r\n")


@pytest.mark.parametrize("false_end", FALSE_ENDS)
async def test_a_smuggled_end_stays_inside_one_message(desk: Desk, false_end: bytes) -> None:
    line = await desk.connect()
    await line.envelope("help@desk.example")
    evil = (
        b"Subject: one\r\n\r\nbefore"
        + false_end
        + b"MAIL FROM:<x@y.example>\r\nRCPT TO:<help@desk.example>\r\nDATA\r\nx"
    )
    await line.send(evil + b"\r\n.\r\nNOOP\r\n")
    receipt_in(await line.reply())
    assert await line.reply() == "250 2.0.0 OK"
    assert len(desk.door.bodies) == 1
    assert desk.door.bodies[0] == evil.replace(b"\r\n.", b"\r\n") + b"\r\n"
    await line.close()


@pytest.mark.parametrize(
    ("wire", "message"),
    [
        (b".\r\n", b""),
        (b"\r\n.\r\n", b"\r\n"),
        (b"..\r\n.\r\n", b".\r\n"),
        (b".x\r\n.\r\n", b"x\r\n"),
        (b"a\r\n..\r\nb\r\n.\r\n", b"a\r\n.\r\nb\r\n"),
    ],
)
async def test_edges(wire: bytes, message: bytes) -> None:
    for chunks in ([wire], [wire[i : i + 1] for i in range(len(wire))]):
        assert await feed(*chunks) == (Fate.COMPLETE, message, b"")


async def test_a_line_of_a_megabyte_is_mail() -> None:
    message = b"Subject: long\r\n\r\n" + b"x" * 1_048_576 + b"\r\n"
    assert await feed(message + b".\r\n", limit=1 << 21) == (Fate.COMPLETE, message, b"")


@pytest.mark.parametrize(("size", "fate"), [(998, Fate.COMPLETE), (1000, Fate.COMPLETE), (1010, Fate.TOO_BIG)])
async def test_the_limit_counts_the_message(size: int, fate: Fate) -> None:
    message = b"x" * (size - 2) + b"\r\n"
    got, received, rest = await feed(message + b".\r\nNOOP\r\n", limit=1000)
    assert (got, rest) == (fate, b"NOOP\r\n")
    assert received == (message if fate is Fate.COMPLETE else b"")


async def test_what_never_ends_is_given_up_at_twice_the_limit() -> None:
    reader = asyncio.StreamReader(limit=1024)
    with Budget(1 << 30).lease() as lease:
        reading = asyncio.create_task(read_message(reader, 10_000, lease, 10))
        fed = 0
        while not reading.done():
            reader.feed_data(b"x" * 1000)
            fed += 1000
            await asyncio.sleep(0)
    assert (await reading)[0] is Fate.ENDLESS
    assert fed < 30_000


async def test_a_full_house_refuses_big_mail_and_takes_small() -> None:
    budget = Budget(100_000)
    budget.used = 90_000
    for size, fate in ((60_000, Fate.COMPLETE), (200_000, Fate.CROWDED)):
        reader = asyncio.StreamReader(limit=65_536)
        reader.feed_data(b"x" * size + END)
        with budget.lease() as lease:
            assert (await read_message(reader, 1 << 20, lease, 10))[0] is fate
    assert budget.used == 90_000


async def test_leaving_before_the_end_is_an_error() -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(b"half a mess")
    reader.feed_eof()
    with Budget(1 << 30).lease() as lease, pytest.raises(asyncio.IncompleteReadError):
        await read_message(reader, 1000, lease, 10)


async def test_silence_is_a_timeout() -> None:
    with Budget(1 << 30).lease() as lease, pytest.raises(TimeoutError):
        await read_message(asyncio.StreamReader(), 1000, lease, 0.01)
