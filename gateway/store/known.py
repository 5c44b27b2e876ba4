"""What the database knows about a batch before it is planned: set-based reads under the ledger lock, most at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Select, Text, bindparam, cast, func, null, select, union_all

from gateway.store import crowded
from gateway.store import tables as t
from gateway.store.asking import FollowUp, Question, ask
from gateway.store.claims import WAITING, Waiting
from gateway.store.lookup import ROWS, SqlLookup, groups_of, read_groups
from gateway.store.people import HOLDERS, Holders, holders_of
from gateway.store.stories import TOLD
from gateway.store.values import one_of
from gateway.store.writing import highest
from gateway.worker import evidence, near
from gateway.worker.clues import TICKET_KEY, Clues
from gateway.worker.evidence import Group, Rules, World
from gateway.worker.matching import ACROSS_CHANNELS_WINDOW, SUBJECT_WINDOW
from gateway.worker.plan import Item, Known, Seen
from normalizer.message import Message, Update

_BY_SUBJECT: Final = ("subject", "resubject")
_NO_TIME: Final = datetime(1970, 1, 1, tzinfo=UTC)  # of a question that is about nothing
_NUMBERED: Final = (
    t.customers,
    t.identities,
    t.tickets,
    t.ticket_links,
    t.comments,
    t.attachments,
    t.thread_keys,
    t.participants,
    t.update_facts,
    t.suspended,
    t.events,
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the database knows about a batch, who holds its authors' identities, the claims that wait for these to be
    proven, where its stories stand, and by table the next free numbers, valid under the ledger lock."""

    known: Known
    holders: Holders
    waiting: Waiting
    told: Sequence[Any]
    ids: dict[str, int]


def load_known(conn: Connection, items: Sequence[Item], clues: Sequence[Clues], rules: Rules | None = None) -> Loaded:
    """Everything that recording a batch needs to know, whose messages tell the `clues` by themselves."""
    lookup = SqlLookup(conn)
    world = World(lookup, rules)
    authors, cited = _authors(items), _cited(clues)
    spells = list(_spells(clues, world.rules))
    together = spells[0] if len(spells) == 1 else []
    wanted = _evidence_about(clues, items) | _nearly_said(together, world.rules) | _named(items, authors)
    wanted["numbers"] = cited.keys()
    answers = ask(conn, _QUESTIONS, wanted)
    told = answers[_TOLD]
    holders = Holders(conn)
    holders.learn({(row.author_kind, row.author_value) for row in told if row.author_value}, answers[_TELLERS])
    held = holders.learn(authors, answers[_HOLDERS])
    concerning = answers[_CONCERNING]
    if len(concerning) > crowded.MOST_ROWS:
        concerning = list(crowded.sift(conn, wanted["keys"], wanted["people"]))
    rows = [evidence.Row(*row) for row in (*concerning, *answers[_WORDS], *answers[_SUBJECTS])]
    spoken = answers[_SPOKEN] if together else _ask_spoken(conn, spells, world.rules)
    tickets = {row.ticket for row in rows} | _hear(world, spoken, held)
    world.load(rows, _pick(answers[_GROUPS], tickets, lookup))
    known = Known(world, clues={each.message.receipt_id: each for each in clues})
    known.cited_tickets = _load_cited_tickets(world, answers[_CITED], cited)
    known.told = {row.about: row.id for row in told}
    _remember(known, answers[_SEEN])
    _collect(known, answers[_FACTS])
    [highest_ids] = answers[_HIGHEST]
    ids = {table: number + 1 for table, number in highest_ids._asdict().items()}
    return Loaded(known, holders, Waiting(wanted["claimed"], answers[_WAITING]), told, ids)


def _evidence_about(clues: Sequence[Clues], items: Sequence[Item]) -> dict[str, Any]:
    """Rows that may concern any message or story of the batch; repeated words only within the longest window."""
    keys = {item.about for item in items if isinstance(item, Update) and item.kind != "ignored"}
    found: dict[str, Any] = {"abouts": sorted(keys), "most": crowded.MOST_ROWS + 1}
    words: set[str] = set()
    subjects: set[str] = set()
    people: set[str] = set()
    for each in clues:
        for row in each.rows:
            (words if row.role == "content" else subjects if row.role in _BY_SUBJECT else keys).add(row.key)
        people |= each.people
    times = [each.message.received_at for each in clues]
    found |= {"keys": keys, "people": people, "words": words, "subjects": subjects}
    return found | _around("words", times, ACROSS_CHANNELS_WINDOW) | _around("subjects", times, SUBJECT_WINDOW)


