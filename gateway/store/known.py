"""What the database knows about a batch before it is planned: a handful of set-based reads under the ledger lock."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Row, Select, Text, bindparam, cast, func, not_, null, or_, select, union_all

from gateway.store import tables as t
from gateway.store.crowded import load_rows
from gateway.store.moving import ASLEEP
from gateway.store.people import Holders
from gateway.store.values import one_of
from gateway.worker import evidence, near
from gateway.worker.clues import TICKET_KEY, Clues
from gateway.worker.evidence import Group, Rules, World
from gateway.worker.matching import ACROSS_CHANNELS_WINDOW, SUBJECT_WINDOW
from gateway.worker.plan import Item, Known, Seen
from normalizer.message import Message, Update

# Statements are built once: composing one costs more than the database needs to answer it.
_KEYS: Final = t.thread_keys.c
_ROWS: Final = select(_KEYS.key, _KEYS.role, _KEYS.author, _KEYS.ticket_id, _KEYS.at, _KEYS.channel)
_BY_SUBJECT: Final = ("subject", "resubject")


def _recent(name: str) -> Select[Any]:
    first, last = bindparam(f"{name}_first", type_=t.Instant), bindparam(f"{name}_last", type_=t.Instant)
    return _ROWS.where(one_of(_KEYS.key, f"{name}_keys"), _KEYS.at.between(first, last))


_RECENT: Final = union_all(_recent("words"), _recent("subject"))


def load_known(
    conn: Connection,
    items: Sequence[Item],
    clues: Sequence[Clues],
    rules: Rules | None = None,
    holders: Holders | None = None,
) -> Known:
    """Everything `make_plan` needs to know about the batch, whose messages tell the `clues` by themselves."""
    holders = holders or Holders(conn)
    lookup = SqlLookup(conn)
    world = World(lookup, rules)
    abouts = sorted({item.about for item in items if isinstance(item, Update) and item.kind != "ignored"})
    rows = _load_evidence(conn, clues, abouts)
    holders.look_up(_authors(items))
    spoken = _load_spoken(conn, world, clues, holders)
    world.load(rows, lookup.groups({row.ticket for row in rows} | spoken))
    cited = _load_cited_tickets(conn, world, lookup, [each.message for each in clues])
    seen, receipts = _load_seen(conn, items)
    facts, told = _load_facts(conn, abouts)
    return Known(
        world=world,
        clues={each.message.receipt_id: each for each in clues},
        cited_tickets=cited,
        recorded={receipt: outcome for receipt, outcome in receipts.items() if outcome != "dead"},
        dead=[receipt for receipt, outcome in receipts.items() if outcome == "dead"],
        seen=seen,
        facts=facts,
        told=told,
    )


def _load_seen(conn: Connection, items: Sequence[Item]) -> tuple[dict[str, Seen], dict[UUID, Any]]:
    """By delivery key what was recorded under it, and of these receipts the outcomes."""
    seen: dict[str, Seen] = {}
    outcomes: dict[UUID, Any] = {}
    wanted = {"keys": [item.delivery_key for item in items], "ids": [item.receipt_id for item in items]}
    for key, receipt, inbox, ticket, comment, outcome in conn.execute(_SEEN, wanted):
        if key is None:
            outcomes[receipt] = outcome
        else:
            seen[key] = Seen(receipt, inbox, ticket, comment)
    return seen, outcomes


_R: Final = t.receipts.c
_D: Final = t.delivery_keys.c
_NOBODY: Final = cast(null(), Text)
_SEEN: Final = union_all(
    select(_D.key, _D.receipt_id, _D.inbox, _R.ticket_id, _R.comment_id, _NOBODY.label("outcome"))
    .join_from(t.delivery_keys, t.receipts, _R.receipt_id == _D.receipt_id, isouter=True)
    .where(one_of(_D.key, "keys")),
    select(_NOBODY, _R.receipt_id, _R.inbox, _R.ticket_id, _R.comment_id, _R.outcome).where(
        one_of(_R.receipt_id, "ids")
    ),
)


def _load_evidence(conn: Connection, clues: Sequence[Clues], abouts: Sequence[str]) -> list[evidence.Row]:
    """Rows that may concern any message or story of the batch; repeated words only within the longest window."""
    keys = set(abouts)
    words: set[str] = set()
    subjects: set[str] = set()
    people: set[str] = set()
    for each in clues:
        for row in each.rows:
            (words if row.role == "content" else subjects if row.role in _BY_SUBJECT else keys).add(row.key)
        people |= each.people
    rows = load_rows(conn, keys, people)
    if words or subjects:
        times = [each.message.received_at for each in clues]
        wanted = _around(times, "words", words, ACROSS_CHANNELS_WINDOW)
        wanted |= _around(times, "subject", subjects, SUBJECT_WINDOW)
        rows += _rows(conn, _RECENT, wanted)
    return rows


def _around(times: Sequence[datetime], name: str, keys: Collection[str], window: timedelta) -> dict[str, Any]:
    return {f"{name}_keys": keys, f"{name}_first": min(times) - window, f"{name}_last": max(times) + window}


def _authors(items: Iterable[Item]) -> set[tuple[str, str]]:
    """Everybody who may turn out to be a customer, as (kind, value)."""
    authors = (item.author for item in items if item.author is not None and item.author.identity)
    return {(author.kind, author.value or "") for author in authors}


def _load_spoken(conn: Connection, world: World, clues: Sequence[Clues], holders: Holders) -> set[int]:
    """What the authors of the batch said around the same time: candidates for a near-duplicate. Their tickets."""
    talkers = [each.message for each in clues if each.said and each.said.wording.says_enough]
    held = holders.look_up(authors := _authors(talkers))
    customers = {held[author] for author in authors if author in held}
    if not customers or not world.rules.near_ratio:
        return set()
    times = [message.received_at for message in talkers]
    window = {"first": min(times) - world.rules.near_window, "last": max(times) + world.rules.near_window}
    values = {value for _, value in authors}
    tickets = set()
    for row in conn.execute(_SPOKEN, {"customers": customers, "values": values} | window):
        if held.get((row.author_kind, row.author_value)) != row.author_id:
            continue
        identity = f"{row.author_kind}:{row.author_value}"
        world.spoken[identity].append(
            near.Candidate(
                identity, near.Wording(row.text), row.received_at, row.channel, row.ticket_id, row.receipt_id
            )
        )
        tickets.add(row.ticket_id)
    return tickets


def _spoken() -> Select[Any]:
    """By customer and time, as they are indexed. Joined with `identities` it is a plan that a young database gets wrong
    and keeps: all that anybody said within the window. The texts are read last, of a machine's thousands only a few."""
    said = t.comments.c
    first, last = bindparam("first", type_=t.Instant), bindparam("last", type_=t.Instant)
    whose = (said.author_id, said.author_kind, said.author_value)
    place = func.row_number().over(partition_by=whose, order_by=said.received_at.desc()).label("place")
    ranked = (
        select(said.id, place)
        .where(one_of(said.author_id, "customers"), said.received_at.between(first, last))
        .where(one_of(said.author_value, "values"), said.author_trust != "failed", said.automated == [])
        .subquery()
    )
    # One more than are compared: `near.confirm` sees that it is a machine.
    latest = select(ranked.c.id).where(ranked.c.place <= near.MAX_CANDIDATES + 1)
    wanted = (*whose, said.text, said.received_at, said.channel, said.ticket_id, said.receipt_id)
    return select(*wanted).where(one_of(said.id, latest))


