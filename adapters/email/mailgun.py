"""Mailgun routes: `forward("https://.../hooks/<inbox>/mailgun")`, parsed; with `/mime` behind it, the raw mail.

Signed by HMAC-SHA256 of timestamp and token with the HTTP webhook signing key, in the form itself (Mailgun, "Securing
Webhooks"). That covers nothing of the content: whoever saw one post could send another mail under its token. So a token
is good for one content, and for no longer than Mailgun repeats a post (8 hours) with ample room for wrong clocks.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from pydantic import SecretStr

from adapters.base import Clients, InboundRequest, Raw, Refused
from adapters.email.arrival import Arrival, Provider, UnreadableError
from adapters.email.composing import Piece, compose, with_missing
from adapters.email.forms import Form, read_form
from adapters.email.options import EmailOptions
from normalizer.message import Hit

MAX_AGE: Final = 3 * 86_400  # seconds
_TOKENS: Final = 10_000
_MAX_FILES: Final = 500
_PROOF: Final = frozenset({"timestamp", "token", "signature"})
_HEADERS: Final = ("From", "To", "Cc", "Subject", "Date", "Message-Id", "In-Reply-To", "References", "Reply-To")


class Mailgun(Provider):
    """Routes."""

    name: ClassVar[str] = "mailgun"
    tails: ClassVar[frozenset[str]] = frozenset({"mailgun", "mailgun/mime"})
    own_tails: ClassVar[frozenset[str]] = frozenset({"", "mime"})

    def __init__(self, inbox: str, options: EmailOptions, clients: Clients) -> None:
        super().__init__(inbox, options, clients)
        self._seen: OrderedDict[str, bytes] = OrderedDict()  # token -> digest of what came with it

    def missing(self) -> Sequence[str]:
        """The signing key."""
        return () if self.options.mailgun_signing_key else ("mailgun_signing_key",)

    def authenticate(self, raw: Raw, request: InboundRequest) -> None:
        """Signature, age and token. Raises `Refused`: 403, and 406, on which Mailgun stops, for a token used twice."""
        self.check_configured()
        try:
            form = read_form(request.body, request.headers.get("Content-Type", ""))
        except UnreadableError as error:
            raise Refused(403, f"Without a readable form there is no signature to check: {error}.") from None
        timestamp, token = form.text("timestamp"), form.text("token")
        key = self.options.mailgun_signing_key or SecretStr("")
        signed = hmac.new(key.get_secret_value().encode(), (timestamp + token).encode("utf-8", "replace"), "sha256")
        if not hmac.compare_digest(signed.hexdigest().encode(), form.text("signature").encode("utf-8", "replace")):
            raise Refused(403, "The post is not signed with the webhook signing key of this inbox.")
        now = raw.facts.get("received_at")
        if isinstance(now, int | float):
            _check_age(timestamp, now)
        self._check_token(token, form)

    def _check_token(self, token: str, form: Form) -> None:
        """The first content under a token is the only one. Set in one step: two threads may ask at once."""
        digest = _content_of(form)
        first = self._seen.setdefault(token, digest)
        if not hmac.compare_digest(first, digest):
            raise Refused(406, "This signature has already come with another mail; it is good for one.")
        while len(self._seen) > _TOKENS:
            self._seen.popitem(last=False)

    def unwrap(self, raw: Raw) -> Arrival:
        """The mail of a post. Raises `UnreadableError`."""
        form = read_form(raw.body, raw.content_type)
        facts = {
            "mail_from": form.text("sender") if "sender" in form else None,
            "rcpt_tos": [item.strip() for item in form.text("recipient").split(",") if item.strip()],
            "protocol": "mailgun",
        }
        if "body-mime" in form:
            return Arrival(form.data("body-mime"), facts)
        if not form.fields.keys() & {"message-headers", "from", "From", "subject", "body-plain"}:
            raise UnreadableError("the form has none of Mailgun's fields")
        elsewhere = "attachments" in form and not form.files
        problems = [Hit(name="attachments_elsewhere", reason="Mailgun stored the files and sent their addresses only")]
        return Arrival(_rebuilt(form), facts, self.kept_as(raw.content_type), problems=problems if elsewhere else ())


def _check_age(timestamp: str, now: float) -> None:
    """Raises `Refused` 403, after which Mailgun goes on trying, when the signature is of another week."""
    signed = float(timestamp) if timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 13 else 0.0
    if abs(now - signed) > MAX_AGE:
        raise Refused(403, f"The signature is of {timestamp[:20]} and it is {now:.0f} here; is the clock right?")


def _content_of(form: Form) -> bytes:
    """A digest of the fields, whatever the boundary: a repeated post need not be the same bytes."""
    state = hashlib.sha256()
    for name in sorted(form.fields.keys() - _PROOF):
        state.update(f"{len(name)} {name} {len(form.fields[name])} ".encode("utf-8", "replace"))
        state.update(form.fields[name])
    for file in form.files:
        state.update(f"{len(file.field)} {file.field} {len(file.data)} ".encode("utf-8", "replace"))
        state.update(file.data)
    return state.digest()


def _rebuilt(form: Form) -> bytes:
    pairs = _message_headers(form)
    # Where the list of headers is not sent, each header is a field, in the sender's spelling of its name.
    spelled = {name.lower(): name for name in form.fields}
    pairs = with_missing(pairs, [(name, form.text(spelled.get(name.lower(), ""))) for name in _HEADERS])
    text = Piece(form.fields["body-plain"]) if "body-plain" in form else None
    html = Piece(form.fields["body-html"], "text/html") if "body-html" in form else None
    content_ids = {field: content_id for content_id, field in _object(form.data("content-id-map")).items()}
    files = [
        Piece(file.data, file.content_type, filename=file.filename, content_id=content_ids.get(file.field, ""))
        for file in form.files[:_MAX_FILES]
    ]
    return compose(pairs, text, html, files)


def _message_headers(form: Form) -> list[tuple[str, str]]:
    """`message-headers`: a JSON list of [name, value] pairs."""
    value = _parse(form.data("message-headers"))
    pairs = value if isinstance(value, list) else []
    return [
        (pair[0], pair[1])
        for pair in pairs
        if isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) and isinstance(pair[1], str)
    ]


def _object(data: bytes) -> dict[str, str]:
    value = _parse(data)
    pairs = value.items() if isinstance(value, dict) else ()
    return {key: item for key, item in pairs if isinstance(item, str)}


def _parse(data: bytes) -> Any:
    try:
        return json.loads(data) if data else None
    except (ValueError, RecursionError):
        return None
