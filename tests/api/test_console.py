"""The console over HTTP: what its pages say, under which headers, and that streams end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import insert

from gateway.store import tables as t
from gateway.store.timeline import revision
from gateway.web.console import explaining, files
from gateway.web.console.live import BROADCASTER, Broadcaster
from tests.api import seed
from tests.api.conftest import TOKEN

TOKENS = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def show(client: Any) -> Any:
    """`status, text, headers` of a console page."""

    async def call(path: str) -> tuple[int, str, Any]:
        answer = await client.get(path, headers=TOKENS, allow_redirects=False)
        return answer.status, await answer.text(), answer.headers

    return call


@pytest.mark.usefixtures("ids")
async def test_lists(show: Any) -> None:
    for path, present, absent in [
        ("/console", "Parcel arrived broken", "Mallory"),
        ("/console?list=waiting", "Неверный счёт", "app crashes"),
        ("/console?channel=chat", "你好", "Parcel"),
        ("/console?list=suspended", "mallory@evil.example", "Parcel"),
        ("/console?list=dead", "10 attempts", "Parcel"),
        ("/console?list=nonsense", "Parcel arrived broken", "Mallory"),
        ("/console?q=возврат", "Неверный счёт", "Parcel"),
        ("/console?q=status:lost", "Status is one of", "Parcel"),
        ("/console?q=zzz", "Nothing found", "Parcel"),
        ("/console?channel=%3Cscript%3E", "No tickets yet", "<script>"),
    ]:
        status, text, headers = await show(path)
        assert status == 200, path
        assert present in text, path
        assert absent not in text, path
        assert "default-src 'self'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["Cache-Control"] == "private, no-store"
    assert (await show("/console?after=junk"))[0] == 400


async def test_ticket_page_says_who_what_and_why(show: Any, ids: dict[str, Any]) -> None:
    _, text, _ = await show(f"/console/tickets/{ids['mail_ticket']}")
    for words in (
        "Ann de Vries",
        "parcel arrived broken &amp; wet",
        "DKIM signature of example.org is valid",
        "It opened this ticket",
        "It answers &lt;a1@example.org&gt;, a message on this ticket (In-Reply-To).",
        "although it cites &lt;z9@else.example&gt;: ann@example.org has not taken part in it.",
        "Message-ID used before, with other content",
        "auto submitted",
        "declared utf-8, bytes are not",
        "photo.png",
        "holds what was #6",
        "Related to",
        "+31612345678",
        "Ticket #6 became part of this one",
        "Sent from my phone",
    ):
        assert words in text, words
    assert text.count("Opened by a mail to support") == 1


async def test_other_pages(show: Any, ids: dict[str, Any]) -> None:
    status, _, headers = await show(f"/console/tickets/{ids['merged_ticket']}")
    assert (status, headers["Location"]) == (303, f"/support/console/tickets/{ids['mail_ticket']}")
    _, text, _ = await show(f"/console/tickets/{ids['call_ticket']}")
    assert "Unknown caller" in text
    assert "kept by the provider" in text
    _, text, _ = await show(f"/console/suspended/{ids['suspended']}")
    assert "too many parts" in text
    assert "From: mallory@evil.example" in text
    _, text, _ = await show(f"/console/dead/{ids['dead']}")
    assert "&lt;b&gt;version&lt;/b&gt;" in text
    _, text, _ = await show(f"/console/receipts/{ids['duplicate_receipt']}")
    assert "It was delivered before" in text
    status, _, headers = await show(f"/console?q={ids['duplicate_receipt']}")
    assert headers["Location"] == f"/support/console/receipts/{ids['duplicate_receipt']}"
    for path in (
        "tickets/999",
        "suspended/999",
        "dead/999",
        "receipts/x",
        "nothing",
        "comments/999/html",
        "tickets/" + "9" * 18,
    ):
        status, text, _ = await show(f"/console/{path}")
        assert status == 404, path


async def test_what_strangers_sent_is_inert(show: Any, client: Any, ids: dict[str, Any]) -> None:
    _, text, headers = await show(f"/console/comments/{ids['mail_comment']}/html")
    assert "sandbox" in headers["Content-Security-Policy"]
    assert "allow-scripts" not in headers["Content-Security-Policy"]
    assert "allow-same-origin" not in headers["Content-Security-Policy"]
    assert 'src="data:image/png;base64,' in text  # its own picture, without asking anybody
    for danger in ("<script", "onerror", "tracker.invalid", "cid:"):
        assert danger not in text
    for path in (
        f"comments/{ids['mail_comment']}/original",
        f"suspended/{ids['suspended']}/original",
        f"dead/{ids['dead']}/body",
        "attachments/2/whatever.html",
    ):
        answer = await client.get(f"/console/{path}", headers=TOKENS)
        assert answer.status == 200, path
        assert answer.headers["Content-Disposition"].startswith("attachment;")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in answer.headers["Content-Security-Policy"]
    answer = await client.get("/console/attachments/1/preview", headers=TOKENS)
    assert answer.headers["Content-Type"] == "image/png"
    answer = await client.get("/console/attachments/2/preview", headers=TOKENS)
    assert answer.status == 404  # an SVG is a program, not a picture


async def test_originals_in_the_blob_store(show: Any, store: Any, blobs: Any, ids: dict[str, Any]) -> None:
    name = await blobs.put(b"From: a large mail\r\n\r\n")
    await store.write(
        lambda conn: conn.execute(
            t.comments.update().where(t.comments.c.id == ids["mail_comment"]).values(original=None, original_blob=name)
        )
    )
    status, text, headers = await show(f"/console/comments/{ids['mail_comment']}/original")
    assert (status, text) == (200, "From: a large mail\r\n\r\n")
    assert headers["Content-Disposition"].startswith('attachment; filename="message-')
    blobs.path(name).unlink()
    assert (await show(f"/console/comments/{ids['mail_comment']}/original"))[0] == 404


async def test_long_ticket_shows_its_newest_and_leads_back(show: Any, store: Any) -> None:
    def grow(conn: Any) -> None:
        desk = seed.Desk(conn)
        ticket = desk.ticket("form", "contact", "long", None)
        for number in range(130):
            desk.comment(ticket, f"message number {number}.", channel="form", inbox="contact")

    await store.write(grow)
    _, text, _ = await show("/console/tickets/1")
    assert "message number 129." in text
    assert "message number 29." not in text
    path = text.split('<p class="pager"><a href="/support')[1].split('"')[0].replace("&amp;", "&")
    _, text, _ = await show(path)
    assert "message number 29." in text
    assert "message number 0." in text
    assert "Earlier messages" not in text


async def test_static_files(client: Any) -> None:
    for name, kind in (("console.css", "text/css"), ("console.js", "text/javascript"), ("icon.svg", "image/svg+xml")):
        answer = await client.get(f"/console/static/{name}")
        assert (answer.status, answer.content_type) == (200, kind)
        again = await client.get(f"/console/static/{name}", headers={"If-None-Match": answer.headers["ETag"]})
        assert again.status == 304
    for name in ("__init__.py", "..%2fpages.py", "%2e%2e/pages.py"):
        assert (await client.get(f"/console/static/{name}")).status in (403, 404)


async def test_unreachable_store_is_a_page_and_a_503_and_the_log_says_why(
    runtime: Any, show: Any, get: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: Any) -> Any:
        raise ConnectionRefusedError("nobody listens")

    runtime.store = type("Away", (), {"read": staticmethod(fail)})()
    status, text, headers = await show("/console")
    assert (status, headers["Retry-After"]) == (503, "5")
    assert "The database does not answer" in text
    status, body, headers = await get("/api/v2/tickets.json")
    assert (status, body["error"], headers["Retry-After"]) == (503, "ServiceUnavailable", "5")
    assert [record.getMessage() for record in caplog.records] == [
        f"{door}: the database does not answer: ConnectionRefusedError: nobody listens" for door in ("console", "API")
    ]


async def test_stream_tells_of_news_and_ends_at_shutdown(client: Any, store: Any, ids: dict[str, Any]) -> None:
    client.app[BROADCASTER]._interval = 0.01
    stream = await client.get("/console/events", headers=TOKENS)
    assert stream.headers["Content-Type"] == "text/event-stream"
    first = await _next_event(stream)
    assert first == await store.read(revision)
    await store.write(
        lambda conn: conn.execute(
            insert(t.events).values(id=900, ticket_id=ids["mail_ticket"], kind="updated", detail={}, at=seed.START)
        )
    )
    assert await _next_event(stream) != first
    await client.app[BROADCASTER].close()
    async with asyncio.timeout(5):
        await stream.content.read()  # to its end
    assert not client.app[BROADCASTER].polling


async def _next_event(stream: Any) -> str:
    async with asyncio.timeout(10):
        while True:
            line = (await stream.content.readline()).decode().strip()
            if line.startswith("data:"):
                return line.removeprefix("data:").strip()


async def test_broadcaster_is_idle_when_nobody_listens() -> None:
    looks = 0

    async def look() -> str:
        nonlocal looks
        looks += 1
        if looks == 2:
            raise OSError("the database went away")
        return str(looks // 3)

    news = Broadcaster(interval=0)
    async with news.listen(look) as one, news.listen(look) as two:
        assert await one.get() == "0"
        assert await two.get() == "0"
        while (seen := await one.get()) != "3":
            assert seen is not None
        assert news.polling
        assert int(await two.get() or 0) >= 1
    assert not news.polling
    seen = looks
    await asyncio.sleep(0)
    assert looks == seen
    await news.close()
    async with news.listen(look) as late:
        assert await late.get() is None


@pytest.mark.parametrize(
    ("rule", "evidence", "expected"),
    [
        ("none", "", "It opened this ticket: nothing in it points to an earlier conversation."),
        ("in_reply_to", "a@b.example", "It answers <a@b.example>, a message on this ticket (In-Reply-To)."),
        ("references", "", "It cites an earlier message on this ticket (References)."),
        ("references", "list:a@b.example", "It cites <a@b.example>, a message on this ticket (References)."),
        ("references", "digest:ab", "It cites a very long id, a message on this ticket (References)."),
        ("conversation", "chat:website:s1", "It is part of the same conversation at the provider: chat:website:s1."),
        ("repeat", "said:x", "The same person said the same words on this ticket shortly before or after."),
        ("moon_phase", "full", "The rule “moon phase” put it here: full."),
        ("{evidence}", "{0.__class__}", "The rule “{evidence}” put it here: {0.__class__}."),
    ],
)
def test_why(rule: str, evidence: str, expected: str) -> None:
    assert explaining.why(rule, {"rule": rule, "evidence": evidence}) == expected


def test_refused_reads_what_it_can() -> None:
    explanation = {
        "rejected": [
            {"ticket_id": 7, "rule": "in_reply_to", "evidence": "x@y", "reason": "the sender's address failed"},
            {"ticket_id": None, "rule": "odd", "evidence": "k"},
            "junk",
        ]
    }
    assert explaining.refused(explanation) == [
        {"ticket_id": 7, "sentence": "although it answers <x@y>: the sender's address failed."},
        {"ticket_id": None, "sentence": "although k points there: the rules refuse it."},
    ]
    assert explaining.refused({}) == []


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (seed.PNG, "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"RIFF\0\0\0\0WAVEfmt ", "audio/wav"),
        (b"RIFF\0\0\0\0AVI ", ""),
        (b"ID3\x04", "audio/mpeg"),
        (b"<svg onload=x>", ""),
        (b"<html>", ""),
        (b"%PDF-1.7", ""),
        (b"", ""),
    ],
)
def test_media_type_by_first_bytes(content: bytes, kind: str) -> None:
    assert files.media_type(content) == kind
