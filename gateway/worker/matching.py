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
from dataclasses import dataclass, field, replace
from datetime import timedelta

from gateway.worker import near
from gateway.worker.clues import Clues, scoped
from gateway.worker.evidence import Group, Row, World
from normalizer.message import Message

SAME_CHANNEL_WINDOW = timedelta(minutes=10)
ACROSS_CHANNELS_WINDOW = timedelta(hours=24)
SUBJECT_WINDOW = timedelta(days=14)
_RULES = {"content": "repeat", "subject": "subject", "resubject": "subject", "case": "case"}
_MOST_REJECTED = 10  # tickets named in one explanation; an id may have been used by thousands


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


def place(world: World, clues: Clues) -> Placement:
    """Put a message on a ticket, merging tickets its arrival shows to be one. Changes the world, nothing else."""
    message = clues.message
    group = world.open(clues.people, message.received_at)
    rows = [row.on(group.ticket) for row in clues.rows]
    placement = Placement(group.ticket)
    placement.id_reused = any(True for row in rows if row.role == "own" for _ in world.rows(row.key, "own"))
    if message.author.trust == "failed":
        _keep_apart(world, rows, placement)
        return placement
    placement.rows = rows
    world.add(group, rows)
    for rule, key, other in _implied(world, message, placement):
        _join(world, placement, rule, key, other, machine=clues.answers_by_itself)
    for candidate in _said_before(world, clues.said, placement):
        _join(world, placement, "near", str(candidate.receipt), candidate.ticket)
    return placement


def _said_before(world: World, said: near.Candidate | None, placement: Placement) -> list[near.Candidate]:
    if said is None or not world.rules.near_ratio:
        return []
    new = replace(said, ticket=placement.ticket)
    spoken = world.spoken[new.author]
    found = near.confirm(new, spoken, ratio=world.rules.near_ratio, window=world.rules.near_window)
    spoken.append(new)
    return found


def _implied(world: World, message: Message, placement: Placement) -> Iterator[tuple[str, str, int]]:
    """(rule, evidence, ticket) of everything this message's arrival joins directly; fills in what is refused."""
    kinds = {scoped(key, message): key.kind for key in reversed(message.thread_keys)}
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
