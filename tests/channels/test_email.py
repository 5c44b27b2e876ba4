"""Mail as the channel sees it: real shapes of mail in, one canonical message out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from adapters.base import Raw, Refused
from adapters.email import Email, EmailOptions
from normalizer import addresses
from normalizer.message import MessageDraft
from tests.channels.harness import ChannelTable, Row

KEY = "a-reply-key-nobody-may-see"
TOKEN = addresses.make_reply_token("84", KEY.encode(), "2025")

REPLY = f"""Return-Path: <anna@customer.example>
Authentication-Results: mx.desk.example; dkim=pass header.d=customer.example;
 dmarc=pass (p=reject) header.from=customer.example
Received: from mail.customer.example by mx.desk.example; Mon, 3 Feb 2025 10:00:01 +0000
From: =?utf-8?q?Anna_M=C3=BCller?= <Anna@Customer.example>
To: Support <support+{TOKEN}@desk.example>
Cc: boss@customer.example
Subject: Re: [desk] Where is my order?
Date: Mon, 3 Feb 2025 11:00:00 +0100
Message-ID: <reply-1@customer.example>
In-Reply-To: <ours-1@desk.example>
References: <first@customer.example> <ours-1@desk.example>
Content-Type: text/plain; charset=utf-8

It has not arrived yet, and I am waiting for it.

On Mon, 3 Feb 2025 at 09:00, Support <support@desk.example> wrote:
> Has it arrived?

-- 
Anna
"""  # noqa: W291
HTML_ONLY = """From: anna@customer.example
To: support@desk.example
Subject: =?utf-8?b?UsO8Y2tnYWJl?=
Message-ID: <html-1@customer.example>
Content-Type: multipart/related; boundary=B

--B
Content-Type: text/html; charset=utf-8

<p>Ich möchte die <b>Lampe</b> zurückgeben.</p><img src="cid:lamp">
<blockquote type="cite"><p>Wie können wir helfen?</p></blockquote>
--B
Content-Type: image/png; name="../lamp.png"
Content-ID: <lamp>
Content-Transfer-Encoding: base64

iVBORw0KGgo=
--B--
"""
BOUNCE = """Return-Path: <>
From: Mail Delivery System <mailer-daemon@mx.customer.example>
To: support@desk.example
Subject: Undelivered Mail Returned to Sender
Message-ID: <bounce-1@mx.customer.example>
Auto-Submitted: auto-replied
Content-Type: multipart/report; report-type=delivery-status; boundary=B

--B

Your mail could not be delivered.
--B
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.customer.example

Final-Recipient: rfc822; gone@customer.example
Action: failed
Status: 5.1.1
--B
Content-Type: text/rfc822-headers

