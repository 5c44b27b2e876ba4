"""What clients hear, in ordinary and in odd conversations."""

from __future__ import annotations

import asyncio
import smtplib
from email.message import EmailMessage
from typing import Any

import aiosmtplib
import pytest

from adapters.base import Raw, Refused
from gateway.intake import NotDurableError
from gateway.mail.limits import Limits
from tests.mail.conftest import Desk, OpenDesk, mail_inbox, receipt_in


def letter(text: str = "Where is my order?") -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Erika <erika@example.com>"
    message["To"] = "help@desk.example"
    message["Subject"] = "Order 1042"
    message["Message-ID"] = "<1@example.com>"
    message.set_content(text)
    return message


async def test_a_mail_by_aiosmtplib_is_accepted_with_its_receipt(desk: Desk) -> None:
    host, port = desk.smtp
    refused, reply = await aiosmtplib.send(letter("Grüße ✉"), hostname=host, port=port, start_tls=False)
    assert not refused
    assert reply.startswith("2.0.0 accepted as ")
    inbox, raw = desk.door.arrived[0]
    assert inbox == "support"
    assert raw.content_type == "message/rfc822"
    assert dict(raw.facts) == {
        "mail_from": "erika@example.com",
        "rcpt_tos": ["help@desk.example"],
        "remote": "127.0.0.1",
        "helo": raw.facts["helo"],
        "protocol": "smtp",
    }
    assert b"Subject: Order 1042\r\n" in raw.body


async def test_a_mail_by_smtplib_with_dots_arrives_as_it_was_sent(desk: Desk) -> None:
    message = letter()
    body = b"Subject: dots\r\n\r\n.\r\n..\r\n.leading\r\nin.the.middle\r\n...\r\nend.\r\n"

    def send() -> None:
        with smtplib.SMTP(*desk.smtp) as client:
            client.sendmail("erika@example.com", ["help@desk.example"], body)
            client.send_message(message)

    await asyncio.to_thread(send)
    assert desk.door.bodies[0] == body
    assert len(desk.door.bodies) == 2


async def test_ehlo_announces_what_is_supported_and_no_version(desk: Desk) -> None:
    line = await desk.connect(hello=False)
    reply = await line.ask("EHLO client.example")
    assert reply.splitlines() == [
        "250-mx.desk.example",
        "250-SIZE 26214400",
        "250-8BITMIME",
        "250-SMTPUTF8",
        "250-PIPELINING",
        "250 ENHANCEDSTATUSCODES",
    ]
    assert await line.ask("HELP") != ""
    await line.close()


