"""Outlook's conversation id, typed ticket numbers, stripped replies."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normalizer.weak_keys import subject_number, thread_index_root, weak_keys

GUID = bytes(range(1, 17))
ROOT = base64.b64encode(b"\x01\xdc\x00\x11\x22\x33" + GUID).decode()
REPLY = base64.b64encode(b"\x01\xdc\x00\x11\x22\x33" + GUID + b"\x80\x01\x02\x03\x04").decode()
INDEXES = [
    (ROOT, GUID.hex()),
    (REPLY, GUID.hex()),
    (REPLY[:20] + "\r\n " + REPLY[20:], GUID.hex()),
    (ROOT.rstrip("="), GUID.hex()),
    ("", ""),
    ("not base64 at all!", ""),
    (base64.b64encode(b"\x01" + b"x" * 20).decode(), ""),
    (base64.b64encode(b"\x02\xdc\x00\x11\x22\x33" + GUID).decode(), ""),
    (base64.b64encode(b"\x01" + bytes(21)).decode(), ""),
]
SUBJECTS = [
    ("Re: Order late [#42]", "42"),
    ("[Acme Support #0042] Order late", "42"),
    ("AW: Ticket #1000001 geschlossen", "1000001"),
    ("Order #1042 is late", ""),
    ("[list] #7", ""),
    ("[#0]", ""),
    ("", ""),
]


@pytest.mark.parametrize(("field", "root"), INDEXES)
def test_the_root_of_a_thread_index(field: str, root: str) -> None:
    assert thread_index_root(field) == root


@pytest.mark.parametrize(("subject", "number"), SUBJECTS)
def test_a_ticket_number_in_a_subject(subject: str, number: str) -> None:
    assert subject_number(subject) == number


@given(st.text())
def test_nothing_in_a_header_raises(field: str) -> None:
    weak_keys(field, field, field, stripped=True)


def test_a_stripped_reply_is_known_by_its_subject_and_another_is_not() -> None:
    assert [key.kind for key in weak_keys("", "Re: x", "x", stripped=True)] == ["subject"]
    assert weak_keys("", "Re: x", "x", stripped=False) == ()
    assert weak_keys("", "Re:", "", stripped=True) == ()
