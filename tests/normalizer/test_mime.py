"""Mails in every shape: structure, bodies, attachments, and that no bytes at all make the reader raise."""

from __future__ import annotations

import base64
import random
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normalizer import automated, forwarding, markup, mime


def mail(*lines: str, header: str = "From: a@x.org\nSubject: s\n") -> bytes:
    return (header + "\n".join(lines)).encode()


MULTI = "Content-Type: multipart/{}; boundary=B\n\n"


def parts(kind: str, *bodies: str, end: str = "--B--\n") -> bytes:
    return mail(MULTI.format(kind) + "".join(f"--B\n{body}\n" for body in bodies) + end)


def alternative(boundary: str) -> str:
    plain, html = f"--{boundary}\n\nplain\n", f"--{boundary}\nContent-Type: text/html\n\n<b>h</b>\n--{boundary}--"
    return f"Content-Type: multipart/alternative; boundary={boundary}\n\n{plain}{html}"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (mail("", "Hello"), "Hello"),
        (mail("", "a\r\nb\rc"), "a\nb\nc"),
        (b"\xef\xbb\xbf" + mail("", "Hello"), "Hello"),
        (b"\r\n\n" + mail("", "Hello"), "Hello"),
        (b"From anna@x.org Mon Feb  3 10:00:00 2025\n" + mail("", "Hello"), "Hello"),
        (b"From : a@x.org\rSubject : s\r\rHello\rthere", "Hello\nthere"),
        (parts("mixed", "\nfirst", "Content-Type: text/plain\n\nsecond"), "first\n\nsecond"),
        (parts("alternative", "\nplain", "Content-Type: text/html\n\n<p>html</p>"), "plain"),
        (parts("alternative", "\n  ", "Content-Type: text/html\n\n<p>html</p>"), "html"),
        (parts("mixed", "\nbefore", "Content-Type: image/png\n\nx", "\nafter"), "before\n\nafter"),
        (parts("mixed", "\nnever closed", end=""), "never closed\n"),
        (mail("Content-Type: multipart/mixed", "", "no boundary"), "no boundary"),
        (mail("Content-Type: text/html", "", "<p>one<br>two</p>"), "one\ntwo"),
        (mail("Content-Type: text/html", "", "<meta charset=koi8-r>", header="").replace(b"\n<", b"\n\xf0<"), "П"),
        (
            mail("Content-Type: text/plain; format=flowed", "", "a long \nline", "> cited \n> text", "-- ", "Anna"),
            "a long line\n> cited text\n-- \nAnna",
        ),
        (mail("Content-Type: text/plain; format=flowed; delsp=yes", "", "unbro \nken"), "unbroken"),
        (mail("Content-Transfer-Encoding: base64", "", base64.b64encode(b"Hello").decode()), "Hello"),
        (mail("Content-Transfer-Encoding: base64", "", "SGVsb"), "Hel"),
        (
            mail(
                "Content-Transfer-Encoding: quoted-printable",
                "Content-Type: text/plain; charset=utf-8",
                "",
                "=C3=BC=\n!",
            ),
            "ü!",
        ),
        (mail("Content-Transfer-Encoding: x-none", "", "as it is"), "as it is"),
        (mail("not a header line at all", "still not", ""), "not a header line at all\nstill not\n"),
        (mail("", "nul\x00byte"), "nulbyte"),
    ],
)
def test_text(data: bytes, text: str) -> None:
    assert mime.parse(data).text == text


@pytest.mark.parametrize(
    ("boundary", "opening", "closing"),
    [
        ("---- x ----", "------ x ----", "------ x ------"),
        ("a--", "--a--", "--a----"),
        ("=_x'()+_,-./:=?", None, None),
        ("B", "--B \t", "--B-- "),
    ],
)
def test_boundaries_that_look_like_something_else(boundary: str, opening: str | None, closing: str | None) -> None:
    opening, closing = opening or f"--{boundary}", closing or f"--{boundary}--"
    data = mail(f'Content-Type: multipart/mixed; boundary="{boundary}"', "", opening, "", "seen", closing, "epilogue")
    assert mime.parse(data).text == "seen"


