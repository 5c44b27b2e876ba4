"""Mail that a forwarder passed on with an ARC chain (RFC 8617), checked by ourselves."""

from __future__ import annotations

import pytest

pytest.importorskip("dkim", reason="needs frontdesk[mailauth]")

from tests.channels.test_email_senders import KEY, REJECT, author_of, inbox, names, server
from tests.fakes.names import Names
from tests.mail.signing import LETTER, rsa_record, sealed

__all__ = ["names", "server"]  # fixtures

MX = "mx.forwarder.example"
PASSED = "dmarc=pass header.from=customer.example"
CHAIN = sealed(LETTER, MX, "forwarder.example", PASSED)
CHANGED = CHAIN.replace(b"not  arrived", b"just arrived")
KEYS = {(f"s1._domainkey.{domain}.example", "TXT"): [rsa_record()] for domain in ("forwarder", "evil", "second")}

CHAINS: list[tuple[str, bytes, str]] = [
    ("sealed", CHAIN, "verified"),
    ("said something else", CHAIN.replace(b"dmarc=pass", b"dmarc=none"), "failed"),
    ("changed afterwards", CHANGED, "failed"),
    ("sealed by another", sealed(LETTER, MX, "evil.example", PASSED), "failed"),
    ("found broken", sealed(LETTER, MX, "forwarder.example", PASSED, whole="fail"), "failed"),
    ("did not pass there", sealed(LETTER, MX, "forwarder.example", "dmarc=fail"), "failed"),
    ("of somebody else", sealed(LETTER, MX, "forwarder.example", PASSED.replace("customer", "evil")), "failed"),
    ("passed on again", sealed(CHAIN, "mx.second.example", "second.example", "arc=pass", number=2), "verified"),
    ("changed and sealed again", sealed(CHANGED, "mx.evil.example", "evil.example", "arc=pass", number=2), "failed"),
    ("a link is missing", sealed(CHAIN, "mx.second.example", "second.example", "arc=pass", number=3), "failed"),
    ("misnumbered", CHAIN.replace(b"ARC-Seal: i=1", b"ARC-Seal: i=9"), "failed"),
    ("a number without end", CHAIN.replace(b"ARC-Seal: i=1", b"ARC-Seal: i=" + b"9" * 5_000), "failed"),
    ("From not covered", sealed(LETTER, MX, "forwarder.example", PASSED, covered=("subject", "date")), "failed"),
    ("From twice", b"From: boss@customer.example\r\n" + CHAIN, "unverified"),
    ("From replaced", CHAIN.replace(b"anna@", b"boss@"), "failed"),
]


@pytest.mark.parametrize(("mail", "trust"), [row[1:] for row in CHAINS], ids=[row[0] for row in CHAINS])
async def test_what_a_trusted_forwarder_sealed(names: Names, mail: bytes, trust: str) -> None:
    names.publish(KEYS | REJECT)
    author = await author_of(inbox(names, authserv_ids=[MX]), mail)
    assert author.trust == trust, author.evidence
    assert ("ARC, before forwarding" in author.evidence) == (trust == "verified")


async def test_a_forwarder_that_is_not_trusted_is_not_even_looked_up(names: Names) -> None:
    names.publish(KEYS | REJECT)
    assert (await author_of(inbox(names, authserv_ids=["mx.other.example"]), CHAIN)).trust == "failed"
    assert not [name for name, _ in names.asked if "forwarder" in name]


async def test_a_chain_whose_keys_are_not_to_be_had_proves_nothing(names: Names) -> None:
    names.publish(KEYS | REJECT)
    names.moods["s1._domainkey.forwarder.example"] = "servfail"
    assert KEY not in names.zone
    assert (await author_of(inbox(names, authserv_ids=[MX]), CHAIN)).trust == "failed"
