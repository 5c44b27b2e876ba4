"""Options of a mail inbox."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from adapters.base import InboxOptions
from adapters.email.imap_options import ImapOptions

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
    authserv_ids: list[str] = Field(
        default_factory=list,
        description="mail servers whose Authentication-Results we trust; microsoft365 for the form without a name",
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
