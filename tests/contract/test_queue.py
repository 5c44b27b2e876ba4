"""What every queue promises (`gateway.queues.base`), on the embedded file, on RabbitMQ, and on both together."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.queues.base import DELIVERY_LIMIT, MOST_BYTES, Delivered, Queue, QueueUnavailableError
from tests.contract.backends import (
    PATIENCE,
    Backend,
    EmbeddedBackend,
    FailoverBackend,
    RabbitBackend,
    make_message,
    take,
    take_dead,
    until_depth,
)

BACKENDS = (
    "embedded",
    pytest.param("rabbitmq", marks=pytest.mark.rabbitmq),
    pytest.param("failover", marks=pytest.mark.rabbitmq),
)


@pytest.fixture(params=BACKENDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    path = tmp_path / "queue" / "messages.db"
    if request.param == "embedded":
        return EmbeddedBackend(path)
    url: str = request.getfixturevalue("broker_url")
    return RabbitBackend(url) if request.param == "rabbitmq" else FailoverBackend(url, path)


@pytest.fixture
async def backend(place: Backend) -> AsyncIterator[Backend]:
    yield place
    await place.close()


@pytest.fixture
async def queue(backend: Backend) -> Queue:
    return await backend.open()


async def test_a_message_arrives_as_it_was_published(queue: Queue) -> None:
    sent = make_message(1, body="ünïcode and \x00 bytes".encode() + bytes(range(256)))
    await queue.publish([sent])

    [got] = await take(queue, 1)

    assert got.body == sent.body
    assert (got.type, got.receipt_id, got.channel, got.inbox) == (sent.type, sent.receipt_id, "email", "support")
    assert got.traceparent == sent.traceparent
    assert (got.attempts, got.reason) == (0, "")


async def test_a_large_message_arrives_whole(queue: Queue) -> None:
    body = random.Random(1).randbytes(3 << 20)
    await queue.publish([make_message(body=body)])
    [got] = await take(queue, 1)
    assert got.body == body


async def test_nothing_published_is_nothing_done(queue: Queue) -> None:
    await queue.publish([])
    await queue.ack([])
    await queue.release([])
    assert (await queue.depth()).waiting == 0


async def test_what_was_published_survives_its_publisher(backend: Backend) -> None:
    publisher = await backend.open()
    await publisher.publish([make_message(number) for number in range(20)])
    await publisher.close()

    got = await take(await backend.open(), 20)

    assert sorted(delivery.receipt_id for delivery in got) == sorted(f"receipt-email-{n}" for n in range(20))


async def test_messages_of_a_channel_come_in_order(queue: Queue) -> None:
    for number in range(30):
        await queue.publish([make_message(number)])
    got = await take(queue, 30)
    assert [delivery.receipt_id for delivery in got] == [f"receipt-email-{number}" for number in range(30)]


async def test_what_a_consumer_abandons_is_delivered_again(backend: Backend) -> None:
    first = await backend.open()
    await first.publish([make_message(number) for number in range(5)])
    assert len(await take(first, 5)) == 5
    await first.close()

    again = await take(await backend.open(), 5)

    assert {delivery.attempts for delivery in again} == {1}


async def test_what_is_acked_is_forgotten(backend: Backend) -> None:
    first = await backend.open()
    await first.publish([make_message(number) for number in range(5)])
    got = await take(first, 5)
    await first.ack(got[:3])
    await first.close()

    second = await backend.open()
    again = await take(second, 2)
    await second.ack(again)

    assert {delivery.receipt_id for delivery in again} == {delivery.receipt_id for delivery in got[3:]}
    await until_depth(second, lambda depth: depth.waiting == 0)


async def test_acks_in_any_order_forget_exactly_what_they_name(backend: Backend) -> None:
    """A broker's `multiple` flag acknowledges everything older too, if used carelessly."""
    first = await backend.open()
    await first.publish([make_message(number) for number in range(60)])
    got = await take(first, 60)
    keep = {3, 17, 18, 40, 59}
    shuffled = [delivery for number, delivery in enumerate(got) if number not in keep]
    random.Random(7).shuffle(shuffled)
    for start in range(0, len(shuffled), 10):
        await first.ack(shuffled[start : start + 10])
    await first.close()

    again = await take(await backend.open(), len(keep))

    assert {delivery.receipt_id for delivery in again} == {got[number].receipt_id for number in keep}


