"""Mail as people and programs write it, from 2 KB to 25 MB, to measure how it is read."""

from __future__ import annotations

import base64
from typing import Final

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
