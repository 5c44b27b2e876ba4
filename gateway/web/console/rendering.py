"""Pages of the console: Jinja2 with everything escaped, and headers that keep a browser from loading anything else."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import jinja2
from aiohttp import web
from markupsafe import Markup

from gateway.web.console import explaining
from gateway.web.console.cookies import form_token, session_name
from gateway.web.keys import RUNTIME

HERE: Final = Path(__file__).parent
CSP: Final = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'; "
    "frame-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with no-referrer browsers send `Origin: null` with our own forms
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "private, no-store",
}
CHANNELS: Final = {"email": "Mail", "form": "Form", "chat": "Chat", "phone": "Phone", "twitter": "X"}
_SCALE: Final = ((60, "s"), (60, "min"), (24, "h"), (7, "d"))


def page(request: web.Request, template: str, values: Mapping[str, Any], status: int = 200) -> web.Response:
    """An HTML answer."""
    common = {"prefix": prefix(request), "now": datetime.now(UTC), "form_token": form_token(request)}
    common["session_name"] = session_name(request)
    text = _jinja.get_template(template).render(**common, **values)
    return web.Response(text=text, status=status, content_type="text/html", headers=HEADERS)


def prefix(request: web.Request) -> str:
    """The path under which a proxy publishes us; mostly empty."""
    base: str = request.app[RUNTIME].settings.base_url
    return urlsplit(base).path


def age(seconds: float) -> str:
    """`now`, `12 min`, `3 h`, `5 d`, `7 w`."""
    amount = max(0.0, seconds)
    for size, unit in _SCALE:
        if amount < size:
            return "now" if unit == "s" else f"{int(amount)} {unit}"
        amount /= size
    return f"{int(amount)} w"


def time_tag(moment: datetime | None, now: datetime | None = None) -> Markup:
    """A `<time>`: its age when `now` is given, else date and time; the script keeps it current in local time."""
    if moment is None:
        return Markup()
    moment = moment.astimezone(UTC)
    shown = age((now - moment).total_seconds()) if now else moment.strftime("%d %b %Y, %H:%M")
    kind = "age" if now else "date"
    return Markup('<time class="{}" datetime="{}" title="{}">{}</time>').format(
        kind, moment.isoformat(), moment.strftime("%Y-%m-%d %H:%M:%S UTC"), shown
    )


def file_size(size: int) -> str:
    """`812 B`, `1.4 MB`."""
    amount = float(size)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 10 else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


def channel_name(channel: str) -> str:
    """A channel as people call it."""
    return CHANNELS.get(channel, channel.capitalize())


def person(row: Mapping[str, Any]) -> str:
    """What to call the author of a comment."""
    return row["author_name"] or row["author_value"] or explaining.unknown(row["channel"])


def with_query(path: str, values: Mapping[str, Any]) -> str:
    """An address with a query of what is not empty."""
    kept = {name: value for name, value in values.items() if value}
    return f"{path}?{urlencode(kept)}" if kept else path


_jinja: Final = jinja2.Environment(
    loader=jinja2.FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_jinja.filters.update(
    time_tag=time_tag,
    file_size=file_size,
    channel_name=channel_name,
    person=person,
    path_name=lambda name: quote(name or "attachment", safe=""),
)
_jinja.globals.update(
    with_query=with_query,
    why=explaining.why,
    refused=explaining.refused,
    happened=explaining.happened,
    corrected=explaining.corrected,
)
