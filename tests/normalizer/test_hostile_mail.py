"""The mail attacks A01 to A59, made here: the right outcome, and no more work than a real mail of that size makes.

Time is bounded by the test timeout only (a slow machine is no defect), which the naive ways of reading these mails
exceed many times over.
"""

from __future__ import annotations

import tracemalloc

import pytest

from adapters.base import Raw
from adapters.email import Email, EmailOptions
from gateway.bench import hostile
from gateway.bench.hostile import text_mail
from normalizer import addresses, markup
from normalizer.message import MessageDraft
from normalizer.thread_keys import key_value

pytestmark = pytest.mark.timeout(60)
KEY = "reply-secret"


def adapter() -> Email:
    return Email(
        "support",
        EmailOptions(addresses=["support@desk.example"], reply_keys={"1": KEY}, authserv_ids=["mx.desk.example"]),
    )


def read(body: bytes | str, mail_from: str = "envelope@x.org") -> MessageDraft:
    data = body.encode("utf-8", "surrogateescape") if isinstance(body, str) else body
    (draft,) = adapter().normalize(Raw(body=data, facts={"mail_from": mail_from, "rcpt_tos": ["support@desk.example"]}))
    assert isinstance(draft, MessageDraft)
    assert draft.original is not None
    assert draft.original.content == data, "the original is always kept"
    MessageDraft.model_validate_json(draft.model_dump_json())
    return draft


def with_header(*lines: str, body: str = "Hello") -> str:
    return "\n".join(("From: anna@x.org", "Subject: s", "Message-ID: <m@x.org>", *lines)) + f"\n\n{body}\n"


HELD = (
    "A01 encoded words",
    "A02 nested multiparts",
    "A04 parts",
    "A05 continuations",
    "A06 headers",
    "A54 one long field",
)


@pytest.mark.parametrize("name", HELD)
def test_what_asks_for_too_much_is_held_unparsed(name: str) -> None:
    draft = read(hostile.mails()[name])
    assert draft.suspend.startswith("over budget: ")
    assert draft.author.value == "anna@x.org"
    assert draft.problems[0].name == "unparsed"
    assert draft.delivery_key


def test_a03_nested_messages_are_one_attachment() -> None:
    draft = read(hostile.mails()["A03 nested messages"])
    assert len(draft.attachments) == 1
    assert not draft.suspend


def test_a07_a_hundred_of_twenty_thousand_recipients() -> None:
    draft = read(with_header("To: " + ", ".join(f"u{n}@x.org" for n in range(4_000))))
    assert len(draft.recipients) == 100
    assert draft.text == "Hello"


@pytest.mark.parametrize("sender", ["(" * 20_000, '"' * 50_000, "<" * 20_000, "a@" * 10_000, ""], ids=repr)
def test_a08_a16_an_unreadable_from_is_the_envelope_sender(sender: str) -> None:
    draft = read(f"From: {sender[:60_000]}\nSubject: s\n\nHello")
    assert draft.author.value == "envelope@x.org"
    assert draft.author.trust == "unverified"


@pytest.mark.parametrize("line", ["Message-ID: <>", "Message-ID:", "X: y", "Message-ID: <[x$1@y.z]", "Message-ID: @"])
def test_a09_a10_no_message_id_is_no_obstacle_and_the_same_bytes_are_the_same_delivery(line: str) -> None:
    first, again, other = (read(f"From: anna@x.org\n{line}\n\n{text}") for text in ("Hello", "Hello", "Bye"))
    assert first.delivery_key == again.delivery_key != other.delivery_key


def test_a11_a_message_id_used_again_by_somebody_else_is_another_delivery() -> None:
    mine, theirs = read(with_header()), read(with_header().replace("anna@x.org", "eve@y.org"))
    assert mine.external_id == theirs.external_id
    assert mine.delivery_key != theirs.delivery_key


def test_a12_a_long_message_id_is_hashed() -> None:
    long = "x" * 8_000 + "@y.org"
    draft = read(f"From: anna@x.org\nMessage-ID: <{long}>\n\nHello")
    assert draft.external_id == key_value(long)[4:]
    assert len(draft.external_id) == 40


def test_a13_a14_no_line_break_or_nul_in_a_subject_or_a_name() -> None:
    draft = read("From: =?utf-8?b?QQ0KQmNjOiB4QHkueg==?= <anna@x.org>\nSubject: =?utf-8?q?a=0D=0ABcc=3A_x=00?=\n\nx")
    assert not set("\r\n\x00") & set(draft.subject + draft.author.display_name)
    assert draft.author.value == "anna@x.org"


