"""Events of X into drafts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from adapters.base import ignored
from adapters.twitter.events import Scene
from adapters.twitter.json_fields import (
    canonical,
    read_id,
    read_instant,
    read_map,
    read_maps,
    read_media_keys,
    read_mentions,
    read_text,
)
from normalizer.fingerprint import content_key, delivery_key, digest
from normalizer.message import Attachment, Author, Draft, Hit, MessageDraft, Recipient, ThreadKey

MENTIONS_DEPTH: Final = 800  # X lists no older mentions
_LEADING_MENTION: Final = re.compile(r"\s*@([A-Za-z0-9_]{1,15})(?![A-Za-z0-9_])(?:[,:](?=\s))?")
_LANGUAGES: Final = {"in": "id", "iw": "he"}  # X keeps ISO codes that were withdrawn in 1989


def read_post(scene: Scene, post: Mapping[str, Any], kind: str, *, take_quotes: bool) -> Draft:
    """A post as a message, or as ignored: our own echo, a repost, a quote where quotes are not taken."""
    post_id, author = read_id(post.get("id")), read_id(post.get("author_id"))
    if not post_id or not author:
        return unreadable(scene, post, "a post without id or author")
    history = post.get("edit_history_tweet_ids")
    first = (read_id(history[0]) if isinstance(history, list) and history else "") or post_id
    references = {read_text(item, "type"): read_id(item.get("id")) for item in read_maps(post.get("referenced_tweets"))}
    ours = scene.our_names(post)
    mentioned = any(read_text(item, "username").lower() in ours for item in read_mentions(post))
    quoting = kind == "post.quote.create" or ("quoted" in references and "replied_to" not in references)
    reason = _why_ignored(scene, author, references, kind, quoting and not mentioned and not take_quotes)
    if reason:
        return ignored(delivery_key("twitter", "ignored", first, reason), reason, external_id=post_id)
    full_text = _plain(read_text(read_map(post, "note_tweet"), "text") or read_text(post, "text"))
    text = _without_us(full_text, ours)
    conversation = read_id(post.get("conversation_id")) or first
    handle = _handle(scene, author)
    fields = {
        "kind": "quote" if quoting else "reply" if "replied_to" in references else "mention",
        "post_id": post_id,
        "edit_of": first if first != post_id else "",
        "conversation_id": conversation,
        "handle": handle,
        "url": f"https://x.com/{handle or 'i'}/status/{post_id}",
        # X lets an app answer only those who mentioned or quoted its account.
        "reply_allowed": "summoned" if mentioned or kind in ("post.mention.create", "post.quote.create") else "no",
        "in_reply_to": references.get("replied_to", ""),
        "quoted": references.get("quoted", ""),
        "links": [
            url
            for url in (read_text(item, "expanded_url") for item in read_maps(read_map(post, "entities").get("urls")))
            if url
        ],
    }
    gap = Hit(
        name="mentions_gap", reason=f"X lists {MENTIONS_DEPTH} mentions; some after {scene.gap_after} may be missing"
    )
    return MessageDraft(
        external_id=post_id,
        sent_at=read_instant(post.get("created_at")),
        author=_author(scene, author),
        recipients=_recipients(scene),
        text=text,
        full_text=full_text if full_text != text else "",
        language=_language(read_text(post, "lang")),
        attachments=_attachments(scene, post),
        delivery_key=delivery_key("twitter", "post", post_id),  # an edit says something new: another comment
        content_key=content_key(f"x:{author}", text, read_media_keys(post)),
        thread_keys=(ThreadKey(kind="conversation", value=f"x:conv:{conversation}/{author}"),),
        problems=(gap,) if scene.gap_after else (),
        fields={"private": False} | {key: value for key, value in fields.items() if value},
    )


def _why_ignored(scene: Scene, author: str, references: Mapping[str, str], kind: str, unwanted_quote: bool) -> str:
    if author in scene.own:
        return "author is our own account (echo)"
    if kind == "post.repost.create" or "retweeted" in references:
        return "repost: nothing new was said"
    return "quotes are not taken by this inbox" if unwanted_quote else ""


def read_direct_message(scene: Scene, event: Mapping[str, Any]) -> Draft:
    """A direct message, in the form of version 1.1 (`message_create`) or 2."""
    create = read_map(event, "message_create")
    content = read_map(create, "message_data") or event
    message_id = read_id(event.get("id"))
    sender = read_id(create.get("sender_id")) or read_id(event.get("sender_id"))
    recipient = read_id(read_map(create, "target").get("recipient_id")) or next(iter(sorted(scene.own)), "")
    if not message_id or not sender:
        return unreadable(scene, event, "a direct message without id or sender")
    if sender in scene.own:
        key = delivery_key("twitter", "ignored", "dm", message_id)
        return ignored(key, "author is our own account (echo)", external_id=f"dm:{message_id}")
    pair = read_text(event, "dm_conversation_id") or "-".join(sorted({sender, recipient} - {""}, key=int))
    text = _plain(read_text(content, "text"))
    media = read_map(read_map(content, "attachment"), "media")
    url = read_text(media, "media_url_https")
    return MessageDraft(
        external_id=f"dm:{message_id}",
        sent_at=read_instant(event.get("created_timestamp") or event.get("created_at")),
        author=_author(scene, sender),
        recipients=_recipients(scene),
        text=text,
        attachments=(_file(url, read_text(media, "type")),) if url else (),
        delivery_key=delivery_key("twitter", "dm", message_id),
        content_key=content_key(f"x:{sender}", text, [url] if url else []),
        thread_keys=(ThreadKey(kind="conversation", value=f"x:dm:{pair}"),),
        fields={"private": True, "kind": "dm", "handle": _handle(scene, sender), "reply_allowed": "dm"},
    )


def unreadable(scene: Scene, item: Mapping[str, Any], why: str) -> MessageDraft:
    """An event nobody can read, kept for a person with its bytes."""
    sender = read_id(item.get("sender_id")) or read_id(item.get("author_id"))
    return MessageDraft(
        author=_author(scene, sender) if sender else Author(kind="x", evidence="X named no author"),
        delivery_key=delivery_key("twitter", "unreadable", scene.event, digest([canonical(item)])),
        suspend=f"unreadable event of X: {why}",
    )


def _author(scene: Scene, user_id: str) -> Author:
    handle = _handle(scene, user_id)
    name = read_text(scene.user(user_id), "name") or (f"@{handle}" if handle else "")
    return Author(kind="x", value=user_id, display_name=name, trust=scene.trust, evidence=scene.evidence)


def _handle(scene: Scene, user_id: str) -> str:
    user = scene.user(user_id)
    return read_text(user, "username") or read_text(user, "screen_name")


def _recipients(scene: Scene) -> tuple[Recipient, ...]:
    return tuple(
        Recipient(role="to", kind="x", value=user_id, display_name=read_text(scene.user(user_id), "name"))
        for user_id in sorted(scene.own)
    )


def _without_us(text: str, ours: frozenset[str]) -> str:
    """The text without our name among the @names it begins with, which X puts before every reply by itself."""
    position, others, ours_found = 0, list[str](), False
    while match := _LEADING_MENTION.match(text, position):
        position = match.end()
        if match[1].lower() in ours:
            ours_found = True
        else:
            others.append(f"@{match[1]}")
    rest = text[position:].strip()
    if not ours_found or not (rest or others):
        return text.strip()
    return " ".join([*others, rest]).strip()


def _plain(text: str) -> str:
    """X's texts have exactly these three characters escaped."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _language(code: str) -> str:
    """BCP 47; empty for X's own codes such as `und`, `zxx` and `qme`."""
    code = _LANGUAGES.get(code, code)
    return code if code[:1] != "q" and code not in ("und", "zxx") and len(code) <= 8 else ""


def _attachments(scene: Scene, post: Mapping[str, Any]) -> tuple[Attachment, ...]:
    items = [(scene.media or {}).get(key, {}) for key in read_media_keys(post)]
    found = (
        (read_text(item, "url") or read_text(item, "preview_image_url"), read_text(item, "type")) for item in items
    )
    return tuple(_file(url, kind) for url, kind in found if url)


def _file(url: str, kind: str) -> Attachment:
    """A picture or film that stays with X: the bytes are not here."""
    content_type = "image/jpeg" if kind in ("photo", "media", "") else "video/mp4"
    return Attachment(
        size=0,
        sha256="",
        content_type=content_type,
        filename=url.partition("?")[0].rpartition("/")[2][-100:],
        source_url=url,
    )
