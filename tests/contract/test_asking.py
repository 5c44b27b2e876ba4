"""Several questions at once answer what each answers by itself, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Select, bindparam, event, insert, select

from gateway.store import tables as t
from gateway.store.asking import Answers, FollowUp, Question, Statement, ask
from gateway.store.engine import Store
from gateway.store.values import one_of
from gateway.store.writing import highest

AT = datetime(2026, 8, 1, 12, 0, 0, 123456, tzinfo=UTC)
FACT: dict[str, Any] = {"kind": "call", "channel": "phone", "inbox": "", "opens": True}
FACTS = [
    {**FACT, "id": 1, "about": "a", "receipt_id": UUID(int=1), "facts": {"n": [1, "é", None]}, "received_at": AT},
    {**FACT, "id": 2, "about": "b", "receipt_id": UUID(int=2), "facts": {}, "received_at": AT + timedelta(days=1)},
    {**FACT, "id": 7, "about": "a", "receipt_id": UUID(int=7), "facts": {}, "received_at": AT},
]
QUESTIONS = (
    Question(select(t.update_facts).where(one_of(t.update_facts.c.about, "abouts")), ("abouts",)),
    Question(select(t.cursors.c.inbox, t.cursors.c.lease_until).where(t.cursors.c.inbox == bindparam("inbox"))),
    Question(
        select(t.update_facts.c.id)
        .where(one_of(t.update_facts.c.about, "abouts"), one_of(t.update_facts.c.receipt_id, "receipts"))
        .order_by(t.update_facts.c.id.desc())
        .limit(bindparam("most")),
        ("receipts", "abouts"),
    ),
    Question(highest([t.update_facts, t.tickets])),
)


def fill(conn: Connection) -> None:
    conn.execute(insert(t.update_facts), FACTS)
    conn.execute(insert(t.cursors), [{"inbox": "i", "value": "", "owner": "", "lease_until": None, "updated_at": AT}])


async def test_each_answer_is_that_of_its_question(store: Store) -> None:
    values = {"abouts": ["a", "c"], "inbox": "i", "receipts": [UUID(int=1), UUID(int=7)], "most": 1}

    def run(conn: Connection) -> None:
        fill(conn)
        alone = [[tuple(row) for row in conn.execute(each.statement, values)] for each in QUESTIONS]
        assert alone[0] and alone[1:] == [[("i", None)], [(7,)], [(7, 0)]]
        answers = list(ask(conn, QUESTIONS, values).values())
        assert [[tuple(row) for row in answer] for answer in answers] == alone
        first = answers[0][0]
        assert {name: getattr(first, name) for name in FACTS[0]} == FACTS[0], "by name, and of their types"
        assert answers[3][0]._asdict() == {"update_facts": 7, "tickets": 0}

    await store.write(run)


async def test_a_question_about_nothing_is_answered_by_nothing(store: Store) -> None:
    """And SQLite is not asked at all; PostgreSQL is asked one thing, whatever it is about."""
    sent: list[str] = []

    def run(conn: Connection) -> Answers:
        fill(conn)
        event.listen(conn, "before_cursor_execute", lambda *given: sent.append(given[2]))
        return ask(conn, QUESTIONS, {"abouts": [], "inbox": "else", "receipts": [], "most": 1})

    facts, cursors, some, [last] = (await store.write(run)).values()
    assert (facts, cursors, some, tuple(last)) == ([], [], [], (7, 0))
    assert len(sent) == (1 if "row(" in sent[0] else 2)


def facts_of(abouts: str | Select[Any]) -> Statement:
    return select(t.update_facts.c.id).where(one_of(t.update_facts.c.about, abouts))


@pytest.mark.parametrize(("most", "found"), [(2, [1, 7]), (1, [])])
async def test_what_an_answer_names_is_asked_for_with_it(store: Store, most: int, found: list[int]) -> None:
    """Not when it is longer than was thought of."""
    one, other = (
        Question(select(t.update_facts.c.about).where(one_of(t.update_facts.c.receipt_id, name)), (name,))
        for name in ("receipts", "others")
    )
    asked = (one, other, FollowUp(facts_of, ((one, "about"), (other, "about")), most=most))

    def run(conn: Connection) -> Answers:
        fill(conn)
        return ask(conn, asked, {"receipts": [UUID(int=1), UUID(int=7)], "others": []})

    about, nothing, facts = (await store.write(run)).values()
    assert [tuple(row) for row in about] == [("a",), ("a",)]
    assert nothing == []
    assert sorted(row.id for row in facts) == found
