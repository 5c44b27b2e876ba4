"""Bytes and a claimed charset become text, never an exception and never a codec trick."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normalizer import charset


@pytest.mark.parametrize(
    ("text", "written_as", "declared", "damaged"),
    [
        ("plain", "ascii", None, False),
        ("Grüße", "utf-8", "utf-8", False),
        ("Grüße", "utf-8", "iso-8859-1", False),  # Latin-1 is declared by software that does not know
        ("Grüße", "latin-1", "ISO-8859-1", False),
        ("“Grüße” €5", "cp1252", "iso-8859-1", False),  # bytes 80-9F exist in Windows-1252 only
        ("日本語です", "iso2022_jp", "ISO-2022-JP", False),
        ("日本語①", "cp932", "Shift_JIS", False),
        ("中文朱镕基", "gbk", "gb2312", False),
        ("한국어 똠", "cp949", "ks_c_5601-1987", False),
        ("Привет", "koi8-r", "koi8-r", False),
        ("Привет", "cp1251", '"windows-1251"', False),
        ("שלום", "iso8859_8", "iso-8859-8-i", False),
        ("naïve", "utf-8", "us-ascii", False),
        ("naïve", "utf-8", "x-unknown-charset", False),
        ("flowed ü", "utf-8", "utf-8; format=flowed", False),
        ("text", "utf-16", "utf-16", False),
    ],
)
def test_text_survives_its_declaration(text: str, written_as: str, declared: str | None, damaged: bool) -> None:
    assert charset.decode(text.encode(written_as), declared) == (text, damaged)


@pytest.mark.parametrize(
    "label",
    [
        "utf-7",
        "UTF7",
        "unicode-1-1-utf-7",
        "unicode_escape",
        "raw_unicode_escape",
        "punycode",
        "idna",
        "undefined",
        "zlib",
        "zlib_codec",
        "hex",
        "base64",
        "rot13",
        "bz2",
        "uu",
        "quopri",
        "mbcs",
        "../../etc/passwd",
        "\x00",
        "x" * 500,
    ],
)
def test_codec_tricks_are_only_words(label: str) -> None:
    assert charset.codec_name(label) is None
    text, _ = charset.decode(b"+ADw-script+AD4- \\u003cscript\\u003e xn--bcher-kva 3c736372", label)
    assert "<script" not in text


def test_utf7_is_flagged_because_it_is_not_readable() -> None:
    assert charset.decode(b"Fr+APY-sche", "utf-7") == ("Fr+APY-sche", True)


def test_a_damaged_byte_costs_one_character_not_the_text() -> None:
    text, damaged = charset.decode("Größe und Gewicht der Bestellung".encode() + b"\xff", "utf-8")
    assert damaged
    assert text.startswith("Größe und Gewicht")


@given(
    st.binary(max_size=300),
    st.one_of(st.none(), st.text(max_size=30), st.sampled_from(["utf-16", "hz", "iso-2022-kr"])),
)
def test_never_raises_and_gives_encodable_text(data: bytes, declared: str | None) -> None:
    text, _ = charset.decode(data, declared)
    text.encode("utf-8")
    charset.decode_header_bytes(data, declared).encode("utf-8")


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("label", ["utf-16", "UTF16", "ucs2"])
def test_utf_16_without_its_mark_is_read_in_the_order_it_was_written(codec: str, label: str) -> None:
    assert charset.decode("Größe: 12 € für uns".encode(codec), label) == ("Größe: 12 € für uns", False)
