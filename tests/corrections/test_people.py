"""Who is who: first contact, proof, suggestions, joins and what takes them back."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Table, func, select

from adapters.email import Email
from adapters.twitter import Twitter
from gateway.ids import uuid7
from gateway.store import tables as t
from gateway.store.claims import decide, suggestions
from gateway.store.corrections import merge
from gateway.store.engine import Store, lock_ledger
from gateway.store.joining import customer_survivor, join, last_join_of
from gateway.store.journal import NUMBERED, CorrectionError, by_hand
from gateway.store.people import Holders, Ours, find_holders, meet, meet_callers, own_addresses, somebody
from gateway.store.profiles import Profile, create_or_update, update_customer
from gateway.store.record import record
from gateway.store.undoing import undo
from gateway.store.writing import Writes, next_ids
from normalizer.message import Author, Hit, Message, MessageDraft, Trust, stamp
from tests.corrections.conftest import NOW, image
from tests.worker.conversations import START, mail

_serial = itertools.count()


def chat(user: str, text: str, email: str = "", *, signed: bool = True, **fields: Any) -> Message:
    """A chat message as the adapter hands it in: `user` is the site's own id, the e-mail signed or only claimed."""
    facts = {"session_id": user, **fields}
    if email:
        facts |= {"email": email, "email_trust": "verified" if signed else "unverified"}
    trust: Trust = "verified" if signed else "unverified"
    evidence = "id and address signed by the site (JWT HS256)" if signed else "a visitor who did not say who they are"
    draft = MessageDraft(
        external_id=f"c{next(_serial)}",
        author=Author(kind="chat", value=f"website:{user}", display_name=user.title(), trust=trust, evidence=evidence),
        text=text,
        delivery_key=f"chat-{next(_serial)}",
        fields=facts,
    )
    return stamp(
        draft,
        receipt_id=uuid7(),
        gateway="test",
        sequence=1,
        channel="chat",
        inbox="website",
        join="participants",
        received_at=START,
    )


def taker(conn: Connection) -> Any:
    free = next_ids(conn, NUMBERED)

    def take(table: Table) -> int:
        free[table.name] += 1
        return free[table.name] - 1

    return take


def receive(conn: Connection, *messages: Message, ours: Ours | None = None) -> None:
    """Record messages, each in a batch of its own."""
    for message in messages:
        record(conn, [message], NOW, None, ours)


def holder(conn: Connection, identity: str) -> int | None:
    kind, _, value = identity.partition(":")
    return find_holders(conn, [(kind, value)]).get((kind, value))


def people(conn: Connection) -> set[frozenset[str]]:
    """Identities by whom they belong to."""
    found: dict[int, set[str]] = {}
    for row in conn.execute(select(t.identities)):
        found.setdefault(row.customer_id, set()).add(f"{row.kind}:{row.value}")
    return {frozenset(names) for names in found.values()}


ANN, U1 = "email:ann@example.test", "chat:website:u1"
MAIL = mail("a@x", "ann", text="by mail", trust="verified")
UNPROVEN_MAIL = mail("b@x", "ann", text="by anybody", trust="unverified")
SIGNED = chat("u1", "by chat", "ann@example.test")
CLAIMED = chat("u1", "by chat", "ann@example.test", signed=False)

PROOF: dict[str, tuple[list[Message], set[frozenset[str]]]] = {
    "signed by the site, address known": ([MAIL, SIGNED], {frozenset({ANN, U1})}),
    "signed by the site, address not yet known": ([SIGNED, MAIL], {frozenset({ANN, U1})}),
    "signed, and the address never proven": ([UNPROVEN_MAIL, SIGNED], {frozenset({ANN, U1})}),
    "signed, and no mail at all": ([SIGNED], {frozenset({ANN, U1})}),
    "only claimed": ([MAIL, CLAIMED], {frozenset({ANN}), frozenset({U1})}),
    "claimed first": ([CLAIMED, MAIL], {frozenset({ANN}), frozenset({U1})}),
    "claimed, then signed": ([MAIL, CLAIMED, SIGNED], {frozenset({ANN, U1})}),
    "hash without address": ([MAIL, chat("u1", "by chat")], {frozenset({ANN}), frozenset({U1})}),
    "an address of ours": (
        [chat("u1", "by chat", "support@desk.test")],
        {frozenset({U1})},
    ),
    "no address at all": ([chat("u1", "by chat", "not an address")], {frozenset({U1})}),
}