async def test_an_ack_may_be_repeated_or_late(backend: Backend) -> None:
    first = await backend.open()
    await first.publish([make_message(1), make_message(2)])
    got = await take(first, 2)
    await first.ack(got)
    await first.ack(got)
    await first.release(got)
    await first.publish([make_message(3)])

    [third] = await take(first, 1)

    assert third.receipt_id == "receipt-email-3"


async def test_a_release_with_a_delay_comes_back_after_it(queue: Queue) -> None:
    await queue.publish([make_message(1), make_message(2)])
    early, other = await take(queue, 2)
    loop = asyncio.get_running_loop()
    released = loop.time()
    await queue.release([early], delay=0.4)
    await queue.ack([other])

    [again] = await take(queue, 1)

    assert loop.time() - released >= 0.35
    assert (again.receipt_id, again.attempts) == (early.receipt_id, 1)


async def test_channels_take_turns(backend: Backend) -> None:
    """Three hundred waiting mails do not keep a caller waiting."""
    queue = await backend.open()
    await queue.publish([make_message(number) for number in range(300)])
    await queue.publish([make_message(number, channel="phone") for number in range(3)])
    [first] = await take(queue, 1)
    await backend.until_handed_over(queue, 303)

    batch = await take(queue, 6)

    assert Counter(delivery.channel for delivery in [first, *batch])["phone"] == 3


async def test_a_batch_lingers_for_more(queue: Queue) -> None:
    consuming = asyncio.create_task(queue.consume(2, linger=PATIENT_LINGER))
    await queue.publish([make_message(1)])
    await queue.publish([make_message(2)])
    async with asyncio.timeout(10):
        assert len(await consuming) == 2


PATIENT_LINGER = 8.0  # a batch that is full does not wait for its end


async def test_a_batch_does_not_linger_for_ever(queue: Queue) -> None:
    await queue.publish([make_message(1)])
    async with asyncio.timeout(10):
        assert len(await queue.consume(2, linger=0.05)) == 1