_SPOKEN: Final = _spoken()


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
    if not numbers:
        return []
    for number, merged_into in conn.execute(_CITED, {"numbers": numbers}):
        cited_key = f"{TICKET_KEY}{number}"
        if not any(True for _ in world.rows(cited_key, "own")):
            at, channel = numbers[number].received_at, numbers[number].channel
            fresh.append(evidence.Row(cited_key, "own", "", merged_into or number, at, channel))
    world.load(fresh, lookup.groups({row.ticket for row in fresh}))
    return fresh


_T: Final = t.tickets.c
_CITED: Final = select(_T.id, _T.merged_into).where(one_of(_T.id, "numbers"))


def _load_facts(conn: Connection, abouts: Sequence[str]) -> tuple[dict[str, list[Update]], dict[str, int]]:
    """What is known of each, and the comments that tell it."""
    facts: dict[str, list[Update]] = {}
    told: dict[str, int] = {}
    for row in conn.execute(_FACTS, {"abouts": abouts}) if abouts else ():
        facts.setdefault(row.about, []).append(_as_update(row))
        if row.comment_id is not None:
            told[row.about] = row.comment_id
    return facts, told


_F: Final = t.update_facts.c
_TOLD: Final = select(t.folded.c.comment_id).where(t.folded.c.about == _F.about).scalar_subquery()
_FACTS: Final = select(t.update_facts, _TOLD.label("comment_id")).where(one_of(_F.about, "abouts"))


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


