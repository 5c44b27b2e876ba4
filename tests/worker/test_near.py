"""Near-duplicates: found and confirmed between messages of one person, refused where two matters only look alike."""

from __future__ import annotations

import itertools
import random
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz import fuzz

from gateway.demo.people import words
from gateway.worker import near
from gateway.worker.near import (
    MAX_CANDIDATES,
    MAX_LENGTH,
    MIN_WEIGHT,
    RATIO,
    Candidate,
    Wording,
    confirm,
    resemblance,
)
from normalizer.phrases import phrases
from tests.worker.conversations import START
from tests.worker.near_pairs import DIFFERENT, LOGIN, ORDER, SAME

ALICE = "email:alice@example.test"


def said(text: str, *, author: str = ALICE, minute: float = 0, ticket: int = 1, channel: str = "form") -> Candidate:
    at = START + timedelta(minutes=minute)
    return Candidate(author, Wording(text), at, channel, ticket, UUID(int=ticket))


def weight_of(text: str) -> int:
    return Wording(text).words.weight


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME.keys())
def test_the_same_said_again_is_found_and_confirmed(one: str, other: str) -> None:
    assert not phrases(one).isdisjoint(phrases(other)), "found by a phrase"
    assert confirm(said(one), [said(other, ticket=7)]) == [said(other, ticket=7)]
    assert confirm(said(other), [said(one)]) == [said(one)]


@pytest.mark.parametrize(("one", "other"), DIFFERENT.values(), ids=DIFFERENT.keys())
def test_what_may_be_another_matter_is_not(one: str, other: str) -> None:
    assert confirm(said(one), [said(other)]) == []
    assert confirm(said(other), [said(one)]) == []


def test_letters_alone_would_not_do() -> None:
    """Why the words are compared: most pairs of the second table pass any threshold that the first one passes."""
    alike = [pair for pair in DIFFERENT.values() if fuzz.ratio(*pair) >= RATIO]
    assert len(alike) >= 9
    assert min(fuzz.ratio(*pair) for pair in SAME.values()) < 60, "and a signature would fail it"


def test_different_people_never_meet() -> None:
    bob = said(LOGIN, author="email:bob@example.test")
    assert confirm(said(LOGIN), [bob]) == []
    assert confirm(said(LOGIN, author=""), [said(LOGIN, author="")]) == []


def test_the_window_is_counted_both_ways() -> None:
    assert confirm(said(LOGIN), [said(LOGIN, minute=60)])
    assert confirm(said(LOGIN, minute=60), [said(LOGIN)])
    assert not confirm(said(LOGIN), [said(LOGIN, minute=61)])
    assert confirm(said(LOGIN), [said(LOGIN, minute=61)], window=timedelta(hours=24))


def test_all_that_agree_are_told_the_most_alike_first() -> None:
    edited = LOGIN.replace("password", "pasword")
    pool = [said(edited, ticket=1), said(ORDER, ticket=2), said(LOGIN, ticket=3, minute=2), said(LOGIN, ticket=4)]
    assert [found.ticket for found in confirm(said(LOGIN), pool)] == [4, 3, 1]
    assert [found.ticket for found in confirm(said(LOGIN), pool, ratio=100)] == [4, 3]


def test_short_texts_are_nobodys_duplicate() -> None:
    """80 letters: below, the demo's and the archives' real texts collide; above, none does (next test)."""
    for text in ("thanks", "any news?", "Is there any update on my ticket? It is really urgent for us now."):
        assert weight_of(text) < MIN_WEIGHT
        assert not confirm(said(text), [said(text)])
    assert weight_of("何か進展はありましたか?") == 12 + 11


def test_no_two_texts_of_the_demo_are_taken_for_one() -> None:
    """Eleven languages, 200 texts: openings, follow-ups and thanks as customers write them."""
    texts = sorted({scene[part] for scene in words()["scene"] for part in ("open", "brief", "more", "thanks")})
    assert len(texts) > 200
    pool = [said(text) for text in texts]
    assert [pair for pair in itertools.combinations(pool, 2) if confirm(pair[0], [pair[1]])] == []


