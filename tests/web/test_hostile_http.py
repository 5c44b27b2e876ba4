"""Hostile HTTP: each row is bytes on a socket, the answer is a 4xx with a sentence, nothing enters, and the desk lives.

The ids name rows of the attack table (A72 to A100). A 500 would be the worst answer: providers retry it for days.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import logging
import socket
from collections.abc import Awaitable, Callable

import pytest

from gateway.web import limits, server
from tests.web.desk import Desk
from tests.web.wire import Heard, request, say

Serve = Callable[..., Awaitable[Desk]]
GOOD = b'{"email": "a@example.com", "message": "hello"}'
URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=b"


def form(body: bytes, *headers: str, content_type: str = "application/json", method: str = "POST") -> bytes:
    return request("/form/contact", body, *headers, content_type=content_type, method=method)


def part(disposition: str, content: bytes = b"x", extra: str = "") -> bytes:
    return f"--b\r\nContent-Disposition: {disposition}\r\n{extra}\r\n".encode() + content + b"\r\n"


HOSTILE = {
    # A72: two readers must never disagree about where a request ends.
    "A72 CL.TE": (request("/form/contact", b"0\r\n\r\n", "Content-Length: 5", "Transfer-Encoding: chunked"), {400}),
    "A72 two lengths": (request("/form/contact", GOOD, "Content-Length: 3", f"Content-Length: {len(GOOD)}"), {400}),
    "A72 length +3": (request("/form/contact", GOOD, "Content-Length: +3"), {400}),
    "A72 length 0x3": (request("/form/contact", GOOD, "Content-Length: 0x3"), {400}),
    "A72 xchunked": (request("/form/contact", b"0\r\n\r\n", "Transfer-Encoding: xchunked"), {400}),
    "A72 bad chunk size": (request("/form/contact", b"zz\r\nhello\r\n0\r\n\r\n", "Transfer-Encoding: chunked"), {400}),
    "A73 chunk extension": (
        request("/form/contact", b"5;" + b"e" * 60_000 + b"\r\nhello\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
        {400, 413, 422},
    ),
    # A74: compressed bodies are refused before a byte is inflated.
    "A74 gzip bomb": (form(gzip.compress(b"0" * 50_000_000), "Content-Encoding: gzip"), {415}),
    "A74 corrupt gzip": (form(b"\x1f\x8bnonsense", "Content-Encoding: gzip"), {415}),
    "A74 deflate": (form(b"nonsense", "Content-Encoding: deflate"), {415}),
    "A74 unknown encoding": (form(b"nonsense", "Content-Encoding: br, zz"), {415}),
    # A75: every way a body can be malformed.
    "A75 deep JSON": (form(b"[" * 200_000), {400}),
    "A75 deep but closed JSON": (form(b'{"a":' + b"[" * 500 + b"]" * 500 + b"}"), {400}),
    "A75 5000 digits": (form(b'{"email": "a@example.com", "message": "x", "n": ' + b"9" * 5000 + b"}"), {400}),
    "A75 bad UTF-8 in JSON": (form(b'{"message": "\xff\xfe"}'), {400}),
    "A75 bad UTF-8 in a form": (form(b"message=%ff%fe", content_type=URLENCODED), {400}),
    "A75 charset=zlib": (form(b"message=x", content_type=f"{URLENCODED}; charset=zlib"), {415}),
    "A75 charset=idna": (form(b"message=x", content_type=f"{URLENCODED}; charset=idna"), {415}),
    "A75 _charset_=unicode_escape": (form(b"_charset_=unicode_escape&message=x", content_type=URLENCODED), {415}),
    "A75 JSON in UTF-16": (form("{}".encode("utf-16"), content_type="application/json; charset=utf-16"), {415}),
    "A75 no boundary": (form(b"--b--\r\n", content_type="multipart/form-data"), {400}),
    "A75 multipart cut short": (form(part('form-data; name="email"'), content_type=MULTIPART), {400}),
    "A75 multipart without parts": (form(b"nothing", content_type=MULTIPART), {400}),
    "A75 part that is no form-data": (form(part("attachment") + b"--b--\r\n", content_type=MULTIPART), {400}),
    "A75 part without disposition": (form(b"--b\r\nX: y\r\n\r\nz\r\n--b--\r\n", content_type=MULTIPART), {400}),
    "A75 part header in latin-1": (
        form(b'--b\r\nContent-Disposition: form-data; name="\xe9"\r\n\r\nz\r\n--b--\r\n', content_type=MULTIPART),
        {400},
    ),
    "A75 not JSON": (form(b"{"), {400}),
    "A75 empty JSON": (form(b""), {400}),
    "A75 a JSON list": (form(b"[]"), {400}),
    # A76: what JSON readers take and databases do not.
    "A76 NaN": (form(b'{"email": "a@example.com", "message": "x", "n": NaN}'), {400}),
    "A76 1e999": (form(b'{"email": "a@example.com", "message": "x", "n": 1e999}'), {400}),
    # A77: types and repetitions.
    "A77 name twice": (form(b'{"email": "a@example.com", "email": "b@example.com", "message": "x"}'), {400}),
    "A77 wrong types": (form(b'{"email": ["a@example.com"], "message": {"a": 1}}'), {422}),
    "A77 files that are none": (form(b'{"email": "a@example.com", "message": "x", "attachments": 7}'), {422}),
    # A78: too many, too much.
    "A78 20k fields": (form(b"&".join(b"f%d=1" % n for n in range(20_000)), content_type=URLENCODED), {413}),
    "A78 20k parts": (
        form(b"".join(part(f'form-data; name="f{n}"') for n in range(2000)) + b"--b--\r\n", content_type=MULTIPART),
        {413},
    ),
    "A78 one huge field": (form(b"message=" + b"x" * 300_000, content_type=URLENCODED), {413}),
    "A78 huge part header": (form(part(f'form-data; name="{"n" * 9000}"'), content_type=MULTIPART), {413}),
    "A78 length over the limit": (request("/form/contact", b"", "Content-Length: 99999999999"), {413}),
    # A89: what a stranger's page can send without asking first.
    "A89 JSON as text/plain": (form(GOOD, content_type="text/plain"), {415}),
    "A89 JSON in a parameter": (form(GOOD, content_type="text/plain; x=application/json"), {415}),
    "A89 no content type": (form(GOOD, content_type=""), {415}),
    "A89 a foreign page": (form(GOOD, "Origin: https://evil.example"), {403}),
    "A89 origin null": (form(GOOD, "Origin: null"), {403}),
    # A93: whose server are we?
    "A93 absolute URI": (request("http://evil.example/form/contact", GOOD), {400}),
    "A93 absolute hook": (request("http://evil.example/hooks/provider", b"x", "X-Password: open sesame"), {400}),
    # A95, A96
    "A95 method override": (form(GOOD, "X-HTTP-Method-Override: DELETE", method="PUT"), {405}),
    "A96 traversal": (request("/assets/..%2f..%2fapp.py", method="GET"), {404}),
    "A96 dotted traversal": (request("/assets/../../../etc/passwd", method="GET"), {404}),
    "A96 null byte": (request("/assets/page.css%00.js", method="GET"), {404}),
    "A96 inbox with slashes": (request("/form/..%2fcontact", GOOD), {404}),
    # A97, A98
    "A97 CRLF in the address": (form(b"email=a@b.example%0d%0aBcc:c@d.ex&message=x", content_type=URLENCODED), {422}),
    "A98 6 kB key": (form(GOOD, f"Idempotency-Key: {'k' * 6000}"), {400}),
    "A98 key in another script": (form(GOOD, "Idempotency-Key: ключ"), {400}),
    # A99
    "A99 9 kB header": (form(GOOD, f"X-Long: {'x' * 9000}"), {400, 431}),
    "A99 many headers": (form(GOOD, *(f"X-{n}: y" for n in range(2000))), {400, 431}),
    "A99 folded header": (form(GOOD, "X-Folded: a\r\n b"), {400}),
    "A99 header without a name": (form(GOOD, ": value"), {400}),
    "A99 method with a space": (b"PO ST /form/contact HTTP/1.1\r\nHost: a\r\n\r\n", {400}),
    "A99 unknown method": (b"BREW /form/contact HTTP/1.1\r\nHost: a\r\n\r\n", {400, 405}),
    "A99 unknown version": (b"GET / HTTP/9.9\r\nHost: a\r\n\r\n", {400, 505}),
    "A99 TLS hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 32 + b"\r\n\r\n", {0, 400}),
    "A99 long path": (request("/" + "a" * 9000, method="GET"), {400, 414}),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_bytes_get_a_truthful_answer_and_store_nothing(
    name: str, desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    data, expected = HOSTILE[name]
    heard = await say(desk.port, data)
    assert heard.status in expected, heard.text[:500]
    assert "Traceback" not in heard.text
    assert desk.intake.drafts == []
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
    alive = await say(desk.port, form(GOOD))
    assert alive.status == 201


async def test_a_sentence_in_the_format_asked_for(desk: Desk) -> None:
    for_program = await say(desk.port, form(b"{"))
    assert "application/json" in for_program.text
    assert json.loads(for_program.text.partition("\r\n\r\n")[2])["error"].startswith("The body is not valid JSON")
    for_person = await say(desk.port, form(b"message=%ff", "Accept: text/html", content_type=URLENCODED))
    assert "text/html" in for_person.text
    assert "is not valid utf-8" in for_person.text


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"email": "a@example.com", "message": "nul \\u0000 and \\ud800 half"}', "nul  and \ufffd half"),
        (b'\xef\xbb\xbf{"email": "a@example.com", "message": "mark"}', "mark"),
        (b'{"email": "a@example.com", "message": "x", "author": "admin", "suspend": "", "verified": true}', "x"),
    ],
)
async def test_what_a_database_would_choke_on_is_made_harmless(desk: Desk, body: bytes, text: str) -> None:
    heard = await say(desk.port, form(body))
    assert heard.status == 201
    (draft,) = desk.intake.drafts
    assert draft.text == text
    assert draft.author.trust == "unverified"
    draft.model_dump_json().encode()


async def test_a_traversal_in_a_file_name_is_a_name(desk: Desk) -> None:
    name = "../../etc/cron.d/p\u202ewn"
    body = part('form-data; name="email"', b"a@example.com") + part('form-data; name="message"', b"x")
    body += part(f'form-data; name="attachments"; filename="{name}"', b"data", "Content-Type: text/plain\r\n")
    heard = await say(desk.port, form(body + b"--b--\r\n", content_type=MULTIPART))
    assert heard.status == 303
    assert desk.intake.drafts[0].attachments[0].filename == "pwn"


async def test_the_hosts_word_is_in_no_link(desk: Desk) -> None:
    """A93: links come from the configuration."""
    for path in ("/form/contact", "/chat/website"):
        data = f"GET {path} HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: evil.example\r\n\r\n".encode()
        heard = await say(desk.port, data)
        assert heard.status == 200
        assert "evil.example" not in heard.text


async def test_every_answer_protects_its_reader(desk: Desk) -> None:
    for path in (
        "/form/contact",
        "/form/none",
        "/chat/website",
        "/form/contact/thanks",
        "/assets/page.css",
        "/healthz",
    ):
        heard = await say(desk.port, request(path, b"", "Accept: text/html", method="GET"))
        head = heard.text.partition("\r\n\r\n")[0].lower()
        assert "x-content-type-options: nosniff" in head, path
        assert "referrer-policy: strict-origin" in head, path
        assert "aiohttp" not in head
        if "text/html" in head:
            policy = head.partition("content-security-policy: ")[2].partition("\r\n")[0]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            body = heard.text.partition("\r\n\r\n")[2].lower()
            assert "<style" not in body
            assert " style=" not in body
            assert " onclick=" not in body


async def test_a_slow_header_is_cut_and_a_silent_connection_costs_nobody_else(serve: Serve) -> None:
    """A100: the deadline counts from the first byte, however many follow one by one."""
    desk = await serve(deadline=0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", desk.port)
    writer.write(b"POST /form/contact HTTP/1.1\r\nHost: a\r\n")

    async def drip() -> None:
        while True:
            writer.write(b"X: y\r\n")
            await asyncio.sleep(0.02)

    dripping = asyncio.create_task(drip())
    try:
        async with asyncio.timeout(5):
            assert await reader.read() == b""
    except ConnectionError:
        pass
    finally:
        dripping.cancel()
        writer.close()
    assert (await say(desk.port, form(GOOD))).status == 201


async def test_the_next_request_of_a_connection_has_the_deadline_too(serve: Serve) -> None:
    desk = await serve(deadline=0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", desk.port)
    writer.write(request("/healthz", method="GET"))
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"200" in head
    await reader.readexactly(len(b'{"status": "ok"}'))
    writer.write(b"GET /healthz HTT")
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()


async def test_a_body_that_stops_is_told_so(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_DEADLINE", 0.2)
    desk = await serve()
    heard = await say(desk.port, request("/form/contact", b'{"email"', "Content-Length: 500"))
    assert heard.status == 408
    assert desk.intake.drafts == []


async def test_a_body_may_be_slow_while_it_moves(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each 64 KiB buys a second: with the first deadline at 0.05 s, half a megabyte in eight pieces still arrives."""
    monkeypatch.setattr(limits, "BODY_DEADLINE", 0.05)
    desk = await serve()
    body = json.dumps({"email": "a@example.com", "message": "x", "padding": "p" * 500_000}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", desk.port)
    head = request("/form/contact", b"", f"Content-Length: {len(body)}")
    writer.write(head + body[:131_072])
    for start in range(131_072, len(body), 65_536):
        await writer.drain()
        await asyncio.sleep(0.03)
        writer.write(body[start : start + 65_536])
    answer = await reader.readuntil(b"\r\n\r\n")
    assert b" 201 " in answer
    writer.close()


async def test_too_large_is_told_by_length_and_by_count(serve: Serve) -> None:
    desk = await serve(contact={"max_bytes": 2048})
    by_length = await say(desk.port, form(b"x" * 3000))
    chunk = b"800\r\n" + b"x" * 2048 + b"\r\n"
    by_count = await say(desk.port, request("/form/contact", chunk * 2, "Transfer-Encoding: chunked"))
    assert (by_length.status, by_count.status) == (413, 413)
    assert "2 KiB" in by_length.text


async def test_a_sender_who_hangs_up_is_stored_all_the_same(desk: Desk) -> None:
    desk.intake.gate = asyncio.Event()
    entered = asyncio.Event()
    accept = desk.intake.accept

    async def watched(*args: object) -> object:
        entered.set()
        return await accept(*args)  # type: ignore[arg-type]

    desk.intake.accept = watched  # type: ignore[assignment,method-assign]
    _, writer = await asyncio.open_connection("127.0.0.1", desk.port)
    writer.write(form(GOOD))
    await entered.wait()
    writer.transport.abort()
    await asyncio.sleep(0)
    desk.intake.gate.set()
    async with asyncio.timeout(5):
        while not desk.intake.drafts:
            await asyncio.sleep(0.01)


async def test_an_unexpected_error_is_an_id_and_no_traceback(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.intake.error = RuntimeError("db password=hunter2")
    heard: Heard = await say(desk.port, form(GOOD))
    assert heard.status == 500
    said = json.loads(heard.text.partition("\r\n\r\n")[2])
    assert "hunter2" not in heard.text
    assert said["id"] in caplog.text
    caplog.clear()


async def test_one_address_cannot_take_every_connection(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A100: the cap is by address, loopback aside; a connection that ends makes room."""
    monkeypatch.setattr(server, "is_loopback", lambda _: False)
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 2)
    desk = await serve()
    held = [await asyncio.open_connection("127.0.0.1", desk.port) for _ in range(2)]
    for _, writer in held:
        writer.write(b"GET /healthz")
        await writer.drain()
    over = await say(desk.port, request("/healthz", method="GET"))
    assert (over.status, over.closed) == (0, True)
    held[0][1].close()
    async with asyncio.timeout(5):
        while (await say(desk.port, request("/healthz", method="GET"))).status != 200:
            await asyncio.sleep(0.01)
    held[1][1].close()


async def test_who_asks_and_does_not_listen_keeps_no_place(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_UNREAD", 500)
    monkeypatch.setattr(server, "IDLE", 0.5)
    desk = await serve()
    loop = asyncio.get_running_loop()
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        deaf.setblocking(False)
        await loop.sock_connect(deaf, ("127.0.0.1", desk.port))
        with contextlib.suppress(TimeoutError, ConnectionError):
            while True:
                await asyncio.wait_for(loop.sock_sendall(deaf, request("/", b"", method="GET") * 50), 1)
        async with asyncio.timeout(40):
            while desk.connections:  # neither idle time nor goodbye help while nobody listens: only the kernel does
                await asyncio.sleep(0.05)
