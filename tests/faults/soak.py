"""The soak: a steady stream over all channels, and a random fault a minute, for as long as one asks.

    make chaos MINUTES=30 [SEED=7]

Two gateways and two workers on a private RabbitMQ and PostgreSQL. While nothing is wrong the processes are measured:
memory, descriptors, threads, temporary files. In the end nothing may be lost, doubled or unexpected, the audit
balances, and what was measured is where it was. A line a minute, a table at the end, exit code 1 when it does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import uuid4

from tests.faults.checking import Balance, check
from tests.faults.customers import KINDS, Crowd
from tests.faults.desk import Desk
from tests.faults.injecting import count_descriptors, resident_bytes
from tests.faults.journal import Journal
from tests.faults.steady import Sample, find_leaks
from tests.services.postgres import PostgresCluster
from tests.services.rabbitmq import RabbitNode

_RATE: Final = 20.0  # messages a second
_FAULT_SECONDS: Final = 10.0


@dataclass(slots=True)
class Soak:
    """What happened."""

    desk: Desk
    broker: RabbitNode
    database: PostgresCluster
    journal: Journal
    dice: random.Random
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    faults: dict[str, Counter[str]] = field(default_factory=dict)

    async def run(self, minutes: float, *, pause_between: float = 50.0) -> Balance:
        """Raises AssertionError when something is not as promised."""
        await self.desk.start()
        each = 2
        pause = len(KINDS) * each / _RATE
        loop = asyncio.get_running_loop()
        begun = loop.time()
        ends = begun + minutes * 60
        async with Crowd(self.desk.gates, self.journal, each=each, pause=pause) as crowd:
            await crowd.go_on(5)
            while loop.time() < ends:
                await self._fault(crowd)
                await crowd.go_on(min(pause_between, max(1.0, ends - loop.time())))
                self._measure((loop.time() - begun) / 60)
                self._tell((loop.time() - begun) / 60)
        balance = await check(self.desk, self.journal, at_least=1)
        print(self.table(balance), flush=True)
        self._hold_steady()
        return balance

    async def _fault(self, crowd: Crowd) -> None:
        name, inject = self.dice.choice(list(self._choices().items()))
        counts = self.faults.setdefault(name, Counter())
        before = len(self.journal.attempted), len(self.journal.acknowledged), self.journal.unanswered.total()
        await inject(crowd)
        counts["times"] += 1
        counts["attempted"] += len(self.journal.attempted) - before[0]
        counts["acknowledged"] += len(self.journal.acknowledged) - before[1]
        counts["put off"] += self.journal.unanswered.total() - before[2]

    def _choices(self) -> dict[str, Callable[[Crowd], Awaitable[None]]]:
        kills = {f"kill {name}": self._killing(name) for name in self.desk.members}
        freezes = {f"freeze {name}": self._freezing(name) for name in self.desk.members}
        return (
            kills
            | freezes
            | {
                "stop a gateway in order": self._stop_gateway,
                "kill the broker": self._kill_broker,
                "freeze the broker": self._freeze_broker,
                "disk alarm of the broker": self._alarm,
                "kill the database": self._kill_database,
                "freeze the database": self._freeze_database,
            }
        )

    def _killing(self, name: str) -> Callable[[Crowd], Awaitable[None]]:
        async def kill(crowd: Crowd) -> None:
            member = self.desk.members[name]
            member.kill()
            await crowd.go_on(1)
            await asyncio.to_thread(member.start)

        return kill

    def _freezing(self, name: str) -> Callable[[Crowd], Awaitable[None]]:
        async def freeze(crowd: Crowd) -> None:
            member = self.desk.members[name]
            member.send(signal.SIGSTOP)
            await crowd.go_on(_FAULT_SECONDS)
            member.send(signal.SIGCONT)

        return freeze

    async def _stop_gateway(self, crowd: Crowd) -> None:
        member = self.desk.members["gateway-1"]
        await asyncio.to_thread(member.stop)
        await crowd.go_on(1)
        await asyncio.to_thread(member.start)

    async def _kill_broker(self, crowd: Crowd) -> None:
        await asyncio.to_thread(self.broker.kill)
        await crowd.go_on(_FAULT_SECONDS)
        await asyncio.to_thread(self.broker.start)

    async def _freeze_broker(self, crowd: Crowd) -> None:
        await asyncio.to_thread(self.broker.freeze)
        await crowd.go_on(_FAULT_SECONDS)
        await asyncio.to_thread(self.broker.thaw)

    async def _alarm(self, crowd: Crowd) -> None:
        await asyncio.to_thread(self.broker.ctl, "set_disk_free_limit", "900GB")
        await crowd.go_on(_FAULT_SECONDS)
        await asyncio.to_thread(self.broker.ctl, "set_disk_free_limit", "50MB")

    async def _kill_database(self, crowd: Crowd) -> None:
        await asyncio.to_thread(self.database.kill)
        await crowd.go_on(_FAULT_SECONDS)
        await asyncio.to_thread(self.database.start)

    async def _freeze_database(self, crowd: Crowd) -> None:
        await asyncio.to_thread(self.database.freeze)
        await crowd.go_on(_FAULT_SECONDS)
        await asyncio.to_thread(self.database.thaw)

    def _measure(self, minute: float) -> None:
        for name, member in self.desk.members.items():
            member.check()
            threads = sum(1 for _ in Path(f"/proc/{member.pid}/task").iterdir())
            sample = Sample(minute, member.pid, resident_bytes(member.pid), count_descriptors(member.pid), threads)
            self.samples.setdefault(name, []).append(sample)

    def _tell(self, minute: float) -> None:
        last = {name: samples[-1] for name, samples in self.samples.items()}
        sizes = ", ".join(f"{name} {item.resident >> 20} MiB {item.descriptors} fds" for name, item in last.items())
        journal = self.journal
        sums = f"attempted {len(journal.attempted)}, acknowledged {len(journal.acknowledged)}"
        print(f"{minute:6.1f} min  {sums}, put off {journal.unanswered.total()}  {sizes}", flush=True)

    def _hold_steady(self) -> None:
        leaks = [leak for name, samples in self.samples.items() for leak in find_leaks(name, samples)]
        assert not leaks, "; ".join(leaks)
        leftovers = [str(path) for path in self.desk.folder.rglob("*.part")]
        assert not leftovers, f"temporary files: {leftovers}"

    def table(self, balance: Balance) -> str:
        """For people."""
        columns = ("times", "attempted", "acknowledged", "put off")
        lines = [f"{'fault':<28}" + "".join(f"{name:>14}" for name in columns)]
        for name, counts in sorted(self.faults.items()):
            lines.append(f"{name:<28}" + "".join(f"{counts[column]:>14}" for column in columns))
        lines.append("")
        names = ("attempted", "acknowledged", "stored", "recovered", "duplicates")
        lines += [f"{name:<28}{getattr(balance, name):>14}" for name in names]
        lines += [f"{name:<28}{len(getattr(balance, name)):>14}" for name in ("lost", "doubled", "unexpected", "wrong")]
        return "\n".join(lines)


async def soak(minutes: float, seed: str, *, pause_between: float = 50.0) -> Balance:
    """Start everything, soak, end everything."""
    print(f"SEED={seed}", flush=True)
    broker, database = RabbitNode(), PostgresCluster()
    try:
        await asyncio.gather(asyncio.to_thread(broker.start), asyncio.to_thread(database.start))
        with tempfile.TemporaryDirectory(prefix="frontdesk-soak-") as name, Journal(Path(name) / "journal") as journal:
            url = await asyncio.to_thread(database.create_database, f"soak_{uuid4().hex[:8]}")
            desk = Desk(Path(name), queue_url=await asyncio.to_thread(broker.desk_url), store_url=url)
            for member in ("gateway-1", "gateway-2", "worker-1", "worker-2"):
                desk.add(member, "serve" if member.startswith("gateway") else "work")
            try:
                run = Soak(desk, broker, database, journal, random.Random(seed))
                return await run.run(minutes, pause_between=pause_between)
            finally:
                await desk.close()
    finally:
        await asyncio.gather(asyncio.to_thread(broker.stop), asyncio.to_thread(database.stop))


def main() -> int:
    """Exit code 0 when everything held."""
    parser = argparse.ArgumentParser(description="A steady stream, and a random fault a minute.")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", default=os.environ.get("SEED") or str(random.SystemRandom().randrange(10**6)))
    given = parser.parse_args()
    try:
        asyncio.run(soak(given.minutes, given.seed))
    except AssertionError as error:
        print(f"NOT AS PROMISED: {error}", file=sys.stderr, flush=True)
        return 1
    print("nothing lost, nothing doubled, nothing leaked", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
