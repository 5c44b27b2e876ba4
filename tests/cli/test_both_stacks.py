"""The verbs on the embedded default and on RabbitMQ + PostgreSQL: the same answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from gateway.commands.desk import finish, opened, record_everything
from gateway.queues.base import Outgoing
from normalizer.message import MESSAGE_TYPE
from tests.cli.conftest import Frontdesk
from tests.services.postgres import PostgresCluster
from tests.services.rabbitmq import RabbitNode

STACKS = ["embedded", pytest.param("production", marks=[pytest.mark.rabbitmq, pytest.mark.postgres])]


@pytest.fixture(params=STACKS)
def desk(frontdesk: Frontdesk, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Frontdesk]:
    """A migrated, empty desk on either stack."""
    if request.param == "production":
        node: RabbitNode = request.getfixturevalue("rabbit_node")
        cluster: PostgresCluster = request.getfixturevalue("postgres_cluster")
        monkeypatch.setenv("FRONTDESK_QUEUE_URL", node.desk_url())
        monkeypatch.setenv("FRONTDESK_STORE_URL", cluster.create_database(f"cli_{uuid4().hex}"))
    said = frontdesk("migrate")
    assert said.code == 0, said.err
    yield frontdesk


def test_a_round_through_the_verbs(desk: Frontdesk, letters: Path) -> None:
    assert desk("check").code == 0
    said = desk("ingest", "--wait", "--json", letters)
    assert said.code == 0, said.err
    assert len(said.lines) == 4
    tickets = desk("tickets", "--json").lines
    assert sorted(ticket["comment_count"] for ticket in tickets) == [1, 2]
    assert len(desk("export").lines) == 3
    assert {row["outcome"] for row in desk("receipts", "--json").lines} == {"ticketed", "appended", "duplicate"}
    audit = desk("audit")
    assert audit.code == 0, audit.out
    assert "accepted 4 = " in audit.out


def test_a_dead_letter_is_listed_shown_replayed_and_dropped(desk: Frontdesk) -> None:
    receipt = str(uuid4())

    async def poison() -> None:
        async with opened() as runtime:
            await runtime.queue.publish([Outgoing(b'{"not": "ours"}', MESSAGE_TYPE, receipt, "form", "contact")])
            await record_everything(runtime)

    finish(poison())
    (letter,) = desk("dead", "list", "--json").lines
    assert (letter["receipt_id"], letter["channel"], letter["replayed_at"]) == (receipt, "form", None)
    number = str(letter["id"])
    shown = desk("dead", "show", "--json", number).lines[0]
    assert shown["body"] == {"not": "ours"}
    assert shown["reason"]
    assert '"not": "ours"' in desk("dead", "show", number).out
    assert desk("receipts", "--json", receipt).lines[0]["outcome"] == "dead"

    assert desk("dead", "replay", "--dry-run", "--json", "--all").lines[0]["would_replay"] == [letter["id"]]
    assert desk("audit").code == 0
    assert desk("dead", "replay", "--json", number).lines[0]["replayed"] == [letter["id"]]
    finish(_work())
    (again,) = desk("dead", "list", "--json").lines  # it is still not ours, so it died again
    assert again["receipt_id"] == receipt
    number = str(again["id"])

    assert desk("dead", "drop", "--yes", number).code == 0
    assert desk("dead", "list").out == ""
    assert desk("receipts", "--json", receipt).lines[0]["outcome"] == "dead"
    assert desk("dead", "show", number).code == 1


async def _work() -> None:
    async with opened() as runtime:
        await record_everything(runtime)
