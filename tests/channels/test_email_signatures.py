"""What strangers choose (signatures, keys, SPF records) never trips the check; and mail that a provider posted."""

from __future__ import annotations

import base64
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("dkim", reason="needs frontdesk[mailauth]")

from adapters.base import NameServers, Raw
from adapters.email.lookups import Lookups, NameService
from adapters.email.sender_policy import check_client
from adapters.email.signatures import check_chain, check_signature
from normalizer.message import MessageDraft
from normalizer.signed_bytes import AmbiguousError, SignedBytes
from tests.channels.test_email_senders import OURS, inbox, names, server
from tests.fakes.names import Names
from tests.mail.signing import LETTER, rsa_record, sealed, signed

__all__ = ["names", "server"]  # fixtures

WORDS = {"pass", "fail", "permerror", "temperror", "policy"}
TAGS = st.dictionaries(
    st.sampled_from(["v", "a", "b", "bh", "c", "d", "h", "i", "l", "q", "s", "t", "x", "k", "p", "cv"]),
    st.one_of(
        st.sampled_from(["1", "rsa-sha256", "relaxed/relaxed", "customer.example", "from", "s1", "AAAA", "9" * 5_000]),
        st.text(st.characters(codec="ascii", exclude_characters="\r\n\0"), max_size=20),
    ),
)


def written(tags: dict[str, str]) -> bytes:
    return "; ".join(f"{name}={value}" for name, value in tags.items()).encode()


@given(TAGS, TAGS, st.sampled_from([b"DKIM-Signature", b"ARC-Seal", b"ARC-Message-Signature"]))
def test_any_signature_is_judged(signature: dict[str, str], key: dict[str, str], name: bytes) -> None:
    mail = name + b": " + written(signature) + b"\r\n" + sealed(signed(), "mx.f.example", "f.example", "dmarc=pass")
    letter = SignedBytes(mail)
    for index in range(len(letter.named(b"dkim-signature"))):
        assert check_signature(letter, index, lambda _: [written(key)]).result in WORDS
    check_chain(letter, lambda _: [written(key)])


@given(st.binary(max_size=400))
def test_any_key_is_judged(record: bytes) -> None:
    letter = SignedBytes(signed())
    for given_key in (record, b"p=" + record, b"v=DKIM1; p=" + base64.b64encode(record)):
        assert check_signature(letter, 0, lambda _, given_key=given_key: [given_key]).result in WORDS - {"pass"}  # type: ignore[misc]


@given(st.integers(0, len(signed()) - 1), st.integers(0, 255))
@settings(max_examples=300)
def test_no_changed_octet_passes(position: int, octet: int) -> None:
    """Whatever is changed in a signed mail (but for what is not signed at all), the signature does not hold."""
    mail = signed()
    changed = bytearray(mail)
    changed[position] = octet
    try:
        letter = SignedBytes(bytes(changed))
    except AmbiguousError:
        return
    if not letter.named(b"dkim-signature"):
        return
    found = check_signature(letter, 0, lambda _: [rsa_record().encode()])
    if found.result == "pass":
        assert meaning(bytes(changed)) == meaning(mail)


def meaning(mail: bytes) -> tuple[list[tuple[bytes, bytes]], tuple[bytes, int]]:
    """What the signature covers, in its relaxed form."""
    letter = SignedBytes(mail)
    covered = [
        (name.lower(), b" ".join(value.split()))
        for name, value in letter.fields
        if name.lower() in (b"from", b"subject", b"date", b"to")
    ]
    return covered, letter.body_hash(relaxed=True)


class Told(Lookups):
    """A name server that has one record for every name."""

    def __init__(self, record: bytes) -> None:
        super().__init__(NameService(NameServers()), time.monotonic() + 600)
        self.record = record

    def records(self, name: str, kind: str) -> list[Any]:
        return [type("Text", (), {"strings": (self.record,)})()] if kind == "TXT" else []


TERMS = st.lists(
    st.one_of(
        st.sampled_from(
            ["+all", "-all", "a", "mx", "ptr", "include:x.example", "redirect=y.example", "exists:%{i}.x",
             "exp=z.example", "ip4:9.9.9.9/0", "ip6:::/0", "a:%{p}.x.example", "%{", "exists:%{s99r+-/}.x.example",
             "//", "a//64/32"]
        ),
        st.text(max_size=30),
    ),
    max_size=12,
)  # fmt: skip


@given(TERMS, st.sampled_from(["9.9.9.9", "2620:fe::fe"]), st.text(max_size=30))
def test_any_spf_record_is_judged(terms: list[str], client: str, sender: str) -> None:
    record = " ".join(["v=spf1", *terms]).encode()
    for mail_from in ("anna@customer.example", sender, f"{sender}@customer.example"):
        found = check_client(client, mail_from, "mx.customer.example", Told(record))
        assert found.result in {"pass", "fail", "softfail", "neutral", "none", "permerror", "temperror"}


@pytest.mark.parametrize(
    "record",
    [
        b"v=spf1 " + b"exists:" + b"%{s}." * 59 + b"x.example -all",
        b"v=spf1 " + b"a:" + b"a" * 290 + b" -all",
        b"v=spf1 " + b"a:" + b"a." * 140 + b"- -all",
        b"v=spf1 " + b"x=%{l} " * 500,
        b"v=spf1 " + b"%%" * 140,
        b"v=spf1" + b" " * 4_000,
    ],
)
def test_a_crafted_record_costs_little(record: bytes) -> None:
    """Hundreds of such records pass in the suite's time; each is as long as one may be."""
    for _ in range(20):
        found = check_client("9.9.9.9", "anna@customer.example", "mx.customer.example", Told(record))
        assert found.result in {"permerror", "fail", "neutral", "none"}


# -- mail that a provider posted ------------------------------------------------------------------------------------


def form(**fields: bytes) -> bytes:
    parts = [
        b'--B\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name.encode(), value)
        for name, value in fields.items()
    ]
    return b"".join(parts) + b"--B--\r\n"


async def of_sendgrid(names: Names, body: bytes) -> MessageDraft:
    box = inbox(names)
    kept = Raw(body, "multipart/form-data; boundary=B; provider=sendgrid", {"received_at": "2026-01-01"})
    [draft] = box.normalize(await box.examine(kept))
    assert isinstance(draft, MessageDraft)
    return draft


async def test_a_mail_that_a_provider_passed_on_whole_is_checked(names: Names) -> None:
    names.publish(OURS)
    envelope = b'{"from":"anna@customer.example","to":["support@desk.example"]}'
    draft = await of_sendgrid(names, form(email=signed(), envelope=envelope))
    assert (draft.author.trust, "dkim=pass" in draft.author.evidence) == ("verified", True)
    draft = await of_sendgrid(names, form(email=LETTER, envelope=envelope, sender_ip=b"9.9.9.9"))
    assert (draft.author.trust, "no client address" in draft.author.evidence) == ("unverified", True)


async def test_what_the_provider_found_out_goes_before(names: Names) -> None:
    names.publish(OURS)
    draft = await of_sendgrid(names, form(email=LETTER, dkim=b"{@customer.example : pass}"))
    assert (draft.author.trust, draft.author.evidence) == ("verified", "sendgrid: dkim=pass by customer.example")


async def test_fields_out_of_a_mail_are_not_the_mail(names: Names) -> None:
    names.publish(OURS)
    headers = LETTER.partition(b"\r\n\r\n")[0]
    draft = await of_sendgrid(names, form(headers=headers, text=b"hello"))
    assert draft.author.evidence == "not checked here: sendgrid passed on its fields, not the mail itself"
    assert names.asked == []
