"""RabbitMQ and the spool together: accepting goes on, nothing is lost, everything arrives in the end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

import pytest

from gateway.queues import failover
from gateway.queues.base import Delivered, Depth, Outgoing, QueueRefusedError, QueueSilentError, QueueUnavailableError
from gateway.queues.embedded import EmbeddedQueue
from gateway.queues.failover import FailoverQueue
from gateway.queues.rabbitmq import RabbitQueue
from gateway.queues.topology import queue_name
from tests.contract.backends import CHANNELS, make_message, take, until, until_answering
from tests.services.rabbitmq import RabbitNode

Opener = Callable[..., FailoverQueue]


class ScriptedBroker:
    """A primary that does as it is told: `answer` is an error to raise, or None to take the messages."""

    def __init__(self) -> None:
        self.answer: Exception | None = None
        self.refused: set[str] = set()
        self.silent: set[str] = set()
        self.hangs = False
        self.unspeakable = ""
        self.taken: list[Outgoing] = []
        self.asked = 0

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.answer is not None:
            raise self.answer
        if any(message.channel in self.silent for message in messages):
            await asyncio.sleep(0.05)  # others are confirmed meanwhile
            raise QueueSilentError("did not confirm")
        if any(message.receipt_id == self.unspeakable for message in messages):
            raise ValueError("routing key too long")
        for message in messages:
            if message.channel in self.refused:
                raise QueueRefusedError("full")
            self.taken.append(message)

    async def consume(self, limit: int, *, linger: float = 0.0) -> list[Delivered]:
        raise NotImplementedError

    async def ack(self, deliveries: Sequence[Delivered]) -> None:
        raise NotImplementedError

    async def release(self, deliveries: Sequence[Delivered], *, delay: float = 0.0) -> None:
        raise NotImplementedError

    async def consume_dead(self, limit: int) -> list[Delivered]:
        raise NotImplementedError

    async def depth(self) -> Depth:
        return Depth({}, {}, 0)

    async def ping(self) -> str:
        if self.hangs:
            await asyncio.Event().wait()
        if self.answer is not None:
            raise self.answer
        return "scripted"

    def ids(self) -> set[str]:
        return {message.receipt_id for message in self.taken}


@pytest.fixture
def broker() -> ScriptedBroker:
    return ScriptedBroker()


@pytest.fixture
async def opener(tmp_path: Path) -> AsyncIterator[Opener]:
    opened = []

    def make(primary: ScriptedBroker | RabbitQueue, **options: float) -> FailoverQueue:
        spool = EmbeddedQueue(tmp_path / "spool.db", min_free_bytes=int(options.pop("min_free_bytes", 1)))
        queue = FailoverQueue(primary, spool, **options)
        opened.append(queue)
        return queue

    yield make
    for queue in opened:
        await queue.close()


async def test_a_broker_that_answers_gets_everything(broker: ScriptedBroker, opener: Opener) -> None:
    queue = opener(broker)
    await queue.start()
    await queue.publish([make_message(1)])
    assert broker.ids() == {"receipt-email-1"}
    assert (await queue.depth()).spooled == 0
    assert not queue.spooling


@pytest.mark.parametrize("refusing", [("ack",), ("release",), ("ack", "release")])
async def test_a_spool_that_cannot_be_written_for_a_while_keeps_nothing_back(
    broker: ScriptedBroker, opener: Opener, refusing: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the drainer had in its hands when the disk refused is moved by it later, and not by its next life."""
    queue = opener(broker, deadline=0.2)
    spool: EmbeddedQueue = queue._spool
    refused = dict.fromkeys(refusing, 2)

    def refuse(name: str) -> None:
        do = getattr(spool, name)

        async def refusing(deliveries: Sequence[Delivered], **options: float) -> None:
            if deliveries and refused[name]:
                refused[name] -= 1
                raise QueueUnavailableError("disk I/O error")
            await do(deliveries, **options)

        monkeypatch.setattr(spool, name, refusing)

    for name in refusing:
        refuse(name)
    broker.answer = QueueUnavailableError("away")
    await queue.start()
    await queue.publish([make_message(number) for number in range(3)])
    if "release" in refusing:
        await until(lambda: _is_through(refused, "release"))
    broker.answer = None

    await until(lambda: _is_empty(queue))
    assert broker.ids() == {f"receipt-email-{number}" for number in range(3)}
    assert not any(refused.values())


