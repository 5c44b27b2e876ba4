"""Urlencoded bodies: the same pairs that the standard library finds, whatever the octets."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normalizer.urlencoded import pairs


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", []),
        (b"a=1&b=2&a=3", [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]),
        (b"a&b=&=c&&", [(b"a", b""), (b"b", b""), (b"", b"c")]),
        (b"text=Gr%C3%BC%c3%9Fe+an+alle%2B1", [(b"text", "Grüße an alle+1".encode())]),
        (b"text=Gr%FC%DFe", [(b"text", b"Gr\xfc\xdfe")]),
        (b"text=Gr\xfc\xdfe", [(b"text", b"Gr\xfc\xdfe")]),
        (b"a=b=c%3Dd", [(b"a", b"b=c=d")]),
        (b"a=100%&b=%4&c=%zz%41", [(b"a", b"100%"), (b"b", b"%4"), (b"c", b"%zzA")]),
        (b"a=1%0D%0A2\r\n3%20\n", [(b"a", b"1\r\n2\r\n3 \n")]),
        (b"a=%00;b=1", [(b"a", b"\x00;b=1")]),
    ],
)
def test_pairs(body: bytes, expected: list[tuple[bytes, bytes]]) -> None:
    assert pairs(body, 100) == expected


@given(st.binary(max_size=40) | st.text("%=&+;3aF \r\n\x00äя", max_size=30).map(str.encode))
def test_what_the_standard_library_finds(body: bytes) -> None:
    found = parse_qsl(body.decode("latin-1"), keep_blank_values=True, encoding="latin-1")
    assert pairs(body, 100) == [(name.encode("latin-1"), value.encode("latin-1")) for name, value in found]


@given(st.text())
def test_what_a_browser_encodes(text: str) -> None:
    octets = text.encode("utf-8", "surrogatepass")
    assert pairs(b"a=" + quote_plus(octets).encode(), 1) == [(b"a", octets)]


def test_too_many_fields() -> None:
    assert len(pairs(b"a=1&b=2", 2)) == 2
    with pytest.raises(ValueError, match="more than 2"):
        pairs(b"a=1&b=2&", 2)