@pytest.mark.parametrize("name", PROOF)
async def test_identities_join_on_proof_only(store: Store, name: str) -> None:
    messages, expected = PROOF[name]
    ours = Ours(frozenset({"email:support@desk.test"}))
    copies = [message.model_copy(update={"receipt_id": uuid7()}) for message in messages]
    await store.write(receive, *copies, ours=ours)
    assert await store.read(people) == expected


async def test_a_proven_join_moves_comments_and_tickets_and_is_an_event(store: Store) -> None:
    def run(conn: Connection) -> Any:
        receive(conn, MAIL, SIGNED)
        who = holder(conn, ANN)
        assert set(conn.scalars(select(t.comments.c.author_id))) == {who}
        assert set(conn.scalars(select(t.tickets.c.requester_id))) == {who}
        return conn.execute(select(t.events).where(t.events.c.kind == "joined")).one()

    event = await store.write(run)
    assert event.detail["actor"] == "frontdesk"
    assert "signed by the site" in event.detail["because"]
    assert event.ticket_id == 2


async def test_an_undone_join_is_not_made_again_and_takes_its_own_along(store: Store) -> None:
    def run(conn: Connection) -> None:
        receive(conn, MAIL, CLAIMED.model_copy(update={"receipt_id": uuid7(), "delivery_key": "claimed"}))
        before = image(conn)
        receive(conn, SIGNED)
        done = conn.execute(select(t.corrections.c.id).where(t.corrections.c.kind == "joined")).scalar_one()
        undo(conn, done, actor="ann", now=NOW)
        after = image(conn)
        assert {row[0]: row[3] for row in before["comments"]}.items() <= {
            row[0]: row[3] for row in after["comments"]
        }.items()
        visitor, ann = holder(conn, U1), holder(conn, ANN)
        assert visitor != ann
        assert {row[3] for row in after["comments"]} == {visitor, ann}
        receive(conn, chat("u1", "by chat again", "ann@example.test"), mail("c@x", "ann", text="m", trust="verified"))
        assert people(conn) == {frozenset({ANN}), frozenset({U1})}

    await store.write(run)


async def test_an_identity_is_never_stolen(store: Store) -> None:
    """Bob's customer holds a phone too, and his address was never proven: a signature by the site is one side only."""

    def run(conn: Connection) -> tuple[set[frozenset[str]], list[dict[str, Any]]]:
        receive(conn, mail("a@x", "bob", text="hi"))
        bob = holder(conn, "email:bob@example.test") or 0
        update_customer(conn, bob, Profile(phone="+31612345678", verified=True), actor="crm", now=NOW)
        receive(conn, chat("u2", "hello", "bob@example.test"))
        waiting = suggestions(conn, bob)
        assert suggestions(conn, holder(conn, "chat:website:u2") or 0)[0]["other_id"] == bob
        apart = people(conn)
        receive(conn, mail("b@x", "bob", text="it is me", trust="verified"))
        assert people(conn) == {frozenset({"email:bob@example.test", "phone:+31612345678", "chat:website:u2"})}
        return apart, waiting

    apart, waiting = await store.write(run)
    assert frozenset({"chat:website:u2"}) in apart
    assert [row["claimed"] for row in waiting] == ["email:bob@example.test"]


