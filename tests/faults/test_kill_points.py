"""The process dies at a system call we choose: between any write, fsync, rename or send of accepting and recording."""

from __future__ import annotations

import asyncio
import os
import random
import re
from pathlib import Path

import pytest

from tests.faults.checking import check, settle
from tests.faults.customers import Caller, Crowd, FormWriter, Mailer, Tweeter, Visitor
from tests.faults.desk import embedded, until
from tests.faults.injecting import Strace, require_strace
from tests.faults.journal import Journal

pytestmark = [pytest.mark.fault, pytest.mark.chaos, pytest.mark.timeout(1800)]

_CALLS = "pwrite64,write,fsync,fdatasync,rename,unlink,sendto,sendmsg,ftruncate"
_SYNCS = "fsync,fdatasync"
_EACH = int(os.environ.get("ROUNDS", "12"))


@pytest.mark.parametrize("calls", [_CALLS, _SYNCS], ids=["any call", "fsync"])
async def test_killed_at_a_chosen_call(calls: str, tmp_path: Path, journal: Journal, dice: random.Random) -> None:
    """The Nth call from now on is its last. Nothing acknowledged is lost, wherever that was; no half file is left.

    In turns the process that takes messages in, whose worker dies with it, and the worker alone.
    """
    require_strace()
    async with embedded(tmp_path) as desk:
        member = desk.members["up"]
        async with Crowd(desk.gates, journal, each=1, pause=0.05) as crowd:
            for number in range(_EACH):
                await crowd.hear(2)
                nth = dice.randint(1, 40 if calls == _CALLS else 12)
                kill = ("-e", f"trace={calls}", "-e", f"inject={calls}:signal=KILL:when={nth}")
                worker = await member.worker()
                if number % 2:
                    with Strace(worker, tmp_path / f"trace{number}", *kill):
                        await member.worker(besides=worker)
                    member.check()
                else:
                    with Strace(member.pid, tmp_path / f"trace{number}", *kill):
                        await until(lambda: not member.running, timeout=30, what=f"death at call {nth} of {calls}")
                    member.bury()
                    await asyncio.to_thread(member.start)
            await crowd.hear(5)
        await check(desk, journal, at_least=_EACH * 2)
    assert not list((tmp_path / "blobs").rglob("*.part"))


async def test_killed_two_hundred_times(tmp_path: Path, journal: Journal, dice: random.Random) -> None:
    """At random moments, twenty senders on all channels."""
    rounds = int(os.environ.get("ROUNDS", "200"))
    async with embedded(tmp_path) as desk:
        member = desk.members["up"]
        async with Crowd(desk.gates, journal, each=4, pause=0.2) as crowd:
            for number in range(rounds):
                await crowd.go_on(dice.uniform(0.05, 1.0))
                member.kill()
                await asyncio.to_thread(member.start)
                if number % 20 == 19:
                    print(f"{number + 1} kills, {len(journal.acknowledged)} acknowledged", flush=True)
            await crowd.hear(20)
        await check(desk, journal, at_least=rounds)


async def test_nothing_is_acknowledged_before_it_is_durable(tmp_path: Path, journal: Journal) -> None:
    """For each channel the order of system calls: the log's fsync has returned before the answer is sent."""
    require_strace()
    marks = {
        Mailer: "250 2[.]0[.]0",
        FormWriter: "HTTP/1.1 201",
        Visitor: "message.ack",
        Caller: "HTTP/1.1 20[0-9]",
        Tweeter: "HTTP/1.1 200",
    }
    async with embedded(tmp_path) as desk:
        member = desk.members["up"]
        async with Crowd(desk.gates, journal, each=1) as crowd:
            await crowd.hear(5)  # everything is loaded
        await settle(desk, journal)
        for kind, mark in marks.items():
            output = tmp_path / f"trace-{kind.channel}"
            options = ("-s", "4096", "-yy", "-e", "trace=fsync,fdatasync,write,writev,sendto,sendmsg")
            customer = kind(f"traced-{kind.channel}", desk.gates, journal, pause=0)
            await customer.open()
            with Strace(member.pid, output, *options) as trace:
                await customer.say(1)
                await asyncio.sleep(0.2)
                lines = trace.lines()
            await customer.leave()
            answers = [number for number, line in enumerate(lines) if re.search(mark, line)]
            synced = [
                number
                for number, line in enumerate(lines)
                if re.search(r"(fsync|fdatasync).*(queue\.db|resumed)", line) and line.rstrip().endswith("= 0")
            ]
            assert answers, f"{kind.channel}: no answer in the trace"
            assert synced, f"{kind.channel}: no fsync in the trace"
            assert synced[0] < answers[0], f"{kind.channel}: answered before its fsync had returned"
        await check(desk, journal, at_least=10)
