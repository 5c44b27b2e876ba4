"""What an operator says about a mailbox."""

from __future__ import annotations

import ipaddress
import re
import shlex
from datetime import date
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, model_validator

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
Line = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]+$")]


class ImapOptions(BaseModel):
    """A mailbox that is read by IMAP. Give one of `password`, `access_token`, `token_command`."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    host: Line
    tls: Literal["tls", "starttls", "none"] = "tls"
    port: int | None = Field(default=None, gt=0, lt=65536, description="993 with tls, else 143")
    ca_file: Path | None = Field(default=None, description="PEM file of the authority that signed a private server")
    user: Line
    password: SecretStr | None = None
    access_token: SecretStr | None = Field(default=None, description="a fixed OAuth 2 token, for XOAUTH2")
    token_command: str = Field(default="", description="program that prints a fresh OAuth 2 token; run at each login")
    folders: list[Line] = Field(default=["INBOX"], min_length=1, max_length=50)
    after: str = Field(
        default="keep",
        pattern=r"^(keep|move:[^\x00-\x1f\x7f]{1,500}|flag:\\?[A-Za-z0-9_$.-]{1,60})$",
        description="what becomes of a mail in its mailbox once it is accepted: keep, move:FOLDER or flag:KEYWORD",
    )
    # With the 20 seconds after which silence is noticed, a mailbox that fails is known within a minute.
    poll_seconds: float = Field(default=30.0, ge=1, le=3600)
    max_bytes: int = Field(default=26_214_400, gt=0, description="of a larger mail only the header is taken, and held")
    import_since: date | None = Field(
        default=None, description="leave alone what lay in the mailbox before this day; unset: take everything"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        given = [self.password, self.access_token, self.token_command or None]
        if sum(item is not None for item in given) != 1:
            raise ValueError("give one of password, access_token and token_command")
        secrets = [secret.get_secret_value() for secret in (self.password, self.access_token) if secret is not None]
        if any(not secret or _CONTROL.search(secret) for secret in secrets):
            raise ValueError("password and access_token are one line of text, and not empty")
        if self.token_command and not shlex.split(self.token_command):
            raise ValueError("token_command names no program")
        if self.tls == "none" and not _is_loopback(self.host):
            raise ValueError(
                "without TLS the password is readable on the way: only a host on loopback may have tls none"
            )
        if len(set(self.folders)) != len(self.folders) or self.target in self.folders:
            raise ValueError("a folder is read once, and mail is not moved to a folder that is read")
        if self.after == r"flag:\Deleted":
            raise ValueError("frontdesk deletes no mail; use move:FOLDER")
        return self

    @property
    def target(self) -> str:
        """The folder accepted mail is moved to, or empty."""
        return self.after[5:] if self.after.startswith("move:") else ""

    @property
    def keyword(self) -> str:
        """The flag accepted mail gets, or empty."""
        return self.after[5:] if self.after.startswith("flag:") else ""

    @property
    def port_number(self) -> int:
        """Where to connect."""
        return self.port or (993 if self.tls == "tls" else 143)

    @property
    def account(self) -> str:
        """What tells this mailbox from another one."""
        return f"{self.user} at {self.host}"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
