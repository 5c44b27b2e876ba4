"""The transaction, on both databases: every delivery one outcome, the same tickets in any order, any batches."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, event, func, select
from sqlalchemy.pool import StaticPool

from gateway.ids import uuid7
from gateway.store import tables as t
from gateway.store.ledger import record_dead
from gateway.store.overdue import overdue_stories
from gateway.store.record import Recorded, record
from gateway.store.rows import headline
from gateway.worker.evidence import Rules
from gateway.worker.plan import Item
from normalizer.message import Hit, Message, Original, ThreadKey, UpdateDraft, stamp
from tests.worker.conversations import LONG, START, answered, conversations, expected_partition, mail

NOW = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def conn() -> Iterable[Connection]:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    event.listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA foreign_keys=ON"))
    t.metadata.create_all(engine)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def run(conn: Connection, *batches: Sequence[Item]) -> dict[UUID, Recorded]:
    return {result.receipt_id: result for batch in batches for result in record(conn, batch, NOW)}


def partition(conn: Connection) -> set[frozenset[UUID]]:
    groups: dict[int, set[UUID]] = defaultdict(set)
    for ticket, receipt in conn.execute(select(t.comments.c.ticket_id, t.comments.c.receipt_id)):
        groups[ticket].add(receipt)
    return {frozenset(group) for group in groups.values()}


def clear(conn: Connection) -> None:
    for table in reversed(t.metadata.sorted_tables):
        conn.execute(table.delete())


def update_of(call: str, event_name: str, *, opens: bool = False, **facts: object) -> Item:
    draft = UpdateDraft(
        kind="call",
        about=f"call:{call}",
        opens=opens,
        facts={"event": event_name, "direction": "inbound", **facts},
        delivery_key=f"{call}/{event_name}",
    )
    return stamp(
        draft,
        receipt_id=uuid7(),
        gateway="test",
        sequence=1,
        channel="phone",
        inbox="phone",
        join="participants",
        received_at=START,
    )


@given(conversations(), st.integers(0, 2**32), st.integers(1, 5))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_any_batches_any_repetition(conn: Connection, messages: list[Message], seed: int, size: int) -> None:
    clear(conn)
    rng = random.Random(seed)
    deliveries = messages + rng.choices(messages, k=3)
    rng.shuffle(deliveries)
    run(conn, *(deliveries[start : start + size] for start in range(0, len(deliveries), size)))
    assert partition(conn) == expected_partition(messages)
    assert conn.scalar(select(func.count()).select_from(t.receipts)) == len(messages)
    comments, tickets = t.comments.c, t.tickets.c
    counted = {
        row[0]: row[1] for row in conn.execute(select(comments.ticket_id, func.count()).group_by(comments.ticket_id))
    }
    kept = {
        row[0]: row[1]
        for row in conn.execute(select(tickets.id, tickets.comment_count).where(tickets.merged_into.is_(None)))
    }
    assert kept == counted


@given(answered(), st.integers(0, 2**32), st.integers(1, 5))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_machines_and_tokens_in_any_order(
    conn: Connection, desk: tuple[list[Message], list[Message]], seed: int, size: int
) -> None:
    opening, later = desk
    clear(conn)
    for message in opening:
        record(conn, [message], NOW)
    shuffled = later + later[:1]
    random.Random(seed).shuffle(shuffled)
    run(conn, *(shuffled[start : start + size] for start in range(0, len(shuffled), size)))
    assert partition(conn) == expected_partition(later, opening)


def test_a_receipt_ends_once_however_often_it_is_delivered(conn: Connection) -> None:
    message = mail("a@x", "alice")
    assert [result.outcome for result in record(conn, [message, message], NOW)] == ["ticketed"]
    assert record(conn, [message], NOW) == []


def test_the_same_delivery_again_is_a_duplicate_of_the_first(conn: Connection) -> None:
    first, again, later = mail("a@x", "alice"), mail("a@x", "alice"), mail("a@x", "alice")
    results = run(conn, [first, again], [later])
    assert Counter(result.outcome for result in results.values()) == {"ticketed": 1, "duplicate": 2}
    rows = {row.receipt_id: row for row in conn.execute(select(t.receipts))}
    for copy in (again, later):
        assert rows[copy.receipt_id].duplicate_of == first.receipt_id
        assert rows[copy.receipt_id].ticket_id == rows[first.receipt_id].ticket_id
        assert rows[copy.receipt_id].comment_id == rows[first.receipt_id].comment_id
    assert conn.scalar(select(func.count()).select_from(t.comments)) == 1


@pytest.mark.parametrize("days", [30, 400])
def test_the_same_delivery_is_known_after_any_time(conn: Connection, days: int) -> None:
    first, again = mail("a@x", "alice"), mail("a@x", "alice", minute=days * 24 * 60)
    run(conn, [first])
    [result] = record(conn, [again], NOW + timedelta(days=days))
    assert result.outcome == "duplicate"


def test_the_same_mail_to_two_inboxes_is_one_comment_and_both_are_known(conn: Connection) -> None:
    results = run(conn, [mail("a@x", "alice"), mail("a@x", "alice", inbox="billing")])
    assert sorted(result.outcome for result in results.values()) == ["duplicate", "ticketed"]
    reasons = set(conn.scalars(select(t.receipts.c.reason).where(t.receipts.c.outcome == "duplicate")))
    assert reasons == {"the same message was delivered to inbox support too"}


def test_a_repeat_is_appended_and_marked(conn: Connection) -> None:
    results = run(conn, [mail("a@x", "alice", text="help")], [mail("b@x", "alice", text="help", minute=1)])
    assert [result.outcome for result in results.values()] == ["ticketed", "appended"]
    assert list(conn.scalars(select(t.comments.c.verdict).order_by(t.comments.c.id))) == ["new", "repeat"]


def test_nearly_the_same_words_are_appended_and_marked(conn: Connection) -> None:
    run(conn, [mail("a@x", "alice", text=LONG)], [mail("b@x", "alice", text=f"{LONG} Thanks", minute=5)])
    rows = list(conn.execute(select(t.comments.c.verdict, t.comments.c.matched_by).order_by(t.comments.c.id)))
    assert rows == [("new", "none"), ("near_repeat", "near")]


def test_near_duplicates_can_be_switched_off(conn: Connection) -> None:
    record(conn, [mail("a@x", "alice", text=LONG)], NOW, Rules(near_ratio=0))
    [result] = record(conn, [mail("b@x", "alice", text=f"{LONG} Thanks", minute=5)], NOW, Rules(near_ratio=0))
    assert result.outcome == "ticketed"


def test_a_late_bridge_merges_tickets_and_leaves_a_redirect(conn: Connection) -> None:
    results = run(
        conn,
        [mail("a@x", "alice")],
        [mail("b@x", "alice")],
        [mail("c@x", "alice", refs=["a@x", "b@x"])],
    )
    assert [result.outcome for result in results.values()] == ["ticketed", "ticketed", "appended"]
    tickets = {row.id: row for row in conn.execute(select(t.tickets))}
    assert (tickets[2].merged_into, tickets[2].status) == (1, "closed")
    assert tickets[1].comment_count == 3
    assert set(conn.scalars(select(t.receipts.c.ticket_id))) == {1}
    assert "merged" in set(conn.scalars(select(t.events.c.kind)))


def test_a_stranger_gets_a_ticket_of_their_own_with_a_link(conn: Connection) -> None:
    run(conn, [mail("a@x", "alice")], [mail("b@x", "mallory", refs=["a@x"])])
    (link,) = conn.execute(select(t.ticket_links))
    assert (link.ticket_id, link.other_id, link.kind) == (2, 1, "possibly_belongs_to")
    assert link.reason == "mallory@example.test has not taken part in it"
    explanation = conn.scalar(select(t.comments.c.explanation).where(t.comments.c.ticket_id == 2))
    assert explanation["rejected"][0]["ticket_id"] == 1


def test_mail_that_fails_authentication_possibly_belongs_to_a_ticket_and_is_nobody(conn: Connection) -> None:
    run(conn, [mail("a@x", "alice")], [mail("b@x", "alice", refs=["a@x"], trust="failed")])
    (link,) = conn.execute(select(t.ticket_links))
    assert link.kind == "possibly_belongs_to"
    real, fake = conn.scalars(select(t.tickets.c.requester_id).order_by(t.tickets.c.id))
    assert real != fake
    assert conn.scalar(select(func.count()).select_from(t.identities)) == 1


def with_token(message: Message, ticket: int) -> Message:
    return message.model_copy(update={"thread_keys": (ThreadKey(kind="reply_token", value=str(ticket)),)})


def test_a_reply_token_brings_a_participant_back_and_admits_no_stranger(conn: Connection) -> None:
    run(conn, [mail("a@x", "alice")])
    results = run(conn, [with_token(mail("b@x", "alice"), 1), with_token(mail("c@x", "mallory"), 1)])
    assert [result.outcome for result in results.values()] == ["appended", "ticketed"]
    assert list(conn.scalars(select(t.comments.c.matched_by).order_by(t.comments.c.id))) == [
        "none",
        "reply_token",
        "none",
    ]
    run(conn, [mail("d@x", "alice", refs=["a@x"], cc=["mallory"])])
    assert len(partition(conn)) == 1, "whoever turns out to take part joins then"


def test_a_number_in_the_subject_is_believed_from_a_proven_participant_only(conn: Connection) -> None:
    run(conn, [mail("a@x", "alice", trust="verified")])
    typed = (ThreadKey(kind="subject_number", value="1", strength="weak"),)
    results = run(
        conn,
        [mail("b@x", "alice", keys=typed, trust="verified")],
        [mail("c@x", "alice", keys=typed)],
        [mail("d@x", "mallory", keys=typed, trust="verified")],
    )
    assert [result.ticket_id for result in results.values()] == [1, 2, 3]


def test_what_a_person_keeps_apart_stays_apart_and_replies_follow(conn: Connection) -> None:
    run(conn, [mail("a@x", "alice")], [mail("b@x", "alice")])
    link = {"id": 1, "ticket_id": 2, "other_id": 1, "kind": "apart", "reason": "split", "created_at": NOW}
    conn.execute(t.ticket_links.insert(), [link])
    results = run(conn, [mail("c@x", "alice", refs=["b@x", "a@x"])], [mail("d@x", "alice", refs=["a@x"])])
    assert [result.ticket_id for result in results.values()] == [2, 1]


def test_links_follow_a_merge(conn: Connection) -> None:
    run(conn, [mail("a@x", "alice")], [mail("b@x", "alice")], [mail("m@x", "mallory", refs=["b@x"])])
    run(conn, [mail("c@x", "alice", refs=["a@x", "b@x"])])
    links = {(row.ticket_id, row.other_id, row.kind) for row in conn.execute(select(t.ticket_links))}
    assert links == {(3, 1, "possibly_belongs_to"), (2, 1, "merged")}


def test_one_case_ends_when_it_is_solved(conn: Connection) -> None:
    run(conn, [mail("a@x", "alice", trust="verified", one_case=True)])
    conn.execute(t.tickets.update().values(status="solved"))
    [result] = run(conn, [mail("b@x", "alice", trust="verified", one_case=True)]).values()
    assert result.outcome == "ticketed"


def test_a_customer_waits_since_the_first_of_their_words_whatever_came_first(conn: Connection) -> None:
    run(conn, [mail("b@x", "alice", refs=["a@x"], minute=9)], [mail("a@x", "alice", minute=2)])
    run(conn, [mail("c@x", "alice", refs=["a@x"], minute=20)], [mail("d@x", "x", refs=["a@x"], machine="bounce")])
    waits = conn.scalar(select(t.tickets.c.customer_waits_since).where(t.tickets.c.id == 1))
    assert waits == START + timedelta(minutes=2)


def test_a_token_first_cited_by_what_merges_its_ticket(conn: Connection) -> None:
    """The number leads on from then, for everybody who takes part."""
    run(conn, [mail("a@x", "alice")], [mail("b@x", "alice", cc=["bob"])])
    again = mail("b@x", "alice", cc=["bob"])
    results = run(conn, [mail("c@x", "alice", refs=["a@x"], token=2), again], [mail("d@x", "bob", token=2)])
    assert [result.outcome for result in results.values()] == ["appended", "duplicate", "appended"]
    assert set(conn.scalars(select(t.receipts.c.ticket_id))) == {1}
    assert set(conn.scalars(select(t.thread_keys.c.ticket_id))) == {1}


def test_a_token_of_a_merged_or_unknown_ticket(conn: Connection) -> None:
    run(conn, [mail("a@x", "alice")], [mail("b@x", "alice")], [mail("c@x", "alice", refs=["a@x", "b@x"])])
    results = run(conn, [with_token(mail("d@x", "alice"), 2)], [with_token(mail("e@x", "alice"), 999)])
    assert [(result.outcome, result.ticket_id) for result in results.values()] == [("appended", 1), ("ticketed", 3)]


def test_writing_again_reopens_and_a_machine_does_not(conn: Connection) -> None:
    run(conn, [mail("a@x", "alice")])
    conn.execute(t.tickets.update().values(status="solved", customer_waits_since=None))
    run(conn, [labelled("v@x", "vacation")])
    assert conn.execute(select(t.tickets.c.status, t.tickets.c.customer_waits_since)).one() == ("solved", None)
    run(conn, [mail("b@x", "alice", refs=["a@x"])])
    assert conn.scalar(select(t.tickets.c.status)) == "open"


def test_who_wants_no_automatic_answer_waits_for_a_person(conn: Connection) -> None:
    run(conn, [mail("a@x", "alice")])
    conn.execute(t.tickets.update().values(status="solved", customer_waits_since=None))
    run(conn, [labelled("b@x", "suppress_replies")])
    status, waits = conn.execute(select(t.tickets.c.status, t.tickets.c.customer_waits_since)).one()
    assert status == "open"
    assert waits is not None


def labelled(name: str, rule: str) -> Message:
    return mail(name, "alice", refs=["a@x"]).model_copy(update={"automated": (Hit(name=rule),)})


def test_a_reply_to_a_closed_ticket_opens_a_linked_follow_up(conn: Connection) -> None:
    run(conn, [mail("a@x", "alice")])
    conn.execute(t.tickets.update().values(status="closed"))
    results = run(conn, [mail("b@x", "alice", refs=["a@x"])], [mail("c@x", "alice", refs=["a@x"])])
    assert [result.outcome for result in results.values()] == ["ticketed", "appended"]
    assert {(row.ticket_id, row.other_id, row.kind) for row in conn.execute(select(t.ticket_links))} == {
        (2, 1, "follow_up")
    }


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("\n  My order is late\nplease", "My order is late"),
        ("word " * 40, "word " * 15 + "word …"),
        ("長" * 90, "長" * 80 + " …"),
        ("", ""),
    ],
)
def test_what_came_without_a_subject_is_named_by_its_first_line(text: str, subject: str) -> None:
    assert headline(text) == subject


def test_suspended_keeps_cause_and_bytes(conn: Connection) -> None:
    original = Original(size=3, sha256="0" * 64, content=b"\x00\xff!", content_type="message/rfc822")
    held = mail("a@x", "alice").model_copy(update={"suspend": "honeypot", "original": original})
    results = run(conn, [held], [mail("a@x", "alice")])
    assert [result.outcome for result in results.values()] == ["suspended", "duplicate"]
    row = conn.execute(select(t.suspended)).one()
    assert (row.cause, row.original) == ("honeypot", b"\x00\xff!")


CALL = [
    ("call.started", False, {"caller": "+4930901820", "caller_name": "ERIKA", "called": "+442071838750"}),
    ("call.recording_ready", True, {"recording": {"sid": "RE1", "status": "completed", "duration": 16}}),
    (
        "call.transcribed",
        False,
        {"transcription": {"sid": "TR1", "status": "completed", "text": "Hello", "recording": "RE1"}},
    ),
    ("call.ended", True, {"status": "completed", "duration": 73}),
]


@pytest.mark.parametrize("seed", range(12))
def test_a_call_is_one_comment_whatever_comes_first(conn: Connection, seed: int) -> None:
    rng = random.Random(seed)
    updates = [update_of("CA1", name, opens=opens, **facts) for name, opens, facts in CALL]
    rng.shuffle(updates)
    cut = rng.randint(0, 4)
    results = run(conn, updates[:cut], updates[cut:])
    assert Counter(result.outcome for result in results.values()) == {"ticketed": 1, "updated": 3}
    comment = conn.execute(select(t.comments)).one()
    assert "Hello" in comment.text
    assert comment.author_value == "+4930901820"
    requester = conn.execute(
        select(t.identities.c.value).join(t.tickets, t.tickets.c.requester_id == t.identities.c.customer_id)
    ).scalar_one()
    assert requester == "+4930901820"


def test_a_call_nobody_finished_telling_us_about_is_a_missed_call(conn: Connection) -> None:
    started = update_of("CA9", "call.started", caller="+4930901820")
    outbound = update_of("CA8", "call.started").model_copy(update={"facts": {"direction": "outbound-api"}})
    run(conn, [started, outbound])
    assert overdue_stories(conn, START + timedelta(minutes=14)) == []
    silent = overdue_stories(conn, START + timedelta(minutes=16))
    assert [update.about for update in silent] == ["call:CA9"]
    [result] = record(conn, silent, NOW)
    assert result.outcome == "ticketed"
    assert conn.scalar(select(t.comments.c.text)) == "Missed call, no voicemail."
    assert overdue_stories(conn, START + timedelta(minutes=17)) == []
    run(conn, [update_of("CA9", "call.recording_ready", opens=True, recording={"sid": "RE1", "status": "completed"})])
    assert conn.scalar(select(t.comments.c.text)) == "Voicemail (transcription not available)"


def test_a_silent_call_is_found_among_many_of_our_own(conn: Connection) -> None:
    ours = [update_of(f"CA1{number:03}", "call.started", direction="outbound-api") for number in range(100)]
    run(conn, [*ours, update_of("CA9", "call.started"), update_of("CA8", "call.started", direction="")])
    silent = overdue_stories(conn, START + timedelta(minutes=16))
    assert [update.about for update in silent] == ["call:CA8", "call:CA9"]


def test_a_dead_letter_keeps_its_receipt_and_can_come_back(conn: Connection) -> None:
    message = mail("a@x", "alice")
    row = {
        "receipt_id": message.receipt_id,
        "gateway": "test",
        "sequence": 1,
        "channel": "email",
        "inbox": "support",
        "type": "frontdesk.message.v1",
        "body": b"{}",
        "reason": "boom",
        "attempts": 3,
        "received_at": NOW,
    }
    record_dead(conn, [row], NOW)
    assert conn.scalar(select(t.receipts.c.outcome)) == "dead"
    assert [result.outcome for result in record(conn, [message], NOW)] == ["ticketed"]
    assert conn.scalar(select(t.receipts.c.outcome)) == "ticketed"
    assert conn.scalar(select(t.dead_letters.c.replayed_at)) == NOW
    record_dead(conn, [row], NOW)
    assert conn.scalar(select(t.receipts.c.outcome)) == "ticketed"


def test_customers_are_found_again_and_proof_is_kept(conn: Connection, tmp_path: Path) -> None:
    run(conn, [mail("a@x", "alice"), mail("b@x", "alice", trust="verified")], [mail("c@x", "alice")])
    assert conn.scalar(select(func.count()).select_from(t.customers)) == 1
    assert conn.scalar(select(t.identities.c.trust)) == "verified"
