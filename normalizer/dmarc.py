"""DMARC (RFC 7489): what a domain asks of mail in its name, and how far the checks of one mail answer it.

Signatures and addresses were checked elsewhere; here are only values: what each check proved and for which domain, what
the domain of the From line published, and the verdict on the author that follows from both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from normalizer.authentication import Verdict

Request = Literal["none", "quarantine", "reject"]

_REQUESTS: Final[tuple[Request, ...]] = ("none", "quarantine", "reject")
_MAX_RECORD: Final = 4_096
_MAX_TAGS: Final = 50
_MAX_EVIDENCE: Final = 600


class Check(NamedTuple):
    """One proof that was tried. `result` is a word of RFC 8601 section 2.7; `pass` is the only one that proves.

    `domain` is whom it is about (DKIM's `d=`, the domain of MAIL FROM or HELO), `organisation` that domain's
    organisational domain. `open`: it could not be decided now, so its lack of success says nothing.
    """

    method: Literal["dkim", "spf"]
    result: str
    domain: str = ""
    organisation: str = ""
    reason: str = ""
    open: bool = False

    def __str__(self) -> str:
        about = ", ".join(part for part in (self.domain, self.reason) if part)
        return f"{self.method}={self.result}" + (f" ({about})" if about else "")


@dataclass(frozen=True, slots=True)
class Policy:
    """What a domain owner asks for. `request` holds for all of the mail, see `read_policy`."""

    request: Request = "none"
    strict_dkim: bool = False
    strict_spf: bool = False


def read_policy(records: Iterable[str], *, inherited: bool) -> Policy | None:
    """The policy among the TXT records of one `_dmarc` name; None when it publishes none (section 6.6.3).

    `inherited`: the records stand at the organisational domain and the author's is one below it, so `sp=` counts. What
    is asked of a share of the mail only (`pct=` below 100, or `t=y` of its successor) is taken one step milder for all
    of it (section 6.6.4): no mail is judged by chance.
    """
    found = [tags for record in records if (tags := _tags(record[:_MAX_RECORD]))]
    if len(found) != 1:
        return None
    tags = found[0]
    wanted = tags.get("sp", tags.get("p", "")) if inherited else tags.get("p", "")
    request = _request(wanted.lower())
    if request is None:
        if "mailto:" not in tags.get("rua", "").lower():
            return None
        request = "none"
    if _in_part(tags):
        request = _REQUESTS[max(_REQUESTS.index(request) - 1, 0)]
    return Policy(request, tags.get("adkim", "").lower() == "s", tags.get("aspf", "").lower() == "s")


def judge(
    domain: str, organisation: str, checks: Sequence[Check], policy: Policy | None, *, unknown: str = ""
) -> Verdict:
    """Trust in an author at `domain`, of which `organisation` is the organisational domain.

    `unknown` says why the policy could not be asked for: then only proofs for exactly this domain count, which every
    policy accepts, and nothing has failed.
    """
    rules = policy or Policy()
    if unknown:
        rules = Policy(strict_dkim=True, strict_spf=True)
    for check in checks:
        if check.result == "pass" and _aligned(check, domain, organisation, rules):
            return Verdict("verified", _sentence(f"{check}", _published(domain, policy, unknown)))
    undecided = [check for check in checks if check.open and _may_align(check, domain, organisation, rules)]
    said = ", ".join(str(check) for check in checks) or "no signature"
    tail = _published(domain, policy, unknown)
    if policy is not None and policy.request != "none" and not unknown and not undecided:
        return Verdict("failed", _sentence(said, f"nothing proves {domain}, and {tail}"))
    return Verdict("unverified", _sentence(said, f"nothing proves {domain}", tail))


def _published(domain: str, policy: Policy | None, unknown: str) -> str:
    if unknown:
        return f"the policy of {domain} could not be asked for: {unknown}"
    if policy is None:
        return f"{domain} publishes no policy"
    return f"the policy of {domain} is {policy.request}"


def _sentence(*parts: str) -> str:
    return f"checked here: {'; '.join(parts)}"[:_MAX_EVIDENCE]


def _aligned(check: Check, domain: str, organisation: str, rules: Policy) -> bool:
    """Section 3.1: strict is the same domain, relaxed the same organisational domain."""
    if not check.domain:
        return False
    if check.domain == domain:
        return True
    strict = rules.strict_dkim if check.method == "dkim" else rules.strict_spf
    return not strict and check.organisation == organisation


def _may_align(check: Check, domain: str, organisation: str, rules: Policy) -> bool:
    return not check.domain or _aligned(check, domain, organisation, rules)


def _tags(record: str) -> dict[str, str]:
    """The tags of a DMARC record; empty when it is none. `v=DMARC1` must stand first (section 6.3)."""
    pairs = [part.partition("=") for part in record.split(";")[:_MAX_TAGS] if "=" in part]
    if not pairs or pairs[0][0].strip().lower() != "v" or pairs[0][2].strip() != "DMARC1":
        return {}
    tags: dict[str, str] = {}
    for name, _, value in pairs:
        tags.setdefault(name.strip().lower(), value.strip())
    return tags


def _request(word: str) -> Request | None:
    return next((request for request in _REQUESTS if request == word), None)


def _in_part(tags: dict[str, str]) -> bool:
    share = tags.get("pct", "100")
    below = share.isascii() and share.isdecimal() and len(share) <= 3 and int(share) < 100
    return below or tags.get("t", "").lower() == "y"
