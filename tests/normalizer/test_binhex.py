"""BinHex: written here by the book, read back, and bounded."""

from __future__ import annotations

import binascii

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normalizer import binhex, mime


def written(name: str, content: bytes, *, runs: bool = False) -> bytes:
    label = name.encode("mac_roman")
    plain = bytes([len(label)]) + label + b"\x00TEXTttxt\x00\x00" + len(content).to_bytes(4, "big") + b"\x00" * 4
    plain = plain + b"\x00\x00" + content + b"\x00\x00" + b"\x00\x00"
    plain = plain.replace(b"\x90", b"\x90\x00")
    if runs:
        plain = plain.replace(b"a" * 0x90, b"a\x90\x90").replace(b"b" * 255, b"b\x90\xff")
    packed = binascii.b2a_base64(plain, newline=False).rstrip(b"=")
    text = bytes(next(c for c in binhex._ALPHABET if binhex._TO_BASE64[c] == letter) for letter in packed)
    lines = b"\r\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    return b"(This file must be converted with BinHex 4.0)\r\n\r\n:" + lines + b":\r\n"


@pytest.mark.parametrize("content", [b"", b"Hello", bytes(range(256)), b"\x90\x90\x90", b"a" * 1_000 + b"b" * 600])
@pytest.mark.parametrize("runs", [False, True])
def test_what_is_written_is_read(content: bytes, runs: bool) -> None:
    assert binhex.read(written("Größe.txt", content, runs=runs)) == ("Größe.txt", content)


@given(st.binary(max_size=300))
def test_nothing_raises(data: bytes) -> None:
    binhex.read(data)
    binhex.read(b":" + data + b":")
    whole = written("x", b"hello" * 20)
    binhex.read(whole[:90] + data[:5] + whole[95:])


def test_a_bomb_of_repetition_is_refused() -> None:
    assert binhex.read(written("x", b"b" * 255 * 2_000, runs=True)) is None


def test_in_a_mail_it_is_the_file_inside() -> None:
    body = b"From: a@x.org\nContent-Type: application/mac-binhex40; name=pic.png.hqx\n\n"
    (item,) = mime.parse(body + written("pic", b"\x89PNG\r\n\x1a\n")).attachments
    assert (item.filename, item.sniffed_type) == ("pic.png", "image/png")
    (item,) = mime.parse(body + b":broken:").attachments
    assert (item.filename, item.content) == ("pic.png.hqx", b":broken:")


def test_a_resource_fork_is_no_file_of_its_own() -> None:
    data = b"From: a@x.org\nContent-Type: multipart/appledouble; boundary=B\n\n--B\n"
    data += b"Content-Type: application/applefile\n\n\x00\x05\x16\x07\n--B\n"
    data += b"Content-Type: image/png; name=p.png\n\nx\n--B--\n"
    assert [item.filename for item in mime.parse(data).attachments] == ["p.png"]
