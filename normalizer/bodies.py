"""Which parts of a MIME tree are the letter and which are attachments.

The choice is that of RFC 8621 section 4.1.4 (JMAP `textBody`, `htmlBody`, `attachments`), as mail clients make it: the
plain and html alternatives of one text, the pieces between inline pictures, and everything else as a file.
"""

from __future__ import annotations

import html as entities
import re
from dataclasses import dataclass
from typing import Final

from normalizer import calendar_text, encodings, headers, markup, sealed, special_parts
from normalizer.findings import Bodies
from normalizer.structure import Part, Tree

_ENRICHED_TYPES: Final = frozenset({"text/richtext", "text/enriched"})
_MARKDOWN_TYPES: Final = frozenset({"text/markdown", "text/x-markdown", "text/x-web-markdown"})
_BODY_TYPES: Final = _ENRICHED_TYPES | _MARKDOWN_TYPES | {"text/plain", "text/html"}


@dataclass(slots=True)
class _Place:
    """A leaf where it stands. `choice` is the multipart/alternative it is an alternative of."""

    part: Part
    container: Part | None
    first: bool
    choice: Part | None


def collect(tree: Tree) -> Bodies:
    """Walk the tree once, in order, and put together what was found."""
    found = Bodies()
    _walk(tree, found)
    _compose(found)
    found.below = _attached_texts(tree, found)
    return found


def _walk(tree: Tree, found: Bodies) -> None:
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
        first = _root_of(part) if part.content_type == "multipart/related" else next(iter(part.children), None)
        stack.extend(_Place(child, part, child is first, choice) for child in reversed(part.children))


def _root_of(related: Part) -> Part | None:
    """The part of a multipart/related that the others belong to: by `start` (RFC 2387 section 3.2), else the text."""
    start = related.parameters.get("start", "").strip("<> ")
    named = (child for child in related.children if start and child.content_id == start)
    texts = (child for child in related.children if child.multipart or child.content_type in _BODY_TYPES)
    return next(named, None) or next(texts, next(iter(related.children), None))


def _leaf(tree: Tree, place: _Place, found: Bodies) -> None:
    part, container = place.part, place.container
    data = tree.content(part)
    kind = part.content_type
    in_report = container is not None and container.content_type == "multipart/report" and not place.first
    if in_report or kind == "message/delivery-status":
        _report(part, data, found)
    if _is_body(place, found):
        _body(tree, place, data, found)
        if part.disposition == "attachment" and part.filename:
            found.attach(part.filename, kind, data)
        return
    if special_parts.is_wrapping(part, container, found):
        return
    if (inside := special_parts.unwrap(tree, part, data, found)) is not None:
        _walk(inside, found)
        return
    if special_parts.replace_by_content(tree, part, data, found):
        return
    related = container is not None and container.content_type == "multipart/related"
    inline = part.disposition == "inline" or (bool(part.content_id) and related)
    found.attach(part.filename, kind, data, part.content_id, inline=inline)
    if container is not None and container.content_type == "multipart/encrypted":
        special_parts.say_encrypted(tree, found)
    if not in_report:
        special_parts.look_inside(tree, part, data, found)


def _body(tree: Tree, place: _Place, data: bytes, found: Bodies) -> None:
    part, choice = place.part, place.choice
    text = tree.text_of(part, _within_room(tree, part, data, found))
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
    text = special_parts.look_for_armour(tree, text, found)
    if choice is not None:
        found.chosen.add(id(choice))
    found.texts.append(("alternative" if choice else "plain", text))
    if choice is None:
        found.htmls.append(("plain", text))


def _within_room(tree: Tree, part: Part, data: bytes, found: Bodies) -> bytes:
    """As much of a text as is shown; when that is not all of it, all of it becomes a file."""
    html = part.content_type == "text/html"
    room = tree.html_room if html else tree.text_room
    shown = data if len(data) <= room else data[: max(data.rfind(b"\n", 0, room), room - 10_000, 0)]
    if html:
        tree.html_room -= len(shown)
    else:
        tree.text_room -= len(shown)
    if len(shown) < len(data):
        tree.problem("truncated", f"only the first {len(shown)} octets of a text are shown; all of it is attached")
        found.attach(part.filename or f"whole-text.{'html' if html else 'txt'}", part.content_type, data)
    return shown


