"""A process: which roles it plays, in which order it starts, and in which order it stops.

Stopping is a written sequence: stop listening, let what is being accepted finish, publish the last tally, finish the
batch in hand, give back what was not recorded, close. A second signal skips the waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import signal
import sys
from collections.abc import Callable
from typing import Final

from aiohttp import web

from gateway import telemetry
from gateway.apart import Apart
from gateway.mailserver import MailServer
from gateway.occupancy import occupied
from gateway.poller import run_pollers
from gateway.queues.base import QueueUnavailableError
from gateway.runtime import Runtime
from gateway.settings import Settings, SettingsError
from gateway.store.engine import is_transient
from gateway.web.app import build_app, build_metrics_app
from gateway.web.server import listen
from gateway.worker_process import keep_working

_log = logging.getLogger(__name__)

ROLES: Final = frozenset({"serve", "work", "poll"})
_GRACE: Final = 7.0  # seconds for what is under way when told to stop
_MEASURE_SECONDS: Final = 5.0
_M_MMAP_THRESHOLD: Final = -3  # malloc.h
_LARGE_BLOCK: Final = 512 * 1024  # bytes
_SWITCH_SECONDS: Final = 0.0001  # a thread that computes lets the event loop in after this, not after Python's 5 ms


async def run(
    settings: Settings,
    roles: set[str],
    *,
    quiet: bool = False,
    say: Callable[[str], None] = print,
    ready: asyncio.Event | None = None,
    stop: asyncio.Event | None = None,
) -> int:
    """Play the roles until a signal (or `stop`), on an embedded queue as the only one of its data folder who does.

    `ready` is set once every listener is open. Returns an exit code.
    """
    embedded = settings.queue_url.startswith("embedded:")
    with occupied(settings.data_dir, roles) if embedded else contextlib.nullcontext():
        return await play(settings, roles, ready=ready, stop=stop, say=None if quiet else say)


async def play(
    settings: Settings,
    roles: set[str],
    *,
    stop: asyncio.Event | None = None,
    ready: asyncio.Event | None = None,
    say: Callable[[str], None] | None = None,
) -> int:
    """As `run`, beside whoever else does."""
    telemetry.configure_logging(settings.log_level, settings.log_format)
    stop = stop or asyncio.Event()
    _watch_signals(stop)
    runtime = Runtime(settings)
    if roles & {"serve", "poll"}:
        runtime.intake.apart = Apart()
    sys.setswitchinterval(_SWITCH_SECONDS)
    _give_back_memory()
    await runtime.start()
    try:
        await _play(runtime, roles, stop, ready, say)
    finally:
        await runtime.close()
    return 0


async def _play(
    runtime: Runtime,
    roles: set[str],
    stop: asyncio.Event,
    ready: asyncio.Event | None,
    say: Callable[[str], None] | None,
) -> None:
    listening = contextlib.AsyncExitStack()
    closed = asyncio.Event()  # the listeners are closed, so the last tally is the last
    settled = asyncio.Event()  # and it is published, so a worker of ours has nothing more to expect
    async with asyncio.TaskGroup() as tasks:
        last: set[asyncio.Task[None]] = set()
        if "serve" in roles:  # needs no database: what arrives before it is up waits in the queue
            addresses = await _listen(runtime, listening)
            last.add(tasks.create_task(runtime.intake.report(closed), name="tally"))
            if say is not None:
                _introduce(runtime, addresses, roles, say)
        elif runtime.settings.metrics_listen:
            await _listen_for_metrics(runtime, listening)
        tasks.create_task(_measure(runtime, stop), name="measure")
        await _migrate(runtime, stop)
        if {"serve", "work"} <= roles:
            tasks.create_task(keep_working(runtime.settings, stop, settled), name="worker process")
        elif "work" in roles:
            tasks.create_task(runtime.worker().run(stop), name="worker")
        if "poll" in roles:
            tasks.create_task(run_pollers(runtime, stop), name="pollers")
        collect_less()
        if ready is not None:
            ready.set()
        await stop.wait()
        _log.info("stopping")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GRACE):
                await listening.aclose()
        closed.set()
        if last:
            await asyncio.wait(last)
        settled.set()


def _give_back_memory() -> None:
    """Let glibc return large blocks to the system when they are freed.

    By default it learns from the first mail of 25 MB to keep blocks of that size, and the process stays that large.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library keeps its own rules
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK)


