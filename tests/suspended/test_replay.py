"""What could not be read is read again with today's code, under the receipt it has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

import pytest
from multidict import CIMultiDict, CIMultiDictProxy, MultiDict, MultiDictProxy

from adapters.base import InboundRequest, Raw
from adapters.chat import Chat
from adapters.email import Email
from gateway.arrivals import put_by, take_up
from gateway.ids import uuid7
from gateway.replay import replay, sibling
from gateway.store import tables as t
from gateway.store.suspended import Choice, choose
from tests.suspended.conftest import Desk, mail


async def again(desk: Desk, *ids: int, dry_run: bool = False) -> list[Any]:
    return [one async for one in replay(desk.runtime, ids, actor="tess", dry_run=dry_run)]


async def test_a_mended_reader_makes_a_ticket_of_what_it_could_not_read(
    desk: Desk, broken_reader: Callable[[], None]
) -> None:
    [receipt] = await desk.take(mail("m1"), mail_from="anna@customer.example", rcpt_tos=["support@localhost"])
    assert await desk.outcomes() == {receipt: ("suspended", None)}
    broken_reader()
    [told] = await again(desk, 1, dry_run=True)
    assert (told.cause, told.drafts[0].subject) == ("", "My parcel")
    await desk.work()
    assert await desk.outcomes() == {receipt: ("suspended", None)}, "a dry run changes nothing"

    await again(desk, 1)
    await desk.work()

    assert await desk.outcomes() == {receipt: ("ticketed", 1)}
    [comment] = await desk.rows(t.comments)
    assert (comment.text, comment.author_value) == ("Where is my parcel?", "anna@customer.example")
    assert [item["role"] for item in comment.recipients] == ["envelope", "to"], "the envelope was kept"
    [held] = await desk.rows(t.suspended)
    assert (held.decision, held.decided_by) == ("recovered", "tess")
    assert held.cause.startswith("could not be read: ValueError"), "history says why it was held"
    [event] = await desk.events("replayed")
    assert (event.ticket_id, event.detail["actor"], event.detail["outcome"]) == (1, "tess", "ticketed")
    assert await desk.balanced()


async def test_what_still_cannot_be_read_stays_with_its_new_cause(
    desk: Desk, broken_reader: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    [receipt] = await desk.take(mail("m1"))

    def worse(self: Email, raw: Raw) -> Any:
        raise KeyError("another bug")

    monkeypatch.setattr(Email, "normalize", worse)
    await again(desk, 1)
    await desk.work()
    [held] = await desk.rows(t.suspended)
    assert (held.decision, held.replayed_by) == (None, "tess")
    assert "another bug" in held.cause
    [row] = await desk.rows(t.receipts, "receipt_id", "outcome", "reason")
    assert (str(row.receipt_id), row.outcome, row.reason) == (receipt, "suspended", held.cause)
    [event] = await desk.events("replayed")
    assert (event.ticket_id, event.detail["outcome"]) == (None, "suspended")

    broken_reader()
    await again(desk, 1)
    await desk.work()
    assert await desk.outcomes() == {receipt: ("ticketed", 1)}
    assert await desk.balanced()


async def test_replaying_and_redelivering_twice_changes_nothing_more(
    desk: Desk, broken_reader: Callable[[], None]
) -> None:
    [receipt] = await desk.take(mail("m1"))
    broken_reader()
    await again(desk, 1)
    await again(desk, 1)
    await asyncio.gather(desk.work(), desk.work())
    assert await desk.outcomes() == {receipt: ("ticketed", 1)}
    assert len(await desk.rows(t.comments)) == 1
    assert len(await desk.events("replayed")) == 1
    assert await again(desk, 1) == [], "it does not wait any more"


async def test_the_sender_tried_again_meanwhile(desk: Desk, broken_reader: Callable[[], None]) -> None:
    """Retried while the reader was broken: the same bytes are a duplicate. Sent again after: the held one is."""
    first, retry = await desk.take(mail("m1"), mail("m1"))
    assert (await desk.outcomes())[retry] == ("duplicate", None)
    broken_reader()
    [later] = await desk.take(mail("m1"))
    assert (await desk.outcomes())[later] == ("ticketed", 1)
    await again(desk, 1)
    await desk.work()
    outcomes = await desk.outcomes()
    assert (outcomes[first], outcomes[later]) == (("duplicate", 1), ("ticketed", 1))
    assert len(await desk.rows(t.comments)) == 1
    [after] = await desk.take(mail("m1"))
    assert (await desk.outcomes())[after] == ("duplicate", 1)
    assert await desk.balanced()


async def test_an_answer_that_came_meanwhile_is_on_the_same_ticket(
    desk: Desk, broken_reader: Callable[[], None]
) -> None:
    [parent] = await desk.take(mail("m1"))
    broken_reader()
    [answer] = await desk.take(mail("m2", "It came!", In_Reply_To="<m1@customer.example>"))
    await again(desk, 1)
    await desk.work()
    assert {ticket for _, ticket in (await desk.outcomes()).values()} == {1}
    assert (await desk.outcomes())[parent] == ("appended", 1)
    assert answer


async def test_an_older_version_of_a_replay_loses_to_a_newer(desk: Desk, broken_reader: Callable[[], None]) -> None:
    """Two replays in the queue in the wrong order: the later reading stands."""
    await desk.take(mail("m1"))
    queue, waiting = desk.runtime.queue, []
    publish = queue.publish

    async def hold_back(messages: Any) -> None:
        waiting.append(list(messages))

    queue.publish = hold_back  # type: ignore[method-assign]
    await again(desk, 1)
    await again(desk, 1)
    queue.publish = publish  # type: ignore[method-assign]
    for messages in reversed(waiting):
        await publish(messages)
        await desk.work()
    assert len(await desk.events("replayed")) == 1


async def test_several_facts_of_one_arrival_get_receipts_of_their_own(
    desk: Desk, broken_reader: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    [receipt] = await desk.take(mail("m1"))
    broken_reader()
    one = Email.normalize

    def three(self: Email, raw: Raw) -> Any:
        return [draft for ident in (b"m1", b"m2", b"m3") for draft in one(self, Raw(raw.body.replace(b"m1", ident)))]

    monkeypatch.setattr(Email, "normalize", three)
    await again(desk, 1)
    await desk.work()
    expected = {receipt, *(str(sibling(UUID(receipt), number)) for number in (1, 2))}
    assert set(await desk.outcomes()) == expected
    assert len(await desk.rows(t.comments)) == 3
    assert await desk.balanced()


def test_siblings_are_receipt_ids_of_the_same_moment() -> None:
    first = uuid7()
    others = {sibling(first, number) for number in range(1, 100)}
    assert len(others) == 99
    assert first not in others
    assert {(one.version, one.variant, one.bytes[:6]) for one in others} == {(7, first.variant, first.bytes[:6])}


async def test_what_another_reason_holds_stays_held(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider found a virus; a mailbox gave only the header: neither reason is in the bytes."""
    await desk.take(mail("m1"), source="imap", mailbox="INBOX;UIDVALIDITY=1;UID=7", held="too large: 99 octets")
    normal = Email.normalize

    def infected(self: Email, raw: Raw) -> Any:
        changes = {"suspend": "a virus", "arrival": {"facts": {}, "cause": "a virus"}}
        return [draft.model_copy(update=changes) for draft in normal(self, raw)]

    monkeypatch.setattr(Email, "normalize", infected)
    await desk.take(mail("m2", "Another matter altogether."))
    monkeypatch.setattr(Email, "normalize", normal)
    for _ in range(2):
        told = await again(desk, 1, 2)
        assert [one.cause for one in told] == ["too large: 99 octets", "a virus"]
        await desk.work()
    assert {outcome for outcome, _ in (await desk.outcomes()).values()} == {"suspended"}


