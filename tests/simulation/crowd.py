"""Who writes, when, and about what: everyone's words carry a number of their own, unless they repeat themselves."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gateway.demo.people import Matter, Person, words
from gateway.demo.posts import Timeline
from tests.simulation.desk import Delivery

START = datetime(2026, 8, 1, tzinfo=UTC)
MONTH = timedelta(days=30)
Story = Callable[["Crowd"], list[Delivery]]


@dataclass(slots=True)
class Crowd:
    """Customers of one month, from one seed."""

    rng: random.Random
    people: list[Person]
    timeline: Timeline
    counter: int = 100_000

    @classmethod
    def gather(cls, seed: int, people: int) -> Crowd:
        """So many customers; most of them write more than once in the month."""
        rng = random.Random(seed)
        return cls(rng, [_person(number) for number in range(people)], Timeline(rng, START))

    def number(self) -> str:
        """A reference nobody else has: of an order, a mail, a session."""
        self.counter += 1
        return f"HP-{self.counter}"

    def persons(self, count: int) -> list[Person]:
        """Different people."""
        return self.rng.sample(self.people, count)

    def moment(self) -> datetime:
        """Some time of the month, more often by day than by night."""
        day, hour = self.rng.randrange(MONTH.days), self.rng.triangular(0, 24, 14)
        return START + timedelta(days=day, hours=hour)

    def matter(self, person: Person | None = None) -> Matter:
        """Something new by this person, or by somebody."""
        scene = self.rng.choice(words()["scene"])
        numbers = {"order": str(self.rng.randrange(104_000, 998_000)), "amount": f"{self.rng.randrange(1200, 24900)}"}
        said = {
            part: f"{scene[part].format(**numbers)} ({self.number()})"
            for part in ("subject", "open", "brief", "more", "thanks")
        }
        return Matter(person=person or self.rng.choice(self.people), **said)

    def seconds(self, least: float, most: float) -> timedelta:
        """Some time between."""
        return timedelta(seconds=self.rng.uniform(least, most))

    def hours(self, least: float, most: float) -> timedelta:
        """Some time between."""
        return timedelta(hours=self.rng.uniform(least, most))


def _person(number: int) -> Person:
    return Person(
        name=f"Customer {number}",
        email=f"customer{number}@mail{number % 7}.example",
        phone=f"+447700900{number % 1000:03d}",
        handle=f"customer{number}",
        x_id=str(2_000_000_000_000_000_000 + number),
        language="en",
    )