def test_an_inner_boundary_that_starts_like_the_outer_one() -> None:
    inner = alternative("BB")
    read = mime.parse(parts("mixed", inner, "Content-Type: text/plain; name=n.txt\n\nfile"))
    assert (read.text, read.html, [item.filename for item in read.attachments]) == ("plain", "<b>h</b>", ["n.txt"])


def test_a_mail_as_a_client_writes_it() -> None:
    message = EmailMessage()
    message["From"], message["Subject"] = "Änna <a@x.org>", "Grüße"
    message.set_content("Text")
    message.add_alternative('<p>Html <img src="cid:pic"></p>', subtype="html")
    message.get_payload()[1].add_related(b"\x89PNG\r\n\x1a\n...", "image", "png", cid="<pic>", filename="p.png")  # type: ignore[union-attr, index]
    message.add_attachment(b"%PDF-1.4", maintype="application", subtype="octet-stream", filename="Größe & Preis.pdf")
    inner = EmailMessage()
    inner["Subject"] = "Inner / mail"
    inner.set_content("inside")
    message.add_attachment(inner)
    read = mime.parse(message.as_bytes())
    assert (read.subject, read.letter.strip()) == ("Grüße", "Text")
    assert read.text == "Text\n\n---------- message.eml ----------\nSubject: Inner / mail\n\ninside"
    assert [(item.filename, item.sniffed_type, item.inline, item.content_id) for item in read.attachments] == [
        ("p.png", "image/png", True, "pic"),
        ("Größe & Preis.pdf", "application/pdf", False, ""),
        ("mail.eml", "", False, ""),
    ]
    assert not read.problems


def test_a_uuencoded_file_in_the_text_is_a_file_and_damaged_ones_stay_text() -> None:
    read = mime.parse(mail("", "See:", "begin 644 hi.txt", "#:&D*", "`", "end", "Bye"))
    assert (read.text, read.attachments[0].filename, read.attachments[0].content) == ("See:\nBye", "hi.txt", b"hi\n")
    assert "begin 644" in mime.parse(mail("", "begin 644 hi.txt", "not uuencoded é", "end")).text


def test_a_bounce_says_who_and_what() -> None:
    data = mail(
        "Content-Type: multipart/report; report-type=delivery-status; boundary=B",
        "",
        "--B",
        "",
        "It failed.",
        "--B",
        "Content-Type: message/delivery-status",
        "",
        "Reporting-MTA: dns; mx.x.org",
        "",
        "Final-Recipient: rfc822; gone@y.org",
        "Action: failed",
        "Status: 5.1.1",
        "",
        "--B",
        "Content-Type: text/rfc822-headers",
        "",
        "Message-ID: <ours@desk>",
        "",
        "--B--",
    )
    read = mime.parse(data)
    assert read.report_type == "delivery-status"
    assert dict(read.report)["final-recipient"] == "rfc822; gone@y.org"
    assert dict(read.reported)["message-id"] == "<ours@desk>"
    assert read.text == "It failed."


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("mime_ambiguous", mail("Content-Type: text/plain", "Content-Type: text/html", "", "x")),
        ("mime_ambiguous", mail("Content-Transfer-Encoding: 7bit", "Content-Transfer-Encoding: base64", "", "x")),
        ("mime_ambiguous", mail("Content-Type: multipart/mixed; boundary=a; boundary=B", "", "--a", "", "x", "--a--")),
        ("mime_ambiguous", mail("Content-Transfer-Encoding: base64", "", "SGk=", "SGk=")),
        ("mime_ambiguous", parts("mixed", "\nx").replace(b"\n\n", b"\nContent-Transfer-Encoding: base64\n\n", 1)),
        ("mime_unclosed", parts("mixed", "\nx", end="")),
        ("mime_no_boundary", mail("Content-Type: multipart/mixed", "", "x")),
        ("encoding_unknown", mail("Content-Transfer-Encoding: yenc", "", "x")),
        ("charset_damaged", mail("Content-Type: text/plain; charset=utf-7", "", "+ADw-")),
        ("duplicate_from", mail("From: b@y.org", "", "x")),
        ("not_fetched", mail("Content-Type: message/external-body; access-type=local-file; name=/etc/passwd", "", "x")),
        ("not_fetched", mail("Content-Type: message/partial; id=1; number=1", "", "x")),
        ("encrypted", mail("Content-Type: application/pkcs7-mime; smime-type=enveloped-data", "", "x")),
        ("header_malformed", mail("this is no field", "X-Ok: 1", "", "x")),
    ],
)
def test_what_is_odd_is_named(name: str, data: bytes) -> None:
    assert name in [problem.name for problem in mime.parse(data).problems]


