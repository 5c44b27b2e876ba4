"""A server with the API and the console over a filled store, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr

from gateway.settings import Settings
from gateway.store.blobs import Blobs
from gateway.store.engine import Store
from gateway.web.app import build_app
from gateway.web.auth import Logins
from tests.api import seed

TOKEN = "test-token-1"
BASE = "https://desk.example/support"


@dataclass
class Runtime:
    """As much of the runtime as the read side needs."""

    settings: Settings
    store: Any
    blobs: Blobs
    logins: Logins = field(default_factory=Logins)


@pytest.fixture
async def ids(store: Store) -> dict[str, Any]:
    """The ids of the filled desk."""
    return await store.write(seed.fill)


@pytest.fixture
async def blobs(tmp_path: Path) -> AsyncIterator[Blobs]:
    opened = Blobs(tmp_path / "blobs")
    yield opened
    opened.close()


@pytest.fixture
async def runtime(store: Store, blobs: Blobs) -> Runtime:
    settings = Settings(api_tokens=[SecretStr(TOKEN), SecretStr("other-token")], public_url=BASE)
    return Runtime(settings, store, blobs)


@pytest.fixture
async def client(runtime: Runtime) -> AsyncIterator[TestClient[Any, Any]]:
    """A client without credentials; cookies are kept."""
    app = make_app(runtime)
    async with TestClient(TestServer(app)) as opened:
        yield opened


def make_app(runtime: Any) -> web.Application:
    """The application as it is served."""
    return build_app(runtime)


@pytest.fixture
def get(client: TestClient[Any, Any]) -> Callable[..., Any]:
    """GET an API path with a token: `status, body, headers`. Links of our own are followed by path."""

    async def call(path: str, **options: Any) -> tuple[int, Any, Any]:
        path = path.removeprefix(BASE)
        headers = {"Authorization": f"Bearer {TOKEN}", **options.pop("headers", {})}
        method = options.pop("method", "GET")
        response = await client.request(method, path, headers=headers, **options)
        return response.status, await response.json(), response.headers

    return call
