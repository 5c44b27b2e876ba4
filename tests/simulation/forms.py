"""Stories of the web form."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from adapters.base import Raw
from adapters.webform import WebForm
from gateway.demo.people import Matter
from tests.simulation.crowd import Crowd, Story
from tests.simulation.desk import Delivery, inboxes, request
from tests.simulation.mails import deliver, write

_TYPE = "application/x-www-form-urlencoded"


def post(
    crowd: Crowd,
    matter: Matter,
    at: datetime,
    ticket: str,
    *,
    message: str = "",
    text: str = "",
    fate: str = "",
    **how: Any,
) -> Delivery:
    """One submission. `nonce`: from the hosted page; `key`: an Idempotency-Key; other fields as they are."""
    nonce, key = how.pop("nonce", ""), how.pop("key", "")
    fields = {
        "name": matter.person.name,
        "email": matter.person.email,
        "subject": matter.subject,
        "message": (text or matter.open).replace("\n", "\r\n"),
        "lang": "en",
        **how,
    }
    unique = crowd.number()
    if nonce:
        form = inboxes()["contact"]
        assert isinstance(form, WebForm)
        fields["form_token"] = form.issue_token(at.timestamp() - 60, nonce)
    facts = {"received_at": at.timestamp(), "submission_id": unique}
    if key:
        body = json.dumps(fields).encode()
        raw = Raw(body, "application/json", facts, request("contact", "", body, {"Idempotency-Key": key}))
    else:
        raw = Raw(urlencode(fields).encode(), _TYPE, facts)
    return Delivery(at, "contact", raw, message or unique, ticket, fate)


def plain(crowd: Crowd) -> list[Delivery]:
    """Somebody writes once."""
    return [post(crowd, crowd.matter(), crowd.moment(), crowd.number())]


def double_click(crowd: Crowd) -> list[Delivery]:
    """The hosted page's button pressed twice, once more after the page was left open: one token, one message."""
    matter, ticket, at = crowd.matter(), crowd.number(), crowd.moment()
    nonce = ticket.lower()
    clicks = [at, at + crowd.seconds(0.05, 1), at + crowd.seconds(60, 600)][: crowd.rng.randint(2, 3)]
    # The token is that of the first rendering: its time is under the signature.
    first = post(crowd, matter, clicks[0], ticket, message=ticket, nonce=nonce)
    return [first, *(Delivery(when, "contact", _at(first.raw, when), ticket, ticket) for when in clicks[1:])]


def program_retries(crowd: Crowd) -> list[Delivery]:
    """A program repeats its request until it hears an answer, hours later even."""
    matter, ticket, at, key = crowd.matter(), crowd.number(), crowd.moment(), crowd.number()
    times = [at] + [at + crowd.hours(0, 30) for _ in range(crowd.rng.randint(1, 3))]
    return [post(crowd, matter, when, ticket, message=ticket, key=key) for when in times]


def double_submit(crowd: Crowd) -> list[Delivery]:
    """A page without a token, its button pressed twice: the same words again, linked on one ticket."""
    matter, ticket, at = crowd.matter(), crowd.number(), crowd.moment()
    return [post(crowd, matter, when, ticket) for when in (at, at + crowd.seconds(0.1, 590))]


def later_again(crowd: Crowd) -> list[Delivery]:
    """The same words after the window: another matter (a monthly order, a second parcel)."""
    matter, at = crowd.matter(), crowd.moment()
    text = f"The same again, please. {crowd.number()}"  # too short to be nearly the same, for which an hour counts
    times = (at, at + timedelta(minutes=10) + crowd.hours(0.01, 40))
    return [post(crowd, matter, when, crowd.number(), text=text) for when in times]


def edited(crowd: Crowd) -> list[Delivery]:
    """Sent, read again, corrected and sent once more: nearly the same words within the hour."""
    matter, ticket, at = crowd.matter(), crowd.number(), crowd.moment()
    text = f"{_LONG} {matter.open}"
    change = crowd.rng.choice([f"{text} Please answer soon.", text.replace("please", "plaese"), f"Hello,\n{text}"])
    first, second = crowd.rng.sample([text, change], 2)
    when = at + crowd.seconds(5, 3500)
    return [post(crowd, matter, at, ticket, text=first), post(crowd, matter, when, ticket, text=second)]


_LONG = "I wrote to you by telephone last week, please have a look at this before the weekend, my family waits for it."


def form_then_mail(crowd: Crowd) -> list[Delivery]:
    """The same words by form and, as nobody answered at once, by mail within a day."""
    matter, ticket, at = crowd.matter(), crowd.number(), crowd.moment()
    mail = write(matter.person, matter.subject, matter.open, crowd.number())
    return [post(crowd, matter, at, ticket), deliver(mail, at + crowd.hours(0.1, 23), ticket)]


def form_then_signed_mail(crowd: Crowd) -> list[Delivery]:
    """The same with a signature under it, within the hour."""
    matter, ticket, at = crowd.matter(), crowd.number(), crowd.moment()
    text = f"{_LONG} {matter.open}"
    signed = f"{text}\n\nKind regards\n{matter.person.name}\nHarbor & Pine GmbH\nwww.harborpine.example"
    mail = write(matter.person, matter.subject, signed, crowd.number())
    return [post(crowd, matter, at, ticket, text=text), deliver(mail, at + crowd.seconds(30, 3500), ticket)]


def template(crowd: Crowd) -> list[Delivery]:
    """One text that many people copy: every one is a customer of their own."""
    people, text, at = crowd.persons(crowd.rng.randint(2, 5)), crowd.matter().open, crowd.moment()
    matters = [crowd.matter(person) for person in people]
    return [post(crowd, matter, at + crowd.hours(0, 0.2), crowd.number(), text=text) for matter in matters]


def reseller(crowd: Crowd) -> list[Delivery]:
    """One person, one letter, several orders: several matters, however alike."""
    matter, at = crowd.matter(), crowd.moment()
    texts = [f"{_LONG} This is about order {number}." for number in crowd.rng.sample(range(10_000, 99_999), 3)]
    return [post(crowd, matter, at + crowd.seconds(0, 1200), crowd.number(), text=text) for text in texts]


def other_words_same_token(crowd: Crowd) -> list[Delivery]:
    """Back in the browser, another text, sent again: the same token carries another message."""
    person, at, nonce = crowd.rng.choice(crowd.people), crowd.moment(), crowd.number().lower()
    matters = [crowd.matter(person) for _ in range(2)]
    return [post(crowd, matter, at + crowd.seconds(0, 900), crowd.number(), nonce=f"{nonce}") for matter in matters]


def machine(crowd: Crowd) -> list[Delivery]:
    """Somebody's program fills every field it finds."""
    at = crowd.moment()
    return [post(crowd, crowd.matter(), at, "", fate="suspended", website="https://pills.example")]


def _at(raw: Raw, when: datetime) -> Raw:
    return Raw(raw.body, raw.content_type, {**raw.facts, "received_at": when.timestamp(), "submission_id": str(when)})


STORIES: dict[Story, int] = {
    plain: 200,
    double_click: 20,
    program_retries: 12,
    double_submit: 14,
    later_again: 4,
    edited: 6,
    form_then_mail: 6,
    form_then_signed_mail: 4,
    template: 3,
    reseller: 3,
    other_words_same_token: 2,
    machine: 3,
}
