"""The door in (DESIGN 3). Every arrival of every channel enters through `Intake.accept`, and nowhere else.

authenticate -> normalise -> large bodies to blobs -> publish and wait for the confirm -> receipt. When `accept`
returns, the message is durable; when it raises `NotDurableError` the sender must hear a temporary refusal and keep it;
when it raises `Refused` the sender is told what to do differently. There is no fourth way out.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar
from uuid import UUID

from adapters.base import Adapter, InboxOptions, Raw, Refused
from gateway import telemetry
from gateway.apart import Apart, Unavailable
from gateway.arrivals import put_by
from gateway.ids import uuid7
from gateway.queues.base import Outgoing, Queue, QueueUnavailableError
from gateway.sealed import insert_sealed, unseal
from gateway.store.blobs import Blobs, BlobsUnavailableError
from gateway.tally import Life
from normalizer.fingerprint import delivery_key
from normalizer.message import (
    TALLY_TYPE,
    Author,
    Draft,
    Hit,
    IdentityKind,
    MessageDraft,
    Original,
    Stored,
    clean_json,
    stamp,
    to_wire,
    wire_type,
)

_log = logging.getLogger(__name__)
_StoredT = TypeVar("_StoredT", bound=Stored)

CONTROL_CHANNEL: Final = "control"  # what gateways say about themselves
_OFF_LOOP_BYTES: Final = 24 * 1024  # normalising more than this takes long enough for other senders to notice
_INLINE_BYTES: Final = 32 * 1024  # a larger body travels by reference
_INLINE_TOTAL: Final = 128 * 1024  # and so does everything past this much in one message
_RETRY_AFTER: Final = 10.0
_TALLY_SECONDS: Final = 2.0
_KINDS: Final[dict[str, IdentityKind]] = {"phone": "phone", "twitter": "x", "chat": "chat", "slack": "slack"}


def utc_now() -> datetime:
    """The clock of the door."""
    return datetime.now(UTC)


class NotDurableError(Exception):
    """Nothing could be stored. The sender must hear a temporary refusal; try again after `retry_after` seconds."""

    def __init__(self, sentence: str, retry_after: float = _RETRY_AFTER) -> None:
        super().__init__(sentence)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Inbox:
    """One configured account of a channel."""

    name: str
    channel: str
    adapter: Adapter[InboxOptions]
    options: InboxOptions


@dataclass(frozen=True, slots=True)
class Receipt:
    """The promise a sender may be told: this delivery is durable and will have an outcome."""

    receipt_id: UUID
    external_id: str
    draft: Draft

    @property
    def kind(self) -> str:
        """`message` or `update`."""
        return "message" if isinstance(self.draft, MessageDraft) else "update"


class Intake:
    """The door of one gateway process."""

    def __init__(
        self, queue: Queue, blobs: Blobs, gateway_id: str, *, now: Callable[[], datetime] | None = None
    ) -> None:
        self._queue = queue
        self._blobs = blobs
        self._now = now or (lambda: datetime.now(UTC))
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="normalise")
        self.apart: Apart | None = None  # processes that stay have a child that reads what takes long
        self.life = Life(gateway_id, self._now())

    async def accept(self, inbox: Inbox, raw: Raw) -> list[Receipt]:
        """Make one arrival durable; one receipt for each fact it carries. Raises `Refused` or `NotDurableError`.

        Must not be cancelled half-way by a sender that hangs up: protect the call with `asyncio.shield`.
        """
        received_at = self._now()
        with telemetry.accepting(inbox.channel):
            await self._authenticate(inbox, raw)
            raw = await inbox.adapter.examine(raw)
            drafts = await self._normalise(inbox, raw)
            if not drafts:
                return []
            drafts = await self._by_reference(drafts)
            receipts = await self._publish(inbox, drafts, received_at, raw.came_at)
        for receipt in receipts:
            _log.info(
                "accepted",
                extra={
                    "receipt_id": str(receipt.receipt_id),
                    "inbox": inbox.name,
                    "channel": inbox.channel,
                    "external_id": receipt.external_id,
                },
            )
        return receipts

    async def read(self, inbox: Inbox, raw: Raw, *, keep: bool = True) -> list[Draft]:
        """What an arrival means, without taking it; with `keep` its large bodies are in the blob store.

        For reading again what was taken before: nobody is asked who sent it. Raises `Refused` or `NotDurableError`.
        """
        drafts = [unseal(draft) for draft in await self._normalise(inbox, raw)]
        return await self._by_reference(drafts) if keep else drafts

    async def report(self, stop: asyncio.Event) -> None:
        """Publish this life's tally while it changes, and once more at the end."""
        while not stop.is_set():
            try:
                await asyncio.wait_for(stop.wait(), _TALLY_SECONDS)
            except TimeoutError:
                await self._publish_tally(ended=False)
        await self._publish_tally(ended=True)

    def close(self) -> None:
        """Let what is being read finish."""
        if self.apart is not None:
            self.apart.close()
        self._readers.shutdown()

    async def _authenticate(self, inbox: Inbox, raw: Raw) -> None:
        """Hashing a webhook of 30 MB to check its signature would keep every other sender waiting."""
        if raw.request is None or len(raw.body) <= _OFF_LOOP_BYTES:
            inbox.adapter.authenticate(raw)
            return
        await asyncio.get_running_loop().run_in_executor(self._readers, inbox.adapter.authenticate, raw)

    async def _normalise(self, inbox: Inbox, raw: Raw) -> Sequence[Draft]:
        """What arrived, in canonical form; a bug in a reader makes an unparsed, suspended message and loses nothing."""
        try:
            if len(raw.body) <= _OFF_LOOP_BYTES:
                drafts = inbox.adapter.normalize(raw)
            else:
                loop = asyncio.get_running_loop()
                drafts = await loop.run_in_executor(self._readers, self._read_bulky, inbox, raw)
        except Refused:
            raise
        except Exception as error:
            _log.exception("unreadable arrival kept unparsed", extra={"inbox": inbox.name})
            drafts = [unparsed(inbox, raw, error)]
        return [_put_by(inbox, _with_original(draft, raw), raw) for draft in drafts]

    def _read_bulky(self, inbox: Inbox, raw: Raw) -> Sequence[Draft]:
        """In a thread: by the child that reads what takes long, else right here."""
        if self.apart is not None:
            with contextlib.suppress(Unavailable):
                return self.apart.read(inbox.adapter, raw)
        return inbox.adapter.normalize(raw)

    async def _by_reference(self, drafts: Sequence[Draft]) -> list[Draft]:
        """Move large bodies to the blob store (claim check), durably, before anything refers to them."""
        try:
            return [await self._lighten(draft) for draft in drafts]
        except BlobsUnavailableError as error:
            telemetry.refused_temporarily("blobs")
            raise NotDurableError(str(error)) from error

    async def _lighten(self, draft: Draft) -> Draft:
        carried = 0

        async def move(item: _StoredT) -> _StoredT:
            nonlocal carried
            if item.content is None or (
                len(item.content) <= _INLINE_BYTES and carried + len(item.content) <= _INLINE_TOTAL
            ):
                carried += len(item.content or b"")
                return item
            return item.model_copy(update={"content": None, "blob": await self._blobs.put(item.content)})

        size = sum(item.size for item in draft.attachments) + (draft.original.size if draft.original else 0)
        if size <= _INLINE_BYTES:
            return draft
        original = await move(draft.original) if draft.original else None
        files = [await move(file) for file in draft.attachments]
        return draft.model_copy(update={"original": original, "attachments": tuple(files)})

    async def _publish(
        self, inbox: Inbox, drafts: Sequence[Draft], now: datetime, came_at: datetime | None
    ) -> list[Receipt]:
        late = came_at is not None and came_at < now
        numbers = [self.life.next() for _ in drafts]
        receipts: list[Receipt] = []
        outgoing: list[Outgoing] = []
        for number, draft in zip(numbers, drafts, strict=True):
            receipt_id = uuid7()
            message = stamp(
                draft,
                receipt_id=receipt_id,
                gateway=self.life.gateway,
                sequence=number,
                channel=inbox.channel,
                inbox=inbox.name,
                join=inbox.options.join,
                one_case=inbox.options.one_case,
                received_at=came_at if came_at is not None and late else now,
                accepted_at=now if late else None,
            )
            receipts.append(Receipt(receipt_id, draft.external_id, draft))
            body = insert_sealed(to_wire(message), draft)
            outgoing.append(Outgoing(body, wire_type(message), str(receipt_id), inbox.channel, inbox.name))
        try:
            await self._queue.publish(outgoing)
        except BaseException as error:
            # Even a cancelled publish may have arrived; its receipt then counts as recovered, never as lost.
            for number in numbers:
                self.life.give_up(number)
            if isinstance(error, QueueUnavailableError):
                telemetry.refused_temporarily("queue")
                raise NotDurableError(str(error)) from error
            raise
        for number in numbers:
            self.life.acknowledge(number)
        return receipts

    async def _publish_tally(self, *, ended: bool) -> None:
        if not (self.life.changed() or (ended and self.life.settled)):
            return
        body = to_wire(self.life.report(self._now(), ended=ended))
        try:
            await self._queue.publish([Outgoing(body, TALLY_TYPE, str(uuid7()), CONTROL_CHANNEL, "tally")])
        except QueueUnavailableError as error:
            self.life.unheard()
            _log.warning("tally not published, the next one will say it all: %s", error)


