"""A call's comment is told anew while other things happen to its ticket, in one batch: the same on both databases."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import Connection, select

from gateway.store import tables as t
from gateway.store.engine import Store
from gateway.store.record import record
from gateway.worker.plan import Item
from normalizer.message import Author, Message
from tests.worker.conversations import mail
from tests.worker.test_record import NOW, update_of

CALLER = "+4930901820"
RECORDING = {"sid": "RE1", "status": "completed", "duration": 16}
STARTED = update_of("CA1", "call.started", caller=CALLER)
MISSED = update_of("CA1", "call.ended", opens=True, status="no-answer", duration=9)
RECORDED = update_of("CA1", "call.recording_ready", opens=True, recording=RECORDING)
SPOKEN = update_of("CA1", "call.transcribed", transcription={"sid": "TR1", "status": "completed", "text": "Hello"})


def written(name: str, *, refs: Sequence[str] = (), token: int = 0) -> Message:
    """By whoever called."""
    message = mail(name, "caller", refs=refs, token=token, channel="sms", minute=1)
    return message.model_copy(update={"author": Author(kind="phone", value=CALLER, trust="unverified")})


def tickets(conn: Connection) -> list[tuple[str, int]]:
    """Subject and comments of those that stand by themselves."""
    rows = conn.execute(select(t.tickets).where(t.tickets.c.merged_into.is_(None)).order_by(t.tickets.c.id))
    return [(row.subject, row.comment_count) for row in rows]


async def run(store: Store, *batches: Sequence[Item]) -> list[list[tuple[str, int]]]:
    """The tickets after each batch."""

    def one(conn: Connection, items: Sequence[Item]) -> list[tuple[str, int]]:
        record(conn, items, NOW)
        return tickets(conn)

    return [await store.write(one, items) for items in batches]


async def test_a_ticket_grows_while_its_first_comment_is_told_anew(store: Store) -> None:
    before, after = await run(store, [STARTED, MISSED], [RECORDED, written("a@x", token=1)])
    assert before == [(f"Missed call from {CALLER}", 1)]
    assert after == [(f"Voicemail from {CALLER}", 2)]
    [call, _] = await store.read(lambda conn: conn.execute(select(t.comments).order_by(t.comments.c.id)).all())
    assert (call.subject, call.author_value, call.text) == (
        after[0][0],
        CALLER,
        "Voicemail, 16 s (transcription not available)",
    )


async def test_who_called_is_said_last(store: Store) -> None:
    """The requester is met in the statement that gives them the ticket."""
    nobody, somebody = await run(store, [MISSED], [STARTED])
    assert (nobody, somebody) == ([("Missed call from an unknown number", 1)], [(f"Missed call from {CALLER}", 1)])
    [holder] = await store.read(lambda conn: conn.execute(select(t.identities)).all())
    ticket, comment = await store.read(
        lambda conn: [conn.execute(select(each)).one() for each in (t.tickets, t.comments)]
    )
    assert ticket.requester_id == comment.author_id == holder.customer_id
    assert (holder.kind, holder.value) == ("phone", CALLER)


@pytest.mark.parametrize("later", [False, True])
async def test_a_ticket_is_merged_while_its_comment_is_told_anew(store: Store, *, later: bool) -> None:
    """The ticket is called after its first comment: of both, not of what was one of them when the batch began."""
    call, letter = [[STARTED, MISSED]], [[written("a@x")]]
    apart = letter + call if later else call + letter
    token = 2 if later else 1
    *_, before, after = await run(store, *apart, [RECORDED, written("b@x", refs=["a@x"], token=token)])
    assert len(before) == 2
    assert after == [("about a@x" if later else f"Voicemail from {CALLER}", 3)]
    ticket_of = await store.read(lambda conn: set(conn.scalars(select(t.comments.c.ticket_id))))
    outcomes = await store.read(lambda conn: set(conn.scalars(select(t.receipts.c.ticket_id))))
    assert ticket_of == {1} >= outcomes - {None, 2}


async def test_files_of_a_story_are_replaced(store: Store) -> None:
    files = select(t.attachments.c.filename, t.attachments.c.comment_id)
    for batch in ([STARTED, RECORDED], [SPOKEN]):
        await run(store, batch)
        assert await store.read(lambda conn: [tuple(row) for row in conn.execute(files)]) == [("voicemail-RE1.wav", 1)]
