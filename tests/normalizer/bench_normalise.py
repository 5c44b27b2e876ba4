"""How fast mail is read, and what it costs in memory: figures for `make bench`, never asserted in a test run.

    python -m tests.normalizer.bench_normalise

Small mails give the median of many rounds on a warm process, large and hostile ones a single round; all in CPU time,
so that neighbours on the machine do not count.
"""

from __future__ import annotations

import base64
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from adapters.base import Raw
from adapters.email import Email, EmailOptions
from tests.normalizer import hostile_mails

HEAD: Final = b"""Return-Path: <anna@customer.example>
Authentication-Results: mx.desk.example; dkim=pass header.d=customer.example;
 dmarc=pass (p=reject) header.from=customer.example
Received: from mail.customer.example by mx.desk.example; Mon, 3 Feb 2025 10:00:01 +0000
Received: from [192.0.2.1] by mail.customer.example with ESMTPSA id 8234; Mon, 3 Feb 2025 10:00:00 +0000
From: =?utf-8?q?Anna_M=C3=BCller?= <Anna@Customer.example>
To: Support <support@desk.example>
Cc: boss@customer.example
Subject: Re: [desk] Where is my order?
Date: Mon, 3 Feb 2025 11:00:00 +0100
Message-ID: <reply-1@customer.example>
In-Reply-To: <ours-1@desk.example>
References: <first@customer.example> <ours-1@desk.example>
MIME-Version: 1.0
"""
LETTER: Final = """Hello,

It has not arrived yet, and I am waiting for it since last week.
Please tell me when I can expect my order 12345; I need it before Friday.

Thanks,
Anna

On Mon, 3 Feb 2025 at 09:00, Support <support@desk.example> wrote:
""" + "> Has it arrived? We have sent the parcel by express to your address.\n" * 12  # fmt: skip
STYLE: Final = 'style="font-size:11.0pt;font-family:&quot;Calibri&quot;,sans-serif;color:#1F497D"'
PARAGRAPH: Final = (
    f'<p class="MsoNormal"><span lang="EN-US" {STYLE}>It has not arrived yet, and I am waiting for it since last '
    "week.&nbsp;<o:p></o:p></span></p>\n"
)
OLD: Final = (
    '<div style="border:none;border-top:solid #E1E1E1 1.0pt"><p class="MsoNormal"><b>From:</b> Support<br><b>Sent:</b> '
    "Monday, February 3, 2025 9:00 AM<br><b>To:</b> Anna<br><b>Subject:</b> Where is my order?<o:p></o:p></p></div>"
)
ROW: Final = (
    '<tr><td align="center" bgcolor="#ffffff" style="padding:10px 20px;font-family:Arial,sans-serif;font-size:14px">'
    '<a href="https://click.example.com/?qs=0123456789abcdef0123456789abcdef" style="color:#0070cc">'
    '<img src="https://img.example.com/a.png" width="200" alt="Offer" style="display:block;border:0;"></a><br>'
    "Save 20% on your next order &amp; more</td></tr>\n"
)


class Figure(NamedTuple):
    """`value` in `unit`; `limit` is what the project wants, None where there is none."""

    name: str
    value: float
    unit: str
    limit: float | None = None


def outlook(size: int) -> bytes:
    """An answer as Outlook writes it, half of it history."""
    count = size // len(PARAGRAPH) // 2
    return (
        '<html><body lang="EN-US"><div class="WordSection1">' + PARAGRAPH * count + OLD + PARAGRAPH * count
    ).encode()


def newsletter(size: int) -> bytes:
    """Tables, links and a hidden first line."""
    hidden = '<div style="display:none;max-height:0">preheader</div>'
    return (
        "<html><head><style>p{margin:0}</style></head><body>" + hidden + "<table>" + ROW * (size // len(ROW))
    ).encode()


def small_mails() -> dict[str, tuple[bytes, float]]:
    """Mail and the median in microseconds that it may cost."""
    plain = b"Content-Type: text/plain; charset=utf-8\n\n"
    html = b"Content-Type: text/html; charset=utf-8\n\n"
    letter = LETTER.encode()
    both = b"Content-Type: multipart/alternative; boundary=B\n\n--B\n" + plain + letter[:500] + b"\n--B\n" + html
    return {
        "2 KB plain": (HEAD + plain + letter, 300.0),
        "2 KB alternative": (HEAD + both + b"<p>" + letter[:500].replace(b"\n", b"<br>") + b"\n--B--\n", 400.0),
        "20 KB html, Outlook": (HEAD + html + outlook(20_000), 2_500.0),
        "20 KB html, newsletter": (HEAD + html + newsletter(20_000), 2_500.0),
    }


def large_mails() -> dict[str, bytes]:
    """Mails of 20 MB and more; each may cost 1.5 s of CPU and four times its size in memory."""
    file = base64.encodebytes(bytes(range(256)) * 73_000)
    mixed = (
        b"Content-Type: multipart/mixed; boundary=B\n\n--B\n\nHello\n--B\nContent-Type: application/zip; name=a.zip\n"
    )
    return {
        "25 MB attachment": HEAD + mixed + b"Content-Transfer-Encoding: base64\n\n" + file + b"--B--\n",
        "20 MB plain text": HEAD + b"\n" + b"This is a line of plain text, number one two three four.\n" * 340_000,
        "20 MB one line": HEAD + b"\n" + b"word " * 4_000_000,
        "20 MB html": HEAD + b"Content-Type: text/html\n\n" + PARAGRAPH.encode() * 100_000,
    }


def reader() -> Callable[[bytes], object]:
    """The whole of what an inbox does with a mail before it is published."""
    options = EmailOptions(addresses=["support@desk.example"], authserv_ids=["mx.desk.example"])
    inbox = Email("support", options)
    facts = {"mail_from": "anna@customer.example", "rcpt_tos": ["support@desk.example"]}
    return lambda body: inbox.normalize(Raw(body=body, facts=facts))


def peak_memory(read: Callable[[bytes], object], body: bytes) -> int:
    """Octets at the worst moment, without the mail itself."""
    tracemalloc.start()
    try:
        read(body)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def cpu_seconds(read: Callable[[bytes], object], body: bytes) -> float:
    """Of one reading."""
    start = time.process_time()
    read(body)
    return time.process_time() - start


def figures(rounds: int = 400) -> Iterator[Figure]:
    """All figures, the quick ones first."""
    read = reader()
    for name, (body, limit) in small_mails().items():
        median = statistics.median(cpu_seconds(read, body) for _ in range(rounds))
        yield Figure(f"normalise {name}", median * 1e6, "us", limit)
    for name, body in large_mails().items():
        yield Figure(f"normalise {name}", cpu_seconds(read, body), "s CPU", 1.5)
        yield Figure(f"memory {name}", peak_memory(read, body) / len(body), "x size", 4.0)
    slowest = max((cpu_seconds(read, body), name) for name, body in hostile_mails.mails().items())
    hungriest = max((peak_memory(read, body), name) for name, body in hostile_mails.mails().items())
    yield Figure(f"hostile, slowest: {slowest[1]}", slowest[0], "s CPU", 2.0)
    yield Figure(f"hostile, hungriest: {hungriest[1]}", hungriest[0] / 2**20, "MiB", 150.0)


if __name__ == "__main__":
    for item in figures():
        wanted = "" if item.limit is None else f"   wanted under {item.limit:g}"
        print(f"{item.name:48} {item.value:10.2f} {item.unit}{wanted}")
