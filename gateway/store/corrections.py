"""People correct which ticket a comment is on: split, move, merge, relate. Each is one transaction under the ledger
lock, one event, and can be undone (`undoing.py`).

What was split or moved apart is kept apart (`ticket_links.kind = "apart"`): the evidence that once joined the two
tickets is still true, and matching must not act on it again. A merge by a person lifts that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, delete, func, or_, select, tuple_, update

from gateway.store import tables as t
from gateway.store.journal import Done, Hand, as_json, by_hand, invalid, missing
from gateway.store.moving import (
    ASLEEP,
    FIELDS,
    Contents,
    Take,
    keys_without_comment,
    move_comments,
    move_keys,
    named_after,
    read_contents,
    read_fields,
    rename,
    settle,
)
from gateway.store.paging import MAX_ID, Row
from gateway.store.rows import headline
from gateway.store.values import one_of
from gateway.store.writing import insert_all

MOST_MERGED: Final = 50  # tickets in one merge
MACHINE: Final = "frontdesk"  # the actor of what proof or evidence decides
_LONGEST_NOTE: Final = 10_000  # characters of a note kept on an event
_SHOWN: Final = 100  # comment numbers named in an event

Link = tuple[int, int, str, str]  # ticket, other, kind, reason


def split(conn: Connection, ticket_id: int, comment_id: int, *, following: bool, actor: str, now: datetime) -> Done:
    """Put a comment, with all later ones if `following`, on a new ticket of its own. Raises `CorrectionError`."""
    hand = by_hand(conn, actor, now)
    before = _live(conn, [ticket_id], closed=True)
    moved = _chosen(before, ticket_id, comment_id, following=following)
    if len(moved) == len(before.of(ticket_id)):
        raise invalid("comment_id", f"nothing would stay on ticket #{ticket_id}: it holds no other comment")
    number = hand.take(t.tickets)
    _open_ticket(hand, number, before.tickets[ticket_id], moved, before.unanswered)
    changes = _transfer(hand, before, moved, ticket_id, number) | {"created": [number]}
    return _kept(hand, "split", before, changes, ticket_id, number)


def move(conn: Connection, ticket_id: int, comment_id: int, target_id: int, *, actor: str, now: datetime) -> Done:
    """Put a comment on another ticket. Raises `CorrectionError`."""
    hand = by_hand(conn, actor, now)
    if target_id == ticket_id:
        raise invalid("ticket_id", f"the comment is on ticket #{ticket_id} already")
    _live(conn, [target_id])
    before = _live(conn, [ticket_id, target_id], closed=True)
    moved = _chosen(before, ticket_id, comment_id, following=False)
    if len(before.of(ticket_id)) == 1:
        sentence = f"it is the only comment of ticket #{ticket_id}: merge the ticket into #{target_id} instead"
        raise invalid("comment_id", sentence)
    changes = _transfer(hand, before, moved, ticket_id, target_id)
    return _kept(hand, "moved", before, changes, ticket_id, target_id)


def merge(
    conn: Connection,
    target_id: int,
    source_ids: Sequence[int],
    *,
    actor: str,
    now: datetime,
    notes: Mapping[str, str] | None = None,
) -> Done:
    """Make tickets part of another; their numbers lead there from now on. Raises `CorrectionError`.

    `notes` are the person's words about it (`target_comment`, `source_comment`); they stay on the event.
    """
    hand = by_hand(conn, actor, now)
    sources = list(dict.fromkeys(source_ids))
    if not sources or len(sources) > MOST_MERGED:
        raise invalid("ids", f"ids names 1 to {MOST_MERGED} tickets; these are {len(sources)}")
    if target_id in sources:
        raise invalid("ids", f"ticket #{target_id} cannot be merged into itself")
    before = _live(conn, [target_id, *sources])
    changes = _absorb(hand, before, target_id, sources)
    said = {name: text[:_LONGEST_NOTE] for name, text in (notes or {}).items() if text}
    return _kept(hand, "merged", before, changes, target_id, target_id, said)


def merge_by_evidence(conn: Connection, found: Sequence[tuple[int, int, str, str]], take: Take, now: datetime) -> None:
    """Tickets that turned out to be one while recording: (absorbed, survivor, rule, evidence). A person can undo it.

    Each is an event of its own. Only when one message ties more than a few, they are one event for each survivor: every
    event reads all that is on its survivor. Call it under the ledger lock; `take` gives the numbers of new rows.
    """
    hand = Hand(conn, MACHINE, now, take)
    of: dict[int, list[tuple[int, str, str]]] = {}
    for absorbed, survivor, rule, evidence in found:
        of.setdefault(survivor, []).append((absorbed, rule, evidence))
    for survivor, steps in of.items():
        for together in [steps] if len(steps) > _SEVERAL else [[step] for step in steps]:
            sources = [absorbed for absorbed, _, _ in together]
            before = read_contents(conn, [survivor, *sources])
            changes = _absorb(hand, before, survivor, sources)
            _, rule, evidence = together[0]
            said = {"because": _BECAUSE.get(rule, "their messages cite each other"), "rule": rule, "evidence": evidence}
            _kept(hand, "merged", before, changes, survivor, survivor, said)


_SEVERAL: Final = 5
_BECAUSE: Final = {
    "near": "the same person said nearly the same in both",
    "repeat": "the same person said the same in both",
    "case": "this inbox keeps one open case a person",
    "subject": "the same person wrote under the same subject in both",
    "conversation": "both are one conversation at the provider",
    "thread_index": "both are one Outlook thread",
    "sibling": "the same people answer the same mail in both",
}


def relate(conn: Connection, ticket_id: int, other_id: int, *, actor: str, now: datetime, reason: str = "") -> Done:
    """Link two tickets as related. Raises `CorrectionError`."""
    hand = by_hand(conn, actor, now)
    if ticket_id == other_id:
        raise invalid("ticket_id", "a ticket is not related to itself")
    _live(conn, [ticket_id, other_id], closed=True)
    links = t.ticket_links.c
    ends = tuple_(links.ticket_id, links.other_id).in_([(ticket_id, other_id), (other_id, ticket_id)])
    if conn.scalar(select(links.id).where(ends, links.kind == "related").limit(1)) is not None:
        raise invalid("ticket_id", f"tickets #{ticket_id} and #{other_id} are related already")
    said = reason.strip()[:500] or f"said by {actor}"
    changes = {"links_added": add_links(hand, [(ticket_id, other_id, "related", said)])}
    subject = f"link:{min(ticket_id, other_id)}:{max(ticket_id, other_id)}"
    event = hand.keep("related", ticket_id, {"ticket_id": other_id}, changes, [subject])
    return Done(event, "related", ticket_id)


def add_links(hand: Hand, wanted: Iterable[Link]) -> list[list[Any]]:
    """Links that are not there yet; answers those, as `[ticket, other, kind]`."""
    links = t.ticket_links.c
    asked: dict[tuple[int, int, str], str] = {}
    for ticket, other, kind, reason in wanted:
        asked.setdefault((ticket, other, kind), reason)
    ends = one_of(links.ticket_id, [link[0] for link in asked]) & one_of(links.other_id, [link[1] for link in asked])
    known = set(map(tuple, hand.conn.execute(select(links.ticket_id, links.other_id, links.kind).where(ends))))
    new = [link for link in asked if link not in known]
    rows = [
        {"id": hand.take(t.ticket_links), "ticket_id": ticket, "other_id": other, "kind": kind}
        | {"reason": asked[ticket, other, kind], "created_at": hand.now}
        for ticket, other, kind in new
    ]
    insert_all(hand.conn, t.ticket_links, rows)
    return [list(link) for link in new]


# --- the parts -------------------------------------------------------------------------------------------------------


def _live(conn: Connection, ids: Sequence[int], *, closed: bool = False) -> Contents:
    """These tickets. Raises `CorrectionError` for one that is not there, was merged, or (unless allowed) is closed."""
    found = read_contents(conn, [ident for ident in ids if 0 < ident <= MAX_ID])
    for ident in ids:
        ticket = found.tickets.get(ident)
        if ticket is None:
            raise missing(f"there is no ticket #{ident}")
        if ticket["merged_into"] is not None:
            raise invalid("ticket_id", f"ticket #{ident} was merged into #{ticket['merged_into']}")
        if ticket["status"] == "closed" and not closed:
            raise invalid("status", f"ticket #{ident} is closed and takes no more comments; relate it instead")
    return found


def _chosen(contents: Contents, ticket: int, comment: int, *, following: bool) -> list[Row]:
    held = contents.of(ticket)
    first = next((row for row in held if row["id"] == comment), None)
    if first is None:
        raise missing(f"there is no comment {comment} on ticket #{ticket}")
    if not following:
        return [first]
    begins = (first["received_at"], first["id"])
    return [row for row in held if (row["received_at"], row["id"]) >= begins]


def _open_ticket(hand: Hand, number: int, source: Row, moved: Sequence[Row], unanswered: set[int]) -> None:
    first_id = min(row["id"] for row in moved)
    first = dict(hand.conn.execute(select(t.comments).where(t.comments.c.id == first_id)).mappings().one())
    status = source["status"]
    if status == "closed" or (status in ASLEEP and any(row["id"] in unanswered for row in moved)):
        status = "open"
    row = {"id": number, "status": status, "created_at": hand.now, "updated_at": hand.now, "comment_count": 0}
    blank = {"merged_into": None, "customer_waits_since": None}
    insert_all(hand.conn, t.tickets, [row | blank | named_after(first, headline)])


def _transfer(hand: Hand, before: Contents, moved: Sequence[Row], source: int, target: int) -> Row:
    """The common part of split and move. Returns what takes it back."""
    conn = hand.conn
    going = {row["id"] for row in moved}
    opener = before.of(source)[0]["id"]
    whose = before.tickets[source]["requester_id"]
    # Its requester may have come with a ticket that was merged into it, and have written nothing of what stays.
    left = not any(row["author_id"] == whose for row in before.of(source) if row["id"] not in going)
    move_comments(conn, moved, source, target)
    settle(conn, {*before.tickets, target}, before.extras, before.unanswered, hand.take, hand.now)
    if opener in going or left:
        rename(conn, source, headline)
    extras = {str(ident): sorted(people) for ident, people in before.extras.items()}
    return {
        "moves": [{"comments": [row["id"] for row in moved], "from": source, "to": target, "extras": extras}],
        "last_comment": _last_comment(conn),
        "links_added": add_links(hand, [(target, source, "apart", f"set apart by {hand.actor}")]),
    }


def _absorb(hand: Hand, before: Contents, target: int, sources: Sequence[int]) -> Row:
    """Everything of some tickets moves to another, and they lead there. Returns what takes it back."""
    conn, moves = hand.conn, []
    for source in sources:
        held, keys = before.of(source), keys_without_comment(conn, source)
        move_comments(conn, held, source, target)
        move_keys(conn, keys, target)
        extras = {str(source): sorted(before.extras[source])}
        step = {"comments": [row["id"] for row in held], "keys": keys, "from": source, "to": target}
        moves.append(step | {"extras": extras})
    everybody = set().union(*(before.extras[ident] for ident in before.tickets))
    settle(conn, before.tickets, {target: everybody}, before.unanswered, hand.take, hand.now)
    redirected = _redirect(hand, sources, target)
    removed = take_links(conn, sources)
    links = [*led_links(removed, target, sources), *((source, target, "merged", "") for source in sources)]
    return {
        "moves": moves,
        "last_comment": _last_comment(conn),
        "redirected": redirected,
        "links_removed": [as_json(row) for row in removed],
        "links_added": add_links(hand, links),
    }


def _redirect(hand: Hand, sources: Sequence[int], target: int) -> dict[str, int]:
    """Their numbers, and those that led to them, lead to the target; answers where the latter led before."""
    tickets = t.tickets.c
    leading = one_of(tickets.merged_into, sources)
    led = hand.conn.execute(select(tickets.id, tickets.merged_into).where(leading)).all()
    if led:
        hand.conn.execute(update(t.tickets).where(leading).values(merged_into=target))
    gone = {"merged_into": target, "status": "closed", "customer_waits_since": None, "updated_at": hand.now}
    hand.conn.execute(update(t.tickets).where(one_of(tickets.id, sources)).values(gone))
    return {str(row.id): row.merged_into for row in led}


def take_links(conn: Connection, tickets: Sequence[int]) -> list[Row]:
    """Remove every link from or to these tickets; answers the links."""
    links = t.ticket_links.c
    touching = or_(one_of(links.ticket_id, tickets), one_of(links.other_id, tickets))
    old = [dict(row) for row in conn.execute(select(t.ticket_links).where(touching)).mappings()]
    if old:
        conn.execute(delete(t.ticket_links).where(one_of(links.id, [row["id"] for row in old])))
    return old


def led_links(old: Iterable[Row], target: int, sources: Sequence[int]) -> list[Link]:
    """Links of tickets that lead to a target now, as its own; what lay between them is gone, "apart" included."""
    moved: list[Link] = [
        (
            target if row["ticket_id"] in sources else row["ticket_id"],
            target if row["other_id"] in sources else row["other_id"],
            row["kind"],
            row["reason"],
        )
        for row in old
    ]
    return [link for link in moved if link[0] != link[1]]


def _kept(
    hand: Hand,
    kind: str,
    before: Contents,
    changes: Row,
    ticket: int,
    target: int,
    said: Mapping[str, str] | None = None,
) -> Done:
    """Write down what was done, with the tickets as they were and as they are."""
    involved = {*before.tickets, *changes.get("created", ())}
    after = read_fields(hand.conn, involved)
    changes["before"] = {str(ident): as_json(_fields(row)) for ident, row in before.tickets.items()}
    changes["after"] = {str(ident): as_json(_fields(row)) for ident, row in after.items()}
    moved = [comment for step in changes["moves"] for comment in step["comments"]]
    others = [step["from"] if kind == "merged" else step["to"] for step in changes["moves"]]
    detail = {"ticket_id": others[0], "ticket_ids": others, "comment_ids": moved[:_SHOWN], "comments": len(moved)}
    subjects = [*(f"ticket:{ident}" for ident in sorted(involved)), *(f"comment:{ident}" for ident in moved)]
    event = hand.keep(kind, ticket, {**detail, **(said or {})}, changes, subjects)
    return Done(event, kind, target)


def _fields(row: Row) -> Row:
    return {name: row[name] for name in FIELDS}


def _last_comment(conn: Connection) -> int:
    """Comments with a higher number came after the correction."""
    return conn.scalar(select(func.max(t.comments.c.id))) or 0