async def test_after_one_failure_followers_do_not_ask(broker: ScriptedBroker, opener: Opener) -> None:
    broker.hangs = True
    queue = opener(broker, deadline=0.2)
    await queue.start()
    await queue.publish([make_message(1)])
    assert queue.spooling
    asked = broker.asked
    async with asyncio.timeout(5):  # a hundred deadlines would be 20 seconds
        await asyncio.gather(*(queue.publish([make_message(number)]) for number in range(2, 102)))
    assert broker.asked - asked < 5  # the drainer's own attempts
    assert await queue.spooled() == 101
    assert (await queue.depth()).spool == {"email": 101}


async def test_when_the_broker_answers_again_the_spool_is_emptied(broker: ScriptedBroker, opener: Opener) -> None:
    broker.answer = QueueUnavailableError("away")
    queue = opener(broker)
    await queue.start()
    await queue.publish([make_message(number) for number in range(500)])
    broker.answer = None

    await until(lambda: _is_empty(queue))

    assert broker.ids() == {f"receipt-email-{number}" for number in range(500)}
    assert not queue.spooling
    await queue.publish([make_message(1000)])
    assert "receipt-email-1000" in broker.ids()


async def test_what_a_former_life_spooled_is_moved(broker: ScriptedBroker, opener: Opener) -> None:
    broker.answer = QueueUnavailableError("away")
    first = opener(broker)
    await first.start()
    await first.publish([make_message(number) for number in range(3)])
    await first.close()
    broker.answer = None

    second = opener(broker)
    await second.start()
    await until(lambda: _is_empty(second))

    assert broker.ids() == {f"receipt-email-{number}" for number in range(3)}


