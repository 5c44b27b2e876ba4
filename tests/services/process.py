"""A child process that can be killed, frozen and thawed, and that never outlives the process which started it."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

# Waits until its standard input ends, which happens when our process is gone however it died; then kills the group and
# removes what it left.
_GUARD_SCRIPT: Final = 'cat >/dev/null; kill -s KILL -- "-$1" 2>/dev/null; [ -z "$2" ] || { sleep 1; rm -rf "$2"; }'


class MissingProgramError(Exception):
    """A service's program is not installed. `str(error)` says what to install."""


def find_free_port() -> int:
    """A TCP port on 127.0.0.1 that was free a moment ago, and that stays free while its server is down.

    It lies below those that the kernel gives to clients: a server that is killed and started again on its port would
    otherwise find, now and then, that somebody's connection goes out from there.
    """
    dice = random.SystemRandom()  # another one than the tests', whose seed is the same in every process
    while True:
        port = dice.randrange(12_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def wait_until(condition: Callable[[], bool], *, timeout: float, what: str, every: float = 0.05) -> None:
    """Poll until the condition holds. Raises TimeoutError naming what was waited for; `timeout` in seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not happen within {timeout:g} s")
        time.sleep(every)


def is_listening(port: int) -> bool:
    """Whether somebody accepts connections on 127.0.0.1."""
    with contextlib.closing(socket.socket()) as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Child:
    """One process in its own group, its output in a log file.

    `folder`: where it works; removed if we die first. `inherit`: descriptors it keeps.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        folder: Path | None = None,
        inherit: Sequence[int] = (),
    ) -> None:
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if env is None else dict(env),
                cwd=folder,
                pass_fds=inherit,
                start_new_session=True,
            )
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD_SCRIPT, "guard", str(self.pid), str(folder or "")],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Process id, which is also its group's."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """False once it has ended, for whatever reason."""
        return self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process alone."""
        if self.running:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL the whole group and wait for its end: what a crash or the OOM killer does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._reap()

    def stop(self, number: signal.Signals = signal.SIGTERM, *, timeout: float = 20.0) -> None:
        """Ask it to end, wait `timeout` seconds, then kill it."""
        self.send(signal.SIGCONT)
        self.send(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)
        self.kill()

    def freeze(self) -> None:
        """SIGSTOP: alive, connections open, silent."""
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self.send(signal.SIGCONT)

    def last_words(self, lines: int = 30) -> str:
        """The end of its log, for an error message."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _reap(self) -> None:
        self._process.wait()
        self._guard.kill()
        self._guard.wait()
        if self._guard.stdin is not None:
            self._guard.stdin.close()
