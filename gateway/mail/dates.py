"""When did a mail in an archive come? Not when the file was copied, and not in a future its sender made up.

In this order, each only if it is a moment between the first mails and now:

1. the uppermost Received line: the server of the mailbox wrote it, above everything a sender can write;
2. the Date its sender claims, if the mailbox had not put the mail by before then;
3. what the mailbox says: the `From ` line of an mbox, the name of a file in a Maildir, the time of a file.

An archive is the operator's own, and that is why a sender's word is good enough for it. Live mail is never dated by it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from normalizer import headers

EARLIEST: Final = datetime(1982, 8, 13, tzinfo=UTC)  # RFC 822; what is older comes from a clock that stood still
_SLACK: Final = timedelta(days=1)  # clocks without a zone, and those that are set wrong by hours
_HEADER: Final = 262_144
_ENVELOPE: Final = re.compile(
    rb"\b([A-Z][a-z]{2})\s{1,3}(\d{1,2})\s{1,3}(\d{1,2}:\d\d(?::\d\d)?)\s{1,3}"
    rb"(?:([A-Z]{1,5}|[+-]\d{4})\s{1,3})?((?:19|20)\d\d)(?:\s{1,3}([+-]\d{4}))?"
)
_DELIVERED: Final = re.compile(r"(\d{9,11})\.")


def original_date(body: bytes, stored_at: datetime | None, now: datetime) -> datetime | None:
    """When this mail came, in UTC and not after `now`; None when nothing says so. `stored_at`: the mailbox's word."""
    fields, _, _ = headers.split_block(body, 0, len(body), _HEADER)
    received = _date_of(fields, "received")
    if _is_sane(received, now):
        return _not_after(received, now)
    claimed = _date_of(fields, "date")
    limit = stored_at if _is_sane(stored_at, now) else now
    if _is_sane(claimed, limit or now):
        return _not_after(claimed, now)
    return _not_after(stored_at, now) if _is_sane(stored_at, now) else None


def envelope_date(line: bytes) -> datetime | None:
    """The time in the `From ` line of an mbox; without a zone it is UTC (RFC 4155 appendix A)."""
    match = _ENVELOPE.search(line[:500])
    if match is None:
        return None
    month, day, clock, early, year, late = (part.decode("ascii") if part else "" for part in match.groups())
    return headers.parse_date(f"{day} {month} {year} {clock} {early or late or '+0000'}")


def file_date(path: Path, *, maildir: bool) -> datetime | None:
    """When a file came to be; in a Maildir its name begins with the time of delivery, which copying does not change."""
    named = _DELIVERED.match(path.name) if maildir else None
    try:
        return datetime.fromtimestamp(int(named[1]) if named else path.stat().st_mtime, UTC)
    except (OSError, OverflowError, ValueError):
        return None


def _date_of(fields: headers.Fields, name: str) -> datetime | None:
    value = next((value for known, value in fields if known == name), b"")
    text = headers.unfold(value[-1_000:])
    found = headers.parse_date(text.rpartition(";")[2].strip() if name == "received" else text.strip())
    try:
        return found.astimezone(UTC) if found else None
    except OverflowError:
        return None


def _is_sane(moment: datetime | None, limit: datetime) -> bool:
    return moment is not None and EARLIEST <= moment <= limit + _SLACK


def _not_after(moment: datetime | None, now: datetime) -> datetime | None:
    return min(moment, now) if moment is not None else None
