"""One mail for each attack class A01 to A59 that a mail reader can meet, made here. Values: what goes over the wire.

Used by the tests of outcomes and memory, and by the flood of the bench.
"""

from __future__ import annotations

import base64
import functools
import io
import struct
import zipfile
import zlib


def text_mail(*lines: str, body: str = "Hello", sender: str = "anna@x.org") -> bytes:
    """A mail with these header lines after From, Subject and Message-ID."""
    head = "\n".join((f"From: {sender}", "Subject: s", "Message-ID: <m@x.org>", *lines))
    return f"{head}\n\n{body}\n".encode("utf-8", "surrogateescape")


def with_file(content_type: str, content: bytes, *, name: str = "") -> bytes:
    """A letter and one attached file."""
    label = f'; name="{name}"' if name else ""
    head = text_mail("Content-Type: multipart/mixed; boundary=B", body="--B\n\nHello\n--B")
    part = f"Content-Type: {content_type}{label}\nContent-Transfer-Encoding: base64\n\n".encode()
    return head + part + base64.encodebytes(content) + b"--B--\n"


def zip_bomb(levels: int = 4) -> bytes:
    """Zip in zip, with a name that climbs out of its directory (A45): 10 MB of zeroes eight times a level."""
    content = b"\x00" * 10_000_000
    for level in range(levels):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for number in range(8):
                archive.writestr(f"../../etc/cron.d/{level}-{number}", content)
        content = out.getvalue()
    return content


