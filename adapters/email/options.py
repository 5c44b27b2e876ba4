"""Options of a mail inbox."""

from __future__ import annotations

import ipaddress
from importlib.util import find_spec
from typing import Final, Literal

from pydantic import Field, SecretStr, field_validator

from adapters.base import InboxOptions
from adapters.email.imap_options import ImapOptions

_MAILAUTH: Final = ("dkim", "dns", "nacl", "publicsuffixlist", "spf")  # the packages of the extra

ProviderName = Literal["", "sendgrid", "mailgun", "postmark", "ses"]


class EmailOptions(InboxOptions):
    """Options of a mail inbox."""

    channel: str = "email"
    addresses: list[str] = Field(
        default_factory=list,
        description="recipients this inbox takes: exact addresses or *@domain; empty: any recipient at `domains`",
    )
    domains: list[str] = Field(
        default_factory=lambda: ["localhost"],
        description="domains of which every recipient is taken when `addresses` is empty",
    )
    reply_keys: dict[str, SecretStr] = Field(
        default_factory=dict,
        description="key id -> secret that signs the ticket number in reply addresses; old ones stay readable",
    )
    reply_days: int = Field(
        default=730, ge=0, description="how long a signed reply address, once made, names its ticket; 0: for ever"
    )
    authserv_ids: list[str] = Field(
        default_factory=list,
        description="mail servers whose Authentication-Results we trust; microsoft365 for the form without a name",
    )
    authserv_beneath: bool = Field(
        default=False,
        description="those servers write it directly beneath their own Received line, as Gmail and milters of Postfix"
        " do, and remove what a sender forged in their name; otherwise only a failure counts there",
    )
    check_authentication: bool = Field(
        default=False,
        description="check DKIM, SPF and DMARC here, where no server in front does; needs the extra `mailauth`",
    )
    relays: list[str] = Field(
        default_factory=list,
        description="with `check_authentication`: addresses or networks of your own mail servers with public addresses"
        " that pass mail on by SMTP; private ones are known as such",
    )
    agents: list[str] = Field(
        default_factory=list,
        description="addresses or *@domain of your own people: a mail they forward counts as its original sender's",
    )
    max_bytes: int = Field(default=26_214_400, gt=0, description="largest mail taken, in octets")
    provider: ProviderName = Field(
        default="",
        description="who posts to `/hooks/<inbox>` itself: sendgrid, mailgun, postmark or ses; each also has its own"
        " path below it, as in `/hooks/<inbox>/sendgrid`",
    )
    webhook_user: str = Field(default="", description="user name in the webhook's URL: Postmark, unsigned SendGrid")
    webhook_password: SecretStr | None = Field(default=None, description="the password beside it")
    sendgrid_public_key: str = Field(
        default="", description="verification key of the Inbound Parse security policy, base64 or PEM"
    )
    mailgun_signing_key: SecretStr | None = Field(default=None, description="Mailgun's HTTP webhook signing key")
    ses_topics: list[str] = Field(
        default_factory=list, description="ARNs of the SNS topics SES publishes to; no other topic is listened to"
    )
    imap: ImapOptions | None = Field(
        default=None,
        description="a mailbox to read by IMAP: `imap.host`, `imap.user`, and one of `imap.password`,"
        " `imap.access_token` and `imap.token_command`; also `tls`, `port`, `ca_file`, `folders`,"
        " `after` (keep, move:FOLDER, flag:KEYWORD), `poll_seconds`, `max_bytes`, `import_since`",
    )

    @field_validator("check_authentication")
    @classmethod
    def _installed(cls, value: bool) -> bool:
        missing = [name for name in _MAILAUTH if find_spec(name) is None] if value else []
        if missing:
            raise ValueError(f"{', '.join(missing)} not installed; pip install 'frontdesk[mailauth]'")
        return value

    @field_validator("relays")
    @classmethod
    def _networks(cls, value: list[str]) -> list[str]:
        for item in value:
            try:
                ipaddress.ip_network(item, strict=False)
            except ValueError:
                raise ValueError(f"{item[:60]!r} is neither an address nor a network such as 198.51.100.0/24") from None
        return value
