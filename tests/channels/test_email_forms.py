"""Posted forms as slices, and mails written from them: what goes in comes out, and 30 MB stay about 30 MB."""

from __future__ import annotations

import os
import tracemalloc
from urllib.parse import quote, unquote_to_bytes, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.base import Raw
from adapters.email.arrival import UnreadableError
from adapters.email.composing import Piece, compose
from adapters.email.forms import read_form
from normalizer import mime
from normalizer.message import MessageDraft
from tests.channels.test_email_providers import MULTIPART, URLENCODED, form, inbox


@given(
    st.dictionaries(
        st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters='"\\%'), min_size=1, max_size=20),
        st.binary(max_size=300),
        max_size=8,
    )
)
def test_a_form_gives_back_what_was_put_in(fields: dict[str, bytes]) -> None:
    if any(b"--gw" in value for value in fields.values()):
        return
    read = read_form(form(fields), MULTIPART)
    assert {name: bytes(value) for name, value in read.fields.items()} == fields
    encoded = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in fields.items())
    read = read_form(encoded.encode(), URLENCODED)
    assert {name: bytes(value) for name, value in read.fields.items()} == fields


@given(st.binary(max_size=400), st.sampled_from([MULTIPART, URLENCODED, "multipart/form-data", "x"]))
@settings(max_examples=300)
def test_any_bytes_are_a_form_or_said_to_be_none(body: bytes, content_type: str) -> None:
    for damaged in (body, b"--gw\r\n" + body, form({"a": body}) + body):
        try:
            read_form(damaged, content_type)
        except UnreadableError as error:
            assert len(str(error)) > 10


def test_a_boundary_inside_a_longer_line_is_content() -> None:
    inside = b"one\r\n--gwx\r\ntwo\r\n--gw not\r\nthree"
    assert read_form(form({"a": inside, "b": "2"}), MULTIPART).data("a") == inside


def test_forms_of_a_thousand_fields_and_more_are_refused() -> None:
    many = {f"f{number}": "x" for number in range(1_002)}
    for body, content_type in ((form(many), MULTIPART), (urlencode(many).encode(), URLENCODED)):
        with pytest.raises(UnreadableError, match="more than 1000 fields"):
            read_form(body, content_type)


def test_percent_escapes_at_the_seams_of_the_pieces_survive() -> None:
    for shift in range(4):
        value = b"x" * (65_536 - 3 + shift) + "größer + 100 %".encode() * 20_000
        assert read_form(b"a=" + quote(value).encode(), URLENCODED).data("a") == value


@given(st.lists(st.sampled_from([b"%", b"=", b"+", b"4", b"a", b"F", b"g", b"\r", b"\n", b" ", b"%3D", b"%0d%0A"])))
def test_escapes_and_what_only_looks_like_one_are_read_as_the_standard_library_does(pieces: list[bytes]) -> None:
    value = b"".join(pieces)
    read = read_form(b"a=" + value, URLENCODED).fields["a"]
    assert bytes(read) == unquote_to_bytes(value.replace(b"+", b" "))


@given(st.binary(max_size=200), st.text(max_size=40), st.text(max_size=40))
def test_what_is_composed_is_what_is_read(data: bytes, name: str, subject: str) -> None:
    pairs = [("From", "a@b.example"), ("Subject", subject), ("Content-Type", "text/html"), ("Bad Name", "x")]
    mail = mime.parse(
        compose(pairs, Piece(b"hello"), Piece(b"<p>hello</p>", "text/html"), [Piece(data, filename=name)])
    )
    assert (mail.text.strip(), mail.html.strip()) == ("hello", "<p>hello</p>")
    assert [file.content for file in mail.attachments] == [data]
    assert "bad name" not in dict(mail.fields)
    assert len(mail.raw_all("content-type")) == 1


def test_thirty_megabytes_are_not_held_many_times() -> None:
    """Beside the body itself: the mail written from the fields, and the file taken out of it."""
    body = form(
        {"headers": "From: a@b.example", "text": "hello"}, {"attachment1": ("a.bin", "x/y", os.urandom(1) * 30_000_000)}
    )
    raw, adapter = Raw(body, f"{MULTIPART}; provider=sendgrid"), inbox("sendgrid")
    tracemalloc.start()
    try:
        [draft] = adapter.normalize(raw)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(draft, MessageDraft)
    assert draft.attachments[0].size == 30_000_000
    assert peak < 2.2 * len(body)
