"""Amazon SES through SNS: which messages are believed, and what is asked of whom before they are."""

from __future__ import annotations

import asyncio
import base64
import datetime
import json
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from adapters.base import Clients, Raw, Refused, TemporaryError
from adapters.email import Email, EmailOptions
from adapters.email.sns import check_certificate_url
from normalizer.message import Draft, MessageDraft, UpdateDraft
from tests.channels.harness import PUBLIC_URL, arrived, inbound

HOST = "sns.eu-west-1.amazonaws.com"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:ses-inbound"
CERTIFICATE = f"https://{HOST}/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"
SUBSCRIBE = f"https://{HOST}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336412f37"
MAIL = b"From: Erika <erika@example.com>\r\nSubject: Hallo\r\nMessage-ID: <a1@example.com>\r\n"
MAIL += b"Content-Type: text/plain; charset=iso-8859-1\r\n\r\nGr\xfc\xdfe\r\n"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ORDER = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "Other": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}


def certify(key: rsa.RSAPrivateKey, name: str) -> bytes:
    """A certificate that signs itself, as PEM."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def sign(message: dict[str, str], key: rsa.RSAPrivateKey = KEY, version: str = "2") -> dict[str, str]:
    """As SNS signs: names and values of the members in a fixed order, a line each."""
    names = ORDER.get(message["Type"], ORDER["Other"])
    text = "".join(f"{name}\n{message[name]}\n" for name in names if name in message)
    algorithm = {"1": hashes.SHA1(), "2": hashes.SHA256()}.get(version, hashes.SHA256())
    signature = base64.b64encode(key.sign(text.encode(), padding.PKCS1v15(), algorithm)).decode()
    return message | {"SignatureVersion": version, "Signature": signature, "SigningCertURL": CERTIFICATE}


def received(
    verdicts: dict[str, str] | None = None,
    action: dict[str, str] | None = None,
    content: str | None = base64.b64encode(MAIL).decode(),
) -> str:
    """SES's words about a mail."""
    passed = {"spam": "PASS", "virus": "PASS", "spf": "PASS", "dkim": "PASS", "dmarc": "PASS"} | (verdicts or {})
    said: dict[str, Any] = {
        "notificationType": "Received",
        "mail": {
            "source": "bounces@mailer.example",
            "messageId": "d6iitobk75ur",
            "destination": ["support@acme.test"],
            "commonHeaders": {
                "from": ["Erika <erika@example.com>"], "subject": "Hallo", "messageId": "<a1@example.com>"
            },
        },
        "receipt": {
            "recipients": ["support@acme.test"],
            "action": action or {"type": "SNS", "encoding": "BASE64"},
            **{f"{name}Verdict": {"status": status} for name, status in passed.items()},
        },
    }  # fmt: skip
    return json.dumps(said | ({"content": content} if content is not None else {}))


def notification(message: str, **members: str) -> dict[str, str]:
    return {
        "Type": "Notification",
        "MessageId": "da41e39f-ea4d-435a-b922-c6aae3915ebe",
        "TopicArn": TOPIC,
        "Subject": "Amazon SES Email Receipt Notification",
        "Message": message,
        "Timestamp": "2026-08-01T10:00:00.000Z",
    } | members


def confirmation(**members: str) -> dict[str, str]:
    return {
        "Type": "SubscriptionConfirmation",
        "MessageId": "165545c9-2a5c-472c-8df2-7ff2be2b3b1b",
        "Token": "2336412f37",
        "TopicArn": TOPIC,
        "Message": "You have chosen to subscribe to the topic.",
        "SubscribeURL": SUBSCRIBE,
        "Timestamp": "2026-08-01T10:00:00.000Z",
    } | members


def post(message: Any) -> Raw:
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return arrived(inbound("POST", f"{PUBLIC_URL}/hooks/ses", {"Content-Type": "text/plain; charset=UTF-8"}, body))


@dataclass
class Amazon:
    """SNS's web server on loopback: what was asked of it, and what it answers. TLS as in the world."""

    certificate: bytes = b""
    status: int = 200
    asked: list[str] = field(default_factory=list)
    port: int = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(f"https://{request.host}{request.raw_path}")
        if self.status in (301, 302):
            return web.Response(status=self.status, headers={"Location": f"https://{HOST}/elsewhere"})
        return web.Response(status=self.status, body=self.certificate)


