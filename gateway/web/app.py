"""Every address Frontdesk answers, on one screen."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from aiohttp import web

from gateway.web import api, chat, console, errors, form, health, inbound, pages
from gateway.web.keys import CLOCK, LIMITS, RUNTIME
from gateway.web.limits import Limits

if TYPE_CHECKING:
    from gateway.runtime import Runtime


def build_app(runtime: Runtime) -> web.Application:
    """The application of one process; serve it with `gateway.web.server.make_runner`."""
    app = web.Application(middlewares=[errors.explain])
    app[RUNTIME] = runtime
    app[CLOCK] = time.time
    app[LIMITS] = Limits(runtime.settings.trusted_proxies)
    app[chat.SOCKETS] = set()
    app.on_response_prepare.append(errors.protect)
    app.on_shutdown.append(chat.close_all)
    app.add_routes(routes())
    console.setup(app)
    return app


def build_metrics_app() -> web.Application:
    """What a process without customers answers: how it is, and its figures."""
    app = web.Application()
    app.add_routes([web.get("/healthz", health.healthz), web.get("/metrics", health.metrics)])
    return app


def routes() -> list[web.RouteDef]:
    """Method, address, handler."""
    return [
        web.get("/form/{inbox}", form.show),
        web.post("/form/{inbox}", form.submit),
        web.options("/form/{inbox}", form.allow),
        web.get("/form/{inbox}/thanks", form.thank),
        web.get("/chat/{inbox}", chat.show),
        web.get("/chat/{inbox}/widget.js", chat.script),
        web.get("/chat/{inbox}/widget.css", chat.style),
        web.get("/chat/{inbox}/ws", chat.connect, allow_head=False),
        web.post("/chat/{inbox}/sessions", chat.open_session),
        web.options("/chat/{inbox}/sessions", chat.allow),
        web.post("/chat/{inbox}/messages", chat.post_message),
        web.options("/chat/{inbox}/messages", chat.allow),
        web.route("*", "/hooks/{inbox}", inbound.receive),
        web.route("*", "/hooks/{inbox}/{tail:.*}", inbound.receive),
        web.get("/assets/{name}", pages.asset),
        web.get("/favicon.ico", pages.icon),
        web.get("/healthz", health.healthz),
        web.get("/readyz", health.readyz),
        web.get("/metrics", health.metrics),
        *api.routes(),
        *console.routes(),
    ]
