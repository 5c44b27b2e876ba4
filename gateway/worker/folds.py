"""Things that are reported in pieces, told as one comment. A new kind of update adds its fold here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from normalizer import calls
from normalizer.message import Attachment, Author, ThreadKey, Update


@dataclass(frozen=True, slots=True)
class Story:
    """What a comment says about everything known so far."""

    author: Author
    subject: str
    text: str
    attachments: tuple[Attachment, ...]
    thread_keys: tuple[ThreadKey, ...]
    fields: Mapping[str, Any]
    at: datetime | None


def tell(about: str, updates: Sequence[Update]) -> Story:
    """Fold all updates about one thing. The order they came in makes no difference."""
    return _FOLDS[updates[0].kind](about, updates)


def _tell_call(about: str, updates: Sequence[Update]) -> Story:
    summary = calls.fold([update.facts for update in updates])
    return Story(
        author=summary.author,
        subject=summary.subject,
        text=summary.text,
        attachments=summary.attachments,
        thread_keys=(ThreadKey(kind="conversation", value=about),),
        fields=summary.fields,
        at=summary.started_at,
    )


_FOLDS: Final[Mapping[str, Callable[[str, Sequence[Update]], Story]]] = {"call": _tell_call}