def unparsed(inbox: Inbox, raw: Raw, error: Exception) -> MessageDraft:
    """An arrival that its reader could not read: suspended for a person, with every byte, to be read again later."""
    what = f"{type(error).__name__}: {error}"[:300]
    original = _original(raw)
    return MessageDraft(
        author=Author(kind=_KINDS.get(inbox.channel, "email")),
        subject="(unreadable)",
        delivery_key=delivery_key(inbox.channel, "unparsed", original.sha256),
        problems=(Hit(name="unparsed", reason=what),),
        suspend=f"could not be read: {what}",
        original=original,
    )


def _with_original(draft: Draft, raw: Raw) -> Draft:
    """Every message keeps what arrived; an update keeps it only when its adapter says so."""
    if isinstance(draft, MessageDraft) and draft.original is None and raw.body:
        return draft.model_copy(update={"original": _original(raw)})
    return draft


def _put_by(inbox: Inbox, draft: Draft, raw: Raw) -> Draft:
    """What is held keeps all that reading it again takes; its adapter may have kept that already."""
    if not isinstance(draft, MessageDraft) or not draft.suspend or draft.arrival:
        return draft
    kept = put_by(inbox.adapter.lasting_facts(raw), raw.request)
    return draft.model_copy(update={"arrival": clean_json(kept)})


def _original(raw: Raw) -> Original:
    digest = hashlib.sha256(raw.body).hexdigest()
    return Original(size=len(raw.body), sha256=digest, content=raw.body, content_type=raw.content_type)
