"""HTML mail -> HTML that is safe to show inside a page of ours.

nh3 (html5ever, ammonia) parses the way a browser does, so what is shown is what was judged. Input is capped before it
is parsed: size, and nesting, which is quadratic in every HTML5 parser.
"""

from __future__ import annotations

import html as entities
import re
from typing import Final

import nh3

from normalizer import tags

_ALLOWED_STYLES: Final = tags.words(
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
    tags=set(tags.TEXT_TAGS),
    clean_content_tags=set(tags.DROPPED),
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
    html = html[: tags.MAX_HTML].translate(tags.CONTROLS)
    if tags.too_costly(html):
        return f"<pre>{entities.escape(tags.strip_tags(html))}</pre>"
    return _safe.clean(html)
