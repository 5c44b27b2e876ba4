"""Which ticket does a message belong to? (DESIGN 7, and the repeat of DESIGN 6.)

The answer must not depend on the order of arrival, so it is not a search for "the best ticket" but the least fixpoint
of rules that only ever become more true as tickets grow:

- *conversation*: two messages of the same provider conversation belong together.
- *repeat*: the same person said the same words within a window, or nearly the same (`near`) within a shorter one.
- *answer*: message M cites an id that is a message of ticket T, or carries T's signed reply token, and M's author takes
  part in T. (A token proves that T was meant, not who holds it now: mail is forwarded.)
- *sibling*: M and N cite the same id, seen or not, and have the same author, or each takes part in the other's ticket.
  Outlook's conversation id is such an id, and a ticket number in the subject of authenticated mail names its ticket.
- *subject*: the same proven person wrote under the same bare subject within a window, and one of the two looks like a
  reply that lost its headers. In an inbox anyone may join, the person may be any.
- *case*: the inbox keeps one open case a person, the person is proven, and the case is not solved.
- *report*: a machine (a mail server, an absence notice) answers a mail of ours and bears its signed token. It goes
  where the token says, whoever sent it, and changes nothing there: it brings nobody in and attracts nothing, because
  whoever was sent our mail knows its token. Without one it is a message like any other: a forged bounce joins nothing.

"Takes part" means: was From, To or Cc of some message of the ticket. It is directional on purpose: a stranger who cites
a victim's message and puts the victim in Cc does not thereby become part of the victim's ticket.

What a person has set apart stays apart. Each rule, once true, stays true after any merge, so applying them in any
order, in any batches, ends in the same partition. Placing a message therefore means: open a ticket of its own, then
merge whatever its arrival makes true, and whatever those merges make true.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from gateway.worker import near
from gateway.worker.evidence import Group, Role, Row, World
from normalizer.fingerprint import digest
from normalizer.message import Message, ThreadKey

SAME_CHANNEL_WINDOW = timedelta(minutes=10)
ACROSS_CHANNELS_WINDOW = timedelta(hours=24)
TICKET_KEY = "ticket:"  # before the number of a ticket that a reply token of ours names
_NAMING_A_TICKET = ("reply_token", "subject_number")
SUBJECT_WINDOW = timedelta(days=14)
_RULES = {"content": "repeat", "subject": "subject", "resubject": "subject", "case": "case"}
_REPORTS = frozenset({"bounce", "delayed", "delivered", "read_receipt", "feedback_report"})
_ABSENCES = frozenset({"vacation", "auto_reply"})
_MOST_REJECTED = 10  # tickets named in one explanation; an id may have been used by thousands
_LONGEST_KEY = 200  # characters; a longer one is kept by its digest (databases limit what they index)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A ticket the evidence pointed at and the rules refused, for people to see."""

    ticket: int
    rule: str
    evidence: str
    reason: str


@dataclass(slots=True)
class Placement:
    """Where a message went and why. `ticket` may be planned (negative); resolve it with `World.find` at the end."""

    ticket: int
    rule: str = "none"
    evidence: str = ""
    repeat: bool = False  # the same words again
    near: bool = False  # nearly the same words again
    id_reused: bool = False
    follows_up: int | None = None
    rows: list[Row] = field(default_factory=list)  # the evidence this message brings
    rejected: list[Rejected] = field(default_factory=list)


def place(world: World, message: Message) -> Placement:
    """Put a message on a ticket, merging tickets its arrival shows to be one. Changes the world, nothing else."""
    group = world.open(participants_of(message), message.received_at)
    rows = evidence_of(message, group.ticket)
    placement = Placement(group.ticket)
    placement.id_reused = any(True for row in rows if row.role == "own" for _ in world.rows(row.key, "own"))
    if message.author.trust == "failed":
        _keep_apart(world, rows, placement)
        return placement
    placement.rows = rows
    world.add(group, rows)
    machine = answers_by_itself(message)
    for rule, key, other in _implied(world, message, placement):
        _join(world, placement, rule, key, other, machine=machine)
    for candidate in _said_before(world, message, placement):
        _join(world, placement, "near", str(candidate.receipt), candidate.ticket)
    return placement


def may_be_near(message: Message) -> bool:
    """Is this something a person may have said before in nearly the same words? Machines always repeat themselves, a
    call (it has no content key) gets its words later, and in an inbox that anyone may join headers decide alone."""
    person = message.author.identity and not message.automated and message.author.trust != "failed"
    return bool(person and message.content_key and message.text and message.join == "participants")


def _said_before(world: World, message: Message, placement: Placement) -> list[near.Candidate]:
    identity = message.author.identity
    if identity is None or not may_be_near(message) or not world.rules.near_ratio:
        return []
    new = near.Candidate(
        identity, message.text, message.received_at, message.channel, placement.ticket, message.receipt_id
    )
    spoken = world.spoken[identity]
    found = near.confirm(new, spoken, ratio=world.rules.near_ratio, window=world.rules.near_window)
    spoken.append(new)
    return found


