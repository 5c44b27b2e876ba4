"""RabbitMQ's own faults: killed, frozen, full, unbound, redeclared, deleted, wrongly configured."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiormq
import pytest

from gateway.queues import lane, link, rabbitmq
from gateway.queues.ahead import MOST_HELD
from gateway.queues.base import QueueRefusedError, QueueUnavailableError
from gateway.queues.lane import read_reason
from gateway.queues.link import forgets_names
from gateway.queues.rabbitmq import RabbitQueue
from gateway.queues.topology import DEAD, DEFAULT_MAX_BYTES, INBOUND, queue_name
from tests.contract.backends import (
    CHANNELS,
    make_message,
    open_files,
    take,
    take_dead,
    until_accepted,
    until_answering,
    until_depth,
)
from tests.services.rabbitmq import RabbitNode

pytestmark = pytest.mark.rabbitmq

Opener = Callable[..., RabbitQueue]


@pytest.fixture
def url(broker_url: str) -> str:
    return broker_url


@pytest.fixture
async def make(url: str) -> AsyncIterator[Opener]:
    made = []

    def make(**options: object) -> RabbitQueue:
        options = {"url": url, "channels": CHANNELS} | options
        queue = RabbitQueue(**options)  # type: ignore[arg-type]
        made.append(queue)
        return queue

    yield make
    for queue in made:
        await queue.close()


@pytest.fixture
async def queue(make: Opener) -> RabbitQueue:
    queue = make()
    await queue.start()
    await until_answering(queue)
    return queue


@pytest.fixture
async def channel(url: str) -> AsyncIterator[aiormq.abc.AbstractChannel]:
    """An administrator's own channel."""
    async with aiormq.connect(url) as connection:
        yield await connection.channel()


# --- the broker goes away --------------------------------------------------------------------------------------------


@pytest.mark.fault
async def test_a_killed_broker_comes_back_with_everything_it_confirmed(
    make: Opener, rabbit_node: RabbitNode, unused_broker_url: str
) -> None:
    """Nobody helps: both connections are made anew, and what was unacked comes again."""
    queue = make(url=unused_broker_url)
    await queue.start()
    await until_answering(queue)
    await queue.publish([make_message(number) for number in range(50)])
    held = await take(queue, 10)
    await asyncio.to_thread(rabbit_node.kill)
    try:
        with pytest.raises(QueueUnavailableError, match=r"RabbitMQ at 127\.0\.0\.1"):
            while True:
                await queue.publish([make_message(1000)])
        with pytest.raises(QueueUnavailableError):
            await queue.depth()
        with pytest.raises(QueueUnavailableError):
            await queue.ping()
        await queue.ack(held[:5])  # of a connection that is gone: harmless, and without effect
        await queue.release(held[5:])
        waiting = asyncio.create_task(queue.consume(100))
    finally:
        await asyncio.to_thread(rabbit_node.start)

    async with asyncio.timeout(100):
        again = await waiting
    again += await take(queue, 50 - len(again))
    await until_answering(queue)
    await queue.publish([make_message(2000)])
    [after] = await take(queue, 1)

    assert {delivery.receipt_id for delivery in again} == {f"receipt-email-{number}" for number in range(50)}
    assert after.receipt_id == "receipt-email-2000"
    await queue.ack([*again, after])


@pytest.mark.fault
async def test_a_frozen_broker_costs_a_publisher_its_timeout_and_no_more(make: Opener, rabbit_node: RabbitNode) -> None:
    queue = make(publish_timeout=0.5)
    await queue.start()
    await until_answering(queue)
    rabbit_node.freeze()
    try:
        async with asyncio.timeout(10):
            with pytest.raises(QueueUnavailableError, match=r"did not confirm within 0.5 s"):
                await queue.publish([make_message(1), make_message(2)])
            with pytest.raises(QueueUnavailableError, match=r"did not answer within 0.5 s"):
                await queue.ping()
    finally:
        rabbit_node.thaw()

    await until_answering(queue)
    await queue.publish([make_message(3)])
    got = await take(queue, 1)
    while got[-1].receipt_id != "receipt-email-3":  # the first two may have arrived all the same
        got += await take(queue, 1)


