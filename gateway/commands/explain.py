"""`frontdesk explain RECEIPT`: the whole story of one delivery, in sentences or as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from uuid import UUID

from gateway.commands.desk import finish, opened
from gateway.commands.failures import NOT_SO, OK, USAGE, CommandError
from gateway.commands.output import one_line, print_json, print_line
from gateway.store.explanations import explain
from gateway.store.paging import Row
from gateway.web.console import explaining

_OUTCOMES: Final = {
    "ticketed": "It opened ticket #{ticket}.",
    "appended": "It became a comment on ticket #{ticket}.",
    "duplicate": "It was delivered before; nothing new was added.",
    "updated": "It told more about an earlier message.",
    "suspended": "It is held for a person.",
    "dead": "It could not be recorded and is kept as a dead letter.",
    "ignored": "It is kept as a receipt; nothing in it belongs on a ticket.",
}
_FIRST_WORDS: Final = 120  # characters


def explain_receipt(receipt_id: str, *, as_json: bool) -> int:
    """Say what arrived, what became of it, by which rule and evidence, and what was corrected since."""
    try:
        wanted = UUID(receipt_id)
    except ValueError:
        raise CommandError(f"{receipt_id!r} is not a receipt id; it looks like a UUID", USAGE) from None
    return finish(_explain(wanted, as_json=as_json))


async def _explain(receipt_id: UUID, *, as_json: bool) -> int:
    async with opened(store_only=True) as runtime:
        told = await runtime.store.read(explain, receipt_id)
    if told is None:
        raise CommandError(f"nothing is recorded under receipt {receipt_id} yet; it may still be in the queue", NOT_SO)
    if as_json:
        print_json(told)
        return OK
    for name, text in _lines(told):
        print_line(f"{name:<12} {one_line(text)}")
    return OK


def _lines(told: Row) -> Iterator[tuple[str, Any]]:
    receipt, comment = told["receipt"], told["comment"]
    yield "receipt", receipt["receipt_id"]
    yield "arrived", f"{one_line(receipt['received_at'])} by {receipt['channel']} at {receipt['inbox']}"
    if receipt["external_id"]:
        yield "its id", receipt["external_id"]
    if comment is not None:
        yield from _what_it_says(comment)
    yield "outcome", f"{receipt['outcome']}. {_outcome(told)}"
    if told["cause"] or receipt["reason"]:
        yield "because", told["cause"] or receipt["reason"].replace("_", " ")
    if (first := told["first"]) is not None:
        yield "first", f"receipt {first['receipt_id']}, {first['outcome']}, {one_line(first['received_at'])}"
    if comment is not None:
        yield from _why(told, comment)


def _outcome(told: Row) -> str:
    """With the ticket it went to then: the one it is on now stands below, if people moved it."""
    moves = [row for row in told["corrections"] if row["detail"].get("on")]
    ticket = moves[0]["detail"]["on"] if moves and moves[0]["kind"] != "merged" else told["receipt"]["ticket_id"]
    return _OUTCOMES.get(told["receipt"]["outcome"], "").format(ticket=ticket)


def _what_it_says(comment: Row) -> Iterator[tuple[str, Any]]:
    who = comment["author_name"] or comment["author_value"] or explaining.unknown(comment["channel"])
    address = f" <{comment['author_value']}>" if comment["author_name"] and comment["author_value"] else ""
    proof = comment["author_evidence"] or "nothing proves this address"
    yield "from", f"{who}{address}, {comment['author_trust']}: {proof}"
    if comment["subject"]:
        yield "subject", comment["subject"]
    words = one_line(comment["text"])
    yield "says", words if len(words) <= _FIRST_WORDS else f"{words[:_FIRST_WORDS]}…"


def _why(told: Row, comment: Row) -> Iterator[tuple[str, Any]]:
    explanation = comment["explanation"]
    yield "rule", f"{comment['matched_by']}. {explaining.why(comment['matched_by'], explanation)}"
    if explanation.get("evidence"):
        yield "evidence", explanation["evidence"]
    if label := explaining.verdict_label(comment["verdict"]):
        yield "verdict", f"{comment['verdict']}: {label}"
    for other in explaining.refused(explanation):
        yield "not on", f"#{other['ticket_id'] or '?'}, {other['sentence']}"
    for row in told["corrections"]:
        yield "corrected", f"{explaining.corrected(row)}, {one_line(row['at'])} (event {row['id']})"
    if (ticket := told["ticket"]) is not None:
        yield "is on now", f"#{ticket['id']} {ticket['subject']} ({ticket['status']})"
