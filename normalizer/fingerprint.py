"""Two keys for duplicates: which *delivery* is this, and which *words* are these.

They answer different questions. A provider's retry has the same delivery key; a customer who clicks twice has the same
content key; a sender who reuses a Message-ID for another text has neither in common with the first mail.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable

# The separator cannot occur in any part: `clean_text` removes NUL everywhere.
_SEPARATOR = b"\x00"


def digest(parts: Iterable[str | bytes]) -> str:
    """160-bit BLAKE2b of the parts as 40 hex digits; ("a", "bc") and ("ab", "c") differ."""
    state = hashlib.blake2b(digest_size=20)
    for part in parts:
        state.update(part.encode("utf-8", "replace") if isinstance(part, str) else part)
        state.update(_SEPARATOR)
    return state.hexdigest()


def delivery_key(channel: str, *provider_id: str) -> str:
    """Key of one delivery: equal for retries, for poll and webhook of the same post, for redelivery by the broker.

    Mail passes its Message-ID *and* its content key (DESIGN 6: same id with other content is another message).
    """
    return digest((channel, *provider_id))


def content_key(author: str, text: str, attachments: Iterable[str] = ()) -> str:
    """Key of what somebody said: author identity, words without case, spacing and compatibility forms, file hashes.

    Empty when there is neither a word nor a file, or when the author is nobody: silence is not repeated speech.
    """
    plain = text if text.isascii() else unicodedata.normalize("NFKC", text)
    words = " ".join(plain.casefold().split())
    files = sorted(attachments)
    if not author or not (words or files):
        return ""
    return digest((author, words, *files))