async def test_filters_choose_what_is_read_again(desk: Desk, broken_reader: Callable[[], None]) -> None:
    await desk.take(mail("m1"))
    broken_reader()
    await desk.take(b"\n\nno header\n")
    read = desk.runtime.store.read

    async def ids(**choice: Any) -> list[int]:
        return [row["id"] for row in await read(choose, Choice(**choice), 10)]

    assert await ids() == [1, 2]
    assert await ids(cause="BUG OF") == [1]
    assert await ids(cause="100%_") == []
    assert await ids(inbox="contact") == []
    assert await ids(channel="email", inbox="support") == [1, 2]
    now = datetime.now(UTC)
    assert await ids(until=now) == [1, 2]
    assert await ids(since=now) == []


async def test_an_inbox_that_is_gone_and_bytes_that_are_gone_are_said(
    desk: Desk, broken_reader: Callable[[], None]
) -> None:
    await desk.take(mail("m1"), b"X" * 100_000)
    broken_reader()
    for path in (desk.runtime.settings.blob_path).rglob("*"):
        if path.is_file():
            path.unlink()
    assert [one.error for one in await again(desk, 2)] == ["its original bytes are not kept here"]
    del desk.runtime.inboxes["support"]
    assert "no email inbox support" in (await again(desk, 1))[0].error
    await desk.work()
    assert [row.decision for row in await desk.rows(t.suspended)] == [None, None]


