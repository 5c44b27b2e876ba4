"""Writing mail the way customers' programs do: encodings, quoted history, attachments, and what goes wrong."""

from __future__ import annotations

import random
import struct
import zlib
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from gateway.demo.people import Matter, Person, words
from gateway.demo.shapes import DOMAIN, SUPPORT

# Charsets that mail in these languages still comes in, besides UTF-8.
_OLD_CHARSETS = {"de": "iso-8859-1", "fr": "iso-8859-15", "es": "iso-8859-1", "pl": "iso-8859-2", "ru": "koi8-r"}
_OLD_CHARSETS |= {"ja": "iso-2022-jp", "zh-TW": "big5", "ar": "windows-1256", "nl": "iso-8859-1"}
_AGENTS = ("Apple Mail (2.3826.200.121)", "Mozilla Thunderbird", "Microsoft Outlook 16.0", "K-9 Mail for Android")

_BOUNCE = """\
From: Mail Delivery System <MAILER-DAEMON@{host}>
To: {desk}
Subject: Undelivered Mail Returned to Sender
Message-ID: <{message_id}>
Date: {date}
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="=_bounce"

--=_bounce
Content-Type: text/plain; charset=us-ascii

This is the mail system at host {host}.

Your message could not be delivered to one or more recipients.

<{failed}>: 550 5.1.1 The mailbox does not exist.

--=_bounce
Content-Type: message/delivery-status

Reporting-MTA: dns; {host}

Final-Recipient: rfc822; {failed}
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 The mailbox does not exist.

--=_bounce
Content-Type: text/rfc822-headers

From: {desk}
To: {failed}
Subject: Your order
Message-ID: <outgoing.77@{domain}>

--=_bounce--
"""


class Writer:
    """Writes mails with ids and dates of its own, always the same for the same seed and `now`."""

    def __init__(self, rng: random.Random, now: datetime) -> None:
        self._rng = rng
        self._now = now
        self._number = 0

    def new_id(self, person: Person) -> str:
        """A Message-ID of that person's mail provider, without brackets."""
        self._number += 1
        return f"{self._rng.getrandbits(64):016x}.{self._number}@{person.email.partition('@')[2]}"

    def opening(self, matter: Matter, message_id: str, *, html: bool = False) -> EmailMessage:
        """The first mail of a matter."""
        message = self._head(matter.person, matter.subject, message_id)
        text = f"{matter.open}\n\n{matter.person.name}\n"
        charset = self._charset(matter.language, text)
        message.set_content(text, charset=charset, cte="base64" if charset != "utf-8" else "quoted-printable")
        if html:
            message.add_alternative(_html(text), subtype="html", cte="quoted-printable")
            message.set_boundary(f"=_{self._rng.getrandbits(60):x}")
        return message

    def reply(
        self, matter: Matter, text: str, message_id: str, references: list[str], *, by: Person | None = None
    ) -> EmailMessage:
        """A later mail of a matter, with the first one quoted below. `references`: ids before it, oldest first."""
        writer = by or matter.person
        message = self._head(writer, f"{self._reply_prefix(matter.language)}{matter.subject}", message_id)
        message["In-Reply-To"] = f"<{references[-1]}>"
        message["References"] = " ".join(f"<{one}>" for one in references)
        wrote = words()["wrote"][matter.language].format(date=self._now.strftime("%d.%m.%Y"), who=matter.person.name)
        quoted = "\n".join(f"> {line}" if line else ">" for line in matter.open.splitlines())
        message.set_content(f"{text}\n\n{writer.name}\n\n{wrote}\n\n{quoted}\n", cte="quoted-printable")
        return message

    def automatic_reply(self, person: Person, subject: str, message_id: str, answers: str) -> EmailMessage:
        """A colleague in copy is away."""
        message = self._head(person, f"Automatic reply: {subject}", message_id)
        message["In-Reply-To"] = f"<{answers}>"
        message["References"] = f"<{answers}>"
        message["Auto-Submitted"] = "auto-replied"
        message["X-Auto-Response-Suppress"] = "All"
        message.set_content("I am out of the office until Monday with no access to mail.\n\n" + person.name + "\n")
        return message

    def bounce(self, failed: str, message_id: str) -> bytes:
        """A delivery status notification (RFC 3464) for a mail the desk is said to have sent."""
        host = failed.partition("@")[2]
        text = _BOUNCE.format(
            host=host,
            failed=failed,
            message_id=message_id,
            date=format_datetime(self._now),
            desk=SUPPORT,
            domain=DOMAIN,
        )
        return text.replace("\n", "\r\n").encode()

    def wrong_charset(self, matter: Matter, message_id: str, declared: str, actual: str) -> bytes:
        """A mail whose bytes are not in the charset it declares."""
        message = self._head(matter.person, matter.subject, message_id)
        head = message.as_bytes().rstrip(b"\r\n")
        kind = f"\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset={declared}\r\n"
        body = f"{matter.open}\n\n{matter.person.name}\n".replace("\n", "\r\n").encode(actual, "replace")
        return head + kind.encode() + b"Content-Transfer-Encoding: 8bit\r\n\r\n" + body

    def hostile(self, person: Person, message_id: str) -> bytes:
        """Far more header than any mail has: reading it naively takes seconds and gigabytes."""
        words_ = b"\r\n ".join(b"=?utf-8?q?=f0=9f=94=a5?=" for _ in range(20_000))
        head = f"From: {person.email}\r\nTo: {SUPPORT}\r\nMessage-ID: <{message_id}>\r\n".encode()
        return head + b"Subject: " + words_ + b"\r\n\r\nhello\r\n"

    def _head(self, person: Person, subject: str, message_id: str) -> EmailMessage:
        message = EmailMessage(policy=SMTP)
        message["From"] = str(Address(person.name, addr_spec=person.email))
        message["To"] = SUPPORT
        message["Subject"] = subject
        message["Message-ID"] = f"<{message_id}>"
        message["Date"] = format_datetime(self._now)
        message["User-Agent"] = self._rng.choice(_AGENTS)
        return message

    def _charset(self, language: str, text: str) -> str:
        charset = _OLD_CHARSETS.get(language, "utf-8")
        if self._rng.random() < 0.6:
            return "utf-8"
        try:
            text.encode(charset)
        except UnicodeEncodeError:
            return "utf-8"
        return charset

    def _reply_prefix(self, language: str) -> str:
        prefixes = {"de": "AW: ", "it": "R: ", "pl": "Odp: ", "zh-TW": "回覆: ", "ar": "رد: "}
        return prefixes.get(language, "Re: ")


