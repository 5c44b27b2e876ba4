"""Our own check of senders: real signatures and a real name server on loopback, by the way a mail takes to the door."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

pytest.importorskip("dkim", reason="needs frontdesk[mailauth]")

from adapters.base import Clients, NameServers, Raw, TemporaryError
from adapters.email import Email, EmailOptions
from normalizer.message import Author, MessageDraft
from tests.fakes.names import Mood, Names, serving
from tests.mail.signing import LETTER, ed25519_record, huge_record, rsa_record, signed

CLIENT = "9.9.9.9"  # any address of the public Internet; nobody is called there
KEY = ("s1._domainkey.customer.example", "TXT")
DMARC = ("_dmarc.customer.example", "TXT")
SPF = ("customer.example", "TXT")
REJECT = {DMARC: ["v=DMARC1; p=reject"]}
OURS = {KEY: [rsa_record()]} | REJECT


@pytest.fixture(scope="module")
def server() -> Iterator[Names]:
    with serving() as running:
        yield running


@pytest.fixture
def names(server: Names) -> Names:
    """The server, well and with an empty zone; each test's inbox has a cache of its own."""
    server.zone.clear()
    server.moods.clear()
    server.asked.clear()
    server.by_tcp.clear()
    server.heard.clear()
    server.mood = "well"
    return server


def inbox(names: Names, *, patience: float = 20.0, **options: Any) -> Email:
    clients = Clients(names=NameServers(("127.0.0.1",), names.port, patience))
    return Email("support", EmailOptions(check_authentication=True, domains=["desk.example"], **options), clients)


def smtp(mail_from: str = "anna@customer.example", remote: str = CLIENT, helo: str = "mx.customer.example") -> Any:
    return {
        "protocol": "smtp",
        "remote": remote,
        "mail_from": mail_from,
        "helo": helo,
        "rcpt_tos": ["support@desk.example"],
    }


async def author_of(box: Email, mail: bytes, facts: Any = None) -> Author:
    raw = await box.examine(Raw(mail, "message/rfc822", smtp() if facts is None else facts))
    [draft] = box.normalize(raw)
    assert isinstance(draft, MessageDraft)
    return draft.author


# -- signatures -----------------------------------------------------------------------------------------------------

BROKEN = signed().replace(b"not  arrived", b"just arrived")
EXTENDED = signed(length=True) + b"P.S. Send it to another address.\r\n"
TWO_FROMS = b"From: ceo@customer.example\r\n" + signed()
UNCOVERED = signed(cover=("from", "subject")).replace(b"anna@", b"boss@")

