"""Pollers: the cursor moves after accept, one process at a time polls, and no failure ends it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr

from adapters.base import Adapter, Clients, InboxOptions, Page, PermanentError, Raw, Refused, TemporaryError
from adapters.twitter import Twitter, TwitterOptions
from gateway import poller
from gateway.intake import Inbox, NotDurableError
from gateway.poller import Lease, keep_polling, pause_after, poll_once, run_pollers
from gateway.runtime import Runtime
from gateway.settings import Settings
from gateway.store import cursors
from normalizer.message import Draft
from tests.fakes.x_api import BEARER, FIRST_ID, US, FakeX, post

INBOX = "feed"


class FeedOptions(InboxOptions):
    channel: str = "feed"
    poll_seconds: float = 0.0


class Feed(Adapter[FeedOptions]):
    """A provider of numbered items: lists those after a cursor, two a page. `faults` are raised once each."""

    channel = "feed"
    polls = True

    def __init__(self, items: Sequence[int] = ()) -> None:
        super().__init__(INBOX, FeedOptions())
        self.items = list(items)
        self.faults: list[Exception] = []
        self.asked: list[str] = []

    def normalize(self, raw: Raw) -> Sequence[Draft]:
        return ()

    async def poll(self, cursor: str) -> AsyncIterator[Page]:
        self.asked.append(cursor)
        if self.faults:
            raise self.faults.pop(0)
        new = [item for item in self.items if item > int(cursor or 0)]
        for start in range(0, len(new), 2):
            chunk = new[start : start + 2]
            yield Page([Raw(str(item).encode()) for item in chunk], str(chunk[-1]))


class Shelf:
    """Cursors and leases, shared by all pollers of a test. Time stands still: a lease ends when it is given up."""

    def __init__(self) -> None:
        self.cursors: dict[str, str] = {}
        self.owner = ""
        self.down = False

    async def read(self, fn: Callable[..., Any], inbox: str) -> str:
        assert fn.__name__ == "read_cursor"
        return self.cursors.get(inbox, "")

    async def write(self, fn: Callable[..., Any], inbox: str, *args: Any) -> Any:
        if self.down:
            raise OSError("the database is away")
        if fn.__name__ == "save_cursor":
            self.cursors[inbox] = args[0]
            return None
        if self.owner not in ("", args[0]):
            return False
        self.owner = "" if fn.__name__ == "drop_lease" else args[0]
        return True


class Door:
    """What was accepted, in order. `faults` are raised once each, at the item of that name."""

    def __init__(self) -> None:
        self.accepted: list[bytes] = []
        self.faults: dict[bytes, Exception] = {}
        self._changed = asyncio.Condition()

    async def accept(self, inbox: Inbox, raw: Raw) -> list[Any]:
        if fault := self.faults.pop(raw.body, None):
            raise fault
        async with self._changed:
            self.accepted.append(raw.body)
            self._changed.notify_all()
        return []

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(20), self._changed:
            await self._changed.wait_for(true)


def process(shelf: Shelf, door: Door, adapter: Adapter[Any], name: str = "one") -> Any:
    """A runtime as far as a poller sees it."""
    inbox = Inbox(adapter.inbox, adapter.channel, adapter, adapter.options)
    return SimpleNamespace(store=shelf, intake=door, inboxes={inbox.name: inbox}, gateway_id=name)


async def once(runtime: Any) -> int:
    [inbox] = [inbox for inbox in runtime.inboxes.values() if inbox.adapter.polls]
    lease = Lease(runtime, inbox.name)
    assert await lease.take()
    return await poll_once(runtime, inbox, lease)


def numbers(*items: int) -> list[bytes]:
    return [str(item).encode() for item in items]


async def test_everything_is_accepted_in_order_and_the_cursor_follows() -> None:
    shelf, door, feed = Shelf(), Door(), Feed([1, 2, 3, 4, 5])
    runtime = process(shelf, door, feed)
    assert await once(runtime) == 5
    assert door.accepted == numbers(1, 2, 3, 4, 5)
    assert shelf.cursors == {INBOX: "5"}
    assert await once(runtime) == 0
    assert feed.asked == ["", "5"]


async def test_what_was_not_durable_is_read_again() -> None:
    shelf, door, feed = Shelf(), Door(), Feed([1, 2, 3, 4, 5])
    runtime = process(shelf, door, feed)
    door.faults = {b"4": NotDurableError("the queue is away")}
    with pytest.raises(NotDurableError):
        await once(runtime)
    assert shelf.cursors == {INBOX: "2"}, "a page that was not accepted whole moves no cursor"
    await once(runtime)
    assert set(door.accepted) == set(numbers(1, 2, 3, 4, 5))
    assert shelf.cursors == {INBOX: "5"}


async def test_one_refused_arrival_does_not_stop_those_after_it(caplog: pytest.LogCaptureFixture) -> None:
    shelf, door = Shelf(), Door()
    door.faults = {b"1": Refused(400, "not a post at all")}
    assert await once(process(shelf, door, Feed([1, 2, 3]))) == 2
    assert shelf.cursors == {INBOX: "3"}
    assert "not a post at all" in caplog.text


async def test_a_lost_lease_saves_no_cursor() -> None:
    shelf, door, feed = Shelf(), Door(), Feed([1, 2, 3])
    runtime = process(shelf, door, feed)
    lease = Lease(runtime, INBOX)
    shelf.owner = "another"
    assert await poll_once(runtime, runtime.inboxes[INBOX], lease) == 2, "it stops after the page it was at"
    assert shelf.cursors == {}


@pytest.mark.parametrize(
    ("error", "failures", "seconds"),
    [
        (TemporaryError("later", retry_after=42.0), 9, 42.0),
        (TemporaryError("later"), 1, 5.0),
        (TemporaryError("later"), 3, 20.0),
        (TemporaryError("later"), 100_000, 320.0),
        (NotDurableError("later", 7.0), 3, 7.0),
        (PermanentError("never"), 1, 900.0),
        (RuntimeError("a bug"), 2, 10.0),
    ],
)
def test_pause_after_a_failure(error: Exception, failures: int, seconds: float) -> None:
    assert pause_after(error, failures) == seconds


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of a test are short; their lengths are tested apart."""
    monkeypatch.setattr(poller, "_RENEW_SECONDS", 0.01)
    monkeypatch.setattr(poller, "pause_after", lambda error, failures: 0.0)


