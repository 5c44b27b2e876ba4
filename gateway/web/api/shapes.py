"""Rows as Zendesk's objects: which field says what. Ids only, never embedded people; times in UTC with Z.

Source: Zendesk developer docs, Ticketing API (tickets, ticket comments, users, attachments, suspended tickets).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape
from typing import Any, Final
from urllib.parse import quote

from gateway.store.paging import Row
from normalizer.markup import sanitise

NOBODY_ID: Final = -1  # whoever wrote is not known: a withheld number. Clients get an integer they can look up
CALLER_ID: Final = 1 << 52  # the holder of an API token, far from any customer's number and still exact in JavaScript
VIA: Final = {
    "email": "email",
    "form": "web",
    "chat": "native_messaging",
    "phone": "voice",
    "twitter": "twitter",
    "sms": "sms",
    "whatsapp": "whatsapp",
}
_IDENTITY_TYPES: Final = {"email": "email", "phone": "phone_number", "x": "twitter"}


def timestamp(moment: datetime | None) -> str | None:
    """`2026-11-21T10:00:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None


def ticket(row: Row, base: str) -> Row:
    """A ticket. A merged one reads as closed and says in `merged_into_id` which ticket holds its messages now."""
    first = row.get("first") or {}
    merged = row["merged_into"]
    return {
        "url": f"{base}/api/v2/tickets/{row['id']}.json",
        "id": row["id"],
        "external_id": None,
        "via": via(row["channel"], first),
        "created_at": timestamp(row["created_at"]),
        "updated_at": timestamp(row["updated_at"]),
        "generated_timestamp": int(row["updated_at"].timestamp()),
        "type": None,
        "subject": row["subject"],
        "raw_subject": row["subject"],
        "description": first.get("text", ""),
        "priority": None,
        "status": "closed" if merged else row["status"],
        "recipient": _recipient(first).get("value"),
        "requester_id": row["requester_id"] or NOBODY_ID,
        "submitter_id": row["requester_id"] or NOBODY_ID,
        "assignee_id": None,
        "organization_id": None,
        "group_id": None,
        "collaborator_ids": [],
        "follower_ids": [],
        "email_cc_ids": [],
        "forum_topic_id": None,
        "problem_id": None,
        "has_incidents": False,
        "is_public": True,
        "due_at": None,
        "tags": ["closed_by_merge"] if merged else [],
        "custom_fields": [],
        "fields": [],
        "satisfaction_rating": None,
        "sharing_agreement_ids": [],
        "custom_status_id": None,
        "followup_ids": [],
        "ticket_form_id": None,
        "brand_id": None,
        "allow_channelback": False,
        "allow_attachments": True,
        "from_messaging_channel": row["channel"] == "chat",
        "merged_into_id": merged,
    }


def comment(row: Row, base: str) -> Row:
    """A comment. `metadata.custom` says how it came to be on this ticket."""
    system: Row = {"client": None, "ip_address": None, "location": None}
    if row["channel"] == "email" and row["external_id"]:
        system["message_id"] = f"<{row['external_id']}>"
    return {
        "id": row["id"],
        "type": "VoiceComment" if row["channel"] == "phone" else "Comment",
        "author_id": row["author_id"] or NOBODY_ID,
        "body": row["text"],
        "html_body": html_body(row),
        "plain_body": row["text"],
        "public": row["public"],
        "attachments": [attachment(file, base) for file in row["attachments"]],
        "audit_id": row["id"],
        "via": via(row["channel"], row),
        "created_at": timestamp(row["received_at"]),
        "metadata": {
            "system": system,
            "custom": {
                "receipt_id": str(row["receipt_id"]),
                "verdict": row["verdict"],
                "matched_by": row["matched_by"],
                "explanation": row["explanation"],
                "trust": row["author_trust"],
                "inbox": row["inbox"],
                "external_id": row["external_id"],
                "language": row["language"],
                "automated": row["automated"],
                "problems": row["problems"],
                "fields": row["fields"],
            },
        },
    }


def html_body(row: Row) -> str:
    """The comment as safe HTML: what was sent, sanitised, or its text as one block."""
    inner = sanitise(row["html"]) if row["html"] else escape(row["text"], quote=False).replace("\n", "<br>")
    return f'<div class="zd-comment" dir="auto">{inner}</div>'


def audit(row: Row, base: str) -> Row:
    """The audit a comment made: one event, the comment itself."""
    said = comment(row, base)
    return {
        "id": row["id"],
        "ticket_id": row["ticket_id"],
        "created_at": said["created_at"],
        "author_id": said["author_id"],
        "via": said["via"],
        "metadata": said["metadata"],
        "events": [said],
    }


def via(channel: str, source: Mapping[str, Any]) -> Row:
    """Where something came from. `source` is a comment row (author and recipients)."""
    value, name = source.get("author_value") or None, source.get("author_name") or None
    sender: Row = {"name": name} if name else {}
    if value:
        label = {"email": "address", "phone": "phone", "x": "username"}.get(source.get("author_kind", ""), "id")
        sender[label] = value
    recipient = _recipient(source)
    to: Row = {}
    if recipient:
        to = {"name": recipient.get("display_name") or None, _address_label(recipient): recipient["value"]}
    return {"channel": VIA.get(channel, "api"), "source": {"from": sender, "to": to, "rel": None}}


def _address_label(recipient: Mapping[str, Any]) -> str:
    return {"phone": "phone", "x": "username"}.get(recipient.get("kind", ""), "address")


def _recipient(source: Mapping[str, Any]) -> Row:
    """Where it was really delivered, else the first address it was sent to."""
    known = [entry for entry in source.get("recipients") or () if isinstance(entry, dict) and entry.get("value")]
    delivered = [entry for entry in known if entry.get("role") == "envelope"]
    return (delivered or known or [{}])[0]


def user(row: Row, base: str) -> Row:
    """A customer as an end user."""
    identities = row["identities"]
    return _user(
        row["id"],
        base,
        name=row["name"] or (identities[0]["value"] if identities else f"Customer {row['id']}"),
        email=_first(identities, "email"),
        phone=_first(identities, "phone"),
        role="end-user",
        verified=any(identity["trust"] == "verified" for identity in identities),
        locale=row["language"] or "en-US",
        user_fields=row["attributes"],
        external_id=row["external_id"],
        active=row["merged_into"] is None,
        merged_into_id=row["merged_into"],
        created_at=timestamp(row["created_at"]),
        updated_at=timestamp(row["updated_at"]),
    )


def nobody(base: str) -> Row:
    """The user that stands for an unknown author."""
    return _user(NOBODY_ID, base, name="Unknown", role="end-user")


def api_caller(email: str, base: str) -> Row:
    """The user that stands for the holder of an API token."""
    return _user(CALLER_ID, base, name=email or "API token", email=email or None, role="admin", verified=True)


def _user(ident: int, base: str, **facts: Any) -> Row:
    blank: Row = {
        "email": None,
        "phone": None,
        "verified": False,
        "active": True,
        "locale": "en-US",
        "time_zone": "UTC",
        "organization_id": None,
        "external_id": None,
        "tags": [],
        "suspended": False,
        "user_fields": {},
        "created_at": None,
        "updated_at": None,
        "photo": None,
        "merged_into_id": None,
    }
    return {"id": ident, "url": f"{base}/api/v2/users/{ident}.json", **blank, **facts}


def _first(identities: list[Row], kind: str) -> str | None:
    """The address of a kind, a proven one before others."""
    known = sorted((one for one in identities if one["kind"] == kind), key=lambda one: one["trust"] != "verified")
    return known[0]["value"] if known else None


def identity(row: Row, base: str, *, primary: bool = False) -> Row:
    """One address of a customer. `trust` and `source` (ours) say how far it is proven and by what."""
    url = f"{base}/api/v2/users/{row['customer_id']}/identities/{row['id']}.json"
    return {
        "id": row["id"],
        "url": url,
        "user_id": row["customer_id"],
        "type": _IDENTITY_TYPES.get(row["kind"], "foreign"),
        "value": row["value"],
        "verified": row["trust"] == "verified",
        "trust": row["trust"],
        "source": row["source"],
        "primary": primary,
        "created_at": timestamp(row["created_at"]),
        "updated_at": timestamp(row["created_at"]),
    }


def attachment(row: Row, base: str) -> Row:
    """A file; `content_url` needs the same credentials as the API."""
    name = row["filename"] or "attachment"
    content_url = f"{base}/api/v2/attachments/{row['id']}/content/{quote(name, safe='')}"
    return {
        "id": row["id"],
        "url": f"{base}/api/v2/attachments/{row['id']}.json",
        "file_name": name,
        "content_url": content_url,
        "mapped_content_url": content_url,
        "content_type": row["content_type"] or "application/octet-stream",
        "size": row["size"],
        "width": None,
        "height": None,
        "inline": row["inline"],
        "deleted": False,
        "thumbnails": [],
    }


def suspended(row: Row, base: str) -> Row:
    """A suspended message. `cause` is a sentence; `decision` (ours) is null while it waits."""
    message = row["message"] if isinstance(row["message"], dict) else {}
    author = message.get("author") or {}
    external_id = str(message.get("external_id") or "")
    source = {
        "author_value": author.get("value"),
        "author_name": author.get("display_name"),
        "author_kind": author.get("kind", ""),
        "recipients": message.get("recipients"),
    }
    return {
        "id": row["id"],
        "url": f"{base}/api/v2/suspended_tickets/{row['id']}.json",
        "author": {
            "id": None,
            "name": author.get("display_name") or row["author"],
            "email": author.get("value") if author.get("kind") == "email" else None,
        },
        "subject": row["subject"],
        "content": str(message.get("full_text") or message.get("text") or ""),
        "cause": row["cause"],
        "message_id": f"<{external_id}>" if external_id and row["channel"] == "email" else external_id or None,
        "ticket_id": row.get("ticket_id"),
        "recipient": _recipient(source).get("value"),
        "created_at": timestamp(row["received_at"]),
        "updated_at": timestamp(row["decided_at"] or row["replayed_at"] or row["received_at"]),
        "via": via(row["channel"], source),
        "brand_id": None,
        "receipt_id": str(row["receipt_id"]),
        "inbox": row["inbox"],
        "decision": row["decision"],
        "decided_by": row["decided_by"],
        "replayed_by": row["replayed_by"],
        "attachments": [attachment(file, base) for file in row.get("attachments", ())],
    }


def receipt(row: Row, base: str) -> Row:
    """What became of one delivery (ours; Zendesk has no such thing)."""
    ticket_url = f"{base}/api/v2/tickets/{row['ticket_id']}.json" if row["ticket_id"] else None
    return {
        "receipt_id": str(row["receipt_id"]),
        "url": f"{base}/api/v2/receipts/{row['receipt_id']}.json",
        "outcome": row["outcome"],
        "reason": row["reason"],
        "channel": row["channel"],
        "inbox": row["inbox"],
        "external_id": row["external_id"],
        "ticket_id": row["ticket_id"],
        "ticket_url": ticket_url,
        "comment_id": row["comment_id"],
        "duplicate_of": str(row["duplicate_of"]) if row["duplicate_of"] else None,
        "gateway": row["gateway"],
        "sequence": row["sequence"],
        "received_at": timestamp(row["received_at"]),
        "recorded_at": timestamp(row["recorded_at"]),
    }
