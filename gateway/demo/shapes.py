"""What the demo sends, before it is sent: one value a delivery, or a small sequence where order is the point."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

DOMAIN = "harborpine.example"
SUPPORT = f"help@{DOMAIN}"
BILLING = f"billing@{DOMAIN}"
CHANNELS = ("email", "form", "chat", "phone", "twitter")


@dataclass(frozen=True, slots=True)
class Mail:
    """One SMTP transaction; it counts as a delivery to each inbox among its recipients."""

    sender: str
    content: bytes
    recipients: tuple[str, ...] = (SUPPORT,)


@dataclass(frozen=True, slots=True)
class FormPost:
    """One submission. `hosted`: take the token from the page first, as a browser does, and press the button `clicks`
    times at once; `key`: an Idempotency-Key, with which a program repeats its request."""

    fields: dict[str, str]
    files: tuple[tuple[str, str, bytes], ...] = ()  # name, media type, content
    as_json: bool = False
    hosted: bool = False
    clicks: int = 1
    key: str = ""


@dataclass(frozen=True, slots=True)
class Talk:
    """One visitor: their session, and lines as (client message id, text). A repeated id is sent on a new connection."""

    session: dict[str, Any]
    lines: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Call:
    """Twilio's requests about one call, in the order they arrive: (path below the hook, parameters)."""

    requests: tuple[tuple[str, dict[str, str]], ...]


@dataclass(frozen=True, slots=True)
class Traffic:
    """Everything of one run. `posts` are X webhook bodies, in order."""

    mails: list[Mail] = field(default_factory=list)
    forms: list[FormPost] = field(default_factory=list)
    talks: list[Talk] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    posts: list[dict[str, Any]] = field(default_factory=list)

    def count(self) -> dict[str, int]:
        """Deliveries by channel: what the front doors will be asked to accept."""
        return {
            "email": sum(len({one == BILLING for one in mail.recipients}) for mail in self.mails),
            "form": sum(form.clicks for form in self.forms),
            "chat": sum(len(talk.lines) for talk in self.talks),
            "phone": sum(len(call.requests) for call in self.calls),
            "twitter": len(self.posts),
        }
