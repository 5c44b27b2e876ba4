"""The canonical message: what every channel's adapter produces, what the queue carries and what the worker records.

Two facts travel on the queue. A *message* is something a customer said; an *update* is a later fact about an earlier
delivery (a call ended, its recording is ready) or a fact that only needs counting (`ignored`). Adapters produce the
`Draft` half, which is a pure function of the bytes that arrived; `intake.accept` adds the `Envelope` half.

The JSON form is the queue contract, version 1; its schema is generated into `deploy/schema/`.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, NotRequired, TypedDict, Unpack, overload
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import to_json

SCHEMA_VERSION: Final = 1
MESSAGE_TYPE: Final = "frontdesk.message.v1"
UPDATE_TYPE: Final = "frontdesk.update.v1"
TALLY_TYPE: Final = "frontdesk.tally.v1"

Trust = Literal["verified", "unverified", "failed"]
Join = Literal["participants", "anyone"]
IdentityKind = Literal["email", "phone", "x", "slack", "app", "chat"]


def clean_text(value: Any) -> Any:
    """Strings without NUL and lone surrogates, which no database and no JSON reader takes; other values unchanged."""
    if not isinstance(value, str):
        return value
    if "\x00" in value:
        value = value.replace("\x00", "")
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value


def clean_json(value: Any) -> Any:
    """The same for every string inside a JSON-like value, keys included; NaN and infinities become None."""
    if isinstance(value, dict):
        return {clean_text(str(key)): clean_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return clean_text(value)


def _in_utc(value: datetime) -> datetime:
    """Also rids us of pydantic's own zone object, which must not outlive the interpreter's last collection."""
    try:
        return value.astimezone(UTC)
    except OverflowError:  # a claimed date within hours of year 1 or 9999
        return value.replace(tzinfo=UTC)


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
Text = Annotated[str, BeforeValidator(clean_text)]
Facts = Annotated[dict[str, Any], BeforeValidator(clean_json)]


LONGEST_ADDRESS: Final = 320  # RFC 3696 erratum 1690 allows 254, RFC 5321 parts add up to 320; more is nobody's address


def _identity(kind: str, value: str | None) -> str | None:
    return f"{kind}:{value}" if value and len(value) <= LONGEST_ADDRESS else None


class Wire(BaseModel):
    """Frozen, and deaf to unknown fields so that an older worker reads a newer gateway's messages."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_bytes="base64", val_json_bytes="base64")


class Author(Wire):
    """Who wrote. `value` is canonical (`normalizer.addresses`); None is nobody, such as a withheld number."""

    kind: IdentityKind
    value: Text | None = None
    display_name: Text = ""
    trust: Trust = "unverified"
    evidence: Text = ""  # one short sentence: how far the address is proven, and by what

    @property
    def identity(self) -> str | None:
        """`kind:value`, the name under which this author is known; None when the author is nobody."""
        return _identity(self.kind, self.value)


class Recipient(Wire):
    """One address a message went to. `envelope` is where it was really delivered (SMTP RCPT TO)."""

    role: Literal["to", "cc", "envelope"]
    kind: IdentityKind
    value: Text
    display_name: Text = ""

    @property
    def identity(self) -> str | None:
        """`kind:value`, as for an author."""
        return _identity(self.kind, self.value)


class Stored(Wire):
    """Bytes, either inline or, once `intake.accept` has moved them, in the blob store under `blob` (their SHA-256)."""

    size: int
    sha256: str
    content: bytes | None = None
    blob: str | None = None


class Attachment(Stored):
    """A file. `content_type` is declared by the sender, `sniffed_type` is what the bytes look like (empty: unknown)."""

    filename: Text = ""  # display only: already stripped of paths, controls and bidi overrides; never a name on disk
    content_type: Text = "application/octet-stream"
    sniffed_type: Text = ""
    content_id: Text = ""
    inline: bool = False
    source_url: Text = ""  # where the provider keeps it (a call's recording), when the bytes are not here


class Original(Stored):
    """What arrived, byte for byte. Everything else in a message is a function of it and can be computed again."""

    content_type: Text = "application/octet-stream"


class ThreadKey(Wire):
    """One piece of evidence for which conversation a message belongs to. Values are scoped and canonical.

    - `conversation`: the provider's own conversation (chat session, call, X conversation + author): joins always.
    - `message_id`: the message's own Message-ID. `in_reply_to`, `references`: ids it answers, seen or not yet seen.
    - `thread_index`: Outlook's conversation id, the same for all mails of one exchange.
    - `reply_token`: the number of a ticket, proven by our own signature; `subject_number`: the same, only typed.
    - `subject`: the bare subject of a mail that looks like a reply and has lost the headers that would say to what.
    """

    kind: Literal[
        "conversation",
        "message_id",
        "in_reply_to",
        "references",
        "thread_index",
        "reply_token",
        "subject_number",
        "subject",
    ]
    value: Text
    strength: Literal["strong", "weak"] = "strong"


class Hit(Wire):
    """A rule that matched (`automated`) or a defect that was found (`problems`): its fixed name, a readable reason."""

    name: str
    reason: Text = ""