async def test_a_person_decides_about_a_suggestion(store: Store) -> None:
    def run(conn: Connection) -> None:
        receive(conn, MAIL, CLAIMED, chat("u9", "me too", "ann@example.test", signed=False))
        ann = holder(conn, ANN) or 0
        first, second = suggestions(conn, ann)
        assert (first["author"], second["author"]) == (U1, "chat:website:u9")
        assert decide(conn, second["id"], same=False, actor="bert", now=NOW) is None
        done = decide(conn, first["id"], same=True, actor="bert", now=NOW)
        assert done is not None
        assert people(conn) == {frozenset({ANN, U1}), frozenset({"chat:website:u9"})}
        assert suggestions(conn, ann) == []
        with pytest.raises(CorrectionError, match="was joined by bert"):
            decide(conn, first["id"], same=False, actor="cleo", now=NOW)
        with pytest.raises(CorrectionError, match="no suggestion 77"):
            decide(conn, 77, same=True, actor="cleo", now=NOW)
        undo(conn, done.event_id, actor="bert", now=NOW)
        assert people(conn) == {frozenset({ANN}), frozenset({U1}), frozenset({"chat:website:u9"})}

    await store.write(run)


async def test_a_number_in_a_form_is_a_suggestion(store: Store) -> None:
    def run(conn: Connection) -> list[dict[str, Any]]:
        create_or_update(conn, Profile(name="Caller", phone="+31612345678", verified=True), actor="crm", now=NOW)
        form = mail("f@x", "ann", text="call me", channel="form", inbox="contact")
        receive(conn, form.model_copy(update={"fields": {"phone": "+31 6 1234-5678", "tel": 5}}))
        return suggestions(conn, holder(conn, ANN) or 0)

    [row] = await store.write(run)
    assert (row["claimed"], row["proven"]) == ("phone:+31612345678", False)


# --- joins by a person -----------------------------------------------------------------------------------------------


def merge_users(conn: Connection, source: int, target: int) -> int:
    return join(by_hand(conn, "bert", NOW), source, target, "the same person").event_id


async def test_joined_and_parted_again_leaves_no_trace(store: Store) -> None:
    def run(conn: Connection) -> None:
        receive(conn, MAIL, mail("p@x", "pia", text="private"), mail("q@x", "pia", refs=["p@x"], text="more"))
        update_customer(conn, 1, Profile(attributes={"plan": "Team"}), actor="crm", now=NOW)
        update_customer(
            conn, 2, Profile(attributes={"plan": "Solo", "since": 2020}, external_id="77"), actor="crm", now=NOW
        )
        before = image(conn)
        event = merge_users(conn, 2, 1)
        row = conn.execute(select(t.customers).where(t.customers.c.id == 1)).one()
        assert (row.attributes, row.external_id) == ({"plan": "Team", "since": 2020}, "77")
        assert customer_survivor(conn, 2) == 1
        assert last_join_of(conn, 2) == event
        assert people(conn) == {frozenset({ANN, "email:pia@example.test"})}
        undo(conn, event, actor="bert", now=NOW)
        assert image(conn) == before
        assert conn.scalar(select(t.customers.c.attributes).where(t.customers.c.id == 1)) == {"plan": "Team"}
        with pytest.raises(CorrectionError, match="was undone by bert"):
            undo(conn, event, actor="bert", now=NOW)

    await store.write(run)


async def test_a_number_that_is_somebody_elses_by_now_stays_theirs(store: Store) -> None:
    def run(conn: Connection) -> list[str | None]:
        receive(conn, MAIL, mail("p@x", "pia", text="private"), mail("q@x", "bob", text="hello"))
        update_customer(conn, 2, Profile(external_id="77"), actor="crm", now=NOW)
        event = merge_users(conn, 2, 1)
        update_customer(conn, 1, Profile(external_id="78"), actor="crm", now=NOW)
        update_customer(conn, 3, Profile(external_id="77"), actor="crm", now=NOW)
        undo(conn, event, actor="bert", now=NOW)
        assert customer_survivor(conn, 2) == 2
        return list(conn.scalars(select(t.customers.c.external_id).order_by(t.customers.c.id)))

    assert await store.write(run) == ["78", None, "77"]


