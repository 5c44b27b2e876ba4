"""The wire form: what goes out comes in again, and hostile values are made harmless at the door."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.ids import uuid7
from normalizer.message import (
    MESSAGE_TYPE,
    Author,
    Message,
    MessageDraft,
    Original,
    Update,
    UpdateDraft,
    clean_json,
    clean_text,
    parse_wire,
    stamp,
    wire_type,
)

ENVELOPE: dict[str, Any] = {
    "receipt_id": UUID("01a2007e-8566-7000-a903-b12a810a2731"),
    "gateway": "life-1",
    "sequence": 7,
    "channel": "email",
    "inbox": "support",
    "join": "participants",
    "received_at": datetime(2026, 8, 1, 10, tzinfo=UTC),
}
DRAFT = MessageDraft(author=Author(kind="email", value="ann@example.test"), text="hello", delivery_key="k")


def test_a_message_survives_the_wire() -> None:
    original = Original(size=3, sha256="0" * 64, content=b"\x00\xfe\xff")
    message = stamp(DRAFT.model_copy(update={"original": original}), **ENVELOPE)
    again = parse_wire(wire_type(message), message.model_dump_json().encode())
    assert again == message


def test_an_update_survives_the_wire() -> None:
    update = stamp(UpdateDraft(kind="call", about="call:1", facts={"n": [1, None, "x"]}, delivery_key="k"), **ENVELOPE)
    assert parse_wire(wire_type(update), update.model_dump_json().encode()) == update
    assert isinstance(update, Update)


def test_a_newer_gateway_may_add_fields() -> None:
    body = json.loads(stamp(DRAFT, **ENVELOPE).model_dump_json()) | {"added_in_version_2": True}
    assert isinstance(parse_wire(MESSAGE_TYPE, json.dumps(body).encode()), Message)


@pytest.mark.parametrize(
    ("kind", "body"),
    [("frontdesk.message.v9", b"{}"), (MESSAGE_TYPE, b"{}"), (MESSAGE_TYPE, b"\xff"), (MESSAGE_TYPE, b"[" * 100_000)],
)
def test_what_is_no_message_is_a_value_error(kind: str, body: bytes) -> None:
    with pytest.raises(ValueError):
        parse_wire(kind, body)


CLEANED = [
    ("a\x00b", "ab"),
    ("\ud83d\ude00", "😀"),  # a surrogate pair that a careless decoder left apart
    ("x\ud800y", "x\ufffdy"),
    ("naïve 𝕏", "naïve 𝕏"),
]


@pytest.mark.parametrize(("given", "expected"), CLEANED)
def test_no_text_is_poison(given: str, expected: str) -> None:
    assert clean_text(given) == expected
    assert MessageDraft(author=DRAFT.author, text=given, delivery_key="k").text == expected


@given(
    st.recursive(
        st.none() | st.floats() | st.text() | st.integers(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
def test_cleaned_json_is_json_for_every_reader(value: Any) -> None:
    text = json.dumps(clean_json(value), allow_nan=False)
    assert "\\u0000" not in text
    text.encode()


EDGES = [
    datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5))),
    datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-5))),
    datetime(2026, 8, 1, tzinfo=timezone(timedelta(hours=2))),
]


@pytest.mark.parametrize("claimed", EDGES)
def test_moments_are_utc_at_the_edges_of_the_calendar_too(claimed: datetime) -> None:
    draft = MessageDraft(author=DRAFT.author, sent_at=claimed, delivery_key="k")
    assert draft.sent_at is not None
    assert draft.sent_at.tzinfo is UTC


def test_a_naive_moment_is_refused() -> None:
    with pytest.raises(ValidationError):
        MessageDraft(author=DRAFT.author, sent_at=datetime(2026, 8, 1), delivery_key="k")  # noqa: DTZ001


def test_an_address_past_every_limit_is_nobodys() -> None:
    assert Author(kind="email", value="a" * 400 + "@x.test").identity is None
    assert Author(kind="phone", value=None).identity is None
    assert Author(kind="phone", value="+31201234567").identity == "phone:+31201234567"


def test_receipt_ids_sort_by_time_and_are_version_7() -> None:
    ids = [uuid7() for _ in range(5000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
    assert {(item.version, item.variant) for item in ids} == {(7, "specified in RFC 4122")}