async def test_the_greeting_names_no_software(desk: Desk) -> None:
    reader, writer = await asyncio.open_connection(*desk.smtp)
    assert await reader.readline() == b"220 mx.desk.example ESMTP\r\n"
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("MAIL FROM:<erika@example.com>", "250 2.1.0 "),
        ("MAIL FROM:<>", "250 2.1.0 "),
        ("MAIL FROM:<erika@example.com> SIZE=26214400 BODY=8BITMIME SMTPUTF8", "250 2.1.0 "),
        ("MAIL FROM:<grün@exämple.com> SMTPUTF8", "250 2.1.0 "),
        ("MAIL FROM:<erika@example.com> SIZE=26214401", "552 5.3.4 "),
        ("MAIL FROM:<erika@example.com> SIZE=99999999999999999999999999", "552 5.3.4 "),
        ("MAIL FROM:<erika@example.com> SIZE=lots", "501 5.5.4 "),
        ("MAIL FROM:<erika@example.com> NOSUCH=1", "555 5.5.4 "),
        ("MAIL FROM:<erika@exam\x01ple.com>", "553 5.1.3 "),
        ("MAIL FROM:<" + "(" * 1500 + "@example.com>", "250 2.1.0 "),
        ("MAIL FROM:erika", "250 2.1.0 "),
        ("MAIL", "501 5.5.4 "),
        ("RCPT TO:<help@desk.example>", "503 5.5.1 "),
        ("DATA", "503 5.5.1 "),
        ("RSET", "250 2.0.0 "),
        ("NOOP", "250 2.0.0 "),
        ("VRFY help@desk.example", "252 2.5.0 "),
        ("EXPN help@desk.example", "252 2.5.0 "),
        ("AUTH PLAIN AGEAYg==", "538 5.7.11 "),
        ("STARTTLS", "454 "),
        ("QUIT", "221 2.0.0 "),
        ("XYZZY \x1b[31m", "500 5.5.2 "),
        ("MÄIL FROM:<a@b.example>", "500 5.5.2 "),
    ],
)
async def test_one_command(desk: Desk, command: str, expected: str) -> None:
    line = await desk.connect()
    reply = await line.ask(command)
    assert reply.startswith(expected)
    assert reply.isprintable()
    await line.close()


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("<help@desk.example>", "250 2.1.5 "),
        ("<HELP@Desk.Example>", "250 2.1.5 "),
        ("<@relay.example,@other.example:help@desk.example>", "250 2.1.5 "),
        ('<"o\\"dd > one"@desk.example>', "250 2.1.5 "),
        ("<stranger@elsewhere.example>", "550 5.1.1 "),
        ("<victim%elsewhere.example@relay.example>", "550 5.1.1 "),
        ("<PostMaster>", "250 2.1.5 "),
        ("<hostmaster>", "550 5.1.1 "),
        ("<>", "550 5.1.1 "),
        ("<a b@desk.example>", "553 5.1.3 "),
        ("<help@desk.example", "553 5.1.3 "),
        ("<help@desk.example>x", "553 5.1.3 "),
        ("", "501 5.5.4 "),
    ],
)
async def test_only_addresses_of_an_inbox_are_taken(desk: Desk, address: str, expected: str) -> None:
    line = await desk.connect()
    await line.ask("MAIL FROM:<erika@example.com>")
    assert (await line.ask(f"RCPT TO:{address}")).startswith(expected)
    await line.close()


async def test_a_refused_recipient_hears_what_to_do(desk: Desk) -> None:
    line = await desk.connect()
    await line.ask("MAIL FROM:<erika@example.com>")
    reply = await line.ask("RCPT TO:<nobody@elsewhere.example>")
    assert "nobody@elsewhere.example" in reply
    assert "mail inbox" in reply
    assert (await line.ask("DATA")).startswith("503 5.5.1")
    await line.close()


async def test_hello_comes_first(desk: Desk) -> None:
    line = await desk.connect(hello=False)
    assert (await line.ask("MAIL FROM:<erika@example.com>")).startswith("503 5.5.1")
    assert (await line.ask("DATA")).startswith("503 5.5.1")
    await line.close()


async def test_a_hundred_recipients_and_the_rest_in_another_transaction(desk: Desk) -> None:
    line = await desk.connect()
    replies = await line.envelope(*(f"r{number}@desk.example" for number in range(103)))
    assert [reply[:9] for reply in replies[1:101]] == ["250 2.1.5"] * 100
    assert [reply[:9] for reply in replies[101:104]] == ["452 4.5.3"] * 3
    assert replies[104].startswith("354")
    await line.send(b"Subject: many\r\n\r\nx\r\n.\r\n")
    receipt_in(await line.reply())
    assert len(desk.door.arrived[0][1].facts["rcpt_tos"]) == 100
    await line.close()


