"""`frontdesk normalize`: what an adapter understands of a file, without a service, a database or a data folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from adapters.base import Raw, Refused
from gateway.commands.failures import NOT_SO, OK
from gateway.commands.output import note, print_json
from gateway.intake import Inbox, unparsed
from gateway.mail.files import read_all
from gateway.mail.found import MAIL, Found
from gateway.runtime import configure_inbox
from gateway.settings import load_settings
from normalizer.message import SCHEMA_VERSION, Draft, Original

_BYTES: Final[dict[str, Any]] = {"attachments": {"__all__": {"content"}}, "original": {"content"}}


def normalize_paths(paths: Sequence[str], *, channel: str, inbox: str, content: bool) -> int:
    """Print one JSON line a message; see `frontdesk normalize --help`."""
    reader = _inbox(channel, inbox)
    head = {"schema_version": SCHEMA_VERSION, "channel": channel, "inbox": inbox}
    code = OK
    for found in _messages(paths):
        try:
            drafts = understand(reader, found)
        except Refused as refusal:
            note(f"{found.origin}: {refusal}")
            print_json({"path": found.origin, "error": str(refusal)})
            code = NOT_SO
            continue
        for draft in drafts:
            shown = draft.model_dump(mode="json", exclude=None if content else _BYTES)
            print_json({"path": found.origin, **head, **shown})
    return code


def _messages(paths: Sequence[str]) -> Iterator[Found]:
    """What the paths hold; a file with a single message goes by its own name, also when it is an mbox."""
    for path in paths:
        reader = read_all([path])
        first, second = next(reader, None), next(reader, None)
        if first is not None:
            yield replace(first, origin=path) if second is None and first.origin == f"{path}#1" else first
        if second is not None:
            yield second
            yield from reader


def understand(inbox: Inbox, found: Found) -> Sequence[Draft]:
    """The drafts the door would make of it: also of what an adapter cannot read. Raises `Refused`."""
    if found.error:
        raise Refused(400, found.error)
    raw = Raw(found.body, _content_type(inbox, found), found.facts)
    try:
        drafts = inbox.adapter.normalize(raw)
    except Refused:
        raise
    except Exception as error:  # as at the door: kept unparsed, never lost by a bug in an adapter
        return [unparsed(inbox, raw, error)]
    digest = hashlib.sha256(raw.body).hexdigest()
    original = Original(size=len(raw.body), sha256=digest, content=raw.body, content_type=raw.content_type)
    return [draft if draft.original else draft.model_copy(update={"original": original}) for draft in drafts]


def _inbox(channel: str, name: str) -> Inbox:
    """The configured inbox of this name and channel; any other name gets the channel's default options."""
    options = load_settings().inboxes.get(name, {})
    return configure_inbox(name, options if options.get("channel") == channel else {"channel": channel})


def _content_type(inbox: Inbox, found: Found) -> str:
    """Files carry no content type; outside mail they are what webhooks post: JSON or a form."""
    if found.content_type != MAIL or inbox.channel == "email":
        return found.content_type
    return "application/json" if found.body.lstrip()[:1] in {b"{", b"["} else "application/x-www-form-urlencoded"
