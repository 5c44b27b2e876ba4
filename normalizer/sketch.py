"""A small, fixed-size picture of what a text says: texts that share most of their phrases share most of the picture.

A bottom-k sketch (A. Broder, "On the resemblance and containment of documents", 1997) of the text's shingles: every
three words in a row, or three characters where a script writes no spaces between words. Equal on every machine and in
every process, so it may be stored and compared years later.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from functools import lru_cache
from heapq import nsmallest
from typing import Final

SIZE: Final = 64  # hashes kept; the standard error of `similarity` is below 1 / sqrt(64) = 0.125
MAX_CHARACTERS: Final = 20_000  # the beginning decides; nobody repeats himself by a text longer than that

# Scripts without spaces between words: Thai, Lao, Myanmar, Khmer, kana, Han (with extension A and the astral planes).
UNSPACED: Final = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff"
_TOKEN: Final = re.compile(rf"[{UNSPACED}]|[^\W_{UNSPACED}]+")


def tokens(text: str) -> list[str]:
    """Words without case and compatibility forms; single characters in scripts without spaces. No punctuation."""
    return _TOKEN.findall(unicodedata.normalize("NFKC", text[:MAX_CHARACTERS]).casefold())


def sketch(text: str) -> tuple[int, ...]:
    """At most `SIZE` unsigned 64-bit integers, ascending; empty when the text has no word. Linear in the text."""
    words = tokens(text)
    if not words:
        return ()
    hashes = [_hash(word) for word in words]
    hashes += [0] * (3 - len(hashes))  # one or two words are a shingle too
    return tuple(sorted({_mix(*shingle) for shingle in zip(hashes, hashes[1:], hashes[2:], strict=False)})[:SIZE])


def similarity(a: tuple[int, ...], b: tuple[int, ...]) -> float:
    """Estimated share of common shingles (Jaccard), 0 to 1; exact when both texts have at most `SIZE`. Symmetric.

    A text without words resembles nothing, not even another one.
    """
    ours, theirs = set(a), set(b)
    if ours.isdisjoint(theirs):
        return 0.0
    sample = nsmallest(SIZE, ours | theirs)
    return sum(1 for item in sample if item in ours and item in theirs) / len(sample)


@lru_cache(16_384)
def _hash(word: str) -> int:
    """64-bit BLAKE2b. Hashing words rather than shingles, and remembering them, takes a fifth of the time."""
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest())


def _mix(one: int, two: int, three: int) -> int:
    """A shingle's hash: which words, and in which order. Odd multipliers, so no word is lost from it."""
    return (one * 0x9E3779B97F4A7C15 ^ two * 0xC2B2AE3D27D4EB4F ^ three) & _MASK


_MASK: Final = (1 << 64) - 1
