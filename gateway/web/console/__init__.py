"""The console: what arrived, what became of it and why, in a browser, and the buttons that correct it.
Server-rendered, no build step.

`routes()` are its addresses; `setup(app)` gives it what lives as long as the process and ends its streams at shutdown.
"""

from __future__ import annotations

from aiohttp import web

from gateway.web.console import correcting, deciding, files, live, pages, session


def routes() -> list[web.RouteDef]:
    """Method, address, handler."""
    return [
        web.get("/console/login", session.log_in, allow_head=False),
        web.post("/console/logout", session.log_out),
        web.get("/console/static/{name}", files.show_static),
        _get("/console", pages.show_list),
        _get("/console/", pages.show_list),
        _get("/console/tickets/{id:[0-9]{1,18}}", pages.show_ticket),
        _post("/console/tickets/{id:[0-9]{1,18}}/split", correcting.split),
        _post("/console/tickets/{id:[0-9]{1,18}}/move", correcting.move),
        _post("/console/tickets/{id:[0-9]{1,18}}/merge", correcting.merge),
        _post("/console/tickets/{id:[0-9]{1,18}}/relate", correcting.relate),
        _post("/console/events/{id:[0-9]{1,18}}/undo", correcting.undo_event),
        _post("/console/suggestions/{id:[0-9]{1,18}}", correcting.decide),
        _get("/console/suspended/{id:[0-9]{1,18}}", pages.show_suspended),
        _get("/console/suspended/{id:[0-9]{1,18}}/original", files.download_suspended_original),
        _get("/console/suspended/{id:[0-9]{1,18}}/text", files.show_suspended_text),
        _post("/console/suspended/{id:[0-9]{1,18}}/recover", deciding.recover),
        _post("/console/suspended/{id:[0-9]{1,18}}/replay", deciding.read_again),
        _post("/console/suspended/{id:[0-9]{1,18}}/reject", deciding.reject),
        _get("/console/dead/{id:[0-9]{1,18}}", pages.show_dead_letter),
        _get("/console/dead/{id:[0-9]{1,18}}/body", files.download_dead_letter),
        _get("/console/receipts/{id}", pages.show_receipt),
        _get("/console/comments/{id:[0-9]{1,18}}/html", files.show_html),
        _get("/console/comments/{id:[0-9]{1,18}}/text", files.show_text),
        _get("/console/comments/{id:[0-9]{1,18}}/original", files.download_original),
        _get("/console/attachments/{id:[0-9]{1,18}}/preview", files.preview_attachment),
        _get("/console/attachments/{id:[0-9]{1,18}}/{name:.*}", files.download_attachment),
        web.get("/console/events", session.guarded(live.stream), allow_head=False),
        _get("/console/{path:.*}", pages.show_nothing),
    ]


def setup(app: web.Application) -> None:
    """Prepare an application that holds a runtime; call it beside `add_routes`."""
    app[live.BROADCASTER] = live.Broadcaster()
    app.on_shutdown.append(live.close)


def _get(path: str, handler: session.Handler) -> web.RouteDef:
    return web.get(path, session.guarded(handler))


def _post(path: str, action: correcting.Action) -> web.RouteDef:
    return web.post(path, session.guarded(correcting.taking(action)))
