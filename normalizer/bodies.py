"""Which parts of a MIME tree are the letter and which are attachments.

The choice is that of RFC 8621 section 4.1.4 (JMAP `textBody`, `htmlBody`, `attachments`), as mail clients make it: the
plain and html alternatives of one text, the pieces between inline pictures, and everything else as a file.
"""

from __future__ import annotations

import html as entities
import re
from dataclasses import dataclass, field
from typing import Final

from normalizer import files, headers, markup
from normalizer.message import Attachment
from normalizer.structure import Part, Tree

_BODY_TYPES: Final = frozenset({"text/plain", "text/html", "text/richtext", "text/enriched", "text"})


@dataclass(slots=True)
class Bodies:
    """What was found. `texts` and `htmls` are kept apart until the end."""

    text: str = ""
    html: str = ""
    rendered: bool = False  # `text` holds rendered html, and may hold its marks
    attachments: list[Attachment] = field(default_factory=list)
    report: list[tuple[str, str]] = field(default_factory=list)
    reported: list[tuple[str, str]] = field(default_factory=list)


def collect(tree: Tree) -> Bodies:
    """Walk the tree once, in order."""
    found = Bodies()
    texts: list[tuple[str, str]] = []  # (kind, text)
    htmls: list[tuple[str, str]] = []
    # (part, container type, is first child, text wanted, html wanted): an alternative feeds both lists by its own kind
    stack: list[tuple[Part, str, bool, bool]] = [(tree.root, "", True, False)]
    while stack:
        part, container, first, alternative = stack.pop()
        if part.multipart:
            children = part.children
            kind = part.content_type
            if not children:
                tree.problem("mime_empty", "a multipart without parts")
                _preamble_as_text(tree, part, texts)
            within = alternative or kind == "multipart/alternative"
            stack.extend((child, kind, child is children[0], within) for child in reversed(children))
            continue
        _leaf(tree, part, container, first, alternative, texts, htmls, found)
    _compose(texts, htmls, found)
    return found


def _preamble_as_text(tree: Tree, part: Part, texts: list[tuple[str, str]]) -> None:
    text = tree.text_of(part, tree.content(part)).strip()
    if text:
        texts.append(("plain", text))


def _leaf(
    tree: Tree,
    part: Part,
    container: str,
    first: bool,
    alternative: bool,
    texts: list[tuple[str, str]],
    htmls: list[tuple[str, str]],
    found: Bodies,
) -> None:
    data = tree.content(part)
    kind = part.content_type
    if container == "multipart/report" and not first:
        _report(tree, part, data, found)
    if _is_body(part, container, first):
        text = tree.text_of(part, data)
        if kind == "text/html":
            htmls.append(("alternative" if alternative else "html", text))
            if not alternative:
                texts.append(("html", text))
        else:
            if kind in ("text/richtext", "text/enriched"):
                text = _enriched(text)
            elif part.parameters.get("format", "").lower() == "flowed":
                text = unflow(text, delete_space=part.parameters.get("delsp", "").lower() == "yes")
            texts.append(("alternative" if alternative else "plain", text))
            if not alternative:
                htmls.append(("plain", text))
        return
    number = len(found.attachments) + 1
    inline = part.disposition == "inline" or (bool(part.content_id) and container == "multipart/related")
    found.attachments.append(files.attachment(part.filename, kind, data, part.content_id, number, inline=inline))
    if kind in ("application/pgp-encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime"):
        smime = part.parameters.get("smime-type", "").lower()
        if smime != "signed-data":
            tree.problem("encrypted", "the content is encrypted; only the person who holds the key can read it")
    elif kind in ("message/external-body", "message/partial"):
        tree.problem("not_fetched", f"a part of type {kind} points elsewhere; nothing is fetched or joined")


def _is_body(part: Part, container: str, first: bool) -> bool:
    if part.content_type not in _BODY_TYPES or part.disposition == "attachment":
        return False
    if first:
        return True
    return container != "multipart/related" and not part.filename


def _compose(texts: list[tuple[str, str]], htmls: list[tuple[str, str]], found: Bodies) -> None:
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


def _report(tree: Tree, part: Part, data: bytes, found: Bodies) -> None:
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
