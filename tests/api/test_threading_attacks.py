"""Attacks on threading, end to end: a mail comes in, and what the API says of tickets decides (A20 to A25, A28).

Each under both policies (who may join) and on both databases. The desk's own mail server has checked the senders.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, select

from adapters.base import Raw
from adapters.email import Email, EmailOptions
from gateway.ids import uuid7
from gateway.store import tables as t
from gateway.store.engine import Store
from gateway.store.people import own_addresses
from gateway.store.record import record
from normalizer.message import Join, Message, stamp
from normalizer.reply_tokens import body_mark, make_reply_token

DESK, MX = "support@desk.test", "mx.desk.test"
KEY = "the key that signs reply addresses"
NOW = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)
TODAY = NOW.date()
OPTIONS = EmailOptions.model_validate(
    {"addresses": [DESK, "billing@desk.test"], "reply_keys": {"1": KEY}, "authserv_ids": [MX]}
)


def token(ticket: int, made: date | None = TODAY, key: str = KEY) -> str:
    return make_reply_token(str(ticket), key.encode(), "1", made)


@dataclass
class Inbox:
    """A desk that mail comes to, and its API."""

    store: Store
    get: Callable[..., Any]
    join: Join = "participants"
    minute: int = 0
    sent: list[Message] = field(default_factory=list)

    async def receive(
        self,
        who: str,
        said: str,
        *headers: str,
        proof: str = "none",
        to: str = DESK,
        subject: str = "My order",
        own: str = "",
        mail_from: str | None = None,
        body_type: str = "text/plain",
    ) -> int:
        """A mail from `who` (a name, or an address); answers the ticket it is on."""
        self.minute += 15
        address = who if "@" in who else f"{who}@{who}.test"
        lines = [f"Authentication-Results: {MX}; dmarc={proof} header.from={address.partition('@')[2]}"]
        lines += [f"From: {who} <{address}>", f"To: {to}", f"Subject: {subject}", *headers]
        lines += [f"Message-ID: <{own}>"] if own else []
        lines += [f"Content-Type: {body_type}", "", said]
        facts = {"mail_from": address if mail_from is None else mail_from, "rcpt_tos": [to]}
        raw = Raw("\r\n".join("\n".join(lines).split("\n")).encode(), "message/rfc822", facts)
        [draft] = Email("support", OPTIONS).normalize(raw)
        message = stamp(
            draft,
            receipt_id=uuid7(),
            gateway="test",
            sequence=1,
            channel="email",
            inbox="support",
            join=self.join,
            received_at=NOW + timedelta(minutes=self.minute),
        )
        [result] = await self.store.write(record, [message], NOW, None, own_addresses([OPTIONS]))
        assert result.ticket_id is not None
        return result.ticket_id

    async def words(self, ticket: int) -> list[str]:
        """What stands on a ticket."""
        status, body, _ = await self.get(f"/api/v2/tickets/{ticket}/comments.json")
        assert status == 200
        return [comment["plain_body"].strip() for comment in body["comments"]]

    async def ticket(self, number: int) -> dict[str, Any]:
        status, body, _ = await self.get(f"/api/v2/tickets/{number}.json")
        assert status == 200
        return dict(body["ticket"])

    async def links(self) -> set[tuple[int, int, str]]:
        columns = t.ticket_links.c
        query = select(columns.ticket_id, columns.other_id, columns.kind)
        return {tuple(row) for row in await self.store.read(lambda conn: conn.execute(query).all())}

    async def people(self, ticket: int) -> set[str]:
        query = select(t.participants.c.identity).where(t.participants.c.ticket_id == ticket)
        return {name.removeprefix("email:") for name in await self.store.read(lambda conn: conn.scalars(query).all())}

    async def nothing_left(self) -> bool:
        """Was nothing sent to anybody?"""
        return await self.store.read(lambda conn: conn.execute(select(t.outbox)).first()) is None

    async def solve(self, ticket: int, status: str = "solved") -> None:
        change = t.tickets.update().where(t.tickets.c.id == ticket).values(status=status, customer_waits_since=None)
        await self.store.write(lambda conn: conn.execute(change))


@pytest.fixture(params=["participants", "anyone"])
async def desk(request: pytest.FixtureRequest, store: Store, get: Callable[..., Any]) -> Inbox:
    """Ticket 1 is Alice's, and holds something that nobody else may see."""
    inbox = Inbox(store, get, request.param)
    assert await inbox.receive("alice", "The code is 4711.", own="a@alice.test", proof="pass") == 1
    return inbox