def _take_uuencoded(text: str, found: Bodies) -> str:
    """Files that old programs write into the text itself, as `begin 644 name` ... `end`."""
    rest, inside = encodings.split_uuencoded(text)
    for name, data in inside:
        found.attach(name, "application/octet-stream", data)
    return rest


def _is_body(place: _Place, found: Bodies) -> bool:
    part, choice = place.part, place.choice
    if part.content_type not in _BODY_TYPES:
        return False
    if place.container is None:
        return True  # a mail that is one text is a letter, whatever it says about itself
    if part.disposition == "attachment":
        return False
    if choice is not None and part.content_type in _ENRICHED_TYPES and id(choice) in found.chosen:
        return False  # the plain alternative says the same
    if place.first:
        return True
    return place.container is None or (place.container.content_type != "multipart/related" and not part.filename)


_ONLY_HTML: Final = re.compile(
    r"\bhtml\b.{0,120}(?:view|display|support|enable|read|client|program|anzeig|darstell|unterstütz|affich|visuali|"
    r"mostrar|weergev|bekijk)|(?:view|display|support|read|client|program|affich).{0,120}\bhtml\b",
    re.IGNORECASE | re.DOTALL,
)


def _is_stub(found: Bodies) -> bool:
    """Whether the plain alternative only says that one should read the other."""
    if len(found.texts) != 1 or found.texts[0][0] != "alternative" or not found.htmls:
        return False
    text = found.texts[0][1]
    if len(text) > 300 or "html" not in re.split(r"[.!?\n]\s", text.strip(), maxsplit=1)[0].lower():
        return False
    return _ONLY_HTML.search(text) is not None


# They take no room: a text of nothing else, as newsletters have above their first line, says nothing.
_WITHOUT_WIDTH: Final = str.maketrans(dict.fromkeys("\u00ad\u034f\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"))


def _has_words(text: str) -> bool:
    start = text[:1_000]
    return bool((start if start.isascii() else start.translate(_WITHOUT_WIDTH)).strip() or text[1_000:].strip())


def _compose(found: Bodies) -> None:
    texts, htmls = found.texts, found.htmls
    if _is_stub(found):
        texts = [("alternative", "")]
    # Plain text pieces stand as they are; html without a plain alternative is rendered where it stood.
    if any(kind in ("plain", "alternative") and _has_words(text) for kind, text in texts):
        pieces = [markup.to_marked_text(text) if kind == "html" else text for kind, text in texts]
        found.letter = (
            pieces[0] if len(pieces) == 1 else "\n\n".join(text.strip("\n") for text in pieces if text.strip())
        )
    elif len(texts) > len(htmls):
        found.letter = texts[0][1]
    if any(kind != "plain" for kind, _ in htmls):
        found.html = "\n".join(
            text if kind != "plain" else f"<pre>{entities.escape(text)}</pre>" for kind, text in htmls if text.strip()
        )
    elif not found.letter and htmls:
        found.letter = "\n".join(text for _, text in htmls)
    if not found.letter.strip():
        found.html = found.html or found.spare_html
        if found.spare_text:
            found.letter = found.spare_text
        elif found.html:
            found.letter, found.rendered = markup.to_marked_text(found.html), True
    _add_events(found)
    if found.encrypted and not found.letter.strip():
        found.letter = sealed.ENCRYPTED_NOTE


def _add_events(found: Bodies) -> None:
    """Invitations stand above the letter, as mail programs show them."""
    if found.events:
        alone = not found.letter.strip()
        said = "\n\n".join(calendar_text.describe(event, description=alone) for event in found.events)
        found.letter = f"{said}\n\n{found.letter}" if not alone else said


def _attached_texts(tree: Tree, found: Bodies) -> str:
    """The texts of attached mails, each under the lines of its header that people read."""
    room = special_parts.MAX_ATTACHED_TEXT
    pieces: list[str] = []
    for name, inner in found.attached:
        inside = Bodies()
        _walk(inner, inside)
        _compose(inside)
        text = markup.unmark(inside.letter).strip("\n")
        below = _attached_texts(inner, inside)
        piece = "\n\n".join(part for part in (special_parts.head_of(inner), text, below) if part)
        if not piece:
            continue
        pieces.append(f"---------- {name or 'message.eml'} ----------\n{piece[:room]}")
        room -= len(piece)
        if room <= 0:
            tree.problem("truncated", "not all of the attached mails is shown; they are attached whole")
            break
    return "\n\n".join(pieces)


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
