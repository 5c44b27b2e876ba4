"""Well-formed html tokens -> lines of text: paragraphs, lists, table rows, `> ` quotes, link targets.

What mail clients say in attributes about hiding and citing is heeded; `markup` decides which html comes here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from normalizer import tags

# Sentinels in marked text. They are C0 controls, which `to_marked_text` removes from the input first.
INDENT: Final = "\x01"  # a space at the start of a line that is meant
HISTORY: Final = "\x02"  # from here on everything is an older message
_ATTRIBUTE: Final = re.compile(r'([a-z-]+)="([^"]*+)"')
_SPACE: Final = re.compile(r"[ \t\r\n\f\u2007\u00a0]++")
_SPACE_RUN: Final = re.compile(r" {2,}")
_UNSEEN: Final = re.compile("[\u200b\ufeff\u00ad\u034f]")  # soft hyphens, break hints: inside words, never between
_HIDDEN: Final = re.compile(
    r"display\s{0,9}:\s{0,9}none|visibility\s{0,9}:\s{0,9}hidden|"
    r"opacity\s{0,9}:\s{0,9}0(?![.\d])|max-height\s{0,9}:\s{0,9}0(?![.\d]*[1-9])|"
    r"(?:left|text-indent)\s{0,9}:\s{0,9}-\d{4}|(?<!-)\bcolor\s{0,9}:\s{0,9}transparent|"
    r"(?<![-\w])height\s{0,9}:\s{0,9}0(?![.\d]*[1-9]).{0,200}overflow\s{0,9}:\s{0,9}hidden|"
    r"overflow\s{0,9}:\s{0,9}hidden.{0,200}(?<![-\w])height\s{0,9}:\s{0,9}0(?![.\d]*[1-9])",
    re.IGNORECASE,
)
# Letters without a size: what MJML and others write around blocks, each of which then says what size its letters have.
_TINY: Final = re.compile(r"font-size\s{0,9}:\s{0,9}0(?![.\d]*[1-9])", re.IGNORECASE)
_SIZED: Final = re.compile(
    r"(?<![-\w])font(?:-size)?\s{0,9}:[^;]{0,100}?(?:[1-9][\d.]{0,9}\s{0,9}(?:p[xtc]|rem|[cm]m|in|v[wh])|medium|small|large)",
    re.IGNORECASE,
)
_NOT_IN_OUTLOOK: Final = re.compile(r"mso-hide\s{0,9}:\s{0,9}all", re.IGNORECASE)  # others show a link, as a button

# How an element is hidden: not at all, for Outlook unless it is a link, until a size is given, with all that is in it.
_SHOWN, _NO_BUTTON, _UNSIZED, _GONE = range(4)

# Containers of older messages, by client. `HISTORY`: all that follows is old (Outlook writes it after a marker).
HISTORY_IDS: Final = frozenset(
    {"appendonsend", "divRplyFwdMsg", "OLK_SRC_BODY_SECTION", "stopSpelling", "x_divRplyFwdMsg"}
)
HISTORY_CLASSES: Final = frozenset(
    {"ms-outlook-mobile-reference-message", "OutlookMessageHeader", "x_gmail_extra_quote"}
)
CITE_CLASSES: Final = frozenset(
    {"yahoo_quoted", "protonmail_quote", "zmail_extra", "tutanota_quote", "mailru-blockquote"}
)


_MAX_MARKS: Final = 30  # `> ` or indents before one line: thousands of them make a bomb of a small mail
_BESIDE: Final = ("solid", "border-left", "border-inline")


def _unescape(text: str) -> str:
    """What nh3 escapes, and nothing else."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "&")


