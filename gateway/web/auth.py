"""Who may look: API tokens, and the one-time link that opens the console in a browser.

Tokens and session cookies are compared and kept as SHA-256 only, so neither a timing nor a memory dump of the table
gives one away. A login link is an HMAC over its own expiry: a second process that holds the same secret can issue one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import SecretStr

from normalizer.message import clean_text

SESSION_SECONDS: Final = 12 * 3600
LINK_SECONDS: Final = 3600
LONGEST_NAME: Final = 80  # characters of an agent's name
_TAKEN: Final = ("frontdesk", "console")  # what events say of the desk itself and of a session without a name
_MOST_SESSIONS: Final = 1000
_CLOCK_STEP: Final = 60  # seconds two processes of one machine may disagree, or a clock may be set back


@dataclass(frozen=True, slots=True)
class Caller:
    """Who presented a valid token. `key` tells tokens apart without being one; `email` is what the caller claims."""

    key: bytes
    email: str = ""


def find_caller(authorization: str, tokens: Sequence[SecretStr]) -> Caller | None:
    """Read an Authorization header: `Bearer TOKEN`, or Basic with `email/token` as user and the token as password.

    Source: Zendesk developer docs, Security and authentication. `email:password` is refused, as Zendesk does.
    """
    scheme, _, value = authorization.strip().partition(" ")
    email, token = "", value.strip()
    if scheme.lower() == "basic":
        user, token = _read_basic(value)
        email, slash, word = user.rpartition("/")
        if not slash or word != "token":
            return None
    elif scheme.lower() != "bearer":
        return None
    digest = _digest(token)
    matches = [hmac.compare_digest(digest, _digest(known.get_secret_value())) for known in tokens]
    return Caller(digest, clean_text(email)) if token and any(matches) else None


def _read_basic(value: str) -> tuple[str, str]:
    try:
        text = base64.b64decode(value.strip().encode(), validate=True).decode()
    except (binascii.Error, UnicodeError):
        return "", ""
    user, _, password = text.partition(":")
    return user, password


def agent_name(name: str) -> str:
    """The name of a person as it is kept, spaces trimmed. Raises ValueError when it is empty, too long or unprintable,
    or is what the desk calls itself."""
    name = " ".join(name.split())
    if not name or len(name) > LONGEST_NAME or not name.isprintable() or name.casefold() in _TAKEN:
        raise ValueError(f"a name has 1 to {LONGEST_NAME} printable characters and is not {' or '.join(_TAKEN)}")
    return name


def _digest(value: str) -> bytes:
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).digest()


@dataclass(frozen=True, slots=True)
class _Session:
    until: float
    name: str


class Logins:
    """One-time links and the browser sessions they open. Lives in memory: a restart ends every session. A link may be
    made for somebody: the session then carries the name, and what is done in it is theirs.

    `issue` gives a token that `consume` takes once, within an hour, and turns into a session cookie good for 12 hours.
    Links from before this process started are refused, because whether they were used is forgotten.
    """

    def __init__(self, secret: bytes | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self._secret = secret or secrets.token_bytes(32)
        self._clock = clock
        self._started = clock() - _CLOCK_STEP
        self._used: dict[str, float] = {}
        self._sessions: dict[bytes, _Session] = {}

    def issue(self, name: str = "") -> str:
        """A new one-time token for `/console/login?token=...`. Raises ValueError for what is no name (`agent_name`)."""
        named = base64.urlsafe_b64encode(agent_name(name).encode()).decode().rstrip("=") if name else ""
        claim = f"{self._clock():.3f}.{secrets.token_urlsafe(18)}.{named}"
        return f"{claim}.{self._sign(claim)}"

    def consume(self, token: str) -> str | None:
        """The cookie of a new session; None when the token is forged, expired or was used before."""
        claim, _, signature = token.rpartition(".")
        if not hmac.compare_digest(self._sign(claim).encode(), signature.encode("utf-8", "surrogatepass")):
            return None
        moment, _, named = claim.rpartition(".")
        issued, now = float(moment.rpartition(".")[0]), self._clock()
        if claim in self._used or not max(self._started, now - LINK_SECONDS) <= issued <= now + _CLOCK_STEP:
            return None
        self._forget(now)
        self._used[claim] = now + 2 * LINK_SECONDS
        cookie = secrets.token_urlsafe(32)
        name = base64.urlsafe_b64decode(f"{named}{'=' * (-len(named) % 4)}").decode()
        self._sessions[_digest(cookie)] = _Session(now + SESSION_SECONDS, name)
        return cookie

    def is_open(self, cookie: str) -> bool:
        """Is this the cookie of a session that has not ended?"""
        session = self._sessions.get(_digest(cookie)) if cookie else None
        return session is not None and session.until > self._clock()

    def name_of(self, cookie: str) -> str:
        """For whom the session's link was made; empty: for nobody in particular."""
        return self._sessions[_digest(cookie)].name if self.is_open(cookie) else ""

    def form_token(self, cookie: str) -> str:
        """What the forms of this session carry, so that no other site can post them; says nothing of the cookie."""
        return self._sign(f"form.{_digest(cookie).hex()}")

    def is_form_token(self, cookie: str, token: str) -> bool:
        """Was this form made for this session?"""
        expected = self.form_token(cookie).encode()
        return hmac.compare_digest(expected, token.encode("utf-8", "surrogatepass"))

    def close(self, cookie: str) -> None:
        """End a session."""
        self._sessions.pop(_digest(cookie), None)

    def _sign(self, claim: str) -> str:
        mac = hmac.new(self._secret, claim.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(mac).decode().rstrip("=")

    def _forget(self, now: float) -> None:
        self._used = {claim: until for claim, until in self._used.items() if until > now}
        self._sessions = {digest: session for digest, session in self._sessions.items() if session.until > now}
        while len(self._sessions) >= _MOST_SESSIONS:
            self._sessions.pop(next(iter(self._sessions)))
