"""The embedded queue's own promises: a killed process, several processes, a disk that refuses, a clock that jumps."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.queues import embedded
from gateway.queues.base import QueueUnavailableError
from gateway.queues.embedded import EmbeddedQueue
from gateway.queues.owners import Owners
from gateway.queues.queue_file import QueueFile
from tests.contract.backends import make_message, take, take_dead, until_depth

# --- processes -------------------------------------------------------------------------------------------------------

CHILD = """
import asyncio, sys
from pathlib import Path
from gateway.queues.embedded import EmbeddedQueue
from tests.contract.backends import make_message, take

async def main(path, verb, count):
    queue = EmbeddedQueue(Path(path))
    await queue.start()
    if verb == "publish":
        for number in range(count):
            await queue.publish([make_message(number)])
            print(number, flush=True)
    else:
        print(len(await take(queue, count)), flush=True)
    await asyncio.sleep(600)

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


class Neighbour:
    """Another process on the same file, which says what it has done and is then killed."""

    def __init__(self, path: Path, verb: str, count: int) -> None:
        command = [sys.executable, "-c", textwrap.dedent(CHILD), str(path), verb, str(count)]
        root = Path(__file__).parents[2]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root)

    def read_line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        assert line, "the process ended without a word"
        return line

    def kill(self) -> str:
        """SIGKILL; what else it had said."""
        self._process.send_signal(signal.SIGKILL)
        rest, _ = self._process.communicate()
        return str(rest)


async def test_messages_of_a_killed_worker_come_to_the_next_one(queue: EmbeddedQueue, path: Path) -> None:
    await queue.publish([make_message(number) for number in range(10)])
    worker = Neighbour(path, "consume", 10)
    assert await asyncio.to_thread(worker.read_line) == "10"
    await until_depth(queue, lambda depth: depth.unacked == 10 and depth.ready == {})

    worker.kill()

    assert {delivery.attempts for delivery in await take(queue, 10)} == {1}


async def test_a_worker_that_is_alive_keeps_its_messages(queue: EmbeddedQueue, path: Path) -> None:
    await queue.publish([make_message(1)])
    worker = Neighbour(path, "consume", 1)
    await asyncio.to_thread(worker.read_line)

    await queue.publish([make_message(2)])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.5):  # longer than it takes to notice a dead owner
            while True:
                got = await queue.consume(1)
                assert got[0].receipt_id == "receipt-email-2"

    worker.kill()


async def test_everything_a_killed_publisher_was_told_is_there(path: Path) -> None:
    publisher = Neighbour(path, "publish", 100_000)
    said = [await asyncio.to_thread(publisher.read_line) for _ in range(50)]
    said += publisher.kill().split()
    confirmed = {f"receipt-email-{number}" for number in said if number.isdigit()}

    queue = EmbeddedQueue(path)
    await queue.start()
    try:
        stored = {delivery.receipt_id for delivery in await take(queue, (await queue.depth()).waiting)}
    finally:
        await queue.close()

    assert len(confirmed) >= 50
    # The last line may have been cut in half, and the last message may be stored and not said.
    assert len(confirmed - stored) <= 1
    assert len(stored) - len(confirmed & stored) <= 1


def test_several_open_a_new_file_at_once(tmp_path: Path) -> None:
    """The processes of a desk start together; SQLite refuses all but one of those that begin a log at that moment."""
    for number in range(25):
        place, together = tmp_path / f"{number}.db", threading.Barrier(4)

        def open_it(place: Path = place, together: threading.Barrier = together) -> None:
            together.wait()
            QueueFile(place).close()

        with ThreadPoolExecutor(4) as several:
            for opened in [several.submit(open_it) for _ in range(4)]:
                opened.result()


async def test_another_process_is_heard_without_being_asked(queue: EmbeddedQueue, path: Path) -> None:
    waiting = asyncio.create_task(queue.consume(1))
    publisher = Neighbour(path, "publish", 1)
    try:
        async with asyncio.timeout(20):
            [got] = await waiting
    finally:
        publisher.kill()
    assert got.receipt_id == "receipt-email-0"


