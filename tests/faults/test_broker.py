"""RabbitMQ in trouble while customers of five channels send: what the doors say, and what is there in the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import aiormq
import pytest

from gateway.queues.topology import DEAD, INBOUND, queue_name
from gateway.runtime import QUEUE_CHANNELS
from tests.faults.checking import check, settle
from tests.faults.customers import Crowd
from tests.faults.desk import Desk, Member, until
from tests.faults.journal import Journal
from tests.faults.probing import ask, post_form
from tests.faults.proxy import Relay
from tests.services.postgres import PostgresCluster
from tests.services.rabbitmq import RabbitNode

pytestmark = [
    pytest.mark.fault,
    pytest.mark.chaos,
    pytest.mark.rabbitmq,
    pytest.mark.postgres,
    pytest.mark.timeout(400),
]


@pytest.fixture
async def desk(tmp_path: Path, broker: RabbitNode, database: PostgresCluster) -> AsyncIterator[Desk]:
    """One gateway and one worker, not started: a test may put something in their way first."""
    url = await asyncio.to_thread(database.create_database, f"faults_{uuid4().hex[:12]}")
    desk = Desk(tmp_path, queue_url=await asyncio.to_thread(broker.desk_url), store_url=url)
    desk.add("gateway", "serve")
    desk.add("worker", "work")
    yield desk
    await desk.close()


def queue_url(desk: Desk) -> str:
    return desk.members["worker"].environment["FRONTDESK_QUEUE_URL"]


def vhost(desk: Desk) -> str:
    return queue_url(desk).rpartition("/")[2]


@contextlib.asynccontextmanager
async def relayed(desk: Desk, *names: str, delay: float = 0.0, rate: int = 0) -> AsyncIterator[Relay]:
    """A relay between these members, which are not running yet, and the broker."""
    direct = queue_url(desk)
    port = re.search(r"127\.0\.0\.1:(\d+)", direct)
    assert port is not None
    async with Relay(int(port[1]), delay=delay, rate=rate) as relay:
        for name in names:
            desk.members[name].environment["FRONTDESK_QUEUE_URL"] = direct.replace(port[0], f"127.0.0.1:{relay.port}")
        yield relay
        for name in names:
            desk.members[name].environment["FRONTDESK_QUEUE_URL"] = direct


async def spooled(desk: Desk) -> int:
    """What the gateway says it keeps for the broker; -1 while it cannot tell because the broker is away."""
    answer = json.loads((await ask(desk.gates[0], "/readyz")).text)
    return int(answer.get("spooled", -1))


async def spool_empty(desk: Desk, *, within: float = 60.0) -> None:
    async with asyncio.timeout(within):
        while await spooled(desk):
            await asyncio.sleep(0.2)


def count(member: Member, words: str) -> int:
    return member.said().count(words)


@contextlib.asynccontextmanager
async def administering(desk: Desk) -> AsyncIterator[aiormq.abc.AbstractChannel]:
    """A channel of our own, past every relay."""
    async with aiormq.connect(queue_url(desk)) as connection:
        yield await connection.channel()


async def test_the_broker_is_away_for_a_minute(desk: Desk, broker: RabbitNode, journal: Journal) -> None:
    """F10: killed under load; every door goes on accepting."""
    await desk.start()
    async with Crowd(desk.gates, journal, each=1) as crowd:
        await crowd.hear(10)
        await crowd.go_on(5)  # RabbitMQ 3.10 forgets who leads a queue that was declared moments before it is killed
        await asyncio.to_thread(broker.kill)
        for _ in range(12):
            await crowd.hear(5)
            await crowd.go_on(4)
        assert (await ask(desk.gates[0], "/readyz")).status == 200
        await asyncio.to_thread(broker.start)
        await crowd.hear(10)
    await check(desk, journal, at_least=80)


async def test_the_broker_comes_later_than_the_gateway(desk: Desk, journal: Journal) -> None:
    """F11: nothing listens where it should be; the gateway is ready, accepts, and forwards once it is there."""
    async with relayed(desk, "gateway", "worker") as relay:
        relay.refuse()
        for member in desk.members.values():
            await asyncio.to_thread(member.start, wait=member.gate is not None)
        async with Crowd(desk.gates, journal, each=1) as crowd:
            await crowd.hear(10)
            assert (await ask(desk.gates[0], "/readyz")).status == 200
            relay.welcome()
            await crowd.hear(10)
        await check(desk, journal, at_least=20)


async def test_the_broker_is_frozen_for_a_minute(desk: Desk, broker: RabbitNode, journal: Journal) -> None:
    """F12: what was published into the silence may arrive later, a second time; it is recognised."""
    await desk.start()
    async with Crowd(desk.gates, journal, each=1) as crowd:
        await crowd.hear(10)
        await asyncio.to_thread(broker.freeze)
        for _ in range(12):
            await crowd.hear(5)
            await crowd.go_on(4)
        await asyncio.to_thread(broker.thaw)
        await crowd.hear(10)
    await check(desk, journal, at_least=80)


@pytest.mark.parametrize(
    ("alarm", "relief"),
    [
        (("set_disk_free_limit", "900GB"), ("set_disk_free_limit", "50MB")),
        (("set_vm_memory_high_watermark", "absolute", "1MB"), ("set_vm_memory_high_watermark", "absolute", "1GB")),
    ],
    ids=["disk", "memory"],
)
async def test_an_alarm_of_the_broker(
    alarm: tuple[str, ...], relief: tuple[str, ...], desk: Desk, broker: RabbitNode, journal: Journal
) -> None:
    """F13, F14: publishers are blocked and spool; what was queued before is consumed, over the other connection."""
    await desk.start()
    worker = desk.members["worker"]
    async with Crowd(desk.gates, journal, each=1) as crowd:
        await crowd.hear(10)
        worker.kill()  # so that something is queued when the alarm goes off
        await crowd.hear(20)
        before = dict(journal.acknowledged)
        await asyncio.to_thread(broker.ctl, *alarm)
        try:
            await crowd.hear(10)
            await asyncio.to_thread(worker.start)
            await settle_these(desk, journal, before)
            for _ in range(5):
                await crowd.hear(5)
                await crowd.go_on(2)
        finally:
            await asyncio.to_thread(broker.ctl, *relief)
        await crowd.hear(10)
    await check(desk, journal, at_least=60)


async def settle_these(desk: Desk, journal: Journal, which: dict[object, str]) -> None:
    """Until these, which were acknowledged before the fault, are stored."""
    with Journal(desk.folder / f"part-{uuid4().hex[:6]}") as part:
        part.attempted = dict(journal.attempted)
        part.words = journal.words
        part.acknowledged = dict(which)  # type: ignore[arg-type]
        balance = await settle(desk, part)
    assert not balance.lost, balance


async def test_a_full_queue(desk: Desk, broker: RabbitNode, journal: Journal) -> None:
    """F15: the broker refuses more than ten; the rest stays in the spool until there is room."""
    await desk.start()
    desk.members["worker"].kill()
    rule = json.dumps({"max-length": 10, "overflow": "reject-publish"})
    await asyncio.to_thread(broker.ctl, "set_policy", "-p", vhost(desk), "short", "^frontdesk.inbound", rule)
    for number in range(60):
        assert (await post_form(desk.gates[0], f"full-{number}", journal=journal)).status == 201
    assert await spooled(desk) > 10
    await asyncio.to_thread(desk.members["worker"].start)
    await check(desk, journal, at_least=60)


async def test_a_queue_is_deleted_while_it_is_used(desk: Desk, broker: RabbitNode, journal: Journal) -> None:
    """F16: said aloud, declared again, nothing accepted from then on is lost. What lay in it is gone with it."""
    await desk.start()
    gateway, worker = desk.members["gateway"], desk.members["worker"]
    await post_form(desk.gates[0], "before", journal=journal)
    await settle(desk, journal)
    worker.kill()
    for kind in ("form", "email"):
        await asyncio.to_thread(broker.ctl, "delete_queue", "-p", vhost(desk), queue_name(kind))
    async with Crowd(desk.gates, journal, each=1) as crowd:
        await crowd.hear(20)
        await asyncio.to_thread(worker.start)
        for kind in ("form", "chat"):
            await asyncio.to_thread(broker.ctl, "delete_queue", "-p", vhost(desk), queue_name(kind))
            await crowd.hear(10)
        worker.check()
    assert "was its queue deleted?" in worker.said()
    assert "is its binding gone?" in gateway.said()
    await spool_empty(desk)
    # With a worker at its end a queue is all but empty: what the broker confirmed in the moment before it was deleted
    # is lost, and the audit says so. Everything else has to be there.
    balance = await settle(desk, journal)
    assert len(balance.lost) <= 8, balance
    assert not (balance.doubled or balance.unexpected), balance


@pytest.mark.parametrize("how", ["permissions", "password"])
async def test_the_user_may_do_nothing_any_more(how: str, desk: Desk, broker: RabbitNode, journal: Journal) -> None:
    """F17: accepted into the spool, tried again at leisure and not in a hot loop, said in a sentence, and healed."""
    name, user, password = vhost(desk), f"user{uuid4().hex[:8]}", uuid4().hex
    await asyncio.to_thread(broker.ctl, "add_user", user, password)
    everything = ("set_permissions", "-p", name, user, ".*", ".*", ".*")
    await asyncio.to_thread(broker.ctl, *everything)
    for member in desk.members.values():
        url = re.sub(r"//[^@]*@", f"//{user}:{password}@", member.environment["FRONTDESK_QUEUE_URL"])
        member.environment["FRONTDESK_QUEUE_URL"] = url
    async with relayed(desk, "gateway", "worker") as relay:
        await desk.start()
        gateway = desk.members["gateway"]
        async with Crowd(desk.gates, journal, each=1) as crowd:
            await crowd.hear(10)
            if how == "permissions":
                await asyncio.to_thread(broker.ctl, "clear_permissions", "-p", name, user)
            else:
                await asyncio.to_thread(broker.ctl, "change_password", user, uuid4().hex)
            relay.cut()  # a connection keeps the rights it was opened with
            await crowd.hear(5)
            tries, begun = relay.connections, time.monotonic()
            await crowd.go_on(15)
            rate = (relay.connections - tries) / (time.monotonic() - begun)
            assert rate < 3, f"{rate:.1f} connections a second"
            assert password not in gateway.said()
            refusals = ("refused the user name", "refuses this user the virtual host")
            assert any(words in gateway.said() for words in refusals), gateway.said()[-3000:]
            if how == "permissions":
                await asyncio.to_thread(broker.ctl, *everything)
            else:
                await asyncio.to_thread(broker.ctl, "change_password", user, password)
            await crowd.hear(10)
        await check(desk, journal, at_least=25)


async def test_queues_are_there_with_other_arguments(desk: Desk, journal: Journal) -> None:
    """F18: another team declared them as classic queues. Said clearly; intake goes on; it heals when they are gone."""
    async with administering(desk) as channel:
        await channel.queue_declare(queue_name("form"), durable=True)
    gateway, worker = desk.members["gateway"], desk.members["worker"]
    await asyncio.to_thread(gateway.start)
    await asyncio.to_thread(worker.start, wait=False)
    async with Crowd(desk.gates, journal, each=1) as crowd:
        await crowd.hear(10)
        await until(lambda: "exists with other arguments" in gateway.said(), timeout=10, what="a clear word")
        gateway.check()
        worker.check()
        async with administering(desk) as channel:
            await channel.queue_delete(queue_name("form"))
        await crowd.hear(10)
    await check(desk, journal, at_least=20)


async def test_connections_break_at_any_byte(desk: Desk, journal: Journal, dice: random.Random) -> None:
    """F19: in the middle of frames, of headers, of acks, thirty times."""
    async with relayed(desk, "gateway", "worker") as relay:
        await desk.start()
        async with Crowd(desk.gates, journal, each=1, pause=0.02) as crowd:
            for _ in range(30):
                relay.cut_after(dice.randint(1, 30_000))
                await crowd.hear(2)
                await crowd.go_on(0.2)
        await check(desk, journal, at_least=60)


async def test_packets_vanish_without_a_word(desk: Desk, journal: Journal) -> None:
    """F20: the cable is pulled for ninety seconds. Heartbeats notice within forty; nobody at a door waits for that."""
    async with relayed(desk, "gateway", "worker") as relay:
        await desk.start()
        gateway, worker = desk.members["gateway"], desk.members["worker"]
        async with Crowd(desk.gates, journal, each=1) as crowd:
            await crowd.hear(10)
            relay.darken()
            lost = "trying again"
            before = count(worker, lost), count(gateway, lost)
            await crowd.hear(10)
            deadline = time.monotonic() + 40
            while count(worker, lost) == before[0] or count(gateway, lost) == before[1]:
                assert time.monotonic() < deadline, "half-open connections were not noticed in forty seconds"
                await crowd.go_on(1)
            await crowd.go_on(30)
            relay.lighten()
            await crowd.hear(10)
        await check(desk, journal, at_least=40)


async def test_a_slow_line_to_the_broker(desk: Desk, journal: Journal) -> None:
    """F21: 1 Mbit/s and 400 ms there and back: slower, and no storm of duplicates."""
    async with relayed(desk, "gateway", "worker", delay=0.2, rate=125_000) as relay:
        await desk.start()
        async with Crowd(desk.gates, journal, each=1) as crowd:
            await crowd.hear(40, within=90)
        await settle(desk, journal)
        relay.delay, relay.rate = 0.0, 0  # the audit counts a queue at a time
        balance = await check(desk, journal, at_least=40)
    assert balance.duplicates <= balance.stored // 4, balance


async def test_the_broker_thinks_a_worker_too_slow(
    desk: Desk, broker: RabbitNode, database: PostgresCluster, journal: Journal
) -> None:
    """F22: consumer_timeout passes while the database is frozen: the broker takes all back; one effect."""
    await asyncio.to_thread(broker.ctl, "eval", "application:set_env(rabbit, consumer_timeout, 5000).")
    await asyncio.to_thread(broker.ctl, "eval", "application:set_env(rabbit, channel_tick_interval, 1000).")
    try:
        await desk.start()
        async with Crowd(desk.gates, journal, each=1) as crowd:
            await crowd.hear(10)
            await asyncio.to_thread(database.freeze)
            await crowd.go_on(20)
            await asyncio.to_thread(database.thaw)
            await crowd.hear(10)
        assert "timeout" in desk.members["worker"].said().lower()
        await check(desk, journal, at_least=20)
    finally:
        await asyncio.to_thread(broker.ctl, "eval", "application:set_env(rabbit, consumer_timeout, 1800000).")
        await asyncio.to_thread(broker.ctl, "eval", "application:set_env(rabbit, channel_tick_interval, 60000).")


async def test_the_broker_is_restarted_with_a_backlog(desk: Desk, broker: RabbitNode, journal: Journal) -> None:
    """F23: everything comes again and is marked redelivered; nothing is rejected for that."""
    await desk.start()
    desk.members["worker"].kill()
    async with Crowd(desk.gates, journal, each=2, pause=0.02) as crowd:
        await crowd.hear(100)
    await asyncio.to_thread(broker.kill)
    await asyncio.to_thread(broker.start)
    await asyncio.to_thread(desk.members["worker"].start)
    await check(desk, journal, at_least=100)


async def test_a_binding_is_lost(desk: Desk, journal: Journal) -> None:
    """F24: the broker would confirm what it cannot route; we do not take that for an answer, and bind again."""
    await desk.start()
    async with Crowd(desk.gates, journal, each=1) as crowd:
        await crowd.hear(10)
        async with administering(desk) as channel:
            for kind in QUEUE_CHANNELS:
                await channel.queue_unbind(queue_name(kind), INBOUND, f"{kind}.#")
        await crowd.hear(20)
    assert "is its binding gone?" in desk.members["gateway"].said()
    await check(desk, journal, at_least=30)


async def test_the_queue_of_dead_letters_is_gone(desk: Desk, broker: RabbitNode, journal: Journal) -> None:
    """F26: what was delivered too often waits where it is until the dead have their place again."""
    # How long a queue waits for the dead to be taken before it tries again; three minutes unless told otherwise.
    wait = "application:set_env(rabbit, dead_letter_worker_publisher_confirm_timeout, 3000)."
    await asyncio.to_thread(broker.ctl, "eval", wait)
    await desk.start()
    worker = desk.members["worker"]
    await post_form(desk.gates[0], "before", journal=journal)
    await settle(desk, journal)
    worker.kill()
    await post_form(desk.gates[0], "unlucky", journal=journal)
    async with administering(desk) as channel:
        await channel.queue_delete(DEAD)
        for _ in range(12):  # one more than the limit
            got = await channel.basic_get(queue_name("form"))
            if not got.delivery_tag:
                break
            await channel.basic_nack(got.delivery_tag, requeue=True)
            await asyncio.sleep(0.1)
    await post_form(desk.gates[0], "after", journal=journal)
    await asyncio.to_thread(worker.start)  # declares it again
    # An innocent message that was only delivered too often is recorded after all: see the crash loop.
    await check(desk, journal, at_least=3)


async def test_a_gateway_dies_between_the_brokers_confirm_and_its_own_spool(
    desk: Desk, broker: RabbitNode, journal: Journal
) -> None:
    """F06: what was moved is in both; the next life moves it again, and it is recognised."""
    async with relayed(desk, "gateway") as relay:
        await desk.start()
        gateway = desk.members["gateway"]
        relay.refuse()
        relay.cut()
        for number in range(30):
            await post_form(desk.gates[0], f"moved-{number}", journal=journal)
        relay.welcome()
        await until(lambda: "connected to publish" in gateway.said(), timeout=30, what="its connection")
        relay.hold_answers()  # at the latest now; the drainer's batches go out and no confirm comes in
        await until(lambda: relay.held_answers > 0, timeout=30, what="confirms on their way")
        await asyncio.sleep(1)
        gateway.kill()
        relay.pass_answers()
    await asyncio.to_thread(gateway.start)
    await check(desk, journal, at_least=30)


async def test_a_worker_that_crashes_again_and_again(desk: Desk, journal: Journal, dice: random.Random) -> None:
    """F09: thirty kills with a backlog. Each counts as a delivery of what it held; no innocent message is given up."""
    await desk.start()
    worker = desk.members["worker"]
    worker.kill()
    async with Crowd(desk.gates, journal, each=2, pause=0.02) as crowd:
        await crowd.hear(150, within=60)
    for _ in range(30):
        await asyncio.to_thread(worker.start)
        await asyncio.sleep(dice.uniform(0.0, 0.02))
        worker.kill()
    await asyncio.to_thread(worker.start)
    await check(desk, journal, at_least=150)
