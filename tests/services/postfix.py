"""A private Postfix on loopback: own settings, queue and port, no system service touched, nothing sent anywhere.

It takes mail by SMTP and delivers it by the transports a test gives it. Postfix starts as root only and runs its parts
as the users `postfix` and, for pipes, `nobody`.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.services.process import Child, MissingProgramError, find_free_port, is_listening, wait_until

_DAEMONS: Final = ("/usr/lib/postfix/sbin", "/usr/libexec/postfix")
_MAIN: Final = """\
compatibility_level = 3.6
command_directory = /usr/sbin
daemon_directory = {daemons}
meta_directory = /etc/postfix
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file_prefixes = {folder}
maillog_file = {folder}/maillog
myhostname = mx.desk.example
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
alias_maps =
local_recipient_maps =
relay_domains = {domains}
transport_maps = inline:{{ {transports} }}
default_transport = discard
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions = permit_mynetworks, reject
disable_dns_lookups = yes
smtputf8_enable = yes
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
message_size_limit = 40000000
frontdesk_destination_recipient_limit = 1
"""
_MASTER: Final = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 1 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
lmtp unix - - n - - lmtp
smtp unix - - n - - smtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
{services}
"""
_DELIVERY: Final = re.compile(r"(\w+): to=<([^>]*)>.* dsn=([\d.]+), status=(\w+) \((.*)\)\s*$")


class Delivery:
    """One line of Postfix's log about one recipient."""

    def __init__(self, queue_id: str, recipient: str, dsn: str, status: str, said: str) -> None:
        self.queue_id, self.recipient, self.dsn, self.status, self.said = queue_id, recipient, dsn, status, said

    def __repr__(self) -> str:
        return f"{self.recipient}: {self.status} {self.dsn} ({self.said})"


class Postfix:
    """Create it with domain -> transport and lines for master.cf, `start()` it, `stop()` it at the end."""

    def __init__(self, transports: Mapping[str, str], services: str = "") -> None:
        found = [folder for folder in map(Path, _DAEMONS) if (folder / "master").exists()]
        if not found or shutil.which("postfix") is None:
            raise MissingProgramError("Postfix is not installed: run deploy/setup-debian.sh as root.")
        if os.geteuid() != 0:
            raise MissingProgramError("Postfix starts as root only: run these tests as root.")
        self.folder = Path(tempfile.mkdtemp(prefix="frontdesk-postfix-"))
        self.port = find_free_port()
        self._child: Child | None = None
        self._daemons = found[0]
        self._log, self._output = self.folder / "maillog", self.folder / "output"
        self._write(found[0], transports, services)

    def _write(self, daemons: Path, transports: Mapping[str, str], services: str) -> None:
        user = pwd.getpwnam("postfix")
        self.folder.chmod(0o755)
        for name in ("conf", "queue", "data"):
            (self.folder / name).mkdir()
        os.chown(self.folder / "data", user.pw_uid, user.pw_gid)
        table = " ".join(f"{{ {domain} = {transport} }}" for domain, transport in transports.items())
        main = _MAIN.format(daemons=daemons, folder=self.folder, domains=", ".join(transports), transports=table)
        (self.folder / "conf" / "main.cf").write_text(main)
        (self.folder / "conf" / "master.cf").write_text(_MASTER.format(port=self.port, services=services))

    def start(self) -> None:
        """Start it and wait until it answers.

        Not by `postfix start-fg`, whose master leaves our process group and would outlive us.
        """
        settings = ["-c", str(self.folder / "conf")]
        subprocess.run(["postfix", *settings, "check"], check=True, capture_output=True)
        self._child = child = Child(
            [str(self._daemons / "master"), *settings, "-d"], log=self._output, folder=self.folder
        )
        wait_until(lambda: not child.running or is_listening(self.port), timeout=60, what="Postfix listening")
        if not child.running:
            raise RuntimeError(f"Postfix ended while starting:\n{child.last_words()}\n{self.log}")

    def stop(self) -> None:
        """End it and delete its folder."""
        if self._child is not None:
            self._child.stop(signal.SIGTERM)
        shutil.rmtree(self.folder, ignore_errors=True)

    def flush(self) -> None:
        """Try everything that waits again, now."""
        subprocess.run(["postqueue", "-c", str(self.folder / "conf"), "-f"], check=True, capture_output=True)

    @property
    def log(self) -> str:
        """What it has said so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def deliveries(self, recipient: str = "") -> list[Delivery]:
        """What became of each attempt, in order; of one recipient or of all."""
        found = (_DELIVERY.search(line) for line in self.log.splitlines())
        each = [Delivery(match[1], match[2], match[3], match[4], match[5]) for match in found if match]
        return [one for one in each if recipient in ("", one.recipient)]

    def wait_for(self, recipient: str, *statuses: str, timeout: float = 60.0) -> Delivery:
        """The first attempt for this recipient that ended in one of these ways."""

        def matching() -> list[Delivery]:
            return [one for one in self.deliveries(recipient) if one.status in statuses]

        what = f"{' or '.join(statuses)} for {recipient}"
        try:
            wait_until(lambda: bool(matching()), timeout=timeout, what=what)
        except TimeoutError:
            raise TimeoutError(f"{what} did not happen; Postfix said:\n{self.log[-4_000:]}") from None
        return matching()[0]
