"""The desk's processes, and what Linux says that each of them and of the services used (proc(5))."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.bench.client import BenchError

COMMAND: Final = (sys.executable, "-c", "from gateway.cli import app; app()")
_TICK: Final = os.sysconf("SC_CLK_TCK")
_START_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds, user and system, and the largest resident size in bytes."""

    cpu: float
    peak: int


@dataclass(slots=True)
class Running:
    """A process that we started, with its log."""

    name: str
    child: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        """Process id."""
        return self.child.pid

    def check(self) -> None:
        """Raises BenchError when it has ended."""
        if self.child.poll() is not None:
            last = "\n".join(self.log.read_text(errors="replace").splitlines()[-10:])
            raise BenchError(f"{self.name} ended with {self.child.returncode}:\n{last}")

    def stop(self) -> None:
        """SIGTERM, and after a while SIGKILL."""
        self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(20)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


def start(name: str, words: Iterable[str], environment: Mapping[str, str], folder: Path) -> Running:
    """`frontdesk <words>` in the background, in a session of its own as whoever supervises services gives it: Linux may
    share the processors between sessions (`gateway.precedence`)."""
    log = folder / f"{name}.log"
    with log.open("ab") as output:
        child = subprocess.Popen(  # noqa: S603  our own program
            [*COMMAND, *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(environment),
            start_new_session=True,
        )
    return Running(name, child, log)


def ask(words: Iterable[str], environment: Mapping[str, str]) -> tuple[int, str]:
    """Run one `frontdesk` command to its end; exit code and standard output."""
    done = subprocess.run(  # noqa: S603  our own program
        [*COMMAND, *words], env=dict(environment), capture_output=True, text=True, check=False, timeout=120
    )
    return done.returncode, done.stdout


async def wait_listening(process: Running, port: int) -> None:
    """Until it accepts connections on loopback."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        process.check()
        with socket.socket() as probe:
            probe.settimeout(0.5)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if time.monotonic() > deadline:
            raise BenchError(f"{process.name} does not listen after {_START_SECONDS:.0f} s")
        await asyncio.sleep(0.05)


def free_port() -> int:
    """A TCP port on loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def measure_all(watched: Mapping[str, int]) -> dict[str, Usage]:
    """Each with its descendants, except those that are watched by themselves."""
    return {name: measure(pid, besides=frozenset(watched.values()) - {pid}) for name, pid in watched.items()}


def measure(root: int, *, besides: frozenset[int] = frozenset()) -> Usage:
    """A process with all its descendants but these. Memory they share (PostgreSQL's buffers) is counted once."""
    cpu, private, shared = 0.0, 0, 0
    for pid in _family(root, besides):
        try:
            stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:  # ended between the listing and now; its parent has its time
            continue
        cpu += sum(map(int, stat[11:15])) / _TICK
        sizes = {line.split(":")[0]: int(line.split()[1]) << 10 for line in status.splitlines() if line.endswith(" kB")}
        own_shared = sizes.get("RssShmem", 0)
        private += max(0, sizes.get("VmHWM", 0) - own_shared)
        shared = max(shared, own_shared)
    return Usage(cpu, private + shared)


@dataclass(frozen=True, slots=True)
class Resident:
    """Bytes of memory that a process and its descendants hold and have held at most."""

    now: int
    peak: int


def resident(root: int) -> Resident:
    """Of a process that runs."""
    now = peak = 0
    for pid in _family(root):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        sizes = {line.split(":")[0]: int(line.split()[1]) << 10 for line in lines if line.endswith(" kB")}
        now, peak = now + sizes.get("VmRSS", 0), peak + sizes.get("VmHWM", 0)
    return Resident(now, peak)


def forget_peak(root: int) -> None:
    """The peak begins anew with what the processes hold now."""
    for pid in _family(root):
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def measure_self() -> Usage:
    """This process without its children."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    return Usage(own.ru_utime + own.ru_stime, own.ru_maxrss << 10)


async def worker_of(up: Running) -> int:
    """The process id of the worker beside `frontdesk up`, once it has been started."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        up.check()
        for pid in _family(up.pid):
            if _is_worker(pid):
                return pid
        if time.monotonic() > deadline:
            raise BenchError(f"{up.name} has no worker after {_START_SECONDS:.0f} s")
        await asyncio.sleep(0.05)


def _is_worker(pid: int) -> bool:
    try:
        return b"gateway.worker_process" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # ended
        return False


def _family(root: int, besides: frozenset[int] = frozenset()) -> list[int]:
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            parents.setdefault(parent, []).append(int(entry.name))
    found, queue = [], [root]
    while queue:
        pid = queue.pop()
        found.append(pid)
        queue += [child for child in parents.get(pid, []) if child not in besides]
    return found
