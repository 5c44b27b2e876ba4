"""Whose word about a sender counts: our own server's, above its own line, and ARC when it vouches for it."""

from __future__ import annotations

import pytest

from normalizer import authentication

ME = "mx.desk.example"
FORWARDER = "lists.forwarder.example"
PASS = "dmarc=pass header.from=customer.example"
FAIL = "dmarc=fail header.from=customer.example"


def judge(*fields: tuple[str, str], ids: tuple[str, ...] = (ME, FORWARDER)) -> str:
    return authentication.judge(fields, "anna@customer.example", ids).trust


def results(text: str) -> tuple[str, str]:
    return "authentication-results", text


RECEIVED = (
    "received",
    f"from mail.customer.example by {ME} (Postfix) with ESMTPS id 1; Mon, 3 Feb 2025 10:00:00 +0000",
)
OUTSIDE = ("received", "from phone by mail.customer.example with ESMTPSA; Mon, 3 Feb 2025 09:59:00 +0000")
RELAY = ("received", f"from {ME} by store.desk.example with LMTP; Mon, 3 Feb 2025 10:00:02 +0000")


@pytest.mark.parametrize(
    ("fields", "trust"),
    [
        ([results(f"{ME}; {PASS}"), RECEIVED, OUTSIDE], "verified"),
        ([RECEIVED, results(f"{ME}; {PASS}"), OUTSIDE], "unverified"),  # a sender's own topmost field stands there too
        ([RECEIVED, results(f"{ME}; {FAIL}"), OUTSIDE], "failed"),  # and nobody forges his own failure
        ([RECEIVED, results(f"{ME}; {FAIL}; arc=pass"), OUTSIDE], "unverified"),  # a forwarder may have caused it
        ([RECEIVED, OUTSIDE, results(f"{ME}; {FAIL}")], "unverified"),
        ([results(f"{ME}; {FAIL}"), RECEIVED, OUTSIDE], "failed"),
        ([RELAY, results(f"{ME}; {PASS}"), RECEIVED, OUTSIDE], "verified"),
        ([RECEIVED, OUTSIDE, results(f"{ME}; {PASS}")], "unverified"),  # the sender wrote that
        ([RELAY, RECEIVED, OUTSIDE, results(f"{ME}; {PASS}")], "unverified"),
        ([results(f"{ME}; {FAIL}"), RECEIVED, results(f"{ME}; {PASS}")], "failed"),
    ],
)
def test_only_above_our_own_edge(fields: list[tuple[str, str]], trust: str) -> None:
    assert judge(*fields) == trust


@pytest.mark.parametrize(
    ("fields", "trust"),
    [
        ([RECEIVED, results(f"{ME}; {PASS}"), OUTSIDE], "verified"),
        ([RECEIVED, ("received-spf", "pass"), results(f"{ME}; {FAIL}"), OUTSIDE], "failed"),
        ([RECEIVED, results(f"{ME}; {FAIL}"), results(f"{ME}; {PASS}"), OUTSIDE], "failed"),  # the topmost
        ([results(f"{ME}; {FAIL}"), RECEIVED, results(f"{ME}; {PASS}")], "failed"),
        ([RECEIVED, OUTSIDE, results(f"{ME}; {PASS}")], "unverified"),  # the sender wrote that
        ([RELAY, RECEIVED, OUTSIDE, results(f"{ME}; {PASS}")], "unverified"),
    ],
)
def test_directly_beneath_it_only_for_a_server_that_is_said_to_write_there(
    fields: list[tuple[str, str]], trust: str
) -> None:
    assert authentication.judge(fields, "anna@customer.example", [ME], beneath=True).trust == trust


def test_what_stands_beneath_is_told_with_the_option_that_decides_about_it() -> None:
    verdict = authentication.judge([RECEIVED, results(f"{ME}; {PASS}")], "anna@customer.example", [ME])
    assert verdict == authentication.BENEATH
    assert "`authserv_beneath`" in verdict.evidence


def test_our_own_check_stands_in_for_what_stands_beneath() -> None:
    checked = authentication.Checked("", authentication.Verdict("failed", "checked here")).as_fact()
    assert authentication.weigh(authentication.BENEATH, checked, "anna@customer.example").trust == "failed"


def arc(number: int, server: str, text: str, seal: str, *, sealer: str = "") -> list[tuple[str, str]]:
    return [
        ("arc-seal", f"i={number}; a=rsa-sha256; cv={seal}; d={sealer or server}; s=s; b=x"),
        ("arc-authentication-results", f"i={number}; {server}; {text}"),
    ]


