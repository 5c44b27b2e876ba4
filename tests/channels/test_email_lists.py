"""Mail that a group or list sent in its own name: whose it is, and when nobody can say."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.base import Raw
from adapters.email import Email, EmailOptions
from normalizer.message import MessageDraft

MX = "mx.desk.test"
GROUP = (
    "From: 'Ann Lee' via Support <support@desk.test>\nX-Original-From: Ann Lee <ann@customer.test>\n"
    "Reply-To: Ann Lee <ann@customer.test>\nList-ID: <support.desk.test>\nTo: support@desk.test\nSubject: Hi\n\nHello"
)
FOREIGN = GROUP.replace("<support@desk.test>", "<all@list.test>")


def read(text: str, mail_from: str = "x@relay.test", **options: Any) -> MessageDraft:
    chosen = EmailOptions.model_validate({"addresses": ["support@desk.test"], **options})
    raw = Raw(text.encode(), "message/rfc822", {"mail_from": mail_from, "rcpt_tos": ["desk@in.test"]})
    (draft,) = Email("support", chosen).normalize(raw)
    assert isinstance(draft, MessageDraft)
    return draft


def checked(result: str, text: str, of: str = "desk.test") -> str:
    return f"Authentication-Results: {MX}; dmarc={result} header.from={of}\n{text}"


def test_our_own_group_says_who_wrote() -> None:
    author = read(GROUP).author
    assert (author.value, author.display_name, author.trust) == ("ann@customer.test", "Ann Lee", "unverified")
    assert author.evidence == "as support@desk.test says, which passed it on"


@pytest.mark.parametrize(("result", "value", "trust"), [
    ("pass", "ann@customer.test", "unverified"),
    ("none", None, "unverified"),
    ("fail", None, "failed"),
])  # fmt: skip
def test_where_senders_are_checked_the_group_has_to_be_proven(result: str, value: str | None, trust: str) -> None:
    """Else a forged group would speak in anybody's name, past the check of that name's own domain."""
    author = read(checked(result, GROUP), authserv_ids=[MX]).author
    assert (author.value, author.trust) == (value, trust)


@pytest.mark.parametrize("result", ["pass", "none"])
def test_a_foreign_list_is_nobody_whatever_it_proves(result: str) -> None:
    """All its writers would be one person, whose tickets they could join."""
    author = read(checked(result, FOREIGN, "list.test"), authserv_ids=[MX]).author
    assert (author.identity, author.trust) == (None, "unverified")
    assert "all@list.test is a list or group" in author.evidence


@pytest.mark.parametrize(("envelope", "value"), [
    ("SRS0=HHH=TT=customer.test=ann@relay.test", "ann@customer.test"),
    ("prvs=1234abcdef=ann@customer.test", "ann@customer.test"),
    ("info+caf_=support=desk.test@gmail.com", None),
])  # fmt: skip
def test_without_from_the_envelope_names_the_writer_and_never_the_forwarder(envelope: str, value: str | None) -> None:
    assert read("Subject: Hi\n\nHello", mail_from=envelope).author.value == value


def test_a_redirected_mail_is_its_writers() -> None:
    """Resent-From names who passed it on (RFC 5322 section 3.6.6)."""
    resent = "Resent-From: boss@desk.test\nResent-To: support@desk.test\nFrom: Ann <ann@customer.test>\n\nHello"
    assert read(resent, mail_from="boss@desk.test", agents=["boss@desk.test"]).author.value == "ann@customer.test"
