"""The chat widget in a real browser: on our page, on somebody else's, through outages, restarts and blocked sockets."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Locator, Page, expect

from gateway.intake import NotDurableError
from tests.browser.witness import BROWSER, POOR_CONTRAST, UNNAMED, Witness
from tests.web.desk import IDENTITY_SECRET, Desk, make_desk

pytestmark = BROWSER


async def until(condition: Callable[[], object]) -> None:
    """Wait for it, at most 15 s."""
    async with asyncio.timeout(15):
        while not condition():
            await asyncio.sleep(0.02)


async def open_chat(page: Page, address: str) -> None:
    await page.goto(address)
    await page.get_by_role("button", name="Chat with us").click()


async def say(page: Page, text: str) -> Locator:
    await page.get_by_label("Write a message").fill(text)
    await page.keyboard.press("Enter")
    item = page.get_by_role("listitem").filter(has_text=text)
    await expect(item).to_be_visible()
    return item


def texts(desk: Desk) -> list[str]:
    return [draft.text for draft in desk.intake.drafts]


async def test_said_stored_and_marked_as_sent(served: Desk, page: Page) -> None:
    await open_chat(page, f"{served.url}/chat/website")
    await expect(page.get_by_label("Write a message")).to_be_focused()
    item = await say(page, "Where is my order 1042?")
    await expect(item).to_contain_text("Sent")
    (draft,) = served.intake.drafts
    assert draft.text == "Where is my order 1042?"
    assert draft.fields["page_url"] == f"{served.url}/chat/website"
    assert draft.fields["page_title"] == "Chat with us"
    assert draft.fields["locale"] == "en"


async def test_sending_is_shown_until_it_is_durable(served: Desk, page: Page) -> None:
    served.intake.gate = asyncio.Event()
    await open_chat(page, f"{served.url}/chat/website")
    item = await say(page, "hello")
    await expect(item).to_contain_text("Sending…")
    served.intake.gate.set()
    await expect(item).to_contain_text("Sent")


async def test_what_cannot_be_stored_is_sent_again_by_itself(served: Desk, page: Page) -> None:
    served.intake.error = NotDurableError("full", retry_after=1)
    await open_chat(page, f"{served.url}/chat/website")
    item = await say(page, "hello")
    await expect(page.get_by_role("status")).to_have_text("Waiting for the connection…")
    await expect(item).to_contain_text("Sending…")
    served.recover()
    await expect(item).to_contain_text("Sent")
    await expect(page.get_by_role("status")).to_have_text("")
    assert len({draft.delivery_key for draft in served.intake.drafts}) == 1


async def test_a_restart_of_the_gateway_loses_nothing(served: Desk, page: Page, witness: Witness) -> None:
    witness.expected += ["WebSocket connection", "ERR_CONNECTION"]
    await open_chat(page, f"{served.url}/chat/website")
    await expect(await say(page, "before")).to_contain_text("Sent")
    port = served.port
    await served.stop()
    item = await say(page, "while away")
    await expect(item).to_contain_text("Sending…")
    again = make_desk(settings={"public_url": ""})
    again.intake = served.intake
    await again.start(port=port)
    try:
        await expect(item).to_contain_text("Sent")
    finally:
        await again.stop()
    assert texts(served) == ["before", "while away"]
    assert len({draft.thread_keys[0].value for draft in served.intake.drafts}) == 1


async def test_unsent_words_survive_a_reload_and_the_same_conversation_goes_on(served: Desk, page: Page) -> None:
    served.intake.error = NotDurableError("full", retry_after=60)
    await open_chat(page, f"{served.url}/chat/website")
    await say(page, "hello")
    served.recover()
    await page.reload()
    await until(lambda: served.intake.drafts)
    await page.get_by_role("button", name="Chat with us").click()
    item = page.get_by_role("listitem").filter(has_text="hello")
    await expect(item).to_contain_text("Sent")
    await say(page, "second")
    await until(lambda: len(served.intake.drafts) == 2)
    assert len({draft.thread_keys[0].value for draft in served.intake.drafts}) == 1


async def test_history_is_shown_as_text_and_own_words_once(served: Desk, page: Page) -> None:
    await open_chat(page, f"{served.url}/chat/website")
    await expect(await say(page, "hello")).to_contain_text("Sent")
    moment = datetime(2026, 8, 1, tzinfo=UTC)
    mine = served.intake.drafts[0].external_id
    served.store.rows = [
        {"id": 7, "author_kind": "chat", "external_id": mine, "text": "hello", "received_at": moment},
        {"id": 8, "author_kind": "", "external_id": "", "text": "<img src=x onerror=alert(1)>", "received_at": moment},
    ]
    await page.reload()
    await page.get_by_role("button", name="Chat with us").click()
    await expect(page.get_by_text("<img src=x onerror=alert(1)>")).to_be_visible()
    await expect(page.get_by_role("listitem").filter(has_text="hello")).to_have_count(1)
    assert await page.locator("#frontdesk-chat img").count() == 0


async def test_where_sockets_are_blocked_messages_go_by_post(served: Desk, page: Page, witness: Witness) -> None:
    await page.route_web_socket(re.compile("/ws$"), lambda route: route.close(code=1011))
    await open_chat(page, f"{served.url}/chat/website")
    item = await say(page, "hello")
    await expect(item).to_contain_text("Sent")
    assert texts(served) == ["hello"]


async def test_by_keyboard_and_with_names_for_everything(served: Desk, page: Page) -> None:
    await page.goto(f"{served.url}/chat/website")
    toggle = page.get_by_role("button", name="Chat with us")
    await expect(toggle).to_have_attribute("aria-expanded", "false")
    await toggle.focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog", name="Chat with us")).to_be_visible()
    await expect(page.get_by_label("Write a message")).to_be_focused()
    await page.keyboard.type("first line")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.type("second line")
    await page.keyboard.press("Enter")
    await until(lambda: texts(served) == ["first line\nsecond line"])
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_be_hidden()
    await expect(toggle).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(320, 640), (1280, 900)])
async def test_readable_on_phone_and_desktop(
    served: Desk, open_page: Callable[..., Any], width: int, height: int, scheme: str
) -> None:
    page = await open_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    await open_chat(page, f"{served.url}/chat/website")
    await expect(await say(page, "a " * 300)).to_contain_text("Sent")
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert await page.evaluate(UNNAMED) == []
    assert await page.evaluate(POOR_CONTRAST) == []
    box = await page.get_by_role("dialog").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["y"] >= 0
    assert box["x"] + box["width"] <= width
    assert box["y"] + box["height"] <= height


@pytest.mark.parametrize(
    ("locale", "write", "sent"), [("nl", "Schrijf een bericht", "Verstuurd"), ("zh-TW", "輸入訊息", "已送出")]
)
async def test_it_speaks_the_pages_language(
    served: Desk, open_page: Callable[..., Any], locale: str, write: str, sent: str
) -> None:
    page = await open_page(locale=locale)
    await page.goto(f"{served.url}/chat/website")
    await page.locator("#frontdesk-chat button.toggle").click()
    await page.get_by_label(write).fill("x")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text(sent)).to_be_visible()


@dataclass
class Shop:
    """Another site, with a strict policy of its own, that embeds the widget of `desk_url`."""

    url: str = ""
    desk_url: str = ""
    config: str = ""

    async def show(self, _: web.Request) -> web.Response:
        policy = (
            f"default-src 'none'; script-src 'self' {self.desk_url}; style-src {self.desk_url}; img-src 'self' data:; "
            f"connect-src {self.desk_url} {self.desk_url.replace('http', 'ws', 1)}"
        )
        html = (
            '<!doctype html><html lang="en"><title>Shop</title><link rel="icon" href="data:,"><h1>Shop</h1>'
            f'<script src="/config.js"></script><script src="{self.desk_url}/chat/website/widget.js" defer></script>'
        )
        return web.Response(text=html, content_type="text/html", headers={"Content-Security-Policy": policy})

    async def configure(self, _: web.Request) -> web.Response:
        return web.Response(text=self.config, content_type="text/javascript")


@pytest_asyncio.fixture(loop_scope="session")
async def shop() -> AsyncIterator[Shop]:
    site, app = Shop(), web.Application()
    app.add_routes([web.get("/", site.show), web.get("/config.js", site.configure)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    site.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield site
    await runner.cleanup()


@pytest_asyncio.fixture(loop_scope="session")
async def embedded(shop: Shop) -> AsyncIterator[Desk]:
    """A desk whose chat may be embedded in the shop."""
    desk = make_desk(settings={"public_url": ""}, website={"allowed_origins": [shop.url]})
    await desk.start()
    shop.desk_url = desk.url
    yield desk
    await desk.stop()


def identity(ident: str, secret: str = IDENTITY_SECRET) -> str:
    """What the shop's server writes into its page for a visitor who has logged in."""
    proof = hmac.new(secret.encode(), ident.encode(), hashlib.sha256).hexdigest()
    return json.dumps({"id": ident, "email": f"{ident}@example.com", "hash": proof})


