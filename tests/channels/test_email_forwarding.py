"""A mail that one of our own people passes on is its original sender's; anybody else's forward is their own mail."""

from __future__ import annotations

import pytest

from adapters.base import Raw
from adapters.email import Email, EmailOptions
from normalizer.message import MessageDraft

INLINE = (
    b"From: Bob Agent <bob@desk.test>\r\nTo: support@desk.test\r\nSubject: Fwd: Where is my order?\r\n"
    b"Message-ID: <f1@desk.test>\r\nDate: Sat, 01 Aug 2026 10:00:00 +0000\r\n\r\n"
    b"Can you take this one?\r\n\r\n---------- Forwarded message ---------\r\n"
    b"From: Ann Smith <ann@shop.test>\r\nDate: Fri, 31 Jul 2026 at 09:00\r\nSubject: Where is my order?\r\n"
    b"To: Bob Agent <bob@desk.test>\r\n\r\nMy order 1042 has not come.\r\n"
)
ATTACHED = (
    b"From: bob@desk.test\r\nTo: support@desk.test\r\nSubject: Fwd: Where is my order?\r\n"
    b"Message-ID: <f2@desk.test>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: text/plain\r\n\r\nplease\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
    b"From: Ann Smith <ann@shop.test>\r\nTo: bob@desk.test\r\nSubject: Where is my order?\r\n"
    b"Message-ID: <a1@shop.test>\r\n\r\nMy order 1042 has not come.\r\n\r\n--b--\r\n"
)


def read(body: bytes, **options: object) -> MessageDraft:
    adapter = Email("support", EmailOptions(channel="email", domains=["desk.test"], **options))  # type: ignore[arg-type]
    [draft] = adapter.normalize(Raw(body, "message/rfc822", {"rcpt_tos": ["support@desk.test"]}))
    assert isinstance(draft, MessageDraft)
    return draft


@pytest.mark.parametrize("agents", [["bob@desk.test"], ["*@desk.test"], ["*@DESK.test "]])
@pytest.mark.parametrize("body", [INLINE, ATTACHED], ids=["inline", "attached"])
def test_what_an_agent_forwards_is_its_senders(body: bytes, agents: list[str]) -> None:
    draft = read(body, agents=agents)
    assert (draft.author.value, draft.author.display_name, draft.author.trust) == (
        "ann@shop.test",
        "Ann Smith",
        "unverified",
    )
    assert draft.author.evidence == "as forwarded by bob@desk.test"
    assert draft.subject == "Where is my order?"
    assert draft.text.strip() == "My order 1042 has not come."
    assert draft.fields["forwarded_by"] == "bob@desk.test"
    assert draft.original is not None
    assert draft.original.content == body


def test_the_note_above_is_kept_and_the_attached_mails_id_is_evidence() -> None:
    assert read(INLINE, agents=["bob@desk.test"]).fields["note"] == "Can you take this one?"
    keys = {(key.kind, key.value) for key in read(ATTACHED, agents=["bob@desk.test"]).thread_keys}
    assert ("references", "mid:a1@shop.test") in keys


@pytest.mark.parametrize("agents", [[], ["carol@desk.test"], ["*@other.test"]])
def test_anybody_elses_forward_is_their_own(agents: list[str]) -> None:
    assert read(INLINE, agents=agents).author.value == "bob@desk.test"


def test_an_agents_own_mail_stays_the_agents() -> None:
    own = INLINE.replace(b"Fwd: ", b"").split(b"----------")[0]
    assert read(own, agents=["*@desk.test"]).author.value == "bob@desk.test"


def test_who_only_claims_to_be_an_agent_is_not_believed() -> None:
    forged = b"Authentication-Results: mx.desk.test; dmarc=fail header.from=desk.test\r\n" + INLINE
    draft = read(forged, agents=["*@desk.test"], authserv_ids=["mx.desk.test"])
    assert (draft.author.value, draft.author.trust) == ("bob@desk.test", "failed")
