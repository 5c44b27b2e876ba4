"""The web form over real HTTP: what browsers, programs and strangers' pages hear, and what enters the desk."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp
import pytest
from aiohttp import ClientSession

from gateway.web.texts import LANGUAGES, TEXTS
from tests.web.desk import Desk

Serve = Callable[..., Awaitable[Desk]]
GOOD = {"name": "Erika", "email": "erika@example.com", "subject": "Order 1042", "message": "Where is it?\r\nThanks"}
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


async def post(http: ClientSession, desk: Desk, data: object, **headers: str) -> tuple[int, str, dict[str, str]]:
    kwargs: dict[str, object] = {"json" if isinstance(data, dict) and "json" in data else "data": data}
    if isinstance(data, dict) and "json" in data:
        kwargs = {"json": data["json"]}
    async with http.post(f"{desk.url}/form/contact", headers=headers, allow_redirects=False, **kwargs) as answer:  # type: ignore[arg-type]
        return answer.status, await answer.text(), dict(answer.headers)


async def shown_token(http: ClientSession, desk: Desk) -> str:
    async with http.get(f"{desk.url}/form/contact") as answer:
        found = re.search(r'name="form_token" value="([^"]+)"', await answer.text())
    assert found
    return found[1]


async def test_a_browser_is_sent_to_a_page_with_the_receipts_reference(desk: Desk, http: ClientSession) -> None:
    status, _, headers = await post(http, desk, urlencode(GOOD), **FORM, **BROWSER)
    assert status == 303
    receipt = str(desk.intake.receipt_ids[0])
    place = urlsplit(headers["Location"])
    assert (place.scheme, place.netloc, place.path) == ("", "", "/form/contact/thanks")
    assert parse_qs(place.query)["ref"] == [receipt]
    async with http.get(desk.url + headers["Location"], headers=BROWSER) as page:
        text = await page.text()
    short = receipt.replace("-", "")[-8:].upper()
    assert receipt in text
    assert f"{short[:4]}-{short[4:]}" in text


async def test_what_was_written_arrives_whole(desk: Desk, http: ClientSession) -> None:
    await post(http, desk, urlencode({**GOOD, "order": "1042", "page_url": "https://shop.example/a"}), **FORM)
    (draft,) = desk.intake.drafts
    assert draft.author.identity == "email:erika@example.com"
    assert (draft.author.trust, draft.author.evidence) == ("unverified", "typed into the form")
    assert (draft.subject, draft.text) == ("Order 1042", "Where is it?\nThanks")
    assert draft.fields["order"] == "1042"
    assert draft.fields["page_url"] == "https://shop.example/a"
    assert not draft.suspend


async def test_any_script_in_any_declared_charset(desk: Desk, http: ClientSession) -> None:
    words = {"name": "Ёлка 王", "email": "erika@bücher.example", "message": "Größe: ∞ 😀"}
    await post(http, desk, urlencode(words), **FORM)
    await post(http, desk, "&".join(f"{name}={value}" for name, value in words.items()).encode(), **FORM)
    await post(http, desk, b"email=a@example.com&_charset_=windows-1252&message=Gr%F6%DFe+%80", **FORM)
    await post(
        http,
        desk,
        b"email=a@example.com&message=%cf%f0%e8",
        **{"Content-Type": FORM["Content-Type"] + "; charset=windows-1251"},
    )
    assert [draft.text for draft in desk.intake.drafts] == [words["message"], words["message"], "Größe €", "При"]
    assert desk.intake.drafts[0].author.identity == "email:erika@xn--bcher-kva.example"
    assert desk.intake.drafts[0].author.display_name == words["name"]


async def test_files_of_a_multipart_form_are_attachments(desk: Desk, http: ClientSession) -> None:
    form = aiohttp.FormData(GOOD, default_to_multipart=True, quote_fields=False)
    form.add_field("attachments", b"%PDF-1.4\n", filename="rechnung.pdf", content_type="application/pdf")
    form.add_field(
        "attachments", b"\x89PNG\r\n\x1a\n" + b"\0" * 20, filename="../../x\u200b.png", content_type="text/plain"
    )
    status, _, _ = await post(http, desk, form, **BROWSER)
    assert status == 303
    files = desk.intake.drafts[0].attachments
    assert [(file.filename, file.content_type, file.sniffed_type) for file in files] == [
        ("rechnung.pdf", "application/pdf", "application/pdf"),
        ("x.png", "text/plain", "image/png"),
    ]
    assert files[0].content == b"%PDF-1.4\n"


async def test_a_program_gets_json(desk: Desk, http: ClientSession) -> None:
    status, text, headers = await post(http, desk, {"json": {**GOOD, "order": 1042}})
    assert status == 201
    assert headers["Content-Type"].startswith("application/json")
    assert str(desk.intake.receipt_ids[0]) in text
    assert '"status": "accepted"' in text
    assert desk.intake.drafts[0].fields["order"] == 1042


async def test_fetch_that_accepts_json_gets_json_for_a_form(desk: Desk, http: ClientSession) -> None:
    status, text, _ = await post(http, desk, urlencode(GOOD), **FORM, Accept="application/json")
    assert status == 201
    assert "receipt_id" in text


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"email": ""}, {"email"}),
        ({"email": "erika"}, {"email"}),
        ({"email": "erika@example"}, {"email"}),
        ({"email": "a@example.com\r\nBcc: b@example.com"}, {"email"}),
        ({"email": "a@example.com, b@example.com"}, {"email"}),
        ({"message": " \r\n ", "subject": ""}, {"message"}),
        ({"subject": "x" * 501}, {"subject"}),
        ({"name": "x" * 201, "email": "no"}, {"name", "email"}),
    ],
)
async def test_what_is_missing_is_said_beside_the_field_and_nothing_is_lost(
    desk: Desk, http: ClientSession, changes: dict[str, str], wrong: set[str]
) -> None:
    written = {**GOOD, "order": "10<42>", **changes}
    status, text, _ = await post(http, desk, urlencode(written), **FORM, **BROWSER)
    assert status == 422
    assert set(re.findall(r'id="error-(\w+)"', text)) == wrong
    for name in wrong:
        assert re.search(rf'id="{name}"[^>]*aria-describedby="[^"]*error-{name}"[^>]*aria-invalid="true"', text)
    assert 'name="order" value="10&lt;42&gt;"' in text
    if "message" not in wrong:
        assert "Where is it?" in text
    status, answer, _ = await post(http, desk, {"json": written})
    assert status == 422
    assert all(f'"{name}": "' in answer for name in wrong)
    assert desk.intake.drafts == []


async def test_what_people_write_is_never_markup(desk: Desk, http: ClientSession) -> None:
    evil = '"><script>alert(1)</script>{{7*7}}'
    _, text, _ = await post(
        http, desk, urlencode({"name": evil, "email": evil, "message": evil, evil: evil}), **FORM, **BROWSER
    )
    assert "<script" not in text
    assert "{{7*7}}" in text
    async with http.get(f"{desk.url}/form/contact", params={"subject": evil, "lang": evil}) as page:
        assert "<script" not in await page.text()


async def test_a_filled_honeypot_hears_the_same_and_is_held(desk: Desk, http: ClientSession) -> None:
    status, _, headers = await post(http, desk, urlencode({**GOOD, "website": "http://spam.test"}), **FORM, **BROWSER)
    assert (status, urlsplit(headers["Location"]).path) == (303, "/form/contact/thanks")
    assert desk.intake.drafts[0].suspend == "honeypot"


@pytest.mark.parametrize(("seconds", "suspend"), [(1, "submitted within 3 seconds"), (3, ""), (86_400, "")])
async def test_a_token_tells_machines_from_people(desk: Desk, http: ClientSession, seconds: int, suspend: str) -> None:
    token = await shown_token(http, desk)
    desk.now += seconds
    status, _, _ = await post(http, desk, urlencode({**GOOD, "form_token": token}), **FORM, **BROWSER)
    assert status == 303
    assert desk.intake.drafts[0].suspend == suspend


async def test_an_old_page_asks_once_more_and_then_passes_at_once(desk: Desk, http: ClientSession) -> None:
    token = await shown_token(http, desk)
    desk.now += 86_401
    status, text, _ = await post(http, desk, urlencode({**GOOD, "form_token": token}), **FORM, **BROWSER)
    assert status == 422
    assert TEXTS["en"]["token_expired"] in text
    assert "Where is it?" in text
    fresh = re.search(r'name="form_token" value="([^"]+)"', text)
    assert fresh
    assert fresh[1] != token
    status, _, _ = await post(http, desk, urlencode({**GOOD, "form_token": fresh[1]}), **FORM, **BROWSER)
    assert status == 303
    assert desk.intake.drafts[0].suspend == ""


@pytest.mark.parametrize(
    "forge",
    [
        lambda token: token[:-1] + ("0" if token[-1] != "0" else "1"),
        lambda token: token.replace("contact", "other"),
        lambda token: "x" * 9000,
        lambda token: "v1....",
        lambda token: "v1.contact.é.n.ff",
    ],
)
async def test_a_forged_token_is_refused_and_the_text_kept(
    desk: Desk, http: ClientSession, forge: Callable[[str], str]
) -> None:
    token = forge(await shown_token(http, desk))
    status, text, _ = await post(http, desk, urlencode({**GOOD, "form_token": token}), **FORM, **BROWSER)
    assert status == 422
    assert TEXTS["en"]["token_invalid"] in text
    assert "Where is it?" in text
    assert desk.intake.drafts == []


async def test_a_double_click_is_one_delivery_and_two_plain_posts_are_two(desk: Desk, http: ClientSession) -> None:
    token = await shown_token(http, desk)
    desk.now += 10
    for _ in range(2):
        await post(http, desk, urlencode({**GOOD, "form_token": token}), **FORM, **BROWSER)
    await post(http, desk, urlencode({**GOOD, "form_token": token, "message": "Something else"}), **FORM, **BROWSER)
    for _ in range(2):
        await post(http, desk, urlencode(GOOD), **FORM, **BROWSER)
    keys = [draft.delivery_key for draft in desk.intake.drafts]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 4
    words = [draft.content_key for draft in desk.intake.drafts]
    assert words[0] == words[3] == words[4] != words[2]


async def test_an_idempotency_key_makes_a_retry_the_same_delivery(desk: Desk, http: ClientSession) -> None:
    for _ in range(2):
        await post(http, desk, {"json": GOOD}, **{"Idempotency-Key": "order-1042"})
    await post(http, desk, {"json": {**GOOD, "message": "Other"}}, **{"Idempotency-Key": "order-1042"})
    first, again, other = (draft.delivery_key for draft in desk.intake.drafts)
    assert first == again != other
    status, _, _ = await post(http, desk, {"json": GOOD}, **{"Idempotency-Key": "k" * 6000})
    assert status == 400


async def test_when_nothing_can_be_stored_the_sender_hears_it_and_keeps_the_text(
    desk: Desk, http: ClientSession
) -> None:
    desk.refuse()
    status, text, headers = await post(http, desk, urlencode(GOOD), **FORM, **BROWSER)
    assert (status, headers["Retry-After"]) == (503, "8")
    assert TEXTS["en"]["unavailable"] in text
    assert "Where is it?" in text
    status, text, headers = await post(http, desk, {"json": GOOD})
    assert (status, headers["Retry-After"]) == (503, "8")
    assert '"error"' in text


@pytest.mark.parametrize("language", LANGUAGES)
async def test_the_page_speaks_six_languages(desk: Desk, http: ClientSession, language: str) -> None:
    words = TEXTS[language]
    async with http.get(
        f"{desk.url}/form/contact", headers={"Accept-Language": f"xx, {language};q=0.9, en;q=0.1"}
    ) as page:
        text = await page.text()
    assert f'<html lang="{language}">' in text
    assert all(words[name] in text for name in ("title", "email", "message", "send"))
    _, text, _ = await post(http, desk, urlencode({"lang": language, "message": "x"}), **FORM, **BROWSER)
    assert words["required"] in text
    _, _, headers = await post(http, desk, urlencode({**GOOD, "lang": language}), **FORM, **BROWSER)
    async with http.get(desk.url + headers["Location"]) as page:
        assert words["thanks"] in await page.text()


async def test_redirects_lead_only_where_the_owner_said(serve: Serve, http: ClientSession) -> None:
    desk = await serve(contact={"redirects": "https://shop.example/thanks, https://shop.example/after/"})
    for wanted, location in [
        ("https://shop.example/thanks", "https://shop.example/thanks"),
        ("https://shop.example/after/buying?x=1", "https://shop.example/after/buying?x=1"),
        ("https://shop.example.evil.example/thanks", None),
        ("https://shop.example/after/../admin", None),
        ("//evil.example", None),
        ("javascript:alert(1)", None),
        ("https://shop.example/thanks\r\nSet-Cookie: a=b", None),
    ]:
        status, _, headers = await post(http, desk, urlencode({**GOOD, "redirect": wanted}), **FORM, **BROWSER)
        assert status == 303
        assert headers["Location"] == location or (
            location is None and headers["Location"].startswith("/form/contact/thanks?")
        )
        assert "Set-Cookie" not in headers
    async with http.get(f"{desk.url}/form/contact") as page:
        assert "form-action 'self' https://shop.example;" in page.headers["Content-Security-Policy"]


async def test_only_listed_origins_may_script_the_form(serve: Serve, http: ClientSession) -> None:
    desk = await serve(contact={"allowed_origins": ["https://shop.example"]})
    url = f"{desk.url}/form/contact"
    for origin, status, echoed in [
        ("https://shop.example", 201, "https://shop.example"),
        ("https://evil.example", 403, None),
        ("https://shop.example.evil.example", 403, None),
        ("null", 403, None),
        ("https://desk.example", 201, None),
        (desk.url, 201, None),
    ]:
        async with http.post(url, json=GOOD, headers={"Origin": origin}) as answer:
            assert answer.status == status, origin
            assert answer.headers.get("Access-Control-Allow-Origin") == echoed
        async with http.options(url, headers={"Origin": origin, "Access-Control-Request-Method": "POST"}) as answer:
            assert answer.status == (403 if status == 403 else 204)
            assert answer.headers.get("Access-Control-Allow-Origin") == echoed
    async with http.post(url, json={}, headers={"Origin": "https://shop.example"}) as answer:
        assert answer.status == 422
        assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    status, _, _ = await post(http, desk, urlencode(GOOD), **FORM, **BROWSER, Origin="https://any.example")
    assert status == 303  # a plain form on any page is no script and carries no cookie
    async with http.get(url) as page:
        assert "frame-ancestors 'self' https://shop.example;" in page.headers["Content-Security-Policy"]


async def test_one_address_cannot_flood_the_form(serve: Serve, http: ClientSession) -> None:
    desk = await serve(settings={"trusted_proxies": ["127.0.0.1"]}, contact={"rate_per_minute": 3})

    async def status(address: str) -> int:
        code, _, headers = await post(http, desk, urlencode(GOOD), **FORM, **{"X-Forwarded-For": address})
        assert code != 429 or int(headers["Retry-After"]) > 0
        return code

    assert [await status("203.0.113.5") for _ in range(4)] == [303, 303, 303, 429]
    assert await status("203.0.113.6") == 303
    assert await status("203.0.113.7, 203.0.113.5") == 429  # what a client claims stands to the left
    assert [await status(f"2001:db8::{host}") for host in range(1, 5)] == [303, 303, 303, 429]  # one /64
    assert await status("2001:db8:0:1::1") == 303


async def test_an_unconfigured_proxys_word_is_not_taken(serve: Serve, http: ClientSession) -> None:
    desk = await serve()
    await post(http, desk, urlencode(GOOD), **FORM, **{"X-Forwarded-For": "203.0.113.5"})
    assert desk.intake.raws[0].facts["remote"] == "127.0.0.1"


async def test_a_form_that_does_not_exist_and_methods_it_does_not_take(desk: Desk, http: ClientSession) -> None:
    for method, path, status in [
        ("GET", "/form/nothing", 404),
        ("POST", "/form/website", 404),
        ("PUT", "/form/contact", 405),
        ("GET", "/form/contact/thanks?ref=<b>", 200),
    ]:
        async with http.request(method, desk.url + path, headers=BROWSER) as answer:
            text = await answer.text()
            assert answer.status == status
            assert answer.content_type == "text/html"
            assert "<b>" not in text