@pytest.mark.parametrize(
    ("budget", "data"),
    [
        ("parts", parts("mixed", *["\nx"] * 1_001)),
        ("header_bytes", mail(*["X-Long: " + "a" * 900] * 700, "", "x")),
        ("field_bytes", mail("X-Long: " + "a" * 70_000, "", "x")),
        ("header_fields", mail(*["X: y"] * 1_100, "", "x")),
        ("encoded_words", mail("X-Many: " + " ".join(["=?utf-8?q?a?="] * 2_100), "", "x")),
        ("parameters", mail("Content-Type: text/plain" + ";a=b" * 300, "", "x")),
        ("depth", mail("".join(f"Content-Type: multipart/mixed; boundary={n}\n\n--{n}\n" for n in range(60)))),
    ],
)
def test_over_budget_says_which_and_what_is_safe_to_know(budget: str, data: bytes) -> None:
    with pytest.raises(mime.OverBudgetError) as caught:
        mime.parse(data)
    assert caught.value.name == budget
    assert caught.value.fields["from"] == "a@x.org"
    assert caught.value.fields["subject"] == "s"


@pytest.mark.parametrize(
    ("given_name", "shown"),
    [
        ("../../etc/cron.d/pwn", "pwn"),
        ("C:\\Windows\\x.exe", "x.exe"),
        ("/abs/olute", "olute"),
        ("a\u202egnp.exe", "agnp.exe"),
        ("\u200b.htaccess", "htaccess"),
        ("a\r\nX: y", "a X_ y"),
        ("<img src=x>.png", "_img src=x_.png"),
        ("...", "attachment-1.bin"),
        ("x" * 10_000 + ".pdf", "x" * 251 + ".pdf"),
        ("ü" * 400, "ü" * 127),
    ],
)
def test_file_names_are_for_showing(given_name: str, shown: str) -> None:
    encoded = base64.b64encode(given_name.encode()).decode()
    data = mail(f'Content-Type: application/octet-stream; name="=?utf-8?B?{encoded}?="', "", "x")
    name = mime.parse(data).attachments[0].filename
    assert name == shown
    assert len(name.encode()) <= 255


@pytest.mark.parametrize(
    ("content", "looks_like"),
    [
        (b"<html><script>x</script>", "text/html"),
        (b"\n <!DOCTYPE html>", "text/html"),
        (b"<svg xmlns='x' onload='y'/>", "image/svg+xml"),
        (b"GIF89a/*<script>alert(1)</script>*/", "text/html"),
        (b"MZ\x90\x00", "application/vnd.microsoft.portable-executable"),
        (b"%PDF-1.7", "application/pdf"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "image/jpeg"),
        (b"just words", ""),
        (b"", ""),
    ],
)
def test_what_bytes_look_like(content: bytes, looks_like: str) -> None:
    data = mail(
        "Content-Type: image/gif; name=x.gif",
        "Content-Transfer-Encoding: base64",
        "",
        base64.b64encode(content).decode(),
    )
    assert mime.parse(data).attachments[0].sniffed_type == looks_like


