"""Archives with a known grouping, read by the mail adapter; and how well a grouping matches another one."""

from __future__ import annotations

import json
import tarfile
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from adapters.base import Raw
from adapters.email import Email, EmailOptions
from gateway.ids import uuid7
from normalizer.message import Join, Message, MessageDraft, stamp

FOLDER = Path(__file__).parents[2] / "../shared/corpora/threads"
NOTMUCH, STRIPPED = "notmuch-default.tar.gz", "notmuch-default.stripped.tar.gz"
_START = datetime(2026, 8, 1, tzinfo=UTC)

KeyT = TypeVar("KeyT", bound=Hashable)


class Mail(NamedTuple):
    """One mail of the archive: its number, the thread its headers put it in, the message made of its bytes."""

    number: int
    thread: str
    message: Message


class Score(NamedTuple):
    """Over pairs of mails: how many of those put together belong together, and how many of those belonging are."""

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        return 2 * self.precision * self.recall / (self.precision + self.recall or 1)


@cache
def archive(name: str, join: Join) -> tuple[Mail, ...]:
    """The mails, in the order of the archive. They arrive when they say they were sent (else: one minute apart)."""
    rows = [json.loads(line) for line in (FOLDER / "notmuch-default.truth.jsonl").read_text().splitlines()]
    adapter = Email("list", EmailOptions(channel="email", join=join))
    with tarfile.open(FOLDER / name) as tar:
        bodies = {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}  # type: ignore[union-attr]
    return tuple(
        Mail(row["n"], row["thread_id"], read(adapter, bodies[row["file"]], join, row))
        for row in rows
        if row["truth_clean"]
    )


def read(adapter: Email, body: bytes, join: Join, row: Mapping[str, Any]) -> Message:
    """One mail as the gateway would queue it."""
    [draft] = adapter.normalize(Raw(body, "message/rfc822"))
    assert isinstance(draft, MessageDraft)
    sent = row.get("date")
    return stamp(
        draft,
        receipt_id=uuid7(),
        gateway="test",
        sequence=row["n"] + 1,
        channel="email",
        inbox="list",
        join=join,
        received_at=datetime.fromisoformat(sent).astimezone(UTC) if sent else _START + timedelta(minutes=row["n"]),
    )


def pairs(groups: Mapping[KeyT, Hashable]) -> set[frozenset[KeyT]]:
    """Every two keys that are in one group."""
    members: dict[Hashable, list[KeyT]] = defaultdict(list)
    for key, group in groups.items():
        members[group].append(key)
    return {frozenset(pair) for group in members.values() for pair in combinations(group, 2)}


def score(found: Mapping[KeyT, Hashable], truth: Mapping[KeyT, Hashable]) -> Score:
    """Precision and recall over pairs."""
    ours, theirs = pairs(found), pairs(truth)
    common = len(ours & theirs)
    return Score(common / (len(ours) or 1), common / (len(theirs) or 1))


def by_subject(mails: Iterable[Mail], days: int = 14) -> dict[int, int]:
    """What help desks without headers do: the same base subject within so many days of the last such mail."""
    found: dict[int, int] = {}
    latest: dict[str, tuple[datetime, int]] = {}
    for mail in sorted(mails, key=lambda mail: mail.message.received_at):
        at, subject = mail.message.received_at, mail.message.subject_base
        before, group = latest.get(subject, (None, mail.number))
        if before is None or not subject or at - before > timedelta(days=days):
            group = mail.number
        latest[subject] = (at, group)
        found[mail.number] = group
    return found


def tree_groups(lines: Sequence[str]) -> list[list[str]]:
    """The subjects of each tree, dummies left out."""
    found: list[list[str]] = []
    for line in lines:
        if not line.startswith(" "):
            found.append([])
        if line.strip() != "dummy":
            found[-1].append(line.strip())
    return found
