"""Thirty megabytes by every provider's webhook: taken whole, and never held several times over."""

from __future__ import annotations

import base64
import tracemalloc
from collections.abc import Callable
from urllib.parse import urlencode

import pytest

from adapters.base import Raw
from normalizer.message import MessageDraft
from tests.channels.harness import receive
from tests.channels.test_email_providers import (
    MAILGUN_PARSED,
    MAILGUN_SAYS,
    MULTIPART,
    SENDGRID_SAYS,
    URLENCODED,
    form,
    inbox,
    post,
    postmark,
    proof,
    signed,
)

SIZE = 30_000_000
BLOCK = bytes(range(256))
FILE = (BLOCK * (SIZE // len(BLOCK) + 1))[:SIZE]
LETTER = (
    b"From: erika@example.com\r\nSubject: large\r\nMessage-ID: <large@example.com>\r\n\r\n"
    + b"0123456789abcde\n" * (SIZE // 16)
)
NAME = "all.bin"
PARSED = SENDGRID_SAYS | {"headers": "From: erika@example.com\nSubject: large", "text": "see the file"}


def _mailgun_urlencoded() -> Raw:
    said = urlencode(MAILGUN_SAYS | proof(token="3" * 50)).encode() + b"&body-mime=" + LETTER.replace(b"\n", b"%0A")
    return post("support/mailgun/mime", said, URLENCODED)


def _postmark(**members: str) -> Raw:
    said = {"From": "erika@example.com", "Subject": "large", "TextBody": "see the file", **members}
    attached = [{"Name": NAME, "Content": base64.b64encode(FILE).decode(), "ContentType": "application/x-all"}]
    return postmark(said if "RawEmail" in members else said | {"Attachments": attached}, path="support/postmark")


ROADS: dict[str, Callable[[], Raw]] = {
    "sendgrid raw": lambda: signed(form(SENDGRID_SAYS | {"email": LETTER}), "support/sendgrid"),
    "sendgrid parsed": lambda: signed(
        form(PARSED, {"attachment1": (NAME, "application/x-all", FILE)}), "support/sendgrid"
    ),
    "mailgun mime": lambda: post(
        "support/mailgun/mime", form(MAILGUN_SAYS | proof(token="1" * 50) | {"body-mime": LETTER}), MULTIPART
    ),
    "mailgun mime, urlencoded": _mailgun_urlencoded,
    "mailgun parsed": lambda: post(
        "support/mailgun",
        form(MAILGUN_PARSED | proof(token="2" * 50), {"attachment-1": (NAME, "application/x-all", FILE)}),
        MULTIPART,
    ),
    "postmark parsed": _postmark,
    "postmark raw": lambda: _postmark(RawEmail=LETTER.decode()),
}


@pytest.mark.parametrize("road", ROADS)
def test_thirty_megabytes_are_taken_and_not_held_several_times(road: str) -> None:
    adapter, raw = inbox(), ROADS[road]()
    tracemalloc.start()
    try:
        [draft] = receive(adapter, raw)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(draft, MessageDraft)
    assert draft.suspend == ""
    # Beside the post: the mail, and the text or file in it. Base64 inside JSON is once more what was posted.
    assert peak < (3.0 if road == "postmark parsed" else 2.5) * len(raw.body)
    if road.endswith("parsed"):
        assert [(item.filename, item.size) for item in draft.attachments] == [(NAME, SIZE)]
        assert draft.attachments[0].content == FILE
    else:
        assert "truncated" in [hit.name for hit in draft.problems], (
            "a text of 30 MB is shown in part and attached whole"
        )
        assert draft.attachments[0].size >= SIZE - SIZE // 16
