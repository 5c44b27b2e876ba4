"""The chat widget: who a visitor is, what a chat message means, and the signed token that any gateway can read.

    POST /chat/website/sessions   {"identity": {"id": "user-42", "email": "erika@example.com", "hash": "04b2..."},
                                   "page": {"url": "https://shop.example/cart", "title": "Cart"}, "locale": "de-DE"}
                                  201 {"session_token": "v1...", "session_id": "...", "visitor_id": "..."}
    WebSocket /chat/website/ws    {"type": "join", "token": "v1...", "last_seq": 0}
                                  {"type": "message.send", "client_msg_id": "9b1d...", "text": "Where is my order?"}

The site that embeds the widget can say who its visitor is, in two ways (`identity_secret` is shared with its server):

- `identity.hash`: hexadecimal HMAC-SHA256(identity_secret, identity.id); it never expires;
- `jwt`: HS256, claims `sub`, `exp` (at most a day ahead), optionally `email`, `name`, `aud` (the inbox or the widget).

Everything else a visitor says about themselves is kept and not believed. The session token is ours, stateless
(HMAC-SHA256 over its claims), so a reconnect may reach another gateway.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, TypeVar

import jwt
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, StringConstraints, ValidationError

from adapters.base import Adapter, Clients, InboxOptions, Raw, Refused
from normalizer.addresses import canonical_email, email_shaped
from normalizer.fingerprint import content_key, delivery_key
from normalizer.message import Author, MessageDraft, ThreadKey, Trust, clean_text

MAX_TEXT: Final = 10_000  # characters of one message
MAX_FRAME: Final = 64 * 1024  # bytes of one WebSocket frame
SESSION_LIFETIME: Final = 30 * 24 * 3600  # seconds
JWT_MAX_AHEAD: Final = 24 * 3600  # seconds; a host that signs for longer has re-invented the hash that never expires
CLOCK_SKEW: Final = 60  # seconds between the host's clock and ours


def _listed(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Listed = Annotated[tuple[str, ...], BeforeValidator(_listed)]


ModelT = TypeVar("ModelT", bound=BaseModel)


class ChatOptions(InboxOptions):
    """Options of a chat inbox; all of them may be left out."""

    channel: str = Field(default="chat", description="chat")
    title: str = Field(default="", description="heading of the widget (default: in the visitor's language)")
    widget: str = Field(default="", description="public name of the widget, accepted as `aud` beside the inbox's name")
    session_key: SecretStr | None = Field(
        default=None, description="key that signs session tokens; the same on every gateway (default: made once)"
    )
    identity_secret: SecretStr | None = Field(
        default=None, description="secret shared with the site's server, which signs who its visitor is"
    )
    allowed_origins: Listed = Field(
        default=(), description="origins (https://shop.example) of the pages that may embed the widget"
    )
    messages_per_minute: int = Field(default=60, ge=1, description="messages a minute in one connection; bursts of 20")
    sessions_per_minute: int = Field(
        default=60, ge=0, description="new sessions a minute from one address; 0: no limit"
    )
    connections_per_ip: int = Field(default=50, ge=1, description="open connections from one address")


class Strict(BaseModel):
    """What a stranger sends: unknown fields (an `agent_id`, say) are ignored, everything known has a length."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


Short = Annotated[str, BeforeValidator(clean_text), StringConstraints(max_length=300, strip_whitespace=True)]
Url = Annotated[str, BeforeValidator(clean_text), StringConstraints(max_length=2000, strip_whitespace=True)]
ClientId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:-]{1,64}$")]
Said = Annotated[str, BeforeValidator(clean_text), StringConstraints(max_length=MAX_TEXT)]


class Page(Strict):
    """Where the visitor is."""

    url: Url = ""
    title: Short = ""


class Identity(Strict):
    """Who the visitor is: proven when `hash` is there, otherwise only claimed."""

    id: Short = ""
    email: Short = ""
    name: Short = ""
    hash: Short = ""


class SessionRequest(Strict):
    """Body of `POST /chat/<inbox>/sessions`."""

    widget: Short = ""
    identity: Identity | None = None
    jwt: Annotated[str, StringConstraints(max_length=4096)] = ""
    page: Page | None = None
    locale: Short = ""


class Session(Strict):
    """What a session token says. Short names, because the token travels with every reconnect."""

    inbox: str = Field(alias="i")
    session_id: str = Field(alias="s")
    visitor_id: str = Field(alias="v")
    identity: str = Field(default="", alias="u")  # the host's own id of this person; empty: a stranger
    email: str = Field(default="", alias="e")
    name: str = Field(default="", alias="n")
    trust: Trust = Field(default="unverified", alias="t")
    evidence: str = Field(default="", alias="w")
    expires: int = Field(alias="x")

    @property
    def key(self) -> str:
        """The conversation this session is, as its messages carry it."""
        return f"chat:{self.inbox}:{self.session_id}"


