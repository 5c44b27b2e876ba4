"""What the senders know: every attempt and every acknowledgement, on disk before anything else happens.

The other half of the total-queue check (Jepsen's name for it): the desk's own records are never asked what was sent.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing a sender wants stored: a whole message, or for calls one event of it."""

    channel: str
    external_id: str
    part: str = ""  # calls: the event


class Journal:
    """An append-only file of JSON lines, fsynced a line."""

    def __init__(self, path: Path) -> None:
        self.attempted: dict[Fact, None] = {}
        self.acknowledged: dict[Fact, str] = {}  # with the receipt the sender was told, if any
        self.words: dict[Fact, str] = {}  # what the comment has to say
        self.unanswered: Counter[str] = Counter()  # by channel: no answer, or a temporary refusal
        self.refused: list[str] = []  # answers that no sender of an honest message may ever hear
        self._file = path.open("a", encoding="utf-8")

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def attempt(self, fact: Fact, words: str = "") -> None:
        """Before the first byte is sent."""
        self.attempted[fact] = None
        if words:
            self.words[fact] = words
        self._write("attempt", fact)

    def acknowledge(self, fact: Fact, receipt: str = "") -> None:
        """The desk said that it has it."""
        self.acknowledged[fact] = receipt
        self._write("acknowledged", fact, receipt)

    def fail(self, fact: Fact, reason: str) -> None:
        """No answer, or "later": the sender keeps it."""
        self.unanswered[fact.channel] += 1
        self._write("failed", fact, reason)

    def refuse(self, fact: Fact, answer: str) -> None:
        """The desk said "never" to an honest message."""
        self.refused.append(f"{fact}: {answer}")
        self._write("refused", fact, answer)

    def _write(self, what: str, fact: Fact, note: str = "") -> None:
        self._file.write(json.dumps([what, fact.channel, fact.external_id, fact.part, note]) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())
