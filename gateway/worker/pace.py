"""How large a batch is, so that a flood on one channel keeps nobody on another one waiting for long."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

_FLOOD: Final = 0.8  # of what came lately, on one channel
_SHARE: Final = 12
_MANY: Final = 0.5  # of a full batch: less is no flood, however much of it is of one channel
_IN_USE: Final = 1.0  # seconds after a message
_FORGOTTEN: Final = 10.0  # seconds after the last one: strangers on the broker may name channels as they like


class Pace:
    """The size of the next batch, at most `largest`.

    Whoever writes has to wait until the batch in hand is recorded, and then for their own. A large batch costs less a
    message, and a backlog wants that; but while one channel floods and others are in use, batches are a twelfth as
    large: the flood is worked off more slowly, and the others wait for milliseconds and not for tenths of a second.
    """

    def __init__(self, largest: int) -> None:
        self.size = self._largest = largest
        self._lately: dict[str, float] = {}  # channel -> messages, each fading to 1/e in a second
        self._seen: dict[str, float] = {}  # channel -> when it was last in a batch
        self._noted = 0.0

    def note(self, channels: Sequence[str], now: float) -> None:
        """A batch of these channels was fetched at `now` (seconds of a clock that never goes back)."""
        left, self._noted = math.exp(self._noted - now), now
        came = Counter(channels)
        recent = {channel: at for channel, at in self._seen.items() if now - at < _FORGOTTEN}
        self._seen = recent | dict.fromkeys(came, now)
        self._lately = {channel: self._lately.get(channel, 0) * left + came[channel] for channel in self._seen}
        self.size = max(1, self._largest // _SHARE) if self._is_flooded(now) else self._largest

    def _is_flooded(self, now: float) -> bool:
        """Whether nearly all is of one channel, and another one is in use."""
        everything = sum(self._lately.values())
        busiest = max(self._lately, key=self._lately.__getitem__, default="")
        if everything < self._largest * _MANY or self._lately[busiest] < everything * _FLOOD:
            return False
        return any(now - at < _IN_USE for channel, at in self._seen.items() if channel != busiest)
