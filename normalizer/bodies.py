"""Which parts of a MIME tree are the letter and which are attachments.

The choice is that of RFC 8621 section 4.1.4 (JMAP `textBody`, `htmlBody`, `attachments`), as mail clients make it: the
plain and html alternatives of one text, the pieces between inline pictures, and everything else as a file.
"""

from __future__ import annotations

import html as entities
import re
from dataclasses import dataclass, field
from typing import Final

from normalizer import encodings, files, headers, markup
from normalizer.message import Attachment
from normalizer.structure import Part, Tree

_ENRICHED_TYPES: Final = frozenset({"text/richtext", "text/enriched"})
_BODY_TYPES: Final = _ENRICHED_TYPES | {"text/plain", "text/html"}


@dataclass(slots=True)
class Bodies:
    """What was found. `texts` and `htmls` are the pieces; `text` and `html` what they make together."""

    text: str = ""
    html: str = ""
    rendered: bool = False  # `text` holds rendered html, and may hold its marks
    attachments: list[Attachment] = field(default_factory=list)
    report: list[tuple[str, str]] = field(default_factory=list)
    reported: list[tuple[str, str]] = field(default_factory=list)
    texts: list[tuple[str, str]] = field(default_factory=list)  # (kind, text), in order
    htmls: list[tuple[str, str]] = field(default_factory=list)
    chosen: set[int] = field(default_factory=set)  # alternatives whose plain text is known


@dataclass(slots=True)
class _Place:
    """A leaf where it stands. `choice` is the multipart/alternative it is an alternative of."""

    part: Part
    container: Part | None
    first: bool
    choice: Part | None


def collect(tree: Tree) -> Bodies:
    """Walk the tree once, in order."""
    found = Bodies()
    stack = [_Place(tree.root, None, True, None)]
    while stack:
        place = stack.pop()
        part = place.part
        if not part.multipart:
            _leaf(tree, place, found)
            continue
        if not part.children:
            tree.problem("mime_empty", "a multipart without parts")
            text = tree.text_of(part, tree.content(part)).strip()
            found.texts.append(("plain", text))
        choice = part if part.content_type == "multipart/alternative" else place.choice
        stack.extend(_Place(child, part, child is part.children[0], choice) for child in reversed(part.children))
    _compose(found)
    return found


def _leaf(tree: Tree, place: _Place, found: Bodies) -> None:
    part, container = place.part, place.container
    data = tree.content(part)
    kind = part.content_type
    if container is not None and container.content_type == "multipart/report" and not place.first:
        _report(part, data, found)
    if _is_body(place, found):
        _body(tree, place, data, found)
        return
    related = container is not None and container.content_type == "multipart/related"
    inline = part.disposition == "inline" or (bool(part.content_id) and related)
    number = len(found.attachments) + 1
    found.attachments.append(files.attachment(part.filename, kind, data, part.content_id, number, inline=inline))
    if kind in ("application/pgp-encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime"):
        if part.parameters.get("smime-type", "").lower() != "signed-data":
            tree.problem("encrypted", "the content is encrypted; only the person who holds the key can read it")
    elif kind in ("message/external-body", "message/partial"):
        tree.problem("not_fetched", f"a part of type {kind} points elsewhere; nothing is fetched or joined")


def _body(tree: Tree, place: _Place, data: bytes, found: Bodies) -> None:
    part, choice = place.part, place.choice
    text = tree.text_of(part, data)
    if part.content_type == "text/html":
        found.htmls.append(("alternative" if choice else "html", text))
        if choice is None:
            found.texts.append(("html", text))
        return
    if part.content_type in _ENRICHED_TYPES:
        text = _enriched(text)
    elif part.parameters.get("format", "").lower() == "flowed":
        text = unflow(text, delete_space=part.parameters.get("delsp", "").lower() == "yes")
    elif "\nbegin " in text or text.startswith("begin "):
        text = _take_uuencoded(text, found)
    if choice is not None:
        found.chosen.add(id(choice))
    found.texts.append(("alternative" if choice else "plain", text))
    if choice is None:
        found.htmls.append(("plain", text))


