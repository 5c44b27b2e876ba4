"""A desk of real processes: started, killed, started again, and asked by its own commands."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.fakes import twilio, x_api
from tests.faults.customers import PUBLIC_URL, Gate
from tests.services.process import Child, find_free_port, is_listening, wait_until

COMMAND: Final = [sys.executable, "-c", "from gateway.cli import app; app()"]
_START_SECONDS: Final = 30.0

_SECRETS: Final = {
    "FRONTDESK_PUBLIC_URL": PUBLIC_URL,
    "FRONTDESK_API_TOKENS": "fault-test-token",
    "FRONTDESK_LMTP_LISTEN": "",
    "FRONTDESK_INBOXES__WEBSITE__SESSION_KEY": "session-key-of-the-fault-tests-0123456789",
    "FRONTDESK_INBOXES__WEBSITE__MESSAGES_PER_MINUTE": "100000",
    "FRONTDESK_INBOXES__PHONE__AUTH_TOKEN": twilio.TOKEN,
    "FRONTDESK_INBOXES__TWITTER__CONSUMER_SECRET": x_api.SECRET,
    "FRONTDESK_INBOXES__TWITTER__USER_ID": x_api.US,
    "FRONTDESK_INBOXES__TWITTER__HANDLE": "AcmeHelp",
}


class Member:
    """One process of the desk, in each of its lives."""

    def __init__(self, name: str, verb: str, environment: Mapping[str, str], folder: Path, gate: Gate | None) -> None:
        self.name = name
        self.gate = gate
        self.environment = dict(environment)
        self.prefix: list[str] = []  # a program that changes something and then becomes ours: prlimit, taskset
        self.inherited: tuple[int, ...] = ()  # descriptors
        self._command = [*COMMAND, verb] + (["--quiet"] if verb in ("up", "serve") else [])
        self.folder = folder
        self._child: Child | None = None
        self._read_log = 0
        self.log = folder / f"{name}.log"

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    async def worker(self, *, besides: int = 0) -> int:
        """The process id of the worker beside `up`, once there is one that is not `besides`."""
        await until(lambda: self._worker() not in (None, besides), timeout=30, what="a worker process")
        found = self._worker()
        assert found is not None
        return found

    def _worker(self) -> int | None:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        for child in children.split():
            with contextlib.suppress(OSError):  # it has just ended
                if b"gateway.worker_process" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return int(child)
        return None

    def start(self, *, wait: bool = True) -> None:
        """A new life on the same ports and folders."""
        self._read_log = self.log.stat().st_size if self.log.exists() else 0
        command = [*self.prefix, *self._command]
        self._child = Child(command, log=self.log, env=self.environment, inherit=self.inherited)
        if wait:
            self.wait_ready()

    def wait_ready(self) -> None:
        """Until both doors are open, or the broker is there to be consumed from."""
        gate, child = self.gate, self._child
        assert child is not None

        def is_ready() -> bool:
            if gate is not None:
                return is_listening(gate.http) and is_listening(gate.smtp)
            return "connected to consume" in self.said() or self.environment["FRONTDESK_QUEUE_URL"] == "embedded:"

        wait_until(
            lambda: not child.running or is_ready(), timeout=_START_SECONDS, what=f"{self.name} ready", every=0.1
        )
        self.check()

    def check(self) -> None:
        """A process that we did not kill is alive."""
        if self._child is not None and not self._child.running:
            raise AssertionError(f"{self.name} ended by itself:\n{self._child.last_words()}")

    def kill(self) -> None:
        """SIGKILL."""
        if self._child is not None:
            self.check()
            self._child.kill()
            self._child = None

    def stop(self) -> None:
        """SIGTERM, as at the end of a shift."""
        if self._child is not None:
            self._child.stop()
            self._child = None

    def send(self, number: signal.Signals) -> None:
        """Any signal."""
        if self._child is not None:
            self._child.send(number)

    @property
    def running(self) -> bool:
        """Whether this life has not ended, for whatever reason."""
        return self._child is not None and self._child.running

    def bury(self) -> None:
        """Its end was expected, whoever caused it."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def said(self) -> str:
        """The log of this life."""
        if not self.log.exists():
            return ""
        with self.log.open(errors="replace") as log:
            log.seek(self._read_log)
            return log.read()


