"""The composition root: the only place that names a concrete queue, store, blob backend or channel."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import aiohttp
from pydantic import SecretStr, ValidationError

from adapters.base import Adapter, Clients, InboxOptions
from adapters.chat import Chat
from adapters.email import Email
from adapters.phone import Phone
from adapters.twitter import Twitter
from adapters.webform import WebForm
from gateway.ids import uuid7
from gateway.intake import CONTROL_CHANNEL, Inbox, Intake
from gateway.queues.base import Queue, QueueUnavailableError
from gateway.queues.embedded import EmbeddedQueue
from gateway.queues.failover import FailoverQueue
from gateway.queues.rabbitmq import RabbitQueue
from gateway.secrets import KeptSecrets
from gateway.settings import Settings, SettingsError
from gateway.store.blobs import Blobs
from gateway.store.engine import Store, open_store
from gateway.store.people import own_addresses
from gateway.web.auth import Logins
from gateway.worker.consume import Worker
from gateway.worker.evidence import Rules

# A new channel is one file in `adapters/` and one line here.
CHANNELS: Final[Mapping[str, type[Adapter[Any]]]] = {
    "email": Email,
    "form": WebForm,
    "chat": Chat,
    "phone": Phone,
    "twitter": Twitter,
}
QUEUE_CHANNELS: Final = (*CHANNELS, CONTROL_CHANNEL)
_GLANCE_SECONDS: Final = 1.0
_KEPT_OPTIONS: Final = ("token_key", "session_key")  # signing keys that are made once when nobody sets them


class Runtime:
    """What every process is handed: settings, queue, store, blobs, the door in, and the inboxes."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.gateway_id = f"{socket.gethostname()[:24]}-{os.getpid()}-{uuid7().hex}"
        self.secrets = KeptSecrets(settings.data_dir / "secrets")
        self.local_queue = EmbeddedQueue(settings.data_dir / "queue.db", min_free_bytes=settings.spool_min_free)
        self.queue: Queue = _queue(settings, self.local_queue)
        self.store: Store = _store(settings)
        self.blobs = Blobs(settings.blob_path)
        self.intake = Intake(self.queue, self.blobs, self.gateway_id)
        self.logins = Logins(self.secrets.get("logins").encode())
        self.inboxes: dict[str, Inbox] = {}
        self._http: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Open the queue and configure the inboxes. The broker may still be away; the spool must be writable."""
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30, connect=5))
        clients = Clients(http=self._http)
        for name, options in self.settings.inboxes.items():
            self.inboxes[name] = configure_inbox(name, self._defaults(name, options), clients)
        await self.queue.start()

    async def migrate(self) -> None:
        """Bring the database to this version's schema."""
        from gateway.store.migrate import migrate  # noqa: PLC0415  Alembic takes a sixth of a second

        await self.store.write(migrate)

    def worker(self) -> Worker:
        """A worker on this runtime's queue and store, as its settings say."""
        settings = self.settings
        rules = Rules(settings.near_duplicate_ratio, timedelta(minutes=settings.near_duplicate_window_minutes))
        ours = own_addresses(inbox.options for inbox in self.inboxes.values())
        return Worker(
            self.queue,
            self.store,
            batch_size=settings.batch_size,
            linger=settings.batch_linger,
            rules=rules,
            ours=ours,
        )

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
        await self.store.close()
        self.blobs.close()
        if self._http is not None:
            await self._http.close()

    def _defaults(self, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Options with what other settings imply, and with signing keys that nobody configured."""
        channel = CHANNELS.get(str(options.get("channel")))
        filled = dict(options)
        if channel is Email:
            filled.setdefault("domains", list(self.settings.mail_domains))
        known = channel.Options.model_fields if channel else {}
        for key in _KEPT_OPTIONS:
            if key in known and not filled.get(key):
                filled[key] = SecretStr(self.secrets.get(f"{name}.{key}"))
        return filled


def configure_inbox(name: str, options: Mapping[str, Any], clients: Clients | None = None) -> Inbox:
    """An inbox from its options. Raises `SettingsError` that names the field and shows no value."""
    channel = str(options.get("channel", ""))
    adapter = CHANNELS.get(channel)
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
        broker = RabbitQueue(url, channels=QUEUE_CHANNELS)
        return FailoverQueue(broker, local, deadline=settings.publish_deadline)
    raise SettingsError("queue_url: give `embedded:` or amqp://user:password@host:5672/vhost")


def _store(settings: Settings) -> Store:
    try:
        return open_store(settings.database_url)
    except ValueError as error:
        raise SettingsError(f"store_url: {error}") from None
