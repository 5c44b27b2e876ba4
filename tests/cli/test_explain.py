"""`frontdesk explain`: the story of a delivery as a person reads it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.store import corrections
from gateway.store.engine import open_store
from tests.cli.conftest import Frontdesk, mail


@pytest.fixture
def told(frontdesk: Frontdesk, letters: Path) -> dict[str, str]:
    """Receipts by what they are."""
    (letters / "5.eml").write_bytes(
        mail("q5@stranger.example", "Mine too!", In_Reply_To="<q1@customer.example>", address="eve@stranger.example")
    )
    for name in ("1.eml", "2.eml", "3.eml", "5.eml"):
        assert frontdesk("ingest", letters / name, "--wait").code == 0
    rows = frontdesk("receipts", "--json").lines[::-1]
    return dict(zip(("question", "answer", "again", "stranger"), (row["receipt_id"] for row in rows), strict=True))


def lines(frontdesk: Frontdesk, receipt: str) -> dict[str, str]:
    said = frontdesk("explain", receipt)
    assert said.code == 0, said.err
    return {line[:12].strip(): line[13:] for line in said.out.splitlines()}


def test_what_opened_a_ticket(frontdesk: Frontdesk, told: dict[str, str]) -> None:
    story = lines(frontdesk, told["question"])
    assert story["outcome"] == "ticketed. It opened ticket #1."
    assert story["from"].startswith("Anna Müller <anna@customer.example>, unverified: ")
    assert story["says"] == "Where is my parcel?"
    assert story["rule"].startswith("none. It opened this ticket")


def test_what_was_added_by_a_rule_with_its_evidence(frontdesk: Frontdesk, told: dict[str, str]) -> None:
    story = lines(frontdesk, told["answer"])
    assert story["outcome"] == "appended. It became a comment on ticket #1."
    assert story["rule"].startswith("in_reply_to. It answers <q1@customer.example>")
    assert "q1@customer.example" in story["evidence"]
    assert story["is on now"].startswith("#1 My parcel")


def test_a_duplicate_names_the_first(frontdesk: Frontdesk, told: dict[str, str]) -> None:
    story = lines(frontdesk, told["again"])
    assert story["outcome"].startswith("duplicate. It was delivered before")
    assert story["because"] == "the same delivery again"
    assert story["first"].startswith(f"receipt {told['question']}, ticketed, ")


def test_a_refused_ticket_is_named_with_the_reason(frontdesk: Frontdesk, told: dict[str, str]) -> None:
    story = lines(frontdesk, told["stranger"])
    assert story["outcome"] == "ticketed. It opened ticket #2."
    assert story["not on"] == (
        "#1, although it answers <q1@customer.example>: eve@stranger.example has not taken part in it."
    )


def test_corrections_are_told(frontdesk: Frontdesk, told: dict[str, str], tmp_path: Path) -> None:
    async def correct() -> None:
        store = open_store(f"sqlite:///{tmp_path / 'frontdesk-data' / 'frontdesk.db'}")
        now = datetime.now(UTC)
        await store.write(corrections.split, 1, 2, following=True, actor="ann", now=now)
        await store.close()

    asyncio.run(correct())
    story = lines(frontdesk, told["answer"])
    assert story["outcome"] == "appended. It became a comment on ticket #1."
    assert story["corrected"].startswith("1 message split off #1 into #3 by ann, ")
    assert story["is on now"].startswith("#3 Re: My parcel")
    [row] = frontdesk("explain", told["answer"], "--json").lines
    assert (row["comment"]["ticket_id"], row["corrections"][0]["kind"]) == (3, "split")
    assert row["comment"]["explanation"]["rule"] == "in_reply_to"


def test_words_for_what_is_not_there(frontdesk: Frontdesk, told: dict[str, str]) -> None:
    unknown = frontdesk("explain", "0193f2a5-7c1e-7b7c-8a4e-1c9b2f6d0e11")
    assert (unknown.code, "nothing is recorded" in unknown.err) == (1, True)
    wrong = frontdesk("explain", "nonsense")
    assert (wrong.code, "not a receipt id" in wrong.err) == (2, True)
