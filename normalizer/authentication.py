"""Authentication-Results (RFC 8601) of servers we trust -> how far the author's address is proven, and by what.

Read tolerantly: clause by clause on `;`, comments dropped, no grammar that a strange clause could break. Microsoft 365
writes no authserv-id at all; the configured id `microsoft365` stands for that form. Nothing is looked up: checking
DKIM, SPF and DMARC ourselves is the shell's business, and its result arrives here as one more trusted field.

A trusted name proves nothing by itself: a sender can write it. RFC 8601 section 5 makes our edge remove such fields,
and section 4 makes the field a trace field, so what stands above the edge's own Received line was not there when the
mail came. Milters of Postfix and Gmail write directly beneath that line, where a sender's own topmost field would stand
too; there only a failure counts, unless the operator says that the edge writes there and removes what is forged
(`beneath`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final, NamedTuple

from normalizer import headers
from normalizer.addresses import canonical_domain
from normalizer.message import Trust

NO_ID: Final = "microsoft365"
_CLAUSE: Final = re.compile(r"\s*([a-z0-9._-]{1,40})\s{0,9}=\s{0,9}([a-z]{1,20})", re.IGNORECASE)
_PROPERTY: Final = re.compile(r"([a-z]{1,20}\.[a-z0-9_-]{1,40})\s{0,9}=\s{0,9}\"?([^\s;\"]{1,320})", re.IGNORECASE)


_INSTANCE: Final = re.compile(r"\s*i\s{0,9}=\s{0,9}(\d{1,3})(?!\d)")
_SEALER: Final = re.compile(r"(?:^|;)d=([^;]{1,255})")
_BY: Final = re.compile(r"by(?<!\Sby)\s{1,9}([^\s;()]{1,255})")  # letters first: they are looked for faster


class Verdict(NamedTuple):
    """`evidence` is one sentence for people."""

    trust: Trust
    evidence: str


UNASKED: Final = Verdict("unverified", "no mail server is configured whose check of senders we trust")
UNHEARD: Final = Verdict("unverified", "none of the configured mail servers checked the sender")
BENEATH: Final = Verdict(
    "unverified",
    "what a configured mail server is said to have found stands beneath its own Received line, where senders can write"
    " too; `authserv_beneath` of the inbox says that it writes there and removes what is forged",
)
SILENT: Final = frozenset((UNASKED, UNHEARD, BENEATH))  # nobody we trust has said anything


_TRUSTS: Final[tuple[Trust, ...]] = ("verified", "unverified", "failed")
CHECKED: Final = "checked"  # the fact under which the result of our own check travels


class Checked(NamedTuple):
    """What our own check found out about `author`; about whoever it is when that is empty."""

    author: str
    verdict: Verdict

    def as_fact(self) -> dict[str, str]:
        """The JSON value under `CHECKED`."""
        return {"author": self.author, **self.verdict._asdict()}


def weigh(heard: Verdict, checked: object, author: str) -> Verdict:
    """What a server that we trust has said of `author`; where there is none, what is `checked`, the fact."""
    if heard not in SILENT or not isinstance(checked, Mapping) or checked.get("author") not in ("", author):
        return heard
    trust: Trust = next((trust for trust in _TRUSTS if trust == checked.get("trust")), "unverified")
    return Verdict(trust, str(checked.get("evidence", "")))


class _Result(NamedTuple):
    method: str
    result: str
    properties: dict[str, str]


def judge(
    fields: Iterable[tuple[str, str]], author: str, authserv_ids: Collection[str], *, beneath: bool = False
) -> Verdict:
    """Trust in the From address `author`, from the topmost Authentication-Results of a configured server.

    Only the topmost one counts, and only above the Received line of that server; with `beneath`, between that line and
    the next too, where without it only a failure counts. Everything further down is the sender's. Where no Received
    line bears a configured name, our edge cannot be told and the topmost counts.
    Where it says `arc=pass`, what a configured server said before the mail was forwarded counts too (RFC 8617).
    """
    if not authserv_ids:
        return UNASKED
    wanted = {item.lower() for item in authserv_ids}
    domain = author.rpartition("@")[2]
    known = list(fields)
    past_edge = False
    for name, value in known:
        if name == "received":
            if past_edge:
                break
            past_edge = _is_by(value, wanted)
        if name != "authentication-results":
            continue
        server, results = _read(value[:8_192])
        if (server or NO_ID) not in wanted:
            continue
        verdict = _verdict(results, domain, server or "Microsoft 365")
        rescued = any(item[:2] == ("arc", "pass") for item in results)
        if past_edge and not beneath:
            return verdict if verdict.trust == "failed" and not rescued else BENEATH  # nobody forges his own failure
        if verdict.trust != "verified" and rescued:
            return forwarded(known, domain, wanted) or verdict
        return verdict
    return UNHEARD


def _is_by(received: str, wanted: set[str]) -> bool:
    by = _BY.search(received[:2_048])
    return by is not None and by.group(1).lower().rstrip(".") in wanted


def forwarded(
    fields: list[tuple[str, str]], domain: str, wanted: set[str], unchanged: Collection[int] | None = None
) -> Verdict | None:
    """What the newest link of the ARC chain saw, if it is of a server we trust, sealed by its own domain.

    Whoever asks has already found that the chain is whole. That says who forwarded the mail, not that they left it as
    it was: below a link of a stranger, nothing is believed (RFC 8617 section 9.3 and 9.4), unless `unchanged` names the
    links since which it is.
    """
    seals = {_instance(value): value.lower() for name, value in fields if name == "arc-seal"}
    if any("cv=fail" in "".join(value.split()) for value in seals.values()):
        return None
    links = sorted(
        ((_instance(value), value) for name, value in fields if name == "arc-authentication-results"), reverse=True
    )
    for number, value in links[:50]:
        if unchanged is not None and number not in unchanged:
            continue
        server, results = _read(value[:8_192].partition(";")[2])
        seal = "".join(seals.get(number, "").split())
        sealer = _SEALER.search(seal)
        # The first link seals nothing before it (`cv=none`); every later one must have found the chain whole.
        held = "cv=pass" in seal or (number == 1 and "cv=none" in seal)
        if server not in wanted or not held or sealer is None or not _aligned(sealer.group(1), server):
            if unchanged is None:
                return None
            continue
        verdict = _verdict(results, domain, f"{server} (ARC, before forwarding)")
        if verdict.trust == "verified":
            return verdict
    return None


def _instance(value: str) -> int:
    match = _INSTANCE.match(value)
    return int(match.group(1)) if match else 0


_QUOTED: Final = re.compile(r'"((?:[^"\\]++|\\.)*+)"')
_BLANKS: Final = re.compile(r"[;=()\s]")


def _clauses(value: str) -> list[str]:
    """The clauses. What stands in quotes is one word, whatever signs are in it: a sender's local part gets there.

    A quotation mark inside a comment could be such a local part that ends the comment by itself: then there are none.
    """
    plain = headers.drop_comments(_QUOTED.sub(lambda match: f'"{_BLANKS.sub("_", match[1])}"', value))
    first, *others = plain.split(";")
    if value.count('"') != plain.count('"'):
        return [first]
    return [first, *others]


def _read(value: str) -> tuple[str, list[_Result]]:
    clauses = _clauses(value)[:50]
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
