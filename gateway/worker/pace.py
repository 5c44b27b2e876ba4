"""How large a batch is, so that a flood on one channel keeps nobody on another one waiting for long."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

_FLOOD: Final = 0.8  # of a batch on one channel
_SHARE: Final = 6
_REMEMBERED: Final = 1.0  # seconds for which a flood lasts after such a batch, and a channel is in use after a message


class Pace:
    """The size of the next batch, at most `largest`.

    Whoever writes has to wait until the batch in hand is recorded, and then for their own. A large batch costs less a
    message, and a backlog wants that; but while one channel floods and others are in use, batches are a sixth as
    large: the flood is worked off more slowly, and the others wait for milliseconds and not for tenths of a second.
    """

    def __init__(self, largest: int) -> None:
        self.size = self._largest = largest
        self._short = max(1, largest // _SHARE)
        self._seen: dict[str, float] = {}  # channel -> when it was last in a batch
        self._flooded: dict[str, float] = {}  # channel -> when it last made up nearly all of one

    def note(self, channels: Sequence[str], now: float) -> None:
        """A batch of these channels was recorded at `now` (seconds of a clock that never goes back)."""
        self._seen |= dict.fromkeys(channels, now)
        ((busiest, most),) = Counter(channels).most_common(1) or [("", 0)]
        if len(channels) >= self._short and most >= len(channels) * _FLOOD:
            self._flooded[busiest] = now
        flooding = [channel for channel, at in self._flooded.items() if now - at < _REMEMBERED]
        crowded = any(self._is_beside(channel, now) for channel in flooding)
        self.size = self._short if crowded else self._largest

    def _is_beside(self, flooding: str, now: float) -> bool:
        """Whether another channel is in use."""
        return any(now - at < _REMEMBERED for channel, at in self._seen.items() if channel != flooding)
