"""Calls that began and were never heard of again.

A number whose status callback is not set up, or a provider that gives up on us, leaves a call without an end. The
caller still wanted something, so after a while we say so ourselves: an update of our own, which goes through the same
record step, opens the ticket, and is corrected by whatever the provider says later.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, func, select

from gateway.ids import uuid7
from gateway.store import tables as t
from normalizer.fingerprint import delivery_key
from normalizer.message import Update

QUIET: Final = timedelta(minutes=15)
_FORGOTTEN: Final = timedelta(days=7)  # looked for no longer: outbound calls never open a ticket
_AT_ONCE: Final = 100


def overdue_stories(conn: Connection, now: datetime) -> list[Update]:
    """An update for each inbound call that has no ticket and was quiet for `QUIET`."""
    facts = t.update_facts.c
    told = select(t.folded.c.about).where(t.folded.c.about == facts.about).exists()
    other = t.update_facts.alias("other").c
    direction = func.coalesce(other.facts["direction"].as_string(), "")
    # Asked for here and not picked out later: a hundred calls of our own would be the hundred that are looked at.
    ours = select(other.about).where(other.about == facts.about, direction.not_in(("", "inbound"))).exists()
    quiet = (
        select(facts.about, facts.channel, facts.inbox)
        .where(~told, ~ours, facts.kind == "call", facts.received_at > now - _FORGOTTEN)
        .group_by(facts.about, facts.channel, facts.inbox)
        .having(func.max(facts.received_at) < now - QUIET)
        .order_by(facts.about)
        .limit(_AT_ONCE)
    )
    return [
        Update(
            receipt_id=uuid7(),
            gateway="frontdesk",
            sequence=0,
            channel=row.channel,
            inbox=row.inbox,
            kind="call",
            about=row.about,
            opens=True,
            facts={"event": "call.silent"},
            delivery_key=delivery_key(row.channel, row.about, "silent"),
            received_at=now,
        )
        for row in conn.execute(quiet)
    ]
