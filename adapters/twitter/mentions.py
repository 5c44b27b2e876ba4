"""Reading our mentions from X's API with tweepy."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
from yarl import URL

from adapters.base import PermanentError, Raw, TemporaryError
from adapters.twitter.drafts import MENTIONS_DEPTH
from adapters.twitter.json_fields import (
    read_id,
    read_map,
    read_maps,
    read_media,
    read_media_keys,
    read_mentions,
    read_users,
)

PAGE_SIZE: Final = 100
_TIMEOUT: Final = aiohttp.ClientTimeout(total=30)


@dataclass(slots=True)
class Run:
    """What one walk through the pages found: posts oldest first, and by id the users and media they speak of."""

    posts: list[dict[str, Any]] = field(default_factory=list)
    users: dict[str, Any] = field(default_factory=dict)
    media: dict[str, Any] = field(default_factory=dict)

    def arrival(self, post: Mapping[str, Any], *, gap_after: str) -> Raw:
        """One post as a page of its own, with what it refers to."""
        people = {read_id(post.get("author_id")), read_id(post.get("in_reply_to_user_id"))}
        people |= {read_id(mention.get("id")) for mention in read_mentions(post)}
        includes = {
            "users": [self.users[key] for key in sorted(people & self.users.keys())],
            "media": [self.media[key] for key in read_media_keys(post) if key in self.media],
        }
        body = json.dumps({"data": [post], "includes": includes}, separators=(",", ":")).encode()
        return Raw(body, "application/json", facts={"source": "poll", "gap_after": gap_after})


def open_client(http: aiohttp.ClientSession, base: str, token: str) -> Any:
    """A tweepy client that speaks to the API at `base`."""
    from tweepy.asynchronous import AsyncClient  # noqa: PLC0415  takes a second to import, and few processes poll

    # At DEBUG tweepy logs its request headers, and with them the token.
    logging.getLogger("tweepy").setLevel(logging.INFO)
    client = AsyncClient(token, return_type=dict)
    client.session = _Elsewhere(http, base)
    return client


async def drain(client: Any, user_id: str, cursor: str) -> Run:
    """All mentions after the cursor, as far back as X lists them. Raises `TemporaryError` and `PermanentError`."""
    run = Run()
    posts: dict[int, dict[str, Any]] = {}
    seen: set[str] = set()
    token = ""
    while True:
        page = await _ask(client, user_id, since_id=cursor, pagination_token=token)
        posts |= {int(read_id(post.get("id"))): post for post in read_maps(page.get("data")) if read_id(post.get("id"))}
        run.users |= read_users(page)
        run.media |= read_media(page)
        token = str(read_map(page, "meta").get("next_token") or "")
        if not token or len(posts) > MENTIONS_DEPTH:
            run.posts = [posts[number] for number in sorted(posts)]
            return run
        if token in seen:
            raise TemporaryError("X's pages of mentions go round in a circle")
        seen.add(token)


class _Elsewhere:
    """A session for tweepy, which has its host built in: requests go to `base`, in bounded time, without redirects.

    A redirect would carry the token to wherever it points.
    """

    closed = False

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self._session = session
        self._origin = URL(base).origin()

    def request(self, method: str, url: str | URL, **options: Any) -> Any:
        """As `aiohttp.ClientSession.request`."""
        target = self._origin.join(URL(url).relative())
        return self._session.request(method, target, timeout=_TIMEOUT, allow_redirects=False, **options)


async def _ask(client: Any, user_id: str, **where: str) -> dict[str, Any]:
    """One page of mentions. Every failure becomes `TemporaryError` or `PermanentError`."""
    import tweepy  # noqa: PLC0415  see `open_client`

    try:
        answer = await client.get_users_mentions(
            user_id,
            max_results=PAGE_SIZE,
            tweet_fields="author_id,conversation_id,created_at,in_reply_to_user_id,referenced_tweets,entities,attachments,"
            "edit_history_tweet_ids,lang,note_tweet",
            expansions="author_id,in_reply_to_user_id,attachments.media_keys",
            user_fields="username,name",
            media_fields="url,type,alt_text,preview_image_url",
            **{name: value for name, value in where.items() if value},
        )
    except tweepy.TooManyRequests as error:
        wait = (error.reset_time or time.time() + 60) - time.time()
        raise TemporaryError("X asks us to poll less often", retry_after=min(max(wait, 1.0), 900.0)) from None
    except tweepy.TwitterServerError as error:
        raise TemporaryError(f"X's API is down: HTTP {error.response.status}") from None
    except tweepy.HTTPException as error:
        status = error.response.status
        if status == 402:
            raise TemporaryError("the X account has no credits left: add some", retry_after=900.0) from None
        if status in (408, 425):
            raise TemporaryError(f"X's API answered HTTP {status}") from None
        raise PermanentError(f"X refuses to list our mentions: HTTP {status}, check bearer_token and user_id") from None
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise TemporaryError(f"X's API is out of reach or speaks no JSON: {type(error).__name__}") from None
    except (ValueError, TypeError, AttributeError, KeyError):
        # tweepy trusts that an error body is a JSON object and a rate-limit header a number.
        raise TemporaryError("X's API answered with something that is not its JSON") from None
    if not isinstance(answer, dict) or not answer.keys() & {"data", "meta"}:
        raise TemporaryError("X's API answered neither mentions nor that there are none")
    return answer
