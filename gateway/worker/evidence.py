"""What is known about conversations: evidence rows, who takes part, and which tickets have become one.

`World` is a view of that knowledge while one batch is planned: rows of the database that matter, plus what the batch
adds. It asks a `Lookup` for more only when a ticket gains participants, which is rare; everything else is loaded for
the whole batch at once. With no lookup it is a complete in-memory model, which is how the properties are tested.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, NamedTuple, Protocol

from gateway.worker import near

Role = Literal["own", "ref", "conversation", "content", "subject", "resubject", "case", "report"]


class Row(NamedTuple):
    """One piece of evidence: a ticket has a message with this key in this role, written by this author at this time.

    `own`: the message's id; `ref`: an id it answers; `conversation`: the provider's conversation; `content`: its words;
    `subject`: its author and bare subject, `resubject` when it looks like a reply whose headers were stripped; `case`:
    its author, where an inbox keeps one open case a person; `report`: the ticket whose token a machine's answer bears.
    """

    key: str
    role: Role
    author: str  # `kind:value`; empty: nobody
    ticket: int  # negative while the ticket is only planned
    at: datetime
    channel: str

    def on(self, ticket: int) -> Row:
        """The same on a ticket."""
        return Row(self.key, self.role, self.author, ticket, self.at, self.channel)


class Merged(NamedTuple):
    """Two tickets that are one from now on, and what showed it."""

    absorbed: int
    survivor: int
    rule: str
    evidence: str


@dataclass(slots=True)
class Group:
    """A ticket as matching sees it."""

    ticket: int
    participants: set[str]
    created_at: datetime
    closed: bool = False
    settled: bool = False  # solved or closed
    asleep: bool = False  # pending, on hold or solved: until a customer writes
    apart: set[int] = field(default_factory=set)  # tickets a person keeps apart from it
    rows: list[Row] = field(default_factory=list)  # evidence the current batch added
    known: set[int] = field(default_factory=set)  # ids of tickets in the database that are part of it


class Lookup(Protocol):
    """Questions to the database that cannot be asked for a whole batch beforehand."""

    def admitted(
        self, tickets: Collection[int], identities: Collection[str], cited: Collection[str], keys: Collection[str]
    ) -> Iterable[Row]:
        """Rows of the tickets, and `ref` rows elsewhere by one of the identities, that share a key; rows of the tickets
        with one of the keys `cited`; and `ref` rows with one of the `keys`, written by one of the identities."""

    def groups(self, tickets: Collection[int]) -> Iterable[Group]:
        """Tickets with their participants."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a desk may set about recognising the same matter."""

    near_ratio: float = near.RATIO  # percent; 0 turns near-duplicates off
    near_window: timedelta = near.WINDOW


class World:
    """Evidence by key, groups by ticket, and a union-find over tickets that turn out to be one."""

    def __init__(self, lookup: Lookup | None = None, rules: Rules | None = None) -> None:
        self.rules = rules or Rules()
        self.spoken: dict[str, list[near.Candidate]] = defaultdict(list)  # what an author said lately
        self._lookup = lookup
        self._rows: dict[str, dict[Row, None]] = defaultdict(dict)
        self._groups: dict[int, Group] = {}
        self._parent: dict[int, int] = {}
        self._planned = 0
        self.merged: list[Merged] = []  # in order

    def load(self, rows: Iterable[Row], groups: Iterable[Group]) -> None:
        """Take in what the database knows."""
        for group in groups:
            group.known.add(group.ticket)
            self._groups.setdefault(group.ticket, group)
        self._remember(rows)

    def open(self, participants: Iterable[str], created_at: datetime) -> Group:
        """A new ticket, planned under a negative number."""
        self._planned -= 1
        group = Group(self._planned, set(participants), created_at)
        self._groups[group.ticket] = group
        return group

    def add(self, group: Group, rows: Iterable[Row]) -> None:
        """Evidence that a message of this batch brings."""
        fresh = list(rows)
        group.rows.extend(fresh)
        for row in fresh:
            self._rows[row.key][row] = None

    def rows(self, key: str, role: Role) -> Iterator[Row]:
        """Evidence with this key and role."""
        return (row for row in list(self._rows.get(key, ())) if row.role == role)

    def group(self, ticket: int) -> Group:
        """The group a ticket belongs to now."""
        root = self.find(ticket)
        if root not in self._groups:
            if self._lookup is None:
                raise KeyError(root)
            self.load((), self._lookup.groups([root]))
        return self._groups[root]

    def find(self, ticket: int) -> int:
        """The surviving ticket number."""
        while (parent := self._parent.get(ticket)) is not None:
            ticket = parent
        return ticket

    def merge(self, one: Group, other: Group, rule: str = "", evidence: str = "") -> Group:
        """Make two groups one; the older ticket survives (ties: the smaller existing number), planned ones never do."""
        survivor, absorbed = sorted((one, other), key=_seniority)
        self._parent[absorbed.ticket] = survivor.ticket
        survivor.participants |= absorbed.participants
        survivor.rows += absorbed.rows
        survivor.known |= absorbed.known
        survivor.apart |= absorbed.apart
        self.merged.append(Merged(absorbed.ticket, survivor.ticket, rule, evidence))
        return survivor

    def are_apart(self, one: Group, other: Group) -> bool:
        """Has a person said that these are two matters?"""
        return any(self.find(ticket) == other.ticket for ticket in one.apart) or any(
            self.find(ticket) == one.ticket for ticket in other.apart
        )

    def admitted(self, group: Group, identities: Collection[str]) -> list[tuple[Row, Row]]:
        """(own or citing row of the group, citing row elsewhere by one of the identities) sharing a key."""
        if self._lookup is not None and identities:
            self._look_up_admitted(self._lookup, group, identities)
        return [
            (mine, other)
            for mine in self._rows_of(group)
            for other in self.rows(mine.key, "ref")
            if other.author in identities and self.find(other.ticket) != group.ticket
        ]

    def _look_up_admitted(self, lookup: Lookup, group: Group, identities: Collection[str]) -> None:
        """The pair may be stored on both sides, on either, or on neither (then both rows are here already)."""
        every = (row for rows in self._rows.values() for row in rows)
        cited = {row.key for row in every if row.role == "ref" and row.author in identities} if group.known else ()
        keys = {row.key for row in group.rows if row.role in ("own", "ref")}
        self._remember(lookup.admitted(sorted(group.known), sorted(identities), sorted(cited), sorted(keys)))

    def _rows_of(self, group: Group) -> list[Row]:
        return [
            row
            for rows in self._rows.values()
            for row in rows
            if row.role in ("own", "ref") and self.find(row.ticket) == group.ticket
        ]

    def _remember(self, rows: Iterable[Row]) -> None:
        missing = set()
        for row in rows:
            self._rows[row.key][row] = None
            if self.find(row.ticket) not in self._groups:
                missing.add(row.ticket)
        if missing and self._lookup is not None:
            self.load((), self._lookup.groups(sorted(missing)))


def _seniority(group: Group) -> tuple[bool, datetime, int]:
    return group.ticket < 0, group.created_at, abs(group.ticket)
