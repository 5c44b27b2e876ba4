"""A mail that has no words says in one line what came; a mail with words keeps them."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.base import Raw
from adapters.email import Email, EmailOptions
from normalizer.message import MessageDraft

HEAD = b"From: anna@customer.example\r\nTo: support@localhost\r\nMIME-Version: 1.0\r\n"
INBOX = Email("support", EmailOptions())
TNEF = base64.b64encode(b"\x78\x9f\x3e\x22\x01\x00garbage")
RTF = b"{\\rtf1 The lamp is broken}"


def read(kind: str, content: bytes, *, more: str = "", wrapped: bool = False) -> MessageDraft:
    part = f"Content-Type: {kind}\r\n{more}\r\n".encode() + content + b"\r\n"
    if wrapped:
        part = b"Content-Type: multipart/mixed; boundary=B\r\n\r\n--B\r\n" + part + b"--B--\r\n"
    (draft,) = INBOX.normalize(Raw(body=HEAD + part))
    assert isinstance(draft, MessageDraft)
    return draft


BASE64 = "Content-Transfer-Encoding: base64\r\n"


@pytest.mark.parametrize(
    ("kind", "more", "content", "said"),
    [
        (
            'message/partial; number=1; total=2; id="a@b"',
            "",
            b"Subject: half\r\n\r\nThe lamp",
            (
                "[No words; 1 file: attachment-1.bin (N bytes); a part of type message/partial points elsewhere;"
                " nothing is fetched or joined.]"
            ),
        ),
        (
            "application/ms-tnef; name=winmail.dat",
            BASE64,
            TNEF,
            (
                "[No words; 1 file: winmail.dat (N bytes); an Outlook attachment (winmail.dat) could not be read to its"
                " end.]"
            ),
        ),
        ("application/rtf; name=letter.rtf", "", RTF, "[No words; 1 file: letter.rtf (N bytes).]"),
        ("text/rtf", "", RTF, "[No words; 1 file: attachment-1.rtf (N bytes).]"),
        ("application/json", "", b'{"a": "lamp"}', "[No words; 1 file: attachment-1.json (N bytes).]"),
        ("text/xml; name=order.xml", "", b"<a>lamp</a>", "[No words; 1 file: order.xml (N bytes).]"),
        ("text/csv", "", b"a,b", "[No words; 1 file: attachment-1.csv (N bytes).]"),
        ("application/pdf; name=bill.pdf", "", b"%PDF-1.4", "[No words; 1 file: bill.pdf (N bytes).]"),
        ("message/rfc822", "", b"", "[No words; 1 file: message.eml (N bytes).]"),
        ("text/calendar", "", b"no calendar", "[No words; 1 file: attachment-1.ics (N bytes).]"),
        ("image/png; name=x.png", BASE64, base64.b64encode(b"\x89PNG" * 700), "[No words; 1 file: x.png (2.8 KB).]"),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_lone_file_is_named(kind: str, more: str, content: bytes, said: str, wrapped: bool) -> None:
    draft = read(kind, content, more=more, wrapped=wrapped)
    size = draft.attachments[0].size
    assert draft.text == said.replace("N bytes", "1 byte" if size == 1 else f"{size} bytes")
    assert draft.full_text == ""


def test_many_files_are_counted() -> None:
    parts = b"".join(b"--B\r\nContent-Type: image/png; name=p%d.png\r\n\r\nx\r\n" % number for number in range(1, 8))
    draft = read("multipart/mixed; boundary=B", parts + b"--B--")
    assert draft.text == (
        "[No words; 7 files: p1.png (1 byte), p2.png (1 byte), p3.png (1 byte), p4.png (1 byte), p5.png (1 byte)"
        " and 2 more.]"
    )


def test_pictures_from_the_web_are_told() -> None:
    assert read("text/html", b'<img src="https://shop.example/sale.png">').text == (
        "[No words; only pictures from the web, which are not fetched.]"
    )


@pytest.mark.parametrize("kind", ["text/plain", "text/html", "multipart/mixed; boundary=B"])
def test_where_nothing_came_nothing_is_said(kind: str) -> None:
    assert read(kind, b"").text == ""


def test_the_line_is_nobodys_words() -> None:
    """Files sent again are the same matter by their content; the line is in nobody's language."""
    draft = read("application/pdf; name=bill.pdf", b"%PDF-1.4")
    other = read("application/pdf; name=other.pdf", b"%PDF-1.4")
    assert draft.content_key == other.content_key != ""
    assert draft.language == ""


_WORDS = st.text(st.sampled_from("ab Zß語-_>|:;*#=.\u200b\u00a0\n\t"), max_size=60)
_PIECES = st.lists(
    st.one_of(
        _WORDS,
        st.sampled_from(
            [
                "On Mon, 3 Feb 2025 at 09:00, Support <support@desk.example> wrote:",
                "> Has it arrived?",
                "-----Original Message-----",
                "From: Support <support@desk.example>",
                "Sent from my iPhone",
                "-- ",
                "________________________________",
                "begin 644 a.txt",
                "-----BEGIN PGP SIGNED MESSAGE-----",
            ]
        ),
    ),
    min_size=1,
    max_size=6,
)
_KINDS = st.sampled_from(
    ["text/plain", "text/plain; format=flowed", "text/html", "text/rtf", "message/rfc822", "message/partial; id=1",
     "message/external-body", "application/ms-tnef", "application/json", "text/enriched", "text/calendar",
     "application/pkcs7-mime", "application/mac-binhex40", "multipart/encrypted; boundary=B", "text/x-anything"]
)  # fmt: skip


@given(_PIECES, _KINDS, st.booleans())
def test_a_mail_in_which_something_came_is_never_an_empty_comment(pieces: list[str], kind: str, wrapped: bool) -> None:
    draft = read(kind, "\n".join(pieces).encode(), wrapped=wrapped)
    came = draft.full_text.strip() or any(item.size for item in draft.attachments)
    assert draft.text.strip() or not came