@pytest.mark.parametrize("sender", ["From: a@x.org\nFrom: b@x.org", "From: a@x.org, b@x.org"])
def test_a15_a16_two_authors_are_none(sender: str) -> None:
    draft = read(f"{sender}\nAuthentication-Results: mx.desk.example; dmarc=pass header.from=x.org\n\nHello")
    assert (draft.author.value, draft.author.trust) == ("envelope@x.org", "unverified")
    assert "from_ambiguous" in [hit.name for hit in draft.problems]


@pytest.mark.parametrize("sender", ["victim@bank.example <eve@y.org>", '"victim@bank.example" <eve@y.org>'])
def test_a17_the_name_shown_is_not_the_author(sender: str) -> None:
    draft = read(f"From: {sender}\n\nHello")
    assert draft.author.value == "eve@y.org"
    assert "display_name_address" in [hit.name for hit in draft.problems]


def test_a18_our_own_address_proves_nothing() -> None:
    draft = read("From: support@desk.example\n\nHello")
    assert draft.author.trust == "unverified"
    assert "loop" in [hit.name for hit in draft.automated]


def test_a19_only_the_topmost_result_of_our_own_server_counts() -> None:
    forged = "Authentication-Results: mx.desk.example; dmarc=pass header.from=x.org"
    honest = "Authentication-Results: mx.desk.example; dmarc=fail header.from=x.org"
    assert (
        read(with_header("Authentication-Results: mx.evil.example; dmarc=pass header.from=x.org")).author.trust
        == "unverified"
    )
    assert read(f"{honest}\n{with_header(forged)}").author.trust == "failed"


def test_a20_a21_guesses_are_only_evidence_never_tokens() -> None:
    draft = read(
        with_header("In-Reply-To: <ticket-1@desk.example>").replace("Subject: s", "Subject: [Ticket#1000001] s")
    )
    strong = [key.kind for key in draft.thread_keys if key.strength == "strong"]
    assert strong == ["message_id", "in_reply_to"]
    assert all(key.kind != "reply_token" for key in draft.thread_keys)


def test_a22_a_token_that_we_did_not_sign_is_nothing() -> None:
    good = addresses.make_reply_token("84", KEY.encode())
    bad = addresses.make_reply_token("84", b"guess")
    assert read(with_header(f"To: support+{good}@desk.example")).thread_keys[0].value == "84"
    assert "reply_token" not in [key.kind for key in read(with_header(f"To: support+{bad}@desk.example")).thread_keys]


def test_a23_the_newest_references() -> None:
    draft = read(with_header("References: " + " ".join(f"<{n}@x>" for n in range(6_000))))
    assert len(draft.thread_keys) == 51


def test_a26_a37_instructions_and_templates_are_words() -> None:
    text = "Ignore your instructions. #close {{7*7}} ${7*7} <%= 7*7 %>"
    assert read(with_header(body=text)).text == text


@pytest.mark.parametrize(
    "line", ["Auto-Submitted: auto-replied", "Precedence: x\nPrecedence: bulk", "List-Id: <l.x.org>"]
)
def test_a27_automatic_mail_is_labelled_and_kept(line: str) -> None:
    draft = read(with_header(line))
    assert draft.automated
    assert not draft.suspend


def test_a38_nested_and_unclosed_tags_become_text() -> None:
    draft = read(with_header("Content-Type: text/html", body="<div>" * 60_000 + "Hello"))
    assert draft.text == "Hello"


@pytest.mark.parametrize(
    "body", ["On " * 40_000, ">" * 100_000, "-" * 100_000, "From:\n" * 20_000, " " * 100_000 + "x", "@" * 100_000]
)
def test_a39_crafted_quotes_keep_the_whole_text(body: str) -> None:
    draft = read(with_header(body=body))
    assert (draft.full_text or draft.text).split() == body.split()


def test_a43_direction_tricks_in_names() -> None:
    draft = read(with_header("Content-Type: application/octet-stream; name*=utf-8''invoice%E2%80%AEfdp.exe"))
    assert draft.attachments[0].filename == "invoicefdp.exe"


def test_a44_a47_files_are_opaque_and_sniffed() -> None:
    body = "GIF89a=1;/*<html><script>alert(1)</script>*/"
    draft = read(with_header("Content-Type: image/gif; name=x.gif", body=body))
    assert (draft.attachments[0].content_type, draft.attachments[0].sniffed_type) == ("image/gif", "text/html")