def _take_uuencoded(text: str, found: Bodies) -> str:
    """Files that old programs write into the text itself, as `begin 644 name` ... `end`."""
    rest, inside = encodings.split_uuencoded(text)
    for name, data in inside:
        number = len(found.attachments) + 1
        found.attachments.append(files.attachment(name, "application/octet-stream", data, "", number, inline=False))
    return rest


def _is_body(place: _Place, found: Bodies) -> bool:
    part, choice = place.part, place.choice
    if part.content_type not in _BODY_TYPES or part.disposition == "attachment":
        return False
    if choice is not None and part.content_type in _ENRICHED_TYPES and id(choice) in found.chosen:
        return False  # the plain alternative says the same
    if place.first:
        return True
    return place.container is None or (place.container.content_type != "multipart/related" and not part.filename)


def _compose(found: Bodies) -> None:
    texts, htmls = found.texts, found.htmls
    # Plain text pieces stand as they are; html without a plain alternative is rendered where it stood.
    if any(kind in ("plain", "alternative") and text.strip() for kind, text in texts):
        pieces = [markup.to_marked_text(text) if kind == "html" else text for kind, text in texts]
        found.rendered = any(kind == "html" for kind, _ in texts)
        found.text = pieces[0] if len(pieces) == 1 else "\n\n".join(text.strip("\n") for text in pieces if text.strip())
    elif len(texts) > len(htmls):
        found.text = texts[0][1]
    if any(kind != "plain" for kind, _ in htmls):
        found.html = "\n".join(
            text if kind != "plain" else f"<pre>{entities.escape(text)}</pre>" for kind, text in htmls if text.strip()
        )
    elif not found.text and htmls:
        found.text = "\n".join(text for _, text in htmls)


def unflow(text: str, *, delete_space: bool) -> str:
    """Paragraphs of `format=flowed` text put together again (RFC 3676 section 4)."""
    out: list[str] = []
    run: list[str] = []
    run_depth = 0
    for line in text.split("\n"):
        depth = len(line) - len(line.lstrip(">"))
        body = line[depth:]
        body = body.removeprefix(" ")
        flowed = body.endswith(" ") and body != "-- "
        if run and (depth != run_depth or body == "-- "):
            out.append(_join_run(run, run_depth))
            run = []
        run_depth = depth
        if flowed:
            run.append(body[:-1] if delete_space else body)
            continue
        run.append(body)
        out.append(_join_run(run, depth))
        run = []
    if run:
        out.append(_join_run(run, run_depth))
    return "\n".join(out)


def _join_run(run: list[str], depth: int) -> str:
    text = "".join(run)
    return f"{'>' * depth} {text}".rstrip() if depth else text


_ENRICHED: Final = re.compile(r"</?[A-Za-z][A-Za-z-]{0,60}>")


def _enriched(text: str) -> str:
    """RFC 1896's text without its commands; single line ends are spaces, as there."""
    text = re.sub(r"<param>[^<]{0,1000}+</param>", "", text, flags=re.IGNORECASE)
    text = re.sub(r"<nl>", "\n", text, flags=re.IGNORECASE)
    return _ENRICHED.sub("", text).replace("<<", "<").replace("<lt>", "<")


def _report(part: Part, data: bytes, found: Bodies) -> None:
    """The machine-readable part of a report and the header of the mail it is about. RFC 3464, 8098, 5965."""
    kind = part.content_type
    wanted = found.report if kind.startswith("message/") and kind != "message/rfc822" else found.reported
    if kind not in (
        "message/delivery-status",
        "message/global-delivery-status",
        "message/disposition-notification",
        "message/feedback-report",
        "message/rfc822",
        "text/rfc822-headers",
        "message/rfc822-headers",
    ):
        return
    if wanted:
        return
    position, size = 0, min(len(data), 65_536)
    blocks = 0
    while position < size and blocks < 20:
        fields, body, _ = headers.split_block(data, position, size, 65_536)
        wanted.extend((name, headers.unfold(value)) for name, value in fields[:100])
        blocks += 1
        if wanted is found.reported or body <= position:
            break
        position = body