def _rows(conn: Connection, statement: Any, values: dict[str, Any]) -> list[evidence.Row]:
    return [evidence.Row(*row) for row in conn.execute(statement, values)]


class SqlLookup:
    """`evidence.Lookup` over the database."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def admitted(self, tickets: Collection[int], identities: Collection[str]) -> list[evidence.Row]:
        """See `evidence.Lookup.admitted`."""
        pairs = self._conn.execute(_ADMITTED, {"tickets": tickets, "identities": identities})
        return [evidence.Row(*half) for row in pairs for half in (row[:6], row[6:])]

    def held(self, tickets: Collection[int], keys: Collection[str]) -> list[evidence.Row]:
        """See `evidence.Lookup.held`."""
        return _rows(self._conn, _HELD, {"keys": keys, "tickets": tickets}) if keys else []

    def citing(self, keys: Collection[str], identities: Collection[str]) -> list[evidence.Row]:
        """See `evidence.Lookup.citing`."""
        return _rows(self._conn, _CITING, {"keys": keys, "identities": identities}) if keys else []

    def groups(self, tickets: Collection[int]) -> Iterable[Group]:
        """See `evidence.Lookup.groups`."""
        if not tickets:
            return ()
        found: dict[int, Group] = {}
        parts: list[tuple[int, int | None, str | None]] = []
        for number, other, identity, created_at, status in self._conn.execute(_GROUPS, {"tickets": tickets}):
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
    columns = [table.c[name] for table in (mine, other) for name in names]
    return (
        select(*columns)
        .join_from(mine, other, mine.c.key == other.c.key)
        .where(one_of(mine.c.ticket_id, "tickets"), mine.c.role.in_(("own", "ref")), other.c.role == "ref")
        .where(one_of(other.c.author, "identities"), not_(one_of(other.c.ticket_id, "tickets")))
    )


_ADMITTED: Final = _admitted()
_HELD: Final = _ROWS.where(one_of(_KEYS.key, "keys"), one_of(_KEYS.ticket_id, "tickets"))
_CITING: Final = _ROWS.where(one_of(_KEYS.key, "keys"), _KEYS.role == "ref", one_of(_KEYS.author, "identities"))

_P: Final = t.participants.c
_L: Final = t.ticket_links.c
_NEVER: Final = cast(null(), t.Instant)
# A ticket, who takes part in it, and what it is kept apart from, in one answer: `status` tells tickets from the rest.
_GROUPS: Final = union_all(
    select(_T.id, cast(null(), t.Id).label("other"), _NOBODY.label("identity"), _T.created_at, _T.status).where(
        one_of(_T.id, "tickets")
    ),
    select(_P.ticket_id, cast(null(), t.Id), _P.identity, _NEVER, _NOBODY).where(one_of(_P.ticket_id, "tickets")),
    select(_L.ticket_id, _L.other_id, _NOBODY, _NEVER, _NOBODY).where(
        _L.kind == "apart", or_(one_of(_L.ticket_id, "tickets"), one_of(_L.other_id, "tickets"))
    ),
)
