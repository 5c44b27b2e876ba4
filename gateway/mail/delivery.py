"""From an envelope to the door and back to a reply.

One transaction may name addresses of several inboxes: each gets its own delivery (the worker recognises the same mail),
and only when all of them are durable does SMTP hear 250. A retry after a partial failure is harmless: what was already
accepted is recognised as a duplicate.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from adapters.base import Raw, Refused
from gateway.intake import NotDurableError
from gateway.mail import replies

if TYPE_CHECKING:
    from gateway.intake import Inbox
    from gateway.runtime import Runtime

log = logging.getLogger(__name__)

CHANNEL = "email"
CONTENT_TYPE = "message/rfc822"


def inbox_for(runtime: Runtime, address: str) -> Inbox | None:
    """The mail inbox an address belongs to. One that names the address goes before one that takes a whole domain.

    `postmaster` without a domain is the first inbox: whoever takes mail takes his (RFC 5321 section 4.5.1).
    """
    if address.casefold() == "postmaster":
        return next(iter(mail_inboxes(runtime)), None)
    takers = [inbox for inbox in mail_inboxes(runtime) if inbox.adapter.accepts(address)]  # type: ignore[attr-defined]
    return min(takers, key=lambda inbox: not _names(inbox, address), default=None)


def mail_inboxes(runtime: Runtime) -> list[Inbox]:
    """The inboxes mail can be delivered to, in order of configuration."""
    return [inbox for inbox in runtime.inboxes.values() if inbox.channel == CHANNEL]


def _names(inbox: Inbox, address: str) -> bool:
    named: Sequence[str] = getattr(inbox.options, "addresses", ())
    return address.casefold() in {name.casefold() for name in named}


async def deliver(
    runtime: Runtime, content: bytes, facts: Mapping[str, Any], recipients: Sequence[tuple[str, Inbox]]
) -> list[str]:
    """Accept the message once an inbox; one reply line for each recipient, in order. Never raises an `Exception`."""
    by_inbox: dict[str, tuple[Inbox, list[str]]] = {}
    for address, inbox in recipients:
        addresses = by_inbox.setdefault(inbox.name, (inbox, []))[1]
        if address not in addresses:
            addresses.append(address)
    raws = [
        (inbox, Raw(content, CONTENT_TYPE, {**facts, "rcpt_tos": addresses})) for inbox, addresses in by_inbox.values()
    ]
    if len(raws) == 1:
        return [await _accept(runtime, *raws[0])] * len(recipients)
    answers = await asyncio.gather(*(_accept(runtime, inbox, raw) for inbox, raw in raws))
    reply_of = dict(zip(by_inbox, answers, strict=True))
    return [reply_of[inbox.name] for _, inbox in recipients]


async def _accept(runtime: Runtime, inbox: Inbox, raw: Raw) -> str:
    try:
        receipts = await runtime.intake.accept(inbox, raw)
    except NotDurableError:
        return replies.NOT_DURABLE
    except Refused as refusal:
        return replies.refused(refusal.status, str(refusal))
    except Exception:
        log.exception("mail to inbox %s could not be accepted; the sender keeps it", inbox.name)
        return replies.TROUBLE
    return replies.accepted([str(receipt.receipt_id) for receipt in receipts])


def for_transaction(lines: Sequence[str]) -> str:
    """SMTP's single reply: the receipts of all, or a temporary refusal if any is temporary, or the first refusal."""
    for temporary in (line for line in lines if line.startswith("4")):
        return temporary
    for refusal in (line for line in lines if not line.startswith("250")):
        return refusal
    ids = [line.rpartition("accepted as ")[2] for line in lines]
    return replies.accepted(list(dict.fromkeys(ids)))
