"""`--mix form=65,chat=10,mail=15,twitter=5,phone=5`: messages of every channel, each through its own front door."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Final
from uuid import uuid4

from gateway.bench.client import BenchError
from gateway.bench.content import Item, compose
from gateway.bench.doors import Doors
from gateway.demo.callers import write_call
from gateway.demo.people import Matter, Person
from gateway.demo.posts import Timeline

CHANNELS: Final = ("form", "chat", "mail", "twitter", "phone")
_LINES: Final = 4  # said in one chat


def parse_mix(text: str) -> dict[str, float]:
    """Channel -> share of the messages; shares need not add up to 100. Raises BenchError."""
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        try:
            share = float(value)
        except ValueError:
            share = -1.0
        if name not in CHANNELS or not 0 <= share < float("inf"):
            raise BenchError(f"{part.strip()!r} is not <channel>=<share> with a channel of {', '.join(CHANNELS)}")
        shares[name] = shares.get(name, 0.0) + share
    if sum(shares.values()) <= 0:
        raise BenchError("a mix needs a share above zero")
    return shares


def choose(shares: Mapping[str, float], messages: int, seed: int = 1) -> list[str]:
    """The channel of each message: the shares as exactly as whole messages allow, in a random order."""
    total = sum(shares.values())
    chosen: list[str] = []
    wanted = 0.0
    for channel, share in shares.items():
        wanted += share / total * messages
        chosen += [channel] * (round(wanted) - len(chosen))
    random.Random(seed).shuffle(chosen)  # noqa: S311  a repeatable order
    return chosen


def visitors_of(channels: Sequence[str]) -> int:
    """How many chat sessions the messages need; they are opened before anything is measured."""
    return -(-channels.count("chat") // _LINES)


def write_mix(channels: Sequence[str], doors: Doors, sessions: Sequence[str]) -> list[list[Item]]:
    """Each message as what is sent for it: one request or mail, or the requests Twilio makes about a call."""
    run, rng = uuid4().hex[:8], random.Random(uuid4().int)  # noqa: S311  no secret
    timeline = Timeline(rng, datetime.now(UTC))
    ready = {
        "form": iter(compose("form", channels.count("form"))),
        "mail": iter(compose("mail", channels.count("mail"))),
    }
    talks = count()
    found: list[list[Item]] = []
    for number, channel in enumerate(channels):
        matter = _matter(run, number, rng)
        match channel:
            case "form":
                found.append([doors.form(next(ready["form"]).content)])
            case "mail":
                letter = next(ready["mail"])
                found.append([doors.mail(letter.sender, letter.content)])
            case "chat":
                line = next(talks)
                found.append([doors.chat(sessions[line // _LINES], f"{run}-{line}", matter.brief)])
            case "twitter":
                [mention, *_] = timeline.thread(matter)
                found.append([doors.post(json.dumps(mention).encode())])
            case _:
                found.append([doors.call(*asked) for asked in write_call(matter, "voicemail", rng).requests])
    return found


def _matter(run: str, number: int, rng: random.Random) -> Matter:
    person = Person(
        name=f"Customer {number}",
        email=f"customer{number}.{run}@example.com",
        phone=f"+447700900{number % 1000:03d}",  # Ofcom keeps these for fiction
        handle=f"c{run}{number}"[:15],
        x_id=str(rng.randrange(10**18, 10**19)),
        language="en",
    )
    brief = f"Where is parcel {run}-{number}? It was announced for Tuesday."
    return Matter(person, f"Parcel {run}-{number}", brief, brief, "Nobody rang.", "It came, thank you.")
