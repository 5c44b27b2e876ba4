"""The composition root: the only place that names a concrete queue, store, blob backend or channel."""

from __future__ import annotations

# ruff: noqa: PLC0415  `frontdesk pipe` starts once a mail: what a process does not use, it does not load
import asyncio
import os
import socket
from collections.abc import Mapping
from datetime import timedelta
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from pydantic import SecretStr, ValidationError

from adapters.base import Adapter, Clients, InboxOptions
from gateway.ids import uuid7
from gateway.intake import CONTROL_CHANNEL, Inbox, Intake
from gateway.queues.base import Queue, QueueUnavailableError
from gateway.queues.embedded import EmbeddedQueue
from gateway.secrets import KeptSecrets
from gateway.settings import Settings, SettingsError
from gateway.store.blobs import Blobs

if TYPE_CHECKING:
    import aiohttp

    from gateway.store.engine import Store
    from gateway.store.people import Ours
    from gateway.web.auth import Logins
    from gateway.worker.consume import Worker
    from gateway.worker.evidence import Rules

# A new channel is one file in `adapters/` and one line here: where its adapter is, loaded when an inbox asks for it.
CHANNELS: Final[Mapping[str, str]] = {
    "email": "adapters.email:Email",
    "form": "adapters.webform:WebForm",
    "chat": "adapters.chat:Chat",
    "phone": "adapters.phone:Phone",
    "twitter": "adapters.twitter:Twitter",
}
QUEUE_CHANNELS: Final = (*CHANNELS, CONTROL_CHANNEL)
_GLANCE_SECONDS: Final = 1.0
_MIN_FREE_INODES: Final = 256
_KEPT_OPTIONS: Final = ("token_key", "session_key")  # signing keys that are made once when nobody sets them


class Runtime:
    """What every process is handed: settings, queue, store, blobs, the door in, and the inboxes."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.gateway_id = f"{socket.gethostname()[:23]}-{os.getpid()}-{uuid7().hex}"
        self.secrets = KeptSecrets(settings.data_dir / "secrets")
        self.local_queue = EmbeddedQueue(settings.data_dir / "queue.db", min_free_bytes=settings.spool_min_free)
        self.queue: Queue = _queue(settings, self.local_queue)
        self.blobs = Blobs(settings.blob_path, min_free_bytes=settings.spool_min_free, min_free_inodes=_MIN_FREE_INODES)
        self.intake = Intake(self.queue, self.blobs, self.gateway_id)
        self.inboxes: dict[str, Inbox] = {}
        self._http: aiohttp.ClientSession | None = None

    @cached_property
    def store(self) -> Store:
        """The database. Raises `SettingsError` for a URL that is none."""
        from gateway.store.engine import open_store

        try:
            return open_store(self.settings.database_url)
        except ValueError as error:
            raise SettingsError(f"store_url: {error}") from None

    @cached_property
    def logins(self) -> Logins:
        """Who is signed in to the console."""
        from gateway.web.auth import Logins

        return Logins(self.secrets.get("logins").encode())

    async def start(self, only: str = "") -> None:
        """Open the queue and configure the inboxes, or the one inbox. The broker may still be away; the spool must be
        writable.
        """
        if not only:
            _ = self.store  # a wrong URL is told at the start
        clients = Clients(self._open_http)
        for name, options in self.settings.inboxes.items():
            if only in ("", name):
                self.inboxes[name] = configure_inbox(name, self._defaults(name, options), clients)
        await self.queue.start()

    async def migrate(self) -> None:
        """Bring the database to this version's schema."""
        from gateway.store.migrate import migrate

        await self.store.write(migrate)

    def worker(self) -> Worker:
        """A worker on this runtime's queue and store, as its settings say."""
        from gateway.worker.consume import Worker

        settings = self.settings
        rules, ours = self.recording()
        return Worker(
            self.queue,
            self.store,
            batch_size=settings.batch_size,
            linger=settings.batch_linger,
            rules=rules,
            ours=ours,
        )

    def recording(self) -> tuple[Rules, Ours]:
        """How the settings want messages recorded: what is nearly the same, and which addresses are the desk's own."""
        from gateway.store.people import own_addresses
        from gateway.worker.evidence import Rules

        settings = self.settings
        rules = Rules(settings.near_duplicate_ratio, timedelta(minutes=settings.near_duplicate_window_minutes))
        return rules, own_addresses(inbox.options for inbox in self.inboxes.values())

    async def ready(self) -> tuple[bool, dict[str, Any]]:
        """Would a message sent now be stored? The local queue or spool decides: without a broker, mail still comes in.

        What waits is told along where it can be known, and decides nothing.
        """
        try:
            await self.local_queue.ping()
        except QueueUnavailableError as error:
            return False, {"reason": str(error)}
        try:
            async with asyncio.timeout(_GLANCE_SECONDS):
                depth = await self.queue.depth()
        except (QueueUnavailableError, TimeoutError):
            return True, {"queue": "away; messages go to the spool"}
        return True, {"waiting": depth.waiting, "spooled": depth.spooled, "dead": depth.dead}

    async def close(self) -> None:
        """Close in the order of dependence: the door, the queue, the store."""
        self.intake.close()
        await self.queue.close()
        if "store" in self.__dict__:
            await self.store.close()
        self.blobs.close()
        if self._http is not None:
            await self._http.close()

    def _defaults(self, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Options with what other settings imply, and with signing keys that nobody configured."""
        filled = dict(options)
        adapter = find_adapter(str(options.get("channel")))
        known = adapter.Options.model_fields if adapter else {}
        if "domains" in known:
            filled.setdefault("domains", list(self.settings.mail_domains))
        for key in _KEPT_OPTIONS:
            if key in known and not filled.get(key):
                filled[key] = SecretStr(self.secrets.get(f"{name}.{key}"))
        return filled

    def _open_http(self) -> aiohttp.ClientSession:
        """For adapters that ask a provider; most processes never do."""
        import aiohttp

        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30, connect=5))
        return self._http


def find_adapter(channel: str) -> type[Adapter[Any]] | None:
    """The adapter of a channel; None when there is no such channel."""
    module, _, name = CHANNELS.get(channel, "").partition(":")
    return getattr(import_module(module), name) if module else None


def configure_inbox(name: str, options: Mapping[str, Any], clients: Clients | None = None) -> Inbox:
    """An inbox from its options. Raises `SettingsError` that names the field and shows no value."""
    channel = str(options.get("channel", ""))
    adapter = find_adapter(channel)
    if adapter is None:
        raise SettingsError(f"inboxes.{name}.channel: {channel!r} is none of {', '.join(CHANNELS)}")
    try:
        checked: InboxOptions = adapter.Options.model_validate(dict(options))
    except ValidationError as error:
        lines = (f"inboxes.{name}.{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise SettingsError("\n".join(lines)) from None
    return Inbox(name, channel, adapter(name, checked, clients), checked)


def _queue(settings: Settings, local: EmbeddedQueue) -> Queue:
    url = settings.queue_url
    if url.startswith("embedded:"):
        return local
    if url.startswith(("amqp://", "amqps://")):
        from gateway.queues.failover import FailoverQueue
        from gateway.queues.rabbitmq import RabbitQueue

        broker = RabbitQueue(url, channels=QUEUE_CHANNELS, folder=settings.data_dir)
        return FailoverQueue(broker, local, deadline=settings.publish_deadline)
    raise SettingsError("queue_url: give `embedded:` or amqp://user:password@host:5672/vhost")
