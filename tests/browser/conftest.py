"""One headless chromium (Debian's) for the session, a fresh profile for each test, and a strict witness.

Mark tests with `pytestmark = BROWSER`: they share the session's event loop, because a browser belongs to one loop.
Every page fails its test for a script error, a CSP violation, or a request to any host but the one under test.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from gateway.web import reading
from tests.browser.witness import Witness
from tests.web.desk import Desk, make_desk

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that a starting browser keeps busy may stall a store for longer than a person should wait for a page."""
    monkeypatch.setattr(reading, "READ_SECONDS", 30.0)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Headless chromium; skips with a sentence when Debian's package is missing."""
    if CHROMIUM is None:
        pytest.skip("chromium is missing: apt-get install chromium")
    async with async_playwright() as playwright:
        # Root in a container has no user namespaces for the sandbox; the pages are our own.
        running = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        await running.close()


@pytest_asyncio.fixture(loop_scope="session")
async def witness() -> AsyncIterator[Witness]:
    """Sees what goes wrong in any page of the test; complaints fail it at the end."""
    seen = Witness()
    yield seen
    assert seen.complaints == []


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(browser: Browser, witness: Witness) -> AsyncIterator[Callable[..., Any]]:
    """`await open_page(locale="nl", viewport=...)`: a page in its own profile, watched."""
    contexts: list[BrowserContext] = []

    async def start(**options: Any) -> Page:
        context = await browser.new_context(**{"locale": "en", "reduced_motion": "reduce", **options})
        context.set_default_timeout(15_000)
        contexts.append(context)
        page = await context.new_page()
        witness.watch(page)
        return page

    yield start
    for context in contexts:
        await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(open_page: Callable[..., Any]) -> Page:
    """A page with a desktop's size, in English."""
    opened: Page = await open_page()
    return opened


@pytest_asyncio.fixture(loop_scope="session")
async def served() -> AsyncIterator[Desk]:
    """The HTTP shell before a fake intake, served on a free port."""
    desk = make_desk(settings={"public_url": ""})
    await desk.start()
    yield desk
    await desk.stop()
