"""Our few AMQP frames say what pamqp's would, and a stream cut anywhere is the same stream."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from itertools import pairwise

import pamqp.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from gateway.queues.base import Outgoing
from gateway.queues.frames import HEARTBEAT, Content, encode_publish, read_confirm, read_content, read_deliver
from gateway.queues.tap import Tap

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=30)
MESSAGES = st.builds(Outgoing, st.binary(max_size=300), NAMES, TEXTS, NAMES, NAMES, TEXTS)


def split(stream: bytes) -> Iterator[tuple[int, object]]:
    """As pamqp reads it."""
    while stream:
        size, channel, frame = pamqp.frame.unmarshal(stream)
        yield channel, frame
        stream = stream[size:]


@given(MESSAGES, st.integers(1, 65535), st.sampled_from([20, 64, 131_072]))
def test_a_publish_is_read_as_it_was_meant(message: Outgoing, channel: int, frame_max: int) -> None:
    stream = encode_publish(channel, message, "frontdesk.inbound", "an-id", frame_max)
    frames = list(split(stream))
    method, header, *bodies = [frame for _, frame in frames]
    assert {number for number, _ in frames} == {channel}
    assert isinstance(method, Basic.Publish)
    assert (method.exchange, method.routing_key) == ("frontdesk.inbound", f"{message.channel}.{message.inbox}")
    assert method.mandatory
    assert not method.immediate
    assert isinstance(header, ContentHeader)
    said = header.properties
    assert (said.content_type, said.delivery_mode, said.message_id) == ("application/json", 2, "an-id")
    assert said.message_type == message.type
    assert said.headers == {
        "receipt_id": message.receipt_id,
        "channel": message.channel,
        "inbox": message.inbox,
        "traceparent": message.traceparent,
    }
    assert header.body_size == len(message.body)
    assert b"".join(body.value for body in bodies if isinstance(body, ContentBody)) == message.body
    assert all(len(body.value) <= frame_max - 8 for body in bodies if isinstance(body, ContentBody))


@pytest.mark.parametrize("bad", [{"channel": "x" * 300}, {"type": "x" * 300}, {"receipt_id": "\ud800"}])
def test_what_has_no_place_on_the_wire_is_refused(bad: dict[str, str]) -> None:
    values = {"type": "t", "receipt_id": "r", "channel": "c", "inbox": "i"} | bad
    with pytest.raises(ValueError, match=r"longer than the 255|surrogates not allowed"):
        encode_publish(1, Outgoing(b"", **values), "e", "m", 4096)


HEADERS = st.dictionaries(NAMES, TEXTS | st.integers(-5, 5) | st.lists(st.dictionaries(NAMES, TEXTS)), max_size=5)


@given(HEADERS, TEXTS, TEXTS, st.integers(0, 1 << 40), st.booleans())
def test_a_header_is_read_as_pamqp_reads_it(
    headers: dict[str, object], kind: str, message_id: str, size: int, ours: bool
) -> None:
    properties = Basic.Properties(headers=headers, message_id=message_id, message_type=kind)  # type: ignore[arg-type]
    if ours:
        properties.content_type, properties.delivery_mode = "application/json", 2
    payload = ContentHeader(properties=properties, body_size=size).marshal()
    read = ContentHeader()
    read.unmarshal(payload)
    assert read_content(payload) == Content(
        size, read.properties.message_type or "", read.properties.message_id or "", read.properties.headers or {}
    )


@given(st.integers(1, 1 << 62), st.booleans(), TEXTS, TEXTS)
def test_methods_are_read_as_pamqp_writes_them(number: int, flag: bool, tag: str, key: str) -> None:
    for confirm in (Basic.Ack(number, flag), Basic.Nack(number, flag, requeue=not flag)):
        assert read_confirm(pamqp.frame.marshal(confirm, 1)[7:-1]) == (number, flag)
    deliver = Basic.Deliver(tag, number, redelivered=flag, exchange="frontdesk.inbound", routing_key=key)
    assert read_deliver(pamqp.frame.marshal(deliver, 1)[7:-1]) == (number, key)


# --- the tap ---------------------------------------------------------------------------------------------------------


class Listener:
    """Takes deliveries."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, bytes]] = []
        self._number = 0

    def method(self, payload: bytes) -> bool | None:
        if payload[:4] != b"\0\x3c\0\x3c":
            return None
        self._number = read_deliver(payload)[0]
        return True

    def content(self, content: Content, body: bytes) -> None:
        self.heard.append((self._number, body))


def delivery(number: int, body: bytes, channel: int) -> bytes:
    """As a broker with a frame limit of 20 bytes would send it."""
    frames = [
        pamqp.frame.marshal(Basic.Deliver("me", number, exchange="e", routing_key="k"), channel),
        pamqp.frame.marshal(ContentHeader(body_size=len(body)), channel),
        *(pamqp.frame.marshal(ContentBody(body[at : at + 12]), channel) for at in range(0, len(body), 12)),
    ]
    return b"".join(frames)


async def hear(pieces: Sequence[bytes]) -> tuple[list[tuple[int, bytes]], bytes]:
    """What the reader of channel 1 heard, and what aiormq would."""
    stream = asyncio.StreamReader()
    tap = Tap(stream, asyncio.get_running_loop())
    listener = Listener()
    tap.read(1, listener)
    for piece in pieces:
        tap.data_received(piece)
    stream.feed_eof()
    return listener.heard, await stream.read()


PARTS = st.lists(
    st.one_of(
        st.builds(lambda number, body: ("ours", number, body), st.integers(1, 9), st.binary(max_size=40)),
        st.builds(lambda number, body: ("other", number, body), st.integers(1, 9), st.binary(max_size=40)),
        st.just(("request", 0, b"")),
    ),
    max_size=8,
)


@given(PARTS, st.lists(st.integers(0, 2000), max_size=12))
def test_a_stream_cut_anywhere_is_the_same_stream(parts: list[tuple[str, int, bytes]], cuts: list[int]) -> None:
    """Deliveries of a tapped channel go to its reader, whole and in order; everything else to aiormq, untouched."""
    stream, rest = b"", b""
    for kind, number, body in parts:
        frames = (
            pamqp.frame.marshal(Basic.QosOk(), 1)
            if kind == "request"
            else delivery(number, body, 1 if kind == "ours" else 2)
        )
        stream += frames
        rest += b"" if kind == "ours" else frames
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[start:end] for start, end in pairwise(places)]
    heard, passed = asyncio.run(hear(pieces))
    assert heard == [(number, body) for kind, number, body in parts if kind == "ours"]
    assert passed.replace(HEARTBEAT, b"") == rest.replace(HEARTBEAT, b"")  # a body may look like one


async def test_a_busy_broker_is_not_taken_for_a_dead_one() -> None:
    """Whose every frame we take sends no heartbeats; aiormq gives up after three that are missing."""
    assert (await hear([delivery(1, b"x", 1)]))[1] == HEARTBEAT


async def test_what_is_not_amqp_is_left_to_the_library() -> None:
    """An old broker answers with its version, a wrong port with anything."""
    assert await hear([b"AMQP\0\0\x09\x01"]) == ([], b"AMQP\0\0\x09\x01")
    assert await hear([b"HTTP/1.1 400 ", b"Bad Request\r\n"]) == ([], b"HTTP/1.1 400 Bad Request\r\n")