def attach(message: EmailMessage, name: str, media_type: str, content: bytes) -> EmailMessage:
    """The same mail with a file."""
    maintype, _, subtype = media_type.partition("/")
    message.add_attachment(content, maintype=maintype, subtype=subtype, filename=name)
    message.set_boundary(f"=_{zlib.crc32(content):08x}")
    return message


def with_inline_image(message: EmailMessage, text: str, image: bytes) -> EmailMessage:
    """The same mail as HTML that shows an image out of its own parts (RFC 2392)."""
    message.set_content(text)
    html = f"<html><body>{_paragraphs(text)}<p><img src='cid:photo@demo' alt='photo'></p></body></html>"
    message.add_alternative(html, subtype="html")
    related = message.get_payload()[1]  # type: ignore[index]
    related.add_related(image, maintype="image", subtype="png", cid="<photo@demo>", filename="photo.png")  # type: ignore[union-attr]
    related.set_boundary("=_related")  # type: ignore[union-attr]
    message.set_boundary("=_alternative")
    return message


def picture(rng: random.Random, size: int = 48) -> bytes:
    """A small PNG (RFC 2083) of one colour and some noise."""
    colour = bytes(rng.randrange(256) for _ in range(3))
    dots = [colour if rng.random() < 0.9 else b"\xff" * 3 for _ in range(size * size)]
    rows = b"".join(b"\x00" + b"".join(dots[row * size : (row + 1) * size]) for row in range(size))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def invoice(number: str) -> bytes:
    """A one-page PDF."""
    stream = f"BT /F1 18 Tf 60 760 Td (Invoice {number}) Tj ET".encode()
    return (
        b"%%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
        b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<</Font<</F1<</Type/Font"
        b"/Subtype/Type1/BaseFont/Helvetica>>>>>>>>endobj\n4 0 obj<</Length %d>>stream\n%s\nendstream endobj\n"
        b"trailer<</Root 1 0 R>>\n%%%%EOF\n" % (len(stream), stream)
    )


def _html(text: str) -> str:
    return f"<html><head><style>p{{font-family:sans-serif}}</style></head><body>{_paragraphs(text)}</body></html>"


def _paragraphs(text: str) -> str:
    escaped = text.strip().replace("&", "&amp;").replace("<", "&lt;").replace("\n\n", "</p><p>").replace("\n", "<br>")
    return f"<p>{escaped}</p>"
