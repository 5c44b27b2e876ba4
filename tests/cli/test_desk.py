"""The verbs over a real embedded desk: take mail in, look at it, prove the count, replay, export."""

from __future__ import annotations

import io
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest

from tests.cli.conftest import Frontdesk, mail


@pytest.fixture
def desk(frontdesk: Frontdesk, letters: Path) -> Frontdesk:
    """A desk that has taken the letters in."""
    assert frontdesk("migrate").code == 0
    said = frontdesk("ingest", "--wait", letters)
    assert said.code == 0, said.err
    return frontdesk


def test_migrate_twice_is_fine(frontdesk: Frontdesk) -> None:
    assert "migrated" in frontdesk("migrate").out
    again = frontdesk("migrate")
    assert again.code == 0
    assert "nothing to do" in again.out


def test_ingest_answers_a_receipt_a_file(frontdesk: Frontdesk, letters: Path) -> None:
    frontdesk("migrate")
    said = frontdesk("ingest", "--json", letters)
    assert said.code == 0
    assert len(said.lines) == 4
    assert all(len(line["receipt_ids"]) == 1 for line in said.lines)
    assert len({line["receipt_ids"][0] for line in said.lines}) == 4


def test_every_receipt_can_be_looked_up(frontdesk: Frontdesk, letters: Path) -> None:
    frontdesk("migrate")
    accepted = frontdesk("ingest", "--wait", "--json", letters).lines
    outcomes = {}
    for line in accepted:
        said = frontdesk("receipts", "--json", line["receipt_ids"][0])
        assert said.code == 0
        outcomes[Path(line["origin"]).name] = said.lines[0]["outcome"]
    assert outcomes["4.eml"] == "ticketed"
    assert sorted([outcomes["1.eml"], outcomes["3.eml"]]) in (["duplicate", "ticketed"], ["appended", "duplicate"])
    assert sorted(outcomes.values()) == ["appended", "duplicate", "ticketed", "ticketed"]


def test_tickets_are_listed_and_shown(desk: Frontdesk) -> None:
    listed = desk("tickets", "--json").lines
    assert len(listed) == 2
    parcel = next(ticket for ticket in listed if "parcel" in ticket["subject"])
    assert parcel["comment_count"] == 2
    shown = desk("tickets", "--json", str(parcel["id"])).lines[0]
    assert sorted(comment["external_id"] for comment in shown["comments"]) == [
        "q1@customer.example",
        "q2@customer.example",
    ]
    text = desk("tickets", str(parcel["id"])).out
    assert "It has come, thank you." in text
    assert "matched by" in text


def test_lists_are_tab_separated_when_piped(desk: Frontdesk) -> None:
    heading, *rows = [line.split("\t") for line in desk("tickets").out.splitlines()]
    assert heading[0] == "id"
    assert {len(row) for row in rows} == {len(heading)}
    assert desk("tickets", "--channel", "phone").out == ""


def test_export_has_one_line_a_comment_with_the_fixed_fields(desk: Frontdesk) -> None:
    lines = desk("export").lines
    assert len(lines) == 3
    assert set(lines[0]) == {
        "receipt_id", "ticket_id", "channel", "inbox", "external_id", "verdict", "matched_by", "author", "subject",
        "text", "language", "attachments", "received_at",
    }  # fmt: skip
    by_id = {line["external_id"]: line for line in lines}
    assert by_id["q1@customer.example"]["ticket_id"] == by_id["q2@customer.example"]["ticket_id"]
    assert by_id["q4@other.example"]["ticket_id"] != by_id["q1@customer.example"]["ticket_id"]


def test_the_audit_balances_and_says_so(desk: Frontdesk) -> None:
    said = desk("audit")
    assert said.code == 0, said.out
    assert "accepted 4 = " in said.out
    assert said.out.rstrip().endswith(": balanced")
    assert desk("audit", "--json").code == 0


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM receipts WHERE outcome = 'duplicate'", "DELETE FROM comments WHERE external_id = 'q4@other.example'"],
)
def test_the_audit_names_what_disappeared(desk: Frontdesk, statement: str) -> None:
    with closing(sqlite3.connect("frontdesk-data/frontdesk.db", isolation_level=None)) as database:
        assert database.execute(statement).rowcount == 1
    said = desk("audit")
    assert said.code == 1
    assert "NOT BALANCED" in said.out
    assert any(line.startswith(("missing: ", "broken: ")) for line in said.out.splitlines())
    assert desk("audit", "--json").lines[0]["balanced"] is False


