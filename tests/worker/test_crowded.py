"""Thousands of strangers share one id: what is loaded for a batch stays small, and the tickets are the same."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, event, select
from sqlalchemy.pool import StaticPool

from gateway.store import crowded, known
from gateway.store import tables as t
from gateway.store.record import record
from gateway.worker.clues import read_clues
from normalizer.message import Message
from tests.worker.conversations import conversations, expected_partition, mail
from tests.worker.test_record import NOW, clear, partition

STRANGERS = 3_000


@pytest.fixture
def conn() -> Iterator[Connection]:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    t.metadata.create_all(engine)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def flood(conn: Connection, strangers: int, **how: Any) -> None:
    """So many strangers, each with a mail of their own."""
    mails = [mail(author=f"stranger{n}", text=f"words {n}", **how) for n in range(strangers)]
    for start in range(0, strangers, 200):
        record(conn, mails[start : start + 200], NOW)


def loaded(conn: Connection, *messages: Message) -> tuple[int, int, int]:
    """(rows of evidence, tickets, statements) that planning these messages takes."""
    statements: list[str] = []
    listener = lambda *args: statements.append(args[2])  # noqa: E731
    event.listen(conn.engine, "before_cursor_execute", listener)
    world = known.load_known(conn, messages, [read_clues(message) for message in messages]).known.world
    event.remove(conn.engine, "before_cursor_execute", listener)
    return sum(len(rows) for rows in world._rows.values()), len(world._groups), len(statements)


def test_an_id_that_thousands_use_as_their_own(conn: Connection) -> None:
    victim = mail("same@x", "zoe", text="mine")
    record(conn, [victim], NOW)
    flood(conn, STRANGERS, own="same@x")
    citing = [mail(f"r{n}@x", "mallory" if n else "zoe", refs=["same@x"], text=f"{n}") for n in range(50)]
    rows, tickets, statements = loaded(conn, *citing)
    assert (rows, tickets) == (4, 4), "hers, and three to show"
    assert statements < 20
    results = {result.receipt_id: result for result in record(conn, citing, NOW)}
    assert results[citing[0].receipt_id].ticket_id == 1
    assert {result.ticket_id for result in results.values()} == {1, STRANGERS + 2}, "mallory's are siblings"
    rejected = list(conn.scalars(select(t.comments.c.explanation).where(t.comments.c.ticket_id == STRANGERS + 2)))
    assert all(len(explanation["rejected"]) <= 10 for explanation in rejected)


def test_a_newsletter_that_thousands_answer(conn: Connection) -> None:
    flood(conn, STRANGERS, own="", refs=["news@x"])
    assert loaded(conn, mail("a@x", "alice", refs=["news@x"]))[:2] == (0, 0)
    assert loaded(conn, mail("a@x", "stranger7", refs=["news@x"]))[:2] == (1, 1)


def test_one_person_who_cites_one_id_in_thousands_of_mails(conn: Connection) -> None:
    mails = [mail("", "alice", refs=["root@x"], text=f"{n}") for n in range(STRANGERS)]
    for start in range(0, STRANGERS, 200):
        record(conn, mails[start : start + 200], NOW)
    assert loaded(conn, mail("a@x", "alice", refs=["root@x"]))[:2] == (1, 1)


@given(conversations(), st.integers(0, 2**32), st.integers(1, 4))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_crowded_or_not_the_tickets_are_the_same(
    conn: Connection, messages: list[Message], seed: int, size: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crowded, "MOST_ROWS", 1)
        patch.setattr(crowded, "CROWD", 0)
        clear(conn)
        random.Random(seed).shuffle(messages)
        for start in range(0, len(messages), size):
            record(conn, messages[start : start + size], NOW)
        found: set[frozenset[UUID]] = partition(conn)
    assert found == expected_partition(messages)