def _spells(clues: Sequence[Clues], rules: Rules) -> Iterator[list[near.Candidate]]:
    """What may be nearly what its author said before, each time the window long. More than one only from an archive."""
    said = [each.said for each in clues if each.said and rules.near_ratio and each.said.wording.says_enough]
    spell: list[near.Candidate] = []
    for each in sorted(said, key=lambda one: one.at):
        if spell and each.at - spell[0].at > rules.near_window:
            yield spell
            spell = []
        spell.append(each)
    if spell:
        yield spell


def _ask_spoken(conn: Connection, spells: Iterable[Sequence[near.Candidate]], rules: Rules) -> Collection[Any]:
    """Of each time by itself: only the latest words of each author are read, and between two of these times there may
    be more than that."""
    answers = (ask(conn, _SPOKEN_ALONE, _nearly_said(spell, rules))[_SPOKEN] for spell in spells)
    return {row.receipt_id: row for answer in answers for row in answer}.values()


def _nearly_said(said: Sequence[near.Candidate], rules: Rules) -> dict[str, Any]:
    """What the authors of these said around the same time: candidates for a near-duplicate."""
    talkers = {each.author.partition(":")[2] for each in said}
    return {"talkers": talkers} | _around("talkers", [each.at for each in said], rules.near_window)


def _around(name: str, times: Sequence[datetime], window: timedelta) -> dict[str, Any]:
    first, last = min(times, default=_NO_TIME), max(times, default=_NO_TIME)
    return {f"{name}_first": first - window, f"{name}_last": last + window}


def _named(items: Sequence[Item], authors: Collection[tuple[str, str]]) -> dict[str, Any]:
    return {
        "delivery_keys": [item.delivery_key for item in items],
        "receipts": [item.receipt_id for item in items],
        "identities": {value for _, value in authors},
        "claimed": _proving(items),
    }


def _authors(items: Iterable[Item]) -> set[tuple[str, str]]:
    """Everybody who may turn out to be a customer, as (kind, value)."""
    authors = (item.author for item in items if item.author is not None and item.author.identity)
    return {(author.kind, author.value or "") for author in authors}


def _proving(items: Iterable[Item]) -> set[str]:
    """The identities, as `kind:value`, that a delivery of the batch proves."""
    authors = (item.author for item in items if item.author is not None and item.author.trust == "verified")
    return {author.identity for author in authors if author.identity}


def _pick(found: Iterable[Any], tickets: set[int], lookup: SqlLookup) -> Iterator[Group]:
    """Of the tickets that were found these, and those that were not asked for, as their question was about a crowd."""
    groups = {group.ticket: group for group in read_groups(found) if group.ticket in tickets}
    yield from groups.values()
    yield from lookup.groups(tickets - groups.keys())


def _hear(world: World, spoken: Iterable[Any], held: Mapping[tuple[str, str], int]) -> set[int]:
    """Take in what customers said by identities that they hold still. The tickets where it is."""
    tickets = set()
    for row in spoken:
        if held.get((row.author_kind, row.author_value)) != row.author_id:
            continue
        identity = f"{row.author_kind}:{row.author_value}"
        wording = near.Wording(row.text)
        candidate = near.Candidate(identity, wording, row.received_at, row.channel, row.ticket_id, row.receipt_id)
        world.spoken[identity].append(candidate)
        tickets.add(row.ticket_id)
    return tickets


def _cited(clues: Sequence[Clues]) -> dict[int, Message]:
    """The tickets that a reply token names, each with the first message that does."""
    numbers: dict[int, Message] = {}
    for each in clues:
        for key in each.message.thread_keys:
            if key.kind in ("reply_token", "subject_number") and key.value.isdecimal() and len(key.value) < 19:
                numbers.setdefault(int(key.value), each.message)
    return numbers


def _load_cited_tickets(world: World, found: Iterable[Any], cited: Mapping[int, Message]) -> list[evidence.Row]:
    """Named by a reply token: like a message of the ticket that is cited. Kept at the first citation."""
    fresh = []
    for row in found:
        key, message = f"{TICKET_KEY}{row.id}", cited[row.id]
        if not any(True for _ in world.rows(key, "own")):
            fresh.append(evidence.Row(key, "own", "", row.ticket_id, message.received_at, message.channel))
    world.load(fresh, ())
    return fresh


