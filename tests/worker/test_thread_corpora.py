"""Real list archives and the JWZ torture test, through the real mail adapter, matching and the transaction.

`truth.jsonl` holds what the headers say: a union-find over Message-ID, References and the first In-Reply-To id, unseen
parents included. Scores are over pairs of mails.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, create_engine, select
from sqlalchemy.pool import StaticPool

from adapters.email import Email, EmailOptions
from gateway.store import tables as t
from gateway.store.record import record
from gateway.worker.clues import read_clues
from gateway.worker.evidence import Rules, World
from gateway.worker.matching import place
from normalizer.message import Message
from normalizer.thread_keys import looks_like_reply
from tests.worker.thread_corpora import (
    FOLDER,
    NOTMUCH,
    STRIPPED,
    Mail,
    archive,
    by_subject,
    pairs,
    read,
    score,
    tree_groups,
)

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the thread corpora are not beside the project")

Group = Callable[[Sequence[Message]], dict[UUID, int]]
NOW = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)


@pytest.fixture(params=["place", "record one by one", "record in batches"])
def group(request: pytest.FixtureRequest) -> Iterator[Group]:
    """Receipt -> ticket, by the rules alone and by the database."""
    if request.param == "place":
        yield group_in_memory
        return
    engine = create_engine("sqlite://", poolclass=StaticPool)
    t.metadata.create_all(engine)
    size = 1 if "one" in request.param else 17
    with engine.connect() as conn:
        yield lambda messages: group_in_database(conn, messages, size)
    engine.dispose()


def group_in_memory(messages: Sequence[Message], rules: Rules | None = None) -> dict[UUID, int]:
    world = World(rules=rules)
    placements = {message.receipt_id: place(world, read_clues(message)) for message in messages}
    return {receipt: world.find(placement.ticket) for receipt, placement in placements.items()}


def group_in_database(conn: Connection, messages: Sequence[Message], size: int) -> dict[UUID, int]:
    for start in range(0, len(messages), size):
        record(conn, messages[start : start + size], NOW)
    columns = t.receipts.c
    found = {row.receipt_id: row.ticket_id for row in conn.execute(select(columns.receipt_id, columns.ticket_id))}
    assert set(found) == {message.receipt_id for message in messages}, "every delivery has its outcome"
    return found


ORDERS: dict[str, Callable[[list[Mail]], list[Mail]]] = {
    "arrival": lambda mails: mails,
    "reversed": lambda mails: mails[::-1],
    "shuffled": lambda mails: random.Random(1).sample(mails, len(mails)),
    "shuffled again": lambda mails: random.Random(2).sample(mails, len(mails)),
}


@pytest.mark.parametrize("order", ORDERS)
def test_a_list_archive_is_grouped_as_its_headers_say(group: Group, order: str) -> None:
    mails = ORDERS[order](list(archive(NOTMUCH, "anyone")))
    truth = {mail.message.receipt_id: mail.thread for mail in mails}
    found = group([mail.message for mail in mails])
    numbers = {mail.message.receipt_id: mail.number for mail in mails}
    wrong = {tuple(sorted(numbers[item] for item in pair)) for pair in pairs(found) ^ pairs(truth)}
    assert wrong == set()
    assert len(pairs(truth)) == 94
    assert score(found, truth) == (1.0, 1.0)


@pytest.mark.parametrize("order", ORDERS)
def test_strangers_stay_apart_in_an_inbox_for_participants(order: str) -> None:
    """The same archive as if every author were a customer: nobody sees what they took no part in."""
    mails = ORDERS[order](list(archive(NOTMUCH, "participants")))
    truth = {mail.message.receipt_id: mail.thread for mail in mails}
    # One author of the archive is a test suite that always says the same; a person's repeats are another test.
    found = group_in_memory([mail.message for mail in mails], Rules(near_ratio=0))
    assert score(found, truth).precision == 1.0
    assert score(found, truth).recall == pytest.approx(52 / 94)


@pytest.mark.parametrize("order", ORDERS)
def test_without_reply_headers_it_beats_the_subject_alone(order: str, record_property: Callable[..., None]) -> None:
    mails = ORDERS[order](list(archive(STRIPPED, "anyone")))
    truth = {mail.message.receipt_id: mail.thread for mail in mails}
    ours = score(group_in_memory([mail.message for mail in mails]), truth)
    baseline = score(by_subject(mails), {mail.number: mail.thread for mail in mails})
    record_property("stripped", f"ours {ours} F1 {ours.f1:.3f}, subject within 14 days {baseline} F1 {baseline.f1:.3f}")
    assert ours.precision == 1.0
    assert ours.f1 > baseline.f1 + 0.2


def test_the_stripped_archive_has_no_reply_headers() -> None:
    """Otherwise the test above would prove nothing."""
    kinds = Counter(key.kind for mail in archive(STRIPPED, "anyone") for key in mail.message.thread_keys)
    assert kinds["message_id"] == 108
    assert not kinds["in_reply_to"] + kinds["references"]


# Joined in the expected trees by step 5 of JWZ's algorithm: two openings with one subject. Not a reply, so not for us.
BY_SUBJECT_ALONE = {"same subject 1", "lkjhlkjh"}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("number", [0, 1], ids=["by subject", "by references"])
def test_the_torture_test_gives_its_expected_trees(group: Group, number: int, order: str) -> None:
    case = json.loads((FOLDER / "jwz_torture.json").read_text())["tests"][number]
    mails = ORDERS[order]([_torture(index, item) for index, item in enumerate(case["messages"])])
    found = group([mail.message for mail in mails])
    subjects: dict[int, list[str]] = {}
    for mail in mails:
        subjects.setdefault(found[mail.message.receipt_id], []).append(mail.message.subject)
    assert Counter(map(_told, subjects.values())) == Counter(_expected(case))


def _torture(number: int, item: dict[str, Any]) -> Mail:
    """Ids such as <1> get the domain that RFC 5322 asks for; the reader takes a single character for no id."""

    def ids(text: str) -> str:
        return " ".join(f"<{one.strip('<>')}{'' if '@' in one else '@torture.test'}>" for one in text.split())

    lines = [
        f"From: Somebody {number} <s{number}@torture.test>",
        "To: list@torture.test",
        f"Subject: {item['subject']}",
    ]
    lines += [f"Date: {item['date']}", f"Message-ID: {ids(item['message_id'])}"]
    if item["references"]:
        lines.append(f"References: {ids(item['references'])}")
    body = "\r\n".join([*lines, "", f"Words of {item['message_id']}, number {number}.", ""]).encode()
    # A minute more each: the archive's dates are all the same, and time must not decide anything here.
    date = (datetime(1997, 1, 1, tzinfo=UTC) + timedelta(days=30 * number)).isoformat()
    adapter = Email("list", EmailOptions(channel="email", join="anyone"))
    return Mail(number, "", read(adapter, body, "anyone", {"n": number, "date": date}))


def _expected(case: dict[str, Any]) -> list[tuple[str, ...]]:
    """The trees as groups of the subjects that exist among the messages; what the file's trees leave out is added.

    The trees show four messages that the file does not list (Ambig1 to 4, dup, dup-kid), and leave out the four that
    only cite each other in circles: by their references Loop1, 2 and 3 are one group and Loop10 is alone.
    """
    left = Counter(item["subject"] for item in case["messages"])
    groups: list[tuple[str, ...]] = []
    for tree in tree_groups(case["expected_tree_lines"]):
        members = [subject for subject in tree if left[subject] > 0]
        left.subtract(members)
        alone = set(members) & BY_SUBJECT_ALONE
        groups += [(subject,) for subject in members] if alone else [_told(members)]
    rest = sorted(left.elements())
    loops = [("Loop1", "Loop2", "Loop3"), ("Loop10",)] if rest else []
    assert rest == sorted(subject for loop in loops for subject in loop)
    return [item for item in groups if item] + loops


def _told(subjects: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(subjects))


def test_the_subjects_that_join_by_themselves_are_no_replies() -> None:
    assert not any(looks_like_reply(subject) for subject in BY_SUBJECT_ALONE)
