"""Bodies of X's activity webhook (docs.x.com/x-api/activity): mentions, replies, quotes, reposts, direct messages."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

from gateway.demo.people import Matter, Person

OUR_ID = "1111111111111111111"
OUR_HANDLE = "HarborPineHelp"


class Timeline:
    """Posts with ids and times that grow, as on X."""

    def __init__(self, rng: random.Random, now: datetime) -> None:
        self._rng = rng
        self._now = now
        self._id = 2_083_000_000_000_000_000

    def thread(self, matter: Matter, *, longer: bool = False) -> list[dict[str, Any]]:
        """A mention; sometimes our answer, which comes back to us as an echo, and the customer's reply to that."""
        person = matter.person
        first = self._next()
        events = [self._post("post.mention.create", person, first, f"@{OUR_HANDLE} {matter.brief}", first)]
        if longer or self._rng.random() < 0.6:
            ours, reply = self._next(), self._next()
            echo = self._post(
                "post.create", None, ours, f"@{person.handle} On it, one moment please.", first, answers=first
            )
            said = f"@{OUR_HANDLE} {matter.more}"
            events += [echo, self._post("post.reply.create", person, reply, said, first, answers=ours)]
        if longer:
            said = f"@{OUR_HANDLE} {matter.thanks}"
            events.append(self._post("post.reply.create", person, self._next(), said, first, answers=ours))
        return events

    def direct_messages(self, matter: Matter) -> list[dict[str, Any]]:
        """Two private messages."""
        return [self._direct(matter.person, text) for text in (matter.brief, matter.more)]

    def again(self, event: dict[str, Any]) -> dict[str, Any]:
        """The same post in a new delivery: another event id, as after a replay."""
        return {"data": event["data"] | {"event_uuid": self._next()}}

    def repost(self, person: Person) -> dict[str, Any]:
        """Somebody reposts us: nothing new is said."""
        post, ours = self._next(), self._next()
        event = self._post("post.repost.create", person, post, f"RT @{OUR_HANDLE}: We are hiring", post)
        event["data"]["payload"]["referenced_tweets"] = [{"type": "retweeted", "id": ours}]
        return event

    def quote(self, matter: Matter) -> dict[str, Any]:
        """A complaint that quotes a post of ours."""
        post, ours = self._next(), self._next()
        event = self._post("post.quote.create", matter.person, post, f"{matter.brief} https://t.co/xxxxxxxx", post)
        event["data"]["payload"]["referenced_tweets"] = [{"type": "quoted", "id": ours}]
        return event

    def _next(self) -> str:
        self._id += self._rng.randrange(1, 1000)
        return str(self._id)

    def _post(
        self, kind: str, person: Person | None, post: str, text: str, conversation: str, *, answers: str = ""
    ) -> dict[str, Any]:
        payload: dict[str, Any] = {
            "id": post,
            "text": text,
            "author_id": person.x_id if person else OUR_ID,
            "conversation_id": conversation,
            "created_at": self._time(),
            "edit_history_tweet_ids": [post],
            "lang": (person.language if person else "en").partition("-")[0],
        }
        if text.startswith(f"@{OUR_HANDLE}"):
            mention = {"start": 0, "end": len(OUR_HANDLE) + 1, "username": OUR_HANDLE, "id": OUR_ID}
            payload["entities"] = {"mentions": [mention]}
        if answers:
            payload["in_reply_to_tweet_id"] = answers
            payload["referenced_tweets"] = [{"type": "replied_to", "id": answers}]
        users = [_user(OUR_ID, OUR_HANDLE, "Harbor & Pine Help")]
        if person:
            users.append(_user(person.x_id, person.handle, person.name))
        return self._event(kind, payload, {"users": users})

    def _direct(self, person: Person, text: str) -> dict[str, Any]:
        create = {
            "target": {"recipient_id": OUR_ID},
            "sender_id": person.x_id,
            "message_data": {"text": text, "entities": {"hashtags": [], "urls": [], "user_mentions": []}},
        }
        sent = str(int((self._now + timedelta(seconds=self._rng.random())).timestamp() * 1000))
        message = {"type": "message_create", "id": self._next(), "created_timestamp": sent, "message_create": create}
        users = [_user(person.x_id, person.handle, person.name), _user(OUR_ID, OUR_HANDLE, "Harbor & Pine Help")]
        payload = {"direct_message_events": [message], "users": {user["id"]: {"data": user} for user in users}}
        return self._event("dm.received", payload)

    def _event(self, kind: str, payload: dict[str, Any], includes: dict[str, Any] | None = None) -> dict[str, Any]:
        return {
            "data": {
                "event_uuid": str(self._rng.getrandbits(62)),
                "filter": {"user_id": OUR_ID},
                "event_type": kind,
                "tag": "harborpine",
                "payload": payload,
                "includes": includes or {},
            }
        }

    def _time(self) -> str:
        return self._now.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _user(ident: str, handle: str, name: str) -> dict[str, Any]:
    return {"id": ident, "username": handle, "name": name, "verified": False, "protected": False}
