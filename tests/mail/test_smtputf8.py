"""What EHLO announces is honoured: 8-bit content and addresses in any script arrive as they were sent."""

from __future__ import annotations

import asyncio
import smtplib

import pytest

from tests.mail.conftest import Desk, OpenDesk, mail_inbox, receipt_in

LETTER = (
    "From: Grün <grün@exämple.com>\r\nTo: größe@desk.example\r\nSubject: Größe 語\r\n\r\nSchöne Grüße\r\n"
).encode()
RAW = b"Subject: bytes\r\nContent-Type: application/octet-stream\r\n\r\n" + bytes(
    octet for octet in range(256) if octet not in b"\r\n"
)


def send(address: tuple[str, int], sender: str, recipient: str, letter: bytes, options: tuple[str, ...]) -> None:
    with smtplib.SMTP(*address, timeout=20) as client:
        client.ehlo()
        assert client.has_extn("smtputf8")
        assert client.has_extn("8bitmime")
        client.command_encoding = "utf-8"
        client.sendmail(sender, [recipient], letter, mail_options=options)


async def test_addresses_and_header_in_utf8_by_smtplib(open_desk: OpenDesk) -> None:
    async with open_desk(inboxes=(mail_inbox("support", domain="desk.example"),)) as desk:
        options = ("SMTPUTF8", "BODY=8BITMIME")
        await asyncio.to_thread(send, desk.smtp, "grün@exämple.com", "größe@desk.example", LETTER, options)
        [(inbox, raw)] = desk.door.arrived
        assert (inbox, raw.body) == ("support", LETTER)
        assert raw.facts["mail_from"] == "grün@exämple.com"
        assert raw.facts["rcpt_tos"] == ["größe@desk.example"]


@pytest.mark.parametrize("parameter", ["", " BODY=8BITMIME", " BODY=7BIT", " BODY=8BITMIME SMTPUTF8"])
@pytest.mark.parametrize("lmtp", [False, True])
async def test_every_octet_arrives_whatever_was_announced(desk: Desk, parameter: str, lmtp: bool) -> None:
    line = await desk.connect(lmtp=lmtp)
    await line.say(f"MAIL FROM:<erika@example.com>{parameter}", "RCPT TO:<help@desk.example>", "DATA")
    assert [(await line.reply())[:3] for _ in range(3)] == ["250", "250", "354"]
    await line.send(RAW + b"\r\n.\r\n")
    receipt_in(await line.reply())
    assert desk.door.bodies == [RAW + b"\r\n"]
    await line.close()


async def test_a_body_that_is_not_announced_is_refused(desk: Desk) -> None:
    line = await desk.connect()
    assert (await line.ask("MAIL FROM:<erika@example.com> BODY=BINARYMIME"))[:3] in ("501", "504", "555")
    assert (await line.ask("MAIL FROM:<erika@example.com>")).startswith("250")
    await line.close()
