"""Stories of the chat, of X and of the telephone."""

from __future__ import annotations

import copy
import json
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from adapters.base import Raw
from adapters.chat import Chat, Session
from gateway.demo.callers import write_call
from gateway.demo.people import Person
from tests.simulation.crowd import Crowd, Story
from tests.simulation.desk import Delivery, inboxes, request, signature

# Chat ----------------------------------------------------------------------------------------------------------------


class Talk:
    """One session of a visitor; with `person` the site has signed who it is."""

    def __init__(self, crowd: Crowd, at: datetime, person: Person | None = None, ticket: str = "") -> None:
        self.crowd, self.at, self.ticket = crowd, at, ticket or crowd.number()
        chat = inboxes()["website"]
        assert isinstance(chat, Chat)
        who: dict[str, Any] = {"u": person.handle, "t": "verified", "w": "id signed by the site"} if person else {}
        ids = {"i": "website", "s": f"{crowd.rng.getrandbits(128):032x}", "v": f"{crowd.rng.getrandbits(128):032x}"}
        session = Session.model_validate({**ids, **who, "x": int(at.timestamp()) + 30 * 24 * 3600})
        self._token = chat.sign(session)

    def say(self, text: str, after: timedelta, *, line: str = "") -> Delivery:
        """One line; `line` names one that is sent again."""
        at, line = self.at + after, line or self.crowd.number()
        body = json.dumps({"type": "message.send", "client_msg_id": line, "text": text}).encode()
        facts = {"token": self._token, "received_at": at.timestamp()}
        return Delivery(at, "website", Raw(body, "application/json", facts), line, self.ticket)


def chat(crowd: Crowd) -> list[Delivery]:
    """A stranger or a known visitor says a few things; the connection breaks, and the last is sent again."""
    matter = crowd.matter()
    talk = Talk(crowd, crowd.moment(), matter.person if crowd.rng.random() < 0.5 else None)
    said = [(text, crowd.number()) for text in (matter.brief, "hello?", matter.more, "hello?", matter.thanks)]
    said = said[: crowd.rng.randint(1, 5)]
    found = [
        talk.say(text, crowd.seconds(60 * number, 60 * number + 300), line=line)
        for number, (text, line) in enumerate(said)
    ]
    if crowd.rng.random() < 0.3:
        text, line = said[-1]
        found.append(talk.say(text, timedelta(minutes=9) + crowd.seconds(0, 300), line=line))
    return found


def two_chats(crowd: Crowd) -> list[Delivery]:
    """A known visitor on two days about two things."""
    person = crowd.rng.choice(crowd.people)
    talks = [Talk(crowd, crowd.moment(), person) for _ in range(2)]
    return [talk.say(crowd.matter(person).brief, crowd.seconds(0, 60)) for talk in talks]


def reopened(crowd: Crowd) -> list[Delivery]:
    """A known visitor loads the page anew and says the same within minutes: another session, one matter."""
    matter, ticket, at = crowd.matter(), crowd.number(), crowd.moment()
    talks = [Talk(crowd, at, matter.person, ticket) for _ in range(2)]
    return [talk.say(matter.brief, crowd.seconds(0, 500)) for talk in talks]


CHATS: dict[Story, int] = {chat: 12, two_chats: 1, reopened: 1}

# X -------------------------------------------------------------------------------------------------------------------


def event(body: dict[str, Any], at: datetime, ticket: str) -> Delivery:
    """A webhook of X. What we posted ourselves and what was only passed on enters no ticket."""
    kind, payload = body["data"]["event_type"], body["data"]["payload"]
    silent = kind in ("post.create", "post.repost.create")
    message = payload.get("id") or payload["direct_message_events"][0]["id"]
    raw = Raw(json.dumps(body).encode(), "application/json", request=None)
    return Delivery(at, "twitter", raw, message, "" if silent else ticket, "ignored" if silent else "")


def posts(crowd: Crowd) -> list[Delivery]:
    """A mention, our echo, an answer; some of it told twice, or found by the poll as well."""
    ticket, at = crowd.number(), crowd.moment()
    bodies = crowd.timeline.thread(crowd.matter(), longer=crowd.rng.random() < 0.3)
    found = [event(body, at + crowd.hours(0, 5), ticket) for body in bodies]
    if crowd.rng.random() < 0.3:
        found.append(event(crowd.timeline.again(bodies[0]), at + crowd.hours(0, 20), ticket))
    if crowd.rng.random() < 0.3:
        data = bodies[-1]["data"]
        if data["event_type"] != "post.create":
            page = {"data": [data["payload"]], "includes": data["includes"]}
            raw = Raw(json.dumps(page).encode(), "application/json", {"source": "poll"})
            found.append(Delivery(at + crowd.hours(0, 2), "twitter", raw, data["payload"]["id"], ticket))
    return found


def joined(crowd: Crowd) -> list[Delivery]:
    """Somebody else complains below the same post: another customer, another ticket."""
    one, other = crowd.persons(2)
    [first] = crowd.timeline.thread(crowd.matter(one))[:1]
    second = copy.deepcopy(crowd.timeline.thread(crowd.matter(other))[0])
    payload = second["data"]["payload"]
    payload["conversation_id"] = first["data"]["payload"]["conversation_id"]
    payload["referenced_tweets"] = [{"type": "replied_to", "id": payload["conversation_id"]}]
    return [event(body, crowd.moment(), crowd.number()) for body in (first, second)]


def whispers(crowd: Crowd) -> list[Delivery]:
    """Direct messages: one conversation with each person, all month long."""
    person = _person_of_dms(crowd)
    bodies = crowd.timeline.direct_messages(crowd.matter(person))
    at = crowd.moment()
    return [event(body, at + crowd.hours(0, 30), f"dm {person.x_id}") for body in bodies]


def _person_of_dms(crowd: Crowd) -> Person:
    return crowd.rng.choice(crowd.people)


def repost(crowd: Crowd) -> list[Delivery]:
    """Somebody passes our post on."""
    return [event(crowd.timeline.repost(crowd.rng.choice(crowd.people)), crowd.moment(), "")]


def quote(crowd: Crowd) -> list[Delivery]:
    """Somebody quotes our post to complain."""
    return [event(crowd.timeline.quote(crowd.matter()), crowd.moment(), crowd.number())]


POSTS: dict[Story, int] = {posts: 12, joined: 2, whispers: 3, repost: 2, quote: 2}

# Telephone -----------------------------------------------------------------------------------------------------------

_KINDS = ("voicemail", "shuffled", "missed", "withheld", "silent", "retried")


def call(crowd: Crowd) -> list[Delivery]:
    """A call in pieces, in any order, some pieces twice: one comment, one ticket."""
    kind = crowd.rng.choice(_KINDS)
    asked = write_call(crowd.matter(), kind, crowd.rng).requests
    ticket, at = crowd.number(), crowd.moment()
    found = []
    for tail, parameters in asked:
        body = urlencode(parameters).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        wire = request("phone", tail, body, headers | signature("phone", tail, body))
        raw = Raw(body, "application/x-www-form-urlencoded", request=wire)
        found.append(Delivery(at + crowd.seconds(0, 200), "phone", raw, ticket, ticket))
    return found


CALLS: dict[Story, int] = {call: 1}
