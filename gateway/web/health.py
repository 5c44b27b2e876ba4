"""Is the process alive, can it take messages, and its numbers."""

from __future__ import annotations

from aiohttp import web

from gateway.web.keys import RUNTIME


async def healthz(request: web.Request) -> web.Response:
    """GET /healthz: 200 while the event loop turns."""
    return web.json_response({"status": "ok"}, headers={"Cache-Control": "no-store"})


async def readyz(request: web.Request) -> web.Response:
    """GET /readyz: 200 when a message sent now would be stored, 503 with the reason when it would be refused."""
    ready, facts = await request.app[RUNTIME].ready()
    body = {"status": "ready" if ready else "unavailable", **facts}
    return web.json_response(body, status=200 if ready else 503, headers={"Cache-Control": "no-store"})


async def metrics(request: web.Request) -> web.Response:
    """GET /metrics: the Prometheus text format, version 0.0.4."""
    from gateway.telemetry import render_metrics  # noqa: PLC0415  the registry is filled by whoever counts

    return web.Response(body=render_metrics(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})
