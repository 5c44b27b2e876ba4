"""Reading apart: a child process reads the arrivals that take long, so that nobody else waits for its interpreter lock.

A mail of a megabyte takes up to a few hundred milliseconds to read, and a thread that reads it keeps every other sender
waiting. `Adapter.normalize` is a pure function of arrival and options, so another process can run it: one child,
started when it is first needed, of lower priority, with a bound on its memory, and killed when one arrival takes too
long. Then only that arrival suffers: it is kept unparsed. Where the child cannot run, the gateway reads by itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import pickle
import resource
import select
import signal
import struct
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from importlib import import_module
from pickle import PickleBuffer
from typing import IO, Any, Final

from adapters.base import Adapter, InboxOptions, Raw, Refused
from gateway.precedence import give_way
from gateway.sealed import seal
from normalizer.message import Draft, MessageDraft

MOST: Final = 4 * 1024 * 1024  # octets; larger arrivals are files above all, and copying them costs more than reading
DEADLINE: Final = 30.0  # seconds for one arrival; the slowest known takes a third of one
_START: Final = 30.0  # seconds until the child says that it is there
_READY: Final = b"ready"
_MEMORY: Final = 1 << 30  # octets of address space
_IDLE: Final = 300.0  # seconds after which the child ends; the next arrival starts another
_PAUSE: Final = 60.0  # seconds until another start is tried after one that failed
_NICE: Final = 5  # not less: it would stand still beside a flood, and large mails are no crime
_WIDTH: Final = 1 << 20  # octets in a pipe, as many as Linux lets everybody have (pipe(7))
_SIZE: Final = struct.Struct(">Q")
_PROGRAM: Final = "from gateway.apart import serve; serve()"


class TookTooLongError(Exception):
    """The arrival was not read in time."""


class DiedError(Exception):
    """The child ended while it read the arrival."""


class FailedError(Exception):
    """The adapter raised what it should not; the sentence begins with the name of that error."""


class Unavailable(Exception):
    """There is no child to read with, or this arrival cannot be handed to it."""


class Apart:
    """The child and the pipes to it. Safe to call from several threads; arrivals are read one after the other."""

    def __init__(
        self, *, deadline: float = DEADLINE, program: str = _PROGRAM, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._deadline = deadline
        self._program = program
        self._clock = clock
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._known: set[str] = set()  # inboxes whose options the child has
        self._not_before = -math.inf  # no child is started earlier
        self._closed = False

    def read(self, adapter: Adapter[Any], raw: Raw) -> Sequence[Draft]:
        """What `adapter.normalize(raw)` returns, its long texts sealed (`gateway.sealed`), or raises. Blocks.

        Raises `TookTooLongError` or `DiedError` for what the arrival did to the child, `Unavailable` for anything else.
        """
        if raw.request is not None or len(raw.body) > MOST:
            raise Unavailable
        with self._lock:
            # A child that was idle, or that somebody else has ended, may go at any moment: no arrival is to blame.
            answer = self._ask(adapter, raw) or self._ask(adapter, raw)
        match answer:
            case None:
                raise DiedError("the process that read it ended, and so did another one")
            case ("read", drafts):
                return [_put_back(draft, contents, raw.body) for draft, contents in drafts]
            case ("refused", status, sentence, headers):
                raise Refused(status, sentence, headers=headers)
            case ("failed", sentence, where):
                error = FailedError(sentence)
                error.add_note(where)
                raise error
        raise Unavailable  # it cannot make this adapter

    def close(self) -> None:
        """End the child, at once: whoever stops us does not wait for what is being read."""
        self._closed = True
        if self._child is not None:
            self._child.kill()
        with self._lock:
            self._end()

    def _ask(self, adapter: Adapter[Any], raw: Raw) -> Any:
        """What the child answers; None when it went."""
        if self._closed:
            return None
        child = self._running()
        try:
            new = self._write(child, adapter, raw)
        except OSError:
            self._end()
            return None
        patience = self._deadline + (_START if new else 0.0)
        try:
            answer = _next(child, patience)
        except TimeoutError:
            self._end()
            raise TookTooLongError(f"reading it took longer than {patience:g} s") from None
        if answer is None:
            self._end()
        return answer

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is not None and self._child.poll() is None:
            return self._child
        self._end()
        if self._clock() < self._not_before:
            raise Unavailable
        try:
            self._child = subprocess.Popen(  # noqa: S603  our own program
                [sys.executable, "-P", "-c", self._program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is for us; the child ends when its standard input does
            )
        except OSError as error:  # no memory, no descriptors, no processes: that passes
            self._not_before = self._clock() + _PAUSE
            raise Unavailable from error
        _widen(self._child.stdin, self._child.stdout)
        try:
            ready = _next(self._child, _START) == _READY
        except TimeoutError:
            ready = False
        if not ready:  # whatever hinders it, no arrival has
            self._not_before = self._clock() + _PAUSE
            self._end()
            raise Unavailable
        return self._child

    def _write(self, child: subprocess.Popen[bytes], adapter: Adapter[Any], raw: Raw) -> bool:
        """Hand the arrival over; True when the child has to make the adapter first, which imports its libraries."""
        kind = type(adapter)
        made = (
            None
            if adapter.inbox in self._known
            else (kind.__module__, kind.__qualname__, pickle.dumps(adapter.options))
        )
        try:
            arrival = (adapter.inbox, made, PickleBuffer(raw.body), raw.content_type, dict(raw.facts), raw.came_at)
            parts = _pack(arrival)
        except (TypeError, AttributeError, pickle.PicklingError) as error:
            raise Unavailable from error
        assert child.stdin is not None  # noqa: S101  a pipe was asked for
        _send(child.stdin, parts)
        self._known.add(adapter.inbox)
        return made is not None

    def _end(self) -> None:
        child, self._child = self._child, None
        self._known.clear()
        if child is None:
            return
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def _widen(*pipes: IO[bytes] | None) -> None:
    """Let them hold more: each time one is full its two ends take turns, and who computes for others is interrupted."""
    for pipe in pipes:
        if pipe is not None:
            with contextlib.suppress(OSError, AttributeError):  # another system's pipes stay as they are
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _WIDTH)


def _next(child: subprocess.Popen[bytes], seconds: float) -> Any:
    """The child's next answer, None when it has gone. Raises TimeoutError."""
    assert child.stdout is not None  # noqa: S101  a pipe was asked for
    if not select.select([child.stdout], [], [], seconds)[0]:
        raise TimeoutError
    return _receive(child.stdout)


