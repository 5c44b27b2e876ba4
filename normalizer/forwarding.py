"""A mail that somebody passed on: who wrote it first, when, and what.

For desks whose agents forward customers' mails to the inbox. Two ways exist: the mail as an attachment, and its text
below an announcement with the old header (`quote_words` knows both in many languages). Nothing here is proof of
anything: the caller decides whose forwards count.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final, NamedTuple

from normalizer import addresses, files, headers, mime, quote_words, thread_keys
from normalizer.message import Attachment
from normalizer.structure import OverBudgetError

_MAX_LINES: Final = 2_000
_FIELD: Final = re.compile(r"[>*_\s]{0,6}[^\d:：<>@]{1,26}?[*_]{0,2}\s?[:：][*_]{0,2}\s{0,9}(.{0,1000})")
_MAILTO: Final = re.compile(r"[\[(<]mailto:([^\s\])>]{1,320})[\])>]", re.IGNORECASE)
_MONTHS: Final = {
    name: number
    for number, names in enumerate(
        ("jan", "feb", "mar mär", "apr", "may mai", "jun", "jul", "aug", "sep", "oct okt", "nov", "dec dez"), 1
    )
    for name in names.split()
}
_DAY_MONTH: Final = re.compile(r"(?<!\d)(\d{1,2})\.?\s([^\W\d_]{3,10})\.?,?\s(\d{4})")
_MONTH_DAY: Final = re.compile(r"([^\W\d_]{3,10})\.?\s(\d{1,2}),?\s(\d{4})")
_ISO: Final = re.compile(r"(?<!\d)(\d{4})-(\d{1,2})-(\d{1,2})")
_GERMAN: Final = re.compile(r"(?<!\d)(\d{1,2})\.(\d{1,2})\.(\d{4})")
_TIME: Final = re.compile(r"(?<!\d)(\d{1,2}):(\d{2})(?::\d{2})?(?:\s?([AaPp])\.?[Mm])?")


class Forwarded(NamedTuple):
    """The mail that was passed on. `value` is the canonical address of who wrote it."""

    value: str
    display_name: str
    subject: str
    sent_at: datetime | None  # as claimed; without a zone in the text it is taken as UTC
    text: str
    note: str  # what the one who passed it on wrote above it
    message_id: str = ""  # only when the mail came as an attachment


def original(mail: mime.Mail) -> Forwarded | None:
    """The mail that this one passes on, or None when it passes on none or does not say whose it was."""
    return _attached(mail) or (_inline(mail) if _may_forward(mail) else None)


def _may_forward(mail: mime.Mail) -> bool:
    return thread_keys.looks_like_forward(mail.subject) or any(
        quote_words.FORWARD.match(line) for line in mail.letter[:20_000].split("\n")[:200]
    )


def _attached(mail: mime.Mail) -> Forwarded | None:
    """One mail as the only attached mail of a letter that announces it or says next to nothing."""
    inside = [item for item in mail.attachments if _is_mail(item)]
    if len(inside) != 1 or mail.content_type == "multipart/report":
        return None
    if not thread_keys.looks_like_forward(mail.subject) and len(mail.letter.strip()) > 500:
        return None
    try:
        found = mime.parse(inside[0].content or b"")
    except OverBudgetError:
        return None
    claimed = addresses.parse_addresses(found.raw("from"), 2)
    if len(claimed) != 1 or not addresses.email_shaped(claimed[0].value):
        return None
    return Forwarded(
        claimed[0].value,
        claimed[0].display_name,
        found.subject,
        found.date,
        found.text.strip("\n"),
        mail.letter.strip(),
        next(iter(thread_keys.message_ids(found.raw("message-id"), loose=True)), ""),
    )


def _is_mail(item: Attachment) -> bool:
    return item.content is not None and files.is_mail(item.content_type, item.filename, item.content)


def _inline(mail: mime.Mail) -> Forwarded | None:
    """The first old header in the text that names a sender by address."""
    lines = mail.letter.split("\n", _MAX_LINES)
    for number, line in enumerate(lines[:_MAX_LINES]):
        if quote_words.header_role(line.strip()[:200]) is None:
            continue
        roles, end = _old_header(lines, number)
        if len(roles) < 2 or "from" not in roles:
            continue
        claimed = addresses.parse_addresses(_MAILTO.sub(r"<\1>", roles["from"]).replace("*", ""), 2)
        if len(claimed) != 1 or not addresses.email_shaped(claimed[0].value):
            return None
        return Forwarded(
            claimed[0].value,
            claimed[0].display_name,
            roles.get("subject", "").strip("* "),
            written_date(roles.get("date", "")),
            _uncite("\n".join(lines[end:])),
            _note(lines[:number]),
        )
    return None


def _old_header(lines: list[str], number: int) -> tuple[dict[str, str], int]:
    """The fields from line `number` on, by role, and where the text below them begins."""
    roles: dict[str, str] = {}
    last = ""
    position = number
    while position < min(len(lines), number + 20):
        line = lines[position].strip().lstrip("> ")[:1_100]
        role = quote_words.header_role(line)
        if role is not None and role not in roles:
            match = _FIELD.match(line)
            roles[role] = match.group(1).strip() if match else ""
            last = role
        elif role is None and not line:
            if len(roles) > 1:
                break
        elif role is None and last in ("to", "cc", "from") and "@" in line:
            roles[last] += f" {line}"  # a list of names goes on
        elif role is None:
            break
        position += 1
    return roles, position


def _note(lines: list[str]) -> str:
    while lines and (not lines[-1].strip() or quote_words.separates(lines[-1].strip()[:1_000])):
        lines = lines[:-1]
    return "\n".join(lines).strip()


def _uncite(text: str) -> str:
    """The text without one level of `> `, when all of it is cited."""
    lines = text.strip("\n").split("\n")
    if lines and all(not line or line.startswith(">") for line in lines):
        lines = [line[1:].removeprefix(" ") for line in lines]
    return "\n".join(lines).strip("\n")


def written_date(text: str) -> datetime | None:
    """A moment as mail programs write it for people: `Monday, February 3, 2025 9:12 AM`, `3. Februar 2025 um 10:12`."""
    text = " ".join(text[:120].replace("\u202f", " ").replace("\u200e", "").split())
    if (exact := headers.parse_date(text)) is not None and re.search(r"[+-]\d{4}|GMT|UTC", text):
        return exact
    date = _date_in(text)
    if date is None:
        return None
    hour = minute = 0
    if (time := _TIME.search(text)) is not None:
        hour, minute = int(time.group(1)), int(time.group(2))
        if time.group(3):
            hour = hour % 12 + (12 if time.group(3) in "pP" else 0)
    try:
        return datetime(*date, hour, minute, tzinfo=UTC)
    except ValueError:
        return None


def _date_in(text: str) -> tuple[int, int, int] | None:
    if match := _ISO.search(text):
        return int(match.group(1)), int(match.group(2)), int(match.group(3))
    if match := _GERMAN.search(text):
        return int(match.group(3)), int(match.group(2)), int(match.group(1))
    if match := _DAY_MONTH.search(text):
        day, month, year = match.groups()
    elif match := _MONTH_DAY.search(text):
        month, day, year = match.groups()
    else:
        return None
    number = _MONTHS.get(month[:3].lower())
    return (int(year), number, int(day)) if number else None
