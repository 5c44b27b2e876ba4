"""How large a batch is, so that a flood on one channel keeps nobody on another one waiting for long."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

_FLOOD: Final = 0.8  # of what came lately, on one channel
_SHARE: Final = 12
_MANY: Final = 0.5  # of a full batch: less is no flood, however much of it is of one channel
_IN_USE: Final = 0.4  # what is left of one message after 0.9 s


class Pace:
    """The size of the next batch, at most `largest`.

    Whoever writes has to wait until the batch in hand is recorded, and then for their own. A large batch costs less a
    message, and a backlog wants that; but while one channel floods and others are in use, batches are a twelfth as
    large: the flood is worked off more slowly, and the others wait for milliseconds and not for tenths of a second.
    """

    def __init__(self, largest: int) -> None:
        self.size = self._largest = largest
        self._lately: dict[str, float] = {}  # channel -> messages, each fading to 1/e in a second
        self._noted = 0.0

    def note(self, channels: Sequence[str], now: float) -> None:
        """A batch of these channels was recorded at `now` (seconds of a clock that never goes back)."""
        left, self._noted = math.exp(self._noted - now), now
        came = Counter(channels)
        lately = {channel: count * left for channel, count in self._lately.items()}
        self._lately = {channel: lately.get(channel, 0) + came[channel] for channel in {**lately, **came}}
        self.size = max(1, self._largest // _SHARE) if self._is_flooded() else self._largest

    def _is_flooded(self) -> bool:
        """Whether nearly all is of one channel, and some is not."""
        everything, most = sum(self._lately.values()), max(self._lately.values(), default=0.0)
        others = everything - most
        return everything >= self._largest * _MANY and most >= everything * _FLOOD and others >= _IN_USE
