"""HTML mail -> readable text, and HTML mail -> HTML that is safe to show.

Both start from nh3 (html5ever, ammonia), so what we read is well-formed and what we show was parsed the way a browser
parses. Input is capped before it is parsed: size, and nesting, which is quadratic in every HTML5 parser.
"""

from __future__ import annotations

import html as entities
import re
from typing import Final

import nh3

MAX_HTML: Final = 2_000_000  # characters
_MANY_TAGS: Final = 4_000  # fewer cannot nest deep enough to cost more than a few tens of milliseconds
_MAX_DEPTH: Final = 600
_MANY_REFERENCES: Final = 30_000

# Sentinels in marked text. They are C0 controls, which `to_marked_text` removes from the input first.
_INDENT: Final = "\x01"  # a space at the start of a line that is meant
HISTORY: Final = "\x02"  # from here on everything is an older message
_CONTROLS: Final = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 127))


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_VOID: Final = _words("area base br col embed hr img input link meta source track wbr")
_DROP: Final = _words("script style title noscript template object applet svg math select option textarea xml")
_BLOCKS: Final = _words(
    "address article aside blockquote body center dd details dir div dl dt fieldset figcaption figure footer form "
    "h1 h2 h3 h4 h5 h6 header html li main menu nav ol p pre section summary table tbody tfoot thead tr ul"
)
_SPACED: Final = _words("p h1 h2 h3 h4 h5 h6 ul ol dl table blockquote pre")
_INLINE: Final = _words(
    "a abbr acronym b bdi bdo big cite code del dfn em font i img ins kbd mark q rp rt ruby s samp small span "
    "strike strong sub sup td th time tt u var"
)
_TEXT_TAGS: Final = _BLOCKS - {"html", "body", "form", "fieldset"} | _INLINE | {"br", "hr", "caption"}

_reader = nh3.Cleaner(
    tags=set(_TEXT_TAGS),
    clean_content_tags=set(_DROP),
    attributes={
        "*": {"style", "class", "id", "type", "hidden", "name"},
        "a": {"href"},
        "img": {"alt", "src"},
        "td": {"colspan"},
    },
    link_rel=None,
    url_schemes={"http", "https", "mailto", "tel", "cid", "data"},
)

_ATTRIBUTE: Final = re.compile(r'([a-z-]+)="([^"]*+)"')
_SPACE: Final = re.compile(r"[ \t\r\n\f\u200b\u200c\u200d\ufeff\u00ad\u034f\u2007\u00a0]++")
_SPACE_RUN: Final = re.compile(r" {2,}")
_HIDDEN: Final = re.compile(
    r"display\s{0,9}:\s{0,9}none|visibility\s{0,9}:\s{0,9}hidden|mso-hide\s{0,9}:\s{0,9}all|"
    r"font-size\s{0,9}:\s{0,9}0(?![.\d]*[1-9])|opacity\s{0,9}:\s{0,9}0(?![.\d])|max-height\s{0,9}:\s{0,9}0(?![.\d]*[1-9])",
    re.IGNORECASE,
)

# Containers of older messages, by client. `HISTORY`: all that follows is old (Outlook writes it after a marker).
_HISTORY_IDS: Final = frozenset(
    {"appendonsend", "divRplyFwdMsg", "OLK_SRC_BODY_SECTION", "stopSpelling", "x_divRplyFwdMsg"}
)
_HISTORY_CLASSES: Final = frozenset(
    {"ms-outlook-mobile-reference-message", "OutlookMessageHeader", "x_gmail_extra_quote"}
)
_CITE_CLASSES: Final = frozenset(
    {"yahoo_quoted", "protonmail_quote", "zmail_extra", "tutanota_quote", "mailru-blockquote"}
)

# Words without which no attribute but links and picture texts matters: most mails hide and cite nothing.
_CITING: Final = tuple(word.lower() for word in sorted(_HISTORY_IDS | _HISTORY_CLASSES | _CITE_CLASSES))
_HIDING: Final = (
    *("hidden", "mso-hide", "display:none", "display: none", "font-size:0", "font-size: 0"),
    *("opacity:0", "opacity: 0", "max-height:0", "max-height: 0"),
)


def to_text(html: str) -> str:
    """Readable plain text of an HTML body: paragraphs, lists, table rows, `> ` quotes, link targets. Never raises.

    Hidden text is dropped; so is what lies beyond `MAX_HTML` characters. Linear in the input.
    """
    return unmark(to_marked_text(html))


def unmark(text: str) -> str:
    """Marked text without its marks."""
    return text.replace(HISTORY + "\n", "").replace(HISTORY, "").strip("\n") if HISTORY in text else text


def cites(html: str) -> bool:
    """Whether a mail client's own markup of an older message is in it."""
    low = html[:MAX_HTML].lower()
    return any(word in low for word in (*_CITING, "gmail_quote", 'type="cite', "type=cite", "type='cite"))


