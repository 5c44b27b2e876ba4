"""Stories of mail."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from adapters.base import Raw
from gateway.demo.people import Matter, Person
from tests.simulation.crowd import Crowd, Story
from tests.simulation.desk import BILLING, MX, SUPPORT, Delivery


@dataclass(frozen=True, slots=True)
class Letter:
    """One mail as its sender's program wrote it."""

    sender: Person
    subject: str
    text: str
    id: str
    answers: tuple[str, ...] = ()  # ids, oldest first
    to: tuple[str, ...] = (SUPPORT,)
    cc: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()  # header lines
    quoted: str = ""

    @property
    def content(self) -> bytes:
        """RFC 5322, as UTF-8."""
        lines = [*self.extra, f"From: {self.sender.name} <{self.sender.email}>", f"To: {', '.join(self.to)}"]
        lines += [f"Cc: {', '.join(self.cc)}"] if self.cc else []
        lines += [f"Subject: {self.subject}", f"Message-ID: <{self.id}>"] if self.id else [f"Subject: {self.subject}"]
        lines += [f"In-Reply-To: <{self.answers[-1]}>"] if self.answers else []
        lines += [f"References: {' '.join(f'<{one}>' for one in self.answers)}"] if self.answers else []
        lines += ["Date: Sat, 01 Aug 2026 10:00:00 +0200", "MIME-Version: 1.0"]
        lines += ["Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit", "", self.text]
        if self.quoted:
            lines += ["", "On Sat, Aug 1, 2026 at 10:00 AM somebody <somebody@desk.test> wrote:", ""]
            lines += [f"> {line}" for line in self.quoted.splitlines()]
        return "\r\n".join("\n".join(lines).split("\n")).encode() + b"\r\n"


def write(person: Person, subject: str, text: str, number: str, answers: Sequence[str] = ()) -> Letter:
    """A mail to support with an id of its own."""
    return Letter(person, subject, text, f"{number}@{person.email.partition('@')[2]}", tuple(answers))


def deliver(letter: Letter, at: datetime, ticket: str, *, inbox: str = "support", message: str = "") -> Delivery:
    """It arrives. `message`: when the id is none of its own."""
    facts = {"mail_from": letter.sender.email, "rcpt_tos": [f"{inbox}@desk.test"]}
    received = f"Received: from relay.example by {MX} id {at.timestamp():.6f}; Sat, 01 Aug 2026 10:00:00 +0200\r\n"
    body = received.encode() + letter.content
    return Delivery(at, inbox, Raw(body, "message/rfc822", facts), message or letter.id, ticket)


def opening(crowd: Crowd, person: Person | None = None) -> tuple[Matter, Letter]:
    """A new matter and the mail that begins it."""
    matter = crowd.matter(person)
    return matter, write(matter.person, matter.subject, matter.open, crowd.number())


def reply(crowd: Crowd, matter: Matter, answers: Sequence[str], by: Person | None = None) -> Letter:
    """A later mail about it, in other words."""
    said = f"{crowd.rng.choice((matter.more, matter.thanks))} {crowd.number()}"
    letter = write(by or matter.person, f"Re: {matter.subject}", said, crowd.number(), answers)
    return replace(letter, quoted=matter.open)


def proven(letter: Letter, result: str = "pass") -> Letter:
    """Our mail server looked at DMARC, and says so."""
    domain = letter.sender.email.partition("@")[2]
    return replace(letter, extra=(f"Authentication-Results: {MX}; dmarc={result} header.from={domain}", *letter.extra))


def thread(crowd: Crowd) -> list[Delivery]:
    """A mail and its answers; they may overtake each other, and the first may come last."""
    matter, first = opening(crowd)
    ticket, at, found = crowd.number(), crowd.moment(), [first]
    for _ in range(crowd.rng.randint(0, 4)):
        found.append(reply(crowd, matter, [letter.id for letter in found]))
    times = [at + crowd.hours(0, 50) for _ in found]
    return [deliver(letter, when, ticket) for letter, when in zip(found, times, strict=True)]


def sent_again(crowd: Crowd) -> list[Delivery]:
    """Their server heard no answer: the same mail again, by another road, hours later."""
    _, letter = opening(crowd)
    ticket, at = crowd.number(), crowd.moment()
    return [deliver(letter, at + crowd.hours(0, 70), ticket) for _ in range(crowd.rng.randint(2, 4))]


def two_inboxes(crowd: Crowd) -> list[Delivery]:
    """To support and billing: one comment."""
    _, letter = opening(crowd)
    letter, ticket, at = replace(letter, to=(SUPPORT, BILLING)), crowd.number(), crowd.moment()
    return [deliver(letter, at + crowd.seconds(0, 30), ticket, inbox=inbox) for inbox in ("support", "billing")]


def colleague(crowd: Crowd) -> list[Delivery]:
    """Somebody in Cc answers too, and is away another time."""
    one, other = crowd.persons(2)
    matter, first = opening(crowd, one)
    first, ticket, at = replace(first, cc=(other.email,)), crowd.number(), crowd.moment()
    away = replace(reply(crowd, matter, [first.id], by=other), extra=("Auto-Submitted: auto-replied",))
    found = [first, reply(crowd, matter, [first.id], by=other), away]
    return [deliver(letter, at + crowd.hours(0, 30), ticket) for letter in found]


