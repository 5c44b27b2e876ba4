"""Bodies of X into events: the X Activity envelope, posts as the API gives them, and legacy Account Activity."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from adapters.base import Refused
from adapters.twitter.json_fields import read_id, read_map, read_maps, read_media, read_mentions, read_text, read_users
from normalizer.message import Trust


@dataclass(frozen=True, slots=True)
class Scene:
    """What surrounds an event: which accounts are ours, who the users are, how far all of it is proven."""

    own: frozenset[str]
    handles: frozenset[str]
    trust: Trust
    evidence: str
    event: str = ""
    users: Mapping[str, Mapping[str, Any]] | None = None
    media: Mapping[str, Mapping[str, Any]] | None = None
    gap_after: str = ""

    def user(self, user_id: str) -> Mapping[str, Any]:
        """What X tells of a user; nothing if it tells nothing."""
        return (self.users or {}).get(user_id, {})

    def our_names(self, post: Mapping[str, Any]) -> frozenset[str]:
        """Our @names in lower case: configured, told by X, or mentioned by our id."""
        told = {read_text(self.user(user_id), "username").lower() for user_id in self.own}
        told |= {
            read_text(item, "username").lower() for item in read_mentions(post) if read_id(item.get("id")) in self.own
        }
        return (self.handles | told) - {""}


def parse(body: bytes) -> Mapping[str, Any]:
    """The JSON object of a body. Raises Refused(400)."""
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(400, "the body is not JSON, or is nested too deeply") from None
    if not isinstance(payload, dict):
        raise Refused(400, "the body is JSON, but not a JSON object")
    return payload


def find_events(payload: Mapping[str, Any], scene: Scene) -> Iterator[tuple[Scene, str, Mapping[str, Any]]]:
    """Every event of a body, with its kind and surroundings. Raises Refused(400) for a body that holds none."""
    empty = "meta" not in payload  # a page of no posts is in order
    data = payload.get("data")
    for item in read_maps([data] if isinstance(data, dict) else data):
        empty = False
        if "event_type" in item:
            yield from _activity(item, scene)
        else:
            yield replace(scene, users=read_users(payload), media=read_media(payload)), "post", item
    for name, value in payload.items():
        for item in read_maps([value] if name == "user_event" else value if name.endswith("_events") else None):
            empty = False
            yield _account_activity(name, item, replace(scene, users=read_users(payload)))
    if empty:
        raise Refused(400, "this JSON is neither an event nor a page of posts of X")


def _activity(item: Mapping[str, Any], scene: Scene) -> Iterator[tuple[Scene, str, Mapping[str, Any]]]:
    kind, payload = str(item["event_type"]), read_map(item, "payload")
    ours = scene.own | ({read_id(read_map(item, "filter").get("user_id"))} - {""})
    uuid = str(item.get("event_uuid") or "")
    scene = replace(scene, own=ours, event=uuid, users=read_users(item) | read_users(payload), media=read_media(item))
    if not kind.startswith("dm.") or "direct_message_events" not in payload:
        yield scene, kind, payload
        return
    for event in read_maps(payload.get("direct_message_events")):
        yield scene, kind, event


def _account_activity(name: str, item: dict[str, Any], scene: Scene) -> tuple[Scene, str, Mapping[str, Any]]:
    if name == "tweet_create_events":
        author = read_map(item, "user")
        users = {read_id(author.get("id_str")) or read_id(author.get("id")): author}
        return replace(scene, users=users), "post", _modern(item)
    kind = "dm.received" if name == "direct_message_events" else name.removesuffix("s")
    return scene, kind, item


def _modern(post: Mapping[str, Any]) -> dict[str, Any]:
    """A version 1.1 post in the form of version 2. Numbers beyond 2**53 are taken from their `_str` twins."""

    def number(name: str) -> str:
        return read_id(post.get(f"{name}_str")) or read_id(post.get(name))

    author = read_map(post, "user")
    replied = number("in_reply_to_status_id")
    references = [("replied_to", replied), ("quoted", number("quoted_status_id"))]
    if "retweeted_status" in post:
        original = read_map(post, "retweeted_status")
        references.append(("retweeted", read_id(original.get("id_str")) or read_id(original.get("id")) or "0"))
    mentions = [
        {"id": read_id(item.get("id_str")) or read_id(item.get("id")), "username": item.get("screen_name")}
        for item in read_maps(read_map(post, "entities").get("user_mentions"))
    ]
    text = (
        read_text(read_map(post, "extended_tweet"), "full_text")
        or read_text(post, "full_text")
        or read_text(post, "text")
    )
    return {
        "id": number("id"),
        "text": text,
        "author_id": read_id(author.get("id_str")) or read_id(author.get("id")),
        "conversation_id": number("conversation_id") or replied or number("id"),
        "created_at": post.get("created_at"),
        "lang": post.get("lang"),
        "referenced_tweets": [{"type": kind, "id": value} for kind, value in references if value],
        "entities": {"mentions": mentions, "urls": read_map(post, "entities").get("urls")},
    }
