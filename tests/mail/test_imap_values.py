"""What surrounds reading a mailbox: its options, its cursor, and what stays with the message."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from adapters.base import Raw
from adapters.email import Email, EmailOptions
from adapters.email.imap_cursor import load, read_uid_set, uid_set
from normalizer.message import MessageDraft
from tests.mail.mailboxes import mail


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"password": "a", "access_token": "b"},
        {"password": ""},
        {"password": "a\r\nb"},
        {"password": "a", "tls": "none"},
        {"password": "a", "folders": ["INBOX", "INBOX"]},
        {"password": "a", "folders": ["IN\r\nBOX"]},
        {"password": "a", "folders": []},
        {"password": "a", "after": "move:INBOX"},
        {"password": "a", "after": "delete"},
        {"password": "a", "after": "flag:\\Deleted"},
        {"password": "a", "after": "flag:a) b"},
        {"password": "a", "user": "a\nb"},
        {"password": "a", "port": 0},
    ],
)
def test_options_that_cannot_be_meant_are_refused_without_showing_secrets(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refused:
        EmailOptions.model_validate({"imap": {"host": "imap.example.com", "user": "desk"} | options})
    assert "input_value" not in str(refused.value)


def test_the_day_of_arrival_and_the_place_stay_with_the_message() -> None:
    adapter = Email("support", EmailOptions())
    facts = {"internal_date": "2019-05-17T08:30:00+00:00", "mailbox": "INBOX;UIDVALIDITY=1;UID=2"}
    [draft] = adapter.normalize(Raw(mail(1), "message/rfc822", facts))
    assert isinstance(draft, MessageDraft)
    assert draft.fields["internal_date"] == "2019-05-17T08:30:00+00:00"
    assert draft.fields["mailbox"] == "INBOX;UIDVALIDITY=1;UID=2"


@pytest.mark.parametrize(
    "text", ["", "45", "[]", "{}", "not json", '{"account":"a at b"}', '{"account":"a at b","folders":{"I":[]}}']
)
def test_a_cursor_nobody_can_read_is_a_new_beginning(text: str) -> None:
    assert load(text, "a at b").folders == {}


def test_uids_are_stored_short_and_come_back() -> None:
    uids = [9, 3, 4, 5, 1_000_000, 5]
    assert uid_set(uids) == "3:5,9,1000000"
    assert read_uid_set(uid_set(uids)) == [3, 4, 5, 9, 1_000_000]
    assert read_uid_set("") == []
