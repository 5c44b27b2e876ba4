"""Reading held messages again: their original bytes, today's code, the receipt they have.

What today's code understands becomes a ticket, through the queue and the worker like any other message; what it still
cannot read stays held, with today's cause. Doing it twice has no second effect. Who asked for it is an event.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from adapters.base import Raw, Refused, ignored
from gateway.arrivals import take_up
from gateway.queues.base import Outgoing
from gateway.store.recovering import stored_message
from gateway.store.suspended import get_held
from normalizer.fingerprint import delivery_key
from normalizer.message import Draft, Message, MessageDraft, Replay, Update, stamp, to_wire, wire_type

if TYPE_CHECKING:
    from gateway.intake import Inbox
    from gateway.runtime import Runtime

_MAIL_FACTS: Final = ("mail_from", "remote", "mailbox", "internal_date")


@dataclass(frozen=True, slots=True)
class Reread:
    """What came of one. `drafts`: what it says today; `error`: why it could not be read again, and nothing was done."""

    suspended_id: int
    receipt_id: UUID
    was: str
    drafts: Sequence[Draft] = field(default=())
    error: str = ""

    @property
    def cause(self) -> str:
        """Why it is still held; empty when it is not."""
        first = self.drafts[0] if self.drafts else None
        return first.suspend if isinstance(first, MessageDraft) else ""


async def replay(runtime: Runtime, ids: Sequence[int], *, actor: str, dry_run: bool = False) -> AsyncIterator[Reread]:
    """Read these suspended messages again, one after the other, and publish what they say. Those that do not wait (any
    more) are passed over. Raises `NotDurableError` or `QueueUnavailableError`; running it again continues.
    """
    for ident in ids:
        held = await runtime.store.read(_load, ident)
        if held is not None:
            yield await _replay_one(runtime, held, actor, dry_run=dry_run)


@dataclass(frozen=True, slots=True)
class _Held:
    id: int
    cause: str
    message: Message


def _load(conn: Any, ident: int) -> _Held | None:
    row = get_held(conn, ident)
    return _Held(row["id"], row["cause"], stored_message(conn, row)) if row is not None else None


async def _replay_one(runtime: Runtime, held: _Held, actor: str, *, dry_run: bool) -> Reread:
    message = held.message
    inbox = runtime.inboxes.get(message.inbox)
    if inbox is None or inbox.channel != message.channel:
        return Reread(
            held.id, message.receipt_id, held.cause, error=f"there is no {message.channel} inbox {message.inbox}"
        )
    original = message.original
    body = original.content if original else None
    if original is not None and body is None and original.blob:
        try:
            body = await runtime.blobs.get(original.blob)
        except KeyError:
            body = None
    if original is None or body is None:
        return Reread(held.id, message.receipt_id, held.cause, error="its original bytes are not kept here")
    raw = take_up(message.arrival or _arrival_of(message), body, original.content_type)
    drafts = await _read(runtime, inbox, raw, message, keep=not dry_run)
    if not dry_run:
        at = datetime.now(UTC)
        marked = _stamped(drafts, message, inbox, Replay(kind="replayed", by=actor, at=at))
        await runtime.queue.publish(
            [
                Outgoing(to_wire(item), wire_type(item), str(item.receipt_id), item.channel, item.inbox)
                for item in marked
            ]
        )
    return Reread(held.id, message.receipt_id, held.cause, drafts)


async def _read(runtime: Runtime, inbox: Inbox, raw: Raw, message: Message, *, keep: bool) -> list[Draft]:
    """What it says today. It stays held for as long as a reason that is not in its bytes holds it."""
    try:
        drafts = await runtime.intake.read(inbox, raw, keep=keep)
    except Refused as refusal:
        return [_as_it_was(message, f"refused when it was read again: {refusal}")]
    if not drafts:
        key = delivery_key(message.channel, "nothing", str(message.receipt_id))
        return [ignored(key, "nothing in it belongs on a ticket")]
    first = drafts[0]
    cause = str(message.arrival.get("cause") or "")
    if isinstance(first, MessageDraft) and cause:
        drafts[0] = first.model_copy(update={"suspend": first.suspend or cause, "arrival": message.arrival})
    return drafts


def _as_it_was(message: Message, cause: str) -> MessageDraft:
    fields = {name: getattr(message, name) for name in MessageDraft.model_fields}
    return MessageDraft.model_construct(**fields | {"suspend": cause})


def _stamped(drafts: Sequence[Draft], message: Message, inbox: Inbox, mark: Replay) -> list[Message | Update]:
    """The first fact has the old receipt; others that come out of the same bytes get receipts of their own, the same
    ones each time."""
    return [
        stamp(
            draft,
            receipt_id=message.receipt_id if number == 0 else sibling(message.receipt_id, number),
            gateway=message.gateway,
            sequence=message.sequence,
            channel=message.channel,
            inbox=message.inbox,
            join=inbox.options.join,
            one_case=inbox.options.one_case,
            received_at=message.received_at,
            accepted_at=message.accepted_at,
            replay=mark if number == 0 else None,
        )
        for number, draft in enumerate(drafts)
    ]


def sibling(receipt_id: UUID, number: int) -> UUID:
    """The receipt of another fact of the same arrival: of the same millisecond, otherwise a digest of both."""
    digest = hashlib.sha256(receipt_id.bytes + number.to_bytes(4)).digest()
    low = int.from_bytes(digest[:10]) & ~(0xF << 76) & ~(0b11 << 62)
    return UUID(int=(receipt_id.int >> 80) << 80 | low | 0x7 << 76 | 0b10 << 62)


def _arrival_of(message: Message) -> dict[str, Any]:
    """What was kept before an arrival was: for mail, most of what its transport knew."""
    facts: dict[str, Any] = {name: message.fields[name] for name in _MAIL_FACTS if name in message.fields}
    facts["rcpt_tos"] = [item.value for item in message.recipients if item.role == "envelope"]
    if any(hit.name == "truncated" and hit.reason == message.suspend for hit in message.problems):
        facts["held"] = message.suspend
    return {"facts": facts}
