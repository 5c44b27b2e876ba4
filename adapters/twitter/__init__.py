"""Posts and direct messages on X, by webhook and by polling mentions.

    GET  /hooks/twitter?crc_token=...      X asks who we are; the answer is an HMAC of the token
    POST /hooks/twitter                    {"data": {"event_type": "post.mention.create", "filter": {"user_id": "11"},
                                            "payload": {"id": "20", "text": "@AcmeHelp hi", ...}, "includes": {...}}}
    GET  api.x.com/2/users/11/mentions     {"data": [{"id": "20", ...}], "includes": {...}, "meta": {...}}

A post that comes both ways has one delivery key, its id; an edited post has a new id and is another comment. Legacy
Account Activity bodies (`tweet_create_events`) are read too. Sources: docs.x.com/x-api/activity, /x-api/webhooks,
/x-api/users/get-mentions.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, ClassVar, Final, Literal

from pydantic import Field, SecretStr

from adapters.base import Adapter, Answer, InboundRequest, InboxOptions, Page, PermanentError, Raw, Refused, ignored
from adapters.twitter.drafts import MENTIONS_DEPTH, read_direct_message, read_post, unreadable
from adapters.twitter.events import Scene, find_events, parse
from adapters.twitter.json_fields import canonical, read_id
from adapters.twitter.mentions import PAGE_SIZE, drain, open_client
from normalizer.fingerprint import delivery_key, digest
from normalizer.message import Draft, Original, Trust

log = logging.getLogger(__name__)

SIGNATURE_HEADER: Final = "x-twitter-webhooks-signature"

# X signs its bodies with the very key and function that answer a CRC. A token that could be a JSON body would let
# anybody have a forged webhook signed by us, so only what X really sends is answered: base64 and its like, no brace.
_CRC_TOKEN: Final = re.compile(r"[A-Za-z0-9_\-+/=.]{1,256}")


class TwitterOptions(InboxOptions):
    """One account on X."""

    channel: str = "twitter"
    user_id: str = Field(default="", pattern=r"^[0-9]*$", description="numeric id of our account, needed for polling")
    handle: str = Field(default="", description="our @name, left out where a customer's post begins with it")
    consumer_secret: SecretStr | None = Field(
        default=None, description="API key secret of the app on X: checks the signatures of webhooks"
    )
    bearer_token: SecretStr | None = Field(
        default=None, description="access token that may read our mentions; if set, they are polled"
    )
    poll_seconds: float = Field(default=60.0, ge=1, description="seconds between two polls of our mentions")
    quotes: Literal["create", "ignore"] = Field(
        default="create", description="whether a post that quotes ours without mentioning us becomes a ticket"
    )
    api_base: str = Field(default="https://api.x.com", pattern=r"^https?://", description="where X's API is")


class Twitter(Adapter[TwitterOptions]):
    """X Activity and Account Activity webhooks, and the mentions timeline."""

    channel = "twitter"
    Options: ClassVar[type[InboxOptions]] = TwitterOptions
    tails = frozenset({"", "webhook"})
    polls = True

    def missing(self) -> Sequence[str]:
        """Either way in is enough: webhooks need `consumer_secret`, polling `bearer_token` and `user_id`."""
        polls = bool(_reveal(self.options.bearer_token) and self.options.user_id)
        return () if polls or _reveal(self.options.consumer_secret) else ("consumer_secret",)

    # --- webhooks -----------------------------------------------------------------------------------------------

    def challenge(self, request: InboundRequest) -> Answer | None:
        """X's challenge-response check, repeated about hourly. Raises Refused for tokens X would not send."""
        if request.method != "GET":
            return None
        token = request.query.get("crc_token", "")
        if not _CRC_TOKEN.fullmatch(token):
            raise Refused(400, "this address takes X's webhooks; a GET must carry the crc_token of X's check")
        answer = {"response_token": self._sign(token.encode())}
        return Answer(200, json.dumps(answer).encode(), "application/json")

    def authenticate(self, raw: Raw) -> None:
        """Check X's signature over the bytes of the body."""
        if raw.request is None:
            return
        signature = raw.request.headers.get(SIGNATURE_HEADER, "").encode("utf-8", "replace")
        if not hmac.compare_digest(self._sign(raw.request.body).encode(), signature):
            raise Refused(403, "X's signature does not fit this body: check consumer_secret")

    def _sign(self, data: bytes) -> str:
        secret = _reveal(self.options.consumer_secret)
        if not secret:
            variable = f"FRONTDESK_INBOXES__{self.inbox.upper()}__CONSUMER_SECRET"
            raise Refused(
                403,
                f"inbox {self.inbox} cannot check X's signature: set inboxes.{self.inbox}.consumer_secret ({variable})",
            )
        return "sha256=" + base64.b64encode(hmac.digest(secret.encode(), data, "sha256")).decode()

    def acknowledge(self, request: InboundRequest, receipt_ids: Sequence[str]) -> Answer:
        """X wants a 200 within ten seconds."""
        return Answer(200)

    def normalize(self, raw: Raw) -> Sequence[Draft]:
        """A draft for every event of the body. Raises Refused(400) for what X does not send."""
        payload = parse(raw.body)
        kept = {"original": _original(raw)}
        drafts: dict[str, Draft] = {}  # the same post twice in one body is one delivery
        for scene, kind, item in find_events(payload, self._scene(raw, payload)):
            draft = self._read(scene, kind, item)
            drafts.setdefault(draft.delivery_key, draft.model_copy(update=kept))
        return list(drafts.values())

    def _scene(self, raw: Raw, payload: Mapping[str, Any]) -> Scene:
        trust: Trust = "unverified"
        evidence = "taken from a file"
        if raw.request is not None:
            trust, evidence = "verified", "named by X in a signed webhook"
        elif raw.facts.get("source") == "poll":
            trust, evidence = "verified", "named by X in its API"
        own = {self.options.user_id, read_id(payload.get("for_user_id"))} - {""}
        handles = {self.options.handle.removeprefix("@").lower()} - {""}
        gap = str(raw.facts.get("gap_after") or "")
        return Scene(frozenset(own), frozenset(handles), trust, evidence, gap_after=gap)

    def _read(self, scene: Scene, kind: str, item: Mapping[str, Any]) -> Draft:
        """One event as a draft. What cannot be understood is held for a person, never lost."""
        if kind == "post" or (kind.startswith("post.") and kind.endswith(".create")):
            return read_post(scene, item, kind, take_quotes=self.options.quotes == "create")
        if kind in ("dm.received", "dm.sent"):
            return read_direct_message(scene, item)
        if kind == "chat.received":
            return unreadable(scene, item, "this chat is end-to-end encrypted: read it in X itself")
        reason = {
            "post.delete": "the author deleted a post",
            "oauth.revoke": "our account revoked the app's access: authorise it again",
        }.get(kind, f"{kind} tells nothing a customer said")
        return ignored(delivery_key("twitter", "event", kind, scene.event, digest([canonical(item)])), reason)

    # --- polling ------------------------------------------------------------------------------------------------

    async def poll(self, cursor: str) -> AsyncIterator[Page]:
        """Mentions newer than `cursor` (a post id), oldest first, each page with the cursor that follows it.

        X lists the newest first, so the whole run is read before the first page is handed on: a run that breaks off
        moves no cursor. Raises `TemporaryError` (throttled, unreachable, out of credits) and `PermanentError`.
        """
        token = _reveal(self.options.bearer_token)
        if not token or not self.options.user_id:
            raise PermanentError(
                f"inbox {self.inbox} does not poll mentions: set inboxes.{self.inbox}.bearer_token and user_id"
            )
        if self.clients.http is None:
            raise PermanentError("this process has no HTTP client to poll X with")
        client = open_client(self.clients.http, self.options.api_base, token)
        run = await drain(client, self.options.user_id, cursor)
        gap = cursor if cursor and len(run.posts) >= MENTIONS_DEPTH else ""
        if gap:
            log.warning(
                "inbox %s: X lists only %d mentions; some after %s may be missing", self.inbox, MENTIONS_DEPTH, gap
            )
        for start in range(0, len(run.posts), PAGE_SIZE):
            chunk = run.posts[start : start + PAGE_SIZE]
            arrivals = [
                run.arrival(post, gap_after="" if start or number else gap) for number, post in enumerate(chunk)
            ]
            yield Page(arrivals, cursor=str(chunk[-1]["id"]))


def _reveal(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret is not None else ""


def _original(raw: Raw) -> Original:
    hexdigest = hashlib.sha256(raw.body).hexdigest()
    return Original(content=raw.body, size=len(raw.body), sha256=hexdigest, content_type="application/json")
