"""Phrases are what two texts must share to say the same, whatever their case, spacing and script."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normalizer import phrases as module
from normalizer.phrases import MAX_CHARACTERS, phrases, tokens


@given(st.text(max_size=400))
def test_any_text_has_phrases_of_its_words(text: str) -> None:
    words = tokens(text)
    found = phrases(text)
    assert bool(found) == bool(words)
    assert len(found) <= max(1, len(words) - 2)
    assert {word for phrase in found for word in phrase if word} == set(words)


@given(st.text(st.characters(max_codepoint=127), max_size=400))
def test_the_short_way_finds_what_the_pattern_finds(text: str) -> None:
    assert tokens(text) == module._TOKEN.findall(text.casefold())


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
    assert phrases(one) == phrases(other) != frozenset()


def test_order_of_words_matters() -> None:
    assert phrases("alice paid bob twice").isdisjoint(phrases("bob paid alice twice"))


@pytest.mark.parametrize("text", ["", "   \n", "!?…", "👍🏽"])
def test_nothing_said_is_no_phrase(text: str) -> None:
    assert phrases(text) == frozenset()


def test_scripts_without_spaces_are_compared_by_characters() -> None:
    one = "先日注文した商品がまだ届いていません。追跡ページは金曜日から更新されていないようです。"
    other = one.replace("金曜日", "土曜日")
    assert len(phrases(one) & phrases(other)) > 0.75 * len(phrases(one))
    assert len(phrases(one) & phrases("請問可以更換商品嗎？我需要提供照片嗎？謝謝您的協助。")) < 3


def test_only_the_beginning_counts() -> None:
    assert phrases("word " * MAX_CHARACTERS) == {("word", "word", "word")}
    assert phrases("a b c " + "x" * MAX_CHARACTERS + " d e f").isdisjoint(phrases("d e f"))
