"""One mail by every road is one delivery, and whatever comes instead of it is a message or a refusal."""

from __future__ import annotations

import base64
import io
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import ClientSession

from adapters.base import Clients, Raw, Refused
from adapters.email import Email
from gateway.intake import Inbox
from normalizer.message import MessageDraft
from tests.channels.harness import arrived, damages, inbound, receive
from tests.channels.test_email_providers import (
    MAILGUN_FILES,
    MAILGUN_PARSED,
    MAILGUN_SAYS,
    MULTIPART,
    PNG,
    SENDGRID_PARSED,
    SENDGRID_SAYS,
    TEXT,
    WHOLE,
    basic,
    form,
    inbox,
    mailgun,
    post,
    postmark,
    proof,
    signed,
)
from tests.web.desk import Desk, make_desk


def every_road() -> dict[str, Raw]:
    parsed = {
        "From": "Erika@example.com",
        "FromName": "Erika Müller",
        "Subject": "Bestellung 1042 fällt aus",
        "TextBody": TEXT,
        "Headers": [{"Name": "Message-ID", "Value": "<a1042@mail.example.com>"}],
        "Attachments": [{"Name": "foto.png", "Content": base64.b64encode(PNG).decode(), "ContentType": "image/png"}],
    }
    return {
        "smtp": Raw(WHOLE, "message/rfc822", {"mail_from": "erika@example.com"}),
        "sendgrid raw": signed(form(SENDGRID_SAYS | {"email": WHOLE}), "support/sendgrid"),
        "sendgrid parsed": signed(SENDGRID_PARSED, "support/sendgrid"),
        "mailgun mime": post("support/mailgun/mime", form(MAILGUN_SAYS | proof() | {"body-mime": WHOLE}), MULTIPART),
        "mailgun parsed": post("support/mailgun", form(MAILGUN_PARSED | proof(token="2"), MAILGUN_FILES), MULTIPART),
        "postmark raw": postmark(parsed | {"RawEmail": WHOLE.decode()}, path="support/postmark"),
        "postmark parsed": postmark(parsed, path="support/postmark"),
    }


@pytest.mark.parametrize("road", every_road())
def test_one_mail_is_one_delivery_by_every_road(road: str) -> None:
    adapter = inbox()
    [by_smtp] = receive(adapter, every_road()["smtp"])
    [draft] = receive(adapter, every_road()[road])
    assert isinstance(draft, MessageDraft)
    assert isinstance(by_smtp, MessageDraft)
    for same in ("delivery_key", "content_key", "external_id", "subject", "text", "subject_base"):
        assert getattr(draft, same) == getattr(by_smtp, same), same
    assert draft.thread_keys[0] == by_smtp.thread_keys[0]


@pytest.mark.parametrize("road", every_road())
def test_a_kept_post_can_be_read_again_without_its_address(road: str) -> None:
    adapter = inbox()
    [draft] = receive(adapter, every_road()[road])
    assert isinstance(draft, MessageDraft)
    assert draft.original is not None
    assert draft.original.content is not None
    [again] = adapter.normalize(Raw(draft.original.content, draft.original.content_type))
    assert isinstance(again, MessageDraft)
    assert (again.delivery_key, again.text, again.attachments) == (draft.delivery_key, draft.text, draft.attachments)


def test_an_inbox_without_a_provider_has_no_address_of_its_own_but_one_for_each() -> None:
    adapter = inbox()
    assert adapter.missing() == ()
    assert set(adapter.hooks()) == {"sendgrid", "mailgun", "postmark"}, "SES lacks its topics"
    assert "" in inbox("mailgun").hooks()
    with pytest.raises(Refused, match="/sendgrid") as refusal:
        adapter.authenticate(post("support", SENDGRID_PARSED, MULTIPART))
    assert refusal.value.status == 404


def test_a_bounce_that_was_taken_apart_is_a_bounce_again() -> None:
    report = b"Reporting-MTA: dns; mx.example\r\n\r\nFinal-Recipient: rfc822; gone@example.com\r\nAction: failed\r\n"
    pairs = [
        ["From", "MAILER-DAEMON@mx.example"],
        ["Subject", "Undelivered"],
        ["Content-Type", "multipart/report; report-type=delivery-status; boundary=x"],
    ]
    raw = post(
        "mailgun",
        form(
            proof() | {"sender": "", "message-headers": json.dumps(pairs), "body-plain": "It could not be delivered."},
            {
                "attachment-1": ("", "message/delivery-status", report),
                "attachment-2": ("", "text/rfc822-headers", b"Message-ID: <ours-2@acme.test>\r\n"),
            },
        ),
        MULTIPART,
    )
    [draft] = receive(inbox("mailgun"), raw)
    assert isinstance(draft, MessageDraft)
    assert draft.fields["report"]["failed_recipient"] == "gone@example.com"
    assert draft.fields["report"]["message_id"].strip("<>") == "ours-2@acme.test"


