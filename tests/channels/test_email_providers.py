"""Mail that a provider received for us: proven, taken apart or whole, and the same message either way."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr

from adapters.base import Raw, Refused
from adapters.email import Email, EmailOptions
from normalizer import addresses, mime
from tests.channels.harness import PUBLIC_URL, ChannelTable, Row, arrived, inbound, receive

KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC = KEY.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
SIGNING_KEY = "key-mailgun-nobody-may-see"
PASSWORD = "pm-password-nobody-may-see"
TOKEN_KEY = "reply-key-nobody-may-see"
CLOCK = 1_785_578_400
TOKEN = "0123456789abcdef0123456789abcdef0123456789abcdef01"
PNG = base64.b64decode("iVBORw0KGgo=")

TEXT = "Hallo,\r\nmeine Bestellung 1042 ist nicht da: größer als 10 €?\r\n\r\n-- \r\nErika\r\n"
HTML = '<p>Hallo,<br>meine <b>Bestellung</b> 1042 ist nicht da.</p><img src="cid:logo@x">'
HEADER = """\
Received: from mail.example.com by mx.provider.example; Sat, 01 Aug 2026 09:59:03 +0000
From: =?utf-8?q?Erika_M=C3=BCller?= <Erika@example.com>
To: Acme Support <support@acme.test>
Cc: boss@example.com
Date: Sat, 01 Aug 2026 11:59:00 +0200
Subject: =?utf-8?q?Bestellung_1042_f=C3=A4llt?=
 =?utf-8?q?_aus?=
