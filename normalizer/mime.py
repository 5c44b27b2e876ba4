"""Hostile RFC 5322 bytes -> header fields, text, html, attachments, within stated budgets.

`OverBudgetError` carries what is safe to know of a mail that asks for too much; nothing else is raised,
whatever the bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from normalizer import bodies, headers, markup, quoting
from normalizer.message import Attachment, Hit
from normalizer.structure import MAX_FIELD_BYTES, OverBudgetError, Tree, skip_preamble

__all__ = ["Mail", "OverBudgetError", "parse", "scan"]


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail, read. `fields` are (lower-case name, unfolded value with its encoded words still in place)."""

    fields: tuple[tuple[str, str], ...] = ()
    first: Mapping[str, str] = field(default_factory=dict)  # the first field of each name
    subject: str = ""  # decoded, one line
    text: str = ""  # all there is to read: the letter, below it the texts of attached mails
    letter: str = ""  # the text parts, or the html rendered when there is no text; invitations above it
    marked_text: str = ""  # the letter with `markup.HISTORY` where the client's html says that older messages begin
    html: str = ""
    rendered: bool = False  # the letter is this html, rendered; there was no text beside it
    attachments: tuple[Attachment, ...] = ()
    problems: tuple[Hit, ...] = ()
    content_type: str = "text/plain"
    signed: str = ""  # "S/MIME" or "PGP": it carries a signature, which nobody checked
    report_type: str = ""  # multipart/report: delivery-status, disposition-notification, feedback-report
    report: tuple[tuple[str, str], ...] = ()  # the fields of its machine-readable part
    reported: tuple[tuple[str, str], ...] = ()  # the header fields of the mail it is about

    def get(self, name: str) -> str:
        """The first field of that (lower-case) name, encoded words decoded; empty when there is none."""
        return headers.decode_words(self.first.get(name, ""))

    def raw(self, name: str) -> str:
        """The first field of that name with its encoded words in place, as the address parser wants it."""
        return self.first.get(name, "")

    def raw_all(self, name: str) -> list[str]:
        """Every field of that name, in order, encoded words in place."""
        return [value for key, value in self.fields if key == name] if name in self.first else []

    def all(self, name: str) -> list[str]:
        """Every field of that name, in order, encoded words decoded."""
        return [headers.decode_words(value) for key, value in self.fields if key == name]

    @property
    def visible(self) -> quoting.Parts:
        """What the customer newly wrote: by the text; by the html where only its markup knows what is old."""
        parts = quoting.split_marked(self.marked_text)
        if not parts.quoted and self.html and not self.rendered and markup.cites(self.html):
            by_html = quoting.split("", self.html)
            if by_html.quoted and by_html.reply:
                return by_html
        return parts

    @property
    def date(self) -> datetime | None:
        """What the sender claims as time of writing."""
        value = self.raw("date")
        return headers.parse_date(value) if value else None


def parse(data: bytes) -> Mail:
    """Read a mail. Raises `OverBudgetError` and nothing else. Linear in the size of `data`."""
    if b"\n" not in data and b"\r" in data:
        data = data.replace(b"\r", b"\n")
    try:
        return _read(Tree(data))
    except OverBudgetError as error:
        if not error.fields:
            error.fields = scan(data)
        raise


def scan(data: bytes) -> dict[str, str]:
    """From, Subject, Message-ID, Date of a mail that must not be parsed: its first 64 KB, 1,000 octets a field."""
    fields, _, _ = headers.split_block(data, skip_preamble(data), len(data), MAX_FIELD_BYTES)
    found: dict[str, str] = {}
    for name, value in fields:
        if name in ("from", "subject", "message-id", "date") and name not in found:
            found[name] = headers.unfold(value[:1_000])
    return found


def _read(tree: Tree) -> Mail:
    root = tree.root
    fields = tuple([(name, headers.unfold(value, tree.hint)) for name, value in root.fields])
    first = dict(reversed(fields))
    if len(first) < len(fields):
        _check_duplicates(tree, fields)
    found = bodies.collect(tree)
    letter = markup.unmark(found.letter)
    if found.below and not letter.strip():
        found.letter = found.below
    return Mail(
        fields=fields,
        first=first,
        subject=headers.decode_words(first.get("subject", "")),
        text=f"{letter.rstrip()}\n\n{found.below}".lstrip("\n") if found.below else letter,
        letter=letter,
        marked_text=found.letter,
        html=found.html,
        rendered=found.rendered,
        signed=found.signed,
        attachments=tuple(found.attachments),
        problems=tuple(tree.problems.values()),
        content_type=root.content_type,
        report_type=root.parameters.get("report-type", "").lower() if root.content_type == "multipart/report" else "",
        report=tuple(found.report),
        reported=tuple(found.reported),
    )


_SINGLE: Final = frozenset({"from", "subject", "message-id", "date", "to"})


def _check_duplicates(tree: Tree, fields: tuple[tuple[str, str], ...]) -> None:
    names = [name for name, _ in fields if name in _SINGLE]
    if len(names) == len(set(names)):
        return
    for name in sorted(set(names)):
        if (count := names.count(name)) > 1:
            tree.problem(f"duplicate_{name.replace('-', '_')}", f"{count} {name.title()} fields; the first is used")
