"""DMARC as values: what a record asks for, what aligns with what, and the verdict that follows."""

from __future__ import annotations

import pytest

from normalizer.dmarc import Check, Policy, judge, read_policy

REJECT, QUARANTINE, NONE = Policy("reject"), Policy("quarantine"), Policy("none")


@pytest.mark.parametrize(
    ("records", "inherited", "wanted"),
    [
        (["v=DMARC1; p=reject"], False, REJECT),
        (["v=DMARC1;p=quarantine;rua=mailto:a@b.example"], False, QUARANTINE),
        (["V = DMARC1 ; P = Reject ; adkim = s; aspf=S"], False, Policy("reject", True, True)),
        (["v=DMARC1; p=none", "v=spf1 -all", "other"], False, NONE),
        ([], False, None),
        (["v=spf1 -all"], False, None),
        (["p=reject; v=DMARC1"], False, None),  # section 6.3: the version stands first
        (["v=dmarc1; p=reject"], False, None),
        (["v=DMARC1; p=reject", "v=DMARC1; p=none"], False, None),  # section 6.6.3 step 5
        (["v=DMARC1; p=rejct"], False, None),
        (["v=DMARC1"], False, None),
        (["v=DMARC1; rua=mailto:a@b.example"], False, NONE),  # step 6
        (["v=DMARC1; p=rejct; rua=mailto:a@b.example"], False, NONE),
        (["v=DMARC1; p=reject; sp=none"], False, REJECT),
        (["v=DMARC1; p=reject; sp=none"], True, NONE),
        (["v=DMARC1; p=none; sp=quarantine"], True, QUARANTINE),
        (["v=DMARC1; p=reject"], True, REJECT),
        (["v=DMARC1; p=reject; p=none"], False, REJECT),
        (["v=DMARC1; p=reject; pct=100"], False, REJECT),
        (["v=DMARC1; p=reject; pct=30"], False, QUARANTINE),  # section 6.6.4: the others are quarantined
        (["v=DMARC1; p=quarantine; pct=30"], False, NONE),
        (["v=DMARC1; p=quarantine; pct=0"], False, NONE),
        (["v=DMARC1; p=reject; pct=many"], False, REJECT),
        (["v=DMARC1; p=reject; pct=999999"], False, REJECT),
        (["v=DMARC1; p=quarantine; t=y"], False, NONE),
        (["v=DMARC1; p=reject;" + "x=1;" * 100_000], False, REJECT),
        (["v=DMARC1; ;;=;==; p=reject"], False, REJECT),
    ],
)
def test_what_a_domain_asks_for(records: list[str], inherited: bool, wanted: Policy | None) -> None:
    assert read_policy(records, inherited=inherited) == wanted


def dkim(result: str, domain: str, organisation: str = "", *, open: bool = False) -> Check:
    return Check("dkim", result, domain, organisation or domain, open=open)


def spf(result: str, domain: str, organisation: str = "", *, open: bool = False) -> Check:
    return Check("spf", result, domain, organisation or domain, open=open)


HOME = ("customer.example", "customer.example")
BELOW = ("mail.customer.example", "customer.example")
STRICT = Policy("reject", strict_dkim=True, strict_spf=True)


@pytest.mark.parametrize(
    ("author", "checks", "policy", "trust"),
    [
        (HOME, [dkim("pass", "customer.example")], REJECT, "verified"),
        (HOME, [dkim("pass", "customer.example")], None, "verified"),
        (HOME, [spf("pass", "customer.example")], REJECT, "verified"),
        (HOME, [dkim("pass", "news.customer.example", "customer.example")], REJECT, "verified"),
        (BELOW, [dkim("pass", "customer.example")], REJECT, "verified"),
        (HOME, [dkim("pass", "news.customer.example", "customer.example")], STRICT, "failed"),
        (HOME, [spf("pass", "bounce.customer.example", "customer.example")], REJECT, "verified"),
        (HOME, [spf("pass", "bounce.customer.example", "customer.example")], STRICT, "failed"),
        (HOME, [spf("pass", "b.customer.example", "customer.example")], Policy("reject", True, False), "verified"),
        (HOME, [dkim("pass", "esp.example"), spf("pass", "esp.example")], REJECT, "failed"),
        (HOME, [dkim("pass", "esp.example"), spf("pass", "esp.example")], NONE, "unverified"),
        (HOME, [dkim("pass", "esp.example"), spf("pass", "esp.example")], None, "unverified"),
        (HOME, [dkim("fail", "customer.example"), spf("softfail", "customer.example")], QUARANTINE, "failed"),
        (HOME, [dkim("fail", "customer.example"), spf("pass", "customer.example")], REJECT, "verified"),
        (HOME, [spf("neutral", "customer.example")], REJECT, "failed"),
        (HOME, [], REJECT, "failed"),
        (HOME, [], None, "unverified"),
        # What could not be found out and might have proven it says nothing; what could not have proven it either way
        # does not matter.
        (HOME, [dkim("temperror", "customer.example", open=True)], REJECT, "unverified"),
        (HOME, [dkim("temperror", "esp.example", open=True)], REJECT, "failed"),
        (HOME, [spf("none", "customer.example", open=True)], REJECT, "unverified"),
        (HOME, [spf("none", "", open=True)], REJECT, "unverified"),
        (HOME, [spf("none", "esp.example", open=True)], REJECT, "failed"),
        (HOME, [spf("none", "b.customer.example", "customer.example", open=True)], STRICT, "failed"),
        # Two names below one public suffix are strangers; an empty domain is nobody's.
        (("a.co.uk", "a.co.uk"), [dkim("pass", "b.co.uk")], None, "unverified"),
        (("a.co.uk", "a.co.uk"), [dkim("pass", "co.uk")], None, "unverified"),
        (("customer.example", ""), [dkim("pass", "", "")], None, "unverified"),
    ],
)
def test_the_verdict(author: tuple[str, str], checks: list[Check], policy: Policy | None, trust: str) -> None:
    assert judge(*author, checks, policy).trust == trust


@pytest.mark.parametrize(
    ("checks", "trust"),
    [
        ([dkim("pass", "customer.example")], "verified"),  # the same domain is aligned under every policy
        ([dkim("pass", "news.customer.example", "customer.example")], "unverified"),
        ([dkim("fail", "customer.example")], "unverified"),
    ],
)
def test_while_the_policy_is_not_to_be_had_nothing_fails(checks: list[Check], trust: str) -> None:
    verdict = judge(*HOME, checks, None, unknown="the name servers took too long")
    assert verdict.trust == trust
    assert "the name servers took too long" in verdict.evidence


def test_the_evidence_is_a_sentence_for_people() -> None:
    checks = [
        Check("dkim", "fail", "customer.example", "customer.example", "the body was changed"),
        Check("spf", "softfail", "mail.customer.example", "customer.example", "client 9.9.9.9"),
    ]
    assert judge(*HOME, checks, REJECT).evidence == (
        "checked here: dkim=fail (customer.example, the body was changed),"
        " spf=softfail (mail.customer.example, client 9.9.9.9);"
        " nothing proves customer.example, and the policy of customer.example is reject"
    )
    assert judge(*HOME, [dkim("pass", "customer.example")], NONE).evidence == (
        "checked here: dkim=pass (customer.example); the policy of customer.example is none"
    )