async def test_replies_to_a_group_of_commands_travel_together(desk: Desk) -> None:
    """RFC 2920 3.2. One read of the socket brings what was written at once; a reply that stands alone is not kept."""
    line = await desk.connect()
    await line.say("MAIL FROM:<erika@example.com>", "RCPT TO:<a@desk.example>", "RCPT TO:<x@elsewhere.example>", "DATA")
    heard = await asyncio.wait_for(line.reader.read(4096), 20)
    assert [part[:3] for part in heard.decode().splitlines()] == ["250", "250", "550", "354"]
    await line.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
    assert (await line.reply()).startswith("250")
    assert (await line.ask("MAIL FROM:<erika@example.com>")).startswith("250")
    await line.send(b"RCPT TO:<a@desk.example>\r\nRCPT TO:<b@des")
    assert (await line.reply()).startswith("250"), "half a command is no reason to wait with the reply to a whole one"
    await line.close()


async def test_what_was_held_back_is_said_before_the_last_words(open_desk: OpenDesk) -> None:
    async with open_desk(limits=Limits(refusals=2)) as desk:
        line = await desk.connect()
        await line.say("MAIL FROM:<erika@example.com>", *["RCPT TO:<x@elsewhere.example>"] * 4, "DATA")
        heard = (await line.rest()).decode().splitlines()
    assert [part[:3] for part in heard] == ["250", "550", "550", "421"]


async def test_pipelined_mails_on_one_connection_are_answered_in_order(desk: Desk) -> None:
    line = await desk.connect()
    for number in range(3):
        await line.envelope("help@desk.example")
        # The next envelope may follow the dot at once (RFC 2920 3.1: DATA ends a group, its content does not).
        await line.send(b"Subject: %d\r\n\r\nhi\r\n.\r\nNOOP\r\nRSET\r\n" % number)
        receipt_in(await line.reply())
        assert [(await line.reply())[:9] for _ in range(2)] == ["250 2.0.0"] * 2
    assert desk.door.bodies == [b"Subject: %d\r\n\r\nhi\r\n" % number for number in range(3)]
    await line.close()


async def test_the_envelope_is_forgotten_after_each_message(desk: Desk) -> None:
    line = await desk.connect()
    await line.envelope("help@desk.example")
    await line.send(b"x\r\n.\r\n")
    await line.reply()
    assert (await line.ask("DATA")).startswith("503 5.5.1")
    await line.ask("MAIL FROM:<erika@example.com>")
    await line.ask("RCPT TO:<help@desk.example>")
    await line.ask("RSET")
    assert (await line.ask("DATA")).startswith("503 5.5.1")
    await line.close()


async def test_the_null_sender_arrives_as_an_empty_string(desk: Desk) -> None:
    line = await desk.connect()
    await line.envelope("help@desk.example", sender="")
    await line.send(b"Subject: bounce\r\n\r\n.\r\n")
    receipt_in(await line.reply())
    assert desk.door.arrived[0][1].facts["mail_from"] == ""
    await line.close()


# Several inboxes ---------------------------------------------------------------------------------------------------


TWO = (mail_inbox("support", domain="desk.example"), mail_inbox("billing", addresses=("billing@desk.example",)))


async def test_one_mail_to_two_inboxes_is_accepted_once_by_each(open_desk: OpenDesk) -> None:
    async with open_desk(inboxes=TWO) as desk:
        line = await desk.connect()
        await line.envelope("help@desk.example", "billing@desk.example", "info@desk.example")
        await line.send(b"Subject: both\r\n\r\n.\r\n")
        reply = await line.reply()
        receipt_in(reply)
        assert len(reply.split()) == 6, "both receipts"
        assert {name: raw.facts["rcpt_tos"] for name, raw in desk.door.arrived} == {
            "support": ["help@desk.example", "info@desk.example"],
            "billing": ["billing@desk.example"],
        }
        await line.close()


def failing(inbox: str, error: Exception) -> Any:
    async def answer(name: str, raw: Raw) -> None:
        if name == inbox:
            raise error

    return answer


