"""The API: Zendesk v2's shape. Every route on one screen; every path with and without `.json`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from aiohttp import web

from gateway.web.api import corrections, dead, files, others, people, search, suspended, tickets, users
from gateway.web.api.answers import Handler, Window, guarded, not_allowed

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
    "tickets/{id}/events": corrections.list_events,
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
    "users/{id}/suggestions": users.list_suggestions,
    "users/{id}/tickets/assigned": tickets.list_none,
    "users/{id}/tickets/ccd": tickets.list_none,
    "users/{id}/tickets/requested": tickets.list_requested,
    "search": search.search,
    "search/count": search.count,
    "search/export": search.export,
    "suspended_tickets": suspended.list_suspended,
    "suspended_tickets/{id}": suspended.show_suspended,
    "dead_letters": dead.list_dead,
    "dead_letters/{id}": dead.show_dead,
    "attachments/{id}": files.show_attachment,
    "job_statuses/{id}": corrections.show_job,
    "receipts/{id}": others.show_receipt,
    "receipts/{id}/explanation": others.explain_receipt,
    "locales": others.list_locales,
    "account/settings": others.show_settings,
    **{path: others.list_empty(name) for path, name in others.EMPTY.items()},
}
_WRITES: Final[dict[tuple[str, str], Handler]] = {
    ("POST", "tickets/{id}/merge"): corrections.merge,
    ("POST", "tickets/{id}/split"): corrections.split,
    ("POST", "tickets/{id}/move"): corrections.move,
    ("POST", "tickets/{id}/relate"): corrections.relate,
    ("POST", "events/{id}/undo"): corrections.undo_event,
    ("PUT", "dead_letters/{id}/replay"): dead.replay_one,
    ("PUT", "dead_letters/replay_many"): dead.replay_many,
    ("PUT", "users/{id}"): people.update_user,
    ("POST", "users/create_or_update"): people.create_or_update,
    ("PUT", "users/{id}/merge"): people.merge_users,
    ("POST", "users/{id}/unmerge"): people.unmerge_user,
    ("PUT", "suspended_tickets/recover_many"): suspended.recover_many,
    ("DELETE", "suspended_tickets/destroy_many"): suspended.reject_many,
    ("PUT", "suspended_tickets/replay_many"): suspended.replay_many,
    ("DELETE", "suspended_tickets/{id}"): suspended.reject_one,
    ("PUT", "suspended_tickets/{id}/recover"): suspended.recover_one,
    ("PUT", "suspended_tickets/{id}/replay"): suspended.replay_one,
    ("POST", "suggestions/{id}/join"): people.join_suggested,
    ("POST", "suggestions/{id}/decline"): people.decline_suggested,
}


def routes() -> list[web.RouteDef]:
    """Every API route; the last one answers whatever is left below `/api`."""
    return list(_routes(Window()))


def _routes(window: Window) -> Iterator[web.RouteDef]:
    for path, handler in _ROUTES.items():
        for address in _addresses(path):
            yield web.get(address, guarded(handler, window))
    for (method, path), handler in _WRITES.items():
        for address in _addresses(path):
            yield web.route(method, address, guarded(handler, window))
            if path not in _ROUTES:
                yield web.route("*", address, guarded(_only(method), window))
    yield web.get(f"{PREFIX}/attachments/{{id}}/content/{{name}}", guarded(files.download_attachment, window))
    yield web.route("*", "/api/{path:.*}", guarded(others.unknown, window))


def _addresses(path: str) -> Iterator[str]:
    pattern = path.replace("{id}", "{id:[^/.]+}")
    return (f"{PREFIX}/{pattern}{ending}" for ending in ("", ".json"))


def _only(method: str) -> Handler:
    """An address that is only written to."""

    async def refuse(request: web.Request) -> web.Response:
        raise not_allowed(request.method, method)

    return refuse
