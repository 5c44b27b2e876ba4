"""The worker of `frontdesk up`: a process of its own beside the one that takes messages in.

Python computes one thing at a time in a process: a worker that records a thousand messages, or one of a megabyte, would
keep every sender waiting, and a second core would stand idle. So whoever plays `serve` and `work` together starts the
worker apart, keeps it running, and stops it last.

They share a pair of sockets. Down go the settings, once; up go the worker's metrics. When the gateway's end closes, the
worker finishes the batch in hand and ends; when the gateway is killed, the kernel kills the worker with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
from typing import Final

from gateway import telemetry
from gateway.precedence import give_way
from gateway.settings import Settings

_log = logging.getLogger(__name__)

_PROGRAM: Final = "from gateway.worker_process import serve; serve()"
_ENDS: Final = "FRONTDESK_WORKER_SOCKET"
_LARGEST: Final = 128 * 1024  # octets of one datagram, either way
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 10.0
_STEADY: Final = 60.0  # seconds after which a worker that ends is no part of a row of failures
_TELL_SECONDS: Final = 1.0
_GRACE: Final = 3.0  # seconds for the batch in hand; one that takes longer comes again to the next life
_NICE: Final = 3  # who waits at a door comes before who waits for a ticket, and both before what takes long to read
_PR_SET_PDEATHSIG: Final = 1  # prctl.h


async def keep_working(settings: Settings, stop: asyncio.Event, settled: asyncio.Event) -> None:
    """Keep one worker running until `stop`; once the gateway has `settled` let it finish. Returns when it has ended."""
    loop = asyncio.get_running_loop()
    pause = _FIRST_PAUSE
    while not stop.is_set():
        begun = loop.time()
        try:
            end = f"ended with {await _attend(settings, settled)}"
        except OSError as error:  # no descriptor, process or memory for it: the doors stay open meanwhile
            end = f"cannot be started ({error.strerror})"
        if stop.is_set():  # some supervisors tell every process of ours
            return
        if loop.time() - begun > _STEADY:
            pause = _FIRST_PAUSE
        _log.error("the worker process %s; another one starts in %.1f s", end, pause)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


async def _attend(settings: Settings, settled: asyncio.Event) -> int:
    """One worker's life; its exit code. Raises OSError when it cannot be started."""
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    with ours:
        with theirs:
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-c",
                _PROGRAM,
                stdin=subprocess.DEVNULL,
                env={**os.environ, _ENDS: str(theirs.fileno())},
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # Ctrl-C is for the gateway, which tells the worker
            )
        ended, stopping = asyncio.ensure_future(child.wait()), asyncio.ensure_future(settled.wait())
        try:
            loop.add_reader(ours, _hear, ours, loop)
            ours.send(pickle.dumps(settings))
            await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if stopping.done():
                loop.remove_reader(ours)
                ours.shutdown(socket.SHUT_WR)
                await asyncio.wait({ended}, timeout=_GRACE)
        except OSError as error:  # it ended before it had read its settings
            _log.warning("the worker process does not listen: %s", error)
        finally:
            stopping.cancel()
            loop.remove_reader(ours)
            telemetry.forget_worker()
            if child.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    child.kill()
        return await ended


def _hear(ours: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
    try:
        told = ours.recv(_LARGEST)
    except BlockingIOError:
        return
    except OSError:
        told = b""
    if told:
        telemetry.hear_worker(told)
    else:
        loop.remove_reader(ours)


def serve() -> None:
    """The worker's side: play `work` until the gateway's end closes."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    give_way(_NICE)
    with socket.socket(fileno=int(os.environ.pop(_ENDS))) as line:
        line.set_inheritable(False)
        told = line.recv(_LARGEST)
        if not told:
            return
        from gateway.commands.desk import finish  # noqa: PLC0415  it loads what starts us

        sys.exit(finish(_work(pickle.loads(told), line)))  # noqa: S301  from our own parent


async def _work(settings: Settings, line: socket.socket) -> int:
    from gateway.up import play  # noqa: PLC0415  it starts us

    loop = asyncio.get_running_loop()
    line.setblocking(False)
    stop = asyncio.Event()

    def hang_up() -> None:
        loop.remove_reader(line)
        stop.set()

    loop.add_reader(line, hang_up)
    telling = asyncio.create_task(_tell(line))
    try:
        return await play(settings, {"work"}, stop=stop)
    finally:
        loop.remove_reader(line)
        telling.cancel()


async def _tell(line: socket.socket) -> None:
    """The metrics, while they change."""
    told = b""
    while True:
        await asyncio.sleep(_TELL_SECONDS)
        news = telemetry.render_recording()
        if news != told:
            with contextlib.suppress(OSError):  # the gateway has not read the last ones yet
                line.send(news)
                told = news