def evidence_of(message: Message, ticket: int = 0) -> list[Row]:
    """The evidence rows of a message; ticket 0: not yet on any.

    In an inbox that anyone may join, header evidence is treated like a provider's conversation, as JWZ threading does.
    """
    author = message.author.identity or ""

    def row(key: str, role: Role) -> Row:
        return Row(key, role, author, ticket, message.received_at, message.channel)

    if is_signed_report(message):
        return [row(_scoped(key, message), "report") for key in message.thread_keys if key.kind == "reply_token"]
    rows = [row(_scoped(key, message), _role(key, message)) for key in message.thread_keys if _counts(key, message)]
    if message.content_key and author and message.join == "participants" and not answers_by_itself(message):
        rows.append(row(f"said:{message.content_key}", "content"))
    if message.subject_base and (message.join == "anyone" or message.author.trust == "verified"):
        whose = message.inbox if message.join == "anyone" else author
        looks_stripped = any(key.kind == "subject" for key in message.thread_keys)
        key = f"subject:{digest((message.join, whose, message.subject_base.casefold()))}"
        rows.append(row(key, "resubject" if looks_stripped else "subject"))
    if message.one_case and author and message.author.trust == "verified":
        rows.append(row(f"case:{digest((message.inbox, author))}", "case"))
    return list(dict.fromkeys(rows))


def _counts(key: ThreadKey, message: Message) -> bool:
    """Is this key evidence by itself? Anyone can type a number into a subject; only a proven sender is believed. A
    reply token counts until its day, as of when the message arrived, so that reading it again changes nothing."""
    if key.kind == "subject":
        return False
    if key.kind == "reply_token":
        until = message.fields.get("reply_token_until")
        return not isinstance(until, str) or message.received_at.date().isoformat() <= until
    return key.kind != "subject_number" or message.author.trust == "verified"


def participants_of(message: Message) -> set[str]:
    """Identities that take part through this message: From, To and Cc, without the addresses that are ours."""
    if is_signed_report(message):
        return set()
    ours = {recipient.value for recipient in message.recipients if recipient.role == "envelope"}
    people = {item.identity for item in message.recipients if item.role != "envelope" and item.value not in ours}
    if message.author.value not in ours:
        people.add(message.author.identity)
    return {identity for identity in people if identity}


def answers_by_itself(message: Message) -> bool:
    """Is this a machine's answer to a mail: an absence notice, a bounce, a receipt? A machine's own news is none."""
    if not message.automated:
        return False
    hits = {hit.name for hit in message.automated}
    cites = any(key.kind in ("in_reply_to", "references", "reply_token") for key in message.thread_keys)
    return bool(hits & (_REPORTS | _ABSENCES) or (cites and "auto_submitted" in hits))


def is_report(message: Message) -> bool:
    """Does a mail system speak about a mail: that it failed, waits, was read?"""
    return any(hit.name in _REPORTS for hit in message.automated)


def is_signed_report(message: Message) -> bool:
    """Is this a machine's answer that bears a token of ours?"""
    return answers_by_itself(message) and any(
        key.kind == "reply_token" and _counts(key, message) for key in message.thread_keys
    )


def _scoped(key: ThreadKey, message: Message) -> str:
    if key.kind in _NAMING_A_TICKET:
        return f"{TICKET_KEY}{key.value}"
    value = key.value if len(key.value) <= _LONGEST_KEY else f"digest:{digest((key.value,))}"
    return f"list:{value}" if key.kind != "conversation" and message.join == "anyone" else value


def _role(key: ThreadKey, message: Message) -> Role:
    if key.kind == "conversation" or (message.join == "anyone" and key.kind not in _NAMING_A_TICKET):
        return "conversation"
    return "own" if key.kind == "message_id" else "ref"


def _implied(world: World, message: Message, placement: Placement) -> Iterator[tuple[str, str, int]]:
    """(rule, evidence, ticket) of everything this message's arrival joins directly; fills in what is refused."""
    kinds = {_scoped(key, message): key.kind for key in reversed(message.thread_keys)}
    for row in placement.rows:
        rule = kinds.get(row.key, row.role)
        if row.role == "ref":
            yield from _answered(world, row, rule, placement)
            yield from _siblings(world, row, placement)
        elif row.role == "own":
            yield from _same_id(world, row)
            yield from _answers_to(world, row, placement)
        elif row.role == "report":
            yield from (("report", row.key, other.ticket) for other in world.rows(row.key, "own"))
        else:
            # Newest first: where a person set two tickets of one conversation apart, it goes on in the later one.
            alike = sorted(_alike(world, row), key=lambda other: other.at, reverse=True)
            yield from ((_RULES.get(row.role, rule), row.key, other.ticket) for other in alike)


def _alike(world: World, row: Row) -> Iterator[Row]:
    """Evidence elsewhere that says "the same" by itself: the conversation, the words, the subject, the case."""
    if row.role == "conversation":
        yield from world.rows(row.key, "conversation")
    elif row.role == "content":
        yield from (other for other in world.rows(row.key, "content") if _within_window(row, other))
    elif row.role == "case":
        yield from (other for other in world.rows(row.key, "case") if not world.group(other.ticket).settled)
    else:
        yield from (other for other in world.rows(row.key, "resubject") if abs(row.at - other.at) <= SUBJECT_WINDOW)
        if row.role == "resubject":
            yield from (other for other in world.rows(row.key, "subject") if abs(row.at - other.at) <= SUBJECT_WINDOW)


