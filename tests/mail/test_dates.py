"""Backfill keeps the dates mail came with, mails nobody, and does not bury what is new."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.base import Raw
from gateway.ingest import ingest
from gateway.mail.dates import envelope_date, original_date
from gateway.mail.files import read_all
from gateway.store import tables as t
from gateway.store.paging import Ask
from gateway.store.tickets import newest_first, waiting_count
from tests.suspended.conftest import Desk, desk  # noqa: F401  the same desk, on both databases

NOW = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)
EDGE = "Mon, 2 Mar 2009 11:00:00 +0100"
CLAIM = "Mon, 02 Mar 2009 10:00:00 +0000"
STORED = datetime(2009, 3, 2, 12, 0, tzinfo=UTC)


def mail(number: int, *, date: str = "", received: str = "", text: str = "Hello", sender: str = "anna") -> bytes:
    lines = [
        f"From: {sender}@customer.example",
        f"Subject: Matter {number}",
        f"Message-ID: <{number}@customer.example>",
    ]
    lines += [f"Received: from mx.example by mail.desk.example\n with ESMTP id 7; {received}"] if received else []
    lines += [f"Date: {date}"] if date else []
    return "\n".join([*lines, "", f"{text} {number}", ""]).encode()


@pytest.mark.parametrize(
    ("why", "date", "received", "stored", "expected"),
    [
        ("the edge's own line", CLAIM, EDGE, None, "2009-03-02T10:00"),
        ("a sender's clock ahead", "Tue, 03 Mar 2099 10:00:00 +0000", EDGE, STORED, "2009-03-02T10:00"),
        ("a sender's clock behind", "Thu, 01 Jan 1970 00:00:01 +0000", EDGE, STORED, "2009-03-02T10:00"),
        ("no edge: the claim", CLAIM, "", STORED, "2009-03-02T10:00"),
        ("copied later", CLAIM, "", NOW, "2009-03-02T10:00"),
        ("claimed after it was put by", "Mon, 09 Mar 2009 10:00:00 +0000", "", STORED, "2009-03-02T12:00"),
        ("a clock that stood still", "Thu, 01 Jan 1970 00:00:01 +0000", "", STORED, "2009-03-02T12:00"),
        ("a future", "Tue, 03 Mar 2099 10:00:00 +0000", "", None, ""),
        ("an hour ahead of us", "Sat, 01 Aug 2026 13:00:00 +0000", "", None, "2026-08-01T12:00"),
        ("nothing but the mailbox", "", "", STORED, "2009-03-02T12:00"),
        ("nothing at all", "", "", None, ""),
        ("an edge without a date", CLAIM, "yesterday", None, "2009-03-02T10:00"),
        ("the end of time", "Fri, 31 Dec 9999 23:59:59 -1400", "", None, ""),
    ],
)  # fmt: skip
def test_whose_word_counts(why: str, date: str, received: str, stored: datetime | None, expected: str) -> None:
    found = original_date(mail(1, date=date, received=received), stored, NOW)
    assert (found.isoformat()[:16] if found else "") == expected, why


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"From anna@customer.example Sat Jan  3 01:05:34 2009", "2009-01-03T01:05:34+00:00"),
        (b"From anna@customer.example Sat Jan 13 01:05 2009", "2009-01-13T01:05:00+00:00"),
        (b"From anna at customer.example  Sat Jan  3 01:05:34 CET 2009", "2009-01-03T01:05:34+00:00"),
        (b"From - Sat Jan 03 01:05:34 2009", "2009-01-03T01:05:34+00:00"),
        (b"From 1234@xxx Sat Jan 03 01:05:34 +0200 2009", "2009-01-03T01:05:34+02:00"),
        (b"From anna Sat Jan 33 01:05:34 2009", None),
        (b"From here on it is 10:30 in 2009", None),
        (b"From " + b"Jan " * 100_000, None),
    ],
)
def test_the_line_that_begins_a_message(line: bytes, expected: str | None) -> None:
    found = envelope_date(line)
    assert (found.isoformat() if found else None) == expected


def test_what_each_kind_of_mailbox_says(tmp_path: Path) -> None:
    (tmp_path / "box.mbox").write_bytes(b"From a@b Sat Jan  3 01:05:34 2009\n" + mail(1))
    for part in ("cur", "new", "tmp"):
        (tmp_path / "md" / part).mkdir(parents=True)
    (tmp_path / "md/cur/1236000000.M1P2.host:2,S").write_bytes(mail(2))
    (tmp_path / "md/new/strange name").write_bytes(mail(3))
    (tmp_path / "one.eml").write_bytes(mail(4))
    for path in (tmp_path / "md/new/strange name", tmp_path / "one.eml"):
        os.utime(path, (1_236_000_000, 1_236_000_000))
    for name in ("box.mbox", "md", "one.eml"):
        for found in read_all([str(tmp_path / name)]):
            assert found.stored_at is not None, found.origin
            assert found.stored_at.year == 2009, found.origin


async def test_an_archive_is_as_old_as_it_is(desk: Desk, tmp_path: Path) -> None:  # noqa: F811
    """Years of mail: tickets of their years, nobody waits, today's mail stays on top, receipts tell the truth."""
    begun = datetime.now(UTC)
    await desk.take(mail(0, text="I need help today"))
    box = b"".join(
        b"From a@b Sat Jan  3 01:05:34 2009\n"
        + mail(
            number,
            date=f"{number % 28 + 1} Mar {2001 + number % 8} 10:00:00 +0000",
            sender=f"c{number}",
            text="Years ago",
        )
        + b"\n"
        for number in range(1, 25)
    )
    (tmp_path / "old.mbox").write_bytes(box)
    report = await ingest(desk.runtime, "support", [str(tmp_path / "old.mbox")])
    assert (report.accepted, report.refused) == (24, [])
    await desk.work()

    tickets = await desk.rows(t.tickets)
    old = [row for row in tickets if row.subject != "Matter 0"]
    assert len(old) == 24
    assert all(2001 <= row.created_at.year <= 2008 and row.updated_at == row.created_at for row in old)
    assert {(row.status, row.customer_waits_since) for row in old} == {("solved", None)}
    assert all(row.received_at >= begun for row in await desk.rows(t.receipts, "receipt_id", "received_at"))
    page = await desk.runtime.store.read(newest_first, Ask(3))
    assert page.rows[0]["subject"] == "Matter 0"
    years = [row["updated_at"] for row in page.rows]
    assert years == sorted(years, reverse=True)
    assert await desk.runtime.store.read(waiting_count) == 1
    assert await desk.rows(t.outbox) == [], "backfill mails nobody"
    again = await ingest(desk.runtime, "support", [str(tmp_path / "old.mbox")])
    await desk.work()
    assert (again.accepted, len(await desk.rows(t.comments))) == (24, 25)
    assert await desk.balanced()


