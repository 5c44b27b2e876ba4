"""Lists on a terminal: what names a row is always whole, whatever else has to be cut."""

from __future__ import annotations

import io
import sys

import pytest

from gateway.commands.output import column_widths, print_table


@pytest.mark.parametrize(
    ("natural", "room", "widths"),
    [
        ([2, 7, 7], 80, [2, 7, 7]),  # as they are
        ([2, 36, 7, 50], 80, [2, 32, 7, 32]),
        ([36, 7, 7, 10, 6, 44, 25], 80, [36, 5, 5, 5, 5, 5, 5]),
        ([36, 7, 7], 20, [36, 4, 4]),  # wider than the terminal rather than nameless
        ([2], 80, [2]),
        ([2, 2_000], 80, [2, 76]),
    ],
)
def test_the_first_column_is_whole_and_the_widest_others_give_way(
    natural: list[int], room: int, widths: list[int]
) -> None:
    assert column_widths(natural, room) == widths


def test_a_number_to_decide_by_is_shown_on_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = io.StringIO()
    screen.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    columns = ("id", "receipt_id", "channel", "inbox", "author", "subject", "cause", "received_at")
    row = (12345, "01a2015c-712d-7000-9ff3-d022bf8347bf", "email", "support", "", "", "c" * 60, "2026-11-22 03:45:58")
    print_table(columns, [row], empty="nothing")
    heading, line = screen.getvalue().splitlines()
    assert heading.split()[0] == "id"
    assert line.split()[0] == "12345"
    assert "c" * 8 in line
    assert len(line) <= 80
