"""Long texts on their way through the gateway, as the JSON they will be in the queue.

Encoding a text of a megabyte takes its process up to twenty milliseconds in which it does nothing else. The child that
reads long arrivals (`gateway.apart`) encodes their texts as well, and the gateway, which has no use for the words, puts
the finished JSON where it belongs.
"""

from __future__ import annotations

from pickle import PickleBuffer
from typing import Any, Final
from uuid import uuid4

from pydantic_core import from_json, to_json

from normalizer.message import Draft, MessageDraft

_LONG: Final = 32 * 1024  # characters
_FIELDS: Final = ("text", "full_text", "html")


class SealedText(str):
    """Stands for a long text by a word that stands nowhere else; `json` is the text itself, encoded."""

    json: bytes

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """Between processes `json` travels beside the pickle and is copied by nobody (PEP 574)."""
        return _sealed, (str(self), PickleBuffer(self.json) if protocol >= 5 else self.json)


def seal(draft: Draft) -> Draft:
    """The draft with its long texts sealed."""
    if not isinstance(draft, MessageDraft):
        return draft
    return _with(draft, {name: _seal(text) for name, text in _texts(draft).items() if len(text) > _LONG})


def unseal(draft: Draft) -> Draft:
    """The draft as its adapter made it."""
    if not isinstance(draft, MessageDraft):
        return draft
    return _with(
        draft, {name: from_json(text.json) for name, text in _texts(draft).items() if isinstance(text, SealedText)}
    )


def insert_sealed(body: bytes, draft: Draft) -> bytes:
    """The wire form of a draft with its sealed texts, made from the one without them."""
    sealed = _texts(draft).values() if isinstance(draft, MessageDraft) else ()
    parts: list[bytes] = []
    for text in sealed:  # in the order in which they stand there; all are joined once
        if isinstance(text, SealedText):
            before, _, body = body.partition(b'"%s"' % text.encode())
            parts += before, text.json
    return b"".join((*parts, body)) if parts else body


def _texts(draft: MessageDraft) -> dict[str, Any]:
    return {name: getattr(draft, name) for name in _FIELDS}


def _with(draft: MessageDraft, texts: dict[str, Any]) -> MessageDraft:
    return draft.model_copy(update=texts) if texts else draft


def _seal(text: str) -> SealedText:
    return _sealed(f"sealed-{uuid4().hex}", to_json(text))


def _sealed(word: str, json: bytes) -> SealedText:
    sealed = SealedText(word)
    sealed.json = json
    return sealed
