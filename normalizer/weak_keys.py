"""Weaker evidence for a mail's conversation: Outlook's conversation id, a ticket number in the subject, the subject.

Each is only believed under conditions that `gateway.worker.matching` checks: who takes part, and who is proven.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

from normalizer.message import ThreadKey

_ROOT_BYTES: Final = 22  # [MS-OXOMSG] 2.2.1.3: 0x01, five bytes of time, 16 of a GUID; five more for each reply
_NUMBER: Final = re.compile(r"\[(?:[^\[\]#]{0,40}\s)?#(\d{1,12})\]|\bticket\s{0,3}#(\d{1,12})\b", re.IGNORECASE)


def thread_index_root(field: str) -> str:
    """The GUID of an Outlook conversation as hex, from a Thread-Index field; empty when there is none in it."""
    compact = "".join(field[:4096].split())
    try:
        index = base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError):
        return ""
    if len(index) < _ROOT_BYTES or index[0] != 1 or not any(index[6:_ROOT_BYTES]):
        return ""
    return index[6:_ROOT_BYTES].hex()


def subject_number(subject: str) -> str:
    """The ticket number in `[#42]`, `[Acme #42]` or `Ticket #42`; empty when there is none."""
    match = _NUMBER.search(subject[:1000])
    return (match.group(1) or match.group(2)).lstrip("0") if match else ""


def weak_keys(thread_index: str, subject: str, base: str, *, stripped: bool) -> tuple[ThreadKey, ...]:
    """The weak keys of a mail. `stripped`: it looks like a reply and carries no header that says to what."""
    keys = []
    if root := thread_index_root(thread_index):
        keys.append(ThreadKey(kind="thread_index", value=f"tindex:{root}", strength="weak"))
    if number := subject_number(subject):
        keys.append(ThreadKey(kind="subject_number", value=number, strength="weak"))
    if stripped and base:
        keys.append(ThreadKey(kind="subject", value=base[:200], strength="weak"))
    return tuple(keys)
