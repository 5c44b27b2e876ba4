"""A private desk for one measurement: its settings, its processes, and the quantiles of what was measured."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, func, select

from gateway.bench.client import BenchError
from gateway.bench.processes import Running, ask, start, wait_listening, worker_of
from gateway.runtime import Runtime
from gateway.settings import PREFIX, load_settings
from gateway.store import tables as t
from gateway.store.engine import Store


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """p50 and p99 in milliseconds, by the nearest rank."""
    ranked = sorted(seconds)
    return {
        name: ranked[min(len(ranked) - 1, int(len(ranked) * share))] * 1000
        for name, share in (("p50", 0.5), ("p99", 0.99))
    }


def settings_of(queue_url: str, store_url: str, folder: Path, http: int, smtp: int) -> dict[str, str]:
    """Nothing of the caller's settings: what is measured is the default on these two services."""
    nothing = folder / "frontdesk.toml"
    nothing.touch()
    own = {
        "CONFIG": str(nothing),
        "DATA_DIR": str(folder / "data"),
        "BLOB_DIR": str(folder / "blobs"),
        "HTTP_LISTEN": f"127.0.0.1:{http}",
        "SMTP_LISTEN": f"127.0.0.1:{smtp}",
        "LMTP_LISTEN": "",
        "QUEUE_URL": queue_url,
        "STORE_URL": store_url,
        "LOG_FORMAT": "json",
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return inherited | {PREFIX + name: value for name, value in own.items()}


def runtime_of(environment: Mapping[str, str]) -> Runtime:
    """Our own runtime on the same services."""
    own = {name: value for name, value in environment.items() if name.startswith(PREFIX)}
    kept = {name: os.environ[name] for name in os.environ if name.startswith(PREFIX)}
    for name in kept:
        del os.environ[name]
    os.environ.update(own)
    try:
        return Runtime(load_settings())
    finally:
        for name in own:
            del os.environ[name]
        os.environ.update(kept)


async def watch(members: Sequence[Running], services: Mapping[str, int]) -> dict[str, int]:
    """Name -> process id of what is measured: these, a worker beside one of them, and services."""
    found: dict[str, int] = {}
    for member in members:
        found[member.name] = member.pid
        if member.name == "up":
            found["its worker"] = await worker_of(member)
    return found | dict(services)


@contextlib.asynccontextmanager
async def running(
    members: Mapping[str, str], environment: Mapping[str, str], folder: Path, ports: Sequence[int]
) -> AsyncIterator[list[Running]]:
    """The desk's processes (name -> verb), once its gateways listen; stopped in the end.

    `ports`: HTTP and SMTP of the first gateway, then of the second, and so on; a second one has a spool of its own.
    """
    code, told = await asyncio.to_thread(ask, ["migrate"], environment)
    if code:
        raise BenchError(f"`frontdesk migrate` failed on the store of the bench: {told}")
    doors = iter(zip(ports[::2], ports[1::2], strict=True))
    own = {name: _doors_of(name, next(doors), folder) if _has_doors(verb) else {} for name, verb in members.items()}
    processes = [start(name, [verb], {**environment, **own[name]}, folder) for name, verb in members.items()]
    gateways = [process for process, verb in zip(processes, members.values(), strict=True) if _has_doors(verb)]
    try:
        for number, port in enumerate(ports):
            await wait_listening(gateways[number // 2], port)
        yield processes
    finally:
        for process in reversed(processes):
            await asyncio.to_thread(process.stop)


class Accounted(Protocol):
    """What a measurement says of its messages in the end: the audit's last line, and whether nothing is missing."""

    audit: str
    balanced: bool


@contextlib.asynccontextmanager
async def accounted(
    found: Accounted, members: Mapping[str, str], environment: Mapping[str, str], folder: Path, ports: Sequence[int]
) -> AsyncIterator[tuple[list[Running], Store]]:
    """The desk's processes and its store, as `running` has them; in the end everything is accounted for."""
    runtime = runtime_of(environment)
    try:
        async with running(members, environment, folder, ports) as processes:
            yield processes, runtime.store
        await account(found, environment)
    finally:
        await runtime.close()


async def account(found: Accounted, environment: Mapping[str, str]) -> None:
    """Ask `frontdesk audit`."""
    code, told = await asyncio.to_thread(ask, ["audit"], environment)
    found.audit, found.balanced = told.strip().rpartition("\n")[2], code == 0


async def settle(store: Store) -> None:
    """Return once nothing more is being recorded."""
    before = -1
    while (now := await store.read(_count_receipts)) != before:
        before = now
        await asyncio.sleep(1.0)


def _count_receipts(conn: Connection) -> int:
    return conn.scalar(select(func.count()).select_from(t.receipts)) or 0


def _has_doors(verb: str) -> bool:
    return verb in ("up", "serve")


def _doors_of(name: str, ports: tuple[int, int], folder: Path) -> dict[str, str]:
    http, smtp = (f"127.0.0.1:{port}" for port in ports)
    return {
        PREFIX + "HTTP_LISTEN": http,
        PREFIX + "SMTP_LISTEN": smtp,
        PREFIX + "DATA_DIR": str(folder / "data" if name in ("up", "gateway") else folder / name),
    }