async def running(stop: asyncio.Event, body: Awaitable[None], *pollers: Awaitable[None]) -> None:
    """Run pollers while `body` runs, then stop them and see that they end."""
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        for item in pollers:
            group.create_task(item)  # type: ignore[arg-type]
        try:
            await body
        finally:
            stop.set()


@pytest.mark.usefixtures("impatient")
async def test_every_failure_is_survived_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    shelf, door, feed, stop = Shelf(), Door(), Feed([1, 2, 3]), asyncio.Event()
    feed.faults = [TemporaryError("X is down")] * 3 + [PermanentError("revoked"), RuntimeError("a bug")]
    door.faults = {b"2": NotDurableError("the queue is away")}
    runtime = process(shelf, door, feed)
    with caplog.at_level(logging.INFO):
        await running(
            stop, door.until(lambda: b"3" in door.accepted), keep_polling(runtime, runtime.inboxes[INBOX], stop)
        )
    said = [record.getMessage() for record in caplog.records if record.name == "gateway.poller"]
    assert said[:4] == [
        "cannot poll: X is down",
        "cannot poll: revoked",
        "cannot poll",
        "cannot poll: the queue is away",
    ]
    assert set(door.accepted) == set(numbers(1, 2, 3))


@pytest.mark.usefixtures("impatient")
async def test_one_of_two_processes_polls_and_the_other_takes_over() -> None:
    shelf, door, stop_one, stop_two = Shelf(), Door(), asyncio.Event(), asyncio.Event()
    first, second = Feed([1, 2]), Feed([1, 2])
    one, two = process(shelf, door, first, "one"), process(shelf, door, second, "two")

    async def story() -> None:
        await door.until(lambda: door.accepted == numbers(1, 2))
        waiting.append(asyncio.create_task(keep_polling(two, two.inboxes[INBOX], stop_two)))
        first.items.append(3)
        await door.until(lambda: b"3" in door.accepted)
        assert second.asked == []
        second.items = [1, 2, 3, 4]
        stop_one.set()
        await door.until(lambda: b"4" in door.accepted)

    waiting: list[asyncio.Task[None]] = []
    try:
        await running(stop_one, story(), keep_polling(one, one.inboxes[INBOX], stop_one))
    finally:
        stop_two.set()
        await asyncio.gather(*waiting)
    assert door.accepted == numbers(1, 2, 3, 4)
    assert shelf.owner == "", "a process that ends in order gives its lease up"


