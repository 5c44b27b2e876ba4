"""Where the demo sends to, and what its providers would know: addresses and shared secrets."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Target:
    """A running Frontdesk. `http` is where to connect, `public_url` what providers sign their requests for."""

    http: str
    smtp_host: str
    smtp_port: int
    public_url: str
    twilio_token: str = field(repr=False)
    x_secret: str = field(repr=False)
    form_inbox: str = "contact"
    chat_inbox: str = "website"
    phone_inbox: str = "phone"
    twitter_inbox: str = "twitter"


def new_secret() -> str:
    """A secret of one demo run."""
    return secrets.token_hex(16)
