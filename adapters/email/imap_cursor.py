"""Where we stand in a mailbox: for each folder UIDVALIDITY, the last UID, and what is still owed below it.

    {"account": "support@example.com at imap.example.com", "folders": {"INBOX": {
        "validity": 1699, "uid": 45, "until": 40, "holes": [[7, 1, 1700000000]], "after": "3:5,9"}}}

UID 45 means: every mail up to 45 was accepted, except the holes, which could not be fetched and are asked for again.
`after` are accepted mails that are still to be moved or flagged. Never an unread mark and never a date: UIDs ascend
strictly within one UIDVALIDITY (RFC 9051 section 2.3.1.1), flags belong to whoever reads the mailbox.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

MAX_UID: Final = 2**32 - 1
MAX_HOLES: Final = 1_000  # a mailbox with more mails that cannot be fetched is broken, and says so
_FIRST_PAUSE: Final = 60  # seconds from the second try to the third
_LONGEST_PAUSE: Final = 6 * 3600


@dataclass(slots=True)
class Hole:
    """A mail that could not be fetched: how often it was tried, and when it is due again (seconds since 1970)."""

    tries: int = 0
    due: int = 0

    def missed(self, now: float) -> None:
        """Count a failure: the next poll tries again, then a minute later, then longer and longer."""
        self.tries += 1
        pause = 0 if self.tries == 1 else min(_FIRST_PAUSE * 2 ** min(self.tries - 2, 20), _LONGEST_PAUSE)
        self.due = int(now) + pause


@dataclass(slots=True)
class FolderState:
    """One folder. `until`: UIDs below it were there before us, and `import_since` decides about them."""

    validity: int = 0
    uid: int = 0
    until: int = 0
    holes: dict[int, Hole] = field(default_factory=dict)
    after: list[int] = field(default_factory=list)

    def restart(self, validity: int, until: int) -> None:
        """Forget everything: UIDs of another UIDVALIDITY name other mails."""
        self.validity, self.uid, self.until = validity, 0, until
        self.holes, self.after = {}, []


@dataclass(slots=True)
class Cursor:
    """The state of every folder of one account."""

    account: str
    folders: dict[str, FolderState] = field(default_factory=dict)

    def folder(self, name: str) -> FolderState:
        """The state of a folder, new when it was never read."""
        return self.folders.setdefault(name, FolderState())

    def dump(self) -> str:
        """The form that is stored."""
        folders = {name: _dump(state) for name, state in self.folders.items() if state.validity}
        return json.dumps({"account": self.account, "folders": folders}, separators=(",", ":"))


def load(text: str, account: str) -> Cursor:
    """The stored cursor. Another account's, or one nobody can read, is none: all is read again, and recognised."""
    try:
        stored: Any = json.loads(text) if text else {}
        if stored.get("account") != account:
            return Cursor(account)
        return Cursor(account, {str(name): _load(state) for name, state in stored["folders"].items()})
    except (ValueError, TypeError, KeyError, AttributeError):
        return Cursor(account)


def _dump(state: FolderState) -> dict[str, Any]:
    stored: dict[str, Any] = {"validity": state.validity, "uid": state.uid, "until": state.until}
    if state.holes:
        stored["holes"] = [[uid, hole.tries, hole.due] for uid, hole in state.holes.items()]
    if state.after:
        stored["after"] = uid_set(state.after)
    return stored


def _load(stored: Any) -> FolderState:
    holes = {int(uid): Hole(int(tries), int(due)) for uid, tries, due in stored.get("holes", ())}
    after = read_uid_set(stored.get("after", ""))
    return FolderState(int(stored["validity"]), int(stored["uid"]), int(stored.get("until", 0)), holes, after)


def uid_set(uids: Iterable[int]) -> str:
    """IMAP's short form of many UIDs: [3, 4, 5, 9] is "3:5,9"."""
    spans: list[list[int]] = []
    for uid in sorted(set(uids)):
        if spans and uid == spans[-1][1] + 1:
            spans[-1][1] = uid
        else:
            spans.append([uid, uid])
    return ",".join(str(low) if low == high else f"{low}:{high}" for low, high in spans)


def read_uid_set(text: str) -> list[int]:
    """The UIDs of a set that `uid_set` wrote. Raises ValueError."""
    uids: list[int] = []
    for span in filter(None, text.split(",")):
        low, _, high = span.partition(":")
        uids.extend(range(int(low), int(high or low) + 1))
    return uids
