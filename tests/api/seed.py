"""A small support desk as the worker would have recorded it: several channels and scripts, and every odd case."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Table, func, insert, select, update

from gateway.store import tables as t

START = datetime(2026, 11, 20, 8, 0, 0, 123456, tzinfo=UTC)
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360f8cfc00000"
    "030101000f9b8b5f0000000049454e44ae426082"
)


class Desk:
    """Adds rows one after another; `now` moves on by a minute with each comment."""

    def __init__(self, conn: Connection, now: datetime = START) -> None:
        self.conn = conn
        self.now = now
        self.receipts = 0

    def add(self, table: Table, **values: Any) -> int:
        """Write a row under the next number of its table."""
        last = self.conn.scalar(select(func.max(table.c.id))) or 0
        self.conn.execute(insert(table).values(id=last + 1, **values))
        return int(last) + 1

    def customer(self, name: str, *identities: tuple[str, str, str], language: str = "en", **attributes: Any) -> int:
        ident = self.add(
            t.customers,
            name=name,
            language=language,
            attributes=attributes,
            created_at=self.now,
            updated_at=self.now,
        )
        for kind, value, trust in identities:
            self.add(
                t.identities,
                customer_id=ident,
                kind=kind,
                value=value,
                trust=trust,
                source="authenticated mail" if kind == "email" else "provider",
                created_at=self.now,
            )
        return ident

    def ticket(self, channel: str, inbox: str, subject: str, requester: int | None, **values: Any) -> int:
        ident = self.add(
            t.tickets,
            **{
                "channel": channel,
                "inbox": inbox,
                "subject": subject,
                "requester_id": requester,
                "created_at": self.now,
                "updated_at": self.now,
                "customer_waits_since": self.now,
                **values,
            },
        )
        self.event(ident, "created", channel=channel, inbox=inbox)
        return ident

    def comment(self, ticket: int, text: str, **values: Any) -> int:
        self.now += timedelta(minutes=1)
        row: dict[str, Any] = {
            "channel": "email",
            "inbox": "support",
            "author_name": "",
            "author_kind": "email",
            "author_value": "",
            "explanation": {"rule": values.get("matched_by", "none"), "evidence": "", "rejected": []},
            "automated": [],
            "problems": [],
            "fields": {},
            "recipients": [],
            **values,
        }
        files = row.pop("files", [])
        receipt = row.setdefault("receipt_id", self.uuid())
        outcome = "ticketed" if row.get("matched_by", "none") == "none" else "appended"
        ident = self.add(t.comments, ticket_id=ticket, text=text, received_at=self.now, created_at=self.now, **row)
        self.receipt(receipt, outcome, channel=row["channel"], inbox=row["inbox"], ticket_id=ticket, comment_id=ident)
        for file in files:
            self.file(comment_id=ident, **file)
        self.conn.execute(update(t.tickets).where(t.tickets.c.id == ticket).values(updated_at=self.now))
        return ident

    def file(self, filename: str, body: bytes | None, content_type: str, **values: Any) -> int:
        content = body or b""
        sniffed = "image/png" if content.startswith(b"\x89PNG") else ""
        return self.add(
            t.attachments,
            **{
                "filename": filename,
                "content_type": content_type,
                "sniffed_type": sniffed,
                "size": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
                "content": body,
                **values,
            },
        )

    def receipt(self, receipt_id: UUID, outcome: str, **values: Any) -> UUID:
        self.receipts += 1
        row = {"channel": "email", "inbox": "support", "received_at": self.now, "recorded_at": self.now, **values}
        self.add_receipt(receipt_id=receipt_id, outcome=outcome, gateway="g1", sequence=self.receipts, **row)
        return receipt_id

    def add_receipt(self, **values: Any) -> None:
        self.conn.execute(insert(t.receipts).values(**values))

    def event(self, ticket: int, kind: str, **detail: Any) -> None:
        self.add(t.events, ticket_id=ticket, kind=kind, detail=detail, at=self.now)

    def uuid(self) -> UUID:
        """Version 7 in form, and the same in every run."""
        self.counter = getattr(self, "counter", 0) + 1
        return UUID(int=(0x0193F2A57C1E7 << 76) | (0b10 << 62) | self.counter)


def mail(name: str, address: str, message_id: str, trust: str = "verified", **values: Any) -> dict[str, Any]:
    """What mail comments have in common."""
    return {
        "channel": "email",
        "inbox": "support",
        "author_name": name,
        "author_kind": "email",
        "author_value": address,
        "author_trust": trust,
        "author_evidence": "DKIM signature of example.org is valid" if trust == "verified" else "nothing proves it",
        "external_id": message_id,
        "recipients": [{"role": "envelope", "kind": "email", "value": "help@desk.example", "display_name": ""}],
        **values,
    }


def fill(conn: Connection) -> dict[str, Any]:
    """Write the desk; answers the ids that tests ask for by name."""
    desk = Desk(conn)
    ids: dict[str, Any] = {}
    ann = ids["ann"] = desk.customer(
        "Ann de Vries", ("email", "ann@example.org", "verified"), ("phone", "+31612345678", "unverified"), plan="Team"
    )
    olga = ids["olga"] = desk.customer("Ольга Смирнова", ("email", "olga@example.ru", "unverified"), language="ru")
    sam = ids["sam"] = desk.customer("Sam Okafor", ("x", "2244994945", "verified"))
    lin = ids["lin"] = desk.customer("林小明", ("chat", "website:v-81", "unverified"), language="zh-TW")

    first = ids["mail_ticket"] = desk.ticket("email", "support", "Parcel arrived broken", ann, status="open")
    ids["mail_comment"] = desk.comment(
        first,
        "Hello,\n\nthe parcel arrived broken & wet. Can I get a refund?\n\nAnn",
        **mail("Ann de Vries", "ann@example.org", "a1@example.org"),
        author_id=ann,
        subject="Parcel arrived broken",
        html='<p>the parcel <b>arrived broken</b></p><script>alert(1)</script><img src="cid:photo" onerror="x()">'
        '<img src="http://tracker.invalid/p.gif">',
        full_text="Hello,\n\nthe parcel arrived broken & wet. Can I get a refund?\n\nAnn\n-- \nSent from my phone",
        language="en",
        original=b"From: ann@example.org\r\n\r\nHello",
        original_type="message/rfc822",
        files=[
            {"filename": "photo.png", "body": PNG, "content_type": "image/png", "content_id": "photo", "inline": True},
            {"filename": 'evil"\r\n<script>.svg', "body": b"<svg onload='x()'/>", "content_type": "image/svg+xml"},
        ],
    )
    desk.comment(
        first,
        "Any news? It has been a week.",
        **mail("Ann de Vries", "ann@example.org", "a2@example.org"),
        author_id=ann,
        matched_by="in_reply_to",
        explanation={
            "rule": "in_reply_to",
            "evidence": "a1@example.org",
            "rejected": [
                {
                    "ticket": 4,
                    "rule": "references",
                    "evidence": "z9@else.example",
                    "reason": "ann@example.org has not taken part in it",
                }
            ],
        },
    )
    other = desk.ticket("form", "contact", "Неверный счёт", olga, language="ru")
    ids["form_ticket"] = other
    desk.comment(
        other,
        "Здравствуйте! ВОЗВРАТ денег за заказ 100% не пришёл_вообще.",
        channel="form",
        inbox="contact",
        author_name="Ольга Смирнова",
        author_kind="email",
        author_value="olga@example.ru",
        author_id=olga,
        subject="Неверный счёт",
        language="ru",
        fields={"page": "https://shop.example/help", "order": "100"},
    )
    chat = ids["chat_ticket"] = desk.ticket("chat", "website", "", lin, language="zh-TW")
    for number, text in enumerate(["你好，請問訂單什麼時候到？", "訂單號碼 20031"]):
        said = desk.comment(
            chat,
            text,
            channel="chat",
            inbox="website",
            author_name="林小明",
            author_kind="chat",
            author_value="website:v-81",
            author_id=lin,
            external_id=f"c{number}",
            matched_by="conversation" if number else "none",
            language="zh-TW",
        )
        _thread_key(desk, "chat:website:s1", chat, said)
    call = ids["call_ticket"] = desk.ticket("phone", "phone", "Missed call from a withheld number", None)
    desk.comment(
        call,
        "Missed call, 12 seconds. No message.",
        channel="phone",
        inbox="phone",
        author_kind="phone",
        fields={"outcome": "missed"},
        external_id="CA1",
        files=[
            {
                "filename": "voicemail.wav",
                "body": None,
                "content_type": "audio/wav",
                "source_url": "https://api.example/r",
            }
        ],
    )
    tweet = ids["tweet_ticket"] = desk.ticket("twitter", "twitter", "", sam, status="solved", customer_waits_since=None)
    desk.comment(
        tweet,
        "@acme your app crashes on start <b>again</b>",
        channel="twitter",
        inbox="twitter",
        author_name="Sam Okafor",
        author_kind="x",
        author_value="2244994945",
        author_trust="verified",
        author_id=sam,
        external_id="1799",
    )
    merged = ids["merged_ticket"] = desk.ticket("email", "support", "Re: Parcel arrived broken", ann, merged_into=first)
    ids["merged_comment"] = desk.comment(
        merged,
        "Here is the picture I forgot, umbrella-yellow box.",
        **mail("Ann de Vries", "ann@example.org", "a3@example.org", "unverified"),
        author_id=ann,
        matched_by="references",
        automated=[{"name": "auto_submitted", "reason": "Auto-Submitted: auto-replied"}],
        problems=[{"name": "charset_damaged", "reason": "declared utf-8, bytes are not"}],
        verdict="id_reused",
    )
    desk.event(first, "merged", absorbed=merged)
    desk.add(
        t.ticket_links,
        ticket_id=first,
        other_id=other,
        kind="related",
        reason="answers the same message",
        created_at=desk.now,
    )
    duplicate = ids["duplicate_receipt"] = desk.uuid()
    desk.receipt(duplicate, "duplicate", reason="the same delivery again", ticket_id=merged, duplicate_of=desk.uuid())
    ids["suspended"] = _suspend(desk)
    ids["dead"] = desk.add(
        t.dead_letters,
        receipt_id=desk.uuid(),
        channel="form",
        inbox="contact",
        type="frontdesk.message.v1",
        body=b'{"text": "<b>boom</b>"}',
        reason="unknown schema <b>version</b>",
        attempts=10,
        died_at=desk.now,
    )
    return ids


def _thread_key(desk: Desk, key: str, ticket: int, comment: int) -> None:
    desk.add(
        t.thread_keys,
        key=key,
        role="conversation",
        author="chat:website:v-81",
        ticket_id=ticket,
        comment_id=comment,
        channel="chat",
        at=desk.now,
    )


def _suspend(desk: Desk) -> int:
    receipt = desk.uuid()
    desk.receipt(receipt, "suspended", reason="the mail could not be read")
    held = desk.add(
        t.suspended,
        receipt_id=receipt,
        channel="email",
        inbox="support",
        cause="the mail could not be read: <b>too many parts</b>",
        author="email:mallory@evil.example",
        subject="<script>alert(1)</script>",
        message={
            "external_id": "m1@evil.example",
            "author": {"kind": "email", "value": "mallory@evil.example", "display_name": "Mallory"},
            "text": "hi <img src=x onerror=alert(1)>",
            "recipients": [{"role": "envelope", "kind": "email", "value": "help@desk.example"}],
        },
        original=b"From: mallory@evil.example\r\nSubject: <script>\r\n\r\nhi",
        original_type="message/rfc822",
        received_at=desk.now,
    )
    desk.file("huge.bin", b"\x00" * 10, "application/octet-stream", suspended_id=held)
    return held


def many_tickets(conn: Connection, count: int) -> None:
    """Tickets that share moments in groups of seven, for paging."""
    desk = Desk(conn)
    someone = desk.customer("Someone", ("email", "someone@example.org", "verified"))
    for number in range(count):
        desk.now = START + timedelta(seconds=number // 7)
        ident = desk.ticket("form", "contact", f"Question {number}", someone)
        desk.add(
            t.comments,
            ticket_id=ident,
            receipt_id=desk.uuid(),
            channel="form",
            inbox="contact",
            text=f"words {number}",
            explanation={},
            automated=[],
            problems=[],
            fields={},
            recipients=[],
            received_at=desk.now,
            created_at=desk.now,
        )