class OnlyHere(AbstractResolver):
    """Every name is our server: what is asked for elsewhere shows in its list, and not on the network."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [ResolveResult(hostname=host, host="127.0.0.1", port=self.port, family=socket.AF_INET, proto=0, flags=0)]

    async def close(self) -> None:
        """Nothing to close."""


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Of the server, and of a client that trusts it."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = certify(key, HOST)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file: Path = tmp_path_factory.mktemp("tls") / "amazon.pem"
    file.write_bytes(private + pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    return server, ssl.create_default_context(cadata=pem.decode())


@pytest.fixture
async def amazon(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> AsyncIterator[tuple[Amazon, Email]]:
    """The server, and an inbox whose client reaches it under Amazon's names."""
    server = Amazon(certify(KEY, HOST))
    app = web.Application()
    app.router.add_get("/{path:.*}", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls[0])
    await site.start()
    server.port = runner.addresses[0][1]
    connector = aiohttp.TCPConnector(resolver=OnlyHere(server.port), ssl=tls[1])
    async with aiohttp.ClientSession(connector=connector) as session:
        yield server, inbox(Clients(http=session))
    await runner.cleanup()


def inbox(clients: Clients | None = None, **options: Any) -> Email:
    chosen: dict[str, Any] = {"provider": "ses", "ses_topics": [TOPIC]} | options
    return Email("ses", EmailOptions(**chosen), clients)


async def take(adapter: Email, raw: Raw) -> list[Draft]:
    """As the gateway does: prepare, then the door."""
    assert raw.request is not None
    assert await adapter.prepare(raw.request) is None
    adapter.authenticate(raw)
    return list(adapter.normalize(raw))


async def read(adapter: Email, message: str) -> MessageDraft:
    [draft] = await take(adapter, post(sign(notification(message))))
    assert isinstance(draft, MessageDraft)
    return draft


@pytest.mark.parametrize("version", ["1", "2"])
async def test_a_mail_in_its_own_bytes(amazon: tuple[Amazon, Email], version: str) -> None:
    server, adapter = amazon
    [draft] = await take(adapter, post(sign(notification(received()), version=version)))
    assert isinstance(draft, MessageDraft)
    assert (draft.external_id, draft.text) == ("a1@example.com", "Grüße")
    assert draft.original is not None
    assert (draft.original.content, draft.original.content_type) == (MAIL, "message/rfc822")
    assert draft.author.trust == "verified"
    assert draft.author.evidence == "amazonses.com: dmarc=pass for example.com"
    assert [item.value for item in draft.recipients] == ["support@acme.test"]
    assert draft.fields["mail_from"] == "bounces@mailer.example"
    assert server.asked == [CERTIFICATE]


async def test_the_certificate_is_fetched_once(amazon: tuple[Amazon, Email]) -> None:
    server, adapter = amazon
    for _ in range(3):
        await read(adapter, received())
    assert server.asked == [CERTIFICATE]


@pytest.mark.parametrize(
    ("verdicts", "trust"),
    [
        ({"dmarc": "FAIL"}, "failed"),
        ({"dmarc": "GRAY"}, "unverified"),  # DKIM's verdict names no domain, SPF's is about another one
        ({"dmarc": "PROCESSING_FAILED", "spf": "FAIL"}, "unverified"),
    ],
)
async def test_what_amazon_found_is_the_authors_trust(
    amazon: tuple[Amazon, Email], verdicts: dict[str, str], trust: str
) -> None:
    assert (await read(amazon[1], received(verdicts))).author.trust == trust


async def test_spam_is_labelled_and_a_virus_is_held(amazon: tuple[Amazon, Email]) -> None:
    draft = await read(amazon[1], received({"spam": "FAIL"}))
    assert ([hit.name for hit in draft.problems], draft.suspend) == (["spam"], "")
    draft = await read(amazon[1], received({"virus": "FAIL"}))
    assert "virus" in {hit.name for hit in draft.problems}
    assert draft.suspend == "Amazon SES found a virus in it"


async def test_text_content_is_taken_too(amazon: tuple[Amazon, Email]) -> None:
    mail = "From: a@b.example\r\nSubject: x\r\n\r\nGrüße\r\n"
    draft = await read(amazon[1], received(action={"type": "SNS", "encoding": "UTF-8"}, content=mail))
    assert draft.text == "Grüße"


async def test_a_mail_that_lies_in_s3_is_held_with_its_place(amazon: tuple[Amazon, Email]) -> None:
    action = {"type": "S3", "bucketName": "mails", "objectKey": "in/1042"}
    draft = await read(amazon[1], received(action=action, content=None))
    assert "SNS action" in draft.suspend
    assert draft.text == "The mail itself is at s3://mails/in/1042"
    assert (draft.author.value, draft.subject, draft.external_id) == ("erika@example.com", "Hallo", "a1@example.com")
    assert draft.original is not None
    assert draft.original.content_type.endswith("provider=ses")


