"""A sketch says how much of two texts is the same, on every machine, in time that grows with the text alone."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normalizer.sketch import SIZE, similarity, sketch, tokens

WORDS = [f"word{number}" for number in range(400)]


def shingles(text: str) -> set[tuple[str, ...]]:
    words = tokens(text)
    return set(zip(words, words[1:], words[2:], strict=False))


@given(st.text(max_size=400))
def test_any_text_has_a_sketch(text: str) -> None:
    found = sketch(text)
    assert list(found) == sorted(set(found))
    assert len(found) <= SIZE
    assert all(0 <= item < 1 << 64 for item in found)
    assert bool(found) == bool(tokens(text))
    assert similarity(found, found) == (1.0 if found else 0.0)


@given(st.integers(0, 2**32), st.integers(0, 60))
def test_the_estimate_is_exact_for_short_texts_and_symmetric(seed: int, edits: int) -> None:
    rng = random.Random(seed)
    one = rng.choices(WORDS, k=SIZE)
    other = [rng.choice(WORDS) if number < edits else word for number, word in enumerate(one)]
    a, b = " ".join(one), " ".join(other)
    ours, theirs = shingles(a), shingles(b)
    if len(ours | theirs) <= SIZE:
        assert similarity(sketch(a), sketch(b)) == len(ours & theirs) / len(ours | theirs)
    assert similarity(sketch(a), sketch(b)) == similarity(sketch(b), sketch(a))


@pytest.mark.parametrize("kept", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_the_estimate_is_close_for_long_texts(kept: float) -> None:
    rng = random.Random(str(kept))
    errors = []
    for _ in range(40):
        one = [f"w{rng.randrange(10**6)}" for _ in range(1_000)]
        other = [*one[: int(kept * 1_000)], *(f"v{rng.randrange(10**6)}" for _ in range(1_000 - int(kept * 1_000)))]
        a, b = " ".join(one), " ".join(other)
        truth = len(shingles(a) & shingles(b)) / len(shingles(a) | shingles(b))
        errors.append(similarity(sketch(a), sketch(b)) - truth)
    assert abs(sum(errors) / len(errors)) < 0.04, "unbiased"
    assert max(map(abs, errors)) < 0.25, "four standard errors"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Where is my PARCEL?", "where is  my\nparcel"),
        ("ｗｈｅｒｅ is my parcel", "where is my parcel"),
        ("荷物が届きません。", "荷物が、届きません"),
        ("ok", "OK!"),
    ],
)
def test_case_spacing_and_punctuation_do_not_matter(one: str, other: str) -> None:
    assert sketch(one) == sketch(other) != ()


def test_order_of_words_matters() -> None:
    assert similarity(sketch("alice paid bob twice"), sketch("bob paid alice twice")) == 0


@pytest.mark.parametrize("text", ["", "   \n", "!?…", "👍🏽"])
def test_nothing_said_resembles_nothing(text: str) -> None:
    assert sketch(text) == ()
    assert similarity(sketch(text), sketch(text)) == 0.0


def test_scripts_without_spaces_are_compared_by_characters() -> None:
    one = "先日注文した商品がまだ届いていません。追跡ページは金曜日から更新されていないようです。"
    assert similarity(sketch(one), sketch(one.replace("金曜日", "土曜日"))) > 0.75
    assert similarity(sketch(one), sketch("請問可以更換商品嗎？我需要提供照片嗎？謝謝您的協助。")) < 0.05


def test_the_sketch_is_the_same_in_another_process() -> None:
    text = "the sketch may be stored and compared years later"
    script = f"from normalizer.sketch import sketch; print(sketch({text!r}))"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == str(sketch(text))
    assert sketch(text)[0] == 1666566398546112537, "a change of the hash would make stored sketches worthless"
