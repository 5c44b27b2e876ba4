"""What a provider's webhook comes to: the mail and what the provider knows of it; and how a provider is spoken to."""

from __future__ import annotations

import hmac
from abc import ABC, abstractmethod
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from adapters.base import Answer, Clients, InboundRequest, Raw, Refused
from adapters.email.options import EmailOptions
from normalizer.message import Hit, UpdateDraft

MAIL: Final = "message/rfc822"


class UnreadableError(ValueError):
    """A delivery that its provider vouches for and that cannot be read all the same; `str(error)` says why."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A mail out of a webhook. `facts` are those of a listener (`mail_from`, `rcpt_tos`, `remote`) and `auth`.

    `auth` is an Authentication-Results value in the provider's name: what it checked of the sender, under its own
    signature. `original_type` is empty when `mail` are the bytes the customer's server sent; otherwise the mail was
    written here from the provider's fields, and what arrived is kept under this type.
    """

    mail: bytes
    facts: Mapping[str, Any] = field(default_factory=dict)
    original_type: str = ""
    problems: Sequence[Hit] = ()
    suspend: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)


class Provider(ABC):
    """One company that receives mail for us and posts it to a webhook."""

    name: ClassVar[str]
    tails: ClassVar[frozenset[str]]  # paths below /hooks/<inbox>
    own_tails: ClassVar[frozenset[str]] = frozenset({""})  # those of an inbox that names it as its `provider`

    def __init__(self, inbox: str, options: EmailOptions, clients: Clients) -> None:
        self.inbox = inbox
        self.options = options
        self.clients = clients

    @abstractmethod
    def missing(self) -> Sequence[str]:
        """What must be set, or installed, before this provider's posts can be checked."""

    async def prepare(self, request: InboundRequest) -> Answer | None:
        """As `Adapter.prepare`."""
        return None

    @abstractmethod
    def authenticate(self, raw: Raw, request: InboundRequest) -> None:
        """As `Adapter.authenticate`, for a request to one of this provider's paths."""

    @abstractmethod
    def unwrap(self, raw: Raw) -> Arrival | UpdateDraft:
        """The mail in a post. Raises `UnreadableError`."""

    def check_configured(self) -> None:
        """Raises `Refused` 403 that names what to set."""
        missing = self.missing()
        if missing:
            wanted = ", ".join(missing)
            raise Refused(403, f"Posts of {self.name} cannot be checked: set {wanted} of the inbox {self.inbox}.")

    def kept_as(self, content_type: str) -> str:
        """The type under which a post is kept, so that it can be read again without its address."""
        return f"{content_type[:200]}; provider={self.name}"


def check_basic(request: InboundRequest, options: EmailOptions) -> None:
    """HTTP Basic credentials (RFC 7617). Raises `Refused` 401, on which providers try again for hours: a password
    that was changed on one side only loses no mail."""
    wanted = f"{options.webhook_user}:".encode()
    if options.webhook_password is not None:
        wanted += options.webhook_password.get_secret_value().encode()
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    try:
        given = b64decode(encoded.strip().encode("ascii"), validate=True)
    except ValueError:
        given = b""
    right = hmac.compare_digest(given, wanted)
    if scheme.lower() != "basic" or not right:
        raise Refused(
            401,
            "The user name and password in the webhook's URL are not those of this inbox.",
            headers={"WWW-Authenticate": 'Basic realm="webhook", charset="UTF-8"'},
        )


def missing_basic(options: EmailOptions) -> list[str]:
    """Which of the two is not set."""
    given = {"webhook_user": options.webhook_user, "webhook_password": options.webhook_password}
    return [name for name, value in given.items() if not value]