async def test_an_answer_today_wakes_an_archived_ticket(desk: Desk, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "1.eml").write_bytes(mail(1, date="2 Mar 2009 10:00:00 +0000"))
    await ingest(desk.runtime, "support", [str(tmp_path / "1.eml")])
    await desk.work()
    answer = mail(2, text="It broke again").replace(b"\nSubject", b"\nIn-Reply-To: <1@customer.example>\nSubject", 1)
    await desk.take(answer)
    [ticket] = await desk.rows(t.tickets)
    assert (ticket.status, ticket.comment_count, ticket.created_at.year) == ("open", 2, 2009)
    assert ticket.customer_waits_since is not None
    (tmp_path / "3.eml").write_bytes(
        mail(3, date="1 Mar 2009 10:00:00 +0000").replace(
            b"\nSubject", b"\nReferences: <1@customer.example>\nSubject", 1
        )
    )
    before = ticket.updated_at
    await ingest(desk.runtime, "support", [str(tmp_path / "3.eml")])
    await desk.work()
    [ticket] = await desk.rows(t.tickets)
    assert (ticket.comment_count, ticket.created_at, ticket.updated_at) == (
        3,
        datetime(2009, 3, 1, 10, tzinfo=UTC),
        before,
    )


async def test_the_same_words_years_apart_are_two_matters(desk: Desk, tmp_path: Path) -> None:  # noqa: F811
    """Windows are measured between the times mail came, not the times it was read."""
    words = (
        "My parcel has not arrived and the shop does not answer the phone, please tell me what I can do about it now."
    )
    for number, year in enumerate((2005, 2007, 2009), 1):
        (tmp_path / f"{number}.eml").write_bytes(
            mail(1, date=f"2 Mar {year} 10:00:00 +0000", text=words).replace(b"<1@", b"<%d@" % number)
        )
    await ingest(desk.runtime, "support", [str(tmp_path)])
    await desk.work()
    assert len(await desk.rows(t.tickets)) == 3


async def test_a_mailbox_that_was_down_for_hours(desk: Desk) -> None:  # noqa: F811
    """It came when the mailbox got it: the customer has waited since then, and it is news all the same."""
    begun = datetime.now(UTC)
    came = begun - timedelta(hours=5)
    raw = Raw(mail(1), "message/rfc822", {"source": "imap", "internal_date": came.isoformat()}, came_at=came)
    await desk.runtime.intake.accept(desk.runtime.inboxes["support"], raw)
    ahead = Raw(mail(2), "message/rfc822", came_at=begun + timedelta(days=400))
    await desk.runtime.intake.accept(desk.runtime.inboxes["support"], ahead)
    await desk.work()
    first, second = await desk.rows(t.tickets)
    assert (first.status, first.created_at, first.customer_waits_since) == ("new", came, came)
    assert first.updated_at >= begun
    assert begun <= second.created_at <= datetime.now(UTC), "a server's clock ahead of ours makes no future"
    receipts: list[Any] = await desk.rows(t.receipts, "receipt_id", "received_at")
    assert all(row.received_at >= begun for row in receipts)
