"""Messages of Amazon SNS: which are ours, and who signed them.

A message names the certificate that proves it, so everybody can ask us to fetch a certificate from where they like.
Nothing is asked for before the topic is one of ours and the address is Amazon's own; redirects are not followed.
(docs.aws.amazon.com/sns, "Verifying the signatures of Amazon SNS messages")
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlsplit

from pydantic_core import from_json

from adapters.base import Clients, Refused, TemporaryError

if TYPE_CHECKING:
    import aiohttp
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

# A region, letter for letter: sns.s3-eu-west-1.amazonaws.com would be somebody's bucket named `sns`.
_HOST: Final = re.compile(r"sns\.[a-z]{2}(?:-[a-z]{2,12}){1,3}-[0-9]{1,2}\.amazonaws\.com(?:\.cn)?\Z")
_CERTIFICATE_PATH: Final = re.compile(r"/SimpleNotificationService-[0-9a-zA-Z]{1,80}\.pem\Z")
_SIGNED: Final[Mapping[str, tuple[str, ...]]] = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
_LARGEST_CERTIFICATE: Final = 65_536
_SECONDS: Final = 10
_RETRY_AFTER: Final = 30.0


@dataclass(frozen=True, slots=True)
class SnsMessage:
    """One post of SNS: its members that are strings."""

    members: Mapping[str, str]

    def get(self, name: str) -> str:
        """A member; empty when there is none."""
        return self.members.get(name, "")

    @property
    def kind(self) -> str:
        """`Notification`, `SubscriptionConfirmation` or `UnsubscribeConfirmation`."""
        return self.get("Type")

    def signed_text(self) -> bytes:
        """The members that are signed, each as name and value on lines of their own."""
        lines = (f"{name}\n{self.members[name]}\n" for name in _SIGNED[self.kind] if name in self.members)
        return "".join(lines).encode("utf-8", "replace")


def read_message(body: bytes, topics: Collection[str]) -> SnsMessage:
    """A message of one of these topics, not proven yet. Raises `Refused` 403."""
    try:
        said = from_json(body)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise Refused(403, "This is not a message of Amazon SNS (raw message delivery must be off: it is not signed).")
    message = SnsMessage({key: value for key, value in said.items() if isinstance(value, str)})
    if message.get("TopicArn") not in topics:
        raise Refused(403, "This SNS topic is not one of the inbox's ses_topics.")
    if message.kind not in _SIGNED:
        raise Refused(403, "SNS sends no messages of this type.")
    check_certificate_url(message.get("SigningCertURL"))
    return message


def check_certificate_url(url: str) -> None:
    """Raises `Refused` 403 unless this is where Amazon keeps its signing certificates."""
    if not (_is_amazons(url) and _CERTIFICATE_PATH.match(urlsplit(url).path) and "?" not in url):
        raise Refused(403, "The signing certificate is not at an address of Amazon SNS; nothing was fetched.")


def check_subscribe_url(message: SnsMessage) -> str:
    """The address that confirms the subscription. Raises `Refused` 403 for any that is not SNS's own for this topic."""
    url = message.get("SubscribeURL")
    query = parse_qs(urlsplit(url).query, max_num_fields=20) if _is_amazons(url) else {}
    wanted = {"Action": ["ConfirmSubscription"], "TopicArn": [message.get("TopicArn")]}
    if any(query.get(name) != value for name, value in wanted.items()):
        raise Refused(403, "The address to confirm with is not one of Amazon SNS for this topic; it was not visited.")
    return url


def _is_amazons(url: str) -> bool:
    """`https`, SNS's host of some region, its usual port, nobody's password (`a@b`), no odd characters."""
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url or "#" in url or len(url) > 2_000:
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "https" and bool(_HOST.match(parts.netloc))


def verify(message: SnsMessage, key: RSAPublicKey) -> None:
    """Raises `Refused` 403 unless this key signed the message (version 1: SHA-1, version 2: SHA-256)."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15  # noqa: PLC0415

    # SHA-1 is what SNS signs with unless the topic says otherwise; forging needs a second preimage, not a collision.
    algorithms: dict[str, hashes.HashAlgorithm] = {"1": hashes.SHA1(), "2": hashes.SHA256()}  # noqa: S303
    algorithm = algorithms.get(message.get("SignatureVersion"))
    if algorithm is None:
        raise Refused(403, "SNS signs by version 1 or 2; this message names another.")
    try:
        signature = b64decode(message.get("Signature").encode("ascii"), validate=True)
        key.verify(signature, message.signed_text(), PKCS1v15(), algorithm)
    except (ValueError, InvalidSignature):
        raise Refused(403, "The message is not signed by Amazon SNS.") from None


class Certificates:
    """Amazon's public keys by address, fetched once each. Addresses must have been checked before."""

    MOST: Final = 50

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._keys: dict[str, RSAPublicKey] = {}

    def known(self, url: str) -> RSAPublicKey | None:
        """The key, if it has been fetched."""
        return self._keys.get(url)

    async def fetch(self, url: str) -> RSAPublicKey:
        """The key behind a checked address. Raises `TemporaryError`, or `Refused` for what is no certificate."""
        if (key := self._keys.get(url)) is not None:
            return key
        key = _public_key(await get(self._clients.http, url))
        if len(self._keys) >= self.MOST:
            self._keys.pop(next(iter(self._keys)))
        self._keys[url] = key
        return key


async def get(http: aiohttp.ClientSession | None, url: str) -> bytes:
    """GET a checked address: no redirect, 10 s, 64 KiB. Raises `TemporaryError`."""
    import aiohttp  # noqa: PLC0415  `frontdesk pipe` reads mail and asks nobody

    if http is None:
        raise TemporaryError("this process has no network client to ask Amazon SNS with", retry_after=_RETRY_AFTER)
    try:
        async with http.get(url, allow_redirects=False, timeout=aiohttp.ClientTimeout(total=_SECONDS)) as answer:
            if answer.status != 200:
                raise TemporaryError(f"Amazon SNS answered {answer.status}", retry_after=_RETRY_AFTER)
            return await answer.content.read(_LARGEST_CERTIFICATE)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise TemporaryError(
            f"Amazon SNS cannot be reached: {type(error).__name__}", retry_after=_RETRY_AFTER
        ) from None


def _public_key(pem: bytes) -> RSAPublicKey:
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey  # noqa: PLC0415

    try:
        key = x509.load_pem_x509_certificate(pem).public_key()
    except ValueError:
        raise TemporaryError("what Amazon SNS sent is no certificate", retry_after=_RETRY_AFTER) from None
    if not isinstance(key, RSAPublicKey):
        raise Refused(403, "The signing certificate holds no RSA key.")
    return key
