"""What is declared on RabbitMQ, and the file an administrator imports instead."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.queues.base import DELIVERY_LIMIT
from gateway.queues.rabbitmq import RabbitQueue
from gateway.queues.topology import (
    DEFAULT_CHANNELS,
    compose_definitions,
    compose_topology,
    render_definitions,
    routing_key,
)
from tests.contract.backends import make_message, take, until_answering
from tests.services.rabbitmq import RabbitNode

DEFINITIONS = Path(__file__).parents[2] / "deploy" / "rabbitmq" / "definitions.json"


def test_the_definitions_file_is_what_the_code_declares() -> None:
    command = "python -m gateway.queues.topology > deploy/rabbitmq/definitions.json"
    assert DEFINITIONS.read_text() == render_definitions(), f"run: {command}"


def test_every_channel_has_a_quorum_queue_that_refuses_when_full_and_buries_safely() -> None:
    topology = compose_topology(["email", "fax"], max_bytes=1000)
    queues = {queue.name: queue for queue in topology.queues}
    assert set(queues) == {"frontdesk.dead", "frontdesk.inbound.email", "frontdesk.inbound.fax"}
    assert queues["frontdesk.inbound.fax"].binding == "fax.#"
    assert queues["frontdesk.inbound.fax"].arguments == {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": "frontdesk.dead",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
        "x-max-length-bytes": 1000,
    }


def test_every_binding_names_what_is_declared() -> None:
    definitions = compose_definitions(compose_topology(DEFAULT_CHANNELS))
    exchanges = {item["name"] for item in definitions["exchanges"]}
    queues = {item["name"] for item in definitions["queues"]}
    assert {(item["source"] in exchanges, item["destination"] in queues) for item in definitions["bindings"]} == {
        (True, True)
    }


def test_routing_keys_start_with_the_channel() -> None:
    assert routing_key("email", "support") == "email.support"


@pytest.mark.rabbitmq
async def test_a_broker_that_imported_the_file_needs_nothing_declared(rabbit_node: RabbitNode, tmp_path: Path) -> None:
    """Declaring the same again with any other argument would be refused, so this proves that both are equal."""
    url = rabbit_node.fresh_url()
    vhost = url.rpartition("/")[2]
    imported = tmp_path / "definitions.json"
    definitions = json.loads(DEFINITIONS.read_text())
    for kind in ("exchanges", "queues", "bindings"):
        for item in definitions[kind]:
            item["vhost"] = vhost
    definitions["vhosts"] = [{"name": vhost}]
    imported.write_text(json.dumps(definitions))
    rabbit_node.ctl("import_definitions", str(imported))

    queue = RabbitQueue(url, channels=DEFAULT_CHANNELS)
    await queue.start()
    try:
        await until_answering(queue)
        await queue.publish([make_message(1, channel="twitter")])
        [got] = await take(queue, 1)
        assert got.channel == "twitter"
    finally:
        await queue.close()
