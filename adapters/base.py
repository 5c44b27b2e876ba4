"""The adapter contract: what a channel says about itself, and the values that pass between it and the gateway.

An adapter is configured for one inbox. It gets everything handed in (options, network clients), does no I/O except in
`examine`, `poll` and `send`, and never imports the web server. `normalize` is a pure function of what arrived.

    AdapterError
    ├── Refused           the sender's fault: the HTTP status and a sentence a person can act on
    ├── TemporaryError    try again later (network, throttling, a provider's 5xx)
    └── PermanentError    will never work as it is (wrong credentials, unknown recipient)
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from multidict import CIMultiDictProxy, MultiDictProxy
from pydantic import BaseModel, ConfigDict, Field

from normalizer.message import Draft, Join, MessageDraft, UpdateDraft

if TYPE_CHECKING:
    import aiohttp


class AdapterError(Exception):
    """Base of what an adapter may raise on purpose. `str(error)` is for people."""


class Refused(AdapterError):
    """The request is not acceptable: forged, malformed, or the inbox lacks the credentials to check it."""

    def __init__(self, status: int, sentence: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.headers = dict(headers or {})


class TemporaryError(AdapterError):
    """Worth trying again; `retry_after` seconds when the provider said so."""

    def __init__(self, sentence: str, *, retry_after: float | None = None) -> None:
        super().__init__(sentence)
        self.retry_after = retry_after


class PermanentError(AdapterError):
    """Trying again the same way will not help."""


class InboxOptions(BaseModel):
    """Options every inbox has. A channel subclasses it; secrets are `SecretStr`."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    channel: str = Field(description="which adapter reads this inbox")
    join: Join = Field(
        default="participants",
        description="who may join a ticket by citing a message of it: people who took part, or anyone",
    )
    one_case: bool = Field(
        default=False, description="keep one open case a person: a proven sender's mails join their unsolved ticket"
    )


@dataclass(frozen=True, slots=True)
class InboundRequest:
    """An HTTP request below `/hooks/<inbox>` or `/form/<inbox>`, as bytes; nothing in it is trusted yet."""

    method: str
    tail: str  # path below /hooks/<inbox>, without slashes at its ends: "voice", "voice/status", ""
    url: str  # what the sender called: configured public URL + raw path + query, never taken from Host
    query: MultiDictProxy[str]
    headers: CIMultiDictProxy[str]
    body: bytes
    remote: str = ""


@dataclass(frozen=True, slots=True)
class Raw:
    """One arrival. `facts` hold what the transport knew: for mail `mail_from`, `rcpt_tos`, `remote`, `auth`.

    `came_at`: when it came to the mailbox or archive it was taken from; None: just now, to us.
    """

    body: bytes
    content_type: str = "application/octet-stream"
    facts: Mapping[str, Any] = field(default_factory=dict)
    request: InboundRequest | None = None
    came_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer an adapter composes."""

    status: int = 200
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page:
    """One step of a poll: what was found, and the cursor to keep once all of it has been accepted."""

    arrivals: Sequence[Raw]
    cursor: str
    refused: list[Raw] = field(default_factory=list)  # filled in by the poller: which of the arrivals we did not take


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer on its way to a customer (the outgoing side arrives with the outbox)."""

    reply_id: str
    ticket_id: str
    recipient: str
    text: str
    subject: str = ""
    in_reply_to: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SendResult:
    """The provider's id of a sent reply."""

    external_id: str


@dataclass(frozen=True, slots=True)
class NameServers:
    """Whom to ask for names, at `port`; no addresses: whom the machine asks. `patience`: seconds for all of a mail."""

    addresses: tuple[str, ...] = ()
    port: int = 53
    patience: float = 4.0


class Clients:
    """What the gateway lends an adapter: `http`, opened when it is first asked for, and whom to ask for names."""

    def __init__(
        self,
        http: Callable[[], aiohttp.ClientSession] | aiohttp.ClientSession | None = None,
        names: NameServers = NameServers(),
    ) -> None:
        self._http = http
        self.names = names

    @property
    def http(self) -> aiohttp.ClientSession | None:
        """The HTTP client; None in processes that do not talk to providers."""
        if callable(self._http):
            self._http = self._http()
        return self._http


OptionsT = TypeVar("OptionsT", bound=InboxOptions)


