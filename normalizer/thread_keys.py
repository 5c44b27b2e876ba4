"""The ordered evidence for which conversation a mail belongs to: its own id, the ids it answers, its bare subject."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Final, Literal

from normalizer.message import ThreadKey

MAX_REFERENCES: Final = 50  # the newest; RFC 5322 3.6.4 puts them last
_ID: Final = re.compile(r"<([^<>\s]{3,}+)>")
_LOOSE_ID: Final = re.compile(r"[^<>\s,;\"()]{1,300}@[^<>\s,;\"()]{1,300}")
_MAX_ID: Final = 250  # longer ones are hashed: a database index takes no 8 KB key
_MIN_ID: Final = 3


def message_ids(field: str, *, loose: bool = False) -> list[str]:
    """The ids in a Message-ID, In-Reply-To or References field, without brackets. Words are no ids.

    `Your message of Monday` has none. `loose` takes a bare `left@right` too, for a Message-ID without brackets.
    """
    field = field[-65_536:]  # the newest stand last
    found = [item for item in _ID.findall(field) if _is_id(item)]
    if not found and "<" in field and "@" in field:
        # `<a b@x>` and ids folded in the middle: white space inside brackets is damage, not meaning.
        found = [compact for item in re.findall(r"<([^<>]{3,998})>", field) if _is_id(compact := "".join(item.split()))]
    if not found and loose:
        match = _LOOSE_ID.search(field)
        found = [match.group()] if match and _is_id(match.group()) else []
    return found


def _is_id(value: str) -> bool:
    return len(value) >= _MIN_ID and value.strip("@.<>[]") != "" and value not in ("@", "...")


def key_value(message_id: str) -> str:
    """`mid:<id>`; ids past 250 characters by their hash."""
    if len(message_id) > _MAX_ID:
        return "mid:" + hashlib.blake2b(message_id.encode("utf-8", "replace"), digest_size=20).hexdigest()
    return "mid:" + message_id


def thread_keys(own: str, in_reply_to: str = "", references: str = "") -> tuple[ThreadKey, ...]:
    """Keys of the three fields as they came (unfolded): own id, ids answered, then references newest first."""
    keys: list[ThreadKey] = []
    seen: set[str] = set()

    def add(kind: Literal["message_id", "in_reply_to", "references"], ids: Iterable[str]) -> None:
        for item in ids:
            value = key_value(item)
            if value not in seen:
                seen.add(value)
                keys.append(ThreadKey(kind=kind, value=value))

    add("message_id", message_ids(own, loose=True)[:1])
    add("in_reply_to", message_ids(in_reply_to)[:10])
    add("references", reversed(message_ids(references)[-MAX_REFERENCES:]))
    return tuple(keys)


_REPLY: Final = (
    "re", "rif", "aw", "antw", "antwort", "sv", "svar", "vs", "res", "resp", "rép", "rep", "odp", "odg", "ynt",
    "cevap", "vá",
    "atb", "bls", "ats", "răs", "απ", "σχετ", "отв", "ответ", "відп", "на", "回复", "回覆", "答复", "答覆",
    "返信", "회신",
    "답장", "رد", "השב", "תגובה", "ตอบกลับ", "trả lời", "bezüglich",
)  # fmt: skip
_FORWARD: Final = (
    "fw", "fwd", "wg", "tr", "rv", "enc", "vb", "vl", "videres", "doorst", "pd", "i̇lt", "ilt", "per", "fs",
    "továbbítás",
    "πρθ", "пересл", "转发", "轉寄", "轉發", "転送", "전달", "إعادة توجيه", "הועבר", "weitergeleitet",
)  # fmt: skip
_prefixes = "|".join(sorted((re.escape(word) for word in _REPLY + _FORWARD), key=len, reverse=True))
# Single letters (Italian R, I) only in capitals: `i: want` is a sentence.
_PREFIX: Final = re.compile(rf"\s*(?:(?i:{_prefixes})|[RI])\s?(?:[\[(^]\s?\d{{1,4}}\s?[\])]?)?\s?[:：]\s*")
_TAG: Final = re.compile(r"\s*\[[^\[\]]{1,80}\]\s*")


def subject_base(subject: str) -> str:
    """The subject without reply and forward prefixes, list tags and spacing, lower case: equal within a "
    "conversation."""
    text = " ".join(subject[:1_000].replace("\u00a0", " ").split())
    for _ in range(50):
        prefix = _PREFIX.match(text)
        shorter = text[prefix.end() :] if prefix else text
        match = _TAG.match(shorter)
        if match and match.end() < len(shorter):
            shorter = shorter[match.end() :]
        if shorter == text:
            break
        text = shorter
    return text.strip().lower()


def looks_like_reply(subject: str) -> bool:
    """Whether the subject carries a reply prefix."""
    match = _PREFIX.match(subject[:200])
    return match is not None


_forwards = "|".join(sorted((re.escape(word) for word in _FORWARD), key=len, reverse=True))
_FORWARD_PREFIX: Final = re.compile(rf"\s*(?:(?:{_forwards})\s?[:：]|\[fwd:)", re.IGNORECASE)


def looks_like_forward(subject: str) -> bool:
    """Whether the subject carries a forward prefix."""
    return _FORWARD_PREFIX.match(subject[:200]) is not None
