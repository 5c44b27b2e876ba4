"""Provider webhooks: which requests reach the adapter, what the provider hears, and that nothing is said too early."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from aiohttp import ClientSession

from tests.web.desk import Desk

Serve = Callable[..., Awaitable[Desk]]
PASS = {"X-Password": "open sesame"}


async def test_an_accepted_hook_hears_the_adapters_words_over_the_configured_url(
    desk: Desk, http: ClientSession
) -> None:
    url = f"{desk.url}/hooks/provider/voice?a=%2F+b&c"
    async with http.post(url, data=b"hello", headers=PASS) as answer:
        assert (answer.status, await answer.text()) == (200, "<Response/>")
        assert answer.content_type == "text/xml"
        assert answer.headers["X-Receipts"] == "1"
        assert answer.headers["Frontdesk-Receipt"] == str(desk.intake.receipt_ids[0])
        assert answer.headers["X-Url"].startswith("https://desk.example/hooks/provider/voice?a=")
    (raw,) = desk.intake.raws
    assert raw.request is not None
    assert raw.request.url == f"https://desk.example{raw.request.url.removeprefix('https://desk.example')}"
    assert (raw.request.tail, raw.body, raw.facts["received_at"]) == ("voice", b"hello", desk.now)


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", "/hooks/provider", {}, 403),
        ("POST", "/hooks/provider", {"X-Password": "guess"}, 403),
        ("POST", "/hooks/nobody", PASS, 404),
        ("POST", "/hooks/provider/elsewhere", PASS, 404),
        ("POST", "/hooks/contact", PASS, 404),  # a form has no webhook
        ("GET", "/hooks/provider", PASS, 405),
        ("DELETE", "/hooks/provider", PASS, 405),
        ("PUT", "/hooks/provider/voice", PASS, 405),
    ],
)
async def test_what_does_not_belong_is_refused_and_stores_nothing(
    desk: Desk, http: ClientSession, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    async with http.request(method, desk.url + path, data=b"x", headers=headers) as answer:
        assert answer.status == status
        assert (await answer.json())["error"]
        if status == 405:
            assert "POST" in answer.headers["Allow"]
    assert desk.intake.drafts == []


async def test_a_handshake_is_answered_and_is_no_delivery(desk: Desk, http: ClientSession) -> None:
    async with http.get(f"{desk.url}/hooks/provider?challenge=abc") as answer:
        assert (answer.status, await answer.text()) == (200, "abc")
    assert desk.intake.drafts == []


async def test_nothing_durable_is_a_temporary_refusal_in_the_providers_way(desk: Desk, http: ClientSession) -> None:
    desk.refuse()
    async with http.post(f"{desk.url}/hooks/provider", data=b"x", headers=PASS) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (503, "8")
    async with http.post(f"{desk.url}/hooks/provider/voice", data=b"x", headers=PASS) as answer:
        assert (answer.status, await answer.text()) == (200, "<Say>later</Say>")
    desk.recover()
    async with http.post(f"{desk.url}/hooks/provider", data=b"x", headers=PASS) as answer:
        assert answer.status == 200
    assert len(desk.intake.drafts) == 1


async def test_a_path_prefix_of_the_proxy_is_part_of_the_signed_url(serve: Serve, http: ClientSession) -> None:
    desk = await serve(settings={"public_url": "https://desk.example/front/"})
    async with http.post(f"{desk.url}/hooks/provider", data=b"x", headers=PASS) as answer:
        assert answer.headers["X-Url"] == "https://desk.example/front/hooks/provider"
    async with http.get(f"{desk.url}/form/contact") as page:
        assert 'action="/front/form/contact"' in await page.text()
        assert 'href="/front/assets/page.css"' in await page.text()


async def test_health_tells_alive_from_ready(desk: Desk, http: ClientSession) -> None:
    async with http.get(f"{desk.url}/healthz") as answer:
        assert (answer.status, await answer.json()) == (200, {"status": "ok"})
    async with http.get(f"{desk.url}/readyz") as answer:
        assert (answer.status, (await answer.json())["status"]) == (200, "ready")
    desk.is_ready = False
    async with http.get(f"{desk.url}/readyz") as answer:
        assert (answer.status, (await answer.json())["spool"]) == (503, "disk full")
    async with http.get(f"{desk.url}/healthz") as answer:
        assert answer.status == 200
    async with http.get(f"{desk.url}/metrics") as answer:
        assert answer.status == 200
        assert answer.content_type == "text/plain"
