"""Amazon SES through SNS: a receipt rule's SNS action publishes the mail, SNS posts it here and signs it.

The action holds mails up to 150 KB and should encode as BASE64: with UTF-8, characters of other charsets are lost
before they reach us. A mail that a rule has put into S3 is announced without its content; nothing here reads S3, so the
announcement is held for a person with the name of the object.
(docs.aws.amazon.com/ses, "Notification contents for Amazon SES email receiving")
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from pydantic_core import from_json

from adapters.base import Answer, Clients, InboundRequest, Raw, Refused, ignored
from adapters.email.arrival import Arrival, Provider, UnreadableError
from adapters.email.composing import Piece, compose
from adapters.email.options import EmailOptions
from adapters.email.sendgrid import NEEDS, can_verify
from adapters.email.sns import Certificates, SnsMessage, check_subscribe_url, get, read_message, verify
from normalizer.fingerprint import delivery_key
from normalizer.message import Hit, UpdateDraft

_VERDICTS: Final = ("spam", "virus", "spf", "dkim", "dmarc")
_MAX_PAIRS: Final = 2_000


class Ses(Provider):
    """A receipt rule with an SNS action."""

    name: ClassVar[str] = "ses"
    tails: ClassVar[frozenset[str]] = frozenset({"ses"})

    def __init__(self, inbox: str, options: EmailOptions, clients: Clients) -> None:
        super().__init__(inbox, options, clients)
        self._certificates = Certificates(clients)

    def missing(self) -> Sequence[str]:
        """The topics, and the library that checks signatures."""
        if not self.options.ses_topics:
            return ("ses_topics",)
        return () if can_verify() else (NEEDS,)

    async def prepare(self, request: InboundRequest) -> Answer | None:
        """Fetch the certificate a message of ours is signed with; confirm a subscription that it proves."""
        self.check_configured()
        message = read_message(request.body, self.options.ses_topics)
        key = await self._certificates.fetch(message.get("SigningCertURL"))
        if message.kind != "SubscriptionConfirmation":
            return None
        verify(message, key)
        await get(self.clients.http, check_subscribe_url(message))
        return Answer(200, b"confirmed")

    def authenticate(self, raw: Raw, request: InboundRequest) -> None:
        """Topic and signature, with a certificate `prepare` has fetched."""
        self.check_configured()
        message = read_message(request.body, self.options.ses_topics)
        key = self._certificates.known(message.get("SigningCertURL"))
        if key is None:
            raise Refused(503, "The certificate of Amazon SNS is not at hand; send it again.")
        verify(message, key)

    def unwrap(self, raw: Raw) -> Arrival | UpdateDraft:
        """The mail of a notification. Raises `UnreadableError`."""
        message = _members(raw.body)
        if message.kind != "Notification":
            return ignored(delivery_key("email", "ses", message.get("MessageId")), f"SNS: {message.kind or 'no type'}")
        said = _object(message.get("Message"))
        mail, receipt = _dict(said, "mail"), _dict(said, "receipt")
        if said.get("notificationType") != "Received" or not mail:
            return ignored(delivery_key("email", "ses", message.get("MessageId")), "SES: not the receipt of a mail")
        verdicts = {name: _text(_dict(receipt, f"{name}Verdict"), "status").upper() for name in _VERDICTS}
        facts = {
            "mail_from": _text(mail, "source") or None,
            "rcpt_tos": _texts(receipt, "recipients") or _texts(mail, "destination"),
            "auth": _checked(verdicts, _text(mail, "source")),
            "protocol": "ses",
        }
        problems = _findings(verdicts)
        suspend = "Amazon SES found a virus in it" if verdicts["virus"] == "FAIL" else ""
        fields = {"ses": {"message_id": _text(mail, "messageId"), "verdicts": verdicts}}
        content, action = _text(said, "content"), _dict(receipt, "action")
        if content:
            del said["content"]
            return Arrival(_content(content, action), facts, problems=problems, suspend=suspend, fields=fields)
        where = f"s3://{_text(action, 'bucketName')}/{_text(action, 'objectKey')}"
        return Arrival(
            compose(_header_pairs(mail), Piece(f"The mail itself is at {where[:1_200]}".encode()), None, ()),
            facts,
            self.kept_as(raw.content_type),
            problems=[*problems, Hit(name="not_fetched", reason=f"SES kept the mail at {where[:500]}")],
            suspend=suspend
            or "SES sent a pointer and not the mail: add an SNS action with BASE64 encoding to the rule",
            fields=fields,
        )


def _content(content: str, action: dict[str, Any]) -> bytes:
    if _text(action, "encoding").upper() != "BASE64":
        return content.encode("utf-8", "replace")
    try:
        return b64decode(content)
    except (binascii.Error, ValueError):
        raise UnreadableError("the content is said to be base64 and is none") from None


def _checked(verdicts: dict[str, str], source: str) -> str:
    """What SES found, as an Authentication-Results value. Its DKIM verdict names no domain, so it proves nobody."""
    clauses = ["amazonses.com"]
    if verdicts["dmarc"] in ("PASS", "FAIL"):
        clauses.append(f"dmarc={verdicts['dmarc'].lower()}")
    if verdicts["spf"] and "@" in source and not any(char in source for char in ' ;"\r\n'):
        clauses.append(f"spf={verdicts['spf'].lower()} smtp.mailfrom={source}")
    return "; ".join(clauses)


def _findings(verdicts: dict[str, str]) -> list[Hit]:
    return [
        Hit(name=name, reason=f"Amazon SES: {name} verdict FAIL")
        for name in ("spam", "virus")
        if verdicts[name] == "FAIL"
    ]


def _header_pairs(mail: dict[str, Any]) -> list[tuple[str, str]]:
    listed = mail.get("headers")
    pairs = [
        (_text(item, "name"), _text(item, "value"))
        for item in (listed[:_MAX_PAIRS] if isinstance(listed, list) else ())
        if isinstance(item, dict)
    ]
    if pairs:
        return pairs
    common = _dict(mail, "commonHeaders")
    return [
        ("From", ", ".join(_texts(common, "from"))),
        ("To", ", ".join(_texts(common, "to"))),
        ("Subject", _text(common, "subject")),
        ("Date", _text(common, "date")),
        ("Message-ID", _text(common, "messageId")),
    ]


def _members(body: bytes) -> SnsMessage:
    return SnsMessage({key: value for key, value in _object(body).items() if isinstance(value, str)})


def _object(data: bytes | str) -> dict[str, Any]:
    try:
        value = from_json(data)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise UnreadableError("the post is no JSON object, or is cut short")
    return value


def _dict(said: dict[str, Any], name: str) -> dict[str, Any]:
    value = said.get(name)
    return value if isinstance(value, dict) else {}


def _text(said: dict[str, Any], name: str) -> str:
    value = said.get(name)
    return value if isinstance(value, str) else ""


def _texts(said: dict[str, Any], name: str) -> list[str]:
    value = said.get(name)
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
