"""Which ticket a message belongs to does not depend on the order of arrival (DESIGN 7)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.worker.clues import TICKET_KEY, read_clues
from gateway.worker.evidence import Row, World
from gateway.worker.matching import Placement, place
from normalizer.message import Message, ThreadKey
from tests.worker.conversations import LONG, PEOPLE, START, answered, conversations, expected_partition, mail


def group(
    messages: Sequence[Message], opening: Sequence[Message] = ()
) -> tuple[set[frozenset[UUID]], dict[UUID, Placement]]:
    world = World()
    placements = {}
    for number, message in enumerate(opening, 1):
        placements[message.receipt_id] = place(world, read_clues(message))
        ticket = placements[message.receipt_id].ticket
        world.add(world.group(ticket), [Row(f"{TICKET_KEY}{number}", "own", "", ticket, START, "email")])
    placements |= {message.receipt_id: place(world, read_clues(message)) for message in messages}
    found: dict[int, set[UUID]] = defaultdict(set)
    for receipt, placement in placements.items():
        found[world.find(placement.ticket)].add(receipt)
    return {frozenset(members) for members in found.values()}, placements


@given(conversations(), st.randoms(use_true_random=False))
@settings(max_examples=400, deadline=None)
def test_any_order_gives_the_partition_the_rules_describe(messages: list[Message], random: object) -> None:
    expected = expected_partition(messages)
    shuffled = list(messages)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert group(messages)[0] == expected
    assert group(shuffled)[0] == expected
    assert group(messages[::-1])[0] == expected


@given(answered(), st.randoms(use_true_random=False))
@settings(max_examples=400, deadline=None)
def test_machines_and_tokens_in_any_order(desk: tuple[list[Message], list[Message]], random: object) -> None:
    opening, later = desk
    expected = expected_partition(later, opening)
    assert group(later, opening)[0] == expected
    assert group(later[::-1], opening)[0] == expected
    random.shuffle(later)  # type: ignore[attr-defined]
    assert group(later, opening)[0] == expected


ROOT = mail("root@x", "alice")
OUTLOOK = (ThreadKey(kind="thread_index", value="tindex:0123", strength="weak"),)
DAY = 24 * 60
CASES = {
    "an edited resend is one matter": (
        [mail("a@x", "alice", text=LONG), mail("b@x", "alice", text=f"{LONG} Thank you!", minute=50)],
        1,
    ),
    "not when it comes much later": (
        [mail("a@x", "alice", text=LONG), mail("b@x", "alice", text=f"{LONG} Thank you!", minute=70)],
        2,
    ),
    "not when somebody else writes it": ([mail("a@x", "alice", text=LONG), mail("b@x", "bob", text=LONG)], 2),
    "not when another number stands in it": (
        [mail("a@x", "alice", text=f"{LONG} Order 1042"), mail("b@x", "alice", text=f"{LONG} Order 1043", minute=1)],
        2,
    ),
    "Outlook's conversation id joins one person's mails": (
        [mail("a@x", "alice", keys=OUTLOOK), mail("b@x", "alice", keys=OUTLOOK)],
        1,
    ),
    "and not a stranger's": (
        [mail("a@x", "alice", keys=OUTLOOK), mail("b@x", "mallory", cc=["alice"], keys=OUTLOOK)],
        2,
    ),
    "a stripped reply of a proven person joins by its subject": (
        [
            mail("a@x", "alice", subject="order", trust="verified"),
            mail("b@x", "alice", subject="order", stripped=True, trust="verified", minute=13 * DAY),
        ],
        1,
    ),
    "not after the window": (
        [
            mail("a@x", "alice", subject="order", trust="verified"),
            mail("b@x", "alice", subject="order", stripped=True, trust="verified", minute=15 * DAY),
        ],
        2,
    ),
    "not of an unproven person": (
        [mail("a@x", "alice", subject="order"), mail("b@x", "alice", subject="order", stripped=True)],
        2,
    ),
    "not of another person": (
        [
            mail("a@x", "alice", subject="order", trust="verified"),
            mail("b@x", "bob", subject="order", stripped=True, trust="verified"),
        ],
        2,
    ),
    "two new mails under one subject are two matters": (
        [
            mail("a@x", "alice", subject="order", trust="verified"),
            mail("b@x", "alice", subject="order", trust="verified", minute=60),
        ],
        2,
    ),
    "one open case a person, where the inbox says so": (
        [
            mail("a@x", "alice", trust="verified", one_case=True),
            mail("b@x", "alice", trust="verified", one_case=True, minute=9 * DAY),
        ],
        1,
    ),
    "and only of a proven person": (
        [mail("a@x", "alice", one_case=True), mail("b@x", "alice", one_case=True, minute=60)],
        2,
    ),
    "a reply by the requester joins": ([ROOT, mail("r1@x", "alice", refs=["root@x"])], 1),
    "a reply that overtakes its parent joins": ([mail("r1@x", "alice", refs=["root@x"]), ROOT], 1),
    "siblings of an unseen root by one person join": (
        [mail("a@x", "alice", refs=["gone@x"]), mail("b@x", "alice", refs=["gone@x"])],
        1,
    ),
    "answers of strangers to one newsletter stay apart": (
        [mail("a@x", "alice", refs=["news@x"]), mail("b@x", "bob", refs=["news@x"])],
        2,
    ),
    "a person who was in Cc may join": ([mail("root@x", "alice", cc=["bob"]), mail("r@x", "bob", refs=["root@x"])], 1),
    "a stranger who cites an id gets a ticket of their own": ([ROOT, mail("r@x", "mallory", refs=["root@x"])], 2),
    "putting the victim in Cc admits no stranger": (
        [ROOT, mail("r@x", "mallory", refs=["root@x"], cc=["alice"])],
        2,
    ),
    "nor does it between answers to an unseen root": (
        [mail("v@x", "alice", refs=["gone@x"]), mail("m@x", "mallory", refs=["gone@x"], cc=["alice"])],
        2,
    ),
    "a stranger joins once a participant brings them in": (
        [ROOT, mail("c@x", "carol", refs=["root@x"]), mail("r@x", "alice", refs=["root@x"], cc=["carol"])],
        1,
    ),
    "a bridge of a common participant merges": (
        [ROOT, mail("other@x", "alice"), mail("bridge@x", "alice", refs=["root@x", "other@x"])],
        1,
    ),
    "a bridge of somebody else does not": (
        [ROOT, mail("other@x", "bob"), mail("bridge@x", "bob", refs=["root@x", "other@x"])],
        2,
    ),
    "mail that fails authentication joins nobody": (
        [ROOT, mail("r@x", "alice", refs=["root@x"], trust="failed")],
        2,
    ),
    "and attracts nobody": (
        [mail("fake@x", "alice", cc=["bob"], trust="failed"), mail("r@x", "bob", refs=["fake@x"])],
        2,
    ),
    "no id is no evidence": ([mail("", "alice", text="one"), mail("", "bob", text="two")], 2),
    "a program that gives every mail one id sinks nobody into anybody": (
        [mail("1@localhost", name, text=name) for name in PEOPLE]
        + [mail(f"{name}@x", name, refs=["1@localhost"], text=f"{name} again") for name in PEOPLE],
        4,
    ),
    "nor do answers to it by whoever else": (
        [mail("1@localhost", name, text=name) for name in ("alice", "bob")]
        + [mail(f"{n}@x", "mallory", refs=["1@localhost"], cc=["alice", "bob"], text=f"{n}") for n in range(3)],
        3,
    ),
    "anyone may join a list": (
        [mail("a@x", "alice", join="anyone"), mail("b@x", "bob", refs=["a@x"], join="anyone")],
        1,
    ),
    "the same words within ten minutes are one matter": (
        [mail("a@x", "alice", text="help"), mail("b@x", "alice", text="help", minute=9)],
        1,
    ),
    "the same words much later are another": (
        [mail("a@x", "alice", text="help"), mail("b@x", "alice", text="help", minute=11)],
        2,
    ),
    "the same words of different people are two": (
        [mail("a@x", "alice", text="help"), mail("b@x", "bob", text="help")],
        2,
    ),
    "the same words by form and mail within a day are one": (
        [mail("a@x", "alice", text="help", channel="form"), mail("b@x", "alice", text="help", minute=600)],
        1,
    ),
    "a Message-ID reused by another person is two": (
        [mail("a@x", "alice", text="one"), mail("a@x", "mallory", text="two")],
        2,
    ),
}


@pytest.mark.parametrize(("messages", "tickets"), CASES.values(), ids=CASES.keys())
def test_who_may_join(messages: list[Message], tickets: int) -> None:
    assert len(group(messages)[0]) == tickets
    assert len(group(messages[::-1])[0]) == tickets


def test_every_decision_says_why() -> None:
    stranger = mail("r@x", "mallory", refs=["root@x"])
    reply = mail("r1@x", "alice", refs=["root@x"])
    _, placements = group([ROOT, stranger, reply])
    assert (placements[reply.receipt_id].rule, placements[reply.receipt_id].evidence) == ("in_reply_to", "mid:root@x")
    (rejected,) = placements[stranger.receipt_id].rejected
    assert rejected.reason == "mallory@example.test has not taken part in it"


def test_a_reused_message_id_is_flagged() -> None:
    _, placements = group([mail("a@x", "alice", text="one"), again := mail("a@x", "alice", text="two")])
    assert placements[again.receipt_id].id_reused


def test_a_huge_id_is_kept_by_its_digest() -> None:
    long = "x" * 8000 + "@x"
    partition, placements = group([mail(long, "alice"), mail("r@x", "alice", refs=[long])])
    assert len(partition) == 1
    assert all(len(row.key) <= 255 for placement in placements.values() for row in placement.rows)
