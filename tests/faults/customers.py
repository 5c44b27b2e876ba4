"""Senders of all five channels, as patient as the real ones: what is refused for now or unanswered is sent again.

Each sends the same bytes with the same ids to any gateway until one says that it has them. One in four loses patience
at the first failure, as people do: what it sent may or may not be stored, and must not be stored twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import aiosmtplib

from tests.fakes import twilio, x_api
from tests.faults.journal import Fact, Journal

PUBLIC_URL: Final = "https://desk.example"
PATIENCE: Final = 6.0  # seconds a sender waits for an answer
LINES: Final = "The parcel was announced for Tuesday and has not arrived; the tracking page has not moved since.\n" * 12


class LaterError(Exception):
    """A temporary refusal."""


class NeverError(Exception):
    """A permanent refusal, or an answer that is not in the protocol."""


@dataclass(frozen=True, slots=True)
class Gate:
    """Where one gateway listens on loopback."""

    http: int
    smtp: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http}"


class Customer(ABC):
    """Sends one thing after another until told to stop, then sees the last one through."""

    channel: str

    def __init__(self, name: str, gates: Sequence[Gate], journal: Journal, *, pause: float) -> None:
        self.name = name
        self._journal = journal
        self._pause = pause
        self._gates: Iterator[Gate] = itertools.cycle(gates)
        self._gate = next(self._gates)
        self._dice = random.Random(name)

    async def run(self, stop: asyncio.Event) -> None:
        """Until stopped."""
        await self.open()
        try:
            number = 0
            while not stop.is_set():
                number += 1
                await self.say(number)
                await asyncio.sleep(self._pause)
        finally:
            await self.leave()

    async def leave(self) -> None:
        """For good."""
        await self.close()

    @abstractmethod
    async def say(self, number: int) -> None:
        """Send message number so-and-so, or everything of call number so-and-so."""

    async def open(self) -> None:  # noqa: B027
        """Before the first message."""

    async def close(self) -> None:  # noqa: B027
        """After the last one, and after a failure: the next message finds a new connection."""

    async def deliver(self, fact: Fact, content: Any, words: str = "") -> bool:
        """Send it until it is acknowledged; False when it was given up."""
        self._journal.attempt(fact, words)
        while True:
            try:
                async with asyncio.timeout(PATIENCE):
                    receipt = await self.send(content)
            except NeverError as error:
                self._journal.refuse(fact, str(error))
                return False
            except (
                LaterError,
                OSError,
                TimeoutError,
                EOFError,
                aiohttp.ClientError,
                aiosmtplib.SMTPException,
            ) as error:
                self._journal.fail(fact, f"{type(error).__name__}: {error}")
                await self.close()
                self._gate = next(self._gates)
                if self._dice.random() < 0.25:
                    return False
                await asyncio.sleep(self._dice.uniform(0.05, 0.4))
            else:
                self._journal.acknowledge(fact, receipt)
                return True

    @abstractmethod
    async def send(self, content: Any) -> str:
        """One try; the receipt, if the desk names one. Raises LaterError, NeverError, or what the network raises."""


class Mailer(Customer):
    """A mail server with a queue of its own, one connection for many mails."""

    channel = "email"

    async def open(self) -> None:
        self._connection: aiosmtplib.SMTP | None = None

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    async def say(self, number: int) -> None:
        message_id = f"{self.name}.{number}@customer.example"
        content = (
            f"From: {self.name}@customer.example\r\nTo: support@localhost\r\nSubject: Parcel {number}\r\n"
            f"Date: Sat, 01 Aug 2026 10:00:00 +0000\r\nMessage-ID: <{message_id}>\r\n"
            f"Content-Type: text/plain; charset=utf-8\r\n\r\n{message_id}\r\n" + LINES.replace("\n", "\r\n")
        )
        await self.deliver(Fact("email", message_id), content.encode(), message_id)

    async def send(self, content: bytes) -> str:
        if self._connection is None:
            connection = aiosmtplib.SMTP(
                hostname="127.0.0.1", port=self._gate.smtp, timeout=PATIENCE, use_tls=False, start_tls=False
            )
            await connection.connect()
            self._connection = connection
        try:
            errors, reply = await self._connection.sendmail(
                f"{self.name}@customer.example", "support@localhost", content
            )
        except aiosmtplib.SMTPRecipientsRefused as refused:
            raise _judge_smtp(refused.recipients[0].code, str(refused)) from None
        except aiosmtplib.SMTPResponseException as refused:
            raise _judge_smtp(refused.code, str(refused)) from None
        if errors:
            raise NeverError(str(errors))
        return reply.rpartition("accepted as ")[2].strip()


def _judge_smtp(code: int, words: str) -> Exception:
    return LaterError(words) if code < 0 or 400 <= code < 500 else NeverError(words)


class Browser(Customer, ABC):
    """Whoever speaks HTTP."""

    async def open(self) -> None:
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=4))
        self._stack = contextlib.AsyncExitStack()
        await self._stack.enter_async_context(self._http)

    async def leave(self) -> None:
        await super().leave()
        await self._stack.aclose()

    async def post(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
        """Status and body. Raises LaterError for 429, 502, 503 and 504, NeverError for other refusals."""
        url = self._gate.url + path
        async with self._http.post(url, data=body, headers=headers, allow_redirects=False) as answer:
            text = await answer.text()
        if answer.status in (429, 502, 503, 504):
            raise LaterError(f"{answer.status} {text[:100]}")
        if not 200 <= answer.status < 400:
            raise NeverError(f"{answer.status} {text[:300]}")
        return answer.status, text


class FormWriter(Browser):
    """A program that posts JSON, with an Idempotency-Key because it repeats itself."""

    channel = "form"

    async def say(self, number: int) -> None:
        key = f"{self.name}-{number}"
        form = {"email": f"{key}@customer.example", "subject": f"Parcel {number}", "message": f"{key}\n{LINES}"}
        await self.deliver(Fact("form", key), (key, json.dumps(form).encode()), key)

    async def send(self, content: tuple[str, bytes]) -> str:
        key, body = content
        _, text = await self.post("/form/contact", body, {"Content-Type": "application/json", "Idempotency-Key": key})
        return str(json.loads(text)["receipt_id"])


class Visitor(Browser):
    """A chat widget: one session, a socket that is opened again when it breaks, and ids that make a resend harmless."""

    channel = "chat"

    async def open(self) -> None:
        await super().open()
        self._token = ""
        self._socket: aiohttp.ClientWebSocketResponse | None = None

    async def close(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            with contextlib.suppress(OSError, TimeoutError, aiohttp.ClientError):
                async with asyncio.timeout(1):
                    await socket.close()

    async def say(self, number: int) -> None:
        client_msg_id = f"{self.name}-{number}"
        frame = {"type": "message.send", "client_msg_id": client_msg_id, "text": f"{client_msg_id} where is my parcel?"}
        await self.deliver(Fact("chat", client_msg_id), frame, client_msg_id)

    async def send(self, content: dict[str, str]) -> str:
        socket = self._socket or await self._join()
        await socket.send_json(content)
        while True:
            answer = await self._receive(socket)
            if answer.get("client_msg_id") != content["client_msg_id"]:
                continue
            if answer["type"] == "message.ack":
                return str(answer["receipt_id"])
            if answer["type"] == "message.nack":
                raise LaterError(str(answer))
            raise NeverError(str(answer))

    async def _join(self) -> aiohttp.ClientWebSocketResponse:
        if not self._token:
            _, text = await self.post("/chat/website/sessions", b"{}", {"Content-Type": "application/json"})
            self._token = json.loads(text)["session_token"]
        self._socket = socket = await self._http.ws_connect(f"{self._gate.url}/chat/website/ws")
        await socket.send_json({"type": "join", "token": self._token})
        joined = await self._receive(socket)
        if joined["type"] != "joined":
            raise NeverError(str(joined))
        return socket

    @staticmethod
    async def _receive(socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
        message = await socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise LaterError(f"the socket ended: {message.type.name} {message.data}")
        frame: dict[str, Any] = message.json()
        return frame


class Caller(Browser):
    """Twilio, with retries configured (`#rc=5&rp=all`): a call, its end, its recording, its transcription."""

    channel = "phone"

    async def say(self, number: int) -> None:
        call = twilio.Call(
            f"{PUBLIC_URL}/hooks/phone",
            seed=f"{self.name}-{number}",
            caller=f"+4930{self._dice.randrange(10**6, 10**7)}",
        )
        if not await self.deliver(Fact("phone", call.sid, "call.started"), call.voice()):
            return  # the caller heard that nobody can take the message, and hung up
        words = f"message of call {call.sid}"
        events = [
            ("call.ended", call.ended(), ""),
            ("call.recording_ready", call.recording(), ""),
            ("call.transcribed", call.transcription(words), words),
        ]
        self._dice.shuffle(events)
        for part, post, said in events:
            await self.deliver(Fact("phone", call.sid, part), post, said)

    async def send(self, content: twilio.Post) -> str:
        path = urlsplit(content.url).path
        _, text = await self.post(path, content.body, content.headers)
        if path.endswith("/voice") and "<Record" not in text:
            raise LaterError(f"the caller heard: {text[:200]}")
        return ""


class Tweeter(Browser):
    """X, which repeats a webhook that was not answered with 200."""

    channel = "twitter"

    async def say(self, number: int) -> None:
        serial = self._dice.randrange(10**12)
        words = f"post {serial} of {self.name}"
        item = x_api.post(serial, f"@AcmeHelp {words}")
        body = x_api.activity("post.mention.create", item, uuid=f"{self.name}-{number}")
        await self.deliver(Fact("twitter", item["id"]), body, words)

    async def send(self, content: bytes) -> str:
        headers = {"Content-Type": "application/json", "x-twitter-webhooks-signature": x_api.sign(content)}
        await self.post("/hooks/twitter", content, headers)
        return ""


KINDS: Final[tuple[type[Customer], ...]] = (Mailer, FormWriter, Visitor, Caller, Tweeter)


class Crowd:
    """Customers of every channel at once; at the end of the `async with` everybody sees their last word through."""

    def __init__(self, gates: Sequence[Gate], journal: Journal, *, each: int = 2, pause: float = 0.1) -> None:
        shifted = [[*gates[number % len(gates) :], *gates[: number % len(gates)]] for number in range(each)]
        self._customers = [
            kind(f"{kind.channel}{number}", shifted[number], journal, pause=pause)
            for kind in KINDS
            for number in range(each)
        ]
        self._journal = journal
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Crowd:
        self._tasks = [
            asyncio.create_task(customer.run(self._stop), name=customer.name) for customer in self._customers
        ]
        return self

    async def __aexit__(self, *failure: object) -> None:
        self._stop.set()
        _, late = await asyncio.wait(self._tasks, timeout=60)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        assert not late, f"never answered: {[task.get_name() for task in late]}"
        for task in self._tasks:
            task.result()

    async def go_on(self, seconds: float) -> None:
        """Let them send for a while; a sender that broke is a broken test."""
        done, _ = await asyncio.wait(self._tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def hear(self, count: int, *, within: float = 30.0) -> None:
        """Let them send until so many more were acknowledged; that it takes longer than `within` is a failure."""
        wanted = len(self._journal.acknowledged) + count
        deadline = asyncio.get_running_loop().time() + within
        while len(self._journal.acknowledged) < wanted:
            missing = wanted - len(self._journal.acknowledged)
            assert asyncio.get_running_loop().time() < deadline, f"{missing} of {count} not accepted in {within:g} s"
            await self.go_on(0.05)
