"""A suspended message and the mouse: looked at, set aside, found again, made a ticket."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio
from playwright.async_api import Page, expect

from gateway.web.app import build_app
from gateway.web.server import listen
from tests.browser.test_console import Console
from tests.browser.witness import BROWSER, POOR_CONTRAST, UNNAMED
from tests.suspended.conftest import Desk, opened_desk

pytestmark = BROWSER


@pytest_asyncio.fixture(loop_scope="session")
async def desk(tmp_path: Path) -> AsyncIterator[tuple[Desk, Console]]:
    async with opened_desk(tmp_path / "data", "") as desk:
        await desk.take(b"\r\n\r\n<script>document.title = 'run'</script> Where is my parcel?\r\n")
        runner, port = await listen(build_app(desk.runtime), "127.0.0.1", 0)
        desk.runtime.settings = desk.runtime.settings.model_copy(update={"http_listen": f"127.0.0.1:{port}"})
        runtime: Any = desk.runtime
        yield desk, Console(f"http://127.0.0.1:{port}", runtime, runtime.store, {})
        await runner.cleanup()


async def test_set_aside_found_again_and_let_in(desk: tuple[Desk, Console], page: Page) -> None:
    _, console = desk
    await console.sign_in(page)
    await page.goto(f"{console.url}/console?list=suspended")
    await page.locator("li.held a").click()
    await expect(page.locator(".cause")).to_contain_text("nobody knows who sent it")
    await expect(page).not_to_have_title("run")
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        assert await page.evaluate(UNNAMED) == []
        assert await page.evaluate(POOR_CONTRAST) == []
    await page.get_by_role("button", name="Read it again").click()
    await expect(page.get_by_role("status").filter(has_text="being read again")).to_be_visible()
    await page.get_by_role("button", name="Set it aside").click()
    await expect(page.locator("main")).to_contain_text("Nothing is held.")
    await page.get_by_label("Suspended messages").get_by_role("link", name=re.compile("Set aside")).click()
    await page.locator("li.held a").click()
    await expect(page.locator(".cause")).to_contain_text("Nothing of it was deleted.")
    await page.get_by_role("button", name="Make it a ticket as it is").click()
    await expect(page).to_have_url(re.compile(r"/console/tickets/1$"))
    await expect(page.locator("article.comment")).to_contain_text("Where is my parcel?")
    await expect(page.locator(".event").filter(has_text="Let in by console")).to_be_visible()
