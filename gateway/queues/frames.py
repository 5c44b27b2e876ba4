"""The frames of AMQP 0-9-1 that every message costs, to bytes and back; everything rarer is left to pamqp.

Sections are those of the specification (rabbitmq.com/resources/specs/amqp0-9-1.pdf). A general encoder spends 19 us on
a publish and 20 us on a delivery, most of it on asking which type each value has; here the types are known.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from struct import Struct
from typing import Any, Final, NamedTuple

from pamqp.header import ContentHeader

from gateway.queues.base import Outgoing

METHOD, HEADER, BODY = 1, 2, 3  # frame types, 4.2.3
HEARTBEAT: Final = b"\x08\0\0\0\0\0\0\xce"
HEAD: Final = Struct(">BHI")  # frame type, channel, size of the payload
OVERHEAD: Final = HEAD.size + 1  # bytes of a frame beside its payload
_END: Final = b"\xce"

# Class Basic (60) and its methods, as the first four bytes of a payload.
PUBLISH: Final = b"\0\x3c\0\x28"
RETURN: Final = b"\0\x3c\0\x32"
DELIVER: Final = b"\0\x3c\0\x3c"
ACK: Final = b"\0\x3c\0\x50"
NACK: Final = b"\0\x3c\0\x78"

# Which properties follow in a content header, in this order (4.2.6.1).
_CONTENT_TYPE, _HEADERS, _DELIVERY_MODE, _MESSAGE_ID, _TYPE = 1 << 15, 1 << 13, 1 << 12, 1 << 7, 1 << 5
_OURS: Final = _CONTENT_TYPE | _HEADERS | _DELIVERY_MODE | _MESSAGE_ID | _TYPE
_PERSISTENT: Final = b"\2"  # delivery_mode; the default is transient

_CONTENT: Final = Struct(">HHQH")  # class, weight, size of the body, flags
_SHORT, _LONG, _TAG = Struct(">H"), Struct(">I"), Struct(">Q")


class Content(NamedTuple):
    """What a content header says: bytes that follow in body frames, and the properties that we read."""

    size: int
    type: str = ""
    message_id: str = ""
    headers: Mapping[str, Any] = {}


def encode_publish(channel: int, message: Outgoing, exchange: str, message_id: str, frame_max: int) -> bytes:
    """Basic.Publish with its header and body frames: mandatory, persistent, JSON.

    Raises ValueError for what has no place on the wire: a name of more than 255 bytes, a lone surrogate.
    """
    method, constant, kind = _constants(channel, message.channel, message.inbox, message.type, exchange)
    receipt, trace = message.receipt_id.encode(), message.traceparent.encode()
    table = b"".join(
        (
            b"\x0areceipt_idS",
            _LONG.pack(len(receipt)),
            receipt,
            constant,
            b"\x0btraceparentS",
            _LONG.pack(len(trace)),
            trace,
        )
    )
    body = message.body
    header = b"".join(
        (
            _CONTENT.pack(60, 0, len(body), _OURS),
            b"\x10application/json",
            _LONG.pack(len(table)),
            table,
            _PERSISTENT,
            _short(message_id),
            kind,
        )
    )
    parts = [method, HEAD.pack(HEADER, channel, len(header)), header, _END]
    most = frame_max - OVERHEAD
    for start in range(0, len(body), most):
        part = body if len(body) <= most else body[start : start + most]
        parts += (HEAD.pack(BODY, channel, len(part)), part, _END)
    return b"".join(parts)


@lru_cache(maxsize=512)
def _constants(channel: int, name: str, inbox: str, kind: str, exchange: str) -> tuple[bytes, bytes, bytes]:
    """What all messages of an inbox share: the method frame, two entries of the headers table, the type."""
    method = b"".join((PUBLISH, b"\0\0", _short(exchange), _short(f"{name}.{inbox}"), b"\1"))
    entries = b"".join((b"\x07channelS", _long(name), b"\x05inboxS", _long(inbox)))
    return HEAD.pack(METHOD, channel, len(method)) + method + _END, entries, _short(kind)


def _short(text: str) -> bytes:
    data = text.encode()
    if len(data) > 255:
        raise ValueError(f"{text[:40]!r}... is longer than the 255 bytes AMQP has for a name")
    return bytes((len(data),)) + data


def _long(text: str) -> bytes:
    data = text.encode()
    return _LONG.pack(len(data)) + data


def read_confirm(payload: bytes) -> tuple[int, bool]:
    """Basic.Ack or Basic.Nack: delivery tag, and whether it speaks for all before it as well."""
    return _TAG.unpack_from(payload, 4)[0], bool(payload[12] & 1)


def read_deliver(payload: bytes) -> tuple[int, str]:
    """Basic.Deliver: delivery tag and routing key. The exchange and our own consumer tag we know."""
    place = 5 + payload[4]
    number = _TAG.unpack_from(payload, place)[0]
    place += 9  # and the bit that says whether it was delivered before
    place += 1 + payload[place]
    return number, payload[place + 1 : place + 1 + payload[place]].decode("utf-8", "replace")


def read_content(payload: bytes) -> Content:
    """A content header. Raises ValueError when it is not one."""
    _, _, size, flags = _CONTENT.unpack_from(payload)
    if flags == _OURS:
        try:
            return Content(size, *_read_ours(payload))
        except (ValueError, IndexError):
            pass  # ours, but with a headers table that the broker has added to: numbers, lists, tables
    header = ContentHeader()
    header.unmarshal(payload)
    properties = header.properties
    return Content(size, properties.message_type or "", properties.message_id or "", properties.headers or {})


def _read_ours(payload: bytes) -> tuple[str, str, dict[str, str]]:
    place = _CONTENT.size
    place += 1 + payload[place]
    end = place + 4 + _LONG.unpack_from(payload, place)[0]
    place += 4
    headers: dict[str, str] = {}
    while place < end:
        name_end = place + 1 + payload[place]
        if payload[name_end] != 83:  # S, a long string
            raise ValueError("not a text")
        value = name_end + 5
        value_end = value + _LONG.unpack_from(payload, name_end + 1)[0]
        headers[payload[place + 1 : name_end].decode()] = payload[value:value_end].decode()
        place = value_end
    place = end + 2  # past the delivery mode, at the text of the message id
    kind = place + payload[place - 1] + 1
    return payload[kind : kind + payload[kind - 1]].decode(), payload[place : kind - 1].decode(), headers