Message-ID: <a1042@mail.example.com>
In-Reply-To: <a1041@acme.test>
""".replace("\n", "\r\n")
WHOLE = (
    HEADER
    + 'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="B"\r\n\r\n'
    + "--B\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    + TEXT
    + '\r\n--B\r\nContent-Type: image/png; name="foto.png"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
    + base64.b64encode(PNG).decode()
    + "\r\n--B--\r\n"
).encode()
PARTS = 'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="B"'


def inbox(provider: str = "", **options: Any) -> Email:
    secrets: dict[str, Any] = {
        "sendgrid_public_key": base64.b64encode(PUBLIC).decode(),
        "mailgun_signing_key": SecretStr(SIGNING_KEY),
        "webhook_user": "postmark",
        "webhook_password": SecretStr(PASSWORD),
        "reply_keys": {"1": SecretStr(TOKEN_KEY)},
    }
    return Email(provider or "support", EmailOptions(**({"provider": provider} | secrets | options)))


def bare(provider: str) -> Email:
    return Email(provider, EmailOptions(provider=provider))


def form(fields: Mapping[str, bytes | str], files: Mapping[str, tuple[str, str, bytes]] | None = None) -> bytes:
    """multipart/form-data with the boundary `gw`."""
    out = b""
    for name, value in fields.items():
        data = value.encode() if isinstance(value, str) else value
        out += b'--gw\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name.encode(), data)
    for name, (filename, kind, data) in (files or {}).items():
        head = f'--gw\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\nContent-Type: {kind}'
        out += head.encode() + b"\r\n\r\n" + data + b"\r\n"
    return out + b"--gw--\r\n"


MULTIPART = "multipart/form-data; boundary=gw"
URLENCODED = "application/x-www-form-urlencoded"


def post(path: str, body: bytes, content_type: str, headers: Mapping[str, str] | None = None) -> Raw:
    return arrived(
        inbound("POST", f"{PUBLIC_URL}/hooks/{path}", {"Content-Type": content_type, **(headers or {})}, body)
    )


# --- SendGrid -------------------------------------------------------------------------------------------------------

SENDGRID_SAYS = {
    "to": "support@acme.test",
    "from": "Erika Müller <Erika@example.com>",
    "subject": "Bestellung 1042 fällt aus",
    "sender_ip": "203.0.113.7",
    "envelope": '{"to":["support@acme.test"],"from":"erika@example.com"}',
    "SPF": "pass",
    "dkim": "{@example.com : pass, @mailer.example : fail}",
    "spam_score": "0.1",
}
SENDGRID_PARSED = form(
    SENDGRID_SAYS
    | {
        "headers": f"{HEADER}{PARTS}",
        "text": TEXT,
        "charsets": '{"text":"utf-8"}',
        "attachments": "1",
        "attachment-info": '{"attachment1":{"filename":"foto.png","name":"foto.png","type":"image/png"}}',
    },
    {"attachment1": ("x.bin", "application/octet-stream", PNG)},
)
SENDGRID_OLD = form(
    {
        "headers": "From: a@b.example\nMessage-ID: <old@b.example>",
        "subject": "Fällt aus",
        "text": "größer".encode("iso-8859-1"),
        "html": "<p>größer</p>".encode("iso-8859-1"),
        "charsets": '{"text":"iso-8859-1","html":"iso-8859-1"}',
    }
)


def signed(body: bytes, path: str = "sendgrid", content_type: str = MULTIPART) -> Raw:
    """As an Inbound Parse security policy signs: timestamp and body, as they are on the wire."""
    signature = KEY.sign(str(CLOCK).encode() + body, ec.ECDSA(hashes.SHA256()))
    headers = {
        "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
        "X-Twilio-Email-Event-Webhook-Timestamp": str(CLOCK),
    }
    return post(path, body, content_type, headers)


class TestSendGrid(ChannelTable):
    hooks = ("", "mailgun", "postmark")
    signature_headers = ("X-Twilio-Email-Event-Webhook-Signature",)
    secrets = (PASSWORD, SIGNING_KEY, TOKEN_KEY)
    rows = (
        Row(
            "raw",
            signed(form(SENDGRID_SAYS | {"email": WHOLE})),
            [
                {
                    "external_id": "a1042@mail.example.com",
                    "subject": "Bestellung 1042 fällt aus",
                    "author.value": "erika@example.com",
                    "author.display_name": "Erika Müller",
                    "author.trust": "verified",
                    "author.evidence": lambda said: "dkim=pass by example.com" in said,
                    "recipients.0.role": "envelope",
                    "recipients.0.value": "support@acme.test",
                    "fields.mail_from": "erika@example.com",
                    "fields.remote": "203.0.113.7",
                    "fields.spam_score": "0.1",
                    "attachments.0.filename": "foto.png",
                    "original.content": WHOLE,
                    "original.content_type": "message/rfc822",
                }
            ],
            status=200,
        ),
        Row(
            "parsed",
            signed(SENDGRID_PARSED),
            [
                {
                    "external_id": "a1042@mail.example.com",
                    "subject": "Bestellung 1042 fällt aus",
                    "text": "Hallo,\nmeine Bestellung 1042 ist nicht da: größer als 10 €?",
                    "full_text": lambda said: said.endswith("Erika"),
                    "author.value": "erika@example.com",
                    "author.display_name": "Erika Müller",
                    "author.trust": "verified",
                    "thread_keys.1.value": "mid:a1041@acme.test",
                    "attachments.0.filename": "foto.png",
                    "attachments.0.content_type": "image/png",
                    "attachments.0.content": PNG,
                    "original.content": SENDGRID_PARSED,
                    "original.content_type": f"{MULTIPART}; provider=sendgrid",
                }
            ],
            status=200,
        ),
        Row(
            "an old account sends texts in the mail's own charset",
            signed(SENDGRID_OLD),
            [
                {
                    "text": "größer",
                    "html": "<p>größer</p>",
                    "subject": "Fällt aus",
                    "author.trust": "unverified",
                    "external_id": "old@b.example",
                }
            ],
        ),
        Row(
            "at the inbox's own address",
            signed(form(SENDGRID_SAYS | {"email": WHOLE}), "sendgrid"),
            [{"external_id": "a1042@mail.example.com"}],
        ),
        Row(
            "below another inbox",
            signed(form(SENDGRID_SAYS | {"email": WHOLE}), "support/sendgrid"),
            [{"external_id": "a1042@mail.example.com"}],
        ),
        Row(
            "a mail over budget is held with what is safe to know",
            signed(
                form({"email": b"Subject: =?utf-8?q?x?=\r\nFrom: a@b.example\r\n" + b"X: 1\r\n" * 2_000 + b"\r\nhi"})
            ),
            [{"suspend": lambda cause: "over budget" in cause, "author.value": "a@b.example", "subject": "x"}],
        ),
        Row(
            "proven, but none of its fields",
            signed(form({"hello": "world"})),
            [{"suspend": "could not be read: the form has none of SendGrid's fields", "problems.0.name": "unparsed"}],
        ),
        Row(
            "proven, but cut short",
            signed(SENDGRID_PARSED[:-40]),
            [{"suspend": "could not be read: the form is cut short", "original.content": SENDGRID_PARSED[:-40]}],
        ),
        Row(
            "proven, but no form",
            signed(b"{}", content_type="application/json"),
            [{"suspend": "could not be read: the post is application/json, not a form"}],
        ),
        Row("a path of nobody", replace(post("support/mime", b"x", MULTIPART)), refused=404),
    )

    def adapter(self) -> Email:
        return inbox("sendgrid")

    def bare(self) -> Email:
        return bare("sendgrid")


def test_the_signature_is_over_the_timestamp_too() -> None:
    raw = signed(SENDGRID_OLD)
    assert raw.request is not None
    for other in ("", "1785578401", f"{CLOCK} ", "\udcff"):
        request = inbound(
            "POST",
            raw.request.url,
            dict(raw.request.headers) | {"X-Twilio-Email-Event-Webhook-Timestamp": other},
            raw.body,
        )
        with pytest.raises(Refused):
            inbox("sendgrid").authenticate(arrived(request))


def test_the_key_may_be_pem() -> None:
    pem = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    inbox("sendgrid", sendgrid_public_key=pem.decode()).authenticate(signed(SENDGRID_OLD))


@pytest.mark.parametrize("key", ["no base64 !", base64.b64encode(b"no key").decode(), "-----BEGIN PUBLIC KEY-----"])
def test_a_key_that_is_none_is_said_so(key: str) -> None:
    with pytest.raises(Refused, match="sendgrid_public_key of the inbox sendgrid") as refusal:
        inbox("sendgrid", sendgrid_public_key=key).authenticate(signed(SENDGRID_OLD))
    assert refusal.value.status == 403
    assert key not in str(refusal.value)


def test_without_a_policy_a_password_in_the_address_proves_sendgrid() -> None:
    adapter = inbox("sendgrid", sendgrid_public_key="")
    receive(adapter, post("sendgrid", SENDGRID_PARSED, MULTIPART, basic("postmark", PASSWORD)))
    with pytest.raises(Refused) as refusal:
        adapter.authenticate(post("sendgrid", SENDGRID_PARSED, MULTIPART, basic("postmark", "guess")))
    assert refusal.value.status == 401


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.email.sendgrid.can_verify", lambda: False)
    adapter = inbox("sendgrid")
    assert "pip install" in adapter.missing()[0]
    with pytest.raises(Refused, match="cryptography"):
        adapter.authenticate(signed(SENDGRID_OLD))


# --- Mailgun --------------------------------------------------------------------------------------------------------

MAILGUN_SAYS = {
    "recipient": "support@acme.test",
    "sender": "erika@example.com",
    "from": "Erika Müller <Erika@example.com>",
    "subject": "Bestellung 1042 fällt aus",
}
MAILGUN_HEADERS = json.dumps(
    [list(pair) for pair in mime.parse((HEADER + PARTS + "\r\n\r\n").encode()).fields], ensure_ascii=False
)


def proof(timestamp: int = CLOCK, token: str = TOKEN, key: str = SIGNING_KEY) -> dict[str, str]:
    signature = hmac.new(key.encode(), f"{timestamp}{token}".encode(), hashlib.sha256).hexdigest()
    return {"timestamp": str(timestamp), "token": token, "signature": signature}


MAILGUN_PARSED = MAILGUN_SAYS | {"message-headers": MAILGUN_HEADERS, "body-plain": TEXT}
MAILGUN_FILES = {"attachment-1": ("foto.png", "image/png", PNG)}


def mailgun(fields: Mapping[str, str], received_at: float | None = None) -> Raw:
    raw = post("mailgun", urlencode(fields).encode(), URLENCODED)
    return raw if received_at is None else replace(raw, facts={"received_at": received_at})


class TestMailgun(ChannelTable):
    hooks = ("sendgrid", "", "postmark")
    secrets = (SIGNING_KEY, PASSWORD, TOKEN_KEY)
    test_forged_is_refused = None  # type: ignore[assignment]  # the proof is in the form: rows and tests below
    test_without_its_secrets_the_inbox_refuses_and_says_what_to_set = None  # type: ignore[assignment]
    rows = (
        Row(
            "raw, in a multipart form",
            post("mailgun/mime", form(MAILGUN_SAYS | proof() | {"body-mime": WHOLE}), MULTIPART),
            [
                {
                    "external_id": "a1042@mail.example.com",
                    "author.value": "erika@example.com",
                    "original.content": WHOLE,
                    "recipients.0.value": "support@acme.test",
                }
            ],
            status=200,
        ),
        Row(
            "raw, urlencoded",
            post("mailgun/mime", urlencode(MAILGUN_SAYS | proof() | {"body-mime": WHOLE}).encode(), URLENCODED),
            [{"external_id": "a1042@mail.example.com", "original.content": WHOLE}],
        ),
        Row(
            "parsed, with a file",
            post("support/mailgun", form(MAILGUN_PARSED | proof(), MAILGUN_FILES), MULTIPART),
            [
                {
                    "external_id": "a1042@mail.example.com",
                    "subject": "Bestellung 1042 fällt aus",
                    "author.display_name": "Erika Müller",
                    "text": "Hallo,\nmeine Bestellung 1042 ist nicht da: größer als 10 €?",
                    "attachments.0.filename": "foto.png",
                    "attachments.0.content": PNG,
                    "original.content_type": f"{MULTIPART}; provider=mailgun",
                }
            ],
            status=200,
        ),
        Row(
            "parsed, each header a field and a picture in the text",
            post(
                "mailgun",
                form(
                    MAILGUN_SAYS
                    | proof()
                    | {
                        "Message-Id": "<b7@mail.example.com>",
                        "In-Reply-To": "<a1041@acme.test>",
                        "body-html": HTML,
                        "content-id-map": '{"<logo@x>":"attachment-1"}',
                    },
                    MAILGUN_FILES,
                ),
                MULTIPART,
            ),
            [
                {
                    "external_id": "b7@mail.example.com",
                    "thread_keys.1.value": "mid:a1041@acme.test",
                    "text": lambda said: said.startswith("Hallo,\nmeine Bestellung 1042 ist nicht da."),
                    "html": HTML,
                    "attachments.0.content_id": "logo@x",
                    "attachments.0.inline": True,
                }
            ],
        ),
        Row(
            "stored files are named as missing",
            mailgun(MAILGUN_PARSED | proof() | {"attachments": '[{"url":"https://x"}]'}),
            [{"problems.0.name": "attachments_elsewhere"}],
        ),
        Row("signed by another", mailgun(MAILGUN_PARSED | proof(key="other")), refused=403),
        Row("not signed", mailgun(MAILGUN_PARSED), refused=403),
        Row("another token", mailgun(MAILGUN_PARSED | proof() | {"token": "x"}), refused=403),
        Row("no form", post("mailgun", b"{}", "application/json"), refused=403),
    )  # fmt: skip

    def adapter(self) -> Email:
        return inbox("mailgun")


def test_a_token_is_good_for_one_content() -> None:
    adapter = inbox("mailgun")
    adapter.authenticate(mailgun(MAILGUN_PARSED | proof()))
    adapter.authenticate(mailgun(MAILGUN_PARSED | proof(), CLOCK + 3_600.0))
    again_in_other_bytes = post("mailgun", form(MAILGUN_PARSED | proof(CLOCK + 600)), MULTIPART)
    adapter.authenticate(again_in_other_bytes)
    with pytest.raises(Refused, match="already come with another mail") as refusal:
        adapter.authenticate(mailgun(MAILGUN_PARSED | proof() | {"body-plain": "Pay to this account instead"}))
    assert refusal.value.status == 406, "which tells Mailgun to stop"


def test_a_replayed_post_is_the_same_delivery() -> None:
    first, again = (receive(inbox("mailgun"), mailgun(MAILGUN_PARSED | proof()))[0] for _ in range(2))
    assert first.delivery_key == again.delivery_key


@pytest.mark.parametrize(("age", "taken"), [(3_600, True), (86_400, True), (-3_600, True), (4 * 86_400, False)])
def test_a_signature_is_good_for_days_and_not_for_ever(age: int, *, taken: bool) -> None:
    raw = mailgun(MAILGUN_PARSED | proof(), CLOCK + float(age))
    if taken:
        inbox("mailgun").authenticate(raw)
        return
    with pytest.raises(Refused, match="is the clock right") as refusal:
        inbox("mailgun").authenticate(raw)
    assert refusal.value.status == 403, "on which Mailgun goes on trying"


def test_the_tokens_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.email.mailgun._TOKENS", 10)
    adapter = inbox("mailgun")
    for number in range(50):
        adapter.authenticate(mailgun(MAILGUN_PARSED | proof(token=f"token-{number}")))
    (provider,) = [each for each in adapter._providers.values() if each.name == "mailgun"]
    assert len(provider._seen) == 10  # type: ignore[attr-defined]


def test_without_its_key_mailgun_is_refused_and_the_option_is_named() -> None:
    with pytest.raises(Refused, match="set mailgun_signing_key of the inbox mailgun") as refusal:
        bare("mailgun").authenticate(mailgun(MAILGUN_PARSED | proof()))
    assert refusal.value.status == 403


# --- Postmark -------------------------------------------------------------------------------------------------------


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


REPLY_TOKEN = addresses.make_reply_token("84", TOKEN_KEY.encode())
POSTMARK: dict[str, Any] = {
    "From": "Erika@example.com",
    "FromName": 'Erika "Boss <ceo@acme.test>" Müller',
    "FromFull": {"Email": "Erika@example.com", "Name": "Erika Müller", "MailboxHash": ""},
    "To": "support@acme.test",
    "ToFull": [{"Email": "support@acme.test", "Name": "Acme, Support", "MailboxHash": ""}],
    "Cc": "",
    "CcFull": [{"Email": "boss@example.com", "Name": "", "MailboxHash": ""}],
    "OriginalRecipient": f"support+{REPLY_TOKEN}@acme.test",
    "Subject": "Re: Bestellung 1042\r\nX-Injected: yes",
    "MessageID": "22c74902-a0c1-4511-804f-341342852c90",
    "MessageStream": "inbound",
    "Date": "Sat, 1 Aug 2026 11:59:00 +0200",
    "TextBody": TEXT,
    "HtmlBody": HTML,
    "StrippedTextReply": "",
    "Headers": [
        {"Name": "Message-ID", "Value": "<p1@mail.example.com>"},
        {"Name": "Content-Type", "Value": "multipart/mixed; boundary=evil"},
        {"Name": "X-Odd\r\nX-Injected", "Value": "no"},
        {"Name": "References", "Value": "<a1041@acme.test>\r\n <a1040@acme.test>"},
        "no object",
        {"Name": "X-Number", "Value": 7},
    ],
    "Attachments": [
        {"Name": "../foto.png", "Content": base64.b64encode(PNG).decode(), "ContentType": "image/png",
         "ContentID": "logo@x"},
        {"Name": "broken.bin", "Content": "A", "ContentType": "x\r\nX-Injected: yes", "ContentID": ""},
        "no object",
    ],
}  # fmt: skip


def postmark(said: Any, headers: Mapping[str, str] | None = None, path: str = "postmark") -> Raw:
    proven = basic("postmark", PASSWORD) if headers is None else headers
    return post(path, json.dumps(said).encode(), "application/json", proven)


class TestPostmark(ChannelTable):
    hooks = ("sendgrid", "mailgun", "")
    secrets = (PASSWORD, TOKEN_KEY, SIGNING_KEY)
    test_forged_is_refused = None  # type: ignore[assignment]  # 401 and not 403: rows and tests below
    test_without_its_secrets_the_inbox_refuses_and_says_what_to_set = None  # type: ignore[assignment]
    rows = (
        Row(
            "a mail with everything",
            postmark(POSTMARK),
            [
                {
                    "external_id": "p1@mail.example.com",
                    "subject": "Re: Bestellung 1042  X-Injected: yes",
                    "author.value": "erika@example.com",
                    "author.display_name": "Erika 'Boss ceo@acme.test' Müller",
                    "author.trust": "unverified",
                    "text": "Hallo,\nmeine Bestellung 1042 ist nicht da: größer als 10 €?",
                    "html": HTML,
                    "thread_keys.0.kind": "reply_token",
                    "thread_keys.0.value": "84",
                    "thread_keys.2.value": "mid:a1040@acme.test",
                    "recipients.0.value": f"support+{REPLY_TOKEN}@acme.test",
                    "recipients.1.display_name": "Acme, Support",
                    "recipients.2.value": "boss@example.com",
                    "attachments.0.filename": "foto.png",
                    "attachments.0.inline": True,
                    "attachments.1.content_type": "application/octet-stream",
                    "problems": lambda hits: {"attachment_damaged"} <= {hit.name for hit in hits},
                    "original.content_type": "application/json; provider=postmark",
                }
            ],
            status=200,
        ),
        Row(
            "with the raw mail switched on, it is what is read",
            postmark(POSTMARK | {"RawEmail": WHOLE.decode()}, path="support/postmark"),
            [{"external_id": "a1042@mail.example.com", "original.content": WHOLE}],
        ),
        Row("no mail in it", postmark({"hello": 1}), [{"suspend": lambda cause: "not Postmark's" in cause}]),
        Row("no JSON", post("postmark", b"{", "application/json", basic("postmark", PASSWORD)),
            [{"suspend": lambda cause: "no JSON" in cause}]),
        Row("wrong password", postmark(POSTMARK, basic("postmark", "guess")), refused=401),
        Row("wrong user", postmark(POSTMARK, basic("root", PASSWORD)), refused=401),
        Row("no password", postmark(POSTMARK, {}), refused=401),
        Row("another scheme", postmark(POSTMARK, {"Authorization": f"Bearer {PASSWORD}"}), refused=401),
        Row("broken base64", postmark(POSTMARK, {"Authorization": "Basic é!"}), refused=401),
    )  # fmt: skip

    def adapter(self) -> Email:
        return inbox("postmark")


def test_an_empty_password_opens_nothing() -> None:
    for user, password in (("", ""), ("postmark", "")):
        adapter = inbox("postmark", webhook_user=user, webhook_password=SecretStr(password) if password else None)
        with pytest.raises(Refused, match="set webhook_") as refusal:
            adapter.authenticate(postmark(POSTMARK, basic(user, password)))
        assert refusal.value.status == 403


def test_a_wrong_password_asks_for_the_right_one() -> None:
    with pytest.raises(Refused) as refusal:
        inbox("postmark").authenticate(postmark(POSTMARK, {}))
    assert refusal.value.headers["WWW-Authenticate"].startswith("Basic ")
