"""The figures of mail: what is measured is what is printed, and a flood is accounted for to the last mail."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.email import Email, EmailOptions
from gateway.bench import hostile, letters, reading
from gateway.bench.flood import Flood, Outcome, measure_flood
from gateway.bench.mails import Mail
from gateway.bench.reading import Figure


def test_the_sizes_of_the_letters_are_what_their_names_say() -> None:
    sizes = {name: len(body) for name, (body, _) in letters.small_mails().items()}
    sizes |= {name: len(body) for name, body in letters.large_mails().items()}
    units = {"KB": 1_000, "MB": 1_000_000}
    for name, size in sizes.items():
        count, unit, *_ = name.replace(",", "").split()
        assert 0.85 < size / (int(count) * units[unit]) < 1.1, (name, size)


def test_every_figure_stands_beside_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    few = {name: hostile.mails()[name] for name in ("A54 nothing", "A12 long id")}
    monkeypatch.setattr(reading, "_ROUNDS", 1)
    monkeypatch.setattr(letters, "large_mails", lambda: {"1 KB": b"From: a@x.org\n\n" + b"words " * 200})
    monkeypatch.setattr(hostile, "mails", lambda: few)
    found = list(reading.figures(Email("support", EmailOptions())))  # type: ignore[arg-type]
    names = [figure.name for figure in found]
    assert names[:2] == ["2 KB plain, median", "2 KB alternative, median"]
    assert names[4:6] == ["1 KB", "1 KB, memory"]
    assert [name.partition(" (")[0] for name in names[6:]] == ["slowest hostile mail", "hungriest hostile mail"]
    assert all(figure.value > 0 and figure.limit > 0 for figure in found if figure.unit != "s CPU")


def test_the_report_names_the_slowest_the_hungriest_and_the_ratio() -> None:
    mails = [Outcome(f"mail {n}", n / 100, n / 50, (20 - n) << 20, "ticketed") for n in range(10)]
    flood = Flood(mails, quiet_ms={"p50": 4.0, "p99": 10.0}, flooded_ms={"p50": 5.0, "p99": 15.0}, audit="balanced")
    flood.bare_quiet_ms, flood.bare_flooded_ms = {"p50": 0.5, "p99": 2.0}, {"p50": 0.6, "p99": 5.0}
    mail = Mail([Figure("2 KB plain, median", 123.4, "us", 300.0, 99.0)], flood)
    read, slowest, form = mail.tables()
    assert read.rows[0] == ("2 KB plain, median", "123.40 us", "< 300 us", "99.00 us")
    assert [row[0] for row in slowest.rows] == [*(f"mail {n}" for n in range(9, 3, -1)), "mail 0"]
    assert slowest.rows[0][1:] == ("90 ms", "180 ms", "11.0 MiB", "ticketed")
    assert [row[3] for row in form.rows] == ["", "1.5", "", "(2.5)"]
    assert form.rows[3][1:3] == ("0.6 ms", "5.0 ms")
    assert mail.as_dict()["flood"]["ratio"] == 1.5
    assert mail.as_dict()["flood"]["bare_ratio"] == 2.5
    assert not mail.balanced, "an audit that did not balance is no success"


@pytest.mark.timeout(170)
async def test_a_flood_is_measured_and_every_mail_has_an_outcome(tmp_path: Path) -> None:
    """A small one, through the doors of a real process."""
    flood = await measure_flood(tmp_path, seconds=1.0, turns=1)
    assert flood.balanced, flood.audit
    assert [mail.name for mail in flood.mails] == list(hostile.mails())
    assert {mail.outcome for mail in flood.mails} <= {"ticketed", "appended", "suspended", "duplicate"}
    held = {mail.name for mail in flood.mails if mail.outcome == "suspended"}
    assert {"A01 encoded words", "A04 parts", "A06 headers", "A54 nothing"} <= held
    assert 0 < flood.quiet_ms["p50"] <= flood.quiet_ms["p99"]
    assert 0 < flood.flooded_ms["p50"] <= flood.flooded_ms["p99"]
    assert 0 < flood.bare_quiet_ms["p50"] <= flood.bare_quiet_ms["p99"]
    assert 0 < flood.bare_flooded_ms["p50"] <= flood.bare_flooded_ms["p99"]
    assert flood.hostile_ms["p99"] > 0
