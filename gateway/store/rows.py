"""Rows as they are written: what a message, a file, a verdict looks like in its table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from gateway.worker.evidence import Row as EvidenceRow
from gateway.worker.matching import Placement
from gateway.worker.plan import Verdict
from normalizer.automated import is_spoken_by_machine
from normalizer.message import Attachment, Author, Message, Original, Update

_HEADLINE: Final = 80  # characters
_HISTORY: Final = timedelta(days=30)


def is_history(message: Message) -> bool:
    """Was it taken from an archive, so long after it came that nobody waits for an answer to it any more?"""
    return message.taken_at - message.received_at > _HISTORY


def waits_since(messages: Iterable[Message]) -> datetime | None:
    """Since when a customer waits for an answer to these; None when only machines spoke, or all is history."""
    waiting = (item for item in messages if not is_spoken_by_machine(item.automated) and not is_history(item))
    return min((item.received_at for item in waiting), default=None)


def opened_at(messages: Iterable[Message], now: datetime) -> datetime:
    """When the first of them came: now, unless it was taken from where it had come to before."""
    return min((message.received_at for message in messages if message.accepted_at is not None), default=now)


def changed_at(messages: Sequence[Message], now: datetime) -> datetime:
    """When the desk heard of them: now. History changes a ticket when it came, and is not news on any list."""
    return max((message.received_at for message in messages), default=now) if all(map(is_history, messages)) else now


def headline(text: str) -> str:
    """A subject for what came without one (a post, a chat): its first line, cut at a word past 80 characters."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if len(line) <= _HEADLINE:
        return line
    return f"{line[:_HEADLINE].rpartition(' ')[0] or line[:_HEADLINE]} …"


def evidence_row(row: EvidenceRow, ticket: int) -> dict[str, Any]:
    """A piece of evidence on a ticket, without `id` and `comment_id`."""
    return {
        "key": row.key,
        "role": row.role,
        "author": row.author,
        "ticket_id": ticket,
        "channel": row.channel,
        "at": row.at,
    }


def dump(items: Iterable[Any]) -> list[Any]:
    """Models as JSON values, without the bytes some of them carry."""
    return [item.model_dump(mode="json", exclude={"content"}) for item in items]


def attachment_row(file: Attachment) -> dict[str, Any]:
    """A file, without `id` and whose it is."""
    return {
        "filename": file.filename,
        "content_type": file.content_type,
        "sniffed_type": file.sniffed_type,
        "content_id": file.content_id,
        "inline": file.inline,
        "source_url": file.source_url,
        "size": file.size,
        "sha256": file.sha256,
        "content": file.content,
        "blob": file.blob,
    }


def original_row(original: Original | None) -> dict[str, Any]:
    """What arrived, in the columns of a comment or a suspended message."""
    if original is None:
        return {"original_type": "", "original": None, "original_blob": None}
    return {"original_type": original.content_type, "original": original.content, "original_blob": original.blob}


def author_row(author: Author) -> dict[str, Any]:
    """Who wrote, in a comment's columns."""
    return {
        "author_name": author.display_name,
        "author_kind": author.kind,
        "author_value": author.value or "",
        "author_trust": author.trust,
        "author_evidence": author.evidence,
    }


def comment_row(message: Message, placement: Placement) -> dict[str, Any]:
    """A comment without its ids: `id`, `ticket_id`, `author_id`, `explanation` and `created_at` are the writer's."""
    flags = {"repeat": placement.repeat, "near_repeat": placement.near, "id_reused": placement.id_reused, "new": True}
    verdict = next(name for name, holds in flags.items() if holds)
    return {
        "receipt_id": message.receipt_id,
        "channel": message.channel,
        "inbox": message.inbox,
        "external_id": message.external_id,
        **author_row(message.author),
        "subject": message.subject,
        "text": message.text,
        "full_text": message.full_text,
        "html": message.html,
        "language": message.language,
        "public": True,
        "verdict": verdict,
        "matched_by": placement.rule,
        "automated": dump(message.automated),
        "problems": dump(message.problems),
        "fields": message.fields,
        "recipients": dump(message.recipients),
        "sent_at": message.sent_at,
        "received_at": message.received_at,
        **original_row(message.original),
    }


def suspended_row(message: Message) -> dict[str, Any]:
    """A message held for a person, whole; its bytes are in their own columns and in the attachments."""
    without_bytes: Any = {"original": {"content"}, "attachments": {"__all__": {"content"}}}
    return {
        "receipt_id": message.receipt_id,
        "channel": message.channel,
        "inbox": message.inbox,
        "cause": message.suspend,
        "author": message.author.value or "",
        "subject": message.subject,
        "message": message.model_dump(mode="json", exclude=without_bytes),
        "received_at": message.received_at,
        **original_row(message.original),
    }


def update_row(item: Update) -> dict[str, Any]:
    """A fact of something that is reported in pieces."""
    return {
        "about": item.about,
        "receipt_id": item.receipt_id,
        "kind": item.kind,
        "opens": item.opens,
        "facts": item.facts,
        "author": item.author.model_dump(mode="json") if item.author else None,
        "attachments": dump(item.attachments),
        "channel": item.channel,
        "inbox": item.inbox,
        "received_at": item.received_at,
    }


def receipt_row(verdict: Verdict, now: datetime) -> dict[str, Any]:
    """A receipt without `ticket_id` and `comment_id`, which the writer knows."""
    item = verdict.item
    return {
        "receipt_id": item.receipt_id,
        "gateway": item.gateway,
        "sequence": item.sequence,
        "channel": item.channel,
        "inbox": item.inbox,
        "external_id": item.external_id,
        "outcome": verdict.outcome,
        "reason": verdict.reason,
        "duplicate_of": verdict.duplicate_of,
        "received_at": item.taken_at,
        "recorded_at": now,
    }


def identity_row(author: Author, customer: int, now: datetime) -> dict[str, Any]:
    """An address of a customer, without `id`."""
    return {
        "customer_id": customer,
        "kind": author.kind,
        "value": author.value,
        "trust": author.trust,
        "source": author.evidence,
        "created_at": now,
    }
