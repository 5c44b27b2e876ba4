"""What real programs send and many readers get wrong: the letter, its files, and what is seen of each. Made here."""

from __future__ import annotations

import base64

import pytest

from normalizer import forwarding, mime

FORWARDED = (
    "From: Bob <bob@y.org>\nTo: anna@x.org\nDate: Mon, 3 Feb 2025 10:00:00 +0100\nSubject: lamp\n\nIt is broken."
)


def mail(head: str, body: str | bytes = "") -> mime.Mail:
    octets = body if isinstance(body, bytes) else body.encode()
    return mime.parse(f"From: Anna <anna@x.org>\nSubject: s\n{head}\n\n".encode() + octets)


def parts(kind: str, *pieces: str, extra: str = "") -> mime.Mail:
    body = "".join(f"--B\n{piece}\n" for piece in pieces)
    return mail(f"Content-Type: multipart/{kind}; boundary=B{extra}", f"{body}--B--\n")


def names(read: mime.Mail) -> list[str]:
    return [item.filename for item in read.attachments]


@pytest.mark.parametrize("kind", ["message/rfc822", "message/global", "message/news"])
@pytest.mark.parametrize("note", ["", "Please help him."])
def test_a_mail_forwarded_as_a_file_is_read(kind: str, note: str) -> None:
    pieces = [f"\n{note}"] if note else []
    read = parts("mixed", *pieces, f"Content-Type: {kind}\n\n{FORWARDED}")
    assert "From: Bob <bob@y.org>\nTo: anna@x.org" in read.text
    assert "It is broken." in read.text
    assert names(read) == ["lamp.eml"]
    if note:
        assert read.visible.reply == note
    else:
        assert "It is broken." in read.visible.reply, "not only the name of the file"
    found = forwarding.original(read)
    assert found is not None
    assert (found.value, found.subject, found.text, found.note) == ("bob@y.org", "lamp", "It is broken.", note)


def test_a_mail_sent_as_unknown_octets_is_read_by_its_name() -> None:
    kind = 'Content-Type: application/octet-stream; name="a.eml"'
    assert "It is broken." in parts("mixed", "\nSee below.", f"{kind}\n\n{FORWARDED}").text
    noise = parts("mixed", "\nSee below.", f"{kind}\n\n\x00\x01 no header")
    assert (noise.text.strip(), names(noise)) == ("See below.", ["a.eml"])


PICTURE = "Content-Type: image/png\nContent-ID: <p>\nContent-Transfer-Encoding: base64\n\niVBORw0KGgo="
PAGE = "Content-Type: text/html\nContent-ID: <root>\n\n<p>Hello</p>"


@pytest.mark.parametrize("extra", ['; start="<root>"', "", '; start="<nobody>"'])
def test_the_root_of_related_parts_need_not_be_the_first(extra: str) -> None:
    read = parts("related", PICTURE, PAGE, extra=extra)
    assert (read.letter, read.html, len(read.attachments)) == ("Hello", "<p>Hello</p>", 1)


@pytest.mark.parametrize(
    ("disposition", "files"), [("attachment", []), ('attachment; filename="m.txt"', ["m.txt"]), ("inline", [])]
)
def test_a_mail_that_is_one_text_is_a_letter(disposition: str, files: list[str]) -> None:
    read = mail(f"Content-Type: text/plain\nContent-Disposition: {disposition}", "The whole letter.")
    assert (read.visible.reply, names(read)) == ("The whole letter.", files)


def test_markdown_is_text() -> None:
    assert mail("Content-Type: text/markdown", "# Hello").visible.reply == "# Hello"


@pytest.mark.parametrize(
    "stub",
    [
        "This message is in HTML. Your mail client does not support it.",
        "To view this message, please use an HTML-compatible email viewer!",
        "Diese E-Mail ist im HTML-Format; Ihr Programm kann sie nicht anzeigen.",
    ],
)
def test_a_plain_text_that_only_points_to_the_html_gives_way(stub: str) -> None:
    page = "Content-Type: text/html\n\n<p>My lamp is broken.</p>"
    assert parts("alternative", f"\n{stub}", page).visible.reply == "My lamp is broken."
    assert parts("alternative", "\nMy lamp is broken!", page).visible.reply == "My lamp is broken!"
    assert parts("mixed", f"\n{stub}").visible.reply == stub


