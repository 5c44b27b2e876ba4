"""A chosen load (`--mix`, `--month`) on a desk of the bench's own, or on one that runs."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from gateway.bench.client import BenchError
from gateway.bench.desk import account, running, runtime_of, settings_of, watch
from gateway.bench.doors import Doors
from gateway.bench.drive import Drive, Driven, Tell
from gateway.bench.here import doors_of, processes
from gateway.bench.mix import choose, parse_mix, visitors_of, write_mix
from gateway.bench.month import SETTINGS, write_month
from gateway.bench.processes import free_port
from gateway.bench.stage import Plan
from gateway.runtime import Runtime
from gateway.settings import PREFIX, load_settings

MONTH: Final = 25_000  # messages; a third more deliveries
_WARM_UP: Final = 200


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to send. An empty `mix` is the month; `rate` 0 is as fast as it is taken."""

    messages: int
    mix: str = ""
    rate: float = 0.0

    @property
    def name(self) -> str:
        """For the report."""
        how = f" at {self.rate:g}/s" if self.rate else ""
        return (f"mix {self.mix}" if self.mix else f"the month ({self.messages:,} messages)") + how


async def drive_own(wanted: Wanted, plan: Plan, folder: Path, tell: Tell) -> Driven:
    """On a desk made for it, with both providers' secrets."""
    ports = [free_port() for _ in range(2 * plan.gateways)]
    http, smtp, *others = ports
    token, secret = uuid4().hex, uuid4().hex
    environment = settings_of(plan.queue_url, plan.store_url, folder, http, smtp)
    environment[PREFIX + "INBOXES"] = json.dumps(inboxes_with(token, secret))
    inboxes = {"form": "contact", "chat": "website", "phone": "phone", "twitter": "twitter"}
    base = environment[PREFIX + "PUBLIC_URL"] = f"http://127.0.0.1:{http}"  # what providers sign, at every gateway
    mailbox = "support@localhost" if wanted.mix else "support@desk.test"
    beside = tuple(
        (("127.0.0.1", web), ("127.0.0.1", mail)) for web, mail in zip(others[::2], others[1::2], strict=True)
    )
    doors = Doors(("127.0.0.1", http), ("127.0.0.1", smtp), base, inboxes, mailbox, token, secret, beside)
    runtime = runtime_of(environment)
    try:
        async with running(plan.members, environment, folder, ports) as found:
            return await _drive(wanted, doors, runtime, await watch(found, plan.watched), environment, tell)
    finally:
        await runtime.close()


async def drive_running(wanted: Wanted, http: str, smtp: str, tell: Tell) -> Driven:
    """On the desk that the settings of this folder and environment describe."""
    if not wanted.mix:
        raise BenchError("the month needs a desk with its own keys; give a --mix for a running one")
    runtime = Runtime(load_settings())
    try:
        await runtime.start()
        return await _drive(
            wanted, doors_of(runtime, http, smtp), runtime, processes(runtime.settings), dict(os.environ), tell
        )
    finally:
        await runtime.close()


async def _drive(
    wanted: Wanted,
    doors: Doors,
    runtime: Runtime,
    watched: Mapping[str, int],
    environment: Mapping[str, str],
    tell: Tell,
) -> Driven:
    drive = Drive(doors, runtime.store, watched, tell)
    await drive.open()
    try:
        if wanted.mix:
            channels = choose(parse_mix(wanted.mix), wanted.messages)
            warm = channels[: min(_WARM_UP, len(channels))]
            sessions = [
                json.loads(answer.partition(b"\r\n\r\n")[2])["session_token"]
                for answer in await drive.visitors(visitors_of(channels) + visitors_of(warm))
            ]
            spare = visitors_of(channels)
            await drive.run("warm-up", write_mix(warm, doors, sessions[spare:]), 0)
            messages = write_mix(channels, doors, sessions)
        else:
            messages = [[item] for item in await asyncio.to_thread(write_month, wanted.messages, doors)]
        result = await drive.run(wanted.name, messages, wanted.rate)
        if not wanted.mix:
            result.messages = wanted.messages
    finally:
        drive.close()
    await account(result, environment)
    return result


def inboxes_with(token: str, secret: str) -> dict[str, Any]:
    """The inboxes of a desk that is measured, with these secrets of both providers."""
    providers = {"phone": {"auth_token": token}, "twitter": {"consumer_secret": secret}}
    ours = {name: dict(options) for name, options in SETTINGS.items()}
    ours["support"]["domains"] = ["desk.test", "localhost"]
    return ours | providers