@pytest.mark.parametrize("message", ["Successfully validated SNS topic for Amazon SES event publishing.", "{}", "[]"])
async def test_what_is_no_mail_is_counted_or_held(amazon: tuple[Amazon, Email], message: str) -> None:
    [draft] = await take(amazon[1], post(sign(notification(message))))
    assert draft.reason if isinstance(draft, UpdateDraft) else draft.suspend


async def test_the_end_of_a_subscription_is_counted_and_nothing_is_visited(amazon: tuple[Amazon, Email]) -> None:
    server, adapter = amazon
    [draft] = await take(adapter, post(sign(confirmation(Type="UnsubscribeConfirmation"))))
    assert isinstance(draft, UpdateDraft)
    assert draft.kind == "ignored"
    assert server.asked == [CERTIFICATE]


# --- subscribing ----------------------------------------------------------------------------------------------------


async def test_a_subscription_to_our_topic_is_confirmed(amazon: tuple[Amazon, Email]) -> None:
    server, adapter = amazon
    request = post(sign(confirmation())).request
    assert request is not None
    answer = await adapter.prepare(request)
    assert answer is not None
    assert answer.status == 200
    assert server.asked == [CERTIFICATE, SUBSCRIBE]


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/?Action=ConfirmSubscription",
        SUBSCRIBE.replace("https", "http"),
        SUBSCRIBE.replace(HOST, f"{HOST}.evil.example"),
        SUBSCRIBE.replace(HOST, f"{HOST}@evil.example"),
        SUBSCRIBE.replace(HOST, f"{HOST}:8443"),
        SUBSCRIBE.replace("ConfirmSubscription", "Unsubscribe"),
        SUBSCRIBE.replace("ses-inbound", "another"),
        SUBSCRIBE + "&Action=DeleteTopic",
        "",
    ],
)
async def test_no_other_address_is_visited_to_confirm(amazon: tuple[Amazon, Email], url: str) -> None:
    server, adapter = amazon
    request = post(sign(confirmation(SubscribeURL=url))).request
    assert request is not None
    with pytest.raises(Refused, match="was not visited"):
        await adapter.prepare(request)
    assert server.asked == [CERTIFICATE]


async def test_an_unproven_subscription_is_not_confirmed(amazon: tuple[Amazon, Email]) -> None:
    server, adapter = amazon
    request = post(sign(confirmation()) | {"Token": "another"}).request
    assert request is not None
    with pytest.raises(Refused, match="not signed"):
        await adapter.prepare(request)
    assert server.asked == [CERTIFICATE]


# --- who is believed ------------------------------------------------------------------------------------------------

STRANGER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
GOOD = sign(notification(received()))


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param(sign(notification(received()), STRANGER), id="another key"),
        pytest.param(GOOD | {"Message": received({"dmarc": "FAIL"})}, id="another message"),
        pytest.param(GOOD | {"Timestamp": "2026-08-02T10:00:00.000Z"}, id="another time"),
        pytest.param({key: value for key, value in GOOD.items() if key != "Signature"}, id="no signature"),
        pytest.param(GOOD | {"Signature": "no base64!"}, id="no base64"),
        pytest.param(GOOD | {"Signature": "é"}, id="no ASCII"),
        pytest.param(GOOD | {"SignatureVersion": "3"}, id="unknown version"),
        pytest.param(sign(notification(received()), version="1") | {"SignatureVersion": "2"}, id="other version"),
        pytest.param(GOOD | {"Type": "SubscriptionConfirmation"}, id="other type"),
    ],
)
async def test_forged_messages_are_refused(amazon: tuple[Amazon, Email], forged: dict[str, str]) -> None:
    with pytest.raises(Refused) as refusal:
        await take(amazon[1], post(forged))
    assert refusal.value.status == 403


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(GOOD | {"TopicArn": "arn:aws:sns:eu-west-1:666666666666:ses-inbound"}, id="another topic"),
        pytest.param(GOOD | {"Type": "Announcement"}, id="another type"),
        pytest.param({}, id="nothing"),
        pytest.param([], id="no object"),
        pytest.param(b"{", id="no JSON"),
        pytest.param(b"[" * 10_000, id="deep"),
        pytest.param(GOOD | {"SigningCertURL": "https://evil.example/SimpleNotificationService-1.pem"}, id="host"),
    ],
)
async def test_nothing_is_fetched_for_strangers(amazon: tuple[Amazon, Email], message: Any) -> None:
    server, adapter = amazon
    raw = post(message)
    assert raw.request is not None
    for ask in (adapter.prepare(raw.request), asyncio.to_thread(adapter.authenticate, raw)):
        with pytest.raises(Refused) as refusal:
            await ask
        assert refusal.value.status == 403
    assert server.asked == []