OWN = results(f"{ME}; {FAIL}; arc=pass (i=2)")


@pytest.mark.parametrize(
    ("fields", "trust"),
    [
        ([OWN, *arc(1, FORWARDER, PASS, "none")], "verified"),
        ([OWN, *arc(2, FORWARDER, PASS, "pass"), *arc(1, "other.example", FAIL, "none")], "verified"),
        ([OWN, *arc(1, "other.example", PASS, "none")], "failed"),  # nobody we know
        ([OWN, *arc(2, FORWARDER, PASS, "none")], "failed"),
        ([OWN, *arc(2, FORWARDER, PASS, "fail")], "failed"),
        ([OWN, *arc(2, FORWARDER, FAIL, "pass")], "failed"),
        ([OWN, *arc(2, FORWARDER, PASS.replace("customer", "evil"), "pass")], "failed"),
        # Whoever forwards an old mail can change it and seal it again: nothing below a stranger's link counts.
        ([OWN, *arc(2, "evil.example", FAIL, "pass"), *arc(1, FORWARDER, PASS, "none")], "failed"),
        ([OWN, *arc(2, ME, "arc=pass", "pass"), *arc(1, FORWARDER, PASS, "none")], "verified"),
        ([OWN, *arc(1, FORWARDER, PASS, "none", sealer="evil.example")], "failed"),
        ([OWN, *arc(1, FORWARDER, PASS, "none", sealer="forwarder.example")], "verified"),
        ([OWN, ("arc-authentication-results", f"i=1; {FORWARDER}; {PASS}")], "failed"),  # no seal
        ([results(f"{ME}; {FAIL}; arc=fail"), *arc(1, FORWARDER, PASS, "none")], "failed"),
        ([results(f"{ME}; {FAIL}"), *arc(1, FORWARDER, PASS, "none")], "failed"),
        (arc(1, FORWARDER, PASS, "none"), "unverified"),  # anybody can write this: our edge has not said arc=pass
    ],
)
def test_arc_counts_when_our_own_edge_says_the_chain_is_whole(fields: list[tuple[str, str]], trust: str) -> None:
    assert judge(*fields) == trust


def test_microsofts_form_with_its_own_arc() -> None:
    own = results("spf=pass (sender IP is 192.0.2.1) smtp.mailfrom=lists.example; dmarc=fail action=none "
                  "header.from=customer.example;compauth=pass reason=130; arc=pass (0 oda=1 ltdi=1)")  # fmt: skip
    link = arc(1, "mx.microsoft.com", f"spf=pass smtp.mailfrom=customer.example; {PASS}", "none")
    link[1] = (link[1][0], link[1][1].replace("mx.microsoft.com;", "mx.microsoft.com 1;"))
    assert judge(own, *link, ids=("microsoft365", "mx.microsoft.com")) == "verified"
    assert judge(own, *link, ids=("microsoft365",)) == "failed"


@pytest.mark.parametrize(
    "text", ["i=" * 5_000, ";" * 5_000, "i=1;" + "(" * 5_000, f"i=99999999999; {FORWARDER}; {PASS}"]
)
def test_crafted_chains_prove_nothing(text: str) -> None:
    assert judge(OWN, ("arc-authentication-results", text), ("arc-seal", text)) == "failed"


@pytest.mark.parametrize(
    "line",
    [
        'mx.desk.example; dkim=fail reason="x; dmarc=pass header.from=x.org"',
        'mx.desk.example; spf=pass smtp.mailfrom="a; dmarc=pass header.from=x.org "@evil.example',
        'mx.desk.example; spf=pass smtp.mailfrom="a\\"; dmarc=pass header.from=x.org "@evil.example',
        'mx.desk.example; spf=pass (domain of "a); dmarc=pass header.from=x.org ("@evil.example) smtp.helo=y',
        "mx.desk.example; spf=pass (a; dmarc=pass header.from=x.org) smtp.mailfrom=evil.example",
    ],
)
def test_a_local_part_in_quotes_writes_no_result(line: str) -> None:
    assert (
        authentication.judge([("authentication-results", line)], "anna@x.org", ["mx.desk.example"])[0] == "unverified"
    )


def test_quotes_around_a_value_are_read() -> None:
    line = 'mx.desk.example; dkim=pass reason="all is well (really)" header.d="x.org" header.b="a;b"'
    assert authentication.judge([("authentication-results", line)], "anna@x.org", ["mx.desk.example"])[0] == "verified"
