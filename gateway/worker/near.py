"""Has this person said nearly the same before? (DESIGN 6: an edited resend; the form, then a mail with a signature.)

What the same author said within the window is found when it shares a phrase and confirmed by comparing the words
(`resemblance`, a ratio). Two people can never meet here. The relation is symmetric and looks at nothing but two
messages, so it may be added to the rules of `matching` without making order matter.

Missing a near-duplicate costs a second ticket, as it would without this; joining two matters of one person hides one of
them. Hence what differs has to be something added, left out or mistyped. Text in which one word stands where another
stood ("deactivate Anna's account", "deactivate Peter's account") or in which each has a number, an address or a date
that the other lacks is a form letter used twice, however alike it looks.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from itertools import filterfalse
from typing import Final, NamedTuple
from uuid import UUID

from rapidfuzz import fuzz
from rapidfuzz.distance import Levenshtein

from normalizer.phrases import UNSPACED, phrases, tokens

MIN_WEIGHT: Final = 80  # see `_weigh`: below it, people say the same about different matters
RATIO: Final = 88.0  # percent; default of the setting near_duplicate_ratio
WINDOW: Final = timedelta(minutes=60)  # default of the setting near_duplicate_window_minutes
MAX_LENGTH: Final = 4_000  # letters; comparing takes time that grows with their square: 1 ms for two such texts
MAX_CANDIDATES: Final = 50  # who says more within the window is a machine, and its alerts are not compared
_TAIL: Final = 400  # characters a signature may add
_WEIGHED: Final = 2_000  # characters of the beginning
_TYPO: Final = 60.0  # percent of equal letters in a word and its misspelling


@dataclass(frozen=True)
class Wording:
    """A text as it is compared: read once, however many others it is compared with."""

    text: str

    @cached_property
    def words(self) -> _Words:
        """In one spelling."""
        return _read(self.text)

    @cached_property
    def phrases(self) -> frozenset[tuple[str, ...]]:
        """What it says at a glance: a fraction of the work of comparing the words, once they are found."""
        return phrases(self.text)

    def prepare(self) -> None:
        """Read it now rather than when others wait; its phrases few are asked for."""
        _ = self.words

    @property
    def says_enough(self) -> bool:
        """Enough to be the same matter as something else, and not too much to be compared?"""
        return self.words.weight >= MIN_WEIGHT and len(self.words.plain) <= MAX_LENGTH


@dataclass(frozen=True, slots=True)
class Candidate:
    """What somebody said, and where it is: the message itself (`receipt`), its ticket (planned ones are negative)."""

    author: str  # `kind:value`; empty: nobody
    wording: Wording  # of what they newly wrote
    at: datetime
    channel: str
    ticket: int = 0
    receipt: UUID | None = None


def confirm(
    new: Candidate, candidates: Sequence[Candidate], *, ratio: float = RATIO, window: timedelta = WINDOW
) -> list[Candidate]:
    """Those of the candidates that say nearly the same as `new`, the most alike first (ties: the earlier).

    All of them, because each is the same matter: taking only the best would make the order of arrival matter. None
    when the author said more than `MAX_CANDIDATES` things within the window.
    """
    if not new.author:
        return []
    around = [other for other in candidates if other.author == new.author and abs(other.at - new.at) <= window]
    if len(around) > MAX_CANDIDATES:
        return []
    alike = [
        (-score, other.at, number)
        for number, other in enumerate(around)
        if _may_agree(new.wording, other.wording)
        and not new.wording.phrases.isdisjoint(other.wording.phrases)
        and (score := _ratio(new.wording.words.plain, other.wording.words.plain, ratio)) >= ratio
    ]
    return [around[number] for _, _, number in sorted(alike)]


def resemblance(one: str, other: str) -> float:
    """0 to 100, symmetric: how much of the two texts is the same. 0 for two matters, and for short and huge texts.

    What a signature adds behind the text counts for nothing; everything else counts by letters (`fuzz.ratio`).
    """
    a, b = Wording(one), Wording(other)
    return _ratio(a.words.plain, b.words.plain, 0) if _may_agree(a, b) else 0.0


class _Words(NamedTuple):
    """A text without case and spacing; what it names by number or address; how much it says."""

    plain: str
    names: frozenset[str]
    weight: int


def _read(text: str) -> _Words:
    beginning = text[: 2 * MAX_LENGTH]
    composed = beginning if beginning.isascii() else unicodedata.normalize("NFKC", beginning)
    plain = " ".join(composed.casefold().split())
    runs = plain.translate(_BETWEEN).split() if plain.isascii() else _RUN.findall(plain)
    unspelt = filterfalse(str.isalpha, runs)  # most are words of letters only, which a pattern takes longer to say
    names = frozenset(run.strip("#.:-–*_/=+€$£") for run in unspelt if _NUMBER.search(run))
    return _Words(plain, names, _weigh(plain[:_WEIGHED].rstrip()))


def _may_agree(one: Wording, other: Wording) -> bool:
    """The cheap tests: enough is said, not too much, and neither names a number or an address the other lacks."""
    if not (one.says_enough and other.says_enough):
        return False
    return one.words.names <= other.words.names or other.words.names <= one.words.names


def _ratio(one: str, other: str, least: float) -> float:
    """By letters first: one in thousands of pairs has its words compared one by one."""
    short, long = sorted((one, other), key=lambda text: (len(text), text))
    score = fuzz.ratio(short, long, score_cutoff=least)
    if len(long) - len(short) <= _TAIL:
        score = max(score, fuzz.ratio(short, long[: len(short)], score_cutoff=least))
    return score if score and not _words_replaced(tokens(short), tokens(long)) else 0.0


def _weigh(words: str) -> int:
    """In letters of a script that spells; a character of a script without spaces counts twice."""
    return len(words) + (0 if words.isascii() else len(_UNSPACED.findall(words)))


_UNSPACED: Final = re.compile(f"[{UNSPACED}]")
# Two steps: one pattern for a run with a digit in it tries every letter of a long word as its beginning.
_RUN: Final = re.compile(r"[^\s,;!?()\[\]{}<>\"'«»„“”、。，]+")
_BETWEEN: Final = str.maketrans(dict.fromkeys(",;!?()[]{}<>\"'", " "))  # the same for ASCII, in a tenth of its time
_NUMBER: Final = re.compile(r"[\d@]")


def _words_replaced(one: list[str], other: list[str]) -> bool:
    """Whether a word stands where another one stood, rather than being added, left out or misspelt."""
    return any(
        step.tag == "replace"
        and fuzz.ratio(" ".join(one[step.src_start : step.src_end]), " ".join(other[step.dest_start : step.dest_end]))
        < _TYPO
        for step in Levenshtein.opcodes(one, other)
    )