async def test_a_broker_that_was_never_there_delays_nobody(make: Opener, free_port: int) -> None:
    queue = make(url=f"amqp://guest:guest@127.0.0.1:{free_port}/")
    await queue.start()
    with pytest.raises(QueueUnavailableError, match=f"127.0.0.1:{free_port}"):
        await queue.publish([make_message()])
    consuming = asyncio.create_task(queue.consume(1))
    await asyncio.sleep(0)
    await queue.close()
    with pytest.raises(QueueUnavailableError, match="closed"):
        await consuming


async def test_a_wrong_password_is_said_and_not_shown(make: Opener, url: str, caplog: pytest.LogCaptureFixture) -> None:
    secret = url.split(":")[2].partition("@")[0]
    queue = make(url=url.replace(secret, "not-the-password"))
    with caplog.at_level(logging.DEBUG, logger="gateway"):
        await queue.start()
        with pytest.raises(QueueUnavailableError, match="refused the user name or the password"):
            await queue.publish([make_message()])
    assert "refused the user name or the password" in caplog.text
    assert "not-the-password" not in caplog.text


# --- more than memory should hold ------------------------------------------------------------------------------------


@pytest.fixture
async def behind(make: Opener, tmp_path: Path) -> tuple[RabbitQueue, list[bytes]]:
    """A consumer who took one message, was handed out all others ahead, and what they are."""
    queue = make(folder=tmp_path)
    await queue.start()
    await until_answering(queue)
    bodies = [bytes([number]) * (4 << 20) for number in range(12)]
    for number, body in enumerate(bodies):
        await queue.publish([make_message(number, body=body)])
    [first] = await queue.consume(1)
    assert first.body == bodies[0]
    await until_depth(queue, lambda depth: depth.unacked == len(bodies))
    return queue, bodies


async def test_large_messages_that_are_handed_out_ahead_wait_in_files(
    behind: tuple[RabbitQueue, list[bytes]], tmp_path: Path
) -> None:
    queue, bodies = behind
    files = open_files(tmp_path)
    assert sum(path.stat().st_size for path in files) == sum(map(len, bodies[1:])) - MOST_HELD
    assert list(tmp_path.iterdir()) == []
    for body in bodies[1:]:
        [delivery] = await queue.consume(1)
        assert delivery.body == body
        await queue.ack([delivery])
    assert open_files(tmp_path) == []


async def test_the_files_of_a_connection_that_is_lost_go_with_it(
    behind: tuple[RabbitQueue, list[bytes]], tmp_path: Path
) -> None:
    queue, _ = behind
    assert open_files(tmp_path)
    await queue.close()
    assert open_files(tmp_path) == []


async def test_what_cannot_be_read_again_comes_again_from_the_broker(
    behind: tuple[RabbitQueue, list[bytes]], tmp_path: Path
) -> None:
    queue, bodies = behind
    for path in open_files(tmp_path):
        os.truncate(path, 1)
    seen: set[bytes] = set()
    async with asyncio.timeout(60):
        while len(seen) < len(bodies):
            batch = await queue.consume(100)
            seen |= {delivery.body[:1] for delivery in batch if delivery.body in bodies}
            await queue.ack(batch)
    await until_depth(queue, lambda depth: depth.waiting == 0)


# --- the broker refuses ----------------------------------------------------------------------------------------------


async def test_an_unroutable_message_is_not_accepted(queue: RabbitQueue, channel: aiormq.abc.AbstractChannel) -> None:
    """A broker confirms what it cannot route. Of a batch the good ones may arrive, and the caller is told it failed."""
    await channel.queue_unbind(queue_name("email"), INBOUND, "email.#")

    with pytest.raises(QueueRefusedError, match=r"no queue for email\.support"):
        await queue.publish([make_message(1)])
    with pytest.raises(QueueRefusedError):
        await queue.publish([make_message(2, channel="phone"), make_message(3), make_message(4, channel="phone")])
    await queue.publish([make_message(5, channel="phone")])

    phone = await take(queue, 3)
    assert {delivery.receipt_id for delivery in phone} == {f"receipt-phone-{number}" for number in (2, 4, 5)}


async def test_a_channel_nobody_declared_is_refused(queue: RabbitQueue) -> None:
    with pytest.raises(QueueRefusedError, match=r"no queue for fax\.support"):
        await queue.publish([make_message(1, channel="fax")])


async def test_a_full_queue_refuses_and_leaves_other_channels_alone(make: Opener) -> None:
    queue = make(max_bytes=20_000)
    await queue.start()
    await until_answering(queue)
    accepted = 0
    with pytest.raises(QueueRefusedError, match=r"frontdesk\.inbound\.email: it is full"):
        for number in range(200):
            await queue.publish([make_message(number, body=b"x" * 1000)])
            accepted += 1
    await queue.publish([make_message(1, channel="phone")])

    got = await take(queue, accepted + 1)

    assert accepted >= 20  # RabbitMQ overshoots a little
    assert len({delivery.receipt_id for delivery in got}) == accepted + 1