def test_html_without_a_type_is_html() -> None:
    page = "<!DOCTYPE html>\n<html><body><p>Hello <b>you</b></p></body></html>"
    assert mail("X: y", page).letter == "Hello you"
    assert mail("Content-Type: text/plain", page).letter.startswith("<!DOCTYPE"), "what is declared counts"
    assert mail("X: y", "I wrote <html> once").letter == "I wrote <html> once"


@pytest.mark.parametrize(
    "style",
    [
        "position:absolute; left:-9999px",
        "text-indent: -9999px",
        "height:0; overflow:hidden",
        "overflow: hidden; height: 0px",
        "color:transparent",
        "display:none",
        "mso-hide:all",
        "font-size:0",
        "opacity:0",
        "visibility:hidden",
    ],
)
def test_text_that_is_made_invisible_is_not_read(style: str) -> None:
    assert mail("Content-Type: text/html", f'<p>Seen</p><p style="{style}">Unseen</p>').letter == "Seen"


@pytest.mark.parametrize(
    "style", ["height:10px; overflow:hidden", "left:-9px", "background-color:transparent", "line-height:0.9"]
)
def test_text_that_is_only_placed_is_read(style: str) -> None:
    assert "Two" in mail("Content-Type: text/html", f'<p>One</p><p style="{style}">Two</p>').letter


def test_the_text_above_the_parts_of_a_multipart_that_says_it_is_plain() -> None:
    """Two Content-Types: one reader sees the parts, another all of it as text. Both see what is written here."""
    head = "Content-Type: multipart/alternative; boundary=B\nContent-Type: text/plain; charset=utf-8"
    read = mail(head, "Plain words.\n--B\nContent-Type: text/html\n\n<p>Other words.</p>\n--B--")
    assert (read.visible.reply, "Other words." in read.html) == ("Plain words.", True)
    assert "mime_ambiguous" in [hit.name for hit in read.problems]
    single = mail("Content-Type: multipart/alternative; boundary=B", "For old programs.\n--B\n\nHello\n--B--")
    assert single.letter == "Hello"


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (b"\x1b$B-!-j\x1b(B ok", "①㈱ ok"),
        (b"\x1b$B$3$s$K$A$O\x1b(B", "こんにちは"),
        (b"\x1b$B$3$s$K$A$O-!\r\n\x1b(Bnext", "こんにちは①\nnext"),
        (b"\x1b(I123\x1b(B", "ｱｲｳ"),
    ],
)
def test_iso_2022_jp_as_windows_writes_it(octets: bytes, text: str) -> None:
    read = mail("Content-Type: text/plain; charset=iso-2022-jp", octets)
    assert read.letter == text
    word = base64.b64encode(octets.replace(b"\r\n", b"")).decode()
    subject = mime.parse(f"Subject: =?iso-2022-jp?B?{word}?=\n\nx".encode()).subject
    assert "\x1b" not in subject
    assert "$B" not in subject


@pytest.mark.parametrize(
    "octets", [b"\x1b$B\xff\xff\x00", b"\x1b$Z12", b"\x1b$B1", b"\x1b", b"\x1b(I\xff\x80", b"\x1b$B\x00\x01"]
)
def test_broken_iso_2022_jp_is_no_error(octets: bytes) -> None:
    assert mail("Content-Type: text/plain; charset=iso-2022-jp", octets + b" end").letter.endswith("end")


def test_a_soft_line_break_with_spaces_behind_it() -> None:
    read = mail("Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable", "soft= \t\nbreak, a = b")
    assert read.letter == "softbreak, a = b"


def test_a_boundary_in_single_quotes() -> None:
    assert mail("Content-Type: multipart/mixed; boundary='B'", "--B\n\nHello\n--B--").letter == "Hello"
    assert mail("Content-Type: multipart/mixed; boundary='B'", "--'B'\n\nHello\n--'B'--").letter == "Hello"


@pytest.mark.parametrize("plain", ["\u200b", "\u00a0\u200c\u200c \ufeff\n", "\u200e\n\n\u00ad"])
def test_a_plain_alternative_of_nothing_that_is_seen_gives_way_to_the_html(plain: str) -> None:
    head = "Content-Type: multipart/alternative; boundary=B"
    kind = "Content-Type: text/plain; charset=utf-8"
    page = "Content-Type: text/html\n\n<p>My lamp is broken.</p>"
    assert mail(head, f"--B\n{kind}\n\n{plain}\n--B\n{page}\n--B--").letter == "My lamp is broken."
    assert mail(kind, plain).letter.strip() == plain.strip()