class Adapter(ABC, Generic[OptionsT]):
    """One inbox of one channel. `gateway.runtime.CHANNELS` names the adapter of each channel."""

    channel: ClassVar[str]
    Options: ClassVar[type[InboxOptions]] = InboxOptions
    tails: ClassVar[frozenset[str]] = frozenset()  # paths below /hooks/<inbox> this channel answers; empty: none
    polls: bool = False
    max_request: ClassVar[int] = 0  # largest webhook body, in octets; 0: the option `max_bytes`, or the gateway's limit

    def __init__(self, inbox: str, options: OptionsT, clients: Clients | None = None) -> None:
        self.inbox = inbox
        self.options = options
        self.clients = clients or Clients()

    def missing(self) -> Sequence[str]:
        """Option names that must be set before this inbox can take anything; empty when it is ready."""
        return ()

    def hooks(self) -> Sequence[str]:
        """The paths below /hooks/<inbox> to give to the provider, for the person who starts Frontdesk."""
        return ("",) if "" in self.tails else ()

    async def prepare(self, request: InboundRequest) -> Answer | None:
        """What takes a call of ours before `authenticate` can decide: fetching a provider's certificate.

        An answer ends the request, as for `challenge`. Raises `Refused`, or `TemporaryError` (503: send it again).
        """
        return None

    async def examine(self, raw: Raw) -> Raw:
        """The arrival with facts about it that take a question to somebody else: who signed it. Never raises.

        Called after `authenticate`; bounded in time, since the sender waits.
        """
        return raw

    def authenticate(self, raw: Raw) -> None:
        """Check where it came from. Raises `Refused`. Arrivals that no network carried (files, polls) pass."""

    @abstractmethod
    def normalize(self, raw: Raw) -> Sequence[Draft]:
        """What arrived, in canonical form; several drafts when one request carries several facts.

        Pure. Raises `Refused` for what is not this provider's at all (400); anything else it raises makes the
        gateway keep the arrival as unparsed, with its original bytes, so nothing is lost by a bug here.
        """

    def lasting_facts(self, raw: Raw) -> Mapping[str, Any]:
        """The facts to keep with an arrival that is held, JSON values: enough for `normalize` to read it years later,
        and no secret."""
        return raw.facts

    def challenge(self, request: InboundRequest) -> Answer | None:
        """The answer to a provider's handshake (CRC, URL verification), which is not a delivery; else None."""
        return None

    def acknowledge(self, request: InboundRequest, receipt_ids: Sequence[str]) -> Answer:
        """What the provider hears once everything is durable."""
        return Answer(204)

    def refuse_temporarily(self, request: InboundRequest) -> Answer | None:
        """What the provider hears when nothing can be stored; None: 503 with Retry-After."""
        return None

    def poll(self, cursor: str) -> AsyncIterator[Page]:
        """Pages of arrivals after `cursor` (empty: from the beginning). The cursor moves only after accept."""
        raise PermanentError(f"the {self.channel} channel has nothing to poll")

    @property
    def poll_seconds(self) -> float:
        """Seconds between two polls."""
        return float(getattr(self.options, "poll_seconds", 60.0))

    async def idle(self, seconds: float) -> None:
        """Between two polls: return after `seconds`, or as soon as the provider says that there is something new."""
        await asyncio.sleep(seconds)

    async def reach(self) -> str:
        """For `frontdesk check`: one sentence about the provider's side, or empty when there is none to reach.

        Raises `TemporaryError` or `PermanentError`.
        """
        return ""

    async def close(self) -> None:
        """Give back the connections that polling keeps open. Polling again opens them again."""

    async def send(self, reply: Reply) -> SendResult:
        """Send a reply. Raises `TemporaryError` or `PermanentError`."""
        raise PermanentError(f"replies by {self.channel} are not supported yet")


def ignored(delivery_key: str, reason: str, *, external_id: str = "", about: str = "") -> UpdateDraft:
    """A delivery that is fine and enters no ticket (our own echo, a repost): kept as a receipt with its reason."""
    return UpdateDraft(kind="ignored", external_id=external_id, about=about, delivery_key=delivery_key, reason=reason)


__all__ = [
    "Adapter",
    "AdapterError",
    "Answer",
    "Clients",
    "InboundRequest",
    "InboxOptions",
    "MessageDraft",
    "NameServers",
    "Page",
    "PermanentError",
    "Raw",
    "Refused",
    "Reply",
    "SendResult",
    "TemporaryError",
    "UpdateDraft",
    "ignored",
]