async def test_large_bodies_fill_a_batch(backend: Backend) -> None:
    """Whoever records it holds a few of them at once, and not as many as its limit."""
    queue = await backend.open()
    bodies = [bytes([number]) * (MOST_BYTES // 2 - 1) for number in range(7)]
    for number, body in enumerate(bodies):
        await queue.publish([make_message(number, body=body)])
    await until_depth(queue, lambda depth: depth.ready["email"] == len(bodies))

    came: list[Delivered] = []
    sizes = []
    while len(came) < len(bodies):
        batch = await queue.consume(100, linger=0.5)
        came += batch
        sizes.append(len(batch))
        await queue.ack(batch)

    assert [delivery.body == body for delivery, body in zip(came, bodies, strict=True)] == [True] * len(bodies)
    assert {delivery.attempts for delivery in came} == {0}
    assert max(sizes) == 3, "two leave room for another one"
    assert (await queue.depth()).waiting == 0


async def test_a_cancelled_consumer_takes_nothing_along(queue: Queue) -> None:
    """Neither while it waits nor while it lingers with half a batch."""
    for pause in (0.0, 0.001, 0.02, 0.1):
        consuming = asyncio.create_task(queue.consume(5, linger=30))
        await asyncio.sleep(pause)
        await queue.publish([make_message(1)])
        await asyncio.sleep(pause)
        consuming.cancel()
        await asyncio.gather(consuming, return_exceptions=True)
        [got] = await take(queue, 1)
        await queue.ack([got])


async def test_consumers_that_are_cut_off_at_any_moment_lose_nothing(queue: Queue) -> None:
    """A busy loop lets a result and the cancellation of whoever waits for it come in one turn."""
    dice = random.Random(20261123)
    wanted = 300

    async def publish() -> None:
        for number in range(wanted):
            await queue.publish([make_message(number)])
            await asyncio.sleep(dice.uniform(0, 0.004))
            if dice.random() < 0.2:
                time.sleep(0.003)  # on purpose: nothing else runs meanwhile

    publishing = asyncio.create_task(publish())
    came: list[Delivered] = []
    async with asyncio.timeout(PATIENCE):
        while len(came) < wanted:
            batch: list[Delivered] = []
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(dice.uniform(0.001, 0.01)):
                    batch = await queue.consume(100)
            await queue.ack(batch)
            came += batch
    await publishing

    assert {delivery.receipt_id for delivery in came} == {f"receipt-email-{number}" for number in range(wanted)}
    assert {delivery.attempts for delivery in came} == {0}, "what nobody has seen was not delivered"
    await until_depth(queue, lambda depth: depth.waiting == 0)


async def test_dead_letters_come_back_from_whoever_was_cut_off(queue: Queue) -> None:
    dice = random.Random(20261123)
    await queue.publish([make_message(number) for number in range(5)])
    for _ in range(DELIVERY_LIMIT + 1):
        await queue.release(await take(queue, 5))
    await until_depth(queue, lambda depth: depth.dead == 5)

    for _ in range(20):
        letters: list[Delivered] = []
        with contextlib.suppress(TimeoutError, QueueUnavailableError):
            async with asyncio.timeout(dice.uniform(0, 0.01)):
                letters = await queue.consume_dead(5)
        await queue.release(letters)

    assert len({letter.receipt_id for letter in await take_dead(queue, 5)}) == 5


async def test_poison_ends_among_the_dead_and_delays_nobody(queue: Queue) -> None:
    await queue.publish([make_message(1, body=b"poison")])
    deliveries = 0
    while deliveries <= DELIVERY_LIMIT:
        [poison] = await take(queue, 1)
        assert poison.attempts == deliveries
        deliveries += 1
        await queue.release([poison])
    await queue.publish([make_message(2, body=b"good")])

    [good] = await take(queue, 1)
    [dead] = await take_dead(queue)

    assert good.body == b"good"
    assert (dead.body, dead.receipt_id, dead.channel) == (b"poison", "receipt-email-1", "email")
    assert f"delivered more than {DELIVERY_LIMIT} times" in dead.reason
    assert (await queue.depth()).dead == 1
    await queue.ack([good, dead])
    await until_depth(queue, lambda depth: depth.dead == 0 and depth.waiting == 0)


async def test_a_dead_letter_that_nobody_keeps_stays_one(backend: Backend) -> None:
    first = await backend.open()
    await first.publish([make_message(1)])
    for _ in range(DELIVERY_LIMIT + 1):
        await first.release(await take(first, 1))
    await take_dead(first)
    await first.close()

    second = await backend.open()
    [dead] = await take_dead(second)
    assert dead.receipt_id == "receipt-email-1"
    await second.release([dead])

    assert len(await take_dead(second)) == 1


async def test_depth_tells_what_is_where(queue: Queue) -> None:
    await queue.publish([make_message(number) for number in range(4)])
    await queue.publish([make_message(1, channel="phone")])
    await until_depth(queue, lambda depth: {k: v for k, v in depth.ready.items() if v} == {"email": 4, "phone": 1})

    got = await take(queue, 5)
    await until_depth(queue, lambda depth: sum(depth.ready.values()) == 0 and depth.unacked == 5)
    await queue.ack(got[:2])

    await until_depth(queue, lambda depth: depth.unacked == 3 and depth.waiting == 3)


async def test_a_closed_queue_says_so(queue: Queue) -> None:
    await queue.close()
    with pytest.raises(QueueUnavailableError, match="closed"):
        await queue.publish([make_message()])


async def test_many_producers_and_consumers_lose_nothing_and_invent_nothing(backend: Backend) -> None:
    """Total-queue check: consumers ack, release and vanish at random; in the end everything acked was published."""
    dice = random.Random(20261121)
    sent: set[str] = set()
    recorded: set[str] = set()
    publishers = [await backend.open() for _ in range(2)]

    async def produce(number: int) -> None:
        for step in range(0, 60, 3):
            batch = [make_message(number * 1000 + step + k, channel=dice.choice(["email", "phone"])) for k in range(3)]
            await publishers[number % 2].publish(batch)
            sent.update(message.receipt_id for message in batch)

    async def work() -> None:
        # Two lives each: a consumer that goes away gives back everything a broker had pushed to it, which counts as a
        # delivery too, and eleven of them bury a message.
        for batches in (6, 1_000_000):
            queue = await backend.open()
            for _ in range(batches):
                batch = await queue.consume(dice.randint(1, 20), linger=0.005)
                dice.shuffle(batch)
                kept = [delivery for delivery in batch if dice.random() < 0.9]
                recorded.update(delivery.receipt_id for delivery in kept)
                await queue.ack(kept)
                await queue.release([delivery for delivery in batch if delivery not in kept], delay=0.01)
            await queue.close()

    async with asyncio.timeout(60):
        workers = [asyncio.create_task(work()) for _ in range(3)]
        await asyncio.gather(*(produce(number) for number in range(5)))
        while not sent <= recorded:
            await asyncio.sleep(0.02)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    assert recorded == sent
    assert len(sent) == 300
