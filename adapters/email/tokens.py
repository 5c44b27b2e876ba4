"""Where a mail carries the signed number of a ticket of ours.

In the address it was sent to (a reply, or a bounce to our envelope sender), in a Message-ID of ours that it answers, in
what a mail server returns of our mail, in the mark that our mails carry in their text. The first one counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from normalizer import mime
from normalizer.bounces import Report
from normalizer.message import ThreadKey
from normalizer.reply_tokens import ReplyToken, find_reply_token, marks_in

_ADDRESSED: Final = frozenset({"delivered-to", "x-original-to", "to", "cc"})
_OURS: Final = frozenset({"message-id", "reply-to", "from", "return-path", "sender", "in-reply-to", "references"})
_MOST_PLACES: Final = 200


def token_of(
    mail: mime.Mail,
    envelope: Iterable[str],
    keys: Iterable[ThreadKey],
    report: Report | None,
    ours: Mapping[str, bytes],
) -> ReplyToken | None:
    """The token that one of `ours` signed. `envelope`: recipients; `keys`: the mail's ids; `ours`: key id -> secret."""
    if not ours:
        return None
    for number, place in enumerate(_places(mail, envelope, keys, report)):
        if number >= _MOST_PLACES:
            break
        if found := find_reply_token(place, ours):
            return found
    return None


def _places(
    mail: mime.Mail, envelope: Iterable[str], keys: Iterable[ThreadKey], report: Report | None
) -> Iterator[str]:
    yield from envelope
    yield from (value[:4_096] for name, value in mail.fields if name in _ADDRESSED)
    yield from (key.value for key in keys if key.kind != "message_id")
    if report is not None:  # what a mail claims to return is only looked at when it is a report
        yield report.message_id
        yield from (value[:4_096] for name, value in mail.reported if name in _OURS)
    yield from marks_in(mail.text)