async def test_what_was_written_since_goes_back_with_its_identity(store: Store) -> None:
    def run(conn: Connection) -> tuple[list[Any], list[Any]]:
        receive(conn, MAIL, mail("p@x", "pia", text="private"))
        event = merge_users(conn, 2, 1)
        receive(conn, mail("n@x", "pia", text="new matter"), mail("o@x", "ann", text="other matter", trust="verified"))
        assert set(conn.scalars(select(t.comments.c.author_id))) == {1}
        undo(conn, event, actor="bert", now=NOW)
        columns, tickets = t.comments.c, t.tickets.c
        return (
            [tuple(row) for row in conn.execute(select(columns.external_id, columns.author_id).order_by(columns.id))],
            [tuple(row) for row in conn.execute(select(tickets.id, tickets.requester_id).order_by(tickets.id))],
        )

    comments, tickets = await store.write(run)
    assert comments == [("a@x", 1), ("p@x", 2), ("n@x", 2), ("o@x", 1)]
    assert tickets == [(1, 1), (2, 2), (3, 2), (4, 1)]


async def test_a_ticket_that_holds_anothers_words_stays_whose_it_was(store: Store) -> None:
    """Two people and their tickets were taken for one; the people are parted first, and then the tickets."""

    def run(conn: Connection) -> None:
        receive(conn, mail("a@x", "ann", text="one"), mail("p@x", "pia", text="another"))
        before = image(conn)
        joined = merge_users(conn, 1, 2)
        merged = merge(conn, 2, [1], actor="bert", now=NOW)
        undo(conn, joined, actor="bert", now=NOW)
        assert conn.scalar(select(t.tickets.c.requester_id).where(t.tickets.c.id == 2)) == 2
        undo(conn, merged.event_id, actor="bert", now=NOW)
        assert image(conn) == before

    await store.write(run)


async def test_joins_are_undone_last_to_first(store: Store) -> None:
    def run(conn: Connection) -> None:
        receive(conn, *(mail(f"{name}@x", name, text=name) for name in ("ann", "pia", "bob")))
        before = image(conn)
        first, second = merge_users(conn, 3, 2), merge_users(conn, 2, 1)
        assert customer_survivor(conn, 3) == 1
        with pytest.raises(CorrectionError, match=f"event {second} .* undo that one first"):
            undo(conn, first, actor="bert", now=NOW)
        undo(conn, second, actor="bert", now=NOW)
        assert customer_survivor(conn, 3) == 2
        undo(conn, first, actor="bert", now=NOW)
        assert image(conn) == before

    await store.write(run)


@pytest.mark.parametrize(
    ("source", "target", "kind", "sentence"),
    [
        (1, 1, "invalid", "into itself"),
        (9, 1, "missing", "no user 9"),
        (1, 2**70, "missing", "no user"),
        (2, 3, "invalid", "merged into user 1"),
        (3, 4, "invalid", "two people"),
    ],
)
async def test_joins_that_make_no_sense(store: Store, source: int, target: int, kind: str, sentence: str) -> None:
    def run(conn: Connection) -> None:
        receive(conn, *(mail(f"{name}@x", name, text=name) for name in ("ann", "pia", "bob", "carol")))
        for number in (3, 4):
            update_customer(conn, number, Profile(external_id=f"crm-{number}"), actor="crm", now=NOW)
        if source != 1:
            merge_users(conn, 2, 1)
        merge_users(conn, source, target)

    with pytest.raises(CorrectionError, match=sentence) as caught:
        await store.write(run)
    assert caught.value.kind == kind


# --- first contact ---------------------------------------------------------------------------------------------------

OURS = Ours(
    frozenset({"email:support@desk.test", "x:42"}),
    frozenset({"in.desk.test"}),
    frozenset({"boss@desk.test", "*@team.test"}),
)