@pytest.mark.usefixtures("impatient")
async def test_an_absent_database_is_waited_for() -> None:
    shelf, door, feed, stop = Shelf(), Door(), Feed([1]), asyncio.Event()
    shelf.down = True
    runtime = process(shelf, door, feed)

    async def story() -> None:
        await asyncio.sleep(0)
        assert feed.asked == []
        shelf.down = False
        await door.until(lambda: bool(door.accepted))

    await running(stop, story(), keep_polling(runtime, runtime.inboxes[INBOX], stop))
    assert door.accepted == numbers(1)


async def test_inboxes_without_credentials_or_anything_to_poll_are_left_alone() -> None:
    shelf, door, stop = Shelf(), Door(), asyncio.Event()
    runtime = process(shelf, door, Twitter("twitter", TwitterOptions()))

    async def story() -> None:
        await asyncio.sleep(0)

    await running(stop, story(), run_pollers(runtime, stop))
    assert shelf.owner == ""


@pytest.mark.usefixtures("impatient")
async def test_mentions_of_x_are_polled_from_end_to_end() -> None:
    shelf, door, stop = Shelf(), Door(), asyncio.Event()
    async with FakeX() as x, aiohttp.ClientSession() as http:
        x.posts = [post(number) for number in range(3)]
        secrets: dict[str, Any] = {"bearer_token": SecretStr(BEARER), "user_id": US, "api_base": x.url}
        adapter = Twitter("twitter", TwitterOptions(poll_seconds=1, **secrets), Clients(http))
        await running(
            stop, door.until(lambda: len(door.accepted) == 3), run_pollers(process(shelf, door, adapter), stop)
        )
        again = process(shelf, door, adapter)
        x.posts.append(post(3))
        assert await once(again) == 1
    assert shelf.cursors == {"twitter": str(FIRST_ID + 3)}
    ids = [adapter.normalize(Raw(body, facts={"source": "poll"}))[0].external_id for body in door.accepted]
    assert ids == [str(FIRST_ID + number) for number in range(4)]


# --- with the real store, queue and door ------------------------------------------------------------------------


def options_for(x: FakeX) -> dict[str, Any]:
    return {"channel": "twitter", "bearer_token": BEARER, "user_id": US, "api_base": x.url, "poll_seconds": 1}


async def test_mentions_reach_the_real_queue_once_whichever_process_polls(tmp_path: Path) -> None:
    async with FakeX() as x, AsyncExitStack() as ending:
        settings = Settings(data_dir=tmp_path, inboxes={"twitter": options_for(x)})
        processes = [Runtime(settings) for _ in range(2)]
        for runtime in processes:
            ending.push_async_callback(runtime.close)
            await runtime.migrate()
        one, two = processes
        for runtime in processes:
            await runtime.start()
        x.posts = [post(number) for number in range(3)]
        assert await once(one) == 3
        assert not await Lease(two, "twitter").take(), "another process holds the lease"
        lease = Lease(one, "twitter")
        assert await lease.take()
        await lease.give_up()
        x.posts.append(post(3))
        assert await once(two) == 1, "it goes on where the first one stopped"
        assert await two.store.read(cursors.read_cursor, "twitter") == str(FIRST_ID + 3)
        waiting = await one.queue.depth()
        assert waiting.ready["twitter"] == 4
