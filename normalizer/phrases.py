"""The words of a text, and every three of them in a row: texts that share no such phrase do not say the same.

A shingle (A. Broder, "On the resemblance and containment of documents", 1997) is three words, or three characters where
a script writes no spaces between words.
"""

from __future__ import annotations

import re
import unicodedata
from string import punctuation
from typing import Final

MAX_CHARACTERS: Final = 20_000  # the beginning decides; nobody repeats himself by a text longer than that

# Scripts without spaces between words: Thai, Lao, Myanmar, Khmer, kana, Han (with extension A and the astral planes).
UNSPACED: Final = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff"
_TOKEN: Final = re.compile(rf"[{UNSPACED}]|[^\W_{UNSPACED}]+")
_NO_LETTERS: Final = str.maketrans(dict.fromkeys([*punctuation, *map(chr, range(32)), "\x7f"], " "))


def tokens(text: str) -> list[str]:
    """Words without case and compatibility forms; single characters in scripts without spaces. No punctuation."""
    beginning = text[:MAX_CHARACTERS]
    if beginning.isascii():
        return beginning.casefold().translate(_NO_LETTERS).split()  # what the pattern finds, in a tenth of its time
    return _TOKEN.findall(unicodedata.normalize("NFKC", beginning).casefold())


def phrases(text: str) -> frozenset[tuple[str, ...]]:
    """Every three words in a row; a text of one or two words is a phrase too. Empty when it has no word."""
    words = tokens(text)
    if not words:
        return frozenset()
    words += [""] * (3 - len(words))
    return frozenset(zip(words, words[1:], words[2:], strict=False))
