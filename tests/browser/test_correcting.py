"""Correcting a ticket with the mouse: split off, undo, and nothing loaded or run from elsewhere (the witness looks)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from playwright.async_api import Page, expect

from gateway.settings import Settings
from gateway.store import tables as t
from gateway.store.blobs import Blobs
from gateway.store.engine import open_store
from gateway.web.auth import Logins
from gateway.web.server import listen
from tests.api import seed
from tests.api.conftest import Runtime, make_app
from tests.api.test_writing import suggest
from tests.browser.test_console import Console
from tests.browser.witness import BROWSER, POOR_CONTRAST, UNNAMED, Witness
from tests.corrections.conftest import image

pytestmark = BROWSER


@pytest_asyncio.fixture(loop_scope="session")
async def desk(tmp_path: Path) -> AsyncIterator[Console]:
    """A served console over a filled store, without a public address of its own."""
    store = open_store(f"sqlite:///{tmp_path / 'desk.db'}")
    await store.write(t.metadata.create_all)
    ids = await store.write(seed.fill)
    await store.write(suggest)
    blobs = Blobs(tmp_path / "blobs")
    runtime = Runtime(Settings(), store, blobs, Logins())
    runner, port = await listen(make_app(runtime), "127.0.0.1", 0)
    yield Console(f"http://127.0.0.1:{port}", runtime, store, ids)
    await runner.cleanup()
    await store.close()
    blobs.close()


async def test_split_off_and_undo(desk: Console, page: Page) -> None:
    before = await desk.store.read(image)
    ticket, comment = desk.ids["mail_ticket"], desk.ids["mail_comment"] + 1
    await desk.sign_in(page)
    await page.goto(f"{desk.url}/console/tickets/{ticket}")
    said = page.locator(f"#c{comment}")
    await said.get_by_text("Not right here?").click()
    await said.get_by_role("button", name="Split off this message").click()
    await expect(page).to_have_url(re.compile(r"/console/tickets/\d+\?done=\d+$"))
    notice = page.locator(".done")
    await expect(notice).to_contain_text(f"1 message split off #{ticket} into #")
    await expect(page.locator("article.comment")).to_have_count(1)
    await notice.get_by_role("button", name="Undo").click()
    await expect(page).to_have_url(re.compile(rf"/console/tickets/{ticket}\?done=\d+$"))
    await expect(page.locator(f"#c{comment}")).to_be_visible()
    await expect(page.locator(".done")).to_contain_text("Undone by console")
    after = await desk.store.read(image)
    assert {name: after[name] for name in ("tickets", "comments", "keys", "links", "receipts")} == {
        name: before[name] for name in ("tickets", "comments", "keys", "links", "receipts")
    }


async def test_move_merge_and_say_who_is_who(desk: Console, page: Page, witness: Witness) -> None:
    witness.expected.append("status of 404")  # the page that says there is no such ticket
    ticket, chat = desk.ids["mail_ticket"], desk.ids["chat_ticket"]
    await desk.sign_in(page)
    await page.goto(f"{desk.url}/console/tickets/{chat}")
    said = page.locator("article.comment").last
    await said.get_by_text("Not right here?").click()
    await said.get_by_label("Move to ticket").fill(str(ticket))
    await said.get_by_role("button", name="Move").click()
    await expect(page.locator(".done")).to_contain_text(f"1 message moved from #{chat} to #{ticket}")
    perhaps = page.locator(".perhaps")
    await expect(perhaps).to_contain_text("林小明")
    await perhaps.get_by_role("button", name="The same", exact=True).click()
    await expect(page.locator(".perhaps")).to_have_count(0)
    await page.goto(f"{desk.url}/console/tickets/{chat}")
    await page.get_by_label("Merge into ticket").fill("987654")
    await page.get_by_role("button", name="Merge").click()
    await expect(page.locator("main")).to_contain_text("There is no ticket #987654.")
    await page.get_by_role("link", name=f"Back to ticket #{chat}").click()
    await page.get_by_label("Merge into ticket").fill(f"#{ticket}")
    await page.get_by_role("button", name="Merge").click()
    await expect(page.locator(".done")).to_contain_text(f"#{chat} merged into #{ticket} by console")


async def test_the_buttons_can_be_read_and_named_in_both_lights(desk: Console, page: Page) -> None:
    await desk.sign_in(page)
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        await page.goto(f"{desk.url}/console/tickets/{desk.ids['mail_ticket']}")
        await page.evaluate("for (const one of document.querySelectorAll('details.correct')) one.open = true")
        assert await page.evaluate(UNNAMED) == []
        assert await page.evaluate(POOR_CONTRAST) == []
    await page.set_viewport_size({"width": 320, "height": 640})
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
