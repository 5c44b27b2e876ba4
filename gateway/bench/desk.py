"""A private desk for one measurement: its settings, its processes, and the quantiles of what was measured."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from gateway.bench.client import BenchError
from gateway.bench.processes import Running, ask, start, wait_listening
from gateway.runtime import Runtime
from gateway.settings import PREFIX, load_settings


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


@contextlib.asynccontextmanager
async def running(
    members: Mapping[str, str], environment: Mapping[str, str], folder: Path, ports: Sequence[int]
) -> AsyncIterator[list[Running]]:
    """The desk's processes (name -> verb), once the first of them listens on these ports; stopped in the end."""
    code, told = await asyncio.to_thread(ask, ["migrate"], environment)
    if code:
        raise BenchError(f"`frontdesk migrate` failed on the store of the bench: {told}")
    processes = [start(name, [verb], environment, folder) for name, verb in members.items()]
    try:
        for port in ports:
            await wait_listening(processes[0], port)
        yield processes
    finally:
        for process in reversed(processes):
            await asyncio.to_thread(process.stop)
