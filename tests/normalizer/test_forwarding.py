"""Customers' mails that an agent passed on: who wrote them, when, about what, in the forms mail programs use."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from normalizer import forwarding, mime

GMAIL = """Can you take this one?

---------- Forwarded message ---------
From: Anna Müller <anna@customer.example>
Date: Mon, Feb 3, 2025 at 10:12 AM
Subject: Where is my order?
To: <agent@desk.example>


It has not arrived.

Anna
"""
APPLE = """
Begin forwarded message:

> From: Anna Müller <anna@customer.example>
> Subject: Where is my order?
> Date: 3 February 2025 at 10:12:00 CET
> To: agent@desk.example
>
> It has not arrived.
>
> Anna
"""
OUTLOOK = """Can you take this one?

________________________________
From: Anna Müller <anna@customer.example>
Sent: Monday, February 3, 2025 10:12 AM
To: Agent <agent@desk.example>; Other <other@desk.example>
Cc: Third <third@desk.example>
Subject: Where is my order?

It has not arrived.

Anna
"""
GERMAN = """Kannst du das übernehmen?

Von: Anna Müller [mailto:anna@customer.example]
Gesendet: Montag, 3. Februar 2025 10:12
An: Agent
Betreff: Where is my order?

It has not arrived.

Anna
"""
THUNDERBIRD = """Can you take this one?


-------- Weitergeleitete Nachricht --------
Betreff: \tWhere is my order?
Datum: \tMon, 3 Feb 2025 10:12:00 +0100
Von: \tAnna Müller <anna@customer.example>
An: \tagent@desk.example

It has not arrived.

Anna
"""
FRENCH = """---------- Message transféré ---------
De : *Anna Müller* <anna@customer.example>
Date: 2025-02-03 10:12
Objet : Where is my order?
À : agent@desk.example

It has not arrived.

Anna
"""


def mail(text: str, subject: str = "Fwd: Where is my order?") -> mime.Mail:
    return mime.parse(
        f"From: agent@desk.example\nSubject: {subject}\nContent-Type: text/plain; charset=utf-8\n\n{text}".encode()
    )


@pytest.mark.parametrize(
    ("text", "subject", "note"),
    [
        (GMAIL, "Fwd: Where is my order?", "Can you take this one?"),
        (GMAIL, "for you", "Can you take this one?"),
        (APPLE, "Fwd: Where is my order?", ""),
        (OUTLOOK, "FW: Where is my order?", "Can you take this one?"),
        (GERMAN, "WG: Where is my order?", "Kannst du das übernehmen?"),
        (THUNDERBIRD, "Fwd: Where is my order?", "Can you take this one?"),
        (FRENCH, "TR: Where is my order?", ""),
    ],
)
def test_below_an_announcement(text: str, subject: str, note: str) -> None:
    found = forwarding.original(mail(text, subject))
    assert found is not None
    assert (found.value, found.display_name) == ("anna@customer.example", "Anna Müller")
    assert (found.subject, found.text, found.note) == ("Where is my order?", "It has not arrived.\n\nAnna", note)
    assert found.sent_at is not None
    assert (found.sent_at.day, found.sent_at.hour, found.sent_at.minute) == (3, 10, 12)


def test_as_an_attachment() -> None:
    inner = (
        "From: Anna <anna@customer.example>\nSubject: Order\nMessage-ID: <1@c>\nDate: Mon, 3 Feb 2025 10:12:00 +0100"
    )
    data = (
        "From: agent@desk.example\nSubject: Fwd: Order\nContent-Type: multipart/mixed; boundary=B\n\n"
        f"--B\n\nPlease.\n--B\nContent-Type: message/rfc822\n\n{inner}\n\nWhere is it?\n--B--\n"
    )
    assert forwarding.original(mime.parse(data.encode())) == forwarding.Forwarded(
        "anna@customer.example",
        "Anna",
        "Order",
        datetime(2025, 2, 3, 10, 12, tzinfo=timezone(timedelta(hours=1))),
        "Where is it?",
        "Please.",
        "1@c",
    )


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        (OUTLOOK, "Re: Where is my order?"),  # an answer with history is no forward
        (OUTLOOK.replace(" <anna@customer.example>", ""), "FW: x"),  # Outlook may leave the address out
        (OUTLOOK.replace("<anna@customer.example>", "<a@x.org>, <b@x.org>"), "FW: x"),
        ("From: the beginning\nit was broken.", "Fwd: x"),
        ("Hello", "Fwd: x"),
        ("", ""),
    ],
)
def test_nobody_is_made_up(text: str, subject: str) -> None:
    assert forwarding.original(mail(text, subject)) is None


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("Mon, 3 Feb 2025 10:12:00 +0100", datetime(2025, 2, 3, 9, 12, tzinfo=UTC)),
        ("Monday, February 3, 2025 9:12 PM", datetime(2025, 2, 3, 21, 12, tzinfo=UTC)),
        ("Mon, Feb 3, 2025 at 12:05\u202fAM", datetime(2025, 2, 3, 0, 5, tzinfo=UTC)),
        ("3. Dezember 2025 um 10:12", datetime(2025, 12, 3, 10, 12, tzinfo=UTC)),
        ("03.02.2025 10:12", datetime(2025, 2, 3, 10, 12, tzinfo=UTC)),
        ("2025-02-03 10:12", datetime(2025, 2, 3, 10, 12, tzinfo=UTC)),
        ("2025-99-99 10:12", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_dates_for_people(text: str, moment: datetime | None) -> None:
    assert forwarding.written_date(text) == moment


@pytest.mark.parametrize("text", ["From: a@b\n" * 2_000, "From:\n" * 20_000, "> " * 50_000, "From: " + "<" * 50_000])
def test_crafted_texts_are_read_once(text: str) -> None:
    forwarding.original(mail(text))