@given(st.sampled_from([LOGIN, ORDER]), st.lists(st.tuples(st.integers(0, 160), st.characters()), max_size=12))
def test_the_relation_is_symmetric_whatever_is_typed(text: str, edits: list[tuple[int, str]]) -> None:
    letters = list(text)
    for place, letter in edits:
        letters.insert(place, letter)
    edited = "".join(letters)
    assert resemblance(text, edited) == resemblance(edited, text)
    assert bool(confirm(said(text), [said(edited)])) == bool(confirm(said(edited), [said(text)]))


@given(st.text(max_size=300), st.text(max_size=300))
def test_any_two_texts_can_be_compared(one: str, other: str) -> None:
    assert 0 <= resemblance(one, other) <= 100
    assert resemblance(one, other) == resemblance(other, one)


@given(st.text(st.sampled_from("ab 1@.,;:!?()[]{}<>\"'#$*/=+_-\n"), max_size=60))
def test_what_is_named_is_found_alike_in_every_alphabet(text: str) -> None:
    """ASCII has a short way; a letter of another alphabet at the end takes the long one."""
    assert near._read(text).names == near._read(f"{text} é").names


def test_a_machine_is_not_compared_with_all_it_ever_said() -> None:
    """Fifty within the window are compared, more are not: otherwise a storm of alerts would hold up everybody."""
    pool = [said(LOGIN, minute=number / 10) for number in range(MAX_CANDIDATES)]
    assert len(confirm(said(LOGIN), pool)) == MAX_CANDIDATES
    assert confirm(said(LOGIN), [*pool, said(LOGIN)]) == []
    earlier = [said(LOGIN, minute=-61), said(LOGIN, author="email:bob@example.test")]
    assert len(confirm(said(LOGIN), pool + earlier * 5)) == MAX_CANDIDATES, "only what is around counts"


def test_huge_texts_are_not_compared() -> None:
    huge = " ".join(LOGIN.replace(" ", f" {letter}", 9) for letter in "abcdefghijklmnopqrstuvwxyz")
    assert len(huge) > MAX_LENGTH
    assert resemblance(huge, huge) == 0
    assert resemblance(huge[:3500], huge[:3400]) > RATIO


@pytest.mark.timeout(20)
@pytest.mark.parametrize("letter", ["-", "x", "é"])
def test_one_long_word_is_read_in_one_pass(letter: str) -> None:
    """A pattern that tries every letter as a beginning needs half a second for each of these texts (A39)."""
    pool = [said(f"{letter * 7_000} {LOGIN} {number}") for number in range(MAX_CANDIDATES)]
    for _ in range(3):
        assert confirm(said(letter * 8_000), [said(item.wording.text) for item in pool]) == []


def test_what_shares_no_phrase_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """An author of many different letters costs a glance at each, not a comparison of all their words."""
    texts = [scene["open"] for scene in words()["scene"] if weight_of(scene["open"]) >= MIN_WEIGHT][:MAX_CANDIDATES]
    assert len(texts) >= 10
    compared = []

    def compare(one: str, other: str, least: float) -> float:
        compared.append((one, other))
        return 0.0

    monkeypatch.setattr("gateway.worker.near._ratio", compare)
    for number, text in enumerate(texts):
        confirm(said(text), [said(other) for other in texts[:number]])
    assert len(compared) < len(texts)


def test_letters_with_typing_errors_share_a_phrase() -> None:
    """Up to four of them anywhere in a letter: what the ratio would confirm is found."""
    rng = random.Random(5)
    texts = [scene["open"] for scene in words()["scene"] if weight_of(scene["open"]) >= MIN_WEIGHT]
    alike = lost = 0
    for text in texts * 20:
        other = text
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(other) - 1)
            other = other[:place] + other[place + 1] + other[place] + other[place + 2 :]
        if resemblance(text, other) >= RATIO:
            alike += 1
            lost += phrases(text).isdisjoint(phrases(other))
    assert alike > 300
    assert lost < alike / 200