SIGNATURES: list[tuple[str, bytes, dict[tuple[str, str], list[str]], str, str]] = [
    ("rsa", signed(), OURS, "verified", "dkim=pass (customer.example)"),
    ("ed25519", signed(ed25519=True), REJECT | {KEY: [ed25519_record()]}, "verified", "dkim=pass"),
    ("2048 bits", signed(bits=2_048), REJECT | {KEY: [rsa_record(2_048)]}, "verified", "dkim=pass"),
    ("simple form", signed(form="simple/simple"), OURS, "verified", "dkim=pass"),
    ("mixed form", signed(form="simple/relaxed"), OURS, "verified", "dkim=pass"),
    ("bare line feeds, as a pipe hands over", signed().replace(b"\r\n", b"\n"), OURS, "verified", "dkim=pass"),
    ("no policy published", signed(), {KEY: [rsa_record()]}, "verified", "publishes no policy"),
    ("a key without its tags", signed(), REJECT | {KEY: [rsa_record(tags="")]}, "verified", "dkim=pass"),
    ("body modified", BROKEN, OURS, "failed", "the body was changed"),
    ("header modified", signed().replace(b"my order", b"your money"), OURS, "failed", "a signed field was changed"),
    ("expired", signed(tags={"t": "1000000", "x": "1000001"}), OURS, "failed", "it has expired"),
    ("not yet expired", signed(tags={"x": "9000000000"}), OURS, "verified", "dkim=pass"),
    ("from the future", signed(tags={"t": "9000000000"}), OURS, "failed", "it is malformed"),
    ("l= of all of it", signed(length=True), OURS, "verified", "dkim=pass"),
    ("l= and more behind", EXTENDED, OURS, "failed", "it covers the first 33 of"),
    (
        "l=0",
        signed(tags={"l": "0", "bh": "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}),
        OURS,
        "failed",
        "first 0 of",
    ),
    ("From not covered", signed(tags={"h": "subject:date"}), OURS, "failed", "it does not cover From"),
    ("key revoked", signed(), REJECT | {KEY: ["v=DKIM1; p="]}, "failed", "its key was revoked"),
    ("key of 512 bits", signed(bits=512), REJECT | {KEY: [rsa_record(512)]}, "failed", "below 1024 it proves nothing"),
    ("key of 8192 bits", signed(), REJECT | {KEY: [huge_record()]}, "failed", "no usual one (8192 bits)"),
    ("key that ends too soon", signed(), REJECT | {KEY: ["v=DKIM1; p=MIGfMA0G"]}, "failed", "its key cannot be read"),
    ("no key", signed(), REJECT, "failed", "there is no key at s1._domainkey.customer.example"),
    ("key no base64", signed(), REJECT | {KEY: ["v=DKIM1; p=***"]}, "failed", "its key is no base64"),
    ("key of another version", signed(), REJECT | {KEY: [rsa_record(tags="v=DKIM2;")]}, "failed", "cannot be read"),
    ("key of another kind", signed(), REJECT | {KEY: [ed25519_record()]}, "failed", "its key is of another kind"),
    ("key not for mail", signed(), REJECT | {KEY: [rsa_record(tags="s=tlsrpt;")]}, "failed", "its key is not for mail"),
    ("key for SHA-1", signed(), REJECT | {KEY: [rsa_record(tags="h=sha1;")]}, "failed", "its key is not for SHA-256"),
    ("key in testing", signed(), REJECT | {KEY: [rsa_record(tags="t=y;")]}, "failed", "is only testing DKIM"),
    (
        "key not for subdomains",
        signed(tags={"i": "@news.customer.example"}),
        REJECT | {KEY: [rsa_record(tags="t=s;")]},
        "failed",
        "its key is not for subdomains",
    ),
    ("SHA-1", signed(algorithm="rsa-sha1"), OURS, "failed", "rsa-sha1 is no longer accepted"),
    ("no base64 in b=", signed().replace(b"b=", b"b=*", 1), OURS, "failed", "malformed"),
    ("no tags at all", b"DKIM-Signature: x\r\n" + LETTER, OURS, "failed", "dkim=permerror"),
    ("a name that is none", signed(selector="s1/../x"), OURS, "failed", "is no name"),
    (
        "an endless signature",
        b"DKIM-Signature: v=1; b=" + b" \r\n" * 5_000 + b" x\r\n" + LETTER,
        OURS,
        "unverified",
        "",
    ),
    ("a bloated signature", signed(tags={"z": "y" * 9_000}), OURS, "failed", "longer than any real one"),
    ("the second one holds", b"".join([BROKEN[: BROKEN.index(b"From:")], signed()]), OURS, "verified", "dkim=pass"),
    ("two From fields", TWO_FROMS, OURS, "unverified", "2 From addresses in 2 fields"),
    (
        "From of two people",
        signed(LETTER.replace(b"Anna <anna@customer.example>", b"a@customer.example, b@bank.example")),
        OURS,
        "unverified",
        "2 From addresses",
    ),
    ("two readings", signed().replace(b"Subject:", b"Subject :"), OURS, "unverified", "no header field"),
    ("unsigned", LETTER, OURS, "failed", "spf=none"),
]


@pytest.mark.parametrize(
    ("mail", "zone", "trust", "said"), [row[1:] for row in SIGNATURES], ids=[row[0] for row in SIGNATURES]
)
async def test_signatures(names: Names, mail: bytes, zone: Any, trust: str, said: str) -> None:
    names.publish(zone)
    author = await author_of(inbox(names), mail)
    assert (author.trust, said in author.evidence) == (trust, True), author.evidence


# -- alignment and policy -------------------------------------------------------------------------------------------

NEWS = LETTER.replace(b"anna@customer.example", b"anna@news.customer.example")
UK = LETTER.replace(b"customer.example", b"shop.co.uk")
ESP = {("s1._domainkey.esp.example", "TXT"): [rsa_record()]}
BELOW = {("s1._domainkey.news.customer.example", "TXT"): [rsa_record()]}

ALIGNMENT: list[tuple[str, bytes, dict[tuple[str, str], list[str]], str]] = [
    ("by a stranger", signed(domain="esp.example"), ESP | REJECT, "failed"),
    ("by a stranger, p=none", signed(domain="esp.example"), ESP | {DMARC: ["v=DMARC1; p=none"]}, "unverified"),
    ("by a stranger, no policy", signed(domain="esp.example"), ESP, "unverified"),
    ("by a stranger, p=quarantine", signed(domain="esp.example"), ESP | {DMARC: ["v=DMARC1; p=quarantine"]}, "failed"),
    (
        "by a stranger, in part",
        signed(domain="esp.example"),
        ESP | {DMARC: ["v=DMARC1; p=quarantine; pct=5"]},
        "unverified",
    ),
    ("by a stranger and by us", signed(signed(), domain="esp.example"), ESP | OURS, "verified"),
    ("by a subdomain, relaxed", signed(domain="news.customer.example"), BELOW | REJECT, "verified"),
    (
        "by a subdomain, strict",
        signed(domain="news.customer.example"),
        BELOW | {DMARC: ["v=DMARC1; p=reject; adkim=s"]},
        "failed",
    ),
    ("a subdomain by its parent", signed(NEWS), OURS, "verified"),
    ("a subdomain, sp=none", NEWS, {DMARC: ["v=DMARC1; p=reject; sp=none"]}, "unverified"),
    ("a subdomain, sp=reject", NEWS, {DMARC: ["v=DMARC1; p=none; sp=reject"]}, "failed"),
    (
        "a subdomain with its own policy",
        NEWS,
        REJECT | {("_dmarc.news.customer.example", "TXT"): ["v=DMARC1; p=none"]},
        "unverified",
    ),
    (
        "a look-alike",
        signed(LETTER.replace(b"anna@customer.example", b"anna@customer.example.evil.test")),
        OURS,
        "unverified",
    ),
    (
        "a longer name",
        signed(LETTER.replace(b"anna@customer.example", b"anna@notcustomer.example")),
        OURS,
        "unverified",
    ),
    (
        "below the same public suffix",
        signed(UK, domain="other.co.uk"),
        {("s1._domainkey.other.co.uk", "TXT"): [rsa_record()], ("_dmarc.shop.co.uk", "TXT"): ["v=DMARC1; p=reject"]},
        "failed",
    ),
    (
        "by the public suffix",
        signed(UK, domain="co.uk"),
        {("s1._domainkey.co.uk", "TXT"): [rsa_record()]},
        "unverified",
    ),
    (
        "on a shared host",
        signed(UK.replace(b"shop.co.uk", b"a.github.io"), domain="b.github.io"),
        {("s1._domainkey.b.github.io", "TXT"): [rsa_record()]},
        "unverified",
    ),
    ("an address literal", signed(LETTER.replace(b"anna@customer.example", b"anna@[192.0.2.1]")), OURS, "unverified"),
    (
        "six signatures before the right one",
        b"".join(signed(domain="esp.example")[: -len(LETTER)] for _ in range(6)) + signed(),
        ESP | OURS,
        "verified",
    ),
]


@pytest.mark.parametrize(("mail", "zone", "trust"), [row[1:] for row in ALIGNMENT], ids=[row[0] for row in ALIGNMENT])
async def test_alignment(names: Names, mail: bytes, zone: Any, trust: str) -> None:
    names.publish(zone)
    author = await author_of(inbox(names), mail)
    assert author.trust == trust, author.evidence


async def test_no_more_than_five_signatures_are_checked(names: Names) -> None:
    strangers = [f"esp{number}.example" for number in range(40)]
    names.publish(REJECT)
    mail = b"".join(signed(domain=domain)[: -len(LETTER)] for domain in strangers) + LETTER
    author = await author_of(inbox(names), mail)
    assert author.trust == "failed"
    assert len({name for name, _ in names.asked if "_domainkey" in name}) == 5


# -- SPF ------------------------------------------------------------------------------------------------------------

INCLUDES = {(f"i{number}.example", "TXT"): [f"v=spf1 include:i{number + 1}.example -all"] for number in range(1, 15)}
MANY_MX = {SPF: ["v=spf1 mx -all"], ("customer.example", "MX"): [f"10 m{number}.example." for number in range(12)]}
SENDERS: list[tuple[str, dict[tuple[str, str], list[str]], dict[str, Any], str, str]] = [
    (
        "pass by address",
        {SPF: [f"v=spf1 ip4:{CLIENT} -all"]},
        {},
        "verified",
        f"spf=pass (customer.example, client {CLIENT})",
    ),
    (
        "pass by a",
        {SPF: ["v=spf1 a:out.customer.example -all"], ("out.customer.example", "A"): [CLIENT]},
        {},
        "verified",
        "spf=pass",
    ),
    (
        "pass by mx",
        {SPF: ["v=spf1 mx -all"], ("customer.example", "MX"): ["10 in.example."], ("in.example", "A"): [CLIENT]},
        {},
        "verified",
        "spf=pass",
    ),
    (
        "pass by include",
        {SPF: ["v=spf1 include:esp.example -all"], ("esp.example", "TXT"): [f"v=spf1 ip4:{CLIENT} -all"]},
        {},
        "verified",
        "spf=pass",
    ),
    (
        "pass by redirect",
        {SPF: ["v=spf1 redirect=esp.example"], ("esp.example", "TXT"): [f"v=spf1 ip4:{CLIENT} -all"]},
        {},
        "verified",
        "spf=pass",
    ),
    (
        "pass by macro",
        {SPF: ["v=spf1 exists:%{ir}.%{l}.%{d} -all"], ("9.9.9.9.anna.customer.example", "A"): ["127.0.0.2"]},
        {},
        "verified",
        "spf=pass",
    ),
    ("pass by IPv6", {SPF: ["v=spf1 ip6:2620:fe::/48 -all"]}, {"remote": "2620:fe::fe"}, "verified", "spf=pass"),
    (
        "pass by a mapped address",
        {SPF: [f"v=spf1 ip4:{CLIENT} -all"]},
        {"remote": f"::ffff:{CLIENT}"},
        "verified",
        "spf=pass",
    ),
    (
        "an alias the resolver leaves unfollowed names no address",
        {
            SPF: ["v=spf1 a:out.customer.example -all"],
            ("out.customer.example", "CNAME"): ["real.example."],
            ("real.example", "A"): [CLIENT],
        },
        {},
        "unverified",
        "spf=fail",
    ),
    (
        "pass, relaxed",
        {("b.customer.example", "TXT"): ["v=spf1 +all"]},
        {"mail_from": "x@b.customer.example"},
        "verified",
        "spf=pass",
    ),
    (
        "pass, strict",
        {("b.customer.example", "TXT"): ["v=spf1 +all"], DMARC: ["v=DMARC1; p=reject; aspf=s"]},
        {"mail_from": "x@b.customer.example"},
        "failed",
        "spf=pass",
    ),
    (
        "pass of a stranger",
        {("esp.example", "TXT"): ["v=spf1 +all"]} | REJECT,
        {"mail_from": "x@esp.example"},
        "failed",
        "spf=pass (esp.example",
    ),
    (
        "pass of HELO for the empty sender",
        {("mx.customer.example", "TXT"): [f"v=spf1 ip4:{CLIENT} -all"]},
        {"mail_from": ""},
        "verified",
        "spf=pass",
    ),
    ("fail", {SPF: ["v=spf1 -all"]}, {}, "unverified", "spf=fail"),
    ("fail, reject", {SPF: ["v=spf1 -all"]} | REJECT, {}, "failed", "spf=fail"),
    ("softfail", {SPF: ["v=spf1 ~all"]} | REJECT, {}, "failed", "spf=softfail"),
    ("neutral", {SPF: ["v=spf1 ?all"]} | REJECT, {}, "failed", "spf=neutral"),
    ("none", REJECT, {}, "failed", "spf=none (customer.example, no record)"),
    ("two records", {SPF: ["v=spf1 +all", "v=spf1 -all"]} | REJECT, {}, "failed", "spf=permerror"),
    ("nonsense", {SPF: ["v=spf1 ipx:1 +all"]}, {}, "unverified", "spf=permerror"),
    (
        "too many lookups",
        {SPF: ["v=spf1 include:i1.example +all"]} | INCLUDES,
        {},
        "unverified",
        "spf=permerror (customer.example, Too many DNS lookups",
    ),
    (
        "a loop",
        {SPF: ["v=spf1 include:i.example +all"], ("i.example", "TXT"): ["v=spf1 include:customer.example -all"]},
        {},
        "unverified",
        "spf=permerror",
    ),
    (
        "lookups that find nothing",
        {SPF: ["v=spf1 a:x1.test a:x2.test a:x3.test +all"]},
        {},
        "unverified",
        "find nothing",
    ),
    ("too many MX", MANY_MX, {}, "unverified", "More than 10 MX"),
    (
        "a term without end",
        {SPF: ["v=spf1 a:" + "x" * 2_000 + ".example +all"]},
        {},
        "unverified",
        "longer than any real one",
    ),
    ("macros without end", {SPF: ["v=spf1 exists:" + "%{l}." * 50 + "x.example +all"]}, {}, "verified", "spf=pass"),
    (
        "an envelope without a domain",
        REJECT,
        {"mail_from": "root"},
        "failed",
        "the sender in the envelope has no domain",
    ),
    (
        "HELO without a name",
        REJECT,
        {"mail_from": "", "helo": "[9.9.9.9]"},
        "failed",
        "the sender in the envelope has no domain",
    ),
    # Whose address says nothing about the sender: then SPF could have passed, and nothing has failed.
    (
        "our own relay",
        REJECT | {SPF: ["v=spf1 -all"]},
        {"remote": "127.0.0.1"},
        "unverified",
        "handed over by 127.0.0.1, a server of our own network",
    ),
    (
        "our own network",
        REJECT | {SPF: ["v=spf1 -all"]},
        {"remote": "10.1.2.3"},
        "unverified",
        "handed over by 10.1.2.3",
    ),
    (
        "our own network, IPv6",
        REJECT | {SPF: ["v=spf1 -all"]},
        {"remote": "fe80::1%eth0"},
        "unverified",
        "handed over by fe80::1",
    ),
    (
        "a relay that was named",
        REJECT | {SPF: ["v=spf1 +all"]},
        {"remote": "8.8.4.4"},
        "unverified",
        "handed over by 8.8.4.4",
    ),
    ("LMTP", REJECT | {SPF: ["v=spf1 +all"]}, {"protocol": "lmtp"}, "unverified", "no client address"),
    ("a pipe", REJECT, {"protocol": "pipe", "remote": None}, "unverified", "no client address"),
    (
        "a pipe, sender of a stranger",
        REJECT,
        {"protocol": "pipe", "remote": None, "mail_from": "x@esp.example"},
        "failed",
        "no client address",
    ),
]


@pytest.mark.parametrize(
    ("zone", "facts", "trust", "said"), [row[1:] for row in SENDERS], ids=[row[0] for row in SENDERS]
)
async def test_senders(names: Names, zone: Any, facts: Any, trust: str, said: str) -> None:
    names.publish(zone)
    author = await author_of(inbox(names, relays=["8.8.4.0/24"]), LETTER, smtp() | facts)
    assert (author.trust, said in author.evidence) == (trust, True), author.evidence


# -- name servers that do not help ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moods", "trust", "said"),
    [
        ({KEY[0]: "servfail"}, "unverified", "dkim=temperror (customer.example, its key could not be fetched"),
        ({KEY[0]: "garbage"}, "unverified", "dkim=temperror"),
        ({KEY[0]: "lie"}, "unverified", "dkim=temperror"),
        ({KEY[0]: "truncate"}, "verified", "dkim=pass"),
        ({DMARC[0]: "servfail"}, "verified", "the policy of customer.example could not be asked for"),
        ({DMARC[0]: "servfail", KEY[0]: "servfail"}, "unverified", "could not be asked for"),
        ({SPF[0]: "servfail", KEY[0]: "servfail"}, "unverified", "spf=temperror"),
    ],
)
async def test_trouble_with_names_fails_nobody(names: Names, moods: dict[str, Mood], trust: str, said: str) -> None:
    names.publish(OURS)
    names.moods.update(moods)
    author = await author_of(inbox(names, patience=3.0), signed())
    assert (author.trust, said in author.evidence) == (trust, True), author.evidence


async def test_a_cut_answer_is_asked_for_again_by_tcp(names: Names) -> None:
    names.publish({KEY: [rsa_record(4_096)]} | REJECT)
    names.mood = "truncate"
    assert (await author_of(inbox(names), signed(bits=4_096))).trust == "verified"
    assert KEY[0] in names.by_tcp


async def test_a_silent_name_server_costs_its_patience_and_no_more(names: Names) -> None:
    names.publish(OURS)
    names.mood = "silent"
    author = await author_of(inbox(names, patience=0.3), signed())
    assert author.trust == "unverified"
    assert "0.3 s" in author.evidence or "took too long" in author.evidence


async def test_a_crowd_waits_no_longer_than_one(names: Names) -> None:
    """Forty mails at once and four threads: those that wait in line run out of the same patience."""
    names.mood = "silent"
    box = inbox(names, patience=0.3)
    authors = await asyncio.gather(*(author_of(box, signed()) for _ in range(40)))
    assert {author.trust for author in authors} == {"unverified"}
    assert len(names.asked) < 40, "the line was worked off instead of being given up"


async def test_answers_are_remembered(names: Names) -> None:
    names.publish(OURS)
    box = inbox(names)
    for _ in range(3):
        assert (await author_of(box, signed())).trust == "verified"
    assert names.asked.count(KEY) == 1


async def test_an_author_is_found_out_in_few_questions(names: Names) -> None:
    names.publish(OURS)
    await author_of(inbox(names), signed())
    assert sorted(names.asked) == [DMARC, KEY]


# -- who is asked at all --------------------------------------------------------------------------------------------


async def test_what_our_edge_wrote_goes_before(names: Names) -> None:
    names.publish(OURS)
    box = inbox(names, authserv_ids=["mx.desk.example"])
    said = b"Authentication-Results: mx.desk.example; dmarc=fail header.from=customer.example\r\n"
    author = await author_of(box, said + signed())
    assert (author.trust, author.evidence) == ("failed", "mx.desk.example: dmarc=fail for customer.example")
    assert names.asked == []
    assert (await author_of(box, said.replace(b"mx.desk", b"mx.evil") + signed())).trust == "verified"


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"source": "archive.mbox"}, "not checked here: it was read from a file"),
        ({"source": "imap", "mailbox": "INBOX", "internal_date": "2019-02-03T10:00:00+01:00"}, "it came on 2019-02-03"),
        ({"source": "imap", "mailbox": "INBOX"}, "nobody knows when it came"),
        ({"source": "imap", "mailbox": "INBOX", "held": "too large"}, "only its header was fetched"),
    ],
)
async def test_the_past_is_not_judged_by_the_keys_of_today(names: Names, facts: Any, said: str) -> None:
    names.publish(REJECT)
    author = await author_of(inbox(names), signed(), facts)
    assert author.trust == "unverified"
    assert said in author.evidence
    assert names.asked == []


