"""Taking a correction back: to exactly what was before, and what has arrived since goes where it belongs then.

A comment that came after the correction follows the comment it answers. A ticket number that a split gave out is never
given out again: undone, it leads to the ticket it was split from, as the number of a merged ticket does.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, select, update

from gateway.store import tables as t
from gateway.store.corrections import MACHINE, add_links, led_links, take_links
from gateway.store.joining import customer_survivor, part
from gateway.store.journal import Done, Hand, by_hand, conflict, from_json, get_correction
from gateway.store.moving import ASLEEP, Contents, move_comments, move_keys, read_contents, settle
from gateway.store.paging import Row
from gateway.store.writing import insert_new
from gateway.worker.clues import TICKET_KEY


def undo(conn: Connection, event_id: int, *, actor: str, now: datetime) -> Done:
    """Take a correction back. Raises `CorrectionError`: missing, no correction, undone before, or built upon since."""
    hand = by_hand(conn, actor, now)
    correction = get_correction(conn, event_id)
    customer = None
    if correction["kind"] == "joined":
        customer = part(hand, correction["changes"])
    else:
        _undo_on_tickets(hand, correction)
    ticket: int | None = conn.scalar(select(t.events.c.ticket_id).where(t.events.c.id == event_id))
    return Done(hand.close(correction, ticket), "undone", ticket, customer)


def _undo_on_tickets(hand: Hand, correction: Row) -> None:
    changes = correction["changes"]
    moves = changes.get("moves", ())
    if moves:
        _take_back(hand, changes)
    _drop_links(hand.conn, changes.get("links_added", ()))
    insert_new(hand.conn, t.ticket_links, [from_json(row) for row in changes.get("links_removed", ())])
    for step in moves:
        if step["to"] in changes.get("created", ()):  # what was linked with the split-off ticket meanwhile
            add_links(hand, led_links(take_links(hand.conn, [step["to"]]), step["from"], [step["to"]]))
    if correction["kind"] == "merged" and correction["actor"] == MACHINE:
        # The evidence that merged them is still true, and only a person's word keeps it from merging them again.
        add_links(hand, [(move["from"], move["to"], "apart", "the merge was undone by a person") for move in moves])


def _take_back(hand: Hand, changes: Row) -> None:
    conn, now = hand.conn, hand.now
    before = {int(ident): from_json(row) for ident, row in changes["before"].items()}
    after = {int(ident): from_json(row) for ident, row in changes["after"].items()}
    current = read_contents(conn, after)
    _refuse_if_gone(current, after, changes["moves"])
    created = set(changes.get("created", ()))
    extras: dict[int, set[str]] = {}
    for step in reversed(changes["moves"]):
        held = current.of(step["to"])
        names = _names(changes, step["from"])
        back = held if step["to"] in created else _with_followers(conn, held, step, names, changes["last_comment"])
        move_comments(conn, back, step["to"], step["from"])
        move_keys(conn, {*step.get("keys", ()), *_naming(conn, step["to"], names)}, step["from"])
        for ident, people in step["extras"].items():
            extras.setdefault(int(ident), set()).update(people)
        if step["to"] in created:
            move_keys(conn, _keys_naming(conn, step["to"]), step["from"])
    newcomers = any(
        len(current.of(ident)) != row["comment_count"] for ident, row in after.items() if row["merged_into"] is None
    )
    settle(conn, after, extras, current.unanswered, hand.take, now)
    for ident, row in before.items():
        _restore(conn, row, after[ident], current.tickets[ident], current, ident, exactly=not newcomers, now=now)
    for step in changes["moves"]:
        if step["to"] in created:
            _lead_to(conn, step["to"], step["from"], now)
    for ident, was in changes.get("redirected", {}).items():
        conn.execute(update(t.tickets).where(t.tickets.c.id == int(ident)).values(merged_into=was))


def _refuse_if_gone(current: Contents, after: dict[int, Row], moves: Sequence[Row]) -> None:
    """Has recording moved anything on since?"""
    for ident, row in after.items():
        led = current.tickets[ident]["merged_into"]
        if led != row["merged_into"] and led is not None:
            raise conflict(f"ticket #{ident} has been merged into #{led} since; split or move the comments there")
        if led != row["merged_into"]:
            raise conflict(f"ticket #{ident} is a ticket of its own again")
    where = {row["id"]: row["ticket_id"] for row in current.comments}
    for step in moves:
        astray = [ident for ident in step["comments"] if where.get(ident) != step["to"]]
        if astray:
            raise conflict(f"comment {astray[0]} has left ticket #{step['to']} since")


def _names(changes: Row, ticket: int) -> set[str]:
    """What a reply token says of a ticket: its number, and those that led to it."""
    led = (number for number, was in changes.get("redirected", {}).items() if was == ticket)
    return {f"{TICKET_KEY}{number}" for number in (ticket, *led)}


def _naming(conn: Connection, ticket: int, names: set[str]) -> list[int]:
    """Evidence on a ticket that is of no comment and says one of these: first cited while they led there."""
    columns = t.thread_keys.c
    query = select(columns.id).where(columns.key.in_(names), columns.role == "own")
    return list(conn.scalars(query.where(columns.ticket_id == ticket, columns.comment_id.is_(None))))


def _with_followers(conn: Connection, held: Sequence[Row], step: Row, names: set[str], last: int) -> list[Row]:
    """The moved comments, and those that came later and are there because of them, or by the name of their ticket."""
    going = set(step["comments"])
    keys = _keys_of(conn, going) | names
    keys |= {str(row["receipt_id"]) for row in held if row["id"] in going}  # what says nearly the same names it so
    for row in held:  # by number: an answer has a higher one than what it answers, if it came after the correction
        evidence = (row["explanation"] or {}).get("evidence")
        if row["id"] > last and evidence and evidence in keys:
            going.add(row["id"])
            keys |= _keys_of(conn, {row["id"]}) | {str(row["receipt_id"])}
    return [row for row in held if row["id"] in going]


def _keys_of(conn: Connection, comments: set[int]) -> set[str]:
    columns = t.thread_keys.c
    tickets = select(t.comments.c.ticket_id).where(t.comments.c.id.in_(sorted(comments)))
    query = select(columns.key).where(columns.ticket_id.in_(tickets), columns.comment_id.in_(sorted(comments)))
    return set(conn.scalars(query))


def _keys_naming(conn: Connection, ticket: int) -> list[int]:
    columns = t.thread_keys.c
    return list(conn.scalars(select(columns.id).where(columns.ticket_id == ticket)))


def _restore(
    conn: Connection,
    before: Row,
    after: Row,
    now_row: Row,
    current: Contents,
    ident: int,
    *,
    exactly: bool,
    now: datetime,
) -> None:
    """Put back each field that nothing has changed since. Counts and waiting were just computed anew: when nothing
    arrived meanwhile they are put back too, because what a person had answered is not to be seen in the comments."""
    computed = ("comment_count", "customer_waits_since")
    values: dict[str, Any] = {
        name: before[name] for name in before if name not in computed and now_row[name] == after[name]
    }
    if values.get("requester_id") is not None:
        values["requester_id"] = customer_survivor(conn, values["requester_id"])
    if exactly and all(now_row[name] == after[name] for name in computed):
        values |= {name: before[name] for name in computed}
    elif values.get("status") in ASLEEP and any(row["id"] in current.unanswered for row in _held(conn, ident)):
        values["status"] = "open"
    conn.execute(update(t.tickets).where(t.tickets.c.id == ident).values(**values, updated_at=now))


def _held(conn: Connection, ticket: int) -> list[Row]:
    return read_contents(conn, [ticket]).comments


def _lead_to(conn: Connection, number: int, target: int, now: datetime) -> None:
    values = {
        "merged_into": target,
        "status": "closed",
        "comment_count": 0,
        "customer_waits_since": None,
        "updated_at": now,
    }
    conn.execute(update(t.tickets).where(t.tickets.c.id == number).values(values))
    conn.execute(update(t.tickets).where(t.tickets.c.merged_into == number).values(merged_into=target))


def _drop_links(conn: Connection, added: Sequence[Sequence[Any]]) -> None:
    links = t.ticket_links.c
    for ticket, other, kind in added:
        same = (links.ticket_id == ticket) & (links.other_id == other) & (links.kind == kind)
        conn.execute(delete(t.ticket_links).where(same))
