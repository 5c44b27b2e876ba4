"""Questions about evidence that only come up while a batch is planned (`evidence.Lookup`), over the database."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final

from sqlalchemy import CompoundSelect, Connection, Select, Text, cast, not_, null, or_, select, union_all

from gateway.store import tables as t
from gateway.store.asking import Question, ask
from gateway.store.moving import ASLEEP
from gateway.store.values import one_of
from gateway.worker import evidence
from gateway.worker.evidence import Group

_KEYS: Final = t.thread_keys.c
# `evidence.Row` as it is stored.
ROWS: Final = select(_KEYS.key, _KEYS.role, _KEYS.author, _KEYS.ticket_id, _KEYS.at, _KEYS.channel)


class SqlLookup:
    """`evidence.Lookup` over the database."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def admitted(
        self, tickets: Collection[int], identities: Collection[str], cited: Collection[str], keys: Collection[str]
    ) -> list[evidence.Row]:
        """See `evidence.Lookup.admitted`."""
        values = {"tickets": tickets, "identities": identities, "cited": cited, "keys": keys}
        pairs, held, citing = ask(self._conn, _QUESTIONS, values).values()
        halves = (half for row in pairs for half in (row[:6], row[6:]))
        return [evidence.Row(*row) for row in (*halves, *held, *citing)]

    def groups(self, tickets: Collection[int]) -> Iterable[Group]:
        """See `evidence.Lookup.groups`."""
        if not tickets:
            return ()
        return read_groups(self._conn.execute(_GROUPS, {"tickets": tickets}))


def read_groups(rows: Iterable[Any]) -> Iterable[Group]:
    """From what `groups_of` answers."""
    found: dict[int, Group] = {}
    parts: list[tuple[int, int | None, str | None]] = []
    for number, other, identity, created_at, status in rows:
        if status is None:
            parts.append((number, other, identity))
            continue
        closed, settled, asleep = status == "closed", status in ("solved", "closed"), status in ASLEEP
        found[number] = Group(number, set(), created_at, closed, settled, asleep, known={number})
    for number, other, identity in parts:
        if identity is not None:
            found[number].participants.add(identity)
            continue
        for one, two in ((number, other), (other, number)):
            if one in found and two is not None:
                found[one].apart.add(two)
    return found.values()


def _admitted() -> Select[Any]:
    mine, other = t.thread_keys.alias("mine"), t.thread_keys.alias("other")
    names = ("key", "role", "author", "ticket_id", "at", "channel")
    columns = [table.c[name].label(f"{table.name}_{name}") for table in (mine, other) for name in names]
    return (
        select(*columns)
        .join_from(mine, other, mine.c.key == other.c.key)
        .where(one_of(mine.c.ticket_id, "tickets"), mine.c.role.in_(("own", "ref")), other.c.role == "ref")
        .where(one_of(other.c.author, "identities"), not_(one_of(other.c.ticket_id, "tickets")))
    )


_HELD: Final = ROWS.where(one_of(_KEYS.key, "cited"), one_of(_KEYS.ticket_id, "tickets"))
_CITING: Final = ROWS.where(one_of(_KEYS.key, "keys"), _KEYS.role == "ref", one_of(_KEYS.author, "identities"))
_QUESTIONS: Final = (Question(_admitted(), ("tickets",)), Question(_HELD, ("cited",)), Question(_CITING, ("keys",)))

_T: Final = t.tickets.c
_P: Final = t.participants.c
_L: Final = t.ticket_links.c
_NOBODY: Final = cast(null(), Text)
_NEVER: Final = cast(null(), t.Instant)


def groups_of(tickets: str | Select[Any]) -> CompoundSelect[Any]:
    """Tickets, who takes part in them, and what they are kept apart from, in one answer: `status` tells tickets from
    the rest."""
    return union_all(
        select(_T.id, cast(null(), t.Id).label("other"), _NOBODY.label("identity"), _T.created_at, _T.status).where(
            one_of(_T.id, tickets)
        ),
        select(_P.ticket_id, cast(null(), t.Id), _P.identity, _NEVER, _NOBODY).where(one_of(_P.ticket_id, tickets)),
        select(_L.ticket_id, _L.other_id, _NOBODY, _NEVER, _NOBODY).where(
            _L.kind == "apart", or_(one_of(_L.ticket_id, tickets), one_of(_L.other_id, tickets))
        ),
    )


_GROUPS: Final = groups_of("tickets")