@pytest.mark.parametrize("road", [road for road in every_road() if road != "smtp"])
def test_damaged_posts_are_messages_or_refusals(road: str, caplog: pytest.LogCaptureFixture) -> None:
    adapter = inbox()
    with caplog.at_level(logging.DEBUG):
        for damaged in damages(every_road()[road], 60):
            assert damaged.request is not None
            try:
                drafts = receive(adapter, damaged)
            except Refused as refusal:
                assert refusal.status in (401, 403, 404, 406)
            else:
                assert all(draft.delivery_key for draft in drafts)
    assert not caplog.records


# --- over HTTP ------------------------------------------------------------------------------------------------------


@pytest.fixture
async def served() -> AsyncIterator[tuple[Desk, ClientSession]]:
    """The gateway's own web server with a mail inbox `support`."""
    desk = make_desk()
    async with aiohttp.ClientSession() as session:
        options = inbox().options.model_copy(update={"ses_topics": ["arn:aws:sns:eu-west-1:1:mail"]})
        adapter: Any = Email("support", options, Clients())
        desk.inboxes["support"] = Inbox("support", "email", adapter, options)
        await desk.start()
        try:
            yield desk, session
        finally:
            await desk.stop()


async def send(served: tuple[Desk, ClientSession], raw: Raw) -> aiohttp.ClientResponse:
    desk, session = served
    assert raw.request is not None
    path = raw.request.url.partition("/hooks/")[2].removeprefix("support").strip("/")
    url = f"{desk.url}/hooks/support/{path}"
    answer = await session.post(url, data=io.BytesIO(raw.body), headers=dict(raw.request.headers))
    await answer.read()
    return answer


@pytest.mark.parametrize("road", [road for road in every_road() if road != "smtp"])
async def test_a_post_is_taken_and_answered_with_its_receipt(served: tuple[Desk, ClientSession], road: str) -> None:
    raw = every_road()[road]
    if "mailgun" in road:  # the clock of the desk is the clock of the samples
        assert served[0].now - 1_785_578_400 < 1
    answer = await send(served, raw)
    assert answer.status == 200
    assert await answer.text() == str(served[0].intake.receipt_ids[0])
    assert served[0].intake.drafts[0].external_id == "a1042@mail.example.com"


async def test_nothing_durable_is_said_so_and_the_second_try_is_taken(served: tuple[Desk, ClientSession]) -> None:
    served[0].refuse()
    refused = await send(served, mailgun(MAILGUN_PARSED | proof()))
    assert (refused.status, refused.headers["Retry-After"]) == (503, "8")
    served[0].recover()
    assert (await send(served, mailgun(MAILGUN_PARSED | proof()))).status == 200


async def test_the_same_token_with_another_mail_hears_406(served: tuple[Desk, ClientSession]) -> None:
    assert (await send(served, mailgun(MAILGUN_PARSED | proof()))).status == 200
    assert (await send(served, mailgun(MAILGUN_PARSED | proof() | {"body-plain": "Other"}))).status == 406
    assert len(served[0].intake.drafts) == 1


async def test_a_wrong_password_hears_401(served: tuple[Desk, ClientSession]) -> None:
    answer = await send(served, postmark({"From": "a@b.example"}, basic("postmark", "guess")))
    assert (answer.status, answer.headers["WWW-Authenticate"][:5]) == (401, "Basic")
    assert served[0].intake.drafts == []


async def test_when_amazon_cannot_be_asked_sns_is_told_to_try_again(served: tuple[Desk, ClientSession]) -> None:
    message = {
        "Type": "Notification",
        "TopicArn": "arn:aws:sns:eu-west-1:1:mail",
        "SigningCertURL": "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-1.pem",
    }
    answer = await send(served, post("ses", json.dumps(message).encode(), "text/plain"))
    assert (answer.status, answer.headers["Retry-After"]) == (503, "30")
    assert served[0].intake.drafts == []


async def test_a_mail_of_thirty_megabytes_is_taken(served: tuple[Desk, ClientSession]) -> None:
    mail = b"From: a@b.example\r\nSubject: big\r\n\r\n" + b"0123456789abcdef" * (30_000_000 // 16)
    answer = await send(served, signed(form(SENDGRID_SAYS | {"email": mail}), "support/sendgrid"))
    assert answer.status == 200
    original = served[0].intake.drafts[0].original
    assert original is not None
    assert original.size == len(mail)


async def test_the_inboxs_own_address_is_nobodys_without_a_provider(served: tuple[Desk, ClientSession]) -> None:
    answer = await send(served, arrived(inbound("POST", "https://x/hooks/support", {}, b"x")))
    assert answer.status == 404
