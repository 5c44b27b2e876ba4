"""What a walk through the parts of a mail found, before it is put together (`bodies`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from normalizer import files
from normalizer.calendar_text import Event
from normalizer.message import Attachment

if TYPE_CHECKING:
    from normalizer.structure import Tree


@dataclass(slots=True)
class Bodies:
    """`texts` and `htmls` are the pieces; the first fields are what they make together."""

    letter: str = ""  # the text, with `markup.HISTORY` marks where it is rendered html
    rendered: bool = False  # the letter is the html, not a text beside it
    html: str = ""
    below: str = ""  # the texts of attached mails
    attachments: list[Attachment] = field(default_factory=list)
    report: list[tuple[str, str]] = field(default_factory=list)
    reported: list[tuple[str, str]] = field(default_factory=list)
    signed: str = ""  # "S/MIME" or "PGP": there is a signature, which nobody checked
    encrypted: bool = False

    texts: list[tuple[str, str]] = field(default_factory=list)  # (kind, text), in order
    htmls: list[tuple[str, str]] = field(default_factory=list)
    chosen: set[int] = field(default_factory=set)  # alternatives whose plain text is known
    events: list[Event] = field(default_factory=list)
    attached: list[tuple[str, Tree]] = field(default_factory=list)  # mails, by the name of their file
    spare_text: str = ""  # from TNEF: the letter when the mail has no other
    spare_html: str = ""

    def attach(self, name: str, kind: str, data: bytes, content_id: str = "", *, inline: bool = False) -> None:
        """Add a file."""
        number = len(self.attachments) + 1
        self.attachments.append(files.attachment(name, kind, data, content_id, number, inline=inline))
