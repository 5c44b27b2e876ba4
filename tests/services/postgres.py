"""A private PostgreSQL cluster on loopback, run by an unprivileged user even when the tests run as root."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.services.process import Child, MissingProgramError, find_free_port, wait_until

_FOLDERS: Final = ("/usr/lib/postgresql", "/usr/pgsql", "/opt/homebrew/opt", "/usr/local/opt")
_START_TIMEOUT: Final = 90.0  # seconds; about one on an idle machine
_ROOM: Final = 2 << 30  # bytes; half a gigabyte is used, by each of up to four processes

# Small, and as durable as production: the kill tests prove nothing with fsync off.
_SETTINGS: Final[dict[str, str]] = {
    "listen_addresses": "127.0.0.1",
    "shared_buffers": "64MB",
    "max_wal_size": "128MB",
    "min_wal_size": "32MB",
    "max_connections": "60",
    "log_min_messages": "warning",
    "logging_collector": "off",
}


def find_program_folder() -> Path:
    """Where `initdb` and `postgres` are, the newest version first. Raises MissingProgramError."""
    found = [path.parent for folder in _FOLDERS for path in Path(folder).glob("*/bin/initdb")]
    on_path = shutil.which("initdb")
    if on_path is not None:
        found.append(Path(on_path).resolve().parent)
    if not found:
        raise MissingProgramError(
            "PostgreSQL is not installed: run deploy/setup-debian.sh as root, or install postgresql."
        )
    return max(
        found,
        key=lambda folder: [int(digits) for digits in folder.parent.name.split("@")[-1].split(".") if digits.isdigit()],
    )


def find_memory() -> Path | None:
    """A file system in memory with room for a cluster, if there is one.

    A database has three hundred files, which a busy disk makes in 0.4 s and memory in 0.04.
    """
    place = Path("/dev/shm")
    return place if place.is_dir() and shutil.disk_usage(place).free > _ROOM else None


class PostgresCluster:
    """Create it, `start()` it, `stop()` it at the end. Methods block; call them through `asyncio.to_thread`.

    `settings`: of the server, in the place of those for tests. `place`: where its folder is made; on the disk if None.
    """

    def __init__(self, settings: Mapping[str, str] | None = None, place: Path | None = None) -> None:
        self._settings = {**_SETTINGS, **(settings or {})}
        self._programs = find_program_folder()
        self._folder = Path(tempfile.mkdtemp(prefix="frontdesk-postgres-", dir=place))
        self._password = secrets.token_hex(16)
        self._child: Child | None = None
        self.port = find_free_port()
        if os.geteuid() == 0:
            self._give_to_postgres_user()
        self._initialise()

    def url(self, dbname: str = "frontdesk") -> str:
        """`postgresql://` URL of a database, which `create_database` has to make first."""
        return f"postgresql://frontdesk:{self._password}@127.0.0.1:{self.port}/{dbname}"

    @property
    def pid(self) -> int:
        """Process id of the postmaster."""
        assert self._child is not None
        return self._child.pid

    def start(self, *, wait: bool = True) -> None:
        """Start it, or start it again after `kill()`, with everything that was committed."""
        if self._child is not None and self._child.running:
            return
        options = [f"-c{name}={value}" for name, value in (self._settings | self._recovery()).items()]
        place = ["-D", str(self._folder / "data"), "-p", str(self.port), "-k", str(self._folder)]
        command = self._unprivileged([str(self._programs / "postgres"), *place, *options])
        self._child = Child(command, log=self._folder / "server.log", folder=self._folder)
        if wait:
            self.wait_ready()

    def _recovery(self) -> dict[str, str]:
        # After a kill every file is fsynced, and each database has three hundred: a minute after a long run of tests.
        version = self._programs.parent.name.split("@")[-1].partition(".")[0]
        return {"recovery_init_sync_method": "syncfs"} if version.isdigit() and int(version) >= 14 else {}

    def checkpoint(self) -> None:
        """So that a recovery has only to repeat what comes from now on."""
        self._psql("CHECKPOINT")

    def wait_ready(self) -> None:
        """Until it takes queries; recovery after a kill included."""
        child = self._child
        assert child is not None
        wait_until(lambda: not child.running or self._is_ready(), timeout=_START_TIMEOUT, what="PostgreSQL ready")
        if not child.running:
            raise RuntimeError(f"PostgreSQL ended while starting:\n{child.last_words()}")

    @property
    def folder(self) -> Path:
        """Where everything of it lies; the server's user may write there."""
        return self._folder

    def create_database(self, name: str, template: str = "", *, tablespace: str = "") -> str:
        """Create a database, empty or a copy, and return its URL. Raises CalledProcessError when it exists."""
        options = [*(["-T", template] if template else []), *(["-D", tablespace] if tablespace else [])]
        self._run("createdb", *options, name)
        return self.url(name)

    def create_tablespace(self, name: str, folder: Path) -> None:
        """A place for databases elsewhere, on a disk of its own perhaps."""
        self._psql(f"CREATE TABLESPACE {name} LOCATION '{folder}'")

    def drop_tablespace(self, name: str) -> None:
        """Nothing may be left in it."""
        self._psql(f"DROP TABLESPACE {name}")

    def dump(self, name: str, target: Path) -> None:
        """`pg_dump` of a database into a file."""
        self._tool("pg_dump", "-Fc", "-f", str(target), "-d", name)

    def restore(self, name: str, source: Path) -> None:
        """Throw the database away and make it anew from a dump."""
        self.drop_database(name)
        self.create_database(name)
        self._tool("pg_restore", "-d", name, str(source))

    def drop_database(self, name: str) -> None:
        """Drop a database, its sessions included."""
        self._run("dropdb", "--if-exists", "--force", name)

    def kill(self) -> None:
        """SIGKILL the postmaster and every backend, as a crash of the machine's memory would."""
        if self._child is None:
            return
        backends = self._backends()
        self._child.kill()
        for pid in backends:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # A new postmaster refuses to start while an old backend still maps the shared memory.
        wait_until(lambda: not any(map(_exists, backends)), timeout=10, what="the end of PostgreSQL's backends")

    def freeze(self) -> None:
        """SIGSTOP postmaster and backends: connections stay open and nothing answers."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._signal_all(signal.SIGCONT)

    def stop(self) -> None:
        """End it and delete its folder. Nothing of it remains."""
        if self._child is not None:
            self.thaw()
            self._child.stop(signal.SIGINT)  # fast shutdown: sessions are cut, the data is consistent
        shutil.rmtree(self._folder, ignore_errors=True)

    def _initialise(self) -> None:
        secret = self._folder / "password"
        secret.write_text(self._password)
        if os.geteuid() == 0:
            shutil.chown(secret, "postgres")
        secret.chmod(0o600)
        words = ["-D", str(self._folder / "data"), "-U", "frontdesk", "-A", "scram-sha-256", "--pwfile", str(secret)]
        command = [str(self._programs / "initdb"), *words, "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
        done = subprocess.run(self._unprivileged(command), cwd=self._folder, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(f"initdb failed:\n{done.stderr.decode()}")

    def _give_to_postgres_user(self) -> None:
        try:
            user = pwd.getpwnam("postgres")
        except KeyError:
            raise MissingProgramError("PostgreSQL refuses to run as root and there is no user `postgres`.") from None
        os.chown(self._folder, user.pw_uid, user.pw_gid)

    def _unprivileged(self, command: Sequence[str]) -> list[str]:
        if os.geteuid() != 0:
            return list(command)
        return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", *command]

    def _run(self, program: str, *arguments: str) -> None:
        self._tool(program, "--maintenance-db=postgres", *arguments)

    def _psql(self, statement: str) -> None:
        self._tool("psql", "-q", "-d", "postgres", "-c", statement)

    def _tool(self, program: str, *arguments: str) -> None:
        place = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "frontdesk"]
        command = [str(self._programs / program), *place, *arguments]
        environment = os.environ | {"PGPASSWORD": self._password}
        subprocess.run(command, env=environment, capture_output=True, check=True)

    def _is_ready(self) -> bool:
        command = [str(self._programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode == 0

    def _backends(self) -> list[int]:
        # Every backend leads its own session, so a signal to the postmaster's group does not reach it.
        if self._child is None or not self._child.running:
            return []
        done = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.pid)], capture_output=True, check=False)
        return [int(word) for word in done.stdout.split()]

    def _signal_all(self, number: signal.Signals) -> None:
        if self._child is None or not self._child.running:
            return
        for pid in (self.pid, *self._backends()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