def collect_less() -> None:
    """What was made at start stays, and is not worth looking at again; what a message leaves is mostly no cycle.

    By default the collector runs every 700 objects, ten times a message, which is a sixteenth of the CPU of taking it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


async def _listen(runtime: Runtime, stack: contextlib.AsyncExitStack) -> dict[str, str]:
    """Open every listener; close them, newest first, with the stack."""
    host, port = _host_and_port("http_listen", runtime.settings.http_listen)
    try:
        runner, port = await listen(build_app(runtime), host, port)
    except OSError as error:
        raise SettingsError(f"http_listen: cannot listen at {host}:{port}: {error.strerror or error}") from None
    stack.push_async_callback(runner.cleanup)
    mail = MailServer(runtime)
    try:
        await mail.start()
    except OSError as error:
        await stack.aclose()
        raise SettingsError(f"smtp_listen or lmtp_listen: {error.strerror or error}") from None
    stack.push_async_callback(mail.stop)
    return {"HTTP": f"{host}:{port}", "SMTP": mail.smtp_address, "LMTP": mail.lmtp_address}


async def _listen_for_metrics(runtime: Runtime, stack: contextlib.AsyncExitStack) -> None:
    host, port = _host_and_port("metrics_listen", runtime.settings.metrics_listen)
    runner = web.AppRunner(build_metrics_app(), access_log=None)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        raise SettingsError(f"metrics_listen: cannot listen at {host}:{port}: {error.strerror or error}") from None


def _host_and_port(name: str, address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise SettingsError(f"{name}: {address!r} is not host:port")
    return host.strip("[]"), int(port)


async def _migrate(runtime: Runtime, stop: asyncio.Event) -> None:
    """The database may come up later than we do; the gateway's promise does not need it, so wait and say so."""
    pause = 0.5
    while not stop.is_set():
        try:
            await runtime.migrate()
        except Exception as error:
            if not is_transient(error):
                raise
            _log.warning("waiting for the database: %s", str(error).splitlines()[0][:200])
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)
            pause = min(pause * 2, 10)
        else:
            return


async def _measure(runtime: Runtime, stop: asyncio.Event) -> None:
    """Keep the gauges of what waits."""
    while not stop.is_set():
        with contextlib.suppress(QueueUnavailableError):
            depth = await runtime.queue.depth()
            telemetry.waiting(depth.ready, depth.dead, depth.spooled)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _MEASURE_SECONDS)


def _introduce(runtime: Runtime, addresses: dict[str, str], roles: set[str], say: Callable[[str], None]) -> None:
    base = runtime.settings.base_url
    say(f"Frontdesk plays {', '.join(sorted(roles))}; data in {runtime.settings.data_dir}")
    for name, address in addresses.items():
        if address:
            say(f"  {name:<8}{address}")
    for inbox in runtime.inboxes.values():
        page = {"form": f"{base}/form/{inbox.name}", "chat": f"{base}/chat/{inbox.name}"}.get(inbox.channel)
        if page:
            say(f"  {inbox.channel:<8}{page}")
        elif missing := inbox.adapter.missing():
            say(f"  {inbox.channel:<8}closed: set {', '.join(missing)} of inbox {inbox.name}")
        else:
            for tail in inbox.adapter.hooks():
                say(f"  {inbox.channel:<8}{base}/hooks/{inbox.name}{'/' if tail else ''}{tail}")
    say(f"  console {base}/console/login?token={runtime.logins.issue()}  (opens once)")


def _watch_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()

    def end() -> None:
        if stop.is_set():
            raise SystemExit(130)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
            loop.add_signal_handler(number, end)
