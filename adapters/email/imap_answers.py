"""What an IMAP server's answers mean, where imaplib and IMAPClient leave it open."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from imapclient.datetime_util import parse_to_datetime
from imapclient.exceptions import ProtocolError
from imapclient.response_parser import parse_response

_MAX_PARENTHESES: Final = 50  # in one line; sizes, dates and flags take three
_KNOWN_ITEMS: Final = frozenset(
    {b"UID", b"FLAGS", b"RFC822.SIZE", b"INTERNALDATE", b"MODSEQ", b"BODY[]", b"BODY[HEADER]", b"X-GM-MSGID",
     b"X-GM-THRID", b"X-GM-LABELS", b"EMAILID", b"THREADID"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class View:
    """A folder as it was selected."""

    folder: str
    validity: int
    uid_next: int  # 0: not told
    exists: int
    keywords: frozenset[bytes] | None  # flags that last; None: not told
    writable: bool


@dataclass(frozen=True, slots=True)
class Meta:
    """What is known of a mail before it is fetched."""

    size: int
    date: datetime | None


def read_fetch(data: list[Any]) -> list[dict[bytes, Any]]:
    """Every answer to a FETCH by itself, its items by their names. Raises `ProtocolError`."""
    texts = (record[0] if isinstance(record, tuple) else record for record in data)
    if any(text is not None and text.count(b"(") > _MAX_PARENTHESES for text in texts):
        raise ProtocolError("an answer to FETCH is nested too deep")  # IMAPClient reads it by recursion
    told = parse_response(data)
    if len(told) % 2:
        raise ProtocolError("an answer to FETCH is incomplete")
    return [_read_items(number, items) for number, items in zip(told[::2], told[1::2], strict=True)]


def _read_items(number: Any, items: Any) -> dict[bytes, Any]:
    """One FETCH answer. Strict: words that are no item are the rest of a mail whose length was a lie."""
    if not isinstance(number, int) or not isinstance(items, tuple) or len(items) % 2:
        raise ProtocolError("an answer to FETCH is malformed")
    found = {}
    for name, value in zip(items[::2], items[1::2], strict=True):
        known = name.upper() if isinstance(name, bytes) else b""
        if known not in _KNOWN_ITEMS:
            raise ProtocolError("an answer to FETCH holds what nobody asked for")
        found[known] = value
    return found


def read_date(value: Any) -> datetime | None:
    """An INTERNALDATE in UTC; None when it is none."""
    if not isinstance(value, bytes):
        return None
    try:
        found: datetime = parse_to_datetime(value, normalise=False)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError, TypeError):
        return None


def tells_of_mail(line: bytes) -> bool:
    """Whether an untagged line says how many mails there are: it comes with each new one."""
    return re.match(rb"\* \d{1,10} EXISTS", line, re.IGNORECASE) is not None


def response_code(error: BaseException) -> str:
    """The code in brackets (RFC 5530) in an error's text, or empty."""
    found = re.search(r"\[([A-Z-]{2,40})[\] ]", str(error)[:2_000])
    return found[1] if found else ""


def read_text(data: Any) -> str:
    """The sentence of a tagged answer."""
    first = data[-1] if data else b""
    return first.decode("utf-8", "replace") if isinstance(first, bytes) else str(first)


def quoted(text: str) -> str:
    """As one argument of a command."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