def test_text_and_html_that_disagree_are_both_kept() -> None:
    read = mime.parse(parts("alternative", "\nyes", "Content-Type: text/html\n\n<p>no</p>"))
    assert (read.text, markup.to_text(read.html)) == ("yes", "no")


ATTACHED = (
    "Content-Type: message/rfc822\n\nFrom: Änna <anna@x.org>\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\nX: y\n\ninside"
)


def test_an_attached_mail_is_shown_below_the_letter_and_stays_a_file() -> None:
    read = mime.parse(parts("mixed", "\nSee below.", ATTACHED))
    shown = "---------- message.eml ----------\nFrom: Änna <anna@x.org>\nSubject: Grüße\n\ninside"
    assert (read.letter, read.text) == ("See below.", f"See below.\n\n{shown}")
    assert (read.visible.reply, read.attachments[0].filename) == ("See below.", "Grüße.eml")
    alone = mime.parse(parts("mixed", ATTACHED))
    assert alone.letter == ""
    assert alone.text == alone.visible.reply == shown


def test_the_returned_mail_of_a_report_is_not_shown() -> None:
    assert mime.parse(parts("report", "\nIt failed.", ATTACHED)).text == "It failed."


def test_an_attached_mail_over_budget_is_only_a_file() -> None:
    inner = "Content-Type: message/rfc822\n\n" + "X: y\n" * 1_500 + "\ninside"
    read = mime.parse(parts("mixed", "\nHello", inner))
    assert (read.text, len(read.attachments)) == ("Hello", 1)
    assert "attached_mail_unread" in [problem.name for problem in read.problems]


def test_a_text_past_the_limit_is_cut_at_a_line_and_attached_whole() -> None:
    data = mail("", "a line\n" * 200_000)
    read = mime.parse(data)
    assert len(read.text) <= 1_000_000
    assert read.text.endswith("a line")
    assert (read.attachments[0].filename, read.attachments[0].size) == ("whole-text.txt", 1_400_000)
    assert "truncated" in [problem.name for problem in read.problems]
    html = mime.parse(mail("Content-Type: text/html", "", "<p>a line</p>\n" * 200_000))
    assert len(html.html) <= 2_000_000
    assert html.attachments[0].filename == "whole-text.html"


def test_a_part_of_no_known_type_with_a_name_is_a_file() -> None:
    read = mime.parse(mail('Content-Type: unknown; name="test"', "", "\x01\x02"))
    assert [(item.filename, item.content_type) for item in read.attachments] == [("test", "application/octet-stream")]


def test_what_is_new_is_looked_for_in_the_html_when_the_text_does_not_say() -> None:
    old = '<p>New.</p><blockquote type="cite">Old.</blockquote>'
    read = mime.parse(parts("alternative", "\nNew.\n\nOld.", f"Content-Type: text/html\n\n{old}"))
    assert read.visible.reply == "New."
    assert mime.parse(mail("Content-Type: text/html", "", old)).visible.reply == "New."


def read_anything(data: bytes) -> None:
    try:
        read = mime.parse(data)
    except mime.OverBudgetError as error:
        assert error.sentence
        return
    assert read.visible.reply or not read.marked_text.strip()
    automated.recognise(read, "anna@x.org", mail_from="", own=["support@desk.example"])
    forwarding.original(read)
    for value in (read.text, read.html, read.subject, *(item.filename for item in read.attachments)):
        value.encode("utf-8")
    assert "\x00" not in read.text
    assert markup.HISTORY not in read.text


@given(st.binary(max_size=600))
def test_no_bytes_raise(data: bytes) -> None:
    read_anything(data)


