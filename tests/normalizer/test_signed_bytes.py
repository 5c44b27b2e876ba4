"""The bytes a signature covers: the canonical body as the library has it, and one meaning of a header or none."""

from __future__ import annotations

import hashlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normalizer.signed_bytes import AmbiguousError, SignedBytes, canonical_body

dkim_canonical = pytest.importorskip("dkim.canonicalization", reason="needs frontdesk[mailauth]")

LINES = st.lists(st.sampled_from([b"", b" ", b"a", b"\t b \t", b"c  d", b"\r", b"e\r", b" \rf", b"  "]), max_size=12)


@given(LINES, st.integers(1, 9), st.booleans(), st.booleans())
def test_slices_make_no_difference_and_the_library_agrees(
    lines: list[bytes], piece: int, relaxed: bool, lf: bool
) -> None:
    body = b"".join(line + b"\r\n" for line in lines)
    if b"\r\r\n" in body:
        lf = False  # a bare CR before a bare LF would be a line end
    form = dkim_canonical.Relaxed if relaxed else dkim_canonical.Simple
    wanted = form.canonicalize_body(body)
    given_bytes = body if not lf else body.replace(b"\r\n", b"\n")
    assert b"".join(canonical_body(given_bytes, relaxed=relaxed, piece=piece)) == wanted


@pytest.mark.parametrize(
    ("body", "simple", "relaxed"),
    [
        (b"", b"\r\n", b""),
        (b"\r\n\r\n", b"\r\n", b""),
        (b" \r\n\t\r\n", b" \r\n\t\r\n", b""),
        (b"a", b"a\r\n", b"a\r\n"),
        (b"a \r\n\r\nb\t c\r\n\r\n", b"a \r\n\r\nb\t c\r\n", b"a\r\n\r\nb c\r\n"),  # RFC 6376 section 3.4.5, nearly
    ],
)
def test_known_bodies(body: bytes, simple: bytes, relaxed: bytes) -> None:
    assert b"".join(canonical_body(body, relaxed=False)) == simple
    assert b"".join(canonical_body(body, relaxed=True)) == relaxed


@pytest.mark.parametrize("filler", [b" ", b"\t ", b"\r\n", b"\n", b"\r", b" \n", b"a "])
def test_the_work_is_linear(filler: bytes) -> None:
    """With the library's own patterns the first of these takes days; the suite's time limit is the witness."""
    letter = SignedBytes(b"From: a@b.example\r\n\r\n" + filler * (4_000_000 // len(filler)) + b"x")
    for relaxed in (False, True):
        digest, size = letter.body_hash(relaxed=relaxed)
        assert len(digest) == 32
        assert size > 0


def test_the_hash_is_of_the_body_alone() -> None:
    letter = SignedBytes(b"From: a@b.example\nSubject: x\n y\n\nhello \n\n")
    assert letter.body_hash(relaxed=True) == (hashlib.sha256(b"hello\r\n").digest(), 7)
    assert letter.fields == [(b"From", b" a@b.example\r\n"), (b"Subject", b" x\r\n y\r\n")]
    assert letter.named(b"subject") == [b" x\r\n y\r\n"]


@pytest.mark.parametrize(
    "mail",
    [
        b"From: a@b.example\r\nFrom : c@d.example\r\n\r\nx",
        b"From: a@b.example\r\n \r\nTo: c@d.example\r\n\r\nx",  # where does this header end?
        b" From: a@b.example\r\n\r\nx",
        b"From: a@b.example\rFrom: c@d.example\r\n\r\nx",
        b"From: a@b.example\r\nno field\r\n\r\nx",
        b"Fr\x00om: a@b.example\r\n\r\nx",
        b"From: a@b.example\r\nFrom c@d.example: x\r\n\r\nx",
        b"A: " + b"x" * 600_000 + b"\r\n\r\nx",
        b"A: x\r\n" * 2_000 + b"\r\nx",
    ],
)
def test_a_header_with_two_readings_has_none(mail: bytes) -> None:
    with pytest.raises(AmbiguousError):
        SignedBytes(mail)


@pytest.mark.parametrize("start", [b"", b"From a@b Mon Feb  3 10:00:00 2025\n", b">From a@b x\r\n"])
def test_an_mbox_line_is_no_field(start: bytes) -> None:
    assert SignedBytes(start + b"From: a@b.example\r\n\r\nx").fields == [(b"From", b" a@b.example\r\n")]


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(AmbiguousError):
        SignedBytes(data).body_hash(relaxed=True)
