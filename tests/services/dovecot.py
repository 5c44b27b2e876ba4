"""A private Dovecot on loopback: own configuration, ports, certificate and mail folders; users are made at will."""

from __future__ import annotations

import base64
import contextlib
import grp
import imaplib
import os
import pwd
import secrets
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import jwt

from tests.services.process import Child, MissingProgramError, find_free_port, wait_until

_PROGRAMS: Final = ("/usr/sbin/dovecot", "/usr/local/sbin/dovecot", "/opt/homebrew/sbin/dovecot")
_START_TIMEOUT: Final = 30.0  # seconds; a fraction of one on an idle machine
_USERS: Final = 500
PASSWORD: Final = "correct horse battery staple"  # spaces, as passphrases have

_SETTINGS: Final = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
protocols = imap
listen = 127.0.0.1
ssl = yes
ssl_cert = <{folder}/cert.pem
ssl_key = <{folder}/key.pem
disable_plaintext_auth = no
auth_mechanisms = plain login xoauth2
auth_failure_delay = 0 secs
auth_username_chars =
default_internal_user = {internal}
default_internal_group = {group}
default_login_user = {login}
mail_location = maildir:{folder}/mail/%u
mail_uid = {uid}
mail_gid = {gid}
first_valid_uid = 0
first_valid_gid = 0
mailbox_idle_check_interval = 1 secs
passdb {{
  driver = oauth2
  mechanisms = xoauth2
  args = {folder}/oauth2.conf.ext
}}
passdb {{
  driver = passwd-file
  mechanisms = plain login
  args = scheme=PLAIN username_format=%u {folder}/users
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/home/%u
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
"""
_OAUTH2: Final = """
introspection_mode = local
username_attribute = sub
local_validation_key_dict = fs:posix:prefix={folder}/keys/
"""


class DovecotServer:
    """Create it, `start()` it, `stop()` it at the end. Methods block; call them through `asyncio.to_thread`."""

    def __init__(self) -> None:
        self._program = _find_program()
        self._folder = Path(tempfile.mkdtemp(prefix="frontdesk-dovecot-"))
        self._folder.chmod(0o755)
        self._child: Child | None = None
        self._users = 0
        self._token_key = secrets.token_bytes(32)
        self.port = find_free_port()
        self.tls_port = find_free_port()
        self._configure()

    @property
    def certificate(self) -> Path:
        """PEM of the self-signed certificate, for `localhost`."""
        return self._folder / "cert.pem"

    def server_context(self) -> ssl.SSLContext:
        """For a server of a test's own under the same name."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate, self._folder / "key.pem")
        return context

    def start(self) -> None:
        """Start it, or start it again with the mail it has."""
        (self._folder / "run").mkdir(exist_ok=True)
        command = [self._program, "-F", "-c", str(self._folder / "dovecot.conf")]
        self._child = Child(command, log=self._folder / "output.log", folder=self._folder)
        child = self._child
        wait_until(lambda: not child.running or self._answers(), timeout=_START_TIMEOUT, what="Dovecot ready")
        if not child.running:
            raise RuntimeError(f"Dovecot ended while starting:\n{child.last_words()}\n{self.log}")

    def stop(self) -> None:
        """End it and delete its folder. Nothing of it remains."""
        self.halt()
        shutil.rmtree(self._folder, ignore_errors=True)

    def halt(self) -> None:
        """End it; its mail stays for the next start."""
        if self._child is not None:
            self._child.stop()

    @property
    def log(self) -> str:
        """What it logged."""
        path = self._folder / "dovecot.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def make_user(self) -> str:
        """A new user with an empty mailbox and the password `PASSWORD`."""
        self._users += 1
        if self._users > _USERS:
            raise RuntimeError(f"only {_USERS} users were prepared")
        return f"desk{self._users}@example.com"

    def make_token(self, user: str) -> str:
        """An OAuth 2 access token for XOAUTH2."""
        now = datetime.now(UTC)
        claims = {"sub": user, "iat": now - timedelta(seconds=5), "exp": now + timedelta(hours=1)}
        return jwt.encode(claims, self._token_key, algorithm="HS256")

    @contextlib.contextmanager
    def opened(self, user: str, folder: str = "INBOX") -> Iterator[imaplib.IMAP4]:
        """The mailbox as its owner's mail program sees it (the standard library's client, not ours)."""
        client = imaplib.IMAP4("127.0.0.1", self.port, timeout=20)
        try:
            client.login(user, PASSWORD)
            client.select(_quoted(folder))
            yield client
        finally:
            client.logout()

    def append(self, user: str, *mails: bytes, folder: str = "INBOX", date: datetime | None = None) -> None:
        """Put mails into a folder, unread, with a date of arrival."""
        with self.opened(user) as client:
            client.create(_quoted(folder))
            for mail in mails:
                when = imaplib.Time2Internaldate(date or datetime.now(UTC))
                kind, data = client.append(_quoted(folder), "", when, mail)
                if kind != "OK":
                    raise RuntimeError(f"APPEND failed: {data!r}")

    def flags(self, user: str, folder: str = "INBOX") -> list[bytes]:
        """The flags of every mail of a folder, one line each."""
        with self.opened(user, folder) as client:
            if client.search(None, "ALL")[1] == [b""]:
                return []
            data = client.fetch("1:*", "(FLAGS)")[1]
            return [line for line in data if isinstance(line, bytes)]

    def count(self, user: str, folder: str = "INBOX") -> int:
        """How many mails a folder holds."""
        return len(self.flags(user, folder))

    def _answers(self) -> bool:
        try:
            client = imaplib.IMAP4("127.0.0.1", self.port, timeout=5)
        except (OSError, imaplib.IMAP4.error):
            return False
        client.logout()
        return True

    def _configure(self) -> None:
        if os.geteuid() == 0:
            try:
                internal, login = pwd.getpwnam("dovecot"), pwd.getpwnam("dovenull")
            except KeyError:
                raise MissingProgramError("Dovecot's users `dovecot` and `dovenull` do not exist.") from None
        else:
            internal = login = pwd.getpwuid(os.geteuid())
        names = {"internal": internal.pw_name, "group": grp.getgrgid(internal.pw_gid).gr_name, "login": login.pw_name}
        numbers = {"uid": internal.pw_uid, "gid": internal.pw_gid, "port": self.port, "tls_port": self.tls_port}
        (self._folder / "dovecot.conf").write_text(_SETTINGS.format(folder=self._folder, **names, **numbers))
        (self._folder / "oauth2.conf.ext").write_text(_OAUTH2.format(folder=self._folder))
        keys = self._folder / "keys" / "default" / "HS256"
        keys.mkdir(parents=True)
        (keys / "default").write_bytes(base64.b64encode(self._token_key))
        # All of them at once: Dovecot notices a changed file by its second.
        users = (f"desk{number}@example.com:{PASSWORD}::::::\n" for number in range(1, _USERS + 1))
        (self._folder / "users").write_text("".join(users))
        for name in ("mail", "home"):
            (self._folder / name).mkdir()
            shutil.chown(self._folder / name, internal.pw_uid, internal.pw_gid)
        place = ["-keyout", str(self._folder / "key.pem"), "-out", str(self.certificate)]
        names_of_it = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names_of_it, *place]
        subprocess.run(command, capture_output=True, check=True)


def _find_program() -> str:
    """Where `dovecot` is. Raises MissingProgramError."""
    found = shutil.which("dovecot") or next((path for path in _PROGRAMS if Path(path).exists()), None)
    if found is None:
        raise MissingProgramError(
            "Dovecot is not installed: run deploy/setup-debian.sh as root, or install dovecot-imapd."
        )
    if shutil.which("openssl") is None:
        raise MissingProgramError("openssl is not installed; Dovecot's certificate is made with it.")
    return found


def _quoted(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
