"""Split, move, merge, relate: what they do, what later replies do, and that undoing gives back exactly what was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, event, select
from sqlalchemy.pool import StaticPool

from gateway.store import tables as t
from gateway.store.corrections import merge, move, relate, split
from gateway.store.engine import Store
from gateway.store.journal import CorrectionError, Done, corrections_of
from gateway.store.record import record
from gateway.store.undoing import undo
from normalizer.message import Attachment, Hit, Message, ThreadKey
from tests.corrections.conftest import NOW, image, on, ticket_row
from tests.worker.conversations import LONG, START, conversations, mail

LATER = NOW + timedelta(hours=1)
BY: dict[str, Any] = {"actor": "ann", "now": LATER}

# Two tickets: 1 holds a, b, c of alice (and bob in Cc of b), 2 holds x and y of carol, 3 only z of carol.
DESK = [
    mail("a@x", "alice", text="first"),
    mail("b@x", "alice", refs=["a@x"], cc=["bob"], text="second", minute=20),
    mail("c@x", "alice", refs=["b@x"], text="third", minute=40),
    mail("x@x", "carol", text="hello", minute=1),
    mail("y@x", "carol", refs=["x@x"], text="again", minute=41),
    mail("z@x", "carol", text="another matter", minute=50),
]


def fill(conn: Connection) -> None:
    file = Attachment(size=1, sha256="0" * 64, content=b"!", filename="note.txt")
    for message in DESK:
        files = (file,) if message.external_id == "b@x" else ()
        record(conn, [message.model_copy(update={"attachments": files})], NOW)
    record(conn, [mail("b@x", "alice", refs=["a@x"], cc=["bob"], text="second", minute=21)], NOW)  # a duplicate of b


CORRECTIONS: dict[str, tuple[Callable[[Connection], Done], dict[int, list[str]]]] = {
    "split and what follows": (
        lambda conn: split(conn, 1, 2, following=True, **BY),
        {1: ["a@x"], 4: ["b@x", "c@x"], 2: ["x@x", "y@x"]},
    ),
    "split one": (lambda conn: split(conn, 1, 2, following=False, **BY), {1: ["a@x", "c@x"], 4: ["b@x"]}),
    "split the first": (lambda conn: split(conn, 1, 1, following=False, **BY), {1: ["b@x", "c@x"], 4: ["a@x"]}),
    "move": (lambda conn: move(conn, 1, 3, 2, **BY), {1: ["a@x", "b@x"], 2: ["c@x", "x@x", "y@x"]}),
    "move the first": (lambda conn: move(conn, 2, 4, 3, **BY), {2: ["y@x"], 3: ["x@x", "z@x"]}),
    "merge": (lambda conn: merge(conn, 1, [2], **BY), {1: ["a@x", "b@x", "c@x", "x@x", "y@x"], 2: []}),
    "merge two": (
        lambda conn: merge(conn, 3, [2, 1], **BY),
        {3: ["a@x", "b@x", "c@x", "x@x", "y@x", "z@x"], 1: [], 2: []},
    ),
    "relate": (lambda conn: relate(conn, 1, 2, **BY), {1: ["a@x", "b@x", "c@x"], 2: ["x@x", "y@x"]}),
}


@pytest.mark.parametrize("name", CORRECTIONS)
async def test_a_correction_does_what_it_says_and_undoing_gives_back_exactly_what_was(store: Store, name: str) -> None:
    correct, expected = CORRECTIONS[name]
    await store.write(fill)
    before = await store.read(image)
    done = await store.write(correct)
    for ticket, ids in expected.items():
        assert await store.read(on, ticket) == ids
    assert await store.read(image) != before
    undone = await store.write(undo, done.event_id, actor="bert", now=LATER)
    assert await store.read(image) == before
    with pytest.raises(CorrectionError, match="was undone by bert on 2026-08-01") as caught:
        await store.write(undo, done.event_id, actor="cleo", now=LATER)
    assert caught.value.kind == "conflict"
    with pytest.raises(CorrectionError, match="is no correction"):
        await store.write(undo, undone.event_id, actor="cleo", now=LATER)


@pytest.mark.parametrize("name", ["split and what follows", "move", "merge two"])
async def test_counts_people_and_waiting_are_those_of_the_comments(store: Store, name: str) -> None:
    await store.write(fill)
    await store.write(CORRECTIONS[name][0])

    def check(conn: Connection) -> None:
        for ticket in conn.execute(select(t.tickets)):
            said = list(conn.execute(select(t.comments).where(t.comments.c.ticket_id == ticket.id)))
            assert ticket.comment_count == len(said)
            assert ticket.customer_waits_since == min((row.received_at for row in said), default=None)
            people = set(conn.scalars(select(t.participants.c.identity).where(t.participants.c.ticket_id == ticket.id)))
            assert {f"email:{row.author_value}" for row in said} <= people
            assert ("email:bob@example.test" in people) == any(row.external_id == "b@x" for row in said)
        where: dict[Any, int] = dict(conn.execute(select(t.comments.c.id, t.comments.c.ticket_id)).all())
        for row in conn.execute(select(t.receipts)):
            assert row.ticket_id == where[row.comment_id], row
        for row in conn.execute(select(t.thread_keys).where(t.thread_keys.c.comment_id.is_not(None))):
            assert row.ticket_id == where[row.comment_id], row

    await store.read(check)


async def test_a_new_ticket_is_named_after_its_first_comment_and_so_is_the_one_that_lost_it(store: Store) -> None:
    def run(conn: Connection) -> tuple[Any, Any]:
        merge(conn, 1, [2], **BY)  # alice's ticket now holds carol's words, wrongly
        split(conn, 1, 1, following=False, **BY)
        return ticket_row(conn, 1), ticket_row(conn, 4)

    await store.write(fill)
    kept, new = await store.write(run)
    assert (kept.subject, new.subject) == ("about b@x", "about a@x")
    assert (new.channel, new.inbox, new.requester_id) == ("email", "support", kept.requester_id)


REPLIES = {
    "to what was split off": (
        "split and what follows",
        mail("r@x", "alice", refs=["c@x", "b@x", "a@x"], text="a reply", minute=90),
        4,
    ),
    "to what stayed": ("split and what follows", mail("r@x", "alice", refs=["a@x"], text="a reply", minute=90), 1),
    "to what was moved": ("move", mail("r@x", "alice", refs=["c@x"], text="a reply", minute=90), 2),
    "to a merged ticket's message": ("merge", mail("r@x", "carol", refs=["y@x"], text="a reply", minute=90), 1),
    "by a participant who left with it": ("split one", mail("r@x", "bob", refs=["b@x"], text="mine", minute=90), 4),
    "by a participant no longer on it": ("split one", mail("r@x", "bob", refs=["a@x"], text="mine", minute=90), 5),
}


@pytest.mark.parametrize("name", REPLIES)
async def test_later_replies_follow_the_correction(store: Store, name: str) -> None:
    correction, reply, ticket = REPLIES[name]
    await store.write(fill)
    await store.write(CORRECTIONS[correction][0])
    [result] = await store.write(record, [reply], LATER)
    assert result.ticket_id == ticket
    assert "r@x" in await store.read(on, ticket)
    again = await store.write(record, [mail("b@x", "alice", refs=["a@x"], cc=["bob"], text="second", minute=22)], LATER)
    kept = await store.read(lambda conn: conn.scalar(select(t.comments.c.ticket_id).where(t.comments.c.id == 2)))
    assert [(one.outcome, one.ticket_id) for one in again] == [("duplicate", kept)]


def chat(number: int) -> Message:
    """The next words of one chat: nothing in them but the conversation says where they belong."""
    said = mail(f"chat{number}", "zoe", text=f"words {number}", minute=number, channel="chat", inbox="website")
    return said.model_copy(update={"thread_keys": (ThreadKey(kind="conversation", value="chat:website:s1"),)})


@pytest.mark.parametrize(("following", "ticket"), [(True, 2), (False, 1)])
async def test_a_conversation_goes_on_where_its_newest_message_is(store: Store, following: bool, ticket: int) -> None:
    def run(conn: Connection) -> int | None:
        record(conn, [chat(number) for number in range(4)], NOW)
        split(conn, 1, 2, following=following, **BY)
        return record(conn, [chat(30)], LATER)[0].ticket_id

    assert await store.write(run) == ticket


GOING_BACK = {
    "split and what follows": (mail("r@x", "alice", refs=["c@x"], text="a reply", minute=90), 1),
    "split one": (mail("r@x", "bob", refs=["b@x"], text="a reply", minute=90), 1),
    "move": (mail("r@x", "alice", refs=["c@x"], text="a reply", minute=90), 1),
    "merge": (mail("r@x", "carol", refs=["y@x"], text="a reply", minute=90), 2),
    "merge two": (mail("r@x", "carol", refs=["z@x"], text="a reply", minute=90), 3),
}


@pytest.mark.parametrize("name", GOING_BACK)
async def test_what_came_since_goes_back_with_what_it_answers(store: Store, name: str) -> None:
    reply, ticket = GOING_BACK[name]

    def run(conn: Connection) -> tuple[int, Any]:
        fill(conn)
        done = CORRECTIONS[name][0](conn)
        record(conn, [reply], LATER)
        undo(conn, done.event_id, **BY)
        at = conn.scalar(select(t.comments.c.ticket_id).where(t.comments.c.external_id == "r@x"))
        return at or 0, ticket_row(conn, ticket)

    at, row = await store.write(run)
    assert at == ticket
    assert row.comment_count == len(await store.read(on, ticket))
    assert row.customer_waits_since is not None


@pytest.mark.parametrize("way", ["split", "move"])
async def test_a_ticket_is_not_left_to_somebody_who_wrote_nothing_of_it(store: Store, way: str) -> None:
    """Alice's older ticket was merged into Mallory's, and what Mallory wrote leaves it again."""

    def run(conn: Connection) -> dict[str, set[Any]]:
        record(conn, [mail("a@x", "alice"), mail("m@x", "mallory"), mail("b@x", "bob")], NOW)
        merge(conn, 2, [1], **BY)
        before = image(conn)
        done = split(conn, 2, 2, following=False, **BY) if way == "split" else move(conn, 2, 2, 3, **BY)
        row = ticket_row(conn, 2)
        assert (row.subject, row.requester_id) == ("about a@x", 1)
        undo(conn, done.event_id, **BY)
        assert image(conn) == before
        return before

    assert await store.write(run)


ANSWERS = {
    "by the token of the ticket": mail("r@x", "bob", token=2, text="an answer", minute=9),
    "by the token of one that led to it": mail("r@x", "bob", token=3, text="an answer", minute=9),
    "a bounce": mail("r@x", "postmaster", token=2, machine="bounce", text="an answer", minute=9),
    "nearly the same words": mail("r@x", "bob", text=f"{LONG} Thanks!", minute=9),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_what_somebody_answered_while_two_tickets_were_merged_by_mistake_is_theirs(
    store: Store, name: str
) -> None:
    def run(conn: Connection) -> list[int]:
        record(conn, [mail("a@x", "alice"), mail("b@x", "bob", text=LONG), mail("c@x", "bob")], NOW)
        merge(conn, 2, [3], **BY)
        done = merge(conn, 1, [2], **BY)
        record(conn, [ANSWERS[name]], LATER)
        undo(conn, done.event_id, **BY)
        record(conn, [mail("s@x", "bob", token=2, text="more", minute=30)], LATER)
        return list(conn.scalars(select(t.comments.c.ticket_id).order_by(t.comments.c.id)))

    assert await store.write(run) == [1, 2, 2, 2, 2]
    people = await store.read(lambda conn: conn.scalars(select(t.participants.c.identity).filter_by(ticket_id=1)).all())
    assert people == ["email:alice@example.test"]


@pytest.mark.parametrize("name", ["split", "merge", "merged by evidence"])
async def test_a_notice_admits_nobody_whatever_is_corrected(store: Store, name: str) -> None:
    """Whoever was sent a mail of ours knows its token; what answers by itself with it brings nobody in."""

    def run(conn: Connection) -> int | None:
        record(conn, [mail("a@x", "alice"), mail("b@x", "alice", refs=["a@x"]), mail("c@x", "alice")], NOW)
        record(conn, [mail("v@x", "mallory", cc=["eve"], token=1, machine="vacation")], NOW)
        if name == "split":
            split(conn, 1, 2, following=False, **BY)
        elif name == "merge":
            merge(conn, 1, [2], **BY)
        else:
            record(conn, [mail("d@x", "alice", refs=["a@x", "c@x"])], LATER)
        return record(conn, [mail("x@x", "mallory", refs=["a@x"])], LATER)[0].ticket_id

    assert await store.write(run) != 1
    people = await store.read(lambda conn: conn.scalars(select(t.participants.c.identity).filter_by(ticket_id=1)).all())
    assert people == ["email:alice@example.test"]


async def test_the_number_of_an_undone_split_leads_to_where_it_came_from(store: Store) -> None:
    await store.write(fill)
    done = await store.write(CORRECTIONS["split one"][0])
    await store.write(undo, done.event_id, actor="ann", now=LATER)
    row = await store.read(ticket_row, 4)
    assert (row.merged_into, row.status, row.comment_count) == (1, "closed", 0)
    again = await store.write(CORRECTIONS["split one"][0])
    assert again.ticket_id == 5, "a number that was given out is not given out again"


async def test_what_was_linked_with_a_split_off_ticket_is_linked_with_where_it_came_from(store: Store) -> None:
    """A link to a number that only leads on would be shown by neither of the two tickets."""

    def run(conn: Connection) -> set[tuple[int, int, str]]:
        fill(conn)
        done = split(conn, 1, 2, following=True, **BY)
        relate(conn, 3, done.ticket_id, **BY)
        undo(conn, done.event_id, **BY)
        return {(row.ticket_id, row.other_id, row.kind) for row in conn.execute(select(t.ticket_links))}

    assert await store.write(run) == {(3, 1, "related")}


async def test_corrections_of_one_ticket_are_undone_last_to_first(store: Store) -> None:
    def run(conn: Connection) -> tuple[dict[str, Any], dict[str, Any]]:
        fill(conn)
        before = image(conn)
        first = split(conn, 1, 2, following=True, **BY)
        second = merge(conn, 2, [4], actor="bert", now=LATER)
        with pytest.raises(
            CorrectionError, match=rf"event {second.event_id} \(merged, by bert\) came after it"
        ) as caught:
            undo(conn, first.event_id, **BY)
        assert caught.value.kind == "conflict"
        undo(conn, second.event_id, **BY)
        undo(conn, first.event_id, **BY)
        return before, image(conn)

    before, after = await store.write(run)
    assert after == before


async def test_corrections_of_different_tickets_do_not_wait_for_each_other(store: Store) -> None:
    def run(conn: Connection) -> None:
        fill(conn)
        first = split(conn, 1, 2, following=True, **BY)
        relate(conn, 1, 3, **BY)
        move(conn, 2, 5, 3, **BY)
        undo(conn, first.event_id, **BY)

    await store.write(run)


async def test_what_recording_merged_since_cannot_be_undone_and_says_so(store: Store) -> None:
    def run(conn: Connection) -> None:
        fill(conn)
        done = move(conn, 1, 3, 2, **BY)
        bridge = mail("w@x", "carol", refs=["z@x", "y@x"], text="both at once", minute=95)
        record(conn, [bridge], LATER)
        assert ticket_row(conn, 3).merged_into == 2
        split(conn, 2, 3, following=False, actor="bert", now=LATER)
        with pytest.raises(CorrectionError, match="undo that one first"):
            undo(conn, done.event_id, **BY)

    await store.write(run)


async def test_the_note_of_a_merge_and_who_made_it_are_kept(store: Store) -> None:
    def run(conn: Connection) -> Any:
        fill(conn)
        merge(conn, 1, [2], notes={"target_comment": "same parcel", "source_comment": ""}, **BY)
        return corrections_of(conn, ["comment:4", "ticket:2", "comment:1"])

    found = await store.write(run)
    assert set(found) == {"comment:4", "ticket:2"}
    [row] = found["comment:4"]
    assert (row["kind"], row["actor"], row["undone_at"]) == ("merged", "ann", None)
    assert row["detail"]["target_comment"] == "same parcel"
    assert "source_comment" not in row["detail"]


async def test_waiting_is_known_apart_for_each_ticket(store: Store) -> None:
    """Alice's first two mails were answered, her third was not; a robot's words never make anybody wait."""

    def run(conn: Connection) -> list[Any]:
        fill(conn)
        robot = mail("v@x", "alice", refs=["c@x"], text="I am away", minute=60)
        record(conn, [robot.model_copy(update={"automated": (Hit(name="vacation"),)})], NOW)
        since = START + timedelta(minutes=40)
        conn.execute(t.tickets.update().where(t.tickets.c.id == 1).values(customer_waits_since=since, status="solved"))
        split(conn, 1, 3, following=True, **BY)
        return [(row.status, row.customer_waits_since) for row in (ticket_row(conn, 1), ticket_row(conn, 4))]

    kept, new = await store.write(run)
    assert kept == ("solved", None)
    assert new == ("open", START + timedelta(minutes=40))


async def test_an_unanswered_comment_wakes_the_ticket_it_comes_to(store: Store) -> None:
    def run(conn: Connection) -> tuple[str, str]:
        fill(conn)
        conn.execute(t.tickets.update().where(t.tickets.c.id == 2).values(customer_waits_since=None, status="solved"))
        done = move(conn, 1, 3, 2, **BY)
        awake = ticket_row(conn, 2).status
        undo(conn, done.event_id, **BY)
        return awake, ticket_row(conn, 2).status

    assert await store.write(run) == ("open", "solved")


REFUSED: dict[str, tuple[Callable[[Connection], Done], str, str]] = {
    "no such ticket": (lambda c: split(c, 99, 1, following=True, **BY), "missing", "no ticket #99"),
    "ticket of no size": (lambda c: split(c, 2**70, 1, following=True, **BY), "missing", "no ticket"),
    "comment elsewhere": (lambda c: split(c, 1, 4, following=True, **BY), "missing", "no comment 4 on ticket #1"),
    "nothing left": (lambda c: split(c, 1, 1, following=True, **BY), "invalid", "nothing would stay"),
    "only comment": (lambda c: move(c, 3, 6, 1, **BY), "invalid", "merge the ticket into #1 instead"),
    "to where it is": (lambda c: move(c, 1, 1, 1, **BY), "invalid", "already"),
    "to nowhere": (lambda c: move(c, 1, 1, 98, **BY), "missing", "no ticket #98"),
    "into itself": (lambda c: merge(c, 1, [2, 1], **BY), "invalid", "into itself"),
    "nothing to merge": (lambda c: merge(c, 1, [], **BY), "invalid", "1 to 50"),
    "too much to merge": (lambda c: merge(c, 1, list(range(2, 60)), **BY), "invalid", "1 to 50"),
    "to itself": (lambda c: relate(c, 1, 1, **BY), "invalid", "itself"),
    "no such event": (lambda c: undo(c, 999, **BY), "missing", "no event 999"),
    "event of no size": (lambda c: undo(c, -(2**80), **BY), "missing", "no event"),
    "no correction": (lambda c: undo(c, 1, **BY), "invalid", "is no correction"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_makes_no_sense_is_refused_and_changes_nothing(store: Store, name: str) -> None:
    attempt, kind, sentence = REFUSED[name]
    await store.write(fill)
    before = await store.read(image)
    with pytest.raises(CorrectionError, match=sentence) as caught:
        await store.write(attempt)
    assert caught.value.kind == kind
    assert await store.read(image) == before


async def test_closed_and_merged_tickets_take_nothing_but_may_be_corrected(store: Store) -> None:
    def run(conn: Connection) -> None:
        fill(conn)
        conn.execute(t.tickets.update().where(t.tickets.c.id == 1).values(status="closed"))
        with pytest.raises(CorrectionError, match="#1 is closed"):
            move(conn, 2, 5, 1, **BY)
        with pytest.raises(CorrectionError, match="#1 is closed"):
            merge(conn, 2, [1], **BY)
        assert split(conn, 1, 2, following=True, **BY).ticket_id == 4
        assert (ticket_row(conn, 1).status, ticket_row(conn, 4).status) == ("closed", "open")
        merge(conn, 2, [3], **BY)
        with pytest.raises(CorrectionError, match="#3 was merged into #2"):
            relate(conn, 1, 3, **BY)

    await store.write(run)


async def test_a_merge_by_a_person_lifts_what_was_kept_apart(store: Store) -> None:
    def run(conn: Connection) -> list[int]:
        fill(conn)
        split(conn, 1, 2, following=True, **BY)
        merge(conn, 1, [4], **BY)
        [result] = record(conn, [mail("r@x", "alice", refs=["c@x", "a@x"], text="both", minute=90)], LATER)
        return [result.ticket_id or 0, len(on(conn, 1))]

    assert await store.write(run) == [1, 4]


@pytest.fixture
def conn() -> Iterator[Connection]:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    event.listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA foreign_keys=ON"))
    t.metadata.create_all(engine)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@given(conversations(), st.lists(st.tuples(st.integers(0, 5), st.integers(0, 99), st.integers(0, 99)), max_size=6))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_corrections_undone_in_reverse_leave_no_trace(
    conn: Connection, messages: list[Message], wishes: list[tuple[int, int, int]]
) -> None:
    for table in reversed(t.metadata.sorted_tables):
        conn.execute(table.delete())
    for message in messages:
        record(conn, [message], NOW)
    images, events = [image(conn)], []
    for kind, one, other in wishes:
        if (done := _try(conn, kind, one, other)) is not None:
            images.append(image(conn))
            events.append(done.event_id)
            _check_sums(conn)
    for number, event_id in reversed(list(enumerate(events))):
        undo(conn, event_id, **BY)
        assert image(conn) == images[number]


def _try(conn: Connection, kind: int, one: int, other: int) -> Done | None:
    tickets = list(
        conn.scalars(select(t.tickets.c.id).where(t.tickets.c.merged_into.is_(None)).order_by(t.tickets.c.id))
    )
    ticket, second = tickets[one % len(tickets)], tickets[other % len(tickets)]
    columns = t.comments.c
    said = list(conn.scalars(select(columns.id).where(columns.ticket_id == ticket).order_by(columns.id)))
    comment = said[other % len(said)]
    try:
        if kind <= 1:
            return split(conn, ticket, comment, following=kind == 0, **BY)
        if kind == 2:
            return move(conn, ticket, comment, second, **BY)
        if kind == 3:
            return relate(conn, ticket, second, **BY)
        return merge(conn, ticket, [second], **BY)
    except CorrectionError:
        return None


def _check_sums(conn: Connection) -> None:
    for row in conn.execute(select(t.tickets)):
        assert row.comment_count == len(on(conn, row.id))
        assert (row.comment_count == 0) == (row.merged_into is not None)


# --- what recording merged by itself ---------------------------------------------------------------------------------

TWO = [mail("a@x", "alice", text="one matter"), mail("b@x", "alice", cc=["bob"], text="another matter", minute=1)]
BRIDGE = mail("c@x", "alice", refs=["a@x", "b@x"], text="both", minute=30)


async def test_an_automatic_merge_is_an_event_with_evidence_and_can_be_undone(store: Store) -> None:
    for message in TWO:
        await store.write(record, [message], NOW)
    before = await store.read(image)
    await store.write(record, [BRIDGE], NOW)
    assert await store.read(on, 1) == ["a@x", "b@x", "c@x"]
    merged = await store.read(lambda conn: conn.execute(select(t.events).where(t.events.c.kind == "merged")).one())
    assert (merged.ticket_id, merged.detail["actor"], merged.detail["ticket_id"]) == (1, "frontdesk", 2)
    assert (merged.detail["rule"], merged.detail["evidence"]) == ("references", "mid:b@x")
    await store.write(undo, merged.id, **BY)
    assert await store.read(on, 1) == ["a@x", "c@x"], "what merged them stays with what it answered first"
    assert await store.read(on, 2) == ["b@x"]
    after = await store.read(image)
    assert {row for row in after["tickets"] if row[0] == 2} == {row for row in before["tickets"] if row[0] == 2}
    assert ("apart", "the merge was undone by a person") in {row[2:] for row in after["links"]}


LATER_MAIL = [
    mail("d@x", "alice", refs=["a@x", "b@x"], text="cites both", minute=50),
    mail("e@x", "bob", refs=["b@x"], cc=["alice"], text="cites one", minute=51),
    mail("f@x", "alice", refs=["c@x", "b@x"], text="cites the one that merged them", minute=52),
    mail("g@x", "bob", refs=["e@x", "d@x"], text="cites across", minute=53),
]


@given(st.permutations(LATER_MAIL), st.integers(1, 4))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_evidence_merges_them_never_again(conn: Connection, later: list[Message], size: int) -> None:
    for table in reversed(t.metadata.sorted_tables):
        conn.execute(table.delete())
    for message in (*TWO, BRIDGE):
        record(conn, [message], NOW)
    event_id = conn.scalar(select(t.events.c.id).where(t.events.c.kind == "merged"))
    assert event_id is not None
    undo(conn, event_id, **BY)
    for start in range(0, len(later), size):
        record(conn, later[start : start + size], LATER)
    where: dict[str, int] = dict(conn.execute(select(t.comments.c.external_id, t.comments.c.ticket_id)).all())
    assert where["a@x"] != where["b@x"]
    assert set(where.values()) == {where["a@x"], where["b@x"]}
    assert where["e@x"] == where["b@x"]
    _check_sums(conn)


async def test_nearly_the_same_words_are_set_apart_by_a_split_and_stay_so(store: Store) -> None:
    """An edited resend is joined, a person says it is another matter: the next ones join one of the two, never both."""
    await store.write(record, [mail("a@x", "alice", text=LONG)], NOW)
    [second] = await store.write(record, [mail("b@x", "alice", text=f"{LONG} Thanks!", minute=5)], NOW)
    assert second.ticket_id == 1
    done = await store.write(split, 1, 2, following=False, **BY)
    third = mail("c@x", "alice", text=f"{LONG} Thank you!", minute=9)
    await store.write(record, [third], LATER)
    one, other = await store.read(on, 1), await store.read(on, 2)
    assert (one[0], other[0], len(one) + len(other)) == ("a@x", "b@x", 3)
    await store.write(undo, done.event_id, **BY)
    assert await store.read(on, 1) == ["a@x", "b@x", "c@x"]


async def test_an_id_that_ties_many_tickets_merges_them_at_once(store: Store) -> None:
    for number in range(12):
        await store.write(record, [mail("same@x", f"writer{number}", cc=["alice"], text=f"{number}")], NOW)
    await store.write(record, [mail("r@x", "alice", refs=["same@x"], text="to all of you")], NOW)
    assert len(await store.read(on, 1)) == 13
    merged = await store.read(lambda conn: conn.execute(select(t.events).where(t.events.c.kind == "merged")).all())
    assert [len(row.detail["ticket_ids"]) for row in merged] == [11]
    await store.write(undo, merged[0].id, **BY)
    held = [await store.read(on, number) for number in range(1, 13)]
    assert [ids[0] for ids in held] == ["same@x"] * 12
    assert sum(ids.count("r@x") for ids in held) == 1
