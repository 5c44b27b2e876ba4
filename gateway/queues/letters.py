"""Dead letters, asked for one by one on an AMQP channel of their own.

Whoever asks may be cut off with an answer on its way, which nobody would ever hear about. Then that channel is closed,
the broker has again what it handed out there, and the consumers beside it are left alone.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import cast

from aiormq.channel import Channel
from pamqp.commands import Basic

from gateway.queues.ahead import Ahead
from gateway.queues.base import Delivered, room_in
from gateway.queues.lane import Lane
from gateway.queues.link import LOST, Link, describe
from gateway.queues.topology import DEAD


class Letters:
    """Those that a connection has given us. `link`: the one they come by."""

    def __init__(self, link: Link, ahead: Ahead) -> None:
        self._link = link
        self._ahead = ahead
        self._lane: Lane | None = None
        self._channel: Channel | None = None
        self._asking = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def unacked(self) -> int:
        """How many the broker waits to hear about."""
        return self._lane.unacked if self._lane is not None else 0

    async def get(self, limit: int) -> list[Delivered]:
        """What is there now. Raises QueueUnavailableError, or what the library has for a broker that went away."""
        async with self._asking:
            lane, channel = await self._open()
            found: list[Delivered] = []
            try:
                while len(found) < limit and room_in(found) > 0:
                    message = await channel.basic_get(DEAD)
                    if isinstance(message.delivery, Basic.GetEmpty):
                        break
                    found.append(lane.admit(message))
            except LOST as error:
                self._link.break_off(f"it gives out no dead letters: {describe(error)}")  # to declare their queue again
                raise
            except asyncio.CancelledError:
                self._give_up(channel)
                raise
            return found

    def lose(self) -> None:
        """The connection is gone: the broker has all of them."""
        if self._lane is not None:
            self._lane.lose()
        self._lane = self._channel = None

    async def _open(self) -> tuple[Lane, Channel]:
        connection = await self._link.connection()
        if self._lane is None or self._channel is None or self._channel.is_closed:
            self.lose()
            self._channel = cast(Channel, await connection.channel(publisher_confirms=False))
            self._lane = Lane(DEAD, self._channel, self._ahead, lambda: None)
        return self._lane, self._channel

    def _give_up(self, channel: Channel) -> None:
        self.lose()
        task = asyncio.create_task(_close(channel), name="rabbitmq close dead letters")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


async def _close(channel: Channel) -> None:
    with contextlib.suppress(*LOST, asyncio.CancelledError):  # gone already, or its connection is
        await channel.close()