FORM = b"name=Anna&email=anna%40customer.example&message=Where+is+my+parcel%3F"


def request(tail: str, body: bytes, kind: str, method: str = "POST", query: str = "") -> InboundRequest:
    url = f"https://desk.example/hooks/x/{tail}{query}"
    headers = CIMultiDict({"Content-Type": kind, "Authorization": "Basic c2VjcmV0", "User-Agent": "Tester/1"})
    pairs: MultiDict[str] = MultiDict(parse_qsl(query.removeprefix("?")))
    return InboundRequest(method, tail, url, MultiDictProxy(pairs), CIMultiDictProxy(headers), body, "192.0.2.7")


FORM_TYPE = "application/x-www-form-urlencoded"
CALL = (
    b"CallSid=CA00000000000000000000000000000001&AccountSid=AC00000000000000000000000000000001"
    b"&From=%2B15551230000&CallStatus=ringing&To=%2B15550000000"
)
POSTMARK = (
    b'{"From":"anna@customer.example","Subject":"My parcel","TextBody":"Where is it?","MessageID":"p1","Headers":[]}'
)
POSTED_FORM = Raw(FORM, FORM_TYPE, {"received_at": 1.0, "submission_id": "s1"})
POSTED_CALL = Raw(CALL, FORM_TYPE, request=request("voice", CALL, FORM_TYPE))
ASKED_CALL = Raw(b"", "", request=request("voice", b"", "", "GET", f"?{CALL.decode()}"))
POSTED_MAIL = Raw(POSTMARK, "application/json", request=request("postmark", POSTMARK, "application/json"))


@pytest.mark.parametrize(
    ("inbox", "raw", "outcome"),
    [
        pytest.param("contact", POSTED_FORM, "ticketed", id="form"),
        pytest.param("phone", POSTED_CALL, "updated", id="phone"),
        pytest.param("phone", ASKED_CALL, "updated", id="phone by GET"),
        pytest.param("support", POSTED_MAIL, "ticketed", id="postmark"),
    ],
)
async def test_every_channel_is_read_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, inbox: str, raw: Raw, outcome: str
) -> None:
    """The payload, its content type and the path it came to are kept; credentials are not."""
    adapter = desk.runtime.inboxes[inbox].adapter
    kind = type(adapter)
    good = kind.normalize
    monkeypatch.setattr(kind, "authenticate", lambda self, raw: None)
    monkeypatch.setattr(kind, "normalize", lambda self, raw: 1 // 0)
    [receipt] = await desk.runtime.intake.accept(desk.runtime.inboxes[inbox], raw)
    await desk.work()
    [held] = await desk.rows(t.suspended)
    assert held.cause.startswith("could not be read")
    assert "c2VjcmV0" not in str(held.message)
    monkeypatch.setattr(kind, "normalize", good)
    [told] = await again(desk, 1)
    assert (told.error, told.cause) == ("", "")
    await desk.work()
    assert (await desk.outcomes())[str(receipt.receipt_id)][0] == outcome


async def test_a_chat_is_read_again_without_its_token(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox = desk.runtime.inboxes["website"]
    chat: Any = inbox.adapter
    now = datetime.now(UTC).timestamp()
    token = chat.sign(chat.open_session(b"{}", now))
    good = Chat.normalize
    monkeypatch.setattr(Chat, "normalize", lambda self, raw: 1 // 0)
    body = b'{"client_msg_id":"0123456789abcdef","text":"Hello?"}'
    await desk.runtime.intake.accept(inbox, Raw(body, "application/json", {"token": token, "received_at": now}))
    await desk.work()
    [held] = await desk.rows(t.suspended)
    assert token not in str(held.message)
    monkeypatch.setattr(Chat, "normalize", good)
    await again(desk, 1)
    await desk.work()
    [comment] = await desk.rows(t.comments)
    assert comment.text == "Hello?"


def test_an_arrival_put_by_is_the_same_arrival() -> None:
    asked = request("voice/status", b"x=1", "text/plain", "GET", "?a=1&b=%C3%BC&a=2")
    raw = take_up(put_by({"mail_from": ""}, asked), b"x=1", "text/plain")
    assert raw.request is not None
    assert (raw.request.tail, raw.request.method, raw.request.remote) == ("voice/status", "GET", "192.0.2.7")
    assert raw.request.query.getall("a") == ["1", "2"]
    assert raw.request.query["b"] == "ü"
    assert "Authorization" not in raw.request.headers
    assert raw.facts == {"mail_from": ""}
