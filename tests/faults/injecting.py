"""Tools that break one process or one folder: strace, a small tmpfs, libfaketime, resource limits, a memory cgroup.

Each needs something of the machine. Where that is missing the row is skipped with a sentence that says what to install
or which right is lacking; `deploy/setup-debian.sh` installs what Debian has.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from tests.services.process import Child, wait_until

_FAKETIME: Final = "libfaketimeMT.so.1"
_CGROUP: Final = Path("/sys/fs/cgroup/memory")


def require_strace() -> str:
    """Where strace is, on a machine that lets us trace our own children."""
    program = shutil.which("strace")
    if program is None:
        pytest.skip("strace is not installed: run deploy/setup-debian.sh as root, or install strace")
    if subprocess.run([program, "-o", os.devnull, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not allow tracing (ptrace)")
    return program


class Strace:
    """Attached to every thread of a process while the `with` lasts."""

    def __init__(self, pid: int, output: Path, *options: str) -> None:
        self.output = output
        self._pid = pid
        command = [require_strace(), "-f", "-o", str(output), *options, "-p", str(pid)]
        self._log = output.with_name(output.name + ".log")
        self._log.unlink(missing_ok=True)
        self._child = Child(command, log=self._log)

    def __enter__(self) -> Strace:
        wait_until(
            lambda: not self._child.running or self._is_attached(), timeout=20, what=f"strace attached to {self._pid}"
        )
        return self

    def __exit__(self, *_: object) -> None:
        if self._child.running:
            self._child.send(signal.SIGINT)  # it detaches; SIGKILL would leave its threads stopped for a moment
            wait_until(lambda: not self._child.running, timeout=20, what="strace detached")
        self._child.kill()

    def _is_attached(self) -> bool:
        return self._log.exists() and "attached" in self._log.read_text(errors="replace")

    def lines(self) -> list[str]:
        """What was traced so far."""
        return self.output.read_text(errors="replace").splitlines() if self.output.exists() else []


@contextlib.contextmanager
def small_disk(folder: Path, options: str) -> Iterator[Path]:
    """A tmpfs at `folder`: `size=8m`, `nr_inodes=20`. `remount(folder, "ro")` changes it later."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"this machine does not let us mount a tmpfs: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    """Change a small disk while it is in use."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


class Clock:
    """The wall clock of processes started with `environment`; their monotonic clock goes on as ever."""

    def __init__(self, folder: Path) -> None:
        found = [path / _FAKETIME for path in Path("/usr/lib").glob("*/faketime") if (path / _FAKETIME).exists()]
        if not found:
            pytest.skip("libfaketime is not installed: run deploy/setup-debian.sh as root, or install libfaketime")
        self._file = folder / "clock"
        self.shift(timedelta())
        self.environment = {
            "LD_PRELOAD": str(found[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_CACHE_DURATION": "1",
        }

    def shift(self, by: timedelta) -> None:
        """From now on the clock is that far ahead of, or behind, the machine's."""
        self._write(f"{by.total_seconds():+.0f}")

    def freeze(self, at: str) -> None:
        """It stands still at `2026-08-01 10:00:00`."""
        self._write(at)

    def _write(self, words: str) -> None:
        temporary = self._file.with_suffix(".new")
        temporary.write_text(words + "\n")
        temporary.rename(self._file)


@contextlib.contextmanager
def memory_limit(name: str, size: int) -> Iterator[Path]:
    """A memory cgroup of `size` bytes; write a pid into `cgroup.procs` of the folder it gives."""
    folder = _CGROUP / name
    try:
        folder.mkdir()
        (folder / "memory.limit_in_bytes").write_text(str(size))
    except OSError as error:
        pytest.skip(f"this machine has no memory cgroup we may use: {error}")
    try:
        yield folder
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()


def count_descriptors(pid: int) -> int:
    """Open files and sockets of a process."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def resident_bytes(pid: int) -> int:
    """What it holds in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    """Processor time it has used so far."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