async def test_on_a_strangers_page_under_its_own_strict_policy(shop: Shop, embedded: Desk, page: Page) -> None:
    shop.config = f"window.frontdeskChat = {{identity: {identity('user-42')}}}"
    await open_chat(page, shop.url)
    await expect(await say(page, "hello from the shop")).to_contain_text("Sent")
    (draft,) = embedded.intake.drafts
    assert (draft.author.identity, draft.author.trust) == ("chat:website:user-42", "verified")
    assert draft.fields["page_title"] == "Shop"
    assert draft.fields["page_url"] == f"{shop.url}/"


async def test_a_proof_that_proves_nothing_is_told(shop: Shop, embedded: Desk, page: Page, witness: Witness) -> None:
    witness.expected.append("status of 403")
    shop.config = f"window.frontdeskChat = {{identity: {identity('user-42', 'guess')}}}"
    await open_chat(page, shop.url)
    await expect(page.get_by_role("status")).to_contain_text("The identity hash does not belong to this id")
    await say(page, "hello")
    assert embedded.intake.drafts == []


async def test_on_a_page_that_is_not_listed_nothing_enters(
    shop: Shop, served: Desk, page: Page, witness: Witness
) -> None:
    witness.expected += ["CORS", "ERR_FAILED", "status of 403"]
    shop.desk_url = served.url
    await open_chat(page, shop.url)
    item = await say(page, "hello")
    await expect(item).to_contain_text("Sending…")
    await expect(page.get_by_role("status")).to_have_text("Waiting for the connection…")
    assert served.intake.drafts == []