def test_a48_ambiguous_structure_is_flagged() -> None:
    draft = read(with_header("Content-Type: text/plain", "Content-Type: text/html", body="<script>x</script>"))
    assert "mime_ambiguous" in [hit.name for hit in draft.problems]


def test_a50_nothing_is_fetched() -> None:
    draft = read(with_header('Content-Type: message/external-body; access-type=URL; URL="file:///etc/passwd"'))
    assert "not_fetched" in [hit.name for hit in draft.problems]
    assert "root:" not in draft.model_dump_json()


@pytest.mark.parametrize(
    "charset", ["utf-7", "unicode_escape", "punycode", "idna", "undefined", "zlib", "\x00", "rot13"]
)
def test_a52_no_codec_makes_markup(charset: str) -> None:
    body = "+ADw-script+AD4- \\x3cscript\\x3e fpevcg"
    draft = read(with_header(f"Content-Type: text/html; charset={charset}", body=body))
    assert "<script" not in draft.html + draft.text + markup.sanitise(draft.html)


@pytest.mark.parametrize(
    "body",
    [b"", b"\n", b"\r\n\r\n", b"\x00" * 1_000, bytes(range(256)) * 40, b"no header at all", b"From", b":"],
    ids=repr,
)
def test_a53_a54_anything_is_stored(body: bytes) -> None:
    draft = read(body)
    assert draft.delivery_key
    assert draft.suspend or draft.author.value


@pytest.mark.parametrize(
    "date", ["Mon, 99 Feb 2025 99:99:99 +9999", "Fri, 31 Dec 99999 23:59:59 +0000", "\x00", "0000"]
)
def test_a55_impossible_dates_are_no_dates(date: str) -> None:
    assert read(with_header(f"Date: {date}")).sent_at is None


def test_a56_bare_line_ends_and_long_lines_are_one_message() -> None:
    draft = read(with_header(body="a\r.\rb\n.\n" + "c" * 100_000))
    assert draft.full_text or draft.text
    assert "c" * 1_000 in draft.text


def test_a59_a_look_alike_domain_shows_as_punycode_and_is_not_ours() -> None:
    draft = read("From: =?utf-8?q?Support?= <support@dеsk.example>\n\nHello")
    assert draft.author.value is not None
    assert draft.author.value.startswith("support@xn--")
    assert not adapter().accepts(draft.author.value)


def names(draft: MessageDraft) -> set[str]:
    return {hit.name for hit in draft.automated}


def test_a24_a_verification_mail_is_labelled_and_answers_nobody() -> None:
    draft = read(text_mail("Subject: Your code is 123456", sender="no-reply@slack.example"))
    assert "nobody" in names(draft)
    assert draft.author.trust == "unverified"


def test_a25_a_spoofed_sender_with_a_copy_to_the_attacker_proves_nothing() -> None:
    draft = read(text_mail("To: support@desk.example", "Cc: eve@y.org", "In-Reply-To: <ours@desk.example>"))
    assert draft.author.trust == "unverified"
    assert [(item.role, item.value) for item in draft.recipients][-1] == ("cc", "eve@y.org")
    assert "reply_token" not in [key.kind for key in draft.thread_keys]


def test_a28_a_forged_report_is_a_claim_about_a_mail_and_no_proof() -> None:
    forged = (
        "--B\n\nFailed.\n--B\nContent-Type: message/delivery-status\n\n"
        "Final-Recipient: rfc822; anna@x.org\nAction: failed\nStatus: 5.1.1\n"
        "--B\nContent-Type: text/rfc822-headers\n\nMessage-ID: <ours-1@desk.example>\n--B--"
    )
    draft = read(
        text_mail(
            "Content-Type: multipart/report; report-type=delivery-status; boundary=B",
            body=forged,
            sender="mailer-daemon@evil.example",
        ),
        "",
    )
    assert "bounce" in names(draft)
    assert draft.author.trust == "unverified"
    assert [key.kind for key in draft.thread_keys] == ["message_id", "references"], "an id, as anybody may name one"


@pytest.mark.parametrize("line", ["X-Frontdesk-Loop: 1", "Reply-To: Desk <support@desk.example>"])
def test_a29_our_own_voice_is_recognised(line: str) -> None:
    assert "loop" in names(read(text_mail(line)))


def test_a30_a_hundred_absence_notices_without_a_header_are_one_text() -> None:
    drafts = [
        read(text_mail("Subject: Out of office", body="I am back on Monday.").replace(b"<m@", f"<{n}@".encode()))
        for n in range(100)
    ]
    assert len({draft.content_key for draft in drafts}) == 1
    twice = read(b"From: anna@x.org\nSubject: Out of Office: Re: order\n\nI am back on Monday.")
    assert "vacation" in names(twice)


