"""A private RabbitMQ node on loopback: own ports, folder, cookie and port mapper, so that tests may kill and freeze it.

Started from the library folder and not from the `/usr/sbin` wrapper, which changes user and loses the environment.
Every `fresh_url()` is another virtual host, so tests never see each other's queues.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

from yarl import URL

from gateway.queues.link import bind, declare
from gateway.queues.tap import TappedConnection
from gateway.queues.topology import compose_topology
from gateway.runtime import QUEUE_CHANNELS
from tests.services.process import Child, MissingProgramError, find_free_port, is_listening, wait_until

_SERVER_FOLDERS: Final = ("/usr/lib/rabbitmq/bin", "/usr/local/opt/rabbitmq/sbin", "/opt/homebrew/opt/rabbitmq/sbin")
_VHOSTS_AT_BOOT: Final = 8
_START_TIMEOUT: Final = 120.0  # seconds; 5 to 10 on an idle machine

_CONFIG: Final = """\
listeners.tcp.local = 127.0.0.1:{port}
loopback_users = none
load_definitions = {definitions}
log.console = true
log.console.level = error
log.file = false
vm_memory_high_watermark.absolute = 1GB
disk_free_limit.absolute = 50MB
raft.wal_max_size_bytes = 33554432
"""


def find_server_folder() -> Path:
    """Where `rabbitmq-server` and `rabbitmqctl` are. Raises MissingProgramError."""
    for folder in map(Path, _SERVER_FOLDERS):
        if (folder / "rabbitmq-server").exists() and shutil.which("epmd"):
            return folder
    raise MissingProgramError(
        "RabbitMQ is not installed: run deploy/setup-debian.sh as root, or install rabbitmq-server."
    )


class RabbitNode:
    """Create it, `start()` it, `stop()` it at the end. Methods block; call them through `asyncio.to_thread`."""

    def __init__(self) -> None:
        self._programs = find_server_folder()
        self._folder = Path(tempfile.mkdtemp(prefix="frontdesk-rabbitmq-"))
        self._password = secrets.token_hex(16)
        self._child: Child | None = None
        self._epmd: Child | None = None
        self._next_vhost = 0
        self._known_vhosts = _VHOSTS_AT_BOOT
        self.crashes = 0  # how often it was killed
        self._is_new = False  # some of `desk_url`, and not yet on disk (`gateway.queues.link`)
        self.port = find_free_port()
        self._environment = self._compose_environment()
        self._write_files()

    @property
    def url(self) -> str:
        """AMQP URL of the default virtual host."""
        return self.url_of("%2F")

    def url_of(self, vhost: str) -> str:
        """AMQP URL of a virtual host (percent-encoded)."""
        return f"amqp://frontdesk:{self._password}@127.0.0.1:{self.port}/{vhost}"

    def fresh_url(self) -> str:
        """AMQP URL of a virtual host nobody has used. The first ones exist since boot; later ones take some seconds."""
        name = f"test-{self._next_vhost}"
        if self._next_vhost >= self._known_vhosts:
            self.ctl("add_vhost", name)
            self.ctl("set_permissions", "-p", name, "frontdesk", ".*", ".*", ".*")
        self._next_vhost += 1
        return self.url_of(name)

    def desk_url(self) -> str:
        """The same with our queues in it, bound, as every start of a desk but its first finds them."""
        url = self.fresh_url()
        asyncio.run(_lay_out(url))
        self._is_new = True
        return url

    @property
    def pid(self) -> int:
        """Process id of the Erlang machine."""
        assert self._child is not None
        return self._child.pid

    def start(self, *, wait: bool = True) -> None:
        """Start the node, or start it again after `kill()` or `stop()`, with everything it had stored."""
        if self._child is not None and self._child.running:
            return
        self._start_port_mapper()
        command = [str(self._programs / "rabbitmq-server")]
        self._child = Child(command, log=self._folder / "server.log", env=self._environment, folder=self._folder)
        if wait:
            self.wait_ready()

    def wait_ready(self) -> None:
        """Until it accepts AMQP connections."""
        child = self._child
        assert child is not None
        wait_until(
            lambda: not child.running or is_listening(self.port), timeout=_START_TIMEOUT, what="RabbitMQ listening"
        )
        if not child.running:
            raise RuntimeError(f"RabbitMQ ended while starting:\n{child.last_words()}")

    def kill(self, *, at_once: bool = False) -> None:
        """SIGKILL, as a crash. Unless it is `at_once`, what `desk_url` laid out is there afterwards."""
        if self._child is not None:
            if self._is_new and not at_once:
                self.ctl("eval", "dets:sync(ra_directory_reverse).")
                self._is_new = False
            self._child.kill()
            self.crashes += 1

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        if self._child is not None:
            self._child.freeze()

    def thaw(self) -> None:
        """SIGCONT."""
        if self._child is not None:
            self._child.thaw()

    def ctl(self, *arguments: str) -> str:
        """Run `rabbitmqctl`; its output. About two seconds. Raises CalledProcessError."""
        command = [str(self._programs / "rabbitmqctl"), "--quiet", *arguments]
        done = subprocess.run(command, env=self._environment, cwd=self._folder, capture_output=True, check=True)
        return done.stdout.decode()

    def stop(self) -> None:
        """End the node and its port mapper and delete its folder. Nothing of it remains."""
        if self._child is not None:
            self._child.stop()
        if self._epmd is not None:
            self._epmd.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start_port_mapper(self) -> None:
        # Our own child in the foreground: the one Erlang would start by itself is a daemon that outlives every test.
        if self._epmd is not None and self._epmd.running:
            return
        port = int(self._environment["ERL_EPMD_PORT"])
        command = [shutil.which("epmd") or "epmd", "-port", str(port), "-address", "127.0.0.1"]
        self._epmd = Child(command, log=self._folder / "epmd.log", env=self._environment)
        wait_until(lambda: is_listening(port), timeout=10, what="the Erlang port mapper listening")

    def _compose_environment(self) -> dict[str, str]:
        folder = self._folder
        settings = {
            "NODENAME": f"frontdesk{self.port}@localhost",
            "NODE_PORT": str(self.port),
            "DIST_PORT": str(find_free_port()),
            "MNESIA_BASE": str(folder / "mnesia"),
            "LOG_BASE": str(folder / "log"),
            "PID_FILE": str(folder / "pid"),
            "ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "CONF_ENV_FILE": str(folder / "no-such-file"),
            "ADVANCED_CONFIG_FILE": str(folder / "no-such-file.config"),
            # With input allowed the start script is replaced by the Erlang machine, so our child is the node itself.
            "ALLOW_INPUT": "1",
            "SERVER_ADDITIONAL_ERL_ARGS": "-noinput -kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none",
            "CTL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }
        inherited = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
        epmd = {"ERL_EPMD_PORT": str(find_free_port()), "ERL_EPMD_ADDRESS": "127.0.0.1"}
        return (
            inherited | epmd | {"HOME": str(folder)} | {f"RABBITMQ_{name}": value for name, value in settings.items()}
        )

    def _write_files(self) -> None:
        definitions = self._folder / "definitions.json"
        definitions.write_text(json.dumps(self._compose_definitions()))
        (self._folder / "rabbitmq.conf").write_text(_CONFIG.format(port=self.port, definitions=definitions))
        (self._folder / "enabled_plugins").write_text("[].\n")
        cookie = self._folder / ".erlang.cookie"
        cookie.write_text(secrets.token_hex(16))
        cookie.chmod(0o400)

    def _compose_definitions(self) -> dict[str, Any]:
        vhosts = ["/", *(f"test-{number}" for number in range(_VHOSTS_AT_BOOT))]
        everything = {"user": "frontdesk", "configure": ".*", "write": ".*", "read": ".*"}
        user = {"name": "frontdesk", "password_hash": hash_password(self._password), "tags": "administrator"}
        return {
            "users": [user | {"hashing_algorithm": "rabbit_password_hashing_sha256"}],
            "vhosts": [{"name": name} for name in vhosts],
            "permissions": [everything | {"vhost": name} for name in vhosts],
        }


async def _lay_out(url: str) -> None:
    topology = compose_topology(QUEUE_CHANNELS)
    connection = TappedConnection(URL(url))
    await connection.connect()
    await declare(connection, topology)
    await bind(connection, topology)
    await connection.close()


def hash_password(password: str) -> str:
    """RabbitMQ's stored form: base64 of a 4-byte salt and the SHA-256 of salt + password (rabbitmq.com, passwords)."""
    salt = secrets.token_bytes(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
