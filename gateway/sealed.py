"""Long texts on their way through the gateway, as the JSON they will be in the queue.

Encoding a text of a megabyte takes its process up to twenty milliseconds in which it does nothing else. The child that
reads long arrivals (`gateway.apart`) encodes their texts as well, and the gateway, which has no use for the words, puts
the finished JSON where it belongs.
"""

from __future__ import annotations

from typing import Any, Final
from uuid import uuid4

from pydantic_core import from_json, to_json

from normalizer.message import Draft, MessageDraft

_LONG: Final = 32 * 1024  # characters
_FIELDS: Final = ("text", "full_text", "html")


class SealedText(str):
    """Stands for a long text by a word that stands nowhere else; `json` is the text itself, encoded."""

    json: bytes


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
    if isinstance(draft, MessageDraft):
        for text in _texts(draft).values():
            if isinstance(text, SealedText):
                body = body.replace(b'"%s"' % text.encode(), text.json, 1)
    return body


def _texts(draft: MessageDraft) -> dict[str, Any]:
    return {name: getattr(draft, name) for name in _FIELDS}


def _with(draft: MessageDraft, texts: dict[str, Any]) -> MessageDraft:
    return draft.model_copy(update=texts) if texts else draft


def _seal(text: str) -> SealedText:
    sealed = SealedText(f"sealed-{uuid4().hex}")
    sealed.json = to_json(text)
    return sealed