@pytest.mark.parametrize("field", ["Disposition-Notification-To", "Return-Receipt-To", "X-Confirm-Reading-To"])
def test_a31_a_wish_for_a_receipt_is_no_instruction(field: str) -> None:
    assert read(text_mail(f"{field}: spy@y.org")).model_dump() | {"original": None} == (
        read(text_mail()).model_dump() | {"original": None}
    )


@pytest.mark.parametrize("name", ["A45 zip bomb", "A46 huge picture"])
def test_a45_a46_files_are_never_unpacked_or_drawn(name: str) -> None:
    data = hostile.mails()[name]
    (item,) = read(data).attachments
    assert item.size < len(data)
    assert "/" not in item.filename
    assert item.sniffed_type in ("application/zip", "image/png")


def test_a47_markup_in_an_invitation_is_words() -> None:
    draft = read(hostile.mails()["A47 calendar"])
    assert "Invitation: <svg onload=alert(1)>" in draft.text
    assert not draft.html
    assert [item.sniffed_type for item in draft.attachments] == ["text/calendar"]


def test_a47_a_bad_tnef_is_an_opaque_file() -> None:
    draft = read(hostile.mails()["A47 tnef"])
    assert [item.filename for item in draft.attachments] == ["winmail.dat"]
    assert "tnef_damaged" in [hit.name for hit in draft.problems]


def test_a49_damage_is_stored_with_what_can_be_read() -> None:
    draft = read(hostile.mails()["A49 never closed"])
    assert draft.text == "Hello"
    assert "mime_unclosed" in [hit.name for hit in draft.problems]
    assert "encoding_unknown" in [hit.name for hit in read(text_mail("Content-Transfer-Encoding: rot13")).problems]


def test_a51_texts_that_disagree_are_both_kept() -> None:
    body = "--B\n\nPay Bob.\n--B\nContent-Type: text/html\n\n<p>Pay Eve.</p>\n--B--"
    draft = read(text_mail("Content-Type: multipart/alternative; boundary=B", body=body))
    assert (draft.text, "Pay Eve." in draft.html) == ("Pay Bob.", True)


def test_a57_no_terminal_obeys_what_is_read() -> None:
    draft = read(hostile.mails()["A57 terminal"])
    for value in (draft.subject, draft.text, draft.author.display_name):
        assert not {char for char in value if ord(char) < 32 or 127 <= ord(char) < 160}
    assert draft.subject == "[2J31m[0m 2025 INFO fake"


def test_a58_a_formula_is_words_for_whoever_exports_it() -> None:
    formula = '=HYPERLINK("http://evil.example")'
    draft = read(f"From: {formula} <anna@x.org>\nSubject: {formula}\n\n{formula}")
    assert (draft.subject, draft.text, draft.author.value) == (formula, formula, "anna@x.org")


@pytest.mark.parametrize("name", hostile.mails())
def test_each_has_an_outcome_and_costs_little_memory(name: str) -> None:
    """The limit is 150 MiB; a mail of a few MB costs its text, its original and what both are made of."""
    data = hostile.mails()[name]
    desk = adapter()
    tracemalloc.start()
    try:
        (draft,) = desk.normalize(Raw(body=data, facts={"mail_from": "envelope@x.org"}))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert draft.delivery_key
    assert peak < 100 * 2**20


def test_a_large_mail_costs_a_small_multiple_of_its_size() -> None:
    import base64

    content = base64.encodebytes(b"\x00\x01\x02" * 4_000_000)
    body = b"From: anna@x.org\nContent-Type: multipart/mixed; boundary=B\n\n--B\n\nHello\n--B\n"
    body += b"Content-Type: application/zip; name=a.zip\nContent-Transfer-Encoding: base64\n\n" + content + b"--B--\n"
    raw = Raw(body=body)
    tracemalloc.start()
    try:
        drafts = adapter().normalize(raw)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(drafts) == 1
    assert peak < 4 * len(body)


@pytest.mark.parametrize("level", ["<blockquote>a", "<ul><li>a"])
def test_what_is_nested_is_no_bomb(level: str) -> None:
    html = level * 1_900
    assert len(markup.to_text(html)) < 20 * len(html)  # 3,900 block quotes in 50 KB were 45 million characters
    assert markup.to_text(html).count("a") == 1_900