async def test_an_outage_of_any_length_buries_nothing(
    broker: ScriptedBroker, opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every attempt of the drainer is a delivery of the spool; they say nothing about the message."""
    monkeypatch.setattr("gateway.queues.failover._FIRST_PAUSE", 0.001)
    monkeypatch.setattr("gateway.queues.failover._LONGEST_PAUSE", 0.002)
    broker.answer = QueueUnavailableError("away")
    queue = opener(broker)
    await queue.start()
    await queue.publish([make_message(1)])
    await until(lambda: _asked_often(broker, 40))
    broker.answer = None
    await until(lambda: _is_empty(queue))
    assert broker.ids() == {"receipt-email-1"}


async def test_a_full_queue_spools_its_own_channel_only(broker: ScriptedBroker, opener: Opener) -> None:
    broker.refused = {"email"}
    queue = opener(broker)
    await queue.start()
    await queue.publish([make_message(1)])
    assert not queue.spooling
    await queue.publish([make_message(2, channel="phone")])
    assert broker.ids() == {"receipt-phone-2"}
    assert await queue.spooled() == 1


async def test_a_full_queue_does_not_hold_up_the_drain_of_others(broker: ScriptedBroker, opener: Opener) -> None:
    broker.answer = QueueUnavailableError("away")
    queue = opener(broker)
    await queue.start()
    await queue.publish([make_message(number) for number in range(5)])
    await queue.publish([make_message(number, channel="phone") for number in range(5)])
    broker.refused = {"email"}
    broker.answer = None

    await until(lambda: _has_taken(broker, 5))

    assert broker.ids() == {f"receipt-phone-{number}" for number in range(5)}
    assert await queue.spooled() == 5


async def test_when_neither_takes_it_the_sender_is_told(broker: ScriptedBroker, opener: Opener) -> None:
    broker.answer = QueueUnavailableError("away")
    queue = opener(broker, min_free_bytes=1 << 60)
    await queue._spool.start()
    with pytest.raises(QueueUnavailableError, match="MiB free"):
        await queue.publish([make_message(1)])


async def test_an_open_breaker_closes_even_with_nothing_spooled(broker: ScriptedBroker, opener: Opener) -> None:
    broker.answer = QueueUnavailableError("away")
    queue = opener(broker)
    await queue.start()
    queue._breaker.fail(QueueUnavailableError("away"))
    broker.answer = None
    await until(lambda: _is_closed_again(queue))


async def test_an_unexpected_error_does_not_end_the_drainer(
    broker: ScriptedBroker, opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.queues.failover._REFUSED_PAUSE", 0.01)
    broker.answer = QueueUnavailableError("away")
    queue = opener(broker)
    await queue.start()
    await queue.publish([make_message(1)])
    broker.answer = ZeroDivisionError("a bug")
    asked = broker.asked
    await until(lambda: _asked_often(broker, asked + 2))
    broker.answer = None
    await until(lambda: _is_empty(queue))


async def test_closing_ends_the_drainer_whose_cancellation_the_broker_kept(
    broker: ScriptedBroker, opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    met = asyncio.Event()

    async def publish(_messages: Sequence[Outgoing]) -> None:
        met.set()
        with contextlib.suppress(asyncio.CancelledError):  # the confirm came at the same moment
            await asyncio.Event().wait()

    former = opener(broker)
    broker.answer = QueueUnavailableError("away")
    await former.start()
    await former.publish([make_message(1)])
    await former.close()
    monkeypatch.setattr(broker, "publish", publish)
    queue = opener(broker)
    await queue.start()
    await met.wait()
    async with asyncio.timeout(10):
        await queue.close()


async def test_a_message_that_cannot_be_published_does_not_hold_up_its_neighbours(
    broker: ScriptedBroker, opener: Opener
) -> None:
    broker.answer = QueueUnavailableError("away")
    broker.unspeakable = "receipt-email-0"
    queue = opener(broker)
    await queue.start()
    await queue.publish([make_message(number) for number in range(20)])
    broker.answer = None

    await until(lambda: _has_taken(broker, 19))

    assert await queue.spooled() == 1
    assert broker.ids() == {f"receipt-email-{number}" for number in range(1, 20)}


async def test_what_cannot_be_said_holds_up_none_of_those_claimed_with_it(
    broker: ScriptedBroker, opener: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a restart, when a whole batch is claimed at once."""
    monkeypatch.setattr(failover, "_REFUSED_PAUSE", 0.1)
    former = EmbeddedQueue(tmp_path / "spool.db", min_free_bytes=1)
    await former.start()
    await former.publish([make_message(number) for number in range(20)])
    await former.close()
    broker.unspeakable = "receipt-email-7"
    queue = opener(broker)
    await queue.start()

    await until(lambda: _has_taken(broker, 19))

    assert await queue.spooled() == 1
    assert broker.ids() == {f"receipt-email-{number}" for number in range(20) if number != 7}


async def test_a_queue_that_stands_still_keeps_only_its_own_channel(
    broker: ScriptedBroker, opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether senders find out or the drainer does: what it takes for the others is taken at once."""
    monkeypatch.setattr(failover, "_SILENT_PAUSE", 0.3)
    broker.answer = QueueUnavailableError("away")
    queue = opener(broker)
    await queue.start()
    await queue.publish(
        [make_message(number, channel=channel) for channel in ("form", "email") for number in range(300)]
    )
    broker.silent = {"form"}
    broker.answer = None

    await until(lambda: _has_taken(broker, 300))
    assert {message.channel for message in broker.taken} == {"email"}
    assert await queue.spooled() == 300
    assert not queue.spooling, "new mail does not wait"
    await queue.publish([make_message(1000, channel="email")])
    assert "receipt-email-1000" in broker.ids()
    asked = broker.asked
    await queue.publish([make_message(1000, channel="form")])
    assert broker.asked == asked, "nobody waits for a queue that is known to stand still"

    broker.silent = set()
    await until(lambda: _is_empty(queue))
    assert {message.channel for message in broker.taken} == {"email", "form"}
    assert len(broker.ids()) == 602
    await queue.publish([make_message(1001, channel="form")])
    assert await queue.spooled() == 0


async def test_others_were_confirmed_meanwhile(broker: ScriptedBroker, opener: Opener) -> None:
    """So it is that queue and not the broker."""
    broker.silent = {"form"}
    queue = opener(broker)
    await queue.start()
    await asyncio.gather(*(queue.publish([make_message(1, channel=channel)]) for channel in ("form", "email")))
    assert broker.ids() == {"receipt-email-1"}
    assert await queue.spooled() == 1
    assert not queue.spooling


async def test_silence_ends_when_there_is_nothing_to_ask_with(broker: ScriptedBroker, opener: Opener) -> None:
    """A full disk refuses what comes by that channel; as soon as the queue confirms it is taken again."""
    broker.silent = {"form"}
    queue = opener(broker, min_free_bytes=1 << 60)
    await queue.start()

    async def publish(channel: str) -> None:
        with contextlib.suppress(QueueUnavailableError):
            await queue.publish([make_message(1, channel=channel)])

    await asyncio.gather(publish("form"), publish("email"))
    assert broker.ids() == {"receipt-email-1"}
    broker.silent = set()

    async def is_taken() -> bool:
        await publish("form")
        return "receipt-form-1" in broker.ids()

    await until(is_taken)


async def _is_empty(queue: FailoverQueue) -> bool:
    return await queue.spooled() == 0


async def _is_through(refused: Mapping[str, int], name: str) -> bool:
    return not refused[name]


async def _has_spooled(queue: FailoverQueue, count: int) -> bool:
    return await queue.spooled() == count


async def _is_closed_again(queue: FailoverQueue) -> bool:
    return not queue.spooling


async def _asked_often(broker: ScriptedBroker, times: int) -> bool:
    return broker.asked >= times


async def _has_taken(broker: ScriptedBroker, count: int) -> bool:
    return len(broker.taken) >= count


# --- a real broker ---------------------------------------------------------------------------------------------------


@pytest.mark.rabbitmq
@pytest.mark.fault
async def test_a_killed_broker_is_not_noticed_by_senders(
    rabbit_node: RabbitNode, unused_broker_url: str, opener: Opener
) -> None:
    """Accepting goes on through the kill; when the broker is back everything accepted is there, without help."""
    queue = opener(RabbitQueue(unused_broker_url, channels=CHANNELS))
    await queue.start()
    await until_answering(queue)
    accepted = set()

    async def publish(first: int, count: int) -> None:
        for number in range(first, first + count):
            await queue.publish([make_message(number)])
            accepted.add(f"receipt-email-{number}")

    await publish(0, 30)
    publishing = asyncio.create_task(publish(100, 60))
    await asyncio.to_thread(rabbit_node.kill)
    try:
        await publishing
        await publish(1000, 60)
        assert await queue.spooled() >= 60
    finally:
        await asyncio.to_thread(rabbit_node.start)

    stored: set[str] = set()
    async with asyncio.timeout(100):
        while not accepted <= stored:
            batch = await queue.consume(100)
            stored.update(delivery.receipt_id for delivery in batch)
            await queue.ack(batch)
    await until(lambda: _is_empty(queue))
    assert accepted == stored
    assert not queue.spooling


@pytest.mark.rabbitmq
@pytest.mark.fault
async def test_a_frozen_broker_blocks_nobody_beyond_the_deadline(
    rabbit_node: RabbitNode, broker_url: str, opener: Opener
) -> None:
    """Fifty senders at once, then fifty more: the first wait for the deadline, the others for an fsync."""
    queue = opener(RabbitQueue(broker_url, channels=CHANNELS), deadline=1.0)
    await queue.start()
    await until_answering(queue)
    rabbit_node.freeze()
    try:
        async with asyncio.timeout(50):  # a deadline each would take a hundred seconds
            await asyncio.gather(*(queue.publish([make_message(number)]) for number in range(50)))
            for number in range(50, 100):
                await queue.publish([make_message(number)])
        assert await queue.spooled() >= 99
    finally:
        rabbit_node.thaw()

    wanted = {f"receipt-email-{number}" for number in range(100)}
    stored: set[str] = set()
    async with asyncio.timeout(100):
        while not wanted <= stored:
            batch = await queue.consume(100)
            stored.update(delivery.receipt_id for delivery in batch)
            await queue.ack(batch)
    assert stored == wanted


@pytest.mark.rabbitmq
async def test_a_broker_that_comes_later_gets_what_was_spooled_meanwhile(
    rabbit_node: RabbitNode, broker_url: str, opener: Opener, free_port: int
) -> None:
    away = opener(RabbitQueue(f"amqp://guest:guest@127.0.0.1:{free_port}/", channels=CHANNELS))
    await away.start()
    await away.publish([make_message(number) for number in range(5)])
    await away.close()

    queue = opener(RabbitQueue(broker_url, channels=CHANNELS))
    await queue.start()

    assert len({delivery.receipt_id for delivery in await take(queue, 5)}) == 5


@pytest.mark.rabbitmq
@pytest.mark.fault
async def test_one_queue_of_the_broker_stands_still(
    rabbit_node: RabbitNode, unused_broker_url: str, opener: Opener
) -> None:
    """The others go on, through the broker; what came by its channel arrives when it answers again."""
    queue = opener(RabbitQueue(unused_broker_url, channels=CHANNELS, publish_timeout=1.0))
    await queue.start()
    await until_answering(queue)
    await queue.publish([make_message(0, channel="phone")])
    await queue.ack(await take(queue, 1))
    process = f"'{unused_broker_url.rpartition('/')[2]}_{queue_name('email')}'"
    await asyncio.to_thread(rabbit_node.ctl, "eval", f"sys:suspend({process}).")
    try:
        await queue.publish([make_message(number) for number in range(3)])
        await queue.publish([make_message(number, channel="phone") for number in range(1, 4)])
        calls = await take(queue, 3)
        assert {delivery.channel for delivery in calls} == {"phone"}
        await until(lambda: _is_closed_again(queue))
        await until(lambda: _has_spooled(queue, 3))
    finally:
        await asyncio.to_thread(rabbit_node.ctl, "eval", f"sys:resume({process}).")
    await queue.ack(calls)
    mails = await take(queue, 3)
    assert {delivery.receipt_id for delivery in mails} == {f"receipt-email-{number}" for number in range(3)}
    await queue.ack(mails)