async def test_two_publishes_of_one_receipt_are_told_apart(
    queue: RabbitQueue, channel: aiormq.abc.AbstractChannel
) -> None:
    """Returned messages are matched by message id: with the receipt as id, the lost one would have been confirmed."""
    await channel.queue_unbind(queue_name("email"), INBOUND, "email.#")
    twins = [make_message(1, channel="email"), make_message(1, channel="phone")]
    outcomes = await asyncio.gather(*(queue.publish([twin]) for twin in twins), return_exceptions=True)
    assert isinstance(outcomes[0], QueueRefusedError)
    assert outcomes[1] is None


async def test_what_a_new_queue_confirms_outlives_a_crash(
    unused_broker_url: str, make: Opener, rabbit_node: RabbitNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RabbitMQ 3.10 knows nothing of a queue that it was told of a second before it is killed, whatever it confirmed.

    It is the newest that is forgotten, as when a desk gets one more channel.
    """
    monkeypatch.setattr(link, "forgets_names", forgets_names)
    before = make(url=unused_broker_url, channels=("phone",))
    await before.start()
    await until_answering(before)
    await before.close()

    queue = make(url=unused_broker_url)
    await queue.start()
    await until_answering(queue)
    await until_accepted(queue, make_message(1))
    await asyncio.to_thread(rabbit_node.kill, at_once=True)
    await asyncio.to_thread(rabbit_node.start)

    [got] = await take(queue, 1)
    assert got.receipt_id == "receipt-email-1"


# --- what is on the wire ---------------------------------------------------------------------------------------------


async def test_other_teams_find_the_documented_properties(
    queue: RabbitQueue, channel: aiormq.abc.AbstractChannel
) -> None:
    await channel.queue_declare("theirs", exclusive=True)
    await channel.queue_bind("theirs", INBOUND, "#")
    sent = make_message(7)
    await queue.publish([sent])

    got = await channel.basic_get("theirs", no_ack=True)

    properties = got.header.properties
    assert got.body == sent.body
    assert got.routing_key == "email.support"
    assert (properties.content_type, properties.message_type) == ("application/json", "frontdesk.message.v1")
    assert properties.delivery_mode == 2
    assert properties.message_id not in (None, "", sent.receipt_id)
    assert properties.headers == {
        "receipt_id": sent.receipt_id,
        "channel": "email",
        "inbox": "support",
        "traceparent": sent.traceparent,
    }


async def test_a_stranger_in_our_queue_is_delivered_and_does_not_break_the_consumer(
    queue: RabbitQueue, channel: aiormq.abc.AbstractChannel
) -> None:
    await channel.basic_publish(b"hello", exchange=INBOUND, routing_key="email.by.hand")
    [got] = await take(queue, 1)
    assert (got.body, got.type, got.receipt_id, got.channel) == (b"hello", "", "", "email")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, ""),
        ({"x-death": []}, ""),
        ({"x-death": "nonsense"}, ""),
        ({"x-death": [{"reason": "delivery_limit", "queue": "q"}]}, "delivered more than 10 times"),
        ({"x-death": [{"reason": "rejected", "queue": "q"}]}, "given up by queue q (rejected)"),
    ],
)
def test_reasons_are_read_from_the_newest_death(headers: dict[str, object], expected: str) -> None:
    assert read_reason(headers).startswith(expected)


# --- somebody changed the broker -------------------------------------------------------------------------------------


async def test_a_queue_with_other_arguments_is_named_and_heals_when_it_is_gone(
    make: Opener, channel: aiormq.abc.AbstractChannel, caplog: pytest.LogCaptureFixture
) -> None:
    await channel.queue_declare(queue_name("email"), durable=True)
    queue = make()
    await queue.start()

    with pytest.raises(QueueUnavailableError, match="exists with other arguments"):
        await queue.publish([make_message(1)])
    assert "exists with other arguments" in caplog.text

    await channel.queue_delete(queue_name("email"))
    await until_answering(queue)
    await queue.publish([make_message(2)])


async def test_another_length_limit_is_another_argument(queue: RabbitQueue, make: Opener) -> None:
    other = make(max_bytes=DEFAULT_MAX_BYTES + 1)
    await other.start()
    with pytest.raises(QueueUnavailableError, match="max-length-bytes"):
        await other.publish([make_message(1)])


async def test_a_deleted_queue_is_declared_again(queue: RabbitQueue, channel: aiormq.abc.AbstractChannel) -> None:
    await queue.publish([make_message(1)])
    await queue.ack(await take(queue, 1))
    await channel.queue_delete(queue_name("email"))

    async with asyncio.timeout(60):
        while True:
            try:
                await queue.publish([make_message(2)])
                break
            except QueueUnavailableError:
                await asyncio.sleep(0.05)
    [got] = await take(queue, 1)
    assert got.receipt_id == "receipt-email-2"


@pytest.mark.fault
async def test_a_queue_that_does_not_answer_a_consumer_is_asked_again(
    make: Opener,
    rabbit_node: RabbitNode,
    unused_broker_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As one without a leader: the others are consumed meanwhile."""
    monkeypatch.setattr(lane, "_CONSUME_SECONDS", 0.5)
    monkeypatch.setattr(rabbitmq, "_AGAIN_SECONDS", 0.5)
    queue = make(url=unused_broker_url)
    await queue.start()
    await until_answering(queue)
    process = f"'{unused_broker_url.rpartition('/')[2]}_{queue_name('email')}'"
    await asyncio.to_thread(rabbit_node.ctl, "eval", f"sys:suspend({process}).")
    try:
        await queue.publish([make_message(1, channel="phone")])
        async with asyncio.timeout(20):
            [call] = await queue.consume(1)
            while queue._consume_link.trouble:
                await asyncio.sleep(0.05)
        assert call.receipt_id == "receipt-phone-1"
        await queue.ack([call])
        assert "frontdesk.inbound.email does not answer its consumer" in caplog.text
    finally:
        await asyncio.to_thread(rabbit_node.ctl, "eval", f"sys:resume({process}).")
    await queue.publish([make_message(1)])
    async with asyncio.timeout(60):
        [mail] = await queue.consume(1)
    assert mail.receipt_id == "receipt-email-1"
    await queue.ack([mail])


async def test_a_consumer_that_took_too_long_gets_its_messages_again(
    queue: RabbitQueue, channel: aiormq.abc.AbstractChannel
) -> None:
    """The broker closes one AMQP channel and keeps the connection; a wrong ack does the same at once."""
    await queue.publish([make_message(1)])
    [held] = await take(queue, 1)
    await held.tag.lane._channel.basic_ack(4711)  # unknown delivery tag: 406, channel closed

    [again] = await take(queue, 1)

    assert again.receipt_id == held.receipt_id
    await queue.ack([held, again])
    await until_depth(queue, lambda depth: depth.waiting == 0)


async def test_one_consumer_has_it_all_as_long_as_it_keeps_up(make: Opener) -> None:
    """Two small batches cost more than a large one; the other one takes what the first has no room for, or leaves."""
    pair = [make(prefetch=10, rank=rank) for rank in (1, 2)]
    second, first = pair
    for queue in pair:
        await queue.start()
        await until_answering(queue)
    looking = [asyncio.create_task(queue.consume(1)) for queue in pair]
    async with asyncio.timeout(60):
        while any(queue._consume_link.trouble for queue in pair):
            await asyncio.sleep(0.01)
    for number in range(30):
        await second.publish([make_message(number)])
        [got] = await (looking[1] if number == 0 else first.consume(1))
        assert got.receipt_id == f"receipt-email-{number}"
        await first.ack([got])
    assert not looking[0].done()

    await second.publish([make_message(number) for number in range(100, 112)])
    beyond = [*await looking[0], *await take(second, 1)]
    assert {delivery.receipt_id for delivery in beyond} == {"receipt-email-110", "receipt-email-111"}
    await second.ack(beyond)

    await first.close()
    assert {delivery.attempts for delivery in await take(second, 10)} == {1}


async def test_dead_letters_wait_in_a_queue_of_their_own(
    queue: RabbitQueue, channel: aiormq.abc.AbstractChannel
) -> None:
    await queue.publish([make_message(1)])
    for _ in range(11):
        await queue.release(await take(queue, 1))

    async with asyncio.timeout(60):
        while not (await channel.queue_declare(DEAD, passive=True)).message_count:
            await asyncio.sleep(0.05)

    [dead] = await take_dead(queue)
    await queue.ack([dead])
