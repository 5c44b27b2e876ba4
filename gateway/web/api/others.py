"""What is ours (receipts), and empty lists of what we do not have."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from aiohttp import web

from gateway.store.explanations import explain
from gateway.store.paging import Page
from gateway.store.receipts import get_receipt
from gateway.web.api import event_shapes, shapes
from gateway.web.api.answers import Handler, answer, base_url, not_allowed, not_found
from gateway.web.api.envelopes import envelope, read_ask
from gateway.web.reading import read

# Path -> name in the envelope. Clients list these before they look at tickets.
EMPTY: Final = {
    "automations": "automations",
    "brands": "brands",
    "custom_roles": "custom_roles",
    "custom_statuses": "custom_statuses",
    "deleted_tickets": "deleted_tickets",
    "dynamic_content/items": "items",
    "group_memberships": "group_memberships",
    "groups": "groups",
    "groups/assignable": "groups",
    "macros": "macros",
    "macros/active": "macros",
    "organization_fields": "organization_fields",
    "organization_memberships": "organization_memberships",
    "organizations": "organizations",
    "organizations/search": "organizations",
    "recipient_addresses": "recipient_addresses",
    "requests": "requests",
    "satisfaction_ratings": "satisfaction_ratings",
    "sharing_agreements": "sharing_agreements",
    "skips": "skips",
    "slas/policies": "sla_policies",
    "tags": "tags",
    "targets": "targets",
    "ticket_fields": "ticket_fields",
    "ticket_forms": "ticket_forms",
    "ticket_metrics": "ticket_metrics",
    "triggers": "triggers",
    "triggers/active": "triggers",
    "user_fields": "user_fields",
    "views": "views",
    "views/active": "views",
    "webhooks": "webhooks",
    "workspaces": "workspaces",
}
_LOCALE: Final = {
    "id": 1,
    "locale": "en-US",
    "name": "English",
    "native_name": "English",
    "presentation_name": "English",
    "rtl": False,
    "default": True,
    "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-01-01T00:00:00Z",
}


def list_empty(name: str) -> Handler:
    """A handler for a list that has nothing in it."""

    async def handle(request: web.Request) -> web.Response:
        return answer(envelope(request, name, [], Page([], total=0), read_ask(request.query)))

    return handle


async def list_locales(request: web.Request) -> web.Response:
    """GET locales."""
    locale = {**_LOCALE, "url": f"{base_url(request)}/api/v2/locales/1.json"}
    return answer(envelope(request, "locales", [locale], Page([], total=1), read_ask(request.query)))


async def show_settings(request: web.Request) -> web.Response:
    """GET account/settings."""
    tickets = {"has_attachments": True, "collaboration": False, "comments_public_by_default": True, "tagging": False}
    return answer(
        {"settings": {"tickets": tickets, "api": {"accepted_api_agreement": True}, "localization": {"locale_ids": [1]}}}
    )


async def show_receipt(request: web.Request) -> web.Response:
    """GET receipts/{uuid}: what became of one delivery."""
    try:
        ident = UUID(request.match_info["id"])
    except ValueError:
        raise not_found("A receipt id looks like 0193f2a5-7c1e-7b7c-8a4e-1c9b2f6d0e11.") from None
    row = await read(request, get_receipt, ident)
    if row is None:
        raise not_found("No outcome is recorded for this receipt: it is still on its way, or it is not one of ours.")
    return answer({"receipt": shapes.receipt(row, base_url(request))})


async def explain_receipt(request: web.Request) -> web.Response:
    """GET receipts/{uuid}/explanation: why the delivery is where it is, and what was corrected since."""
    try:
        ident = UUID(request.match_info["id"])
    except ValueError:
        raise not_found("A receipt id looks like 0193f2a5-7c1e-7b7c-8a4e-1c9b2f6d0e11.") from None
    found = await read(request, explain, ident)
    if found is None:
        raise not_found("No outcome is recorded for this receipt: it is still on its way, or it is not one of ours.")
    return answer({"explanation": event_shapes.explanation(found, base_url(request))})


async def unknown(request: web.Request) -> web.Response:
    """Any other path, and writing where nothing is written."""
    if request.method not in ("GET", "HEAD"):
        raise not_allowed(request.method)
    raise not_found()
