"""The API: Zendesk v2's shape, read side. Every route on one screen; every path with and without `.json`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from aiohttp import web

from gateway.web.api import files, others, search, tickets, users
from gateway.web.api.answers import Handler, Window, guarded

PREFIX: Final = "/api/v2"

_ROUTES: Final[dict[str, Handler]] = {
    "tickets": tickets.list_tickets,
    "tickets/count": tickets.count_tickets,
    "tickets/recent": tickets.list_recent,
    "tickets/show_many": tickets.show_many,
    "tickets/{id}": tickets.show_ticket,
    "tickets/{id}/audits": tickets.list_audits,
    "tickets/{id}/collaborators": tickets.list_collaborators,
    "tickets/{id}/comments": tickets.list_comments,
    "tickets/{id}/comments/count": tickets.count_comments,
    "tickets/{id}/incidents": tickets.list_incidents,
    "tickets/{id}/tags": tickets.list_tags,
    "incremental/tickets/cursor": tickets.list_changed,
    "users": users.list_users,
    "users/autocomplete": users.search_users,
    "users/count": users.count_users,
    "users/me": users.show_me,
    "users/search": users.search_users,
    "users/show_many": users.show_many,
    "users/{id}": users.show_user,
    "users/{id}/identities": users.list_identities,
    "users/{id}/tickets/assigned": tickets.list_none,
    "users/{id}/tickets/ccd": tickets.list_none,
    "users/{id}/tickets/requested": tickets.list_requested,
    "search": search.search,
    "search/count": search.count,
    "search/export": search.export,
    "suspended_tickets": others.list_suspended,
    "suspended_tickets/{id}": others.show_suspended,
    "attachments/{id}": files.show_attachment,
    "receipts/{id}": others.show_receipt,
    "locales": others.list_locales,
    "account/settings": others.show_settings,
    **{path: others.list_empty(name) for path, name in others.EMPTY.items()},
}


def routes() -> list[web.RouteDef]:
    """Every API route; the last one answers whatever is left below `/api`."""
    return list(_routes(Window()))


def _routes(window: Window) -> Iterator[web.RouteDef]:
    for path, handler in _ROUTES.items():
        pattern = path.replace("{id}", "{id:[^/.]+}")
        for ending in ("", ".json"):
            yield web.get(f"{PREFIX}/{pattern}{ending}", guarded(handler, window))
    yield web.get(f"{PREFIX}/attachments/{{id}}/content/{{name}}", guarded(files.download_attachment, window))
    yield web.route("*", "/api/{path:.*}", guarded(others.unknown, window))