Message-ID: <ours-2@desk.example>
--B--
"""
FACTS = {"mail_from": "anna@customer.example", "rcpt_tos": ["support@desk.example"], "remote": "192.0.2.7"}


def inbox(**options: Any) -> Email:
    defaults: dict[str, Any] = {
        "addresses": ["support@desk.example", "*@help.desk.example"],
        "reply_keys": {"2025": SecretStr(KEY)},
        "authserv_ids": ["mx.desk.example"],
    }
    return Email("support", EmailOptions(**(defaults | options)))


def raw(text: str, **facts: Any) -> Raw:
    return Raw(body=text.encode(), content_type="message/rfc822", facts=FACTS | facts)


def normalize(text: str, adapter: Email | None = None, **facts: Any) -> MessageDraft:
    (draft,) = (adapter or inbox()).normalize(raw(text, **facts))
    assert isinstance(draft, MessageDraft)
    return draft


class TestEmail(ChannelTable):
    secrets = (KEY,)
    rows = (
        Row(
            "a reply with everything",
            raw(REPLY),
            [
                {
                    "external_id": "reply-1@customer.example",
                    "sent_at": datetime(2025, 2, 3, 10, tzinfo=UTC),
                    "author.value": "anna@customer.example",
                    "author.display_name": "Anna Müller",
                    "author.trust": "verified",
                    "author.evidence": "mx.desk.example: dmarc=pass for customer.example",
                    "recipients.0.role": "envelope",
                    "recipients.1.value": f"support+{TOKEN}@desk.example",
                    "recipients.2.role": "cc",
                    "subject": "Re: [desk] Where is my order?",
                    "subject_base": "where is my order?",
                    "text": "It has not arrived yet, and I am waiting for it.",
                    "full_text": lambda text: "Has it arrived?" in text and "Anna" in text,
                    "language": "en",
                    "thread_keys": lambda keys: (
                        [(key.kind, key.value) for key in keys]
                        == [
                            ("reply_token", "84"),
                            ("message_id", "mid:reply-1@customer.example"),
                            ("in_reply_to", "mid:ours-1@desk.example"),
                            ("references", "mid:first@customer.example"),
                        ]
                    ),
                    "automated": (),
                    "problems": (),
                    "suspend": "",
                    "fields.date": "Mon, 3 Feb 2025 11:00:00 +0100",
                    "fields.remote": "192.0.2.7",
                    "original.content": REPLY.encode(),
                }
            ],
        ),
        Row(
            "html only, with a picture",
            raw(HTML_ONLY),
            [
                {
                    "subject": "Rückgabe",
                    "text": "Ich möchte die Lampe zurückgeben.",
                    "full_text": lambda text: "> Wie können wir helfen?" in text,
                    "html": lambda html: "cid:lamp" in html,
                    "language": "de",
                    "attachments.0.filename": "lamp.png",
                    "attachments.0.inline": True,
                    "attachments.0.content_id": "lamp",
                    "attachments.0.sniffed_type": "image/png",
                    "author.trust": "unverified",
                }
            ],
        ),
        Row(
            "a bounce",
            raw(BOUNCE, mail_from=""),
            [
                {
                    "automated": lambda hits: {"bounce", "auto_submitted", "null_sender"} <= {hit.name for hit in hits},
                    "fields.report": {
                        "type": "bounce",
                        "failed_recipient": "gone@customer.example",
                        "message_id": "<ours-2@desk.example>",
                        "status": "5.1.1",
                        "reason": "failed",
                    },
                    "suspend": "",
                }
            ],
        ),
        Row(
            "no header at all",
            raw("Only words"),
            [{"suspend": bool, "text": "Only words", "author.trust": "unverified"}],
        ),
        Row("nothing at all", raw(""), [{"suspend": bool, "content_key": "", "delivery_key": bool}]),
        Row(
            "over budget",
            raw("From: anna@customer.example\nSubject: s\n" + "X: y\n" * 2_000 + "\nHello"),
            [
                {
                    "suspend": "over budget: more than 1000 header fields",
                    "author.value": "anna@customer.example",
                    "subject": "s",
                }
            ],
        ),
        Row("too large", Raw(body=b"x" * 26_214_401), refused=413),
    )

    # Mail takes strangers: there is no request that a provider signs.
    test_forged_is_refused = None  # type: ignore[assignment]
    test_without_its_secrets_the_inbox_refuses_and_says_what_to_set = None  # type: ignore[assignment]

    def adapter(self) -> Email:
        return inbox()


@pytest.mark.parametrize(
    ("recipient", "accepted"),
    [
        ("support@desk.example", True),
        ("<Support@DESK.example>", True),
        ("support+84.tag@desk.example", True),
        ("anything@help.desk.example", True),
        ("other@desk.example", False),
        ("support@desk.example.evil.example", False),
        ("support%evil.example@desk.example", False),
        ("victim@other.example@help.desk.example", False),
        ("@help.desk.example", False),
        ("support", False),
        ("", False),
    ],
)
def test_recipients(recipient: str, accepted: bool) -> None:
    assert inbox().accepts(recipient) is accepted


def test_without_addresses_every_recipient_of_the_domains_is_ours() -> None:
    adapter = Email("support", EmailOptions())
    assert adapter.accepts("anybody@localhost")
    assert not adapter.accepts("anybody@desk.example")


def test_a_mail_relayed_twice_is_one_delivery() -> None:
    again = "Received: from elsewhere by mx2; Mon, 3 Feb 2025 10:09:00 +0000\n" + REPLY
    encoded = REPLY.replace("Content-Type", "Content-Transfer-Encoding: quoted-printable\nContent-Type").replace(
        "yet,", "yet=2C"
    )
    keys = {normalize(text).delivery_key for text in (REPLY, again, encoded, REPLY.replace("\n", "\r\n"))}
    assert len(keys) == 1


def test_another_text_under_the_same_message_id_is_another_delivery() -> None:
    assert normalize(REPLY).delivery_key != normalize(REPLY.replace("waiting", "not waiting")).delivery_key


def test_the_same_words_in_two_mails_have_the_same_content_key() -> None:
    other = REPLY.replace("reply-1@", "reply-2@")
    assert normalize(REPLY).content_key == normalize(other).content_key
    assert normalize(REPLY).delivery_key != normalize(other).delivery_key


def test_the_token_is_found_wherever_the_mail_was_delivered() -> None:
    plain = REPLY.replace(f"support+{TOKEN}@", "support@")
    assert normalize(plain).thread_keys[0].kind == "message_id"
    for found in (
        normalize(plain, rcpt_tos=[f"support+{TOKEN.upper()}@desk.example"]),
        normalize(f"Delivered-To: support+{TOKEN}@desk.example\n{plain}"),
        normalize(plain.replace("<ours-1@", f"<{TOKEN}.x@")),
    ):
        assert (found.thread_keys[0].kind, found.thread_keys[0].value) == ("reply_token", "84")


@pytest.mark.parametrize(
    ("result", "trust"),
    [
        ("mx.desk.example; dmarc=pass header.from=customer.example", "verified"),
        ("mx.desk.example; dmarc=pass header.from=other.example", "unverified"),
        ("mx.desk.example 1; dmarc=fail (p=none) header.from=customer.example", "failed"),
        ("mx.desk.example; dkim=pass header.d=customer.example", "verified"),
        ("mx.desk.example; dkim=pass header.d=evil.example", "unverified"),
        ("mx.desk.example; dkim=pass header.d=example", "unverified"),
        ("mx.desk.example; spf=pass smtp.mailfrom=bounce@mail.customer.example", "unverified"),
        ("mx.desk.example; spf=pass smtp.mailfrom=anna@customer.example", "verified"),
        ("mx.desk.example; none", "unverified"),
        ("mx.evil.example; dmarc=pass header.from=customer.example", "unverified"),
        ("spf=pass (sender IP is 1.2.3.4) smtp.mailfrom=x; dmarc=pass header.from=customer.example", "unverified"),
        ("mx.desk.example; dmarc=pass (comment; dmarc=fail) header.from=customer.example", "verified"),
        (";;;===;", "unverified"),
    ],
)
def test_trust(result: str, trust: str) -> None:
    draft = normalize(f"Authentication-Results: {result}\nFrom: anna@customer.example\n\nHello")
    assert draft.author.trust == trust
    assert draft.author.evidence


def test_microsofts_form_has_to_be_asked_for() -> None:
    result = "Authentication-Results: spf=pass smtp.mailfrom=x; dmarc=pass header.from=customer.example"
    text = f"{result}\nFrom: a@customer.example\n\nHi"
    assert normalize(text).author.trust == "unverified"
    assert normalize(text, inbox(authserv_ids=["microsoft365"])).author.trust == "verified"


def test_html_tells_what_is_old_where_the_text_does_not() -> None:
    text = "From: a@x.org\nContent-Type: multipart/alternative; boundary=B\n\n--B\n\nNew words.\n\nOld words.\n--B\n"
    text += 'Content-Type: text/html\n\n<p>New words.</p><blockquote type="cite">Old words.</blockquote>\n--B--\n'
    draft = normalize(text)
    assert draft.text == "New words."
    assert "Old words." in draft.full_text


def test_options_are_checked() -> None:
    with pytest.raises(ValidationError):
        EmailOptions(max_bytes=0)
    with pytest.raises(ValidationError):
        EmailOptions.model_validate({"adresses": ["typo@desk.example"]})
    with pytest.raises(Refused) as refusal:
        inbox(max_bytes=10).normalize(Raw(body=b"x" * 11))
    assert refusal.value.status == 413