async def test_a_mailbox_is_checked_by_signatures_alone(names: Names) -> None:
    names.publish(OURS)
    facts = {"source": "imap", "mailbox": "INBOX", "internal_date": datetime.now(UTC).isoformat()}
    assert (await author_of(inbox(names), signed(), facts)).trust == "verified"
    assert "no client address" in (await author_of(inbox(names), BROKEN, facts)).evidence


async def test_the_option_is_off_by_default_and_nothing_is_asked(names: Names) -> None:
    names.publish(OURS)
    box = Email("support", EmailOptions(), Clients(names=NameServers(("127.0.0.1",), names.port)))
    assert (await author_of(box, signed())).trust == "unverified"
    assert names.asked == []


# -- what an operator sees ------------------------------------------------------------------------------------------


async def test_reach_names_the_check_and_its_name_server(names: Names) -> None:
    assert await inbox(names).reach() == "checks senders by DKIM, SPF and DMARC; name server 127.0.0.1 answers"
    names.mood = "servfail"
    with pytest.raises(TemporaryError, match="senders cannot be checked: the name servers could not answer"):
        await inbox(names, patience=0.5).reach()


def test_without_the_extra_the_option_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.email.options.find_spec", lambda name: None if name == "spf" else object())
    assert not EmailOptions().check_authentication
    with pytest.raises(ValueError, match=r"spf not installed; pip install 'frontdesk\[mailauth\]'"):
        EmailOptions(check_authentication=True)


def test_a_relay_that_is_no_network_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'mx1' is neither an address nor a network"):
        EmailOptions(relays=["mx1"])