@pytest.fixture
async def closed_desk(store: Store, get: Callable[..., Any]) -> Inbox:
    """The same under the default policy alone."""
    inbox = Inbox(store, get)
    assert await inbox.receive("alice", "The code is 4711.", own="a@alice.test", proof="pass") == 1
    return inbox


async def test_a20_a_guessed_id_opens_a_ticket_of_its_own(desk: Inbox) -> None:
    guesses = ["<1@desk.test>", "<ticket-1@desk.test>", "<>", "<@>", "<1>", "1", "<a@alice.tes>"]
    for number, guess in enumerate(guesses):
        cites = (f"In-Reply-To: {guess}", f"References: {guess}")
        assert await desk.receive(f"mallory{number}", f"Me too {number}", *cites) == 2 + number, guess
    assert await desk.words(1) == ["The code is 4711."]


@pytest.mark.parametrize("proof", ["pass", "none"])
async def test_a20_a_known_id_does_not_admit_a_stranger(closed_desk: Inbox, proof: str) -> None:
    assert await closed_desk.receive("mallory", "Me too", "In-Reply-To: <a@alice.test>", proof=proof) == 2
    assert await closed_desk.links() == {(2, 1, "possibly_belongs_to")}
    assert await closed_desk.people(1) == {"alice@alice.test"}


async def test_a21_a_number_in_the_subject(desk: Inbox) -> None:
    """Mallory is nobody here, and whoever says Alice has not proven it."""
    opened = 1
    for subject in ("[Ticket #1] x", "Re: [#1]", "[Desk #1] about it", "Ticket #1"):
        for who, proof in (("mallory", "pass"), ("mallory", "none"), ("alice", "none")):
            number = await desk.receive(who, f"The code again {opened}", subject=subject, proof=proof)
            assert number != 1, (subject, who, proof)
            opened += 1
    assert await desk.words(1) == ["The code is 4711."]


async def test_a22_a_wrong_signature(desk: Inbox) -> None:
    tails = [
        token(1, key="a guess"),
        f"1.1.{'a' * 16}",
        f"{token(2)[:-1]}a",
        "1",
        "id1",
        token(1).replace("1.", "01.", 1),
        "..." + token(1)[2:],
    ]
    for number, tail in enumerate(tails):
        for who in ("alice", "mallory"):
            to = f"support+{tail}@desk.test"
            assert await desk.receive(who, f"Hello {number}", to=to, subject=f"{who} {number}") != 1, tail


async def test_a22_a_stolen_address_brings_nobody_in(desk: Inbox) -> None:
    """Mail is forwarded, and with it the signed address."""
    assert await desk.receive("mallory", "Hello", to=f"support+{token(1)}@desk.test") == 2
    assert await desk.receive("alice", "Thank you", to=f"support+{token(1)}@desk.test") == 1


async def test_a23_twenty_thousand_references(closed_desk: Inbox) -> None:
    ids = "".join(f"\n <{number}@x.test>" for number in range(20_000))
    statements: list[str] = []
    engine = getattr(closed_desk.store, "engine", None) or getattr(closed_desk.store, "_engine", None)
    sync = getattr(engine, "sync_engine", engine)
    listener = lambda *args: statements.append(args[2])  # noqa: E731
    event.listen(sync, "before_cursor_execute", listener)
    assert await closed_desk.receive("mallory", "Hello", f"References:{ids[-60_000:]}\n <a@alice.test>") == 2
    event.remove(sync, "before_cursor_execute", listener)
    assert 0 < len(statements) < 60
    keys = select(t.thread_keys.c.key).where(t.thread_keys.c.ticket_id == 2)
    kept = await closed_desk.store.read(lambda conn: conn.scalars(keys).all())
    assert len([key for key in kept if key.startswith("mid:")]) <= 50
    assert "mid:a@alice.test" in kept


async def test_a24_a_verification_mail_of_another_service(desk: Inbox) -> None:
    """The Ticket Trick: what a service mails to our address is no answer to whoever cites it."""
    assert await desk.receive("no-reply@slack.test", "Your code is 123456", own="s@slack.test", proof="pass") == 2
    newest = select(t.comments.c.automated).order_by(t.comments.c.id.desc())
    comment = await desk.store.read(lambda conn: conn.scalar(newest))
    assert comment is not None
    assert [hit["name"] for hit in comment] == ["nobody"]
    assert await desk.nothing_left()