class ChatMessage(Strict):
    """One message of a visitor, by WebSocket or REST; also the stored original, hence without the token."""

    type: Literal["message.send"] = "message.send"
    client_msg_id: ClientId
    text: Said
    page: Page | None = None
    locale: Short = ""


_STORED: Final = set(ChatMessage.model_fields)


class Chat(Adapter[ChatOptions]):
    """One chat inbox. Sockets and routes are `gateway/web/chat.py`; here is what is said on them."""

    channel = "chat"
    Options = ChatOptions

    def __init__(self, inbox: str, options: ChatOptions, clients: Clients | None = None) -> None:
        super().__init__(inbox, options, clients)
        # Without a kept key tokens live as long as this process; the runtime keeps one in the data folder.
        key = options.session_key.get_secret_value() if options.session_key else secrets.token_hex(32)
        self._key = key.encode()
        # One message asks for its session twice, and a visitor's next message once more.
        self._signed = lru_cache(maxsize=128)(self._read_signed)

    def open_session(self, body: bytes, now: float) -> Session:
        """A new session for what was asked. Raises `Refused`: 422 malformed, 403 a proof that proves nothing."""
        request = parse(SessionRequest, body)
        who = self._prove(request, now)
        return Session(
            i=self.inbox,
            s=secrets.token_hex(16),
            v=secrets.token_hex(16),
            x=int(now) + SESSION_LIFETIME,
            **who,
        )

    def sign(self, session: Session) -> str:
        """`v1.<claims>.<signature>`: base64url JSON, and base64url HMAC-SHA256 over what stands before it."""
        claims = session.model_dump_json(by_alias=True, exclude_defaults=True).encode()
        head = f"v1.{_base64url(claims)}"
        return f"{head}.{_base64url(self._mac(head))}"

    def read_token(self, token: str, now: float) -> Session:
        """The session of a token. Raises `Refused` 401 for one that is forged, of another inbox, or too old."""
        session = self._signed(token)
        if session.inbox != self.inbox:
            raise Refused(401, "This chat session belongs to another inbox; start a new one.")
        if session.expires < now:
            raise Refused(401, "This chat session has ended; start a new one.")
        return session

    def _read_signed(self, token: str) -> Session:
        head, _, signature = token.rpartition(".")
        expected = _base64url(self._mac(head)).encode()
        if not head.startswith("v1.") or not hmac.compare_digest(expected, signature.encode("utf-8", "replace")):
            raise Refused(401, "This chat session is not known; start a new one.")
        try:
            return Session.model_validate_json(_unbase64url(head[3:]))
        except (ValueError, binascii.Error) as error:
            raise Refused(401, "This chat session is not known; start a new one.") from error

    def authenticate(self, raw: Raw) -> None:
        """The arrival carries the session's token in its facts: `token`, and `received_at` (epoch seconds)."""
        self.read_token(str(raw.facts.get("token", "")), float(raw.facts.get("received_at", 0)))

    def normalize(self, raw: Raw) -> Sequence[MessageDraft]:
        """One message. Raises `Refused` 422 for what is no chat message, 401 without a valid token."""
        known = raw.facts.get("session")
        if known is not None:  # read again: the token was checked when it came
            session = Session.model_validate(known)
        else:
            session = self.read_token(str(raw.facts.get("token", "")), float(raw.facts.get("received_at", 0)))
        said = parse(ChatMessage, raw.body)
        text = said.text.replace("\r\n", "\n").strip()
        if not text:
            raise Refused(422, "An empty message says nothing.")
        author = _author(session)
        return [
            MessageDraft(
                external_id=said.client_msg_id,
                author=author,
                text=text,
                delivery_key=delivery_key("chat", self.inbox, session.session_id, said.client_msg_id),
                content_key=content_key(author.identity or "", text),
                thread_keys=(ThreadKey(kind="conversation", value=session.key),),
                fields=_facts(session, said),
            )
        ]

    def lasting_facts(self, raw: Raw) -> Mapping[str, Any]:
        """Who spoke, without the token, which would let its reader go on speaking in their name."""
        if "session" in raw.facts:
            return raw.facts
        session = self.read_token(str(raw.facts.get("token", "")), float(raw.facts.get("received_at", 0)))
        return {"session": session.model_dump(mode="json", by_alias=True)}

    def _mac(self, head: str) -> bytes:
        return hmac.new(self._key, head.encode("utf-8", "replace"), hashlib.sha256).digest()

    def _prove(self, request: SessionRequest, now: float) -> dict[str, str]:
        """The claims of a session about its person, short names; unproven ones come without `u`."""
        if request.jwt:
            return self._prove_by_jwt(request, now)
        claimed = request.identity or Identity()
        who = {"e": _email(claimed.email), "n": claimed.name}
        if not claimed.hash:
            return {key: value for key, value in who.items() if value}
        expected = hmac.new(self._secret(), claimed.id.encode(), hashlib.sha256).hexdigest()
        given = claimed.hash.lower().encode("utf-8", "replace")
        if not claimed.id or not hmac.compare_digest(expected.encode(), given):
            raise Refused(403, "The identity hash does not belong to this id.")
        # Only the id is under the signature. Name and address are the visitor's browser's word.
        return {**who, "u": claimed.id, "t": "verified", "w": "id signed by the site (HMAC-SHA256)"}

    def _prove_by_jwt(self, request: SessionRequest, now: float) -> dict[str, str]:
        claims = _read_jwt(request.jwt, self._secret())
        expires = claims.get("exp")
        if not isinstance(expires, int | float) or isinstance(expires, bool):
            raise Refused(403, "The identity token needs an expiry (exp).")
        if not now - CLOCK_SKEW < expires <= now + JWT_MAX_AHEAD:
            raise Refused(403, "The identity token has expired, or is valid for more than a day.")
        begins = claims.get("nbf", 0)
        if not isinstance(begins, int | float) or begins > now + CLOCK_SKEW:
            raise Refused(403, "The identity token is not valid yet.")
        if "aud" in claims and not self._is_audience(claims["aud"], request.widget):
            raise Refused(403, "The identity token is meant for another widget (aud).")
        subject = claims.get("sub")
        if not isinstance(subject, str) or not 0 < len(subject) <= 300:
            raise Refused(403, "The identity token does not say who it is about (sub).")
        name, email = claims.get("name"), claims.get("email")
        return {
            "u": clean_text(subject),
            "e": _email(email) if isinstance(email, str) else "",
            "n": clean_text(name)[:300] if isinstance(name, str) else "",
            "t": "verified",
            "w": "id and address signed by the site (JWT HS256)",
        }

    def _is_audience(self, audience: Any, asked: str) -> bool:
        """Without a configured widget name the page's own word decides: it must at least not contradict the token."""
        names = {self.inbox, self.options.widget or asked} - {""}
        return any(item in names for item in (audience if isinstance(audience, list) else [audience]))

    def _secret(self) -> bytes:
        if self.options.identity_secret is None:
            raise Refused(403, "This inbox cannot check who visitors are: identity_secret is not set.")
        return self.options.identity_secret.get_secret_value().encode()