def huge_picture() -> bytes:
    """A PNG that says it is 60,000 by 60,000 pixels (A46)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\x00" * 1_000_000))


CALENDAR = """BEGIN:VCALENDAR
METHOD:REQUEST
BEGIN:VEVENT
SUMMARY:<svg onload=alert(1)>
DESCRIPTION:<script>alert(1)</script>
ATTACH;FMTTYPE=image/svg+xml:data:image/svg+xml;base64,PHN2Zy8+
END:VEVENT
END:VCALENDAR
"""


def _nested(kind: str, depth: int) -> str:
    if kind == "multipart":
        return "".join(f"Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n" for n in range(depth)) + "\nx"
    return "Content-Type: message/rfc822\n\n" * depth + "Subject: inner\n\nx"


def _attached_in_attached(width: int, depth: int) -> str:
    if not depth:
        return "Subject: leaf\n\nx"
    inner = _attached_in_attached(width, depth - 1)
    part = f"--b{depth}\nContent-Type: message/rfc822\n\n{inner}\n"
    return f"Content-Type: multipart/mixed; boundary=b{depth}\n\n{part * width}--b{depth}--\n"


@functools.cache
def mails() -> dict[str, bytes]:
    """All of them, by class. The largest is 4 MB."""
    sender = "From: anna@x.org\n"
    texts = {
        "A01 encoded words": f"{sender}Subject: " + "=?utf-8?q?a?=\n " * 20_000 + "\n\nx",
        "A02 nested multiparts": sender + _nested("multipart", 1_000),
        "A03 nested messages": sender + _nested("message", 1_000),
        "A03 attached in attached": sender + _attached_in_attached(18, 3),
        "A04 parts": f"{sender}Content-Type: multipart/mixed; boundary=B\n\n" + "--B\n\n\n" * 100_000 + "--B--",
        "A05 continuations": f"{sender}Content-Type: text/plain;"
        + ";".join(f"\n a*{n}*=x" for n in range(20_000))
        + "\n\nx",
        "A06 headers": sender + "X-A: b\n" * 100_000 + "\nx",
        "A07 recipients": f"{sender}To: " + ", ".join(f"u{n}@x.org" for n in range(4_500)) + "\n\nHello",
        "A08 comments": f"From: {'(' * 60_000}\n\nHello",
        "A08 quotes": "From: " + '"' * 60_000 + "\n\nHello",
        "A12 long id": f"{sender}Message-ID: <{'x' * 8_000}@y.org>\n\nHello",
        "A17 display name": "From: victim@bank.example <eve@y.org>\n\nHello",
        "A23 references": f"{sender}References: " + " ".join(f"<{n}@x>" for n in range(9_000)) + "\n\nHello",
        "A38 nested tags": f"{sender}Content-Type: text/html\n\n" + "<div>" * 60_000 + "Hello",
        "A38 unclosed tags": f"{sender}Content-Type: text/html\n\n" + "<b><i><table><td>" * 30_000 + "Hello",
        "A38 references": f"{sender}Content-Type: text/html\n\n" + "&amp;" * 400_000,
        "A38 attributes": f"{sender}Content-Type: text/html\n\n<p " + 'style="display:none" ' * 50_000 + ">Hello",
        "A39 on on on": f"{sender}\n" + "On " * 40_000,
        "A39 dashes": f"{sender}\n" + "-" * 100_000,
        "A39 from from": f"{sender}\n" + "From:\n" * 20_000,
        "A39 wrote": f"{sender}\n" + "On 3 Feb 2025\nAnna <a@x.org>\nwrote\nso:\n" * 10_000,
        "A39 lines": f"{sender}\n" + "> a\n" * 200_000,
        "A39 newlines": f"{sender}\n" + "\n" * 1_000_000,
        "A39 addresses": f"{sender}\n" + "a@" * 200_000,
        "A43 long name": f"{sender}Content-Type: application/x; name={'n' * 10_000}\n\nx",
        "A49 never closed": f"{sender}Content-Type: multipart/mixed; boundary=B\n\n--B\n\nHello\n--B\nX: y",
        "A50 external": f'{sender}Content-Type: message/external-body; access-type=URL; URL="file:///etc/passwd"\n\nx',
        "A52 utf-7": f"{sender}Content-Type: text/html; charset=utf-7\n\n+ADw-script+AD4-",
        "A54 one long field": f"{sender}X-Long: " + "a" * 1_000_000 + "\n\nx",
        "A56 one long line": f"{sender}\n" + "c" * 4_000_000,
        "A57 terminal": f"{sender}Subject: \x1b[2J\x9b31m=?utf-8?q?=1B[0m=0A2025_INFO_fake?=\n\n\x1b]0;owned\x07Hello",
        "uuencoded": f"{sender}\n" + "begin 644 a\n" * 30_000,
        "flowed": f"{sender}Content-Type: text/plain; format=flowed\n\n" + "a \n" * 200_000,
        "enriched": f"{sender}Content-Type: text/enriched\n\n" + "<param><b>" * 100_000,
        "dashes that delimit": f"{sender}Content-Type: multipart/mixed; boundary=B\n\n" + "--x\n" * 100_000,
    }
    octets = {
        "A45 zip bomb": with_file("application/zip", zip_bomb(), name="../../bomb.zip"),
        "A46 huge picture": with_file("image/png", huge_picture(), name="p.png"),
        "A47 calendar": with_file("text/calendar", CALENDAR.encode(), name="i.ics"),
        "A47 tnef": with_file(
            "application/ms-tnef", b"\x78\x9f\x3e\x22\x00\x00\x02" + b"\xff" * 4_000, name="winmail.dat"
        ),
        "A49 dirty base64": text_mail(
            "Content-Transfer-Encoding: base64", body="S$G!V\x00sb  G8=\n=extra=\n!" * 20_000
        ),
        "A53 octets": sender.encode() + b"\n" + bytes(range(256)) * 4_000,
        "A54 nothing": b"",
        "A54 noise": bytes((n * 7919 + n // 13) % 256 for n in range(100_000)),
        "A56 bare returns": sender.encode() + b"\n" + b"a\r.\rb\r" * 100_000,
    }
    return {name: text.encode("utf-8", "surrogateescape") for name, text in texts.items()} | octets