def stranger(crowd: Crowd) -> list[Delivery]:
    """Somebody who was forwarded the mail, or guessed its id, cites it, with the customer in Cc."""
    one, other = crowd.persons(2)
    matter, first = opening(crowd, one)
    intruding = replace(reply(crowd, matter, [first.id], by=other), cc=(one.email,))
    return [deliver(letter, crowd.moment(), crowd.number()) for letter in (first, intruding)]


def brought_in(crowd: Crowd) -> list[Delivery]:
    """The same, but a participant copies them in, before or after."""
    one, other = crowd.persons(2)
    matter, first = opening(crowd, one)
    ticket = crowd.number()
    admitting = replace(reply(crowd, matter, [first.id]), cc=(other.email,))
    found = [first, reply(crowd, matter, [first.id], by=other), admitting]
    return [deliver(letter, crowd.moment(), ticket) for letter in found]


def newsletter(crowd: Crowd) -> list[Delivery]:
    """Answers of several people to one mail of ours that we never saw."""
    root, at = f"news-{crowd.number()}@desk.test", crowd.moment()
    found = [reply(crowd, crowd.matter(person), [root]) for person in crowd.persons(crowd.rng.randint(2, 5))]
    return [deliver(letter, at + crowd.hours(0, 40), crowd.number()) for letter in found]


def siblings(crowd: Crowd) -> list[Delivery]:
    """Two answers of one person to one mail of ours that we never saw."""
    root, matter, ticket = f"sent-{crowd.number()}@desk.test", crowd.matter(), crowd.number()
    return [deliver(reply(crowd, matter, [root]), crowd.moment(), ticket) for _ in range(2)]


def bridge(crowd: Crowd) -> list[Delivery]:
    """Two mails of one person, and a third that cites both."""
    person, ticket = crowd.rng.choice(crowd.people), crowd.number()
    (matter, one), (_, other) = opening(crowd, person), opening(crowd, person)
    found = [one, other, reply(crowd, matter, [one.id, other.id])]
    return [deliver(letter, crowd.moment(), ticket) for letter in found]


def reused_id(crowd: Crowd) -> list[Delivery]:
    """A scanner gives two mails one Message-ID: nothing is dropped. Two people's stay apart."""
    people = crowd.persons(2) if crowd.rng.random() < 0.5 else crowd.persons(1) * 2
    tickets = [crowd.number(), crowd.number()] if people[0] is not people[1] else [crowd.number()] * 2
    message_id = f"scan-{crowd.number()}@scanner.example"
    letters = [replace(opening(crowd, person)[1], id=message_id) for person in people]
    return [
        deliver(letter, crowd.moment(), ticket, message=crowd.number())
        for letter, ticket in zip(letters, tickets, strict=True)
    ]


def forged(crowd: Crowd) -> list[Delivery]:
    """In the customer's name, but the check of the sender failed."""
    matter, first = opening(crowd)
    fake = proven(reply(crowd, matter, [first.id]), "fail")
    return [deliver(letter, crowd.moment(), crowd.number()) for letter in (first, fake)]


def stripped(crowd: Crowd) -> list[Delivery]:
    """An answer whose headers a relay removed: the proven sender's finds its ticket by the subject, others do not."""
    matter, first = opening(crowd)
    second = replace(reply(crowd, matter, []), answers=())
    at = crowd.moment()
    times = (at, at + crowd.hours(1, 300))
    if crowd.rng.random() < 0.6:
        ticket = crowd.number()
        return [deliver(proven(one), when, ticket) for one, when in zip((first, second), times, strict=True)]
    return [deliver(one, when, crowd.number()) for one, when in zip((first, second), times, strict=True)]


def outlook(crowd: Crowd) -> list[Delivery]:
    """Outlook names its conversation in Thread-Index; the other headers were lost."""
    matter, first = opening(crowd)
    ticket = crowd.number()
    index = b"\x01\xdc\x02\x8d\x1c\xb7" + hashlib.sha256(ticket.encode()).digest()[:16]
    second = replace(reply(crowd, matter, []), answers=(), subject=f"AW: {crowd.number()}")
    lines = [f"Thread-Index: {base64.b64encode(item).decode()}" for item in (index, index + b"\x00\x00\x12\x34\x56")]
    return [
        deliver(replace(letter, extra=(line,)), crowd.moment(), ticket)
        for letter, line in zip((first, second), lines, strict=True)
    ]


def without_id(crowd: Crowd) -> list[Delivery]:
    """Mails without a Message-ID are no duplicates and no thread of each other."""
    found = [replace(opening(crowd)[1], id="") for _ in range(2)]
    return [deliver(letter, crowd.moment(), crowd.number(), message=crowd.number()) for letter in found]


STORIES: dict[Story, int] = {
    thread: 60,
    sent_again: 20,
    two_inboxes: 10,
    colleague: 8,
    stranger: 6,
    brought_in: 5,
    newsletter: 4,
    siblings: 5,
    bridge: 5,
    reused_id: 4,
    forged: 4,
    stripped: 6,
    outlook: 4,
    without_id: 4,
}
