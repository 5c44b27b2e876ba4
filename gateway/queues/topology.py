"""What Frontdesk declares on RabbitMQ, as data in one place.

`python -m gateway.queues.topology > deploy/rabbitmq/definitions.json` writes the file an administrator imports into a
broker where Frontdesk's user may not declare anything; a test keeps both equal.

    exchange frontdesk.inbound (topic) --<channel>.#--> queue frontdesk.inbound.<channel> (quorum), one a channel
                                                              | delivered more than DELIVERY_LIMIT times
    queue frontdesk.dead (quorum) <--#-- exchange frontdesk.dead (topic)

Other teams may bind queues of their own to frontdesk.inbound.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.queues.base import DELIVERY_LIMIT

INBOUND: Final = "frontdesk.inbound"
DEAD: Final = "frontdesk.dead"
DEFAULT_MAX_BYTES: Final = 4 << 30  # bodies waiting in one channel's queue, in bytes
DEFAULT_CHANNELS: Final = ("email", "form", "chat", "phone", "twitter")


@dataclass(frozen=True, slots=True)
class ExchangeSpec:
    """A durable exchange."""

    name: str
    type: str = "topic"


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """A durable queue, and the binding that fills it."""

    name: str
    exchange: str
    binding: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Topology:
    """Everything to declare, in an order that works."""

    exchanges: tuple[ExchangeSpec, ...]
    queues: tuple[QueueSpec, ...]


def queue_name(channel: str) -> str:
    """The queue of one channel."""
    return f"{INBOUND}.{channel}"


def routing_key(channel: str, inbox: str) -> str:
    """Where a message of an inbox goes. At most 255 bytes (AMQP 0-9-1 short string)."""
    return f"{channel}.{inbox}"


def compose_topology(channels: Sequence[str], *, max_bytes: int = DEFAULT_MAX_BYTES) -> Topology:
    """The exchanges and queues for these channels. Every process of one desk must use the same `max_bytes`.

    The queue of dead letters is declared last: RabbitMQ before 4.0 that is killed a moment later never elects a leader
    for the newest queue (deploy/RUNBOOK.md), and this one can be done without for longest.

    A queue that is full refuses (reject-publish), so its senders hear a temporary error: at-least-once dead-lettering
    demands that too (rabbitmq.com/docs/quorum-queues, dead lettering).
    """
    inbound_arguments = {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": DEAD,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
        "x-max-length-bytes": max_bytes,
    }
    inbound = [QueueSpec(queue_name(name), INBOUND, f"{name}.#", dict(inbound_arguments)) for name in channels]
    dead = QueueSpec(DEAD, DEAD, "#", {"x-queue-type": "quorum"})
    return Topology((ExchangeSpec(DEAD), ExchangeSpec(INBOUND)), (*inbound, dead))


def compose_definitions(topology: Topology, *, vhost: str = "/") -> dict[str, Any]:
    """The same in the form that `rabbitmqctl import_definitions` reads."""
    durable = {"vhost": vhost, "durable": True, "auto_delete": False}
    exchanges = [
        {"name": item.name, "type": item.type, "internal": False, "arguments": {}} | durable
        for item in topology.exchanges
    ]
    queues = [{"name": item.name, "type": "quorum", "arguments": item.arguments} | durable for item in topology.queues]
    bindings = [
        {
            "source": item.exchange,
            "vhost": vhost,
            "destination": item.name,
            "destination_type": "queue",
            "routing_key": item.binding,
            "arguments": {},
        }
        for item in topology.queues
    ]
    return {"vhosts": [{"name": vhost}], "exchanges": exchanges, "queues": queues, "bindings": bindings}


def render_definitions() -> str:
    """`deploy/rabbitmq/definitions.json`, for the channels that come with Frontdesk."""
    return json.dumps(compose_definitions(compose_topology(DEFAULT_CHANNELS)), indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render_definitions())