def _remember(known: Known, seen: Iterable[Any]) -> None:
    """What was recorded under the delivery keys of the batch, and which of its receipts have an outcome."""
    for key, receipt, inbox, ticket, comment, outcome in seen:
        if key is not None:
            known.seen[key] = Seen(receipt, inbox, ticket, comment)
        elif outcome == "dead":
            known.dead.append(receipt)
        else:
            known.recorded[receipt] = outcome


def _collect(known: Known, facts: Iterable[Any]) -> None:
    """What is known of each thing that is reported in pieces."""
    for row in facts:
        known.facts.setdefault(row.about, []).append(_as_update(row))


def _as_update(row: Any) -> Update:
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


# Statements are built once: composing one costs more than the database needs to answer it.
_KEYS: Final = t.thread_keys.c


def _recent(name: str) -> Select[Any]:
    first, last = bindparam(f"{name}_first", type_=t.Instant), bindparam(f"{name}_last", type_=t.Instant)
    return ROWS.where(one_of(_KEYS.key, name), _KEYS.at.between(first, last))


def _spoken() -> Select[Any]:
    """By customer and time, as they are indexed. Joined with `identities` it is a plan that a young database gets wrong
    and keeps: all that anybody said within the window. The texts are read last, of a machine's thousands only a few."""
    said = t.comments.c
    first, last = bindparam("talkers_first", type_=t.Instant), bindparam("talkers_last", type_=t.Instant)
    customers = select(t.identities.c.customer_id).where(one_of(t.identities.c.value, "talkers"))
    whose = (said.author_id, said.author_kind, said.author_value)
    place = func.row_number().over(partition_by=whose, order_by=said.received_at.desc()).label("place")
    ranked = (
        select(said.id, place)
        .where(one_of(said.author_id, customers), said.received_at.between(first, last))
        .where(one_of(said.author_value, "talkers"), said.author_trust != "failed", said.automated == [])
        .subquery()
    )
    # One more than are compared: `near.confirm` sees that it is a machine.
    latest = select(ranked.c.id).where(ranked.c.place <= near.MAX_CANDIDATES + 1)
    wanted = (*whose, said.text, said.received_at, said.channel, said.ticket_id, said.receipt_id)
    return select(*wanted).where(one_of(said.id, latest))


_R: Final = t.receipts.c
_D: Final = t.delivery_keys.c
_NOBODY: Final = cast(null(), Text)
_RECORDED: Final = union_all(
    select(_D.key, _D.receipt_id, _D.inbox, _R.ticket_id, _R.comment_id, _NOBODY.label("outcome"))
    .join_from(t.delivery_keys, t.receipts, _R.receipt_id == _D.receipt_id, isouter=True)
    .where(one_of(_D.key, "delivery_keys")),
    select(_NOBODY, _R.receipt_id, _R.inbox, _R.ticket_id, _R.comment_id, _R.outcome).where(
        one_of(_R.receipt_id, "receipts")
    ),
)
_T: Final = t.tickets.c
_CONCERNING: Final = Question(crowded.CONCERNING, ("keys",))
_WORDS: Final = Question(_recent("words"), ("words",))
_SUBJECTS: Final = Question(_recent("subjects"), ("subjects",))
_SPOKEN: Final = Question(_spoken(), ("talkers",))
_SPOKEN_ALONE: Final = (_SPOKEN,)
_TOLD: Final = Question(TOLD, ("abouts",))
_CITED: Final = Question(
    select(_T.id, func.coalesce(_T.merged_into, _T.id).label("ticket_id")).where(one_of(_T.id, "numbers")), ("numbers",)
)
_ON_TICKETS: Final = (_CONCERNING, _WORDS, _SUBJECTS, _SPOKEN, _CITED)
_HOLDERS: Final = Question(HOLDERS, ("identities",))
_TELLERS: Final = FollowUp(holders_of, ((_TOLD, "author_value"),))
_SEEN: Final = Question(_RECORDED)
_FACTS: Final = Question(select(t.update_facts).where(one_of(t.update_facts.c.about, "abouts")), ("abouts",))
_WAITING: Final = Question(WAITING, ("claimed",))
_GROUPS: Final = FollowUp(groups_of, tuple((each, "ticket_id") for each in _ON_TICKETS), most=crowded.MOST_ROWS)
_HIGHEST: Final = Question(highest(_NUMBERED))
_QUESTIONS: Final = (
    *_ON_TICKETS, _HOLDERS, _SEEN, _FACTS, _TOLD, _TELLERS, _WAITING, _GROUPS, _HIGHEST,
)  # fmt: skip
