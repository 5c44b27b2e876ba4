"""What of a running deployment is on this machine: its processes, by what their command lines say (proc(5))."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway.bench.doors import Doors
from gateway.mail.delivery import mail_inboxes
from gateway.runtime import Runtime
from gateway.settings import PREFIX, Settings

_VERBS: Final = frozenset({"up", "serve", "work", "poll"})
_TELLING: Final = tuple(PREFIX + name for name in ("CONFIG", "DATA_DIR", "QUEUE_URL", "STORE_URL"))
_SERVICES: Final = {"beam.smp": "RabbitMQ", "postgres": "PostgreSQL", "postmaster": "PostgreSQL"}


def doors_of(runtime: Runtime, http: str, smtp: str) -> Doors:
    """The doors of the desk these settings describe; `http` and `smtp` (host:port) where they differ from there."""
    settings = runtime.settings
    inboxes = {inbox.channel: name for name, inbox in reversed(runtime.inboxes.items())}
    secrets = {
        name: option.get_secret_value()
        for inbox in runtime.inboxes.values()
        for name in ("auth_token", "consumer_secret")
        if (option := getattr(inbox.options, name, None)) is not None
    }
    return Doors(
        http=_host_and_port(http or settings.http_listen),
        smtp=_host_and_port(smtp or settings.smtp_listen),
        public_url=settings.base_url,
        inboxes=inboxes,
        mailbox=_mailbox(runtime),
        twilio_token=secrets.get("auth_token", ""),
        x_secret=secrets.get("consumer_secret", ""),
    )


def _mailbox(runtime: Runtime) -> str:
    for inbox in mail_inboxes(runtime):
        for address in getattr(inbox.options, "addresses", ()):
            if "*" not in address:
                return str(address)
        for domain in getattr(inbox.options, "domains", ()):
            return f"support@{domain}"
    return "support@localhost"


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition("/")[2].rpartition(":")
    return host.strip("[]") or "127.0.0.1", int(port)


def processes(settings: Settings) -> dict[str, int]:
    """Name -> process id: Frontdesk processes of this desk, RabbitMQ and PostgreSQL if it uses them; may be empty."""
    services = {"RabbitMQ"} if settings.queue_url.startswith("amqp") else set()
    services |= {"PostgreSQL"} if "postgres" in settings.database_url else set()
    found: dict[str, int] = {}
    for pid, words in sorted(_command_lines()):
        name = _name_of(words)
        if name in _SERVICES.values():
            if name in services and name not in found:  # the first is the parent of the others
                found[name] = pid
        elif name and _is_ours(pid):
            found[_unused(name, found)] = pid
    return found


def _is_ours(pid: int) -> bool:
    """Whether it was started with the same settings in the same place; what belongs to others cannot be read."""
    try:
        pairs = (pair.partition("=") for pair in Path(f"/proc/{pid}/environ").read_text("utf-8", "replace").split("\0"))
        theirs = {name: value for name, _, value in pairs}
        place = Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return False
    return place == Path.cwd() and all(theirs.get(name, "") == os.environ.get(name, "") for name in _TELLING)


def _name_of(words: list[str]) -> str:
    program = Path(words[0]).name
    if program in _SERVICES:
        return _SERVICES[program]
    for place, word in enumerate(words[:-1]):
        if Path(word).name == "frontdesk" or "gateway.cli" in word:
            return words[place + 1] if words[place + 1] in _VERBS else ""
    return ""


def _unused(name: str, found: dict[str, int]) -> str:
    number, wanted = 1, name
    while wanted in found:
        number += 1
        wanted = f"{name} {number}"
    return wanted


def _command_lines() -> Iterator[tuple[int, list[str]]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
            except OSError:
                continue
            if words[0]:
                yield int(entry.name), words
