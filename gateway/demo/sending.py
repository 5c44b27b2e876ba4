"""Sending all of it at once, a few at a time by each channel, as a morning would."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import aiohttp

from gateway.demo.senders import MailSender, UnsentError, WebSender
from gateway.demo.shapes import CHANNELS, Traffic
from gateway.demo.target import Target

T = TypeVar("T")
Progress = Callable[[str, int], None]
"""Called with a channel and how many deliveries it has just been told are accepted."""

AT_ONCE = {"email": 6, "form": 8, "chat": 12, "phone": 4, "twitter": 6}
GIVE_UP_AFTER = 5  # failures of a channel, after which the rest of it is not tried
_TIMEOUT = aiohttp.ClientTimeout(total=60)


@dataclass
class DemoResult:
    """`acknowledged` counts what the senders were told is accepted; `failures` say what was not, and why.

    `receipts` are the ids senders were told, by channel: providers (Twilio, X) are told none.
    """

    acknowledged: Counter[str] = field(default_factory=Counter)
    receipts: dict[str, list[str]] = field(default_factory=lambda: {channel: [] for channel in CHANNELS})
    failures: list[str] = field(default_factory=list)


async def run_demo(target: Target, traffic: Traffic, *, progress: Progress | None = None) -> DemoResult:
    """Send everything through the real front doors, over the network and nothing else."""
    result = DemoResult()
    senders = [MailSender(target) for _ in range(AT_ONCE["email"])]
    async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
        web = WebSender(target, session)
        plans: list[tuple[str, Sequence[Any], Sequence[Callable[[Any], Awaitable[list[str]]]]]] = [
            ("email", traffic.mails, [sender.send for sender in senders]),
            ("form", sorted(traffic.forms, key=lambda form: not form.hosted), [web.submit] * AT_ONCE["form"]),
            ("chat", traffic.talks, [web.talk] * AT_ONCE["chat"]),
            ("phone", traffic.calls, [web.call] * AT_ONCE["phone"]),
            ("twitter", traffic.posts, [web.post] * AT_ONCE["twitter"]),
        ]
        await asyncio.gather(*(_send_all(*plan, result, progress) for plan in plans))
    for sender in senders:
        await sender.close()
    return result


async def _send_all(
    channel: str,
    items: Sequence[T],
    hands: Sequence[Callable[[T], Awaitable[list[str]]]],
    result: DemoResult,
    progress: Progress | None,
) -> None:
    """One channel's items in order, taken by several hands."""
    waiting = iter(items)
    failed: list[str] = []

    async def work(send: Callable[[T], Awaitable[list[str]]]) -> None:
        for item in waiting:
            try:
                receipts = await send(item)
            except (UnsentError, aiohttp.ClientError, TimeoutError, OSError) as error:
                failed.append(f"{channel}: {str(error) or type(error).__name__}")
                if len(failed) >= GIVE_UP_AFTER:
                    left = sum(1 for _ in waiting)
                    failed[:0] = [f"{channel}: {left} more not tried"] if left else []
                continue
            result.acknowledged[channel] += len(receipts)
            result.receipts[channel].extend(filter(None, receipts))
            if progress is not None:
                progress(channel, len(receipts))

    await asyncio.gather(*(work(send) for send in hands))
    result.failures.extend(failed)
