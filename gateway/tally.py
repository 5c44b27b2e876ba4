"""What one gateway life has promised: a count the audit can hold against the receipts without trusting the worker.

Every delivery gets the next sequence number before it is published. When the sender has been told, its number is
settled: acknowledged, or given up (the sender heard a temporary refusal and keeps the message). All numbers up to the
watermark are settled, so a number below it that was not given up and has no receipt is a lost message, and the audit
can name it. Above the watermark nothing was promised yet when the life ended.
"""

from __future__ import annotations

from datetime import datetime

from normalizer.message import Tally


class Life:
    """The tally of one gateway process. Used from one event loop only."""

    def __init__(self, gateway: str, started_at: datetime) -> None:
        self.gateway = gateway
        self.started_at = started_at
        self.accepted = 0
        self.settled = 0
        self._last = 0
        self._ahead: set[int] = set()  # settled numbers above the watermark
        self._given_up: list[tuple[int, int]] = []
        self._reported: tuple[int, int] = (0, 0)

    def next(self) -> int:
        """The number of the next delivery."""
        self._last += 1
        return self._last

    def acknowledge(self, number: int) -> None:
        """The delivery is durable and its sender will be told so."""
        self.accepted += 1
        self._settle(number)

    def give_up(self, number: int) -> None:
        """The sender will hear a temporary refusal."""
        if self._given_up and self._given_up[-1][1] == number - 1:
            self._given_up[-1] = (self._given_up[-1][0], number)
        else:
            self._given_up.append((number, number))
        self._settle(number)

    def changed(self) -> bool:
        """Has anything been settled since `report`?"""
        return self._reported != (self.accepted, self.settled)

    def unheard(self) -> None:
        """The last `report` reached nobody."""
        self._reported = (-1, -1)

    def report(self, now: datetime, *, ended: bool = False) -> Tally:
        """The tally to publish."""
        self._reported = (self.accepted, self.settled)
        return Tally(
            gateway=self.gateway,
            accepted=self.accepted,
            settled=self.settled,
            given_up=tuple(self._given_up),
            ended=ended,
            started_at=self.started_at,
            updated_at=now,
        )

    def _settle(self, number: int) -> None:
        self._ahead.add(number)
        while self.settled + 1 in self._ahead:
            self.settled += 1
            self._ahead.remove(self.settled)