class MessageDraft(Wire):
    """Something a customer said, as an adapter understood it. Without the envelope that `intake.accept` adds."""

    external_id: Text = ""  # the provider's id; for mail the Message-ID without angle brackets, empty if it has none
    sent_at: Moment | None = None  # as claimed by the sender; order uses received_at
    author: Author
    recipients: tuple[Recipient, ...] = ()
    subject: Text = ""
    text: Text = ""  # what the customer newly wrote
    full_text: Text = ""  # the whole text, quoted history and signature included; empty when equal to `text`
    html: Text = ""  # as received, unsafe: sanitise before showing
    language: Text = ""  # BCP 47, empty when unknown
    attachments: tuple[Attachment, ...] = ()
    delivery_key: str  # fingerprint.delivery_key: equal for the same delivery sent again
    content_key: str = ""  # fingerprint.content_key: equal for the same words said again; empty: nothing to compare
    thread_keys: tuple[ThreadKey, ...] = ()
    subject_base: Text = ""
    automated: tuple[Hit, ...] = ()
    problems: tuple[Hit, ...] = ()
    suspend: Text = ""  # not empty: hold for a person, with this cause
    fields: Facts = Field(default_factory=dict)  # channel facts: form fields, call facts, page URL, device
    arrival: Facts = Field(
        default_factory=dict
    )  # of what is held: what its transport knew, to read it again; not shown
    original: Original | None = None


class UpdateDraft(Wire):
    """A later fact about an earlier delivery. Updates with the same `about` fold into one comment, in any order."""

    external_id: Text = ""
    kind: Literal["call", "ignored"]
    about: Text = ""  # scoped conversation key, equal to the `conversation` thread key of its messages; empty: none
    opens: bool = False  # this fact alone is reason enough for a ticket
    facts: Facts = Field(default_factory=dict)
    author: Author | None = None  # when this fact says who it is
    attachments: tuple[Attachment, ...] = ()
    delivery_key: str
    reason: Text = ""  # `ignored`: why nothing enters a ticket
    original: Original | None = None


Draft = MessageDraft | UpdateDraft


class Replay(Wire):
    """A held delivery under its old receipt again: read again with today's code, or let in as it is by a person."""

    kind: Literal["replayed", "recovered"]
    by: Text
    at: Moment


class Envelope(Wire):
    """What the door adds: which receipt, which gateway life, which inbox, and when."""

    schema_version: int = SCHEMA_VERSION
    receipt_id: UUID  # version 7
    gateway: str  # boot id of the gateway process that accepted it
    sequence: int  # 1, 2, 3, ... within that gateway life; the audit looks for gaps
    channel: Text
    inbox: Text
    join: Join = "participants"  # who may join a ticket of this inbox
    one_case: bool = False  # the inbox keeps one open case a person
    received_at: Moment  # when it came: to us, or before us to the mailbox or archive it was taken from
    accepted_at: Moment | None = None  # when we took it, where that was later
    replay: Replay | None = None

    @property
    def taken_at(self) -> datetime:
        """When we took it."""
        return self.accepted_at or self.received_at


class Message(Envelope, MessageDraft):
    """`frontdesk.message.v1`."""


class Update(Envelope, UpdateDraft):
    """`frontdesk.update.v1`."""


class Tally(Wire):
    """`frontdesk.tally.v1`: what one gateway life says it acknowledged; with it the audit need not trust the worker."""

    gateway: str
    accepted: int  # deliveries acknowledged to a sender
    settled: int  # every sequence number up to this one was acknowledged or given up
    given_up: tuple[tuple[int, int], ...] = ()  # ranges of numbers whose sender heard a temporary refusal
    ended: bool = False
    started_at: Moment
    updated_at: Moment


class EnvelopeFields(TypedDict):
    """What the door adds to a draft."""

    receipt_id: UUID
    gateway: str
    sequence: int
    channel: str
    inbox: str
    join: Join
    one_case: NotRequired[bool]
    received_at: datetime
    accepted_at: NotRequired[datetime | None]
    replay: NotRequired[Replay | None]


@overload
def stamp(draft: MessageDraft, **envelope: Unpack[EnvelopeFields]) -> Message: ...
@overload
def stamp(draft: UpdateDraft, **envelope: Unpack[EnvelopeFields]) -> Update: ...
def stamp(draft: Draft, **envelope: Unpack[EnvelopeFields]) -> Message | Update:
    """The wire form of a draft. The draft's fields are already validated and are not validated twice."""
    model: type[Message | Update] = Message if isinstance(draft, MessageDraft) else Update
    fields: dict[str, Any] = {**draft.__dict__, **_UNSTAMPED, **envelope}
    message = model.__new__(model)
    # As pickle restores one: `model_construct` looks at each of thirty fields for aliases and defaults, in 11 us.
    message.__setstate__(
        {
            "__dict__": fields,
            "__pydantic_fields_set__": set(fields),
            "__pydantic_extra__": None,
            "__pydantic_private__": None,
        }
    )
    return message


_UNSTAMPED: Final = {name: field.get_default() for name, field in Envelope.model_fields.items()}  # in their order


def to_wire(message: Message | Update | Tally) -> bytes:
    """The body of a queue message, JSON in UTF-8."""
    return to_json(message)


def wire_type(message: Message | Update) -> str:
    """The AMQP `type` of a message."""
    return MESSAGE_TYPE if isinstance(message, Message) else UPDATE_TYPE


def parse_wire(kind: str, body: bytes) -> Message | Update | Tally:
    """The message in a queue body. Raises ValueError (pydantic's ValidationError included) for anything else."""
    if kind == MESSAGE_TYPE:
        return Message.model_validate_json(body)
    if kind == UPDATE_TYPE:
        return Update.model_validate_json(body)
    if kind == TALLY_TYPE:
        return Tally.model_validate_json(body)
    raise ValueError(
        f"unknown message type {kind!r}; this version reads {MESSAGE_TYPE}, {UPDATE_TYPE} and {TALLY_TYPE}"
    )
