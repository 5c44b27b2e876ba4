"""Signed ticket numbers: made, survived by relays, rotated, ended, and never guessed."""

from __future__ import annotations

from datetime import date

import pytest

from normalizer.reply_tokens import ReplyToken, body_mark, find_reply_token, make_reply_token, marks_in

OLD, NEW = b"the old key of the desk", b"the new key of the desk"
KEYS = {"1": OLD, "2": NEW}
MADE = date(2026, 8, 1)


@pytest.mark.parametrize("made", [None, MADE, date(1970, 1, 1), date(2999, 12, 31)])
@pytest.mark.parametrize("place", ["support+{}@desk.test", "<{}.x7@desk.test>", "{}", "mid:reply.{}@desk.test"])
def test_read_back_from_wherever_it_stood(made: date | None, place: str) -> None:
    token = make_reply_token("84", NEW, "2", made)
    for text in (place.format(token), place.format(token).upper()):
        assert find_reply_token(text, KEYS) == ReplyToken("84", made)


def test_a_key_that_was_replaced_still_reads_and_one_that_was_taken_out_does_not() -> None:
    token = make_reply_token("84", OLD, "1", MADE)
    assert find_reply_token(token, KEYS) == ReplyToken("84", MADE)
    assert find_reply_token(token, {"2": NEW}) is None


@pytest.mark.parametrize("position", range(4))
def test_no_part_can_be_changed(position: int) -> None:
    parts = make_reply_token("84", NEW, "2", MADE).split(".")
    for changed in ("85", "1", "zzz", "a" * 16, ""):
        forged = ".".join([*parts[:position], changed, *parts[position + 1 :]])
        assert find_reply_token(forged, KEYS) is None, forged


def test_a_day_cannot_be_taken_away() -> None:
    ticket, key, _, mac = make_reply_token("84", NEW, "2", MADE).split(".")
    assert find_reply_token(f"{ticket}.{key}.{mac}", KEYS) is None


def test_the_mark_in_a_text() -> None:
    token = make_reply_token("84", NEW, "2", MADE)
    quoted = f"Thank you!\n\n> We sent it yesterday.\n> {body_mark(token)}\n"
    assert list(marks_in(quoted)) == [token]
    assert list(marks_in("[ref:84] [ref:" + "a" * 500 + "] ref:1.2.3")) == []
    assert len(list(marks_in(body_mark(token) * 1000))) == 8
