"""The least that a durable accept can be, beside which the form is measured: a request, a line in a file that is on the
disk, an answer. A process of its own, which knows nothing and does nothing else.

What it is kept waiting for while others are at work is the machine's doing: being woken, a processor, the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Final, cast

from gateway.bench.client import BenchError
from gateway.bench.content import Item
from gateway.commands.output import print_line

_PROGRAM: Final = "import sys; from gateway.bench.bare_door import serve; serve(sys.argv[1])"
_LINE: Final = b"x" * 79 + b"\n"
_ANSWER: Final = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"
REQUEST: Final = Item("bare", "", b"POST / HTTP/1.1\r\n\r\n", "bare")


@contextlib.asynccontextmanager
async def open_door(folder: Path) -> AsyncIterator[int]:
    """The port it listens on."""
    command = (sys.executable, "-c", _PROGRAM, str(folder / "bare"))
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(*command, stdout=pipe, start_new_session=True)
    assert child.stdout is not None  # noqa: S101  a pipe was asked for
    try:
        told = await child.stdout.readline()
        if not told:
            raise BenchError(f"the bare door ended with {await child.wait()}")
        yield int(told)
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()


class _Door(asyncio.Protocol):
    def __init__(self, file: int) -> None:
        self._file = file

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        os.write(self._file, _LINE)
        os.fdatasync(self._file)
        self._transport.write(_ANSWER)


def serve(path: str) -> None:
    """The other process."""
    asyncio.run(_serve(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)))


async def _serve(file: int) -> None:
    server = await asyncio.get_running_loop().create_server(partial(_Door, file), "127.0.0.1", 0)
    print_line(str(server.sockets[0].getsockname()[1]))
    sys.stdout.flush()
    await server.serve_forever()
