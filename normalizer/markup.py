"""HTML mail -> readable text, with a mark where the sender's client says that the older messages begin.

It starts from nh3 (html5ever, ammonia), so what we read is well-formed. Input is capped before it is parsed: size, and
nesting, which is quadratic in every HTML5 parser. HTML that is safe to show is made in `safe_html`.
"""

from __future__ import annotations

from typing import Final

import nh3

from normalizer import tags
from normalizer.rendering import CITE_CLASSES, HISTORY, HISTORY_CLASSES, HISTORY_IDS, INDENT, Renderer
from normalizer.safe_html import sanitise

__all__ = ["HISTORY", "cites", "sanitise", "to_marked_text", "to_text", "unmark"]

_SCHEMES: Final = {"http", "https", "mailto", "tel", "cid", "data"}

# Most mails hide and cite nothing: for them only the tags that shape the text are written out again.
_shape_reader = nh3.Cleaner(
    tags=set(tags.TEXT_TAGS - tags.INLINE | {"a", "img", "td", "th"}),
    clean_content_tags=set(tags.DROPPED),
    attributes={"a": {"href"}, "img": {"alt"}},
    link_rel=None,
    url_schemes=_SCHEMES,
)
_full_reader = nh3.Cleaner(
    tags=set(tags.TEXT_TAGS),
    clean_content_tags=set(tags.DROPPED),
    attributes={"*": {"style", "class", "id", "type", "hidden", "name"}, "a": {"href"}, "img": {"alt"}},
    link_rel=None,
    url_schemes=_SCHEMES,
)

_CITING: Final = tuple(word.lower() for word in sorted(HISTORY_IDS | HISTORY_CLASSES | CITE_CLASSES))
_HIDING: Final = (
    *("hidden", "mso-hide", "display:none", "display: none", "font-size:0", "font-size: 0"),
    *("opacity:0", "opacity: 0", "height:0", "height: 0"),
    *("left:-", "left: -", "indent:-", "indent: -", "color:transparent", "color: transparent"),
)
_TELLING: Final = (*_CITING, *_HIDING, "<blockquote style")


def to_text(html: str) -> str:
    """Readable plain text of an HTML body: paragraphs, lists, table rows, `> ` quotes, link targets. Never raises.

    Hidden text is dropped; so is what lies beyond `tags.MAX_HTML` characters. Linear in the input.
    """
    return unmark(to_marked_text(html))


def unmark(text: str) -> str:
    """Marked text without its marks."""
    return text.replace(HISTORY + "\n", "").replace(HISTORY, "").strip("\n") if HISTORY in text else text


def cites(html: str) -> bool:
    """Whether a mail client's own markup of an older message is in it."""
    low = html[: tags.MAX_HTML].lower()
    return any(word in low for word in (*_CITING, "gmail_quote", 'type="cite', "type=cite", "type='cite"))


def to_marked_text(html: str) -> str:
    """As `to_text`, with a line `HISTORY` where the sender's client says that the older messages begin."""
    html = html[: tags.MAX_HTML]
    if INDENT in html or HISTORY in html:
        html = html.translate(tags.CONTROLS)
    if tags.too_costly(html):
        return tags.strip_tags(html)
    low = _without_sheets(html.lower())
    telling = any(word in low for word in _TELLING)
    if not telling:
        return Renderer(look_inside=False).render(_shape_reader.clean(html))
    text = Renderer().render(_full_reader.clean(html))
    # Who hides everything hides nothing: a mail is not shown empty.
    return text if text.strip() else Renderer(look_inside=False).render(_shape_reader.clean(html))


def _without_sheets(low: str) -> str:
    """Lower-case html without its style sheets, whose `display:none` hides nothing by itself."""
    if "<style" not in low:
        return low
    first, *rest = low.split("<style")
    return first + "".join([piece.partition("</style")[2] for piece in rest])