@pytest.mark.parametrize(
    ("error", "smtp", "lmtp"),
    [
        (NotDurableError("spool is full"), "452 4.3.1", "452 4.3.1"),
        (RuntimeError("password=hunter2"), "451 4.3.0", "451 4.3.0"),
        (Refused(403, "This inbox takes no mail\r\n250 from you"), "550 5.7.1", "550 5.7.1"),
        (Refused(429, "Slow down"), "451 4.7.1", "451 4.7.1"),
    ],
)
async def test_if_one_inbox_fails_smtp_fails_and_lmtp_tells_them_apart(
    open_desk: OpenDesk, caplog: pytest.LogCaptureFixture, error: Exception, smtp: str, lmtp: str
) -> None:
    async with open_desk(inboxes=TWO) as desk:
        desk.door.answer = failing("billing", error)
        line = await desk.connect()
        await line.envelope("help@desk.example", "billing@desk.example")
        await line.send(b"Subject: both\r\n\r\n.\r\n")
        reply = await line.reply()
        assert reply.startswith(smtp)
        assert "hunter2" not in reply
        await line.close()
        line = await desk.connect(lmtp=True)
        await line.envelope("help@desk.example", "billing@desk.example", "info@desk.example")
        await line.send(b"Subject: both\r\n\r\n.\r\n")
        first, second, third = [await line.reply() for _ in range(3)]
        assert receipt_in(first) == receipt_in(third)
        assert second.startswith(lmtp)
        assert (await line.ask("NOOP")).startswith("250 2.0.0"), "the conversation goes on"
        await line.close()


async def test_lmtp_answers_each_accepted_recipient(desk: Desk) -> None:
    line = await desk.connect(lmtp=True)
    replies = await line.envelope("a@desk.example", "bad@elsewhere.example", "c@desk.example")
    assert [reply[:3] for reply in replies] == ["250", "250", "550", "250", "354"]
    await line.send(b"Subject: three\r\n\r\n.\r\n")
    assert receipt_in(await line.reply()) == receipt_in(await line.reply())
    assert (await line.ask("NOOP")).startswith("250"), "two replies, not three"
    assert desk.door.arrived[0][1].facts["protocol"] == "lmtp"
    await line.close()


async def test_lmtp_wants_lhlo(desk: Desk) -> None:
    line = await desk.connect(lmtp=True, hello=False)
    assert (await line.ask("EHLO client.example")).startswith("500 5.5.2")
    assert "LHLO" in await line.ask("MAIL FROM:<erika@example.com>")
    await line.close()


async def test_lmtp_on_a_unix_socket(open_desk: OpenDesk, tmp_path: Any) -> None:
    path = tmp_path / "lmtp.sock"

    def send() -> None:
        with smtplib.LMTP(str(path)) as client:
            client.sendmail("erika@example.com", ["help@desk.example"], b"Subject: x\r\n\r\nhello")

    async with open_desk(lmtp_listen=f"unix:{path}") as desk:
        await asyncio.to_thread(send)
        assert desk.door.arrived[0][1].facts["remote"] == ""
    assert not path.exists()


async def test_listeners_can_be_off(open_desk: OpenDesk) -> None:
    async with open_desk(smtp_listen="", lmtp_listen="") as desk:
        assert (desk.server.smtp_address, desk.server.lmtp_address) == ("", "")


@pytest.mark.parametrize("listen", ["8025", "localhost", "host:http", "127.0.0.1:70000"])
async def test_an_address_that_cannot_be_read_is_named(open_desk: OpenDesk, listen: str) -> None:
    with pytest.raises(ValueError, match=listen):
        async with open_desk(smtp_listen=listen):
            pass


async def test_a_small_size_limit_is_announced_and_kept(open_desk: OpenDesk) -> None:
    async with open_desk(limits=Limits(message=2000)) as desk:
        line = await desk.connect(hello=False)
        assert "250-SIZE 2000\n" in await line.ask("EHLO client.example")
        assert (await line.ask("MAIL FROM:<a@b.example> SIZE=2001")).startswith("552 5.3.4")
        assert (await line.ask("MAIL FROM:<a@b.example> SIZE=2000")).startswith("250")
        await line.close()