@pytest.mark.parametrize(
    "how", ["In-Reply-To: <a@alice.test>", "X-Nothing: known", f"Reply-To: support+{token(1)}@desk.test"]
)
async def test_a25_cve_2024_49193(desk: Inbox, how: str) -> None:
    """Spoofed From, a guessed or known id, the attacker in Cc: no history for the attacker, now or later."""
    forged = ["Cc: mallory@mallory.test", how]
    assert await desk.receive("alice", "Please copy my colleague in", *forged, proof="fail", own="f@alice.test") == 2
    assert await desk.receive("mallory", "What did she say?", "In-Reply-To: <f@alice.test>", proof="pass") == 3
    assert await desk.words(1) == ["The code is 4711."]
    assert (await desk.ticket(1))["collaborator_ids"] == []
    assert await desk.people(1) == {"alice@alice.test"}
    assert (await desk.ticket(2))["requester_id"] == -1, "a failed sender is nobody, not Alice"
    assert await desk.nothing_left()


@pytest.mark.parametrize("number", ["support+id1@desk.test", "support+1@desk.test"])
async def test_a25_where_senders_are_not_checked(desk: Inbox, number: str) -> None:
    """The same by an unproven sender: the number of a ticket is no key to it."""
    forged = await desk.receive("alice", "Copy him in", "Cc: mallory@mallory.test", to=number, subject="[#1] My order")
    assert forged == 2
    assert await desk.receive("mallory", "And?", to=number, subject="Re: [#1] about it") == 3
    assert await desk.words(1) == ["The code is 4711."]
    assert (await desk.ticket(1))["collaborator_ids"] == []
    assert await desk.nothing_left()


async def test_a11_somebody_else_uses_a_known_id(closed_desk: Inbox) -> None:
    assert await closed_desk.receive("mallory", "Mine", own="a@alice.test") == 2
    assert await closed_desk.receive("mallory", "More", "In-Reply-To: <a@alice.test>") == 2
    assert await closed_desk.receive("alice", "More", "In-Reply-To: <a@alice.test>", proof="pass") == 1


@pytest.mark.parametrize("own_address", [DESK, "billing@desk.test"])
async def test_whoever_writes_in_our_name_takes_part_in_nothing(closed_desk: Inbox, own_address: str) -> None:
    """Our own addresses stand in To and Cc of every mail: else a forged From: support@ would join any ticket."""
    assert await closed_desk.receive("bob", "Hello", f"Cc: {own_address}", own="b@bob.test") == 2
    assert await closed_desk.receive(own_address, "We write", "In-Reply-To: <b@bob.test>") == 3
    assert (await closed_desk.ticket(3))["requester_id"] == -1
    assert not await closed_desk.people(3)


# --- relays ----------------------------------------------------------------------------------------------------------


async def test_a_relay_that_writes_everything_small(desk: Inbox) -> None:
    sent = f"<{token(1).upper()}.Xy7@Desk.Test>"
    assert (
        await desk.receive(
            "alice", "Thanks", f"in-reply-to: {sent.lower()}", own="b@alice.test", subject="re: my order"
        )
        == 1
    )


async def test_a_relay_that_strips_the_header(desk: Inbox) -> None:
    """Only the text is left, with the mark that our mail carried in it."""
    quoted = f"Thanks!\n\nOn Saturday, Desk wrote:\n> It is on its way.\n> {body_mark(token(1))}"
    assert await desk.receive("alice", quoted, subject="another subject") == 1
    assert await desk.receive("mallory", quoted, subject="a third subject") != 1


async def test_a_token_ends(desk: Inbox) -> None:
    old = token(1, TODAY - timedelta(days=731))
    assert await desk.receive("alice", "After years", to=f"support+{old}@desk.test", subject="Something else") == 2
    young = token(1, TODAY - timedelta(days=729))
    assert await desk.receive("alice", "In time", to=f"support+{young}@desk.test", subject="Something else") == 1


async def test_outlooks_thread_index_is_for_those_who_take_part(closed_desk: Inbox) -> None:
    index = "Thread-Index: AdwCjRy3AAECAwQFBgcICQoLDA0ODw=="
    first = await closed_desk.receive("bob", "Hello", index, own="b1@bob.test", subject="One")
    assert await closed_desk.receive("bob", "Again", index, own="b2@bob.test", subject="Two") == first
    assert await closed_desk.receive("mallory", "Me", index, "Cc: bob@bob.test", own="m@m.test", subject="Two") != first


# --- what machines answer --------------------------------------------------------------------------------------------

DAEMON = "mailer-daemon@mx.customer.test"