@pytest.mark.parametrize("dead", [False, True])
async def test_what_comes_in_the_same_moment_as_a_cancellation_goes_back(
    path: Path, dead: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, settled = asyncio.get_running_loop(), threading.Event()
    tell = loop.call_soon_threadsafe
    queue = EmbeddedQueue(path, delivery_limit=0 if dead else None)
    await queue.start()
    try:
        await queue.publish([make_message(1)])
        if dead:
            await queue.release(await take(queue, 1))
        consuming = asyncio.create_task(queue.consume_dead(1) if dead else queue.consume(1))
        monkeypatch.setattr(loop, "call_soon_threadsafe", lambda *what: (tell(*what), settled.set()))
        await asyncio.sleep(0)  # until it has asked
        assert settled.wait(20)  # the loop stands still, and finds the answer as the first thing afterwards
        loop.call_soon(consuming.cancel)
        await asyncio.gather(consuming, return_exceptions=True)

        assert consuming.cancelled()
        await until_depth(queue, lambda depth: depth.unacked == 0)
        assert await (take_dead(queue) if dead else take(queue, 1))
    finally:
        await queue.close()


async def test_what_nobody_has_seen_goes_back_however_long_the_disk_refuses(
    queue: EmbeddedQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_SWEEP_SECONDS", 0.05)
    give_back, refused = QueueFile.return_unseen, 3

    def refuse(file: QueueFile, ids: Sequence[int], owner: str) -> None:
        nonlocal refused
        if refused:
            refused -= 1
            raise sqlite3.OperationalError("disk I/O error")
        give_back(file, ids, owner)

    monkeypatch.setattr(QueueFile, "return_unseen", refuse)
    consuming = asyncio.create_task(queue.consume(5, linger=600))
    await queue.publish([make_message(1)])
    await until_depth(queue, lambda depth: depth.unacked == 1)
    consuming.cancel()
    async with asyncio.timeout(20):
        while refused:
            await asyncio.sleep(0.01)

    assert [delivery.attempts for delivery in await take(queue, 1)] == [0]


async def test_two_queues_in_one_process_share_a_file(path: Path) -> None:
    one, two = EmbeddedQueue(path), EmbeddedQueue(path)
    await one.start()
    await two.start()
    try:
        await one.publish([make_message(number) for number in range(40)])
        got = [*await one.consume(20), *await two.consume(20)]
        assert len({delivery.receipt_id for delivery in got}) == 40
        await one.close()
        again = await take(two, 20)
        assert {delivery.attempts for delivery in again} == {1}
        await two.ack(got)
        assert (await two.depth()).waiting == 0
    finally:
        await one.close()
        await two.close()


async def test_another_process_rings(queue: EmbeddedQueue, path: Path) -> None:
    """What somebody else publishes is heard of at once, not at the next look."""
    queue.poll_seconds = 600
    waiting = asyncio.create_task(take(queue, 1))
    other = EmbeddedQueue(path)
    await other.start()
    try:
        await until_depth(queue, lambda depth: depth.waiting == 0)
        async with asyncio.timeout(20):
            while not waiting.done():  # it may have looked before it listened; it listens from then on
                await other.publish([make_message(1)])
                await asyncio.wait([waiting], timeout=0.5)
            assert [delivery.channel for delivery in await waiting] == [make_message(1).channel]
    finally:
        waiting.cancel()
        await other.close()


def test_an_owner_knows_the_others(tmp_path: Path) -> None:
    one, two = Owners(tmp_path / "owners"), Owners(tmp_path / "owners")
    first = one.join()
    assert one.others() == frozenset()
    second = two.join()
    assert one.others() == {second}, "however soon after the last look"
    assert two.others() == {first}
    two.leave()
    assert one.others() == frozenset()


def test_an_owner_lives_as_long_as_its_lock(tmp_path: Path) -> None:
    one, two = Owners(tmp_path / "owners"), Owners(tmp_path / "owners")
    first, second = one.join(), two.join()
    assert one.living() == two.living() == {first, second}
    one.forget()  # what the kernel does to a killed process
    assert two.living() == {second}
    assert not one.is_member()
    two.leave()
    assert list((tmp_path / "owners").iterdir()) == []


def test_a_forked_child_is_not_mistaken_for_its_parent(tmp_path: Path) -> None:
    """A pool worker that outlives us must not keep our messages claimed."""
    parent, observer = Owners(tmp_path / "owners"), Owners(tmp_path / "owners")
    parent.join()
    reader, writer = os.pipe()
    awake, alarm = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writer)
        os.write(alarm, b"!")
        os.read(reader, 1)  # until the test closes its end
        os._exit(0)
    try:
        os.read(awake, 1)
        parent.forget()
        assert observer.living() == set()
    finally:
        os.close(writer)
        for end in (reader, awake, alarm):
            os.close(end)
        os.waitpid(child, 0)


# --- a disk that refuses ---------------------------------------------------------------------------------------------


async def test_a_disk_that_refuses_is_a_temporary_error_and_keeps_what_was_accepted(
    queue: EmbeddedQueue, path: Path, full_disk: None
) -> None:
    accepted = 0
    with pytest.raises(QueueUnavailableError, match=str(path)):
        for number in range(1000):
            await queue.publish([make_message(number, body=b"x" * 5000)])
            accepted += 1

    assert accepted > 0
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await queue.publish([make_message(9999)])

    got = {delivery.receipt_id for delivery in await take(queue, accepted + 1)}
    assert got == {f"receipt-email-{number}" for number in (*range(accepted), 9999)}


async def test_a_failed_commit_fails_its_callers_and_is_not_tried_again(
    queue: EmbeddedQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An fsync that failed once may succeed the second time without having written anything."""
    commits = 0

    class BrokenDisk:
        """The file's connection, whose COMMIT fails as after EIO from fsync."""

        def __init__(self, real: sqlite3.Connection) -> None:
            self._real = real

        def __getattr__(self, name: str) -> object:
            return getattr(self._real, name)

        def execute(self, statement: str, *values: object) -> object:
            nonlocal commits
            if statement == "COMMIT":
                commits += 1
                raise sqlite3.OperationalError("disk I/O error")
            return self._real.execute(statement, *values)  # type: ignore[arg-type]

    file = queue._file
    assert file is not None
    real = file._connection
    monkeypatch.setattr(file, "_connection", BrokenDisk(real))
    with pytest.raises(QueueUnavailableError, match="disk I/O error"):
        await queue.publish([make_message(1)])
    assert commits == 1
    monkeypatch.setattr(file, "_connection", real)

    await queue.publish([make_message(2)])

    [got] = await queue.consume(10)
    assert got.receipt_id == "receipt-email-2"


async def test_little_space_refuses_publishers_and_not_consumers(path: Path) -> None:
    roomy = EmbeddedQueue(path)
    await roomy.start()
    await roomy.publish([make_message(1)])
    await roomy.close()
    tight = EmbeddedQueue(path, min_free_bytes=1 << 60)
    await tight.start()
    try:
        with pytest.raises(QueueUnavailableError, match="MiB free"):
            await tight.publish([make_message(2)])
        with pytest.raises(QueueUnavailableError, match="MiB free"):
            await tight.ping()
        await tight.ack(await take(tight, 1))
        assert (await tight.depth()).waiting == 0
    finally:
        await tight.close()


async def test_few_inodes_refuse_publishers(path: Path) -> None:
    queue = EmbeddedQueue(path, min_free_inodes=1 << 60)
    await queue.start()
    try:
        if os.statvfs(path.parent).f_files == 0:
            await queue.publish([make_message(1)])  # no fixed number of inodes: nothing to run short of
        else:
            with pytest.raises(QueueUnavailableError, match="inodes"):
                await queue.publish([make_message(1)])
    finally:
        await queue.close()


async def test_an_unusable_place_is_found_out_at_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    for bad in (tmp_path / "file" / "queue.db", tmp_path):
        queue = EmbeddedQueue(bad)
        with pytest.raises(QueueUnavailableError, match=str(bad)):
            await queue.start()


async def test_a_file_that_is_something_else_is_left_alone(path: Path) -> None:
    path.write_bytes(b"this is somebody's diary, not a queue" * 100)
    queue = EmbeddedQueue(path)
    with pytest.raises(QueueUnavailableError, match="not a database"):
        await queue.start()
    assert path.read_bytes().startswith(b"this is somebody's diary")


async def test_a_file_of_a_later_version_is_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(QueueUnavailableError, match="another version"):
        await EmbeddedQueue(path).start()


async def test_a_deleted_file_is_replaced_and_not_written_to_blindly(queue: EmbeddedQueue, path: Path) -> None:
    await queue.publish([make_message(1)])
    for name in path.parent.glob("queue.db*"):
        if name.is_file():
            name.unlink()

    await queue.publish([make_message(2)])

    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT receipt_id FROM message").fetchall()
    connection.close()
    assert rows == [("receipt-email-2",)]


async def test_a_message_that_cannot_be_stored_does_not_take_its_neighbours_along(queue: EmbeddedQueue) -> None:
    bad = make_message(1, channel="\ud800")
    outcomes = await asyncio.gather(
        queue.publish([make_message(1)]), queue.publish([bad]), queue.publish([make_message(2)]), return_exceptions=True
    )
    assert outcomes[0] is None
    assert isinstance(outcomes[1], UnicodeEncodeError)
    assert outcomes[2] is None
    assert len(await take(queue, 2)) == 2


def test_the_file_is_readable_by_its_owner_only(path: Path) -> None:
    file = QueueFile(path)
    file.append([])
    file.close()
    assert path.stat().st_mode & 0o077 == 0


# --- time ------------------------------------------------------------------------------------------------------------


async def test_a_clock_set_back_does_not_hide_delayed_messages(
    queue: EmbeddedQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    await queue.publish([make_message(1)])
    await queue.release(await take(queue, 1), delay=60)
    now = time.time()
    monkeypatch.setattr("gateway.queues.queue_file.time.time", lambda: now - 86400)

    [again] = await take(queue, 1)

    assert again.receipt_id == "receipt-email-1"


async def test_a_delay_survives_a_restart(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = EmbeddedQueue(path)
    await queue.start()
    await queue.publish([make_message(1)])
    await queue.release(await take(queue, 1), delay=600)
    await queue.close()

    second = EmbeddedQueue(path)
    await second.start()
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await second.consume(1)
        now = time.time()
        monkeypatch.setattr("gateway.queues.queue_file.time.time", lambda: now + 601)
        assert len(await take(second, 1)) == 1
    finally:
        await second.close()


# --- the file as a model ---------------------------------------------------------------------------------------------

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.sampled_from("abc"), st.integers(1, 4)),
        st.tuples(st.just("claim"), st.sampled_from(["one", "two"]), st.integers(1, 5)),
        st.tuples(st.just("ack"), st.sampled_from(["one", "two"]), st.integers(1, 5)),
        st.tuples(st.just("release"), st.sampled_from(["one", "two"]), st.integers(1, 5)),
        st.tuples(st.just("unseen"), st.sampled_from(["one", "two"]), st.integers(1, 5)),
        st.tuples(st.just("die"), st.sampled_from(["one", "two"]), st.just(0)),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_every_message_is_in_exactly_one_place(tmp_path: Path, steps: list[tuple[str, str, int]]) -> None:
    """Whatever happens in whatever order: published = ready + held by its one owner + dead + acked."""
    path = tmp_path / f"{time.monotonic_ns()}.db"
    file = QueueFile(path)
    held: dict[str, list[int]] = {"one": [], "two": []}
    published = acked = 0
    try:
        for verb, who, count in steps:
            with file.transaction():
                if verb == "publish":
                    file.append([make_message(number, channel=who) for number in range(count)])
                    published += count
                elif verb == "claim":
                    held[who] += [delivery.tag for delivery in file.claim(count, who)]
                elif verb == "die":
                    file.void_claims({"one", "two"} - {who}, limit=3)
                    held[who].clear()
                else:
                    ids, held[who] = held[who][:count], held[who][count:]
                    if verb == "ack":
                        file.forget(ids)
                        acked += len(ids)
                    elif verb == "release":
                        file.give_back(ids, who, delay=0, limit=3)
                    else:
                        file.return_unseen(ids, who)
            depth = file.count()
            assert depth.unacked == len(held["one"]) + len(held["two"])
            assert depth.waiting + depth.dead + acked == published
            assert not set(held["one"]) & set(held["two"])
            assert file.has_ready() == bool(depth.ready)
    finally:
        file.close()


_NEIGHBOUR = """
import asyncio, sys
from pathlib import Path
from gateway.queues.embedded import EmbeddedQueue

async def main():
    queue = EmbeddedQueue(Path(sys.argv[1]))
    await queue.start()
    await queue.close()

asyncio.run(main())
"""


async def test_a_neighbour_that_closes_is_not_the_last(path: Path) -> None:
    """Two connections of this process, one opened after the other, and a process that comes and goes: the locks of the
    first still hold, so the log is not deleted under it."""
    one, two = EmbeddedQueue(path), EmbeddedQueue(path)
    await one.start()
    await two.start()
    try:
        await one.publish([make_message(1)])
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", _NEIGHBOUR, str(path))
        assert await child.wait() == 0
        assert path.with_name("queue.db-wal").exists()
        await one.publish([make_message(2)])
        assert len(await take(two, 2)) == 2
    finally:
        await two.close()
        await one.close()