def serve() -> None:
    """The child: read arrivals from standard input until there are no more."""
    give_way(_NICE)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    adapters: dict[str, Adapter[InboxOptions]] = {}
    arriving, answering = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get between the answers
    _send(answering, _pack(_READY))
    while select.select([arriving], [], [], _IDLE)[0]:
        arrival = _receive(arriving)
        if arrival is None:
            return
        signal.alarm(int(2 * DEADLINE))  # if there is nobody left to end it
        answer = _read(adapters, *arrival)
        signal.alarm(0)
        _send(answering, _pack(answer))


def _read(
    adapters: dict[str, Adapter[InboxOptions]],
    inbox: str,
    made: tuple[str, str, bytes] | None,
    body: bytes,
    content_type: str,
    facts: Mapping[str, Any],
    came_at: datetime | None,
) -> tuple[Any, ...]:
    if made is not None:
        try:
            module, name, options = made
            adapters[inbox] = getattr(import_module(module), name)(inbox, pickle.loads(options))  # noqa: S301
        except Exception:
            return ("unknown",)
    try:
        drafts = adapters[inbox].normalize(Raw(body, content_type, facts, came_at=came_at))
        return ("read", [_take_out(seal(draft), body) for draft in drafts])
    except Refused as error:
        return ("refused", error.status, str(error), error.headers)
    except Exception as error:
        return ("failed", f"{type(error).__name__}: {error}"[:300], traceback.format_exc())


def _take_out(draft: Draft, body: bytes) -> tuple[Draft, list[PickleBuffer | None]]:
    """What travels back beside the draft: its files, and not what arrived, which the parent has."""
    files = draft.attachments
    contents = [PickleBuffer(file.content) if file.content is not None else None for file in files]
    changed: dict[str, Any] = {"attachments": tuple(file.model_copy(update={"content": None}) for file in files)}
    if draft.original is not None and draft.original.content is body:
        changed["original"] = draft.original.model_copy(update={"content": None})
    return draft.model_copy(update=changed), contents


def _put_back(draft: Draft, contents: Sequence[bytes | None], body: bytes) -> Draft:
    files = zip(draft.attachments, contents, strict=True)
    changed: dict[str, Any] = {
        "attachments": tuple(file.model_copy(update={"content": content}) for file, content in files)
    }
    if isinstance(draft, MessageDraft) and draft.original is not None and draft.original.content is None:
        changed["original"] = draft.original.model_copy(update={"content": body})
    return draft.model_copy(update=changed)


def _pack(message: object) -> list[bytes | memoryview]:
    """As it travels: a pickle, and beside it what is large (PEP 574), which neither side copies: a process that moves
    megabytes keeps its other threads waiting. Raises what pickle raises."""
    beside: list[PickleBuffer] = []
    pickled = pickle.dumps(message, protocol=5, buffer_callback=beside.append)
    return [pickled, *(buffer.raw() for buffer in beside)]


def _send(pipe: IO[bytes], parts: Sequence[bytes | memoryview]) -> None:
    sizes = (len(parts), *map(len, parts))
    pipe.write(b"".join(map(_SIZE.pack, sizes)))
    for part in parts:
        pipe.write(part)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> Any:
    """The next message; None when the other side has gone."""
    count = _read_sizes(pipe, 1)
    sizes = _read_sizes(pipe, *count) if count else ()
    parts = [pipe.read(size) for size in sizes]
    if not parts or [len(part) for part in parts] != list(sizes):
        return None
    return pickle.loads(parts[0], buffers=parts[1:])  # noqa: S301  from our own other process, which runs this code


def _read_sizes(pipe: IO[bytes], count: int) -> Sequence[int]:
    head = pipe.read(count * _SIZE.size)
    return [size for (size,) in _SIZE.iter_unpack(head)] if len(head) == count * _SIZE.size else ()
