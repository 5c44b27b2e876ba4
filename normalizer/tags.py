"""The tags of HTML mail, and which html asks an HTML5 parser for too much.

Shared by `markup` (html -> text) and `safe_html` (html -> safe html).
"""

from __future__ import annotations

import html as entities
import re
from typing import Final

MAX_HTML: Final = 2_000_000  # characters
_MANY_TAGS: Final = 4_000  # fewer cannot nest deep enough to cost more than a few tens of milliseconds
_MAX_DEPTH: Final = 600
_MANY_REFERENCES: Final = 30_000

CONTROLS: Final = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 127))


def words(text: str) -> frozenset[str]:
    """The words of a text, for the tables below."""
    return frozenset(text.split())


VOID: Final = words("area base br col embed hr img input link meta source track wbr")
DROPPED: Final = words("script style title noscript template object applet svg math select option textarea xml")
BLOCKS: Final = words(
    "address article aside blockquote body center dd details dir div dl dt fieldset figcaption figure footer form "
    "h1 h2 h3 h4 h5 h6 header html li main menu nav ol p pre section summary table tbody tfoot thead tr ul"
)
SPACED: Final = words("p h1 h2 h3 h4 h5 h6 ul ol dl table blockquote pre")
INLINE: Final = words(
    "a abbr acronym b bdi bdo big cite code del dfn em font i img ins kbd mark q rp rt ruby s samp small span "
    "strike strong sub sup td th time tt u var"
)
TEXT_TAGS: Final = BLOCKS - {"html", "body", "form", "fieldset"} | INLINE | {"br", "hr", "caption"}
_SPACE: Final = re.compile(r"[ \t\r\n\f\u2007\u00a0]++")


def too_costly(html: str) -> bool:
    """Nested, or one text with so many references, that an HTML5 parser (quadratic in both) takes seconds."""
    if html.count("&") + html.count("\xa0") > _MANY_REFERENCES and any(
        text.count("&") + text.count("\xa0") > _MANY_REFERENCES for text in html.split("<")
    ):
        return True
    if html.count("<") <= _MANY_TAGS:
        return False
    depth = deepest = 0
    for match in re.finditer(r"<(/?)([a-zA-Z]++)", html):
        if match.group(2).lower() in VOID:
            continue
        depth = max(0, depth - 1) if match.group(1) else depth + 1
        deepest = max(deepest, depth)
    return deepest > _MAX_DEPTH


def strip_tags(html: str) -> str:
    """What is left for markup nobody wrote by hand: words between the tags."""
    text = re.sub(r"<[^<>]{0,10000}+>", " ", html)
    lines = (_SPACE.sub(" ", line).strip() for line in entities.unescape(text).split("\n"))
    return "\n".join(line for line in lines if line)
