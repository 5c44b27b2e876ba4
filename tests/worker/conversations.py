"""Generated conversations, and an independent statement of which messages belong together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import strategies as st

from gateway.ids import uuid7
from gateway.worker.near import RATIO, WINDOW, resemblance
from normalizer.fingerprint import content_key, delivery_key
from normalizer.message import Author, Hit, Join, Message, MessageDraft, Recipient, ThreadKey, Trust, stamp

START = datetime(2026, 8, 1, 10, 0, tzinfo=UTC)
LONG = (
    "Good morning, my order has not arrived although the tracking page said yesterday evening that it was delivered. "
    "Nobody here has seen the parcel, and the neighbours know nothing either."
)
PEOPLE = ("alice", "bob", "carol", "mallory")


def mail(
    own: str,
    author: str,
    *,
    refs: Sequence[str] = (),
    to: Sequence[str] = (),
    cc: Sequence[str] = (),
    text: str | None = None,
    minute: float = 0,
    join: Join = "participants",
    trust: Trust = "unverified",
    inbox: str = "support",
    channel: str = "email",
    receipt_id: UUID | None = None,
    delivery: str | None = None,
    subject: str = "",
    stripped: bool = False,
    keys: Sequence[ThreadKey] = (),
    one_case: bool = False,
    token: int = 0,
    machine: str = "",
) -> Message:
    """A mail to support@desk.test, as the adapter would hand it in. `token`: the ticket whose signature it bears;
    `machine`: the rule by which no person wrote it."""
    words = text if text is not None else f"the words of {own}"
    evidence = [ThreadKey(kind="message_id", value=f"mid:{own}")] if own else []
    evidence += [
        ThreadKey(kind="in_reply_to" if n == 0 else "references", value=f"mid:{ref}") for n, ref in enumerate(refs)
    ]
    evidence += [ThreadKey(kind="reply_token", value=str(token))] if token else []
    evidence += [*keys, *([ThreadKey(kind="subject", value=subject, strength="weak")] if stripped else [])]
    desk = "support@desk.test"
    people = [Recipient(role="to", kind="email", value=desk), Recipient(role="envelope", kind="email", value=desk)]
    people += [Recipient(role="to", kind="email", value=f"{name}@example.test") for name in to]
    people += [Recipient(role="cc", kind="email", value=f"{name}@example.test") for name in cc]
    who = Author(kind="email", value=f"{author}@example.test", display_name=author.title(), trust=trust)
    said = content_key(who.identity or "", words)
    draft = MessageDraft(
        external_id=own,
        author=who,
        recipients=tuple(people),
        subject=f"about {own}",
        text=words,
        delivery_key=delivery or delivery_key(channel, own, said),
        content_key=said,
        thread_keys=tuple(evidence),
        subject_base=subject,
        automated=(Hit(name=machine),) if machine else (),
    )
    return stamp(
        draft,
        receipt_id=receipt_id or uuid7(),
        gateway="test",
        sequence=1,
        channel=channel,
        inbox=inbox,
        join=join,
        one_case=one_case,
        received_at=START + timedelta(minutes=minute),
    )


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    """Up to a dozen mails of four people who cite, copy in, repeat and impersonate each other."""
    ids = [f"m{number}@x" for number in range(draw(st.integers(2, 10)))]
    unseen = ["u1@x", "u2@x"]
    join: Join = draw(st.sampled_from(["participants", "participants", "anyone"]))
    messages = []
    for number, own in enumerate(ids):
        others = [other for other in ids + unseen if other != own]
        messages.append(
            mail(
                own if draw(st.integers(0, 9)) else "",
                draw(st.sampled_from(PEOPLE)),
                refs=draw(st.lists(st.sampled_from(others), max_size=3, unique=True)),
                to=draw(st.lists(st.sampled_from(PEOPLE), max_size=1)),
                cc=draw(st.lists(st.sampled_from(PEOPLE), max_size=2, unique=True)),
                text=draw(st.sampled_from([None, None, None, "the same words", LONG, LONG + " Sent from my phone"])),
                minute=number * draw(st.sampled_from([0, 3, 9, 25])),
                join=join,
                trust=draw(st.sampled_from(["unverified", "verified", "unverified", "failed"])),
                subject=draw(st.sampled_from(["", "", "order", "login"])),
                stripped=draw(st.booleans()),
                delivery=f"delivery-{number}",
            )
        )
    return messages


@st.composite
def answered(draw: st.DrawFn) -> tuple[list[Message], list[Message]]:
    """Three tickets, and what people and machines write who know their numbers, signatures and ids, or guess them."""
    opening = [mail(f"s{number}@x", name) for number, name in enumerate(PEOPLE[:3], 1)]
    ids = [message.external_id for message in opening] + [f"t{number}@x" for number in range(8)]
    later = [
        mail(
            f"t{number}@x",
            draw(st.sampled_from(["alice", "mallory", "mailer-daemon"])),
            refs=draw(st.lists(st.sampled_from(ids), max_size=2, unique=True)),
            cc=draw(st.lists(st.sampled_from(["mallory", "bob"]), max_size=1)),
            minute=100 + number,
            text=draw(st.sampled_from([None, "I am away until Monday."])),
            token=draw(st.sampled_from([0, 1, 2])),
            machine=draw(st.sampled_from(["", "bounce", "vacation", "auto_submitted", "list"])),
            trust=draw(st.sampled_from(["unverified", "unverified", "unverified", "failed"])),
            delivery=f"later-{number}",
        )
        for number in range(draw(st.integers(2, 7)))
    ]
    return opening, later


def expected_partition(messages: Sequence[Message], opening: Sequence[Message] = ()) -> set[frozenset[UUID]]:
    """The rules of DESIGN 6 and 7 applied to the whole set at once, by brute force, until nothing changes.

    `opening`: messages that opened tickets 1, 2, 3 ... before the others came.
    """
    numbered = [
        message.model_copy(update={"thread_keys": (*message.thread_keys, ThreadKey(kind="message_id", value=f"#{n}"))})
        for n, message in enumerate(opening, 1)
    ]
    groups = [[message] for message in (*numbered, *messages)]
    changed = True
    while changed:
        changed = False
        for one in groups:
            for other in groups:
                if one is not other and _belong_together(one, other):
                    one.extend(other)
                    groups.remove(other)
                    changed = True
                    break
            if changed:
                break
    return {frozenset(message.receipt_id for message in group) for group in groups}


def _people(group: Iterable[Message]) -> set[str]:
    found = set()
    for message in group:
        if _signed(message) and _by_machine(message):
            continue
        found |= {item.value for item in message.recipients if item.role != "envelope"} - {"support@desk.test"}
        found.add(message.author.value or "")
    return found


def _ids(message: Message, *, own: bool) -> set[str]:
    kinds = {"message_id"} if own else {"in_reply_to", "references", "thread_index"}
    tokens = set() if own else {f"#{number}" for number in _signed(message)}
    return {key.value for key in message.thread_keys if key.kind in kinds} | tokens


def _signed(message: Message) -> set[str]:
    return {key.value for key in message.thread_keys if key.kind == "reply_token"}


def _by_machine(message: Message) -> bool:
    names = {hit.name for hit in message.automated}
    cites = {key.kind for key in message.thread_keys} & {"in_reply_to", "references", "reply_token"}
    return bool(names & {"bounce", "vacation"}) or ("auto_submitted" in names and bool(cites))


def _belong_together(one: Sequence[Message], other: Sequence[Message]) -> bool:
    return any(_linked(m, one, n, other) or _linked(n, other, m, one) for m in one for n in other)


def _same_subject(m: Message, n: Message) -> bool:
    stripped = any(key.kind == "subject" for key in (*m.thread_keys, *n.thread_keys))
    proven = m.join == "anyone" or (m.author == n.author and m.author.trust == "verified")
    near = abs(m.received_at - n.received_at) <= timedelta(days=14)
    return bool(m.subject_base) and m.subject_base == n.subject_base and stripped and proven and near


def _named(report: Message, n: Message) -> bool:
    """Does a machine bear the signature of the ticket that this message opened?"""
    return bool({f"#{number}" for number in _signed(report)} & _ids(n, own=True))


def _same_words(m: Message, n: Message) -> bool:
    apart = abs(m.received_at - n.received_at)
    if m.text == n.text and apart <= timedelta(minutes=10):
        return not (_by_machine(m) or _by_machine(n))
    return resemblance(m.text, n.text) >= RATIO and apart <= WINDOW and not (m.automated or n.automated)


def _linked(m: Message, mine: Sequence[Message], n: Message, theirs: Sequence[Message]) -> bool:
    if "failed" in (m.author.trust, n.author.trust):
        return False
    if any(_signed(message) and _by_machine(message) for message in (m, n)):
        return _by_machine(m) and _named(m, n)
    if _same_subject(m, n):
        return True
    if m.join == "anyone":
        return bool((_ids(m, own=True) | _ids(m, own=False)) & (_ids(n, own=True) | _ids(n, own=False)))
    if m.author.value == n.author.value and _same_words(m, n):
        return True
    answers = _ids(m, own=False) & _ids(n, own=True) and m.author.value in _people(theirs)
    same_author = m.author.value == n.author.value and (
        _ids(m, own=False) & _ids(n, own=False) or _ids(m, own=True) & _ids(n, own=True)
    )
    mutual = (
        _ids(m, own=False) & _ids(n, own=False)
        and m.author.value in _people(theirs)
        and n.author.value in _people(mine)
    )
    return bool(answers or same_author or mutual)
