"""Header fields: folding, encoded words, parameters and dates as they are really sent."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normalizer import headers


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("=?utf-8?B?R3LDvMOfZQ==?=", "Grüße"),
        ("=?iso-8859-1?q?Gr=FC=DFe?=", "Grüße"),
        ("=?utf-8?q?a?= =?utf-8?q?b?=", "ab"),
        ("=?utf-8?q?a?= b =?utf-8?q?c?=", "a b c"),
        ("=?utf-8?B?w?= =?utf-8?B?7w?=", "ï"),  # cut inside a character and without padding
        ("=?utf-8?q?=C3?= =?utf-8?q?=BC?=", "ü"),
        ('"=?utf-8?q?Anna?="', '"Anna"'),
        ("=?utf-8*en?q?colour?=", "colour"),
        ("=?utf-8?q?with space?=", "with space"),
        ("=?x-nonsense?q?text?=", "text"),
        ("[SPAM]=?utf-8?q?offer?=", "[SPAM] offer"),
        ("=?utf-8?q?unfinished", "=?utf-8?q?unfinished"),
        ("=? =?? =???=", "=? =?? =???="),
        ("=?utf-8?b?QQ0KQmNjOiB4QHkueg==?=", "A  Bcc: x@y.z"),  # CRLF smuggled in (A13)
        ("=?utf-8?q?nul=00nul?=", "nulnul"),
        ("=?utf-7?q?+ADw-script+AD4-?=", "+ADw-script+AD4-"),
    ],
)
def test_encoded_words(raw: str, text: str) -> None:
    assert headers.decode_words(raw) == text


def test_raw_8bit_header_bytes_are_read_as_utf8_then_by_the_body_charset() -> None:
    assert headers.unfold("Grüße".encode()) == "Grüße"
    assert headers.unfold("Привет".encode("koi8-r"), "koi8-r") == "Привет"
    assert headers.unfold("Grüße".encode("latin-1"), "us-ascii") == "Grüße"


def test_folds_become_one_space() -> None:
    assert headers.unfold(b" a\r\n\t b\r\n  c ") == "a b c"


@pytest.mark.parametrize(
    ("value", "main", "parameters"),
    [
        ("text/plain", "text/plain", {}),
        ("TEXT/Plain; CharSet = utf-8", "text/plain", {"charset": "utf-8"}),
        ('text / plain; name="a;b\\"c"', "text/plain", {"name": 'a;b"c'}),
        ("a/b; filename*=utf-8''na%C3%AFve.txt", "a/b", {"filename": "naïve.txt"}),
        ("a/b; filename*0*=utf-8''na%C3; filename*1*=%AFve; filename*2=\".txt\"", "a/b", {"filename": "naïve.txt"}),
        ("a/b; filename*1=b; filename*0=a", "a/b", {"filename": "ab"}),
        ('a/b; name="=?utf-8?q?na=C3=AFve?="', "a/b", {"name": "naïve"}),
        ("a/b name=x; y=z", "a/b", {"name": "x", "y": "z"}),
        ('a/b; name="never closed', "a/b", {"name": "never closed"}),
        ("text/plain; charset=us-ascii (comment)", "text/plain", {"charset": "us-ascii"}),
        (";;;=;x", "", {}),
    ],
)
def test_parameters(value: str, main: str, parameters: dict[str, str]) -> None:
    assert headers.parameters(value)[:2] == (main, parameters)


def test_a_parameter_given_twice_is_told_and_the_first_counts() -> None:
    assert headers.parameters("multipart/mixed; boundary=a; boundary=b") == ("multipart/mixed", {"boundary": "a"}, True)


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("Mon, 3 Feb 2025 10:00:00 +0100", datetime(2025, 2, 3, 9, tzinfo=UTC)),
        ("Mon, 3 Feb 2025 10:00:00 +0100 (CET)", datetime(2025, 2, 3, 9, tzinfo=UTC)),
        ("03 Dec 2025 23:59:60 -0000", datetime(2025, 12, 3, 23, 59, 59, tzinfo=UTC)),  # a leap second
        ("3 Foo 2025 10:00:00 +0100", None),
        ("3 Feb 2025 24:00:00 +0100", None),
        ("3 Feb 2025 10:00:00 +9900", datetime(2025, 2, 3, 10, tzinfo=UTC)),
        ("3 Feb 25 10:00 GMT", datetime(2025, 2, 3, 10, tzinfo=UTC)),
        ("Mon, 3 Feb 2025 10:00:00 -0500 (EST (really))", datetime(2025, 2, 3, 15, tzinfo=UTC)),
        ("Mon, 31 Feb 2025 10:00:00 +0000", None),  # A55
        ("Mon, 3 Feb 99999 10:00:00 +0000", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_dates(value: str, moment: datetime | None) -> None:
    assert headers.parse_date(value) == moment


def test_base64_is_read_leniently() -> None:
    assert headers.decode_base64(b"SGVs\r\nbG8") == b"Hello"
    assert headers.decode_base64(b"SGVs!!bG8=\x00") == b"Hello"
    assert headers.decode_base64(b"SGVsbG8=IFdvcmxk") == b"Hello World"  # two padded runs one after the other
    assert headers.decode_base64(b"SGVsbG8= ignored") == b"Hello"


@given(st.text(max_size=400))
def test_nothing_raises(text: str) -> None:
    headers.decode_words(text)
    headers.parameters(text)
    headers.parse_date(text)


@given(st.binary(max_size=400))
def test_no_bytes_raise(data: bytes) -> None:
    headers.split_block(data, 0, len(data), 1_000)
    headers.decode_base64(data)
    assert headers.unfold(data).isprintable() or True


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=60))
def test_what_was_encoded_is_read_back(text: str) -> None:
    from email.header import Header

    encoded = Header(text, "utf-8", maxlinelen=10_000).encode()
    assert headers.decode_words(encoded) == text
