"""The console in a real browser: nothing a stranger wrote runs or calls out, lists move by themselves, keys work."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from gateway.settings import Settings
from gateway.store import tables as t
from gateway.store.blobs import Blobs
from gateway.store.engine import Store, open_store
from gateway.web.auth import Logins
from gateway.web.console.live import BROADCASTER, Broadcaster
from gateway.web.server import listen
from tests.api import seed
from tests.api.conftest import Runtime, make_app
from tests.browser.witness import BROWSER, POOR_CONTRAST, UNNAMED, Witness

pytestmark = BROWSER
EVIL = "http://evil.invalid"

ATTACKS = [
    "<script>pwned=1;alert(1)</script>",
    "</title></textarea></script><script>pwned=1</script>",
    '"><img src=x onerror="pwned=1;alert(1)">',
    "'\"--></style></svg><svg/onload=pwned=1>",
    "{{7*7}}${7*7}{% raw %}<%= 7 %>",
    '<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=x onerror=pwned=1&gt;">',
    '<noscript><p title="</noscript><img src=x onerror=pwned=1>">',
    f'<img src="{EVIL}/a.gif"><link rel=stylesheet href="{EVIL}/a.css"><style>@import "{EVIL}/b.css";</style>',
    f'<div style="background:url({EVIL}/c.png);position:fixed;inset:0">cover</div>',
    f'<meta http-equiv="refresh" content="0;url={EVIL}/"><base href="{EVIL}/">',
    f'<form action="{EVIL}/"><input autofocus onfocus=pwned=1><button>go</button></form>',
    f'<iframe srcdoc="<script>top.pwned=1</script>"></iframe><object data="{EVIL}/o"></object><embed src="{EVIL}/e">',
    '<a href="javascript:pwned=1">click</a><a href="data:text/html,<script>pwned=1</script>">data</a>',
    f'<video poster="{EVIL}/p.png"><source src="{EVIL}/v" onerror=pwned=1></video><audio src="{EVIL}/s">',
    '<a id="live"></a><form name="body"></form><p data-revision="x" id="news">clobber</p>',
    "\u202eevil\u202c\u0000\u0007 ]]> <![CDATA[<script>pwned=1</script>]]>",
]


@dataclass
class Console:
    """A served console over a filled store."""

    url: str
    runtime: Runtime
    store: Store
    ids: dict[str, Any]

    async def sign_in(self, page: Page) -> None:
        await page.goto(f"{self.url}/console/login?token={self.runtime.logins.issue()}")
        await expect(page.get_by_role("link", name="Newest")).to_be_visible()
        await keys_work(page)


async def keys_work(page: Page) -> None:
    """A row can be seen before the deferred script listens for keys; by the load event it does."""
    await page.wait_for_load_state("load")


@pytest_asyncio.fixture(loop_scope="session")
async def console(tmp_path: Path) -> AsyncIterator[Console]:
    store = open_store(f"sqlite:///{tmp_path / 'desk.db'}")
    await store.write(t.metadata.create_all)
    ids = await store.write(seed.fill)
    blobs = Blobs(tmp_path / "blobs")
    runtime = Runtime(Settings(), store, blobs, Logins())
    app = make_app(runtime)
    app[BROADCASTER] = Broadcaster(interval=0.05)
    runner, port = await listen(app, "127.0.0.1", 0)
    yield Console(f"http://127.0.0.1:{port}", runtime, store, ids)
    await runner.cleanup()
    await store.close()
    blobs.close()


def attacked(conn: Any, attack: str, number: int) -> tuple[int, int]:
    """A ticket and a suspended message with the attack in every place a stranger can write to."""
    desk = seed.Desk(conn)
    desk.counter = 9000 + 100 * number
    who = desk.customer(
        attack, ("email", f"{number}{attack}", "verified"), language="xx", **{attack.replace("\0", ""): attack}
    )
    other = desk.ticket("email", "support", attack, who)
    ticket = desk.ticket("email", attack[:30], attack, who, language=attack[:30])
    values = seed.mail(attack, attack, attack)
    values |= {
        "author_id": who,
        "author_evidence": attack,
        "subject": f"x{attack}",
        "html": attack,
        "full_text": f"{attack}\n{attack}",
        "matched_by": "references",
        "original": attack.encode(),
        "original_type": "message/rfc822",
        "fields": {attack: attack},
        "automated": [{"name": attack, "reason": attack}],
        "problems": [{"name": attack, "reason": attack}],
        "recipients": [{"role": attack, "kind": "email", "value": attack, "display_name": attack}],
        "explanation": {
            "rule": attack,
            "evidence": attack,
            "rejected": [{"ticket_id": other, "rule": attack, "evidence": attack, "reason": attack}],
        },
        "files": [
            {"filename": attack, "body": attack.encode(), "content_type": f"text/html{attack}"},
            {"filename": attack, "body": attack.encode(), "content_type": "text/html", "sniffed_type": "image/png"},
        ],
    }
    desk.comment(ticket, attack, **values)
    desk.event(ticket, "reopened", because=attack)
    desk.event(ticket, attack[:20], reason=attack)
    desk.add(t.ticket_links, ticket_id=ticket, other_id=other, kind="related", reason=attack, created_at=desk.now)
    desk.add(t.participants, ticket_id=ticket, identity=f"email:{attack}")
    return ticket, _attacked_suspended(desk, attack)


def _attacked_suspended(desk: seed.Desk, attack: str) -> int:
    return desk.add(
        t.suspended,
        receipt_id=desk.uuid(),
        channel="email",
        inbox=attack,
        cause=attack,
        author=f"email:{attack}",
        subject=attack,
        message={"external_id": attack, "text": attack, "problems": [{"name": attack, "reason": attack}]},
        original=attack.encode(),
        original_type=attack,
        received_at=desk.now,
    )


async def test_nothing_a_stranger_wrote_runs_or_calls_out(console: Console, page: Page, witness: Witness) -> None:
    """Every attack on its own ticket and suspended message; the lists show all of them at once."""
    page.on("dialog", lambda dialog: witness.complaints.append(f"dialog {dialog.message}"))
    witness.expected.append("status of 404")  # the preview of what only pretends to be a picture
    placed = [
        await console.store.write(attacked, attack.replace("\0", ""), number) for number, attack in enumerate(ATTACKS)
    ]
    await console.sign_in(page)
    await expect(page.locator(f'[data-id="t{placed[0][0]}"] .subject')).to_have_text(ATTACKS[0])
    for path in ("?list=suspended", "?q=%22%3E%3Cscript%3Epwned%3D1%3C%2Fscript%3E", "?channel=%3Cscript%3E"):
        await page.goto(f"{console.url}/console{path}")
        assert await page.evaluate("typeof pwned") == "undefined", path
    for attack, (ticket, held) in zip(ATTACKS, placed, strict=True):
        await page.goto(f"{console.url}/console/suspended/{held}")
        assert await page.evaluate("typeof pwned") == "undefined", attack
        await page.goto(f"{console.url}/console/tickets/{ticket}")
        await page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        await page.locator("iframe").scroll_into_view_if_needed()
        await expect(page.frame_locator("iframe").locator("body")).to_be_attached()
        assert await page.evaluate("typeof pwned") == "undefined", attack
        assert page.url == f"{console.url}/console/tickets/{ticket}", attack
        assert witness.complaints == [], attack
    assert await page.locator("iframe").get_attribute("sandbox") == "allow-popups allow-popups-to-escape-sandbox"


async def test_a_new_ticket_appears_by_itself(console: Console, page: Page) -> None:
    await console.sign_in(page)
    await expect(page.locator("#live-state")).to_have_text("live")
    before = await page.locator(".row").count()
    await page.keyboard.press("j")
    focused = await page.evaluate("document.activeElement.closest('.row').dataset.id")

    def arrive(conn: Any) -> None:
        desk = seed.Desk(conn, seed.START.replace(day=21))
        desk.counter = 700
        desk.comment(desk.ticket("form", "contact", "Just arrived", None), "hello", channel="form", inbox="contact")

    await console.store.write(arrive)
    await expect(page.locator(".row").first).to_contain_text("Just arrived")
    await expect(page.locator(".row")).to_have_count(before + 1)
    assert await page.evaluate("document.activeElement.closest('.row').dataset.id") == focused


async def test_an_open_ticket_says_that_there_is_more(console: Console, page: Page) -> None:
    await console.sign_in(page)
    ticket = console.ids["mail_ticket"]
    await page.goto(f"{console.url}/console/tickets/{ticket}")
    await expect(page.locator("#live-state")).to_have_text("live")
    await expect(page.locator("#news")).to_be_hidden()

    def answer(conn: Any) -> None:
        desk = seed.Desk(conn, seed.START.replace(day=21))
        desk.counter = 800
        desk.comment(ticket, "One more thing", channel="form", inbox="contact")

    await console.store.write(answer)
    await page.get_by_role("link", name="Something new on this ticket").click()
    await expect(page.get_by_text("One more thing")).to_be_visible()


async def test_by_keyboard(console: Console, page: Page) -> None:
    await console.sign_in(page)
    await page.keyboard.press("/")
    await page.keyboard.type("requester:ann@example.org")
    await page.keyboard.press("Enter")
    await expect(page.locator(".row")).to_have_count(1)
    await keys_work(page)
    await page.keyboard.press("j")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Parcel arrived broken")
    await keys_work(page)
    await page.keyboard.press("j")
    await page.keyboard.press("j")
    assert await page.evaluate("document.activeElement.id") == f"c{console.ids['mail_comment'] + 1}"
    await page.keyboard.press("k")
    assert await page.evaluate("document.activeElement.id") == f"c{console.ids['mail_comment']}"
    await page.keyboard.press("u")
    await expect(page.get_by_role("link", name="Newest")).to_be_visible()


PAGES = ("/console", "/console?list=waiting", "/console?list=suspended", "/console/tickets/1", "/console/suspended/1")


@pytest.mark.parametrize(("width", "scheme"), [(320, "dark"), (390, "light"), (1280, "light")])
async def test_readable_everywhere(console: Console, open_page: Callable[..., Any], scheme: str, width: int) -> None:
    page = await open_page(color_scheme=scheme, viewport={"width": width, "height": 800})
    await console.sign_in(page)
    for path in (*PAGES, "/console/dead/1", f"/console/receipts/{console.ids['duplicate_receipt']}"):
        await page.goto(console.url + path)
        await page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        assert await page.evaluate(POOR_CONTRAST) == [], path
        assert await page.evaluate(UNNAMED) == [], path
        assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, path


async def test_whole_without_javascript(console: Console, open_page: Callable[..., Any]) -> None:
    page = await open_page(java_script_enabled=False)
    await console.sign_in(page)
    await page.get_by_text("Parcel arrived broken").click()
    await page.get_by_text("It answers <a1@example.org>").click()
    await expect(page.get_by_text("ann@example.org has not taken part in it")).to_be_visible()
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("heading", name="You are signed out")).to_be_visible()