def by(value: str | None, kind: str = "email", name: str = "", trust: Trust = "unverified", **more: Any) -> Message:
    author = Author.model_validate({"kind": kind, "value": value, "display_name": name, "trust": trust})
    return mail("m@x", "ann").model_copy(update={"author": author, "receipt_id": uuid7(), **more})


NOBODY = {
    "a withheld number": by(None, "phone"),
    "our own address": by("support@desk.test"),
    "our own address with a tag": by("support+84.x@desk.test"),
    "an address of a domain that is ours whole": by("anything@in.desk.test"),
    "our own account": by("42", "x"),
    "failed authentication": by("ann@example.test", trust="failed"),
    "a list that rewrites From": by("info@list.test", name="'Ann' via Info", fields={"list-id": "<info.list.test>"}),
    "a group that rewrites From": by(
        "info@list.test", name="Ann via Info", fields={"x-original-from": "ann@example.test"}
    ),
    "a mail server that reports": by("mailer-daemon@mx.test", automated=(Hit(name="bounce"),)),
    "a colleague who forwards what nobody can read": by("boss@desk.test", subject="Fwd: Where is my order?"),
    "another of our own people who forwards": by("eve@team.test", subject="WG: Rechnung"),
    "an address longer than addresses are": by("a" * 330 + "@x.test"),
}
SOMEBODY = {
    "a customer": by("ann@example.test"),
    "a colleague of ours": by("boss@desk.test"),
    "a colleague with a question of their own": by("eve@team.test", subject="My laptop"),
    "a customer who forwards": by("ann@example.test", subject="Fwd: Where is my order?"),
    "who sends a receipt that it was read": by("ann@example.test", automated=(Hit(name="read_receipt"),)),
    "a caller": by("+31612345678", "phone"),
    "a person called Via": by("via@example.test", name="Via Veneto"),
    "a shop that says via and is no list": by("shop@example.test", name="Ann via Shop"),
    "somebody on a list that rewrites nothing": by("ann@example.test", name="Ann", fields={"list-id": "<x>"}),
}


@pytest.mark.parametrize("name", NOBODY)
def test_nobody(name: str) -> None:
    assert somebody(NOBODY[name], OURS) is None


@pytest.mark.parametrize("name", SOMEBODY)
def test_somebody(name: str) -> None:
    author = SOMEBODY[name].author
    assert somebody(SOMEBODY[name], OURS) == (author.kind, author.value)


def test_our_addresses_are_read_from_the_inboxes() -> None:
    ours = own_addresses(
        [
            Email.Options.model_validate({"channel": "email", "addresses": ["Help@Desk.Test", "*@in.desk.test"]}),
            Email.Options.model_validate({"channel": "email", "domains": ["desk.example"], "agents": [" B@Desk.Test"]}),
            Email.Options.model_validate({"channel": "email", "domains": ["*"]}),
            Twitter.Options.model_validate({"channel": "twitter", "user_id": "42"}),
        ]
    )
    domains = frozenset({"in.desk.test", "desk.example"})
    assert ours == Ours(frozenset({"email:help@desk.test", "x:42"}), domains, frozenset({"b@desk.test"}))
    assert not ours.holds("email:customer@else.test")
    assert not ours.holds(None)


def greet(conn: Connection, messages: Sequence[Message]) -> dict[UUID, int | None]:
    lock_ledger(conn)
    writes = Writes(conn)
    met = meet(writes, Holders(conn), messages, NOW, taker(conn), OURS)
    writes.write()
    return met


def proven_by(evidence: str) -> Message:
    """A mail of Ann's that proves her address."""
    author = Author(kind="email", value="ann@example.test", trust="verified", evidence=evidence)
    return by(author.value).model_copy(update={"author": author})


async def test_first_contact_makes_one_customer_and_nobody_makes_none(store: Store) -> None:
    ann, again = by("ann@example.test", name="Ann"), by("ann@example.test")
    met = await store.write(greet, [ann, *NOBODY.values(), again])
    assert met[ann.receipt_id] == met[again.receipt_id] == 1
    assert {met[message.receipt_id] for message in NOBODY.values()} == {None}


