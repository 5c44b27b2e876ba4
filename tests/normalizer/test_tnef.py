"""Outlook's winmail.dat: what real ones hold, built here record by record, and that no damage to one costs anything."""

from __future__ import annotations

import base64
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normalizer import mime, tnef

TITLE, DATA, NEW_FILE, FILE_PROPS, MESSAGE_PROPS, CODEPAGE, BODY = (
    0x8010, 0x800F, 0x9002, 0x9005, 0x9003, 0x9007, 0x800C,
)  # fmt: skip


def record(name: int, value: bytes, level: int = 2) -> bytes:
    return struct.pack("<BII", level, 0x60000 | name, len(value)) + value + struct.pack("<H", sum(value) & 0xFFFF)


def stream(*records: bytes) -> bytes:
    return tnef.SIGNATURE + b"\x01\x00" + b"".join(records)


def text(name: int, value: str) -> bytes:
    data = value.encode("utf-16-le") + b"\x00\x00"
    return struct.pack("<HHII", 0x1F, name, 1, len(data)) + data + b"\x00" * (-len(data) % 4)


def binary(name: int, data: bytes, kind: int = 0x102) -> bytes:
    return struct.pack("<HHII", kind, name, 1, len(data)) + data + b"\x00" * (-len(data) % 4)


def number(name: int, value: int) -> bytes:
    return struct.pack("<HHI", 3, name, value)


def named(value: str) -> bytes:
    label = "Keywords".encode("utf-16-le")
    head = struct.pack("<HH", 0x1F, 0x8001) + b"\x07" * 16 + struct.pack("<II", 1, len(label)) + label
    data = value.encode("utf-16-le")
    return head + struct.pack("<II", 1, len(data)) + data + b"\x00" * (-len(data) % 4)


def props(*items: bytes) -> bytes:
    return struct.pack("<I", len(items)) + b"".join(items)


LONG = "Größe und Preis – 2025.pdf"
PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 32
OUTLOOK = stream(
    record(CODEPAGE, struct.pack("<II", 1252, 0), 1),
    record(MESSAGE_PROPS, props(number(0x0017, 1), named("blue"), text(0x1000, "Siehe Anhang.\r\nAnna")), 1),
    record(NEW_FILE, b"\x01\x00" + b"\xff" * 12),
    record(TITLE, "GRE~1.PDF\x00".encode("cp1252")),
    record(DATA, b"%PDF-1.4 content"),
    record(FILE_PROPS, props(number(0x0E20, 16), text(0x3707, LONG), text(0x370E, "application/pdf"))),
    record(NEW_FILE, b"\x01\x00" + b"\xff" * 12),
    record(TITLE, b"logo.png\x00"),
    record(DATA, PNG),
    record(FILE_PROPS, props(text(0x3712, "<logo@x>"))),
)


def test_files_with_their_long_names_and_the_text() -> None:
    found = tnef.read(OUTLOOK)
    assert not found.damaged
    assert found.text == "Siehe Anhang.\nAnna"
    assert found.files == [
        tnef.File(LONG, "application/pdf", b"%PDF-1.4 content", ""),
        tnef.File("logo.png", "", PNG, "logo@x"),
    ]


def test_the_codepage_decides_about_old_names_and_texts() -> None:
    data = stream(
        record(CODEPAGE, struct.pack("<I", 1251), 1),
        record(BODY, "Привет\x00".encode("cp1251"), 1),
        record(NEW_FILE, b""),
        record(TITLE, "счёт.doc\x00".encode("cp1251")),
        record(DATA, b"x"),
    )
    found = tnef.read(data)
    assert (found.text, found.files[0].name) == ("Привет", "счёт.doc")


def test_html_and_the_files_of_a_mail_inside() -> None:
    inner = stream(record(NEW_FILE, b""), record(TITLE, b"deep.txt\x00"), record(DATA, b"deep"))
    data = stream(
        record(MESSAGE_PROPS, props(binary(0x1013, b"<p>Hallo</p>")), 1),
        record(NEW_FILE, b""),
        record(FILE_PROPS, props(binary(0x3701, b"\x00" * 16 + inner, kind=0x0D))),
    )
    found = tnef.read(data)
    assert found.html == "<p>Hallo</p>"
    assert [(item.name, item.content) for item in found.files] == [("deep.txt", b"deep")]


def mail(content: bytes, letter: str = "") -> mime.Mail:
    body = base64.encodebytes(content).decode()
    return mime.parse(
        f"From: a@x.org\nContent-Type: multipart/mixed; boundary=B\n\n--B\n\n{letter}\n--B\n"
        "Content-Type: application/ms-tnef; name=winmail.dat\nContent-Transfer-Encoding: base64\n\n"
        f"{body}\n--B--\n".encode()
    )


def test_a_mail_shows_what_is_in_it_instead_of_it() -> None:
    read = mail(OUTLOOK)
    assert read.text == "Siehe Anhang.\nAnna"
    assert [(item.filename, item.sniffed_type, item.content_id, item.inline) for item in read.attachments] == [
        (LONG, "application/pdf", "", False),
        ("logo.png", "image/png", "logo@x", True),
    ]
    assert mail(OUTLOOK, "My own words").text == "My own words"


@pytest.mark.parametrize("content", [b"", b"not tnef", OUTLOOK[:-9], OUTLOOK[:60], tnef.SIGNATURE])
def test_a_damaged_one_stays_a_file_and_is_flagged(content: bytes) -> None:
    read = mail(content, "Hello")
    assert read.text == "Hello"
    assert "winmail.dat" in [item.filename for item in read.attachments]
    assert "tnef_damaged" in [problem.name for problem in read.problems]


class Counting(tnef._Reader):
    """A reader that counts what is taken from it."""

    taken = 0

    def take(self, size: int) -> memoryview:
        Counting.taken += 1
        return super().take(size)


def work(data: bytes, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(tnef, "_Reader", Counting)
    Counting.taken = 0
    tnef.read(data)
    return Counting.taken


def test_claimed_numbers_are_no_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four thousand million properties, values or files that are not there cost nothing."""
    many = struct.pack("<I", 0xFFFFFFFF)
    for value in (
        many,
        many + struct.pack("<HHI", 0x1F, 0x3707, 0xFFFFFFFF),
        many + struct.pack("<HHI", 0x1003, 0x3707, 0xFFFFFFFF),
        many + struct.pack("<HHI", 0x1001, 0x3707, 0xFFFFFFFF),
        many + struct.pack("<HHII", 0x1F, 0x3707, 1, 0xFFFFFFFF),
    ):
        assert work(stream(record(FILE_PROPS, value)), monkeypatch) < 40


@given(st.lists(st.tuples(st.integers(0, len(OUTLOOK) - 1), st.integers(0, 255)), max_size=8))
def test_flipped_bytes_cost_no_more_than_the_whole(flips: list[tuple[int, int]]) -> None:
    data = bytearray(OUTLOOK)
    for place, value in flips:
        data[place] = value
    with pytest.MonkeyPatch.context() as patch:
        assert work(bytes(data), patch) <= len(data)


@given(st.binary(max_size=400))
def test_nothing_raises(tail: bytes) -> None:
    tnef.read(tnef.SIGNATURE + b"\x00\x00" + tail)
    tnef.read(stream(record(FILE_PROPS, tail), record(MESSAGE_PROPS, tail, 1)))
