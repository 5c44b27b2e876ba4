"""One line in place of the words that a mail does not have: which files came, and why nothing of them can be read.

An agent who opens such a ticket sees what was sent instead of an empty comment.
"""

from __future__ import annotations

import re
from typing import Final

from normalizer.message import Attachment
from normalizer.mime import Mail

MAX_NAMED: Final = 5  # files that are named; the others are counted
_REASONS: Final = frozenset({"not_fetched", "tnef_damaged", "encrypted"})  # problems that say why there are no words
_PICTURE: Final = re.compile(r"<(?:img|svg|picture)\b", re.IGNORECASE)


def describe(mail: Mail) -> str:
    """What came in a mail without words; empty when nothing did."""
    if mail.attachments:
        said = _named(mail.attachments)
    elif _PICTURE.search(mail.html):
        said = "only pictures from the web, which are not fetched"
    else:
        return ""
    reasons = [hit.reason for hit in mail.problems if hit.name in _REASONS]
    return f"[No words; {'; '.join([said, *reasons])}.]"


def _named(items: tuple[Attachment, ...]) -> str:
    names = ", ".join(f"{item.filename} ({_size(item.size)})" for item in items[:MAX_NAMED])
    more = len(items) - MAX_NAMED
    counted = "1 file" if len(items) == 1 else f"{len(items)} files"
    return f"{counted}: {names}{f' and {more} more' if more > 0 else ''}"


def _size(octets: int) -> str:
    for unit, size in (("MB", 1_000_000), ("KB", 1_000)):
        if octets >= size:
            return f"{octets / size:.1f} {unit}"
    return "1 byte" if octets == 1 else f"{octets} bytes"