def bounce(message_id: str) -> tuple[str, str]:
    """A delivery report (RFC 3464) about a mail of ours: content type, body."""
    failed = "Final-Recipient: rfc822; alice@alice.test\nAction: failed\nStatus: 5.1.1"
    returned = f"From: Desk <{DESK}>\nTo: alice@alice.test\nMessage-ID: {message_id}"
    parts = [
        "--B\nContent-Type: text/plain\n\nYour mail could not be delivered.",
        f"--B\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.customer.test\n\n{failed}\n",
        f"--B\nContent-Type: text/rfc822-headers\n\n{returned}\n",
        "--B--",
    ]
    return "multipart/report; report-type=delivery-status; boundary=B", "\n".join(parts)


@pytest.mark.parametrize("status", ["solved", "pending", "closed"])
async def test_a28_a_bounce_with_our_signature_attaches_and_changes_nothing(desk: Inbox, status: str) -> None:
    await desk.solve(1, status)
    kind, body = bounce(f"<{token(1)}.x7@desk.test>")
    forged_cc = "Cc: mallory@mallory.test"
    number = await desk.receive(DAEMON, body, forged_cc, mail_from="", body_type=kind, subject="Undelivered Mail")
    assert number == 1
    ticket = await desk.ticket(1)
    assert ticket["status"] == status
    assert await desk.people(1) == {"alice@alice.test"}
    row = await desk.store.read(lambda conn: conn.execute(select(t.tickets).where(t.tickets.c.id == 1)).one())
    assert row.customer_waits_since is None
    known = select(t.identities.c.value)
    assert set(await desk.store.read(lambda conn: conn.scalars(known).all())) == {"alice@alice.test"}
    assert await desk.receive("mallory", "I was copied in", f"In-Reply-To: <{token(1)}.x7@desk.test>") != 1


async def test_a28_a_bounce_to_our_signed_envelope_sender(desk: Inbox) -> None:
    """VERP: the report goes to the address that our mail was sent from."""
    to = f"support+{token(1)}@desk.test"
    assert (
        await desk.receive(DAEMON, "Failed", to=to, mail_from="", subject="Delivery Status Notification (Failure)") == 1
    )


@pytest.mark.parametrize("named", ["<a@alice.test>", f"<{token(1, key='a guess')}.x@desk.test>", "<ours@desk.test>"])
async def test_a28_a_forged_bounce_changes_nothing(closed_desk: Inbox, named: str) -> None:
    await closed_desk.solve(1)
    kind, body = bounce(named)
    assert await closed_desk.receive(DAEMON, body, mail_from="", body_type=kind, subject="Undelivered Mail") == 2
    assert (await closed_desk.ticket(1))["status"] == "solved"
    assert (await closed_desk.ticket(2))["requester_id"] == -1
    linked = {(2, 1, "possibly_belongs_to")} if "alice" in named else set()
    assert await closed_desk.links() == linked


async def test_a28_a_bounce_that_fails_authentication(desk: Inbox) -> None:
    kind, body = bounce(f"<{token(1)}.x7@desk.test>")
    number = await desk.receive(DAEMON, body, proof="fail", mail_from="", body_type=kind, subject="Undelivered Mail")
    assert number == 2
    assert await desk.links() == {(2, 1, "possibly_belongs_to")}


async def test_an_absence_notice_attaches_and_never_reopens(desk: Inbox) -> None:
    await desk.solve(1)
    away = ("Auto-Submitted: auto-replied", "In-Reply-To: <a@alice.test>")
    assert await desk.receive("alice", "I am away", *away, subject="Automatic reply: My order") == 1
    assert (await desk.ticket(1))["status"] == "solved"


async def test_an_absence_notice_of_somebody_else_attaches_by_our_signature(desk: Inbox) -> None:
    """We wrote to info@, John's autoresponder answers: no ticket because of that, and John takes no part by it."""
    away = ("Auto-Submitted: auto-replied", f"In-Reply-To: <{token(1)}.x7@desk.test>")
    assert await desk.receive("john", "I am away", *away, subject="Automatic reply: My order", own="v@j.test") == 1
    assert await desk.receive("john", "Back again", f"In-Reply-To: <{token(1)}.x7@desk.test>", subject="Hello") == 2


async def test_one_notice_about_two_tickets_does_not_make_them_one(closed_desk: Inbox) -> None:
    second = await closed_desk.receive("alice", "Another matter", own="b@alice.test", subject="Invoice", proof="pass")
    assert second == 2
    for ticket, cited in ((1, "a"), (2, "b")):
        closed_desk.minute -= 14
        away = ("Auto-Submitted: auto-replied", f"In-Reply-To: <{cited}@alice.test>")
        subject = f"Automatic reply: {cited}"
        assert await closed_desk.receive("alice", "I am away until Monday.", *away, subject=subject) == ticket
