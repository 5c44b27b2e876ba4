"""What the database knows about a batch before it is planned: a handful of set-based reads under the ledger lock."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, and_, func, not_, or_, select

from gateway.store import tables as t
from gateway.store.crowded import load_rows
from gateway.store.people import among
from gateway.store.values import one_of
from gateway.worker import evidence, near
from gateway.worker.evidence import Group, Rules, World
from gateway.worker.matching import (
    ACROSS_CHANNELS_WINDOW,
    SUBJECT_WINDOW,
    TICKET_KEY,
    evidence_of,
    may_be_near,
    participants_of,
)
from gateway.worker.plan import Item, Known, Seen
from normalizer.message import Message, Update

_KEYS = t.thread_keys.c
_WINDOWS = {"content": ACROSS_CHANNELS_WINDOW, "subject": SUBJECT_WINDOW, "resubject": SUBJECT_WINDOW}


def load_known(conn: Connection, items: Sequence[Item], rules: Rules | None = None) -> Known:
    """Everything `make_plan` needs to know about the batch."""
    lookup = SqlLookup(conn)
    world = World(lookup, rules)
    messages = [item for item in items if isinstance(item, Message) and not item.suspend]
    _load_evidence(conn, world, lookup, messages)
    _load_spoken(conn, world, lookup, messages)
    cited = _load_cited_tickets(conn, world, lookup, messages)
    abouts = sorted({item.about for item in items if isinstance(item, Update) and item.kind != "ignored"})
    _load_conversations(conn, world, lookup, abouts)
    return Known(
        world=world,
        cited_tickets=cited,
        recorded=_load_receipts(conn, [item.receipt_id for item in items]),
        seen=_load_seen(conn, [item.delivery_key for item in items]),
        facts=_load_facts(conn, abouts),
        told=_load_told(conn, abouts),
    )


def _load_receipts(conn: Connection, ids: Collection[UUID]) -> dict[UUID, Any]:
    columns = t.receipts.c
    query = select(columns.receipt_id, columns.outcome).where(
        one_of(columns.receipt_id, ids), columns.outcome != "dead"
    )
    return {row.receipt_id: row.outcome for row in conn.execute(query)}


def _load_seen(conn: Connection, keys: Collection[str]) -> dict[str, Seen]:
    columns, receipts = t.delivery_keys.c, t.receipts.c
    statement = select(columns.key, columns.receipt_id, columns.inbox, receipts.ticket_id, receipts.comment_id)
    joined = statement.join_from(t.delivery_keys, t.receipts, receipts.receipt_id == columns.receipt_id, isouter=True)
    return {
        row.key: Seen(row.receipt_id, row.inbox, row.ticket_id, row.comment_id)
        for row in conn.execute(joined.where(one_of(columns.key, keys)))
    }


def _load_evidence(conn: Connection, world: World, lookup: SqlLookup, messages: Sequence[Message]) -> None:
    """Rows that may concern any message of the batch; repeated words only within the longest window."""
    keys: set[str] = set()
    timed: dict[timedelta, set[str]] = {}
    people: set[str] = set()
    for message in messages:
        for row in evidence_of(message):
            window = _WINDOWS.get(row.role)
            (keys if window is None else timed.setdefault(window, set())).add(row.key)
        people |= participants_of(message)
    rows = load_rows(conn, keys, people)
    times = [message.received_at for message in messages]
    for window, recent in timed.items():
        at = _KEYS.at.between(min(times) - window, max(times) + window)
        rows += lookup.rows(and_(one_of(_KEYS.key, recent), at))
    world.load(rows, lookup.groups({row.ticket for row in rows}))


def _load_spoken(conn: Connection, world: World, lookup: SqlLookup, messages: Sequence[Message]) -> None:
    """What the authors of the batch said around the same time: candidates for a near-duplicate."""
    talkers = [message for message in messages if may_be_near(message) and near.weight(message.text) >= near.MIN_WEIGHT]
    if not talkers or not world.rules.near_ratio:
        return
    times = [message.received_at for message in talkers]
    first, last = min(times) - world.rules.near_window, max(times) + world.rules.near_window
    said, who = t.comments.c, t.identities.c
    columns = (said.author_kind, said.author_value, said.text, said.received_at, said.channel)
    tickets = set()
    whose = (said.author_id, said.author_value)
    ranked = (
        select(said.id, func.row_number().over(partition_by=whose, order_by=said.received_at.desc()).label("place"))
        .join_from(t.identities, t.comments, said.author_id == who.customer_id)
        .where(among((item.author.kind, item.author.value or "") for item in talkers))
        .where(said.author_value == who.value, said.author_kind == who.kind)
        .where(said.received_at.between(first, last), said.author_trust != "failed", said.automated == [])
        .subquery()
    )
    statement = (
        select(*columns, said.ticket_id, said.receipt_id)
        .join(ranked, ranked.c.id == said.id)
        .where(ranked.c.place <= near.MAX_CANDIDATES + 1)  # one more: `near.confirm` sees that it is a machine
    )
    for row in conn.execute(statement):
        identity = f"{row.author_kind}:{row.author_value}"
        world.spoken[identity].append(
            near.Candidate(identity, row.text, row.received_at, row.channel, row.ticket_id, row.receipt_id)
        )
        tickets.add(row.ticket_id)
    world.load((), lookup.groups(tickets))


def _load_cited_tickets(
    conn: Connection, world: World, lookup: SqlLookup, messages: Sequence[Message]
) -> list[evidence.Row]:
    """Tickets named by a reply token: like a message of the ticket that is cited. Kept at the first citation."""
    numbers: dict[int, Message] = {}
    for message in messages:
        for key in message.thread_keys:
            if key.kind in ("reply_token", "subject_number") and key.value.isdecimal() and len(key.value) < 19:
                numbers.setdefault(int(key.value), message)
    fresh = []
    columns = t.tickets.c
    if not numbers:
        return []
    for number, merged_into in conn.execute(select(columns.id, columns.merged_into).where(one_of(columns.id, numbers))):
        cited_key = f"{TICKET_KEY}{number}"
        if not any(True for _ in world.rows(cited_key, "own")):
            at, channel = numbers[number].received_at, numbers[number].channel
            fresh.append(evidence.Row(cited_key, "own", "", merged_into or number, at, channel))
    world.load(fresh, lookup.groups({row.ticket for row in fresh}))
    return fresh


def _load_conversations(conn: Connection, world: World, lookup: SqlLookup, abouts: Sequence[str]) -> None:
    if not abouts:
        return
    rows = lookup.rows(and_(one_of(_KEYS.key, abouts), _KEYS.role == "conversation"))
    world.load(rows, lookup.groups({row.ticket for row in rows}))


def _load_facts(conn: Connection, abouts: Sequence[str]) -> dict[str, list[Update]]:
    facts: dict[str, list[Update]] = {}
    if not abouts:
        return facts
    for row in conn.execute(select(t.update_facts).where(one_of(t.update_facts.c.about, abouts))):
        facts.setdefault(row.about, []).append(_as_update(row))
    return facts


def _as_update(row: Row[Any]) -> Update:
    return Update(
        receipt_id=row.receipt_id,
        gateway="",
        sequence=0,
        channel=row.channel,
        inbox=row.inbox,
        kind=row.kind,
        about=row.about,
        opens=row.opens,
        facts=row.facts,
        author=row.author,
        attachments=row.attachments,
        delivery_key="",
        received_at=row.received_at,
    )


def _load_told(conn: Connection, abouts: Sequence[str]) -> dict[str, int]:
    if not abouts:
        return {}
    query = select(t.folded).where(one_of(t.folded.c.about, abouts))
    return {row.about: row.comment_id for row in conn.execute(query)}


class SqlLookup:
    """`evidence.Lookup` over the database."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def rows(self, condition: Any) -> list[evidence.Row]:
        """Evidence that meets a condition."""
        statement = select(_KEYS.key, _KEYS.role, _KEYS.author, _KEYS.ticket_id, _KEYS.at, _KEYS.channel)
        return [evidence.Row(*row) for row in self._conn.execute(statement.where(condition))]

    def admitted(self, tickets: Collection[int], identities: Collection[str]) -> list[evidence.Row]:
        """See `evidence.Lookup.admitted`."""
        mine, other = t.thread_keys.alias("mine"), t.thread_keys.alias("other")
        names = ("key", "role", "author", "ticket_id", "at", "channel")
        columns = [table.c[name] for table in (mine, other) for name in names]
        statement = select(*columns).join_from(mine, other, mine.c.key == other.c.key)
        pairs = statement.where(
            one_of(mine.c.ticket_id, tickets),
            mine.c.role.in_(("own", "ref")),
            other.c.role == "ref",
            one_of(other.c.author, identities),
            not_(one_of(other.c.ticket_id, tickets)),
        )
        return [evidence.Row(*half) for row in self._conn.execute(pairs) for half in (row[:6], row[6:])]

    def held(self, tickets: Collection[int], keys: Collection[str]) -> list[evidence.Row]:
        """See `evidence.Lookup.held`."""
        return self.rows(and_(one_of(_KEYS.key, keys), one_of(_KEYS.ticket_id, tickets)))

    def citing(self, keys: Collection[str], identities: Collection[str]) -> list[evidence.Row]:
        """See `evidence.Lookup.citing`."""
        return self.rows(and_(one_of(_KEYS.key, keys), _KEYS.role == "ref", one_of(_KEYS.author, identities)))

    def groups(self, tickets: Collection[int]) -> Iterable[Group]:
        """See `evidence.Lookup.groups`."""
        columns, people, links = t.tickets.c, t.participants.c, t.ticket_links.c
        if not tickets:
            return ()
        found = {
            row.id: Group(
                row.id,
                set(),
                row.created_at,
                closed=row.status == "closed",
                settled=row.status in ("solved", "closed"),
                known={row.id},
            )
            for row in self._conn.execute(
                select(columns.id, columns.created_at, columns.status).where(one_of(columns.id, tickets))
            )
        }
        takes_part = select(people.ticket_id, people.identity).where(one_of(people.ticket_id, tickets))
        for ticket, identity in self._conn.execute(takes_part):
            found[ticket].participants.add(identity)
        either = or_(one_of(links.ticket_id, tickets), one_of(links.other_id, tickets))
        for ticket, other in self._conn.execute(
            select(links.ticket_id, links.other_id).where(links.kind == "apart", either)
        ):
            for one, two in ((ticket, other), (other, ticket)):
                if one in found:
                    found[one].apart.add(two)
        return found.values()
