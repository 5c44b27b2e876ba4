"""Authentication-Results (RFC 8601) of servers we trust -> how far the author's address is proven, and by what.

Read tolerantly: clause by clause on `;`, comments dropped, no grammar that a strange clause could break. Microsoft 365
writes no authserv-id at all; the configured id `microsoft365` stands for that form.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

from normalizer import headers
from normalizer.addresses import canonical_domain
from normalizer.message import Trust

NO_ID: Final = "microsoft365"
_CLAUSE: Final = re.compile(r"\s*([a-z0-9._-]{1,40})\s{0,9}=\s{0,9}([a-z]{1,20})", re.IGNORECASE)
_PROPERTY: Final = re.compile(r"([a-z]{1,20}\.[a-z0-9_-]{1,40})\s{0,9}=\s{0,9}\"?([^\s;\"]{1,320})", re.IGNORECASE)


class Verdict(NamedTuple):
    """`evidence` is one sentence for people."""

    trust: Trust
    evidence: str


class _Result(NamedTuple):
    method: str
    result: str
    properties: dict[str, str]


def judge(fields: Iterable[tuple[str, str]], author: str, authserv_ids: Collection[str]) -> Verdict:
    """Trust in the From address `author`, from the topmost Authentication-Results of a configured server.

    Only the topmost one counts: a sender can write that server's name into his own mail, but not above its own line.
    """
    if not authserv_ids:
        return Verdict("unverified", "no mail server is configured whose check of senders we trust")
    wanted = {item.lower() for item in authserv_ids}
    for name, value in fields:
        if name != "authentication-results":
            continue
        server, results = _read(value[:8_192])
        if (server or NO_ID) in wanted:
            return _verdict(results, author.rpartition("@")[2], server or "Microsoft 365")
    return Verdict("unverified", "none of the configured mail servers checked the sender")


def _read(value: str) -> tuple[str, list[_Result]]:
    clauses = headers.drop_comments(value).split(";")[:50]
    first = clauses[0].strip()
    server = ""
    if first and "=" not in first:
        server = first.split()[0].lower()  # a version may follow the id
        clauses = clauses[1:]
    results = []
    for clause in clauses:
        match = _CLAUSE.match(clause)
        if match:
            properties = {key.lower(): text.lower() for key, text in _PROPERTY.findall(clause)}
            results.append(_Result(match.group(1).lower(), match.group(2).lower(), properties))
    return server, results


def _verdict(results: list[_Result], domain: str, server: str) -> Verdict:
    for method, result, properties in results:
        if method == "dmarc":
            claimed = canonical_domain(properties.get("header.from", domain).rpartition("@")[2])
            if result == "pass" and claimed == domain:
                return Verdict("verified", f"{server}: dmarc=pass for {domain}")
            if result == "fail":
                return Verdict("failed", f"{server}: dmarc=fail for {claimed}")
    for method, result, properties in results:
        signer = properties.get("header.d") or properties.get("header.i", "").rpartition("@")[2]
        if method == "dkim" and result == "pass" and _aligned(signer, domain):
            return Verdict("verified", f"{server}: dkim=pass by {signer}")
    for method, result, properties in results:
        sender = properties.get("smtp.mailfrom", "").rpartition("@")[2]
        if method == "spf" and result == "pass" and _aligned(sender, domain):
            return Verdict("verified", f"{server}: spf=pass for {sender}")
    said = ", ".join(f"{item.method}={item.result}" for item in results[:6]) or "nothing"
    return Verdict("unverified", f"{server}: {said}; nothing that proves {domain or 'the sender'}"[:300])


def _aligned(signer: str, domain: str) -> bool:
    """The same domain, or a parent of it that is not a bare top level (relaxed alignment without a suffix list)."""
    signer = canonical_domain(signer)
    return bool(signer) and (signer == domain or ("." in signer and domain.endswith("." + signer)))
