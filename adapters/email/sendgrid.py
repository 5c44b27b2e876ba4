"""SendGrid Inbound Parse: the raw mail (`POST the raw, full MIME message`, the better choice) or its parsed fields.

Signed by an Inbound Parse security policy: ECDSA P-256 with SHA-256 over the timestamp's characters and the body's
bytes (docs.sendgrid.com, "Securing your Parse Webhooks"). Without a policy only Basic credentials in the URL prove the
sender. The signature covers the content, so that a replay is a duplicate at most, and no clock is asked.
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Final

from adapters.base import InboundRequest, Raw, Refused
from adapters.email.arrival import Arrival, Provider, UnreadableError, check_basic, missing_basic
from adapters.email.composing import Piece, compose, fields_in, with_missing
from adapters.email.forms import Form, read_form

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

NEEDS: Final = "cryptography (pip install 'frontdesk[webhooks]')"
_SIGNATURE: Final = "X-Twilio-Email-Event-Webhook-Signature"
_TIMESTAMP: Final = "X-Twilio-Email-Event-Webhook-Timestamp"
_DKIM: Final = re.compile(r"@?([A-Za-z0-9._-]{1,253})\s*:\s*([a-z]{1,20})", re.IGNORECASE)
_SPF_RESULT: Final = re.compile(r"[a-z]{1,20}\Z")
_MAX_FILES: Final = 500


def can_verify() -> bool:
    """Whether the library that checks signatures is installed."""
    try:
        import cryptography.hazmat.primitives.asymmetric.ec  # noqa: F401, PLC0415
    except ImportError:
        return False
    return True


class SendGrid(Provider):
    """Inbound Parse."""

    name: ClassVar[str] = "sendgrid"
    tails: ClassVar[frozenset[str]] = frozenset({"sendgrid"})

    def missing(self) -> Sequence[str]:
        """A verification key, or a user name and a password."""
        options = self.options
        if options.sendgrid_public_key:
            return () if can_verify() else (NEEDS,)
        missing = missing_basic(options)
        return ("sendgrid_public_key",) if len(missing) == 2 else missing

    def authenticate(self, raw: Raw, request: InboundRequest) -> None:
        """The signature, or without a key the credentials."""
        self.check_configured()
        if self.options.sendgrid_public_key:
            self._check_signature(request)
        else:
            check_basic(request, self.options)

    def _check_signature(self, request: InboundRequest) -> None:
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric import ec, utils  # noqa: PLC0415
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415

        state = hashlib.sha256(request.headers.get(_TIMESTAMP, "").encode("utf-8", "replace"))
        state.update(request.body)  # not joined with the timestamp: 30 MB are not copied for eleven characters
        try:
            self._key.verify(
                _decode(request.headers.get(_SIGNATURE, "")), state.digest(), ec.ECDSA(utils.Prehashed(SHA256()))
            )
        except (ValueError, InvalidSignature):
            raise Refused(403, "The post is not signed with the verification key of this inbox.") from None

    @cached_property
    def _key(self) -> EllipticCurvePublicKey:
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

        given = self.options.sendgrid_public_key
        encoded = "".join(line for line in given.split() if line) if "-----" not in given else ""
        try:
            if encoded:
                key = serialization.load_der_public_key(b64decode(encoded, validate=True))
            else:
                key = serialization.load_pem_public_key(given.encode())
        except (ValueError, TypeError):
            raise Refused(403, f"sendgrid_public_key of the inbox {self.inbox} is no base64 public key.") from None
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise Refused(403, f"sendgrid_public_key of the inbox {self.inbox} is no elliptic curve key.")
        return key

    def unwrap(self, raw: Raw) -> Arrival:
        """The mail of a post. Raises `UnreadableError`."""
        form = read_form(raw.body, raw.content_type)
        facts = _facts(form)
        fields = {"spam_score": form.text("spam_score")} if "spam_score" in form else {}
        if "email" in form:
            return Arrival(form.data("email"), facts, fields=fields)
        if not form.fields.keys() & {"headers", "from", "subject"}:
            raise UnreadableError("the form has none of SendGrid's fields")
        return Arrival(_rebuilt(form), facts, self.kept_as(raw.content_type), fields=fields)


def _decode(encoded: str) -> bytes:
    """Base64 in its one canonical spelling; the library lets needless padding pass. Raises ValueError."""
    data = b64decode(encoded.encode("ascii"), validate=True)
    if b64encode(data).decode() != encoded:
        raise ValueError("not canonical base64")
    return data


def _rebuilt(form: Form) -> bytes:
    pairs = with_missing(
        fields_in(form.data("headers")),
        [(name, form.text(name.lower())) for name in ("From", "To", "Cc", "Subject")],
    )
    charsets, described = _json(form, "charsets"), _json(form, "attachment-info")
    texts = {
        name: Piece(form.fields[name], kind, str(charsets.get(name) or "utf-8"))
        for name, kind in (("text", "text/plain"), ("html", "text/html"))
        if name in form
    }
    content_ids = {str(field): str(content_id) for content_id, field in _json(form, "content-ids").items()}
    files = []
    for file in form.files[:_MAX_FILES]:
        info = described.get(file.field)
        info = info if isinstance(info, dict) else {}
        kind = str(info.get("type") or file.content_type)
        name = str(info.get("filename") or file.filename)
        files.append(Piece(file.data, kind, filename=name, content_id=content_ids.get(file.field, "")))
    return compose(pairs, texts.get("text"), texts.get("html"), files)


def _facts(form: Form) -> dict[str, Any]:
    envelope = _json(form, "envelope")
    sender, recipients = envelope.get("from"), envelope.get("to")
    facts: dict[str, Any] = {
        "mail_from": sender if isinstance(sender, str) else None,
        "rcpt_tos": [item for item in recipients if isinstance(item, str)] if isinstance(recipients, list) else [],
        "remote": form.text("sender_ip") or None,
        "protocol": "sendgrid",
    }
    return facts | {"auth": _checked(form, facts["mail_from"] or "")}


def _checked(form: Form, mail_from: str) -> str:
    """What SendGrid found, as an Authentication-Results value. `dkim` reads like JSON and is none."""
    clauses = ["sendgrid"]
    spf = form.text("SPF").strip().lower()
    if _SPF_RESULT.match(spf) and "@" in mail_from and not any(char in mail_from for char in ' ;"\r\n'):
        clauses.append(f"spf={spf} smtp.mailfrom={mail_from}")
    clauses += [f"dkim={match[2].lower()} header.d={match[1]}" for match in _DKIM.finditer(form.text("dkim")[:4_000])]
    return "; ".join(clauses)


def _json(form: Form, name: str) -> dict[str, Any]:
    try:
        value = json.loads(form.data(name) or b"{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