def _same_id(world: World, row: Row) -> Iterator[tuple[str, str, int]]:
    """The author used the id before, for something else."""
    return (("same_id", row.key, other.ticket) for other in world.rows(row.key, "own") if other.author == row.author)


def _answered(world: World, row: Row, rule: str, placement: Placement) -> Iterator[tuple[str, str, int]]:
    """Tickets that hold the cited message, if our author takes part in them."""
    for ticket in {world.find(other.ticket): None for other in world.rows(row.key, "own")}:
        target = world.group(ticket)
        if row.author in target.participants:
            yield rule, row.key, target.ticket
        elif target.ticket != world.find(placement.ticket):
            _reject(placement, target.ticket, rule, row.key, f"{_person(row.author)} has not taken part in it")


def _reject(placement: Placement, ticket: int, rule: str, evidence: str, reason: str) -> None:
    """Note a ticket for people to see; of an id that thousands use, the first few."""
    if len(placement.rejected) < _MOST_REJECTED:
        placement.rejected.append(Rejected(ticket, rule, evidence, reason))


def _answers_to(world: World, row: Row, placement: Placement) -> Iterator[tuple[str, str, int]]:
    """Tickets of answers that came before this message."""
    for other in world.rows(row.key, "ref"):
        if other.author in world.group(placement.ticket).participants:
            yield "answered_by", row.key, other.ticket


def _siblings(world: World, row: Row, placement: Placement) -> Iterator[tuple[str, str, int]]:
    """Tickets of other messages that cite the same id."""
    for other in world.rows(row.key, "ref"):
        mine, theirs = world.group(placement.ticket), world.group(other.ticket)
        if _are_siblings(row, mine, other, theirs):
            yield "sibling", row.key, other.ticket


def _are_siblings(row: Row, mine: Group, other: Row, theirs: Group) -> bool:
    if not row.author or not other.author:
        return False
    if row.author == other.author:
        return True
    return row.author in theirs.participants and other.author in mine.participants


def _within_window(row: Row, other: Row) -> bool:
    """The content key holds the author, so equal rows are the same person saying the same words."""
    window = SAME_CHANNEL_WINDOW if row.channel == other.channel else ACROSS_CHANNELS_WINDOW
    return abs(row.at - other.at) <= window


def _join(world: World, placement: Placement, rule: str, key: str, other: int, *, machine: bool = False) -> None:
    """Merge the message's ticket with another, and then everything that this makes true.

    A closed ticket takes a `machine`'s answer and nothing else: nobody opens a ticket because of an absence notice.
    """
    mine, theirs = world.group(placement.ticket), world.group(other)
    if mine.ticket == theirs.ticket:
        return
    attaches = machine and theirs.closed and placement.rule == "none"
    if (theirs.closed or mine.closed) and not attaches:
        placement.follows_up = theirs.ticket if theirs.closed else placement.follows_up
        return
    if world.are_apart(mine, theirs):
        _reject(placement, theirs.ticket, rule, key, "a person keeps these tickets apart")
        return
    if placement.rule == "none":
        placement.rule, placement.evidence = rule, key
    placement.repeat = placement.repeat or rule == "repeat"
    placement.near = placement.near or rule == "near"
    if attaches:
        world.merge(theirs, mine, rule, key)
    else:
        _merge(world, mine, theirs, rule, key)


def _merge(world: World, one: Group, other: Group, rule: str, key: str) -> None:
    pending = [(one, other, rule, key)]
    while pending:
        first, second, because, evidence = pending.pop()
        left, right = world.group(first.ticket), world.group(second.ticket)
        if left.ticket == right.ticket or left.closed or right.closed or world.are_apart(left, right):
            continue
        newcomers = left.participants ^ right.participants
        group = world.merge(left, right, because, evidence)
        for mine, row in world.admitted(group, newcomers):
            target = world.group(row.ticket)
            if target.ticket != group.ticket and _admits(group, mine, target, row):
                pending.append((group, target, "admitted", row.key))


def _admits(group: Group, mine: Row, target: Group, row: Row) -> bool:
    """May the ticket of `row`, which cites what `mine` is or cites, join now that the group has grown?"""
    if mine.role == "own":
        return row.author in group.participants
    return _are_siblings(mine, group, row, target)


def _keep_apart(world: World, rows: Sequence[Row], placement: Placement) -> None:
    """Mail that fails authentication joins and attracts nobody; people see where it claims to belong."""
    for row in rows:
        if row.role in ("ref", "report"):
            for other in world.rows(row.key, "own"):
                reason = "the sender's address failed authentication"
                _reject(placement, world.find(other.ticket), "references", row.key, reason)


def _person(identity: str) -> str:
    return identity.partition(":")[2] or "an unknown author"