def test_nobody_is_written_to_unasked(desk: Frontdesk) -> None:
    """Promise 6: four mails have been taken, tickets opened, and nothing is on its way to a customer."""
    with closing(sqlite3.connect("frontdesk-data/frontdesk.db")) as database:
        assert database.execute("SELECT count(*) FROM comments").fetchone() == (3,)
        assert database.execute("SELECT count(*) FROM outbox").fetchone() == (0,)


def test_taking_the_same_files_again_adds_nothing(desk: Frontdesk, letters: Path) -> None:
    before = len(desk("export").lines)
    assert desk("ingest", "--wait", letters).code == 0
    assert len(desk("export").lines) == before
    assert "accepted 8 = " in desk("audit").out


def test_a_refused_file_is_named_and_costs_only_itself(frontdesk: Frontdesk, letters: Path, tmp_path: Path) -> None:
    frontdesk("migrate")
    (tmp_path / "empty.eml").write_bytes(b"")
    said = frontdesk("ingest", tmp_path / "empty.eml", letters / "1.eml")
    assert said.code == 1
    assert "accepted 1, refused 1" in said.out
    assert "empty.eml: is empty" in said.err


def test_a_mail_server_that_pipes_hears_only_0_or_75(frontdesk: Frontdesk, monkeypatch: pytest.MonkeyPatch) -> None:
    def pipe(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))

    frontdesk("migrate")
    pipe(mail("piped@customer.example", "Hello"))
    assert frontdesk("ingest", "-").code == 0
    pipe(b"")
    assert frontdesk("ingest", "-").code == 75
    pipe(mail("piped2@customer.example", "Hello"))
    assert frontdesk("ingest", "-", "--inbox", "nowhere").code == 75
    monkeypatch.setenv("FRONTDESK_QUEUE_URL", "carrier-pigeon:")
    assert frontdesk("ingest", "-").code == 75


def test_an_unknown_inbox_is_a_usage_error_that_names_the_others(frontdesk: Frontdesk, letters: Path) -> None:
    said = frontdesk("ingest", "--inbox", "nowhere", letters)
    assert said.code == 2
    assert "support" in said.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("tickets", "4711"), "there is no ticket 4711"),
        (("receipts", str(UUID(int=4711))), "nothing is recorded"),
        (("dead", "show", "4711"), "there is no dead letter 4711"),
        (("dead", "replay", "4711"), "there is no dead letter 4711"),
        (("dead", "drop", "--yes", "4711"), "there is no dead letter 4711"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else "",
)
def test_what_is_not_there_is_1_and_a_sentence(desk: Frontdesk, arguments: tuple[str, ...], sentence: str) -> None:
    said = desk(*arguments)
    assert said.code == 1
    assert sentence in said.err


def test_a_receipt_id_that_is_none_is_a_usage_error(desk: Frontdesk) -> None:
    said = desk("receipts", "abc")
    assert said.code == 2
    assert "not a receipt id" in said.err


def test_no_dead_letters_is_an_empty_list(desk: Frontdesk) -> None:
    said = desk("dead", "list")
    assert (said.code, said.out) == (0, "")
    assert "no dead letters" in said.err
    assert desk("dead", "replay", "--all").code == 0


def test_dead_replay_wants_to_know_which(desk: Frontdesk) -> None:
    assert desk("dead", "replay").code == 2


def test_dropping_asks_first(desk: Frontdesk) -> None:
    said = desk("dead", "drop", "1")
    assert said.code == 2
    assert "--yes" in said.err


def test_check_names_every_service_and_the_inboxes_that_wait_for_credentials(desk: Frontdesk) -> None:
    said = desk("check", "--json")
    assert said.code == 0, said.out
    states = {line["what"]: line["state"] for line in said.lines}
    assert {states[name] for name in ("settings", "queue", "store", "blobs", "inbox support")} == {"ok"}
    assert states["inbox phone"] == "open"
    assert "FRONTDESK_INBOXES__PHONE__AUTH_TOKEN" in desk("check").out


def test_a_customers_control_characters_do_not_reach_the_terminal(frontdesk: Frontdesk, tmp_path: Path) -> None:
    frontdesk("migrate")
    (tmp_path / "evil.eml").write_bytes(
        mail("evil@x.example", "\x1b]0;pwned\x07 hello", subject="=?utf-8?b?G1syShtbSA==?=")
    )
    assert frontdesk("ingest", "--wait", tmp_path / "evil.eml").code == 0
    said = frontdesk("tickets").out + frontdesk("tickets", "1").out + frontdesk("receipts").out
    assert "\x1b" not in said
