"""One process in trouble: no descriptors, no processor, no log, a clock that jumps, and the order to stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from tests.faults.checking import check, settle
from tests.faults.customers import Crowd
from tests.faults.desk import embedded, until
from tests.faults.injecting import Clock, cpu_seconds
from tests.faults.journal import Journal
from tests.faults.probing import post_form

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]


async def test_descriptors_run_out(tmp_path: Path, journal: Journal) -> None:
    """More connections than files may be open: those that are in are served, nothing spins, and it heals by itself.

    So it does when its worker dies meanwhile and no other can be started.
    """
    async with embedded(tmp_path, prefix=["prlimit", "--nofile=96"]) as desk:
        member, gate = desk.members["up"], desk.gates[0]
        await post_form(gate, "before", journal=journal)
        await settle(desk, journal)  # the tables are made: a process that is still starting would end, and say why
        crowd = []
        try:
            for _ in range(250):
                idle = socket.socket()
                idle.setblocking(False)
                idle.connect_ex(("127.0.0.1", gate.http))
                crowd.append(idle)
            await asyncio.sleep(1)
            os.kill(await member.worker(), signal.SIGKILL)
            used = cpu_seconds(member.pid)
            await asyncio.sleep(4)
            assert cpu_seconds(member.pid) - used < 2, "it spins while it cannot accept"
            assert "the worker process cannot be started" in member.said()
        finally:
            for idle in crowd:
                idle.close()
        member.check()
        async with asyncio.timeout(30):
            while True:
                with contextlib.suppress(Exception):
                    if (await post_form(gate, "after", journal=journal)).status < 300:
                        break
                await asyncio.sleep(0.5)
        async with Crowd(desk.gates, journal, each=1) as senders:
            await senders.hear(5)
        await check(desk, journal, at_least=5)


async def test_told_to_stop_under_load(tmp_path: Path, journal: Journal, dice: random.Random) -> None:
    """SIGTERM: what is in hand is finished, others hear "later", and it is gone within ten seconds, three times."""
    async with embedded(tmp_path) as desk:
        member = desk.members["up"]
        async with Crowd(desk.gates, journal, pause=0.02) as crowd:
            for _ in range(3):
                await crowd.hear(10)
                await crowd.go_on(dice.uniform(0.0, 0.5))
                member.send(signal.SIGTERM)
                await until(lambda: not member.running, timeout=10, what="its end after SIGTERM")
                member.bury()
                await asyncio.to_thread(member.start)
            await crowd.hear(5)
        await check(desk, journal, at_least=30)


@pytest.mark.chaos
async def test_the_clock_jumps(tmp_path: Path, journal: Journal) -> None:
    """Three days ahead, an hour back, standing still: nothing expires in masses and nothing is delivered twice."""
    clock = Clock(tmp_path)
    async with embedded(tmp_path, environment=clock.environment) as desk:
        async with Crowd(desk.gates, journal, each=1) as crowd:
            await crowd.hear(5)
            for hours in (72, -1, 0, -72):
                clock.shift(timedelta(hours=hours))
                await crowd.go_on(1)
                await crowd.hear(5)
            clock.freeze("2026-08-01 10:00:00")
            await crowd.hear(5)
            clock.shift(timedelta())
            await crowd.hear(5)
        await check(desk, journal, at_least=30)


async def test_nobody_reads_its_log(tmp_path: Path, journal: Journal) -> None:
    """The reader of standard output and error is gone, as when a terminal or a log shipper dies."""
    async with embedded(tmp_path, start=False) as desk:
        member = desk.members["up"]
        receiving, sending = os.pipe()
        script = 'exec "$@" >"/dev/fd/$FD" 2>&1'
        member.prefix = ["sh", "-c", script, "sh"]
        member.environment["FD"] = str(sending)
        member.inherited = (sending,)
        await asyncio.to_thread(member.start)
        os.close(sending)
        os.close(receiving)
        async with Crowd(desk.gates, journal, each=1) as crowd:
            await crowd.hear(20)
        await check(desk, journal, at_least=20)


async def test_its_log_is_full(tmp_path: Path, journal: Journal) -> None:
    """Every write to the log fails with ENOSPC."""
    async with embedded(tmp_path, start=False) as desk:
        member = desk.members["up"]
        member.prefix = ["sh", "-c", 'exec "$@" >/dev/full 2>&1', "sh"]
        await asyncio.to_thread(member.start)
        async with Crowd(desk.gates, journal, each=1) as crowd:
            await crowd.hear(20)
        await check(desk, journal, at_least=20)


@pytest.mark.chaos
async def test_the_processor_is_taken_away(tmp_path: Path, journal: Journal) -> None:
    """Four busy loops on the one processor it may use, and then it is frozen for a while."""
    async with embedded(tmp_path, prefix=["taskset", "-c", "0"]) as desk:
        member = desk.members["up"]
        with contextlib.ExitStack() as stack:
            for _ in range(4):
                loop = subprocess.Popen(["taskset", "-c", "0", "sh", "-c", "while :; do :; done"])
                stack.callback(loop.wait)
                stack.callback(loop.kill)
            async with Crowd(desk.gates, journal, each=1) as crowd:
                await crowd.go_on(10)
                member.send(signal.SIGSTOP)
                await crowd.go_on(10)
                member.send(signal.SIGCONT)
                await crowd.go_on(5)
        await check(desk, journal, at_least=10)


async def test_its_worker_is_killed(tmp_path: Path, journal: Journal) -> None:
    """The doors stay open, another worker takes over, and what the first had in hand is recorded once."""
    async with embedded(tmp_path) as desk:
        member = desk.members["up"]
        async with Crowd(desk.gates, journal, pause=0.02) as crowd:
            for _ in range(3):
                worker = await member.worker()
                await crowd.hear(20)
                os.kill(worker, signal.SIGKILL)
                await member.worker(besides=worker)
            await crowd.hear(20)
        member.check()
        await check(desk, journal, at_least=80)


async def test_its_worker_dies_with_it(tmp_path: Path, journal: Journal) -> None:
    """kill -9 of `up` leaves nobody behind who records."""
    async with embedded(tmp_path) as desk:
        member = desk.members["up"]
        worker = await member.worker()
        await post_form(desk.gates[0], "before", journal=journal)
        member.kill()
        await until(lambda: not Path(f"/proc/{worker}").exists(), timeout=30, what="the end of its worker")
        await asyncio.to_thread(member.start)
        await check(desk, journal, at_least=1)