def parse(model: type[ModelT], body: bytes) -> ModelT:
    """A stranger's JSON as `model`. Raises `Refused` 422 naming what is wrong, never its value."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        status = 400 if first["type"] == "json_invalid" else 422
        raise Refused(status, f"{where or 'The body'}: {first['msg'][:150]}.") from None


def message_body(said: ChatMessage) -> bytes:
    """The bytes that enter the door for one message: equal for equal words, and without any token."""
    return said.model_dump_json(exclude_defaults=True, include=_STORED).encode()


def _author(session: Session) -> Author:
    if session.identity:
        value = f"{session.inbox}:{session.identity}"
        return Author(
            kind="chat", value=value, display_name=session.name, trust=session.trust, evidence=session.evidence
        )
    return Author(
        kind="chat",
        value=session.visitor_id,
        display_name=session.name,
        evidence="a visitor who did not say who they are",
    )


def _facts(session: Session, said: ChatMessage) -> dict[str, Any]:
    facts: dict[str, Any] = {"session_id": session.session_id, "visitor_id": session.visitor_id}
    if session.email:
        facts["email"] = session.email
        # The hash covers the id alone; a token covers the address too.
        facts["email_trust"] = "verified" if session.evidence.endswith("(JWT HS256)") else "unverified"
    page = said.page or Page()
    optional = {"name": session.name, "page_url": page.url, "page_title": page.title, "locale": said.locale}
    return facts | {key: value for key, value in optional.items() if value}


def _email(value: str) -> str:
    value = clean_text(value).strip()
    return canonical_email(value)[:254] if email_shaped(value) else ""


def _read_jwt(token: str, secret: bytes) -> Mapping[str, Any]:
    """Claims under a good HS256 signature. Times and audience are judged by the caller, who has the clock."""
    options: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False}
    try:
        with warnings.catch_warnings():
            # The secret's length is its owner's choice and is judged when settings are checked, not at each visit.
            warnings.simplefilter("ignore", jwt.InsecureKeyLengthWarning)
            claims = jwt.decode(token, secret, algorithms=["HS256"], options=options)
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise Refused(403, "The identity token is not signed with this inbox's secret by HS256.") from error
    return claims


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unbase64url(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
