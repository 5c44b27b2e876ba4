"""Where each poller stands, and which process polls: a row an inbox, with a lease."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, or_, select, update

from gateway.store import tables as t
from gateway.store.writing import upsert

_C = t.cursors.c


def read_cursor(conn: Connection, inbox: str) -> str:
    """The cursor to poll after; empty when nothing was ever polled."""
    return conn.scalar(select(_C.value).where(_C.inbox == inbox)) or ""


def save_cursor(conn: Connection, inbox: str, value: str) -> None:
    """Keep a cursor, once everything before it is durable."""
    now = datetime.now(UTC)
    row = {"inbox": inbox, "value": value, "owner": "", "lease_until": None, "updated_at": now}
    statement = upsert(conn, t.cursors).values(row)
    conn.execute(statement.on_conflict_do_update(index_elements=["inbox"], set_={"value": value, "updated_at": now}))


def take_lease(conn: Connection, inbox: str, owner: str, seconds: float) -> bool:
    """Take or renew the right to poll an inbox for some seconds; False while another process has it."""
    now = datetime.now(UTC)
    row = {"inbox": inbox, "value": "", "owner": "", "lease_until": None, "updated_at": now}
    conn.execute(upsert(conn, t.cursors).values(row).on_conflict_do_nothing())
    free = or_(_C.owner == owner, _C.lease_until.is_(None), _C.lease_until < now)
    taken = conn.execute(
        update(t.cursors)
        .where(_C.inbox == inbox, free)
        .values(owner=owner, lease_until=now + timedelta(seconds=seconds))
    )
    return taken.rowcount == 1


def drop_lease(conn: Connection, inbox: str, owner: str) -> None:
    """Let another process poll at once."""
    conn.execute(update(t.cursors).where(_C.inbox == inbox, _C.owner == owner).values(owner="", lease_until=None))