class Renderer:
    """One pass over well-formed tokens. Lines are built in `line`; finished ones wait in `lines`."""

    def __init__(self, *, look_inside: bool = True) -> None:
        self.look_inside = look_inside
        self.said: dict[str, tuple[int, bool, bool, bool, bool]] = {}  # attributes -> what they say; styles repeat
        self.lines: list[str] = []
        self.line: list[str] = []
        self.blank = True  # an empty line is already there (or nothing at all)
        self.quote = 0
        self.cites: list[bool] = []  # for each open div: does its end close a quote level?
        self.citing = False
        self.indenting = False
        self.indents: list[bool] = []  # for each open blockquote: is it only an indented paragraph?
        self.lists: list[int] = []  # -1 for bullets, else the next number
        self.pre = 0
        self.preformatted = False  # somewhere in this html
        self.hidden = 0
        self.unsized: list[bool] = []  # from the outermost element with letters without a size on: are these such?
        self.links: list[tuple[str, int, int]] = []  # where it leads, and at which line and piece it began
        self.starts: dict[str, Callable[[str, str], None]] = {
            **dict.fromkeys(tags.BLOCKS, self._open_block),
            **dict.fromkeys(tags.SPACED, self._open_spaced),
            **dict.fromkeys(("td", "th"), self._open_cell),
            **{"br": self._break, "a": self._open_link, "img": self._picture, "hr": self._rule},
        }
        self.ends: dict[str, Callable[[str], None]] = {
            **dict.fromkeys(tags.BLOCKS, self._close_block),
            "a": self._close_link,
        }

    def render(self, html: str) -> str:
        html = html.replace("&nbsp;", " ")
        if not html.isascii():
            html = _UNSEEN.sub("", html)
        self.preformatted = "<pre" in html
        if not self.preformatted:
            html = " ".join(html.split())
        # What nh3 writes has `<` and `>` around tags only: both are escaped in texts and in attributes.
        first, *chunks = html.split("<")
        self.words(first)
        for chunk in chunks:
            tag, _, text = chunk.partition(">")
            if tag[0] == "/":
                self._end(tag[1:])
            else:
                self._start(tag)
            if text and not self.hidden and not (self.unsized and self.unsized[-1]):
                self.words(text)
        self.flush()
        return "\n".join(self.lines).strip("\n")

    def _start(self, tag: str) -> None:
        name, _, attributes = tag.partition(" ")
        if self.hidden:
            self.hidden += name not in tags.VOID
            return
        if attributes and self.look_inside and self._telling(name, attributes):
            return
        if self.unsized and name not in tags.VOID:
            hides, sized, *_ = self._said(attributes)
            self.unsized.append(hides == _UNSIZED or (self.unsized[-1] and not sized))
        if (handler := self.starts.get(name)) is not None:
            handler(name, attributes)

    def _end(self, name: str) -> None:
        if self.hidden:
            self.hidden -= 1
            return
        if self.unsized:
            self.unsized.pop()
            if len(self.unsized) == 1:
                self.unsized.pop()
        if (handler := self.ends.get(name)) is not None:
            handler(name)

    def words(self, raw: str) -> None:
        text = _unescape(raw) if "&" in raw else raw
        if self.preformatted:
            self._preformatted(text)
        elif text != " " or self.line:
            self.line.append(text)

    def _preformatted(self, text: str) -> None:
        if self.pre:
            first, *rest = text.split("\n")
            self.line.append(first)
            for piece in rest:
                self.flush(keep=True)
                self.line.append(piece)
            return
        text = _SPACE.sub(" ", text)
        if text != " " or self.line:
            self.line.append(text)

    def flush(self, *, keep: bool = False) -> None:
        """End the current line; empty ones only count with `keep`."""
        if not self.line and not keep:
            return
        text = "".join(self.line)
        self.line = []
        if self.pre:
            text = text.rstrip()
        else:
            text = text.strip(" \u200c\u200d")
            if "  " in text:
                text = _SPACE_RUN.sub(" ", text)
            if INDENT in text:
                text = text.replace(INDENT, " ")
        if text or (keep and not self.blank):
            self.lines.append((self._marks() + text).rstrip() if self.quote else text)
            self.blank = not text

    def paragraph(self) -> None:
        if self.line:
            self.flush()
        if not self.blank:
            self.lines.append(self._marks().rstrip())
            self.blank = True

    def _marks(self) -> str:
        return "> " * min(self.quote, _MAX_MARKS)

    # -- what opens -----------------------------------------------------------------------------------------------

    def _break(self, _name: str, _attributes: str) -> None:
        self.flush(keep=True)

    def _open_cell(self, _name: str, _attributes: str) -> None:
        if self.line and "".join(self.line).strip():
            self.line.append("\t")

    def _open_link(self, _name: str, attributes: str) -> None:
        if len(self.line) < 5 and not any(self.line):
            self.line = []  # pieces of nothing are no words before the link
        self.links.append((_attribute("href", attributes), len(self.lines), len(self.line)))

    def _picture(self, _name: str, attributes: str) -> None:
        if self.links:  # a picture that is a button; others are decoration
            alt = _attribute("alt", attributes)[:200]
            if alt:
                self.line.append(" ".join(alt.split()))

    def _rule(self, _name: str, _attributes: str) -> None:
        self.flush()
        self.line.append("-" * 20)
        self.flush()

    def _open_spaced(self, name: str, attributes: str) -> None:
        if not (self.lists and name in ("ul", "ol")):
            self.paragraph()
        self._open_block(name, attributes)

    def _open_block(self, name: str, _attributes: str) -> None:
        if self.line:
            self.flush()
        if name == "div":
            self.cites.append(self.citing)
            self.citing = False
        elif name == "blockquote":
            self.indents.append(self.indenting)
            self.quote += not self.indenting
            self.indenting = False
        elif name == "pre":
            self.pre += 1
        elif name == "ul":
            self.lists.append(-1)
        elif name == "ol":
            self.lists.append(1)
        elif name == "li":
            self._bullet()

    def _bullet(self) -> None:
        indent = INDENT * 2 * min(len(self.lists) - 1, _MAX_MARKS)
        if self.lists and self.lists[-1] > 0:
            self.line.append(f"{indent}{self.lists[-1]}. ")
            self.lists[-1] += 1
        else:
            self.line.append(f"{indent}- ")

    # -- what attributes say --------------------------------------------------------------------------------------

    def _telling(self, name: str, attributes: str) -> bool:
        """Look at what the attributes say about hiding and citing; True when the element is hidden."""
        hides, _, is_history, cites, indents = self._said(attributes)
        if hides == _UNSIZED and not self.unsized and name not in tags.VOID:
            self.unsized.append(False)
        elif hides not in (_SHOWN, _UNSIZED) and name not in tags.VOID and not (hides == _NO_BUTTON and name == "a"):
            self.hidden = 1
            return True
        if is_history and not self.quote:
            self.flush()
            self.lines.append(HISTORY)
            self.blank = True
        if indents and name == "blockquote":
            self.indenting = True
        if cites and name == "div":
            self.paragraph()
            self.quote += 1
            self.citing = True  # `_open_block`, next, notes which div it was
        return False

    def _said(self, attributes: str) -> tuple[int, bool, bool, bool, bool]:
        said = self.said.get(attributes)
        if said is None:
            said = self.said[attributes] = _read_attributes(attributes)
        return said

    # -- what closes ----------------------------------------------------------------------------------------------

    def _close_block(self, name: str) -> None:
        if name in ("ul", "ol") and self.lists:
            self.lists.pop()
        if self.line:
            self.flush()
        if name == "pre":
            self.pre = max(0, self.pre - 1)
        elif (name == "blockquote" and not (self.indents and self.indents.pop())) or (
            name == "div" and self.cites and self.cites.pop()
        ):
            self.quote = max(0, self.quote - 1)
            self.blank = False  # what follows an older message is another paragraph
        if name in tags.SPACED and not (name in ("ul", "ol") and self.lists):
            self.paragraph()

    def _close_link(self, _name: str) -> None:
        if not self.links:
            return
        href, start, index = self.links.pop()
        if not href.startswith(("http://", "https://")) or len(href) > 500:
            return
        bare = href.partition("://")[2].rstrip("/")
        if len(self.lines) == start:
            label = "".join(self.line[index:]).strip()
            if label and bare not in label:
                self.line.append(f" <{href}>")
            return
        # A block stands in it, as in buttons that are tables: its words are in finished lines.
        self.flush()
        first = start + (index > 0)  # what stood on the line before the link is not its own
        last = len(self.lines) - 1
        while last >= first and not self.lines[last].strip("> "):
            last -= 1
        words = self.lines[last] if last >= first else ""
        if words and words != HISTORY and bare not in words:
            self.lines[last] = f"{words} <{href}>"


