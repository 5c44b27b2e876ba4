"""Being let in to a mailbox: TLS, a password or an OAuth 2 token."""

from __future__ import annotations

import shlex
import ssl
import subprocess
from typing import Any, Final

from imapclient.exceptions import LoginError

from adapters.base import PermanentError, TemporaryError
from adapters.email.imap_answers import quoted
from adapters.email.imap_options import ImapOptions

# RFC 5530: what a server says when it is not the name or the password that is wrong.
AGAIN_LATER: Final = frozenset({"UNAVAILABLE", "INUSE", "LIMIT", "SERVERBUG", "OVERQUOTA", "CONTACTADMIN"})


def find_token(options: ImapOptions) -> str:
    """The OAuth 2 token to log in with; empty where a password is used. Raises `TemporaryError`."""
    if options.token_command:
        return run_token_command(options.token_command)
    return options.access_token.get_secret_value() if options.access_token else ""


def log_in(client: Any, options: ImapOptions, token: str) -> None:
    """Log in by the best way both sides know. Raises what IMAPClient raises, `LoginError` for what cannot work."""
    if token:
        client.oauth2_login(options.user, token)
        return
    password = options.password.get_secret_value() if options.password else ""
    if client.has_capability("AUTH=PLAIN"):
        client.plain_login(options.user, password)
    elif client.has_capability("LOGINDISABLED"):
        raise LoginError("the server takes no password on this connection; use tls or starttls")
    elif not (options.user + password).isascii():
        raise LoginError("the server takes only ASCII in a name and a password")
    else:
        client.login(quoted(options.user), password)


def run_token_command(command: str) -> str:
    """What the operator's program prints. Raises `TemporaryError`: the next login runs it again."""
    try:
        done = subprocess.run(shlex.split(command), capture_output=True, timeout=30, check=False)  # noqa: S603  the operator's own
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TemporaryError(f"token_command did not run: {type(error).__name__}") from None
    token = done.stdout[:65_536].decode("ascii", "replace").strip()
    if done.returncode or not token or not token.isprintable() or " " in token:
        raise TemporaryError(f"token_command printed no token (exit code {done.returncode})")
    return token


def tls_context(options: ImapOptions) -> ssl.SSLContext:
    """Checks the server's certificate and name. Raises `PermanentError` for a `ca_file` that cannot be used."""
    try:
        return ssl.create_default_context(cafile=str(options.ca_file) if options.ca_file else None)
    except OSError as error:
        raise PermanentError(f"ca_file {options.ca_file} cannot be read: {error.strerror or error}") from None