async def test_another_person_on_the_same_computer_sees_and_sends_nothing_of_the_first(
    shop: Shop, embedded: Desk, page: Page
) -> None:
    shop.config = f"window.frontdeskChat = {{open: true, identity: {identity('user-1')}}}"
    await page.goto(shop.url)
    await expect(await say(page, "a secret")).to_contain_text("Sent")
    embedded.intake.error = NotDurableError("full", retry_after=60)
    await expect(await say(page, "unsent secret")).to_contain_text("Sending…")
    embedded.recover()
    shop.config = f"window.frontdeskChat = {{open: true, identity: {identity('user-2')}}}"
    await page.reload()
    await expect(await say(page, "good day")).to_contain_text("Sent")
    await expect(page.get_by_role("listitem").filter(has_text="secret")).to_have_count(0)
    said = [(draft.author.value, draft.text) for draft in embedded.intake.drafts]
    assert said == [("website:user-1", "a secret"), ("website:user-2", "good day")]


async def test_a_stranger_who_logs_in_keeps_what_they_wrote(shop: Shop, embedded: Desk, page: Page) -> None:
    await open_chat(page, shop.url)
    embedded.intake.error = NotDurableError("full", retry_after=60)
    await expect(await say(page, "hello")).to_contain_text("Sending…")
    embedded.recover()
    shop.config = f"window.frontdeskChat = {{open: true, identity: {identity('user-1')}}}"
    await page.reload()
    await expect(page.get_by_role("listitem").filter(has_text="hello")).to_contain_text("Sent")
    assert [draft.author.value for draft in embedded.intake.drafts] == ["website:user-1"]