TOKENS = [
    b"\n",
    b"\r\n",
    b"--B",
    b"--",
    b"Content-Type: ",
    b"multipart/mixed",
    b"; boundary=B",
    b"text/html",
    b"<b>",
    b"=?utf-8?q?",
    b"?=",
    b"Content-Transfer-Encoding: base64\n",
    b"message/rfc822",
    b"multipart/alternative",
    b"multipart/report",
    b"multipart/signed",
    b"message/delivery-status",
    b"application/ms-tnef",
    b"application/pkcs7-mime",
    b"application/mac-binhex40",
    b"text/calendar",
    b"BEGIN:VEVENT\n",
    b"-----BEGIN PGP SIGNED MESSAGE-----\n",
    b"From: a@x.org\n",
    b"Subject: Fwd: x\n",
    b"---------- Forwarded message ---------\n",
    b"On 3 Feb 2025, Anna <a@x.org> wrote:\n",
    b"> ",
    b"\xff\xfe",
    b"\x00",
    b"begin 644 x\n",
    b"end",
    b" ",
]


@given(st.lists(st.sampled_from(TOKENS), max_size=60))
def test_no_arrangement_of_mail_pieces_raises(pieces: list[bytes]) -> None:
    read_anything(b"".join(pieces))


@given(st.integers(0, 10_000))
def test_no_damage_to_a_real_mail_raises(seed: int) -> None:
    whole = bytearray(
        parts(
            "mixed",
            alternative("C"),
            "Content-Type: image/png; name*=utf-8''x.png\nContent-Transfer-Encoding: base64\n\niVBORw0KGgo=",
        )
    )
    chance = random.Random(seed)
    for _ in range(chance.randrange(1, 12)):
        place = chance.randrange(len(whole))
        if chance.random() < 0.5:
            whole[place] = chance.randrange(256)
        else:
            del whole[place : place + chance.randrange(1, 30)]
        if not whole:
            break
    read_anything(bytes(whole))


@pytest.mark.parametrize("first", ["--B: x", "--B", "--C", "--"])
def test_a_mail_that_begins_as_a_delimiter_is_read_to_its_end(first: str) -> None:
    head = f"{first}\nFrom: a@x.org\nContent-Type: multipart/mixed; boundary=B\n\n"
    assert mime.parse(f"{head}--B\n\nHello\n".encode()).letter.strip() == "Hello"  # it was read for ever
    assert mime.parse(f"{head}Hello\n".encode()).letter.strip() == "Hello"


@pytest.mark.parametrize(
    "head",
    [
        "Subject: hi\n \nFrom: a@x.org\nTo: b@x.org",
        "Subject: hi\nReferences: <a@x.org>\n \n <b@x.org>\n\t\n <c@x.org>\nFrom: a@x.org",
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_fold_that_holds_only_spaces_ends_no_header(head: str, end: str) -> None:
    read = mime.parse(f"{head}\n\nHello\n".replace("\n", end).encode())
    assert (read.subject, read.raw("from"), read.letter.strip()) == ("hi", "a@x.org", "Hello")


def test_spaces_in_place_of_the_empty_line_end_the_header() -> None:
    assert mime.parse(b"From: a@x.org\n \nHello\n\nNote: x\n").letter.strip() == "Hello\n\nNote: x"
    assert mime.parse(b"From: a@x.org\n \n  Hello\n\nyou\n").letter.strip() == "Hello\n\nyou"
    assert mime.parse(b"From: a@x.org" + b"\n \n x" * 20_000).letter


@pytest.mark.parametrize("text", ["Grüße, die Lampe ist kaputt.\n", "Grüße, die Lampe.", "Grüße, die Lampe\n"])
@pytest.mark.parametrize("footer", ["____________\nlist@x.org mailing list\n", "-- \nThis mail was scanned.\n"])
def test_a_footer_that_was_written_below_base64_spoils_nothing(text: str, footer: str) -> None:
    coded = base64.encodebytes(text.encode()).decode()
    lines = ("Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: base64", "")
    read = mime.parse(mail(*lines, coded + footer))
    assert read.letter.startswith(text.strip())
    assert read.letter.rstrip().endswith(footer.strip())
    assert mime.parse(mail(*lines, coded.replace("d", "*d", 1))).letter.strip() == text.strip()
