"""Long texts as finished JSON: the queue gets byte for byte what it would get without."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sealed import SealedText, insert_sealed, seal, unseal
from normalizer.message import Author, Draft, MessageDraft, UpdateDraft

_LONG = 40_000


def _draft(text: str, full_text: str, html: str) -> MessageDraft:
    author = Author(kind="email", value="anna@customer.example")
    return MessageDraft(author=author, delivery_key="k", text=text, full_text=full_text, html=html)


_SAID = st.characters(exclude_categories=["Cs", "Cc"])  # what a message may hold: controls are cleaned away
_ODD = st.text(_SAID, min_size=1, max_size=12).map(lambda word: word * (_LONG // len(word) + 1))


@given(_ODD, st.just("") | _ODD, st.just("short") | _ODD)
def test_the_wire_form_is_the_same(text: str, full_text: str, html: str) -> None:
    draft = _draft(text, full_text, html)
    beside: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(seal(draft), protocol=5, buffer_callback=beside.append)
    assert len(pickled) < 2_000
    sealed = pickle.loads(pickled, buffers=[bytes(buffer) for buffer in beside])
    assert isinstance(sealed, MessageDraft)
    assert isinstance(sealed.text, SealedText)
    light = sealed.model_dump_json().encode()
    assert len(light) < 2_000
    assert insert_sealed(light, sealed) == draft.model_dump_json().encode()
    assert unseal(sealed) == draft


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_by_itself_is_whole(protocol: int) -> None:
    draft = _draft("a" * _LONG, "b" * _LONG, "")
    assert unseal(pickle.loads(pickle.dumps(seal(draft), protocol))) == draft


def test_equal_texts_are_told_apart() -> None:
    draft = _draft("a" * _LONG, "a" * _LONG, "b" * _LONG)
    sealed = seal(draft)
    assert insert_sealed(sealed.model_dump_json().encode(), sealed) == draft.model_dump_json().encode()


@pytest.mark.parametrize(
    "draft", [_draft("short", "", "<p>short</p>"), UpdateDraft(kind="call", delivery_key="k")], ids=["short", "update"]
)
def test_what_is_short_stays_as_it_is(draft: Draft) -> None:
    assert seal(draft) is draft
    assert unseal(draft) is draft
    assert insert_sealed(b"body", draft) == b"body"
