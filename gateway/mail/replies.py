"""What the mail listeners say. Every refusal is a sentence a postmaster can act on.

Only what is known to be permanent answers 5xx; everything else is 4xx, and the sender keeps the message.
"""

from __future__ import annotations

import re
from typing import Final

TROUBLE: Final = "451 4.3.0 Temporary trouble here, nothing was accepted; please try again later"
NOT_DURABLE: Final = "452 4.3.1 Cannot store mail at the moment, nothing was accepted; please try again later"
CROWDED: Final = "452 4.3.1 Too much mail is arriving at this moment; please try again later"
GOODBYE: Final = "221 2.0.0 Bye"
TIMED_OUT: Final = "421 4.4.2 Timed out waiting for you, closing"
STOPPING: Final = "421 4.3.2 This server is being restarted; please try again later"
TOO_MANY_REFUSALS: Final = "421 4.7.0 Too many recipients were refused on this connection"
NOT_HTTP: Final = "421 4.7.0 This is a mail port, not a web server"
NO_PREAMBLE: Final = "421 4.7.0 The PROXY preamble of this proxy is missing or malformed"
START_TLS: Final = "220 2.0.0 Ready to start TLS"
NEED_RCPT: Final = "503 5.5.1 Send RCPT TO before DATA"
GO_AHEAD: Final = "354 End data with <CR><LF>.<CR><LF>"
RECIPIENT_OK: Final = "250 2.1.5 Recipient ok"

_ENHANCED = re.compile(r"[245]\d\d[ -][245]\.\d{1,3}\.\d{1,3}( |$)")
_CONTROLS = dict.fromkeys((*range(32), 127), " ")
# RFC 2034: once ENHANCEDSTATUSCODES is announced every 2xx, 4xx and 5xx reply carries one (greeting and EHLO excepted);
# the library's own replies carry none.
_DEFAULT_CODES = {
    "221": "2.0.0",
    "250": "2.0.0",
    "252": "2.5.0",
    "500": "5.5.2",
    "501": "5.5.4",
    "502": "5.5.1",
    "503": "5.5.1",
    "530": "5.7.0",
    "538": "5.7.11",
    "553": "5.1.3",
    "555": "5.5.4",
}


def one_line(sentence: str, limit: int = 400) -> str:
    """A sentence that is safe inside a reply line (RFC 5321 4.5.3.1.5 allows 512 octets)."""
    return " ".join(sentence.translate(_CONTROLS).split())[:limit]


def clean(status: str) -> str:
    """A status without control characters, and with an enhanced code when it lacks one (multi-line: as it is)."""
    if "\r\n" in status:
        return "\r\n".join(line.translate(_CONTROLS) for line in status.split("\r\n"))
    code, separator, text = status.partition(" ")
    if separator and code in _DEFAULT_CODES and not _ENHANCED.match(status):
        status = f"{code} {_DEFAULT_CODES[code]} {text}"
    return status if status.isprintable() else status.translate(_CONTROLS)


def accepted(receipt_ids: list[str]) -> str:
    """250 with the receipt, which `frontdesk receipts` and the API explain later."""
    return f"250 2.0.0 accepted as {' '.join(receipt_ids)}"


def too_big(limit: int) -> str:
    """Permanent: the same message will not fit next time either."""
    return f"552 5.3.4 Message is larger than {limit} bytes; please send big files another way"


def too_many_recipients(limit: int) -> str:
    """Temporary by RFC 5321 4.5.3.1.10: the client sends the rest in another transaction."""
    return f"452 4.5.3 At most {limit} recipients at a time; send the others in another transaction"


def no_such_inbox(address: str) -> str:
    """Permanent: no mail inbox accepts this address."""
    return (
        f"550 5.1.1 <{one_line(address, 200)}> is not an address of this support desk;"
        " check the spelling, or add it to a mail inbox in frontdesk.toml"
    )


def too_many_connections(sentence: str) -> str:
    """Said before closing; RFC 5321 3.8."""
    return f"421 4.7.0 {one_line(sentence)}"


def refused(status: int, sentence: str) -> str:
    """An adapter's HTTP-shaped refusal in SMTP's words. Throttling and outages (429, 5xx) stay temporary."""
    if status == 413:
        return f"552 5.3.4 {one_line(sentence)}"
    if status in (401, 403):
        return f"550 5.7.1 {one_line(sentence)}"
    if status == 429 or status >= 500:
        return f"451 4.7.1 {one_line(sentence)}"
    return f"554 5.6.0 {one_line(sentence)}"
