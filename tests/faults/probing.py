"""One question at a door, and its exact answer: what senders are told while something is broken."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

import aiohttp
import aiosmtplib

from tests.faults.customers import Gate
from tests.faults.journal import Fact, Journal

TOKEN = "fault-test-token"
_FORM = {"email": "probe@customer.example", "subject": "Probe", "message": "Is anybody there?"}


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers of interest, text."""

    status: int
    retry_after: str
    text: str


async def ask(gate: Gate, path: str, *, patience: float = 5.0) -> Answer:
    """GET with the API token. Raises TimeoutError after `patience` seconds."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        asyncio.timeout(patience),
        aiohttp.ClientSession() as http,
        http.get(gate.url + path, headers=headers) as got,
    ):
        return Answer(got.status, got.headers.get("Retry-After", ""), await got.text())


async def post_form(gate: Gate, key: str, *, journal: Journal | None = None, patience: float = 10.0) -> Answer:
    """One form; what was acknowledged goes into the journal."""
    fact = Fact("form", key)
    if journal is not None:
        journal.attempt(fact, key)
    body = json.dumps(_FORM | {"email": f"{key}@customer.example", "message": f"{key} is anybody there?"})
    headers = {"Content-Type": "application/json", "Idempotency-Key": key}
    url = f"{gate.url}/form/contact"
    async with (
        asyncio.timeout(patience),
        aiohttp.ClientSession() as http,
        http.post(url, data=body, headers=headers) as got,
    ):
        answer = Answer(got.status, got.headers.get("Retry-After", ""), await got.text())
    if journal is not None and answer.status < 300:
        journal.acknowledge(fact, str(json.loads(answer.text)["receipt_id"]))
    return answer


def compose_mail(message_id: str, words: str) -> bytes:
    """One mail of a customer."""
    return (
        f"From: probe@customer.example\r\nTo: support@localhost\r\nSubject: {message_id}\r\n"
        f"Date: Sat, 01 Aug 2026 10:00:00 +0000\r\nMessage-ID: <{message_id}>\r\n\r\n{words}\r\n"
    ).encode()


async def send_mail(gate: Gate, message_id: str, *, journal: Journal | None = None, patience: float = 10.0) -> int:
    """One mail: the code of the answer that decided, 250 or a refusal's."""
    fact = Fact("email", message_id)
    if journal is not None:
        journal.attempt(fact, message_id)
    connection = aiosmtplib.SMTP(hostname="127.0.0.1", port=gate.smtp, timeout=patience, use_tls=False, start_tls=False)
    async with asyncio.timeout(patience):
        await connection.connect()
        try:
            content = compose_mail(message_id, message_id)
            _, reply = await connection.sendmail("probe@customer.example", "support@localhost", content)
        except aiosmtplib.SMTPRecipientsRefused as refused:
            return refused.recipients[0].code
        except aiosmtplib.SMTPResponseException as refused:
            return refused.code
        finally:
            connection.close()
    if journal is not None:
        journal.acknowledge(fact, reply.rpartition("accepted as ")[2].strip())
    return 250
