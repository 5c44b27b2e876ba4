"""Near-duplicates in the transaction: the same in any batches, whoever else is writing at the time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from sqlalchemy import Connection, create_engine, select
from sqlalchemy.pool import StaticPool

from gateway.store import tables as t
from gateway.store.record import record
from gateway.worker.near import MAX_CANDIDATES
from gateway.worker.plan import Item
from normalizer.message import Message
from tests.worker.conversations import LONG, mail
from tests.worker.near_pairs import DIFFERENT, LOGIN, SAME
from tests.worker.test_record import CALL, update_of

NOW = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def conn() -> Iterator[Connection]:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    t.metadata.create_all(engine)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def tickets_of(conn: Connection, author: str, batches: Sequence[Sequence[Item]]) -> int:
    for batch in batches:
        record(conn, batch, NOW)
    columns = t.comments.c
    return len(set(conn.scalars(select(columns.ticket_id).where(columns.author_value == author))))


def pair(one: str, other: str) -> list[Message]:
    return [mail("a@x", "alice", text=one, channel="form"), mail("b@x", "alice", text=other, minute=50)]


@pytest.mark.parametrize("together", [True, False], ids=["one batch", "two batches"])
@pytest.mark.parametrize("name", [*SAME, *DIFFERENT])
def test_the_tables_hold_in_the_database(conn: Connection, name: str, together: bool) -> None:
    messages = pair(*(SAME | DIFFERENT)[name])
    batches = [messages] if together else [[message] for message in messages[::-1]]
    assert tickets_of(conn, "alice@example.test", batches) == (1 if name in SAME else 2)


@pytest.mark.parametrize("together", [True, False], ids=["one batch", "two batches"])
def test_an_archive_is_read_as_if_each_mail_had_come_by_itself(conn: Connection, together: bool) -> None:
    """Between a mail of long ago and one that came now its author has said more than is compared."""
    others = [mail(f"o{day}@x", "alice", minute=day * 1440, text=f"matter {day}") for day in range(1, 61)]
    record(conn, [*others, mail("a@x", "alice", text=LONG)], NOW)
    resend, today = (
        mail("b@x", "alice", text=f"{LONG} Thanks!", minute=5),
        mail("n@x", "bob", text=LONG, minute=130_000),
    )
    for batch in [[resend, today]] if together else [[resend], [today]]:
        record(conn, batch, NOW)
    columns = t.comments.c
    where: dict[str, int] = dict(conn.execute(select(columns.external_id, columns.ticket_id)).all())
    assert where["a@x"] == where["b@x"]


@pytest.mark.parametrize("batches", [1, 2])
def test_two_calls_are_two_calls_whatever_was_said(conn: Connection, batches: int) -> None:
    """A call's words arrive later than the call, so they cannot decide where it belongs."""
    facts = [_spoken(call, *cast(tuple[str, bool, dict[str, Any]], fact)) for call in ("CA1", "CA2") for fact in CALL]
    parts = [facts] if batches == 1 else [facts[:4], facts[4:]]
    assert tickets_of(conn, "+4930901820", parts) == 2


def _spoken(call: str, event: str, opens: bool, facts: dict[str, Any]) -> Item:
    if "transcription" in facts:
        facts = facts | {"transcription": facts["transcription"] | {"text": LOGIN}}
    return update_of(call, event, opens=opens, **facts)


def test_a_storm_of_alerts_hides_nobody_elses_repeat(conn: Connection) -> None:
    text = "ALERT number {}: the disk is nearly full. Free some space or extend the volume, says the monitoring."
    count = 3 * MAX_CANDIDATES
    alerts = [mail(f"n{n}@x", "nagios", text=text.format(n), minute=10 + n / 20) for n in range(count)]
    first, again = pair(LOGIN, LOGIN + " Please answer soon.")
    assert tickets_of(conn, "alice@example.test", [[first], alerts[:-1], [again, alerts[-1]]]) == 1
