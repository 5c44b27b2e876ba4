"""A month of a support desk, from one seed: what arrives, in which order, and what is true about it.

The mix is that of 25,000 messages a month: 65 % form, 15 % mail, 10 % chat, 5 % X, 5 % telephone. A message is what a
customer said once; every one arrives as one or more deliveries.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Final

from tests.simulation import forms, mails, talks
from tests.simulation.crowd import Crowd, Story
from tests.simulation.desk import Delivery

MIX: Final[dict[str, tuple[float, dict[Story, int]]]] = {
    "form": (0.65, forms.STORIES),
    "email": (0.15, mails.STORIES),
    "chat": (0.10, talks.CHATS),
    "twitter": (0.05, talks.POSTS),
    "phone": (0.05, talks.CALLS),
}
_CHANNELS: Final = {"contact": "form", "support": "email", "billing": "email", "website": "chat"}


def simulate(messages: int, seed: int = 1) -> list[Delivery]:
    """About so many messages, as deliveries in the order of their arrival."""
    crowd = Crowd.gather(seed, max(50, messages * 2 // 5))
    found: list[Delivery] = []
    counts: Counter[str] = Counter()
    for channel, (share, stories) in MIX.items():
        while counts[channel] < share * messages:
            [story] = crowd.rng.choices(list(stories), list(stories.values()))
            deliveries = story(crowd)
            found += deliveries
            counts.update(_CHANNELS.get(inbox, inbox) for _, inbox in {(d.message, _first(d)) for d in deliveries})
    return sorted(found, key=lambda delivery: delivery.at)


def _first(delivery: Delivery) -> str:
    return "support" if delivery.inbox == "billing" else delivery.inbox


def as_queued(count: int, seed: int, *, reach: int = 300) -> list[int]:
    """The order in which workers get `count` deliveries: near the order of arrival, `reach` places off at most."""
    rng = random.Random(seed)
    return sorted(range(count), key=lambda place: place + rng.uniform(0, reach))


def batches(order: Sequence[int], seed: int) -> list[list[int]]:
    """Cut into batches of 1 to 200, and some of them once more: the broker delivers again what it got no answer for."""
    rng = random.Random(seed)
    found: list[list[int]] = []
    start = 0
    while start < len(order):
        size = rng.choice((1, 20, 100, 100, 200))
        found.append(list(order[start : start + size]))
        start += size
        if rng.random() < 0.05:
            found.append(found[rng.randrange(len(found))])
    return found
