"""Shared fixtures: private services, free ports, and three guards that hold for every test.

- With `FRONTDESK_TESTS_FORBID_SKIPS=1` (set by the CI) a skipped test is a failed test.
- A service whose program is missing skips the tests that need it, with one sentence that says what to install.
- No test reaches past loopback, not even for a name lookup: it fails at the spot and again when it ends.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import shutil
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.queues import link
from gateway.store.engine import Store, open_store
from gateway.store.migrate import migrate
from tests.services.loopback import watch_sockets
from tests.services.postgres import PostgresCluster, find_memory
from tests.services.process import MissingProgramError, find_free_port
from tests.services.rabbitmq import RabbitNode

FORBID_SKIPS = os.environ.get("FRONTDESK_TESTS_FORBID_SKIPS") == "1"

_strangers = watch_sockets()
_numbers = itertools.count()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure when skips are forbidden; an expected failure stays one."""
    report = yield
    if FORBID_SKIPS and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and skips are forbidden here: {_reason(report.longrepr)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a whole module that skips itself while it is imported."""
    report = yield
    if FORBID_SKIPS and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} was skipped, and skips are forbidden here: {_reason(report.longrepr)}"
    return report


def _reason(longrepr: Any) -> str:
    return str(longrepr[2]) if isinstance(longrepr, tuple) else str(longrepr)


@pytest.fixture(autouse=True)
def _stay_on_loopback() -> Iterator[None]:
    _strangers.clear()
    yield
    if _strangers:
        pytest.fail(f"the test tried to reach past loopback: {', '.join(_strangers)}")


@pytest.fixture(autouse=True)
def _queues_are_bound_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As RabbitMQ 4 allows: a test that crashes no broker need not wait for the proof that a queue outlives that."""
    monkeypatch.setattr(link, "forgets_names", lambda _: False)


@pytest.fixture(autouse=True)
def _logs_stay_pytests() -> Iterator[None]:
    """A command that a test runs writes its log to what stands for stderr just then, and the next test has another."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def free_port() -> int:
    """A TCP port on 127.0.0.1 nobody listens on."""
    return find_free_port()


@pytest.fixture
def free_ports() -> Callable[[], int]:
    """The same for tests that need several: each call is another port."""
    return find_free_port


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of an empty database, of each kind in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'frontdesk.db'}"
    else:
        yield from _borrow_database(request.getfixturevalue("postgres_cluster"))


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a database with the schema and nothing in it, of each kind in turn."""
    if request.param == "sqlite":
        copy = shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "frontdesk.db")
        yield f"sqlite:///{copy}"
    else:
        template: str = request.getfixturevalue("postgres_template")
        yield from _borrow_database(request.getfixturevalue("postgres_cluster"), template)


def _borrow_database(cluster: PostgresCluster, template: str = "") -> Iterator[str]:
    name = f"store_{next(_numbers)}"
    yield cluster.create_database(name, template)
    cluster.drop_database(name)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the schema, which each test copies: migrating takes ten times as long."""
    path = tmp_path_factory.mktemp("template") / "frontdesk.db"
    asyncio.run(_migrate(f"sqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres_cluster: PostgresCluster) -> str:
    """The name of a database with the schema, for the same."""
    asyncio.run(_migrate(postgres_cluster.create_database("schema")))
    return "schema"


async def _migrate(url: str) -> None:
    store = open_store(url)
    await store.write(migrate)
    await store.close()


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    """A store with the schema and nothing in it, on each kind of database."""
    opened = open_store(store_url)
    yield opened
    await opened.close()


@pytest.fixture(scope="session")
def rabbit_node() -> Iterator[RabbitNode]:
    """A running private RabbitMQ node. Give each test its own virtual host: `rabbit_node.fresh_url()`."""
    try:
        node = RabbitNode()
    except MissingProgramError as error:
        pytest.skip(str(error))
    try:
        node.start()
        yield node
    finally:
        node.stop()


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[PostgresCluster]:
    """A running private PostgreSQL. Give each test its own database: `postgres_cluster.create_database(name)`."""
    yield from run_cluster(find_memory())


def run_cluster(place: Path | None) -> Iterator[PostgresCluster]:
    """The body of a fixture: a running PostgreSQL with its folder there, None on the disk."""
    try:
        cluster = PostgresCluster(place=place)
    except MissingProgramError as error:
        pytest.skip(str(error))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