def _read_attributes(attributes: str) -> tuple[int, bool, bool, bool, bool]:
    """How an element with these is hidden, and whether it gives its letters a size, begins the older messages, cites
    one, or (a blockquote) only indents."""
    values = dict(_ATTRIBUTE.findall(attributes))
    style = values.get("style", "")
    hides = _hiding(style) if "hidden" not in values else _GONE
    classes = values.get("class", "").split()
    is_history = (
        values.get("id") in HISTORY_IDS
        or values.get("name") in HISTORY_IDS
        or any(item in HISTORY_CLASSES for item in classes)
    )
    # What the indent button of editors makes: a style and nothing else, without the rule that stands beside quotes.
    indents = bool(style) and values.keys() <= {"style", "dir"} and not any(word in style for word in _BESIDE)
    sized = hides < _UNSIZED and bool(style) and _SIZED.search(style) is not None
    return hides, sized, is_history, any(item in CITE_CLASSES for item in classes), indents


def _hiding(style: str) -> int:
    if not style:
        return _SHOWN
    if _HIDDEN.search(style):
        return _GONE
    if _TINY.search(style):
        return _UNSIZED
    return _NO_BUTTON if _NOT_IN_OUTLOOK.search(style) else _SHOWN


def _attribute(name: str, attributes: str) -> str:
    start = f" {attributes}".find(f' {name}="')
    if start < 0:
        return ""
    start += len(name) + 2
    return _unescape(attributes[start : attributes.find('"', start)])
