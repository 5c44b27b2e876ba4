"""A desk without a back room: the real HTTP shell and adapters in front of an intake that remembers, or refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from aiohttp import web

from adapters.base import Adapter, Answer, Clients, InboundRequest, InboxOptions, Raw, Refused
from adapters.chat import Chat
from adapters.webform import WebForm
from gateway.ids import uuid7
from gateway.intake import Inbox, NotDurableError, Receipt
from gateway.settings import Settings
from gateway.web.app import build_app
from gateway.web.keys import CLOCK
from gateway.web.server import listen
from normalizer.message import Author, Draft, MessageDraft

TOKEN_KEY = "form-key-for-tests-0123456789abcdef"
SESSION_KEY = "session-key-for-tests-0123456789ab"
IDENTITY_SECRET = "identity-secret-for-tests-01234567"


class HookOptions(InboxOptions):
    """A provider with a password in a header."""

    channel: str = "hook"


class Hook(Adapter[HookOptions]):
    """A made-up provider, so that `/hooks` is tested apart from any real one."""

    channel = "hook"
    Options = HookOptions
    tails = frozenset({"", "voice"})

    def authenticate(self, raw: Raw) -> None:
        if raw.request is None or raw.request.headers.get("X-Password") != "open sesame":
            raise Refused(403, "The password is wrong.")

    def normalize(self, raw: Raw) -> Sequence[Draft]:
        if raw.body == b"bug":
            raise RuntimeError("secret-looking detail")
        return [MessageDraft(author=Author(kind="app"), text=raw.body.decode("utf-8", "replace"), delivery_key="k")]

    def challenge(self, request: InboundRequest) -> Answer | None:
        token = request.query.get("challenge")
        return Answer(200, token.encode()) if token else None

    def acknowledge(self, request: InboundRequest, receipt_ids: Sequence[str]) -> Answer:
        return Answer(200, b"<Response/>", "text/xml", {"X-Url": request.url, "X-Receipts": str(len(receipt_ids))})

    def refuse_temporarily(self, request: InboundRequest) -> Answer | None:
        return Answer(200, b"<Say>later</Say>", "text/xml") if request.tail == "voice" else None


class FakeIntake:
    """Authenticates and normalises like the real one; what it accepts is in `drafts`, `error` makes it refuse."""

    def __init__(self) -> None:
        self.drafts: list[MessageDraft] = []
        self.raws: list[Raw] = []
        self.receipt_ids: list[UUID] = []
        self.error: Exception | None = None
        self.gate: asyncio.Event | None = None  # when set, accepting waits for it

    async def accept(self, inbox: Inbox, raw: Raw) -> list[Receipt]:
        inbox.adapter.authenticate(raw)
        drafts = inbox.adapter.normalize(raw)
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        receipts = [Receipt(uuid7(), draft.external_id, draft) for draft in drafts]
        self.raws.append(raw)
        self.drafts += [draft for draft in drafts if isinstance(draft, MessageDraft)]
        self.receipt_ids += [receipt.receipt_id for receipt in receipts]
        return receipts


class FakeStore:
    """Answers every read with `rows`, or with `error`."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.asked: list[tuple[Any, ...]] = []
        self.error: Exception | None = None

    async def read(self, function: Callable[..., Any], *args: Any) -> Any:
        self.asked.append(args)
        if self.error:
            raise self.error
        return self.rows


@dataclass
class Desk:
    """What a test holds: the address to talk to and what came of it."""

    intake: FakeIntake
    store: FakeStore
    app: web.Application
    settings: Settings
    inboxes: dict[str, Inbox]
    runner: web.AppRunner | None = None
    port: int = 0
    now: float = 1_785_578_400.0  # the vectors' clock
    is_ready: bool = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        assert self.runner is not None
        assert self.runner.server is not None
        return len(self.runner.server.connections)

    def form(self, name: str = "contact") -> WebForm:
        adapter = self.inboxes[name].adapter
        assert isinstance(adapter, WebForm)
        return adapter

    def chat(self, name: str = "website") -> Chat:
        adapter = self.inboxes[name].adapter
        assert isinstance(adapter, Chat)
        return adapter

    def refuse(self) -> None:
        """From now on nothing can be made durable."""
        self.intake.error = NotDurableError("the disk is full", retry_after=7.2)

    def recover(self) -> None:
        self.intake.error = None

    async def ready(self) -> tuple[bool, dict[str, Any]]:
        return self.is_ready, {"spool": "writable" if self.is_ready else "disk full"}

    async def start(self, port: int = 0, **options: Any) -> None:
        self.runner, self.port = await listen(self.app, "127.0.0.1", port, grace=1.0, **options)

    async def stop(self) -> None:
        if self.runner is not None:
            await self.runner.cleanup()
            self.runner = None


def make_inbox(name: str, adapter: type[Adapter[Any]], **options: Any) -> Inbox:
    chosen = adapter.Options(**{"channel": adapter.channel, **options})
    return Inbox(name, adapter.channel, adapter(name, chosen, Clients()), chosen)


def make_desk(**changes: dict[str, Any]) -> Desk:
    """A desk with one inbox of each kind; `changes` are options by inbox, `settings` those of the process."""
    settings = Settings(**{"public_url": "https://desk.example", **changes.get("settings", {})})
    inboxes = {
        "contact": make_inbox("contact", WebForm, **{"token_key": TOKEN_KEY, **changes.get("contact", {})}),
        "website": make_inbox(
            "website",
            Chat,
            **{"session_key": SESSION_KEY, "identity_secret": IDENTITY_SECRET, **changes.get("website", {})},
        ),
        "provider": make_inbox("provider", Hook),
    }
    desk = Desk(FakeIntake(), FakeStore(), web.Application(), settings, inboxes)
    runtime: Any = desk  # it has what the shell asks of a runtime: settings, inboxes, intake, store, ready()
    desk.app = build_app(runtime)
    desk.app[CLOCK] = lambda: desk.now
    return desk