def to_marked_text(html: str) -> str:
    """As `to_text`, with a line `HISTORY` where the sender's client says that the older messages begin."""
    html = html[:MAX_HTML].translate(_CONTROLS)
    if _too_costly(html):
        return _strip_tags(html)
    clean = _reader.clean(html)
    low = clean.lower()
    return _Renderer(look_inside=any(word in low for word in (*_CITING, *_HIDING))).render(clean)


def _too_costly(html: str) -> bool:
    """Nested, or one text with so many references, that an HTML5 parser (quadratic in both) takes seconds."""
    if html.count("&") + html.count("\xa0") > _MANY_REFERENCES and any(
        text.count("&") + text.count("\xa0") > _MANY_REFERENCES for text in html.split("<")
    ):
        return True
    if html.count("<") <= _MANY_TAGS:
        return False
    depth = deepest = 0
    for match in re.finditer(r"<(/?)([a-zA-Z]++)", html):
        if match.group(2).lower() in _VOID:
            continue
        depth = max(0, depth - 1) if match.group(1) else depth + 1
        deepest = max(deepest, depth)
    return deepest > _MAX_DEPTH


def _strip_tags(html: str) -> str:
    """What is left for markup nobody wrote by hand: words between the tags."""
    text = re.sub(r"<[^<>]{0,10000}+>", " ", html)
    lines = (_SPACE.sub(" ", line).strip() for line in entities.unescape(text).split("\n"))
    return "\n".join(line for line in lines if line)


class _Renderer:
    """One pass over well-formed tokens. Lines are built in `line`; finished ones wait in `lines`."""

    def __init__(self, *, look_inside: bool = True) -> None:
        self.look_inside = look_inside
        self.lines: list[str] = []
        self.line: list[str] = []
        self.blank = True  # an empty line is already there (or nothing at all)
        self.quote = 0
        self.cites: list[bool] = []  # for each open div: does its end close a quote level?
        self.citing = False
        self.lists: list[int] = []  # -1 for bullets, else the next number
        self.pre = 0
        self.hidden = 0
        self.links: list[tuple[str, int]] = []

    def render(self, html: str) -> str:
        # What nh3 writes has `<` and `>` around tags only: both are escaped in texts and in attributes.
        first, *chunks = html.split("<")
        self.words(first)
        for chunk in chunks:
            tag, _, text = chunk.partition(">")
            if tag[0] == "/":
                if self.hidden:
                    self.hidden -= 1
                else:
                    self.end(tag[1:])
            else:
                name, _, attributes = tag.partition(" ")
                if not self.hidden:
                    self.start(name, attributes)
                elif name not in _VOID:
                    self.hidden += 1
            if text and not self.hidden:
                self.words(text)
        self.flush()
        return "\n".join(self.lines).strip("\n")

    def words(self, raw: str) -> None:
        if not raw:
            return
        text = entities.unescape(raw) if "&" in raw else raw
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
            text = text.strip()
            if "  " in text:
                text = _SPACE_RUN.sub(" ", text)
            if _INDENT in text:
                text = text.replace(_INDENT, " ")
        if text or (keep and not self.blank):
            self.lines.append(("> " * self.quote + text).rstrip() if self.quote else text)
            self.blank = not text

    def paragraph(self) -> None:
        self.flush()
        if not self.blank:
            self.lines.append(("> " * self.quote).rstrip())
            self.blank = True

    def start(self, name: str, attributes: str) -> None:
        if attributes and self.look_inside and self._telling(name, attributes):
            return
        if name == "br":
            self.flush(keep=True)
        elif name in ("td", "th"):
            if self.line and "".join(self.line).strip():
                self.line.append("\t")
        elif name in _BLOCKS:
            self._open_block(name)
        elif name == "a":
            self.links.append((_attribute("href", attributes), len(self.line)))
        elif name == "img" and self.links:
            self.words(_attribute("alt", attributes)[:200])  # a picture that is a button; others are decoration
        elif name == "hr":
            self.flush()
            self.line.append("-" * 20)
            self.flush()

    def _telling(self, name: str, attributes: str) -> bool:
        """Look at what the attributes say about hiding and citing; True when the element is hidden."""
        values = dict(_ATTRIBUTE.findall(attributes))
        if name not in _VOID and ("hidden" in values or ("style" in values and _HIDDEN.search(values["style"]))):
            self.hidden = 1
            return True
        self._history(name, values)
        return False

    def _history(self, name: str, values: dict[str, str]) -> None:
        classes = values.get("class", "").split()
        marked = (
            values.get("id") in _HISTORY_IDS
            or values.get("name") in _HISTORY_IDS
            or any(item in _HISTORY_CLASSES for item in classes)
        )
        if marked and not self.quote:
            self.flush()
            self.lines.append(HISTORY)
            self.blank = True
        if name == "div" and any(item in _CITE_CLASSES for item in classes):
            self.paragraph()
            self.quote += 1
            self.citing = True  # `_open_block`, next, notes which div it was

    def _open_block(self, name: str) -> None:
        if name in _SPACED and not (name in ("ul", "ol") and self.lists):
            self.paragraph()
        else:
            self.flush()
        if name == "div":
            self.cites.append(self.citing)
            self.citing = False
        elif name == "blockquote":
            self.quote += 1
        elif name == "pre":
            self.pre += 1
        elif name == "ul":
            self.lists.append(-1)
        elif name == "ol":
            self.lists.append(1)
        elif name == "li":
            self._bullet()

    def _bullet(self) -> None:
        indent = _INDENT * 2 * (len(self.lists) - 1)
        if self.lists and self.lists[-1] > 0:
            self.line.append(f"{indent}{self.lists[-1]}. ")
            self.lists[-1] += 1
        else:
            self.line.append(f"{indent}- ")

    def end(self, name: str) -> None:
        if name == "a":
            self._close_link()
            return
        if name not in _BLOCKS:
            return
        if name in ("ul", "ol") and self.lists:
            self.lists.pop()
        self.flush()
        if name == "pre":
            self.pre = max(0, self.pre - 1)
        elif name == "blockquote" or (name == "div" and self.cites and self.cites.pop()):
            self.quote = max(0, self.quote - 1)
            self.blank = False  # what follows an older message is another paragraph
        if name in _SPACED and not (name in ("ul", "ol") and self.lists):
            self.paragraph()

    def _close_link(self) -> None:
        if not self.links:
            return
        href, index = self.links.pop()
        if not href.startswith(("http://", "https://")) or len(href) > 500:
            return
        label = "".join(self.line[index:]).strip()
        bare = href.partition("://")[2].rstrip("/")
        if label and bare not in label:
            self.line.append(f" <{href}>")


