"""People decide about what is held: let in, set aside; over the API, the console and the command line."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from gateway.cli import run
from gateway.store import tables as t
from gateway.store.recovering import recover, reject, tickets_of
from gateway.web.app import build_app
from tests.suspended.conftest import Desk, mail

HEADLESS = b"\r\n\r\nWhere is my parcel?\r\n"
MIXED = b"\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n<script>alert(1)</script>\r\n--b--\r\n"


async def let_in(desk: Desk, *ids: int, actor: str = "tess") -> dict[int, int | None]:
    rules, ours = desk.runtime.recording()
    how: dict[str, Any] = {"rules": rules, "ours": ours}
    await desk.runtime.store.write(recover, ids, actor=actor, now=datetime.now(UTC), **how)
    return await desk.runtime.store.read(tickets_of, ids)


async def test_recovering_records_it_like_any_other(desk: Desk) -> None:
    [receipt] = await desk.take(HEADLESS)
    came = (await desk.rows(t.receipts, "receipt_id", "received_at"))[0].received_at
    assert await let_in(desk, 1) == {1: 1}
    assert await desk.outcomes() == {receipt: ("ticketed", 1)}
    [comment] = await desk.rows(t.comments)
    assert (comment.text, comment.received_at) == ("Where is my parcel?", came)
    assert comment.original == HEADLESS
    assert {"released"} <= {hit["name"] for hit in comment.problems}
    [held] = await desk.rows(t.suspended)
    assert (held.decision, held.decided_by) == ("recovered", "tess")
    [event] = await desk.events("recovered")
    assert (event.ticket_id, event.detail["actor"]) == (1, "tess")
    assert "no header" in event.detail["cause"]
    assert await desk.balanced()


async def test_recovering_twice_at_once_and_again_changes_nothing(desk: Desk) -> None:
    await desk.take(HEADLESS)
    await asyncio.gather(*(let_in(desk, 1, actor=name) for name in ("tess", "tom", "tina")))
    await let_in(desk, 1)
    assert len(await desk.rows(t.comments)) == len(await desk.rows(t.tickets)) == 1
    assert len(await desk.events("recovered")) == 1
    assert await desk.balanced()


async def test_retries_of_what_was_held_stay_duplicates(desk: Desk) -> None:
    first, retry = await desk.take(HEADLESS, HEADLESS)
    await let_in(desk, 1)
    [late] = await desk.take(HEADLESS)
    outcomes = await desk.outcomes()
    assert [outcomes[one][0] for one in (first, retry, late)] == ["ticketed", "duplicate", "duplicate"]
    assert len(await desk.rows(t.comments)) == 1


async def test_many_in_one_transaction_with_files_and_matching(desk: Desk) -> None:
    """One of them answers the other: matching is that of any batch."""
    held = []
    for ident, more in (("m1", {}), ("m2", {"In_Reply_To": "<m1@customer.example>"})):
        held.append(mail(ident, f"Matter {ident}", **more))
    files = (
        b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nSee file\r\n--b\r\n"
        b"Content-Type: text/csv\r\nContent-Disposition: attachment; filename=a.csv\r\n\r\na;b\r\n--b--\r\n"
    )
    held.append(b"From: bo@customer.example\r\nSubject: A file\r\n" + files)
    await desk.take(*held, held="only part of it was fetched")
    assert {outcome for outcome, _ in (await desk.outcomes()).values()} == {"suspended"}
    assert await let_in(desk, 1, 2, 3, 99) == {1: 1, 2: 1, 3: 2}
    assert [row.filename for row in await desk.rows(t.attachments) if row.comment_id] == ["a.csv"]
    assert await desk.balanced()


async def test_set_aside_is_hidden_and_kept_and_can_come_back(desk: Desk) -> None:
    [receipt] = await desk.take(HEADLESS)
    for _ in range(2):
        assert await desk.runtime.store.write(reject, [1, 5], actor="tess", now=datetime.now(UTC)) == [1]
    [held] = await desk.rows(t.suspended)
    assert (held.decision, held.original) == ("rejected", HEADLESS)
    assert len(await desk.events("rejected")) == 1
    assert await desk.outcomes() == {receipt: ("suspended", None)}
    assert await desk.balanced()
    assert await let_in(desk, 1) == {1: 1}
    assert await desk.runtime.store.write(reject, [1], actor="tess", now=datetime.now(UTC)) == [1]
    assert [row.decision for row in await desk.rows(t.suspended)] == ["recovered"], "what is on a ticket stays there"


async def test_the_api_speaks_zendesks_words(desk: Desk, api: Callable[..., Any]) -> None:
    await desk.take(*(HEADLESS + str(number).encode() for number in range(5)))
    assert (await api("GET", "suspended_tickets/1"))[1]["suspended_ticket"]["ticket_id"] is None
    status, body = await api("PUT", "suspended_tickets/1/recover.json")
    assert (status, body["ticket"]["id"], body["ticket"]["status"]) == (200, 1, "new")
    assert (await api("PUT", "suspended_tickets/1/recover"))[1]["ticket"]["id"] == 1
    status, body = await api("PUT", "suspended_tickets/recover_many.json?ids=2,3,77")
    assert (status, [ticket["id"] for ticket in body["tickets"]]) == (200, [2, 3])
    assert await api("DELETE", "suspended_tickets/4") == (204, None)
    assert await api("DELETE", "suspended_tickets/destroy_many?ids=4,5,77") == (204, None)
    assert (await api("GET", "suspended_tickets"))[1]["suspended_tickets"] == []
    aside = (await api("GET", "suspended_tickets?decision=rejected"))[1]["suspended_tickets"]
    assert [(one["id"], one["decided_by"]) for one in aside] == [(4, "an API token"), (5, "an API token")]
    shown = (await api("GET", "suspended_tickets/2"))[1]["suspended_ticket"]
    assert (shown["decision"], shown["ticket_id"]) == ("recovered", 2)
    assert await desk.balanced()


async def test_the_api_reads_again(desk: Desk, api: Callable[..., Any], broken_reader: Callable[[], None]) -> None:
    await desk.take(mail("m1"), mail("m2", "Something else."))
    broken_reader()
    status, body = await api("PUT", "suspended_tickets/1/replay?dry_run=true")
    assert (status, body["replay"]["reads_as"][0]["subject"]) == (202, "My parcel")
    assert (await api("PUT", "suspended_tickets/replay_many?ids=1,2,77"))[0] == 202
    await desk.work()
    assert {outcome for outcome, _ in (await desk.outcomes()).values()} == {"ticketed"}
    assert (await api("PUT", "suspended_tickets/1/replay"))[0] == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PUT", "suspended_tickets/77/recover", 404),
        ("PUT", "suspended_tickets/x/recover", 400),
        ("PUT", "suspended_tickets/recover_many", 400),
        ("PUT", f"suspended_tickets/recover_many?ids={','.join(map(str, range(1, 103)))}", 400),
        ("DELETE", "suspended_tickets/77", 404),
        ("DELETE", "suspended_tickets/destroy_many?ids=x", 400),
        ("PUT", "suspended_tickets/77/replay", 404),
        ("POST", "suspended_tickets/1/recover", 405),
        ("GET", "suspended_tickets?decision=perhaps", 400),
        ("PUT", f"suspended_tickets/{2**63}/recover", 404),
    ],
)
async def test_the_api_refuses_with_a_sentence(api: Callable[..., Any], method: str, path: str, status: int) -> None:
    answered, body = await api(method, path)
    assert answered == status
    assert body["error"]


async def test_deciding_needs_a_token(desk: Desk) -> None:
    async with TestClient(TestServer(build_app(desk.runtime))) as client:
        for method, path in (("PUT", "1/recover"), ("DELETE", "1"), ("PUT", "1/replay")):
            answer = await client.request(method, f"/api/v2/suspended_tickets/{path}")
            assert answer.status == 401


async def test_the_consoles_buttons(desk: Desk, broken_reader: Callable[[], None]) -> None:
    await desk.take(mail("m1"), mail("m2", "Something else."), MIXED)
    broken_reader()
    logins = desk.runtime.logins
    cookie = logins.consume(logins.issue())
    assert cookie is not None
    async with TestClient(TestServer(build_app(desk.runtime)), cookies={"frontdesk_console": cookie}) as client:
        origin = {"Origin": desk.runtime.settings.base_url}

        async def press(path: str, token: str = logins.form_token(cookie)) -> tuple[int, str]:
            answer = await client.post(
                f"/console/{path}", data={"form_token": token}, headers=origin, allow_redirects=False
            )
            return answer.status, answer.headers.get("Location", "")

        async def page(path: str) -> str:
            answer = await client.get(path)
            assert answer.status == 200, path
            return await answer.text()

        shown = await page("/console/suspended/1")
        assert {"recover", "replay", "reject"} <= set(re.findall(r"/console/suspended/1/(\w+)", shown))
        assert (await press("suspended/1/recover", token="forged"))[0] == 403
        assert await press("suspended/1/replay") == (303, "/console/suspended/1?read=again")
        assert "being read again" in await page("/console/suspended/1?read=again")
        await desk.work()
        assert "Read again for console" in await page("/console/tickets/1")
        assert 'href="/console/tickets/1"' in await page("/console/suspended/1")
        assert (await press("suspended/1/replay"))[0] == 409
        assert await press("suspended/2/recover") == (303, "/console/tickets/2")
        assert "Let in by console" in await page("/console/tickets/2")
        assert await press("suspended/3/reject") == (303, "/console?list=suspended")
        assert "Nothing is held." in await page("/console?list=suspended")
        assert "/console/suspended/3" in await page("/console?list=aside")
        assert (await press("suspended/77/recover"))[0] == (await press("suspended/77/reject"))[0] == 404
        answer = await client.get("/console/suspended/3/text")
        assert (answer.content_type, answer.headers["X-Content-Type-Options"]) == ("text/plain", "nosniff")
        assert "sandbox" in answer.headers["Content-Security-Policy"]
        assert "<script>alert(1)</script>" in await answer.text()


def test_the_verbs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        Path(f"{number}.eml").write_bytes(HEADLESS + str(number).encode())

    def say(*words: str) -> tuple[int, str, str]:
        code = run(words)
        told = capfd.readouterr()
        return code, told.out, told.err

    assert say("ingest", "--wait", "1.eml", "2.eml")[0] == 0
    assert "no header" in say("suspended", "list")[1]
    code, out, _ = say("replay", "--cause", "header", "--dry-run")
    assert (code, "would read 2 again: 0 can be recorded, 2 stay suspended" in out) == (0, True)
    assert say("replay")[0] == 2
    assert say("replay", "1", "--all")[0] == 2
    assert say("replay", "77")[0] == 1
    assert say("replay", "--since", "yesterday")[0] == 2
    assert say("replay", "--all", "--until", "2001-01-01")[1].startswith("read 0 again")
    assert say("replay", "--all", "--wait", "--json")[1].count('"cause":"the mail has no header') == 2
    assert say("suspended", "recover", "1") == (0, "1: on ticket 1\n", "")
    assert say("suspended", "reject", "2", "9")[::2] == (1, "there is no suspended message 9\n")
    assert "nothing is suspended" in say("suspended", "list")[2]
    assert say("audit")[0] == 0