class Desk:
    """Everything of one Frontdesk. Methods that block are called through `asyncio.to_thread`."""

    def __init__(self, folder: Path, *, queue_url: str = "embedded:", store_url: str = "") -> None:
        self.folder = folder
        self.members: dict[str, Member] = {}
        self.store_url = store_url or f"sqlite:///{folder / 'frontdesk.db'}"
        nothing = folder / "frontdesk.toml"
        nothing.touch()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FRONTDESK_")}
        self._environment = inherited | _SECRETS
        self._environment |= {
            "FRONTDESK_CONFIG": str(nothing),
            "FRONTDESK_QUEUE_URL": queue_url,
            "FRONTDESK_STORE_URL": self.store_url,
            "FRONTDESK_BLOB_DIR": str(folder / "blobs"),
            "PYTHONWARNINGS": "default",
        }

    def add(self, name: str, verb: str, **settings: str) -> Member:
        """A process of this desk with a data folder of its own, not started yet."""
        gate = Gate(find_free_port(), find_free_port()) if verb in ("up", "serve") else None
        own = {"FRONTDESK_DATA_DIR": str(self.folder / name)}
        if gate is not None:
            own["FRONTDESK_HTTP_LISTEN"] = f"127.0.0.1:{gate.http}"
            own["FRONTDESK_SMTP_LISTEN"] = f"127.0.0.1:{gate.smtp}"
        own |= {f"FRONTDESK_{key.upper()}": value for key, value in settings.items()}
        self.members[name] = member = Member(name, verb, self._environment | own, self.folder, gate)
        return member

    @property
    def gates(self) -> list[Gate]:
        return [member.gate for member in self.members.values() if member.gate is not None]

    async def start(self) -> None:
        """All at once."""
        for member in self.members.values():
            await asyncio.to_thread(member.start, wait=False)
        for member in self.members.values():
            await asyncio.to_thread(member.wait_ready)

    async def close(self) -> None:
        """End what runs, in order, and then by force."""
        await asyncio.gather(*(asyncio.to_thread(member.stop) for member in self.members.values()))

    async def command(self, *words: str, member: str = "") -> subprocess.CompletedProcess[str]:
        """`frontdesk <words>` as an administrator of that member's machine would type it."""
        chosen = self.members[member] if member else next(iter(self.members.values()))

        def run() -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [*COMMAND, *words],
                env=chosen.environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )

        return await asyncio.to_thread(run)

    def tracebacks(self) -> list[str]:
        """Every traceback in any log: a fault that was foreseen has a sentence instead."""
        return [
            f"{member.name}: {line[:3000]}"
            for member in self.members.values()
            if member.log.exists()
            for line in member.log.read_text(errors="replace").splitlines()
            if "Traceback (most recent call last)" in line
        ]


@contextlib.asynccontextmanager
async def embedded(
    folder: Path,
    *,
    prefix: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    start: bool = True,
    **settings: str,
) -> AsyncIterator[Desk]:
    """`frontdesk up` as member `up`, everything in one process. `prefix`: `prlimit`, say; `environment`: more of it."""
    desk = Desk(folder)
    member = desk.add("up", "up", **settings)
    member.prefix = list(prefix)
    member.environment |= environment or {}
    try:
        if start:
            await desk.start()
        yield desk
    finally:
        await desk.close()


async def until(condition: Callable[[], bool], *, timeout: float, what: str) -> None:
    """Poll without blocking the senders."""
    await asyncio.to_thread(wait_until, condition, timeout=timeout, what=what)