def _attribute(name: str, attributes: str) -> str:
    start = f" {attributes}".find(f' {name}="')
    if start < 0:
        return ""
    start += len(name) + 2
    return entities.unescape(attributes[start : attributes.find('"', start)])


_ALLOWED_STYLES: Final = _words(
    "background-color border border-bottom border-collapse border-color border-left border-right border-spacing "
    "border-style border-top border-width color direction display font-family font-size font-style font-variant "
    "font-weight height letter-spacing line-height list-style-type margin margin-bottom margin-left margin-right "
    "margin-top max-width min-width padding padding-bottom padding-left padding-right padding-top table-layout "
    "text-align text-decoration text-indent text-transform vertical-align white-space width word-break"
)
_STYLE_DANGER: Final = re.compile(r"url|expression|image|@|\\|-\s*\d", re.IGNORECASE)


def _filter_attribute(tag: str, name: str, value: str) -> str | None:
    if name == "src":
        # Only parts of this very mail: a remote picture tells its sender who read it, when and where (A35).
        return value if value.lower().startswith("cid:") else None
    if name == "style" and _STYLE_DANGER.search(value):
        safe = [piece for piece in value.split(";") if not _STYLE_DANGER.search(piece)]
        return ";".join(safe) or None
    if name in ("width", "height", "colspan", "rowspan", "cellpadding", "cellspacing", "border"):
        return value if re.fullmatch(r"\d{1,4}%?", value) else None
    return value


_CELL: Final = {"align", "valign", "bgcolor", "width", "height"}
_safe = nh3.Cleaner(
    tags=set(_TEXT_TAGS),
    clean_content_tags=set(_DROP),
    attributes={
        "*": {"style", "dir", "lang", "align"},
        "a": {"href", "title"},
        "img": {"src", "alt", "width", "height"},
        "font": {"color", "face", "size"},
        "table": _CELL | {"border", "cellpadding", "cellspacing"},
        "td": _CELL | {"colspan", "rowspan"},
        "th": _CELL | {"colspan", "rowspan"},
        "tr": _CELL,
        "ol": {"start", "type"},
    },
    attribute_filter=_filter_attribute,
    link_rel="noopener noreferrer nofollow",
    set_tag_attribute_values={"a": {"target": "_blank"}},
    url_schemes={"http", "https", "mailto", "tel", "cid"},
    url_relative="deny",
    filter_style_properties=set(_ALLOWED_STYLES),
)


def sanitise(html: str) -> str:
    """HTML that is safe inside a page of ours: no script, form, frame, id, class, remote image or overlay.

    Links are http, https, mailto and tel only, open elsewhere and tell nothing (`rel`). Pictures are `cid:` only, for
    the caller to map. What is nested beyond reason comes back as escaped text.
    """
    html = html[:MAX_HTML].translate(_CONTROLS)
    if _too_costly(html):
        return f"<pre>{entities.escape(_strip_tags(html))}</pre>"
    return _safe.clean(html)