@pytest.mark.parametrize(
    "url",
    [
        CERTIFICATE.replace("https", "http"),
        CERTIFICATE.replace(HOST, "evil.example"),
        CERTIFICATE.replace(HOST, f"evil.example/{HOST}"),
        CERTIFICATE.replace(HOST, f"{HOST}@evil.example"),
        CERTIFICATE.replace(HOST, f"{HOST}.evil.example"),
        CERTIFICATE.replace(HOST, "evil-sns.eu-west-1.amazonaws.com"),
        CERTIFICATE.replace(HOST, "sns.s3-eu-west-1.amazonaws.com"),  # a bucket that is called sns
        CERTIFICATE.replace(HOST, "sns.s3.eu-west-1.amazonaws.com"),
        CERTIFICATE.replace(HOST, "sns.eu-west-1.amazonaws.com:8443"),
        CERTIFICATE.replace(HOST, "sns.eu-west-1.amazonaws.com."),
        CERTIFICATE.replace(HOST, "SNS.eu-west-1.amazonaws.com\\@evil.example"),
        CERTIFICATE.replace("/SimpleN", "/x/SimpleN"),
        CERTIFICATE.replace(".pem", ".pem?x=1"),
        CERTIFICATE.replace(".pem", ".pem#"),
        CERTIFICATE.replace(".pem", ".pem\n"),
        CERTIFICATE.replace(".pem", "/../../x.pem"),
        f"https://{HOST}/evil.pem",
        "file:///etc/passwd",
        "https://[::1/x.pem",
        "",
    ],
)
def test_certificates_come_from_amazons_addresses_only(url: str) -> None:
    with pytest.raises(Refused, match="nothing was fetched"):
        check_certificate_url(url)


@pytest.mark.parametrize(
    "region", ["eu-west-1", "us-gov-west-1", "ap-southeast-2", "mx-central-1", "us-iso-east-1", "cn-north-1"]
)
def test_amazons_regions_are_known(region: str) -> None:
    tail = ".cn" if region.startswith("cn") else ""
    check_certificate_url(f"https://sns.{region}.amazonaws.com{tail}/SimpleNotificationService-0a.pem")


# --- when Amazon cannot be asked ------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [302, 403, 500])
async def test_without_its_certificate_a_message_is_to_be_sent_again(amazon: tuple[Amazon, Email], status: int) -> None:
    server, adapter = amazon
    server.status = status
    with pytest.raises(TemporaryError, match=f"answered {status}"):
        await take(adapter, post(GOOD))
    assert server.asked == [CERTIFICATE], "no redirect is followed"
    server.status = 200
    assert len(await take(adapter, post(GOOD))) == 1


async def test_what_is_no_certificate_is_not_believed(amazon: tuple[Amazon, Email]) -> None:
    server, adapter = amazon
    server.certificate = b"<html>" + b"x" * 200_000
    with pytest.raises(TemporaryError, match="no certificate"):
        await take(adapter, post(GOOD))


async def test_without_a_network_client_or_a_fetched_certificate_nothing_is_lost() -> None:
    raw = post(GOOD)
    assert raw.request is not None
    with pytest.raises(TemporaryError):
        await inbox().prepare(raw.request)
    with pytest.raises(Refused) as refusal:
        inbox().authenticate(raw)
    assert refusal.value.status == 503


async def test_without_topics_the_inbox_listens_to_none() -> None:
    adapter = inbox(ses_topics=[])
    assert adapter.missing() == ("ses_topics",)
    raw = post(GOOD)
    assert raw.request is not None
    with pytest.raises(Refused, match="set ses_topics"):
        await adapter.prepare(raw.request)


async def test_what_amazon_says_is_cleaned_as_all_words_are(amazon: tuple[Amazon, Email]) -> None:
    draft = await read(amazon[1], received().replace("d6iitobk75ur", "a\\u0000b"))
    assert draft.fields["ses"]["message_id"] == "ab"  # PostgreSQL keeps no NUL: the message would be a dead letter