async def test_an_address_is_proven_once(store: Store) -> None:
    await store.write(greet, [by("ann@example.test")])
    for evidence in ("first", "second"):
        later = proven_by(evidence)
        assert await store.write(greet, [later]) == {later.receipt_id: 1}
        assert await store.read(_proofs) == [("verified", "first")]


async def test_first_contacts_that_come_together_are_proven_by_one_of_them(store: Store) -> None:
    met = await store.write(greet, [by("ann@example.test"), proven_by("first"), proven_by("second")])
    assert set(met.values()) == {1}
    assert await store.read(_proofs) == [("verified", "first")]


def _proofs(conn: Connection) -> list[tuple[str, str]]:
    return [(row.trust, row.source) for row in conn.execute(select(t.identities.c.trust, t.identities.c.source))]


async def test_concurrent_first_contact_is_one_customer(store: Store) -> None:
    await asyncio.gather(*(store.write(greet, [by("ann@example.test"), by(f"p{n}@x.test")]) for n in range(6)))
    assert await store.read(lambda conn: conn.scalar(select(func.count()).select_from(t.customers))) == 7


async def test_a_caller_whom_a_later_fact_names(store: Store) -> None:
    def run(conn: Connection) -> list[int | None]:
        caller = Author(kind="phone", value="+31612345678", display_name="ANN")
        nobody = Author(kind="phone")
        callers = [(None, nobody), (None, caller), (5, caller), (5, nobody)]
        met = []
        for _ in range(2):
            writes = Writes(conn)
            met += meet_callers(writes, Holders(conn), callers, NOW, taker(conn))
            writes.write()
        return met

    assert await store.write(run) == [None, 1, 1, 5] * 2


# --- what the company says -------------------------------------------------------------------------------------------


async def test_the_company_says_who_somebody_is(store: Store) -> None:
    def run(conn: Connection) -> None:
        receive(conn, UNPROVEN_MAIL)
        push: dict[str, Any] = {"actor": "crm", "now": NOW}
        first = Profile(
            name="Ann de Vries", attributes={"plan": "Team", "old": 1}, email="ann@example.test", verified=True
        )
        assert create_or_update(conn, first, **push) == (1, False)
        assert create_or_update(conn, Profile(external_id="c-1", phone="+31612345678"), **push) == (2, True)
        both = Profile(external_id="c-1", email="ann@example.test")
        with pytest.raises(CorrectionError, match="external_id is user 2's, email is user 1's"):
            create_or_update(conn, both, **push)
        with pytest.raises(CorrectionError, match="user 1's already"):
            update_customer(conn, 2, Profile(email="ann@example.test"), **push)
        with pytest.raises(CorrectionError, match="user 2's"):
            update_customer(conn, 1, Profile(external_id="c-1"), **push)
        with pytest.raises(CorrectionError, match="at least a name"):
            create_or_update(conn, Profile(), **push)
        with pytest.raises(CorrectionError, match="at most 200"):
            update_customer(conn, 1, Profile(attributes={f"k{n}": n for n in range(201)}), **push)
        with pytest.raises(CorrectionError, match="64 KiB"):
            update_customer(conn, 1, Profile(attributes={"k": "x" * 70_000}), **push)
        with pytest.raises(CorrectionError, match="the desk itself"):
            update_customer(conn, 1, Profile(email="support@desk.test"), ours=OURS, **push)
        update_customer(conn, 1, Profile(attributes={"old": None, "seats": 5}, language="nl"), **push)
        row = conn.execute(select(t.customers).where(t.customers.c.id == 1)).one()
        assert (row.name, row.language, row.attributes) == ("Ann de Vries", "nl", {"plan": "Team", "seats": 5})
        assert {tuple(one) for one in conn.execute(select(t.identities.c.value, t.identities.c.trust))} == {
            ("ann@example.test", "verified"),
            ("+31612345678", "unverified"),
        }

    await store.write(run)
