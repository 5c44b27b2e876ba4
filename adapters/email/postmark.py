"""Postmark inbound: a mail as JSON, posted with the Basic credentials that stand in the webhook's URL.

`MessageID` is Postmark's own; the mail's Message-ID is among `Headers`. `RawEmail` is there when "Include raw email
content" is switched on for the server, and then it is what is read.
(postmarkapp.com/developer/webhooks/inbound-webhook)
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Final

from pydantic_core import from_json

from adapters.base import InboundRequest, Raw
from adapters.email.arrival import Arrival, Provider, UnreadableError, check_basic, missing_basic
from adapters.email.composing import Piece, compose, with_missing
from normalizer.message import Hit

_MAX_FILES: Final = 500
_MAX_PAIRS: Final = 2_000
_KNOWN: Final = frozenset({"MessageID", "Headers", "FromFull", "From", "TextBody", "RawEmail"})
_NOT_A_HEADER: Final = str.maketrans({'"': "'", "\\": "", "<": "", ">": "", "\r": " ", "\n": " "})


class Postmark(Provider):
    """An inbound message stream."""

    name: ClassVar[str] = "postmark"
    tails: ClassVar[frozenset[str]] = frozenset({"postmark"})

    def missing(self) -> Sequence[str]:
        """User name and password."""
        return missing_basic(self.options)

    def authenticate(self, raw: Raw, request: InboundRequest) -> None:
        """The credentials; Postmark signs nothing."""
        self.check_configured()
        check_basic(request, self.options)

    def unwrap(self, raw: Raw) -> Arrival:
        """The mail of a post. Raises `UnreadableError`."""
        try:
            # Reads the bytes as they are: the standard library would first make 35 MB of text of them.
            said = from_json(raw.body)
        except ValueError:
            raise UnreadableError("the post is no JSON, or is cut short") from None
        if not isinstance(said, dict) or not said.keys() & _KNOWN:
            raise UnreadableError("the post is not Postmark's inbound JSON")
        sender = _text(said, "FromFull", "Email") or _text(said, "From")
        facts = {
            # Postmark does not tell the envelope sender; its Return-Path is a header of the mail.
            "mail_from": None,
            "rcpt_tos": [address for address in (_text(said, "OriginalRecipient"),) if address],
            "protocol": "postmark",
        }
        whole = _text(said, "RawEmail")
        if whole:
            return Arrival(whole.encode("utf-8", "replace"), facts)
        problems: list[Hit] = []
        files = list(_files(said, problems))
        pairs = with_missing(list(_pairs(said)), _standing(said, sender))
        text, html = (
            Piece(body.encode("utf-8", "replace"), kind) if (body := _text(said, name)) else None
            for name, kind in (("TextBody", "text/plain"), ("HtmlBody", "text/html"))
        )
        return Arrival(compose(pairs, text, html, files), facts, self.kept_as(raw.content_type), problems=problems)


def _text(said: dict[str, Any], *path: str) -> str:
    value: Any = said
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""


def _pairs(said: dict[str, Any]) -> Iterator[tuple[str, str]]:
    listed = said.get("Headers")
    for item in listed[:_MAX_PAIRS] if isinstance(listed, list) else ():
        if isinstance(item, dict) and (name := _text(item, "Name")):
            yield name, _text(item, "Value")


def _standing(said: dict[str, Any], sender: str) -> list[tuple[str, str]]:
    """The fields that Postmark takes out of `Headers`."""
    return [
        ("From", _mailbox(_text(said, "FromName") or _text(said, "FromFull", "Name"), sender)),
        ("To", _mailboxes(said, "To")),
        ("Cc", _mailboxes(said, "Cc")),
        ("Reply-To", _text(said, "ReplyTo")),
        ("Subject", _text(said, "Subject")),
        ("Date", _text(said, "Date")),
    ]


def _mailboxes(said: dict[str, Any], role: str) -> str:
    full = said.get(f"{role}Full")
    listed = [item for item in full if isinstance(item, dict)] if isinstance(full, list) else []
    return ", ".join(_mailbox(_text(item, "Name"), _text(item, "Email")) for item in listed) or _text(said, role)


def _mailbox(name: str, address: str) -> str:
    """`"Name" <address>`; nothing in a name can become an address of its own."""
    name, address = name.translate(_NOT_A_HEADER).strip(), address.translate(_NOT_A_HEADER).strip()
    return f'"{name}" <{address}>' if name else address


def _files(said: dict[str, Any], problems: list[Hit]) -> Iterator[Piece]:
    listed = said.get("Attachments")
    for number, item in enumerate(listed[:_MAX_FILES] if isinstance(listed, list) else ()):
        if not isinstance(item, dict):
            continue
        content = item.pop("Content", "")  # given up at once: all of them together are a second body
        try:
            data = b64decode(content) if isinstance(content, str) else b""
        except (binascii.Error, ValueError):
            problems.append(Hit(name="attachment_damaged", reason=f"attachment {number + 1} is no base64"))
            data = str(content).encode("utf-8", "replace")
        del content
        yield Piece(data, _text(item, "ContentType"), filename=_text(item, "Name"), content_id=_text(item, "ContentID"))
