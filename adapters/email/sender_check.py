"""Our own check of who sent a mail (DKIM, SPF, DMARC, ARC), for inboxes whose edge server does not do it.

Done on the bytes as they arrived, in a few threads of its own and within a few seconds: name servers that are slow or
away make an author `unverified`, with the reason, and never a mail late, refused or lost. Whatever a trusted server in
front has written (Authentication-Results) goes before it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Final

from publicsuffixlist import PublicSuffixList

from adapters.base import NameServers, Raw, TemporaryError
from adapters.email.arrival import Arrival, Provider, UnreadableError
from adapters.email.lookups import Lookups, NameService, NoAnswerError
from adapters.email.options import EmailOptions
from adapters.email.sender_policy import check_client
from adapters.email.signatures import MAX_SIGNATURES, check_chain, check_signature, signer_of
from normalizer import addresses, authentication, dmarc, headers
from normalizer.authentication import CHECKED, Checked, Verdict
from normalizer.signed_bytes import AmbiguousError, SignedBytes

log = logging.getLogger(__name__)

_THREADS: Final = 4
_FOR_QUESTIONS: Final = 0.9  # of the patience; the rest is for saying what was found out by then
_OLDEST: Final = timedelta(days=7)  # of a mail in a mailbox; keys are changed, and old ones published on purpose
_READ: Final = frozenset({"from", "received", "authentication-results", "arc-seal", "arc-authentication-results"})


class SenderCheck:
    """The check of one inbox."""

    def __init__(self, options: EmailOptions, names: NameServers) -> None:
        self._options = options
        self._names = NameService(names)
        self._relays = [ipaddress.ip_network(item, strict=False) for item in options.relays]
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="senders")

    async def examine(self, raw: Raw, provider: Provider | None) -> Raw:
        """The arrival with the result among its facts. Never raises; takes no longer than the name servers' patience,
        and what the reading of one mail takes."""
        try:
            checked = await self._bounded(raw, provider)
        except TimeoutError:
            checked = Checked("", _not_known(f"not done within {self._names.patience:g} s"))
        except Exception:  # a bug here must not cost the mail
            log.exception("the sender of a mail could not be checked")
            checked = Checked("", _not_known("the check failed"))
        return raw if checked is None else replace(raw, facts={**raw.facts, CHECKED: checked.as_fact()})

    async def reach(self) -> str:
        """For `frontdesk check`. Raises `TemporaryError`."""
        try:
            answer = await asyncio.get_running_loop().run_in_executor(self._pool, self._names.ping)
        except NoAnswerError as error:
            raise TemporaryError(f"senders cannot be checked: {error}") from error
        return f"checks senders by DKIM, SPF and DMARC; {answer}"

    async def _bounded(self, raw: Raw, provider: Provider | None) -> Checked | None:
        if reason := self._reason_not_to(raw, datetime.now(UTC)):
            return Checked("", _not_known(reason))
        deadline = time.monotonic() + self._names.patience * _FOR_QUESTIONS
        async with asyncio.timeout(self._names.patience):
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pool, self._check, raw, provider, deadline)

    def _reason_not_to(self, raw: Raw, now: datetime) -> str:
        """What is not of today is not checked: keys and addresses of the past are gone, and prove nothing by that."""
        facts = raw.facts
        if facts.get("held"):
            return "only its header was fetched"
        if "source" in facts and "mailbox" not in facts:
            return "it was read from a file"
        came = raw.came_at
        if came is None and facts.get("internal_date"):
            came = datetime.fromisoformat(str(facts["internal_date"]))
        if came is None:
            return "nobody knows when it came to the mailbox" if "mailbox" in facts else ""
        return f"it came on {came:%Y-%m-%d}" if now - came.astimezone(UTC) > _OLDEST else ""

    # -- in a thread ----------------------------------------------------------------------------------------------

    def _check(self, raw: Raw, provider: Provider | None, deadline: float) -> Checked | None:
        """None: another word counts, or nobody in particular wrote it."""
        mail, facts = raw.body, raw.facts
        if provider is not None:
            try:
                arrival = provider.unwrap(raw)
            except UnreadableError:
                return None
            if not isinstance(arrival, Arrival):
                return None
            if arrival.original_type:
                return Checked("", _not_known(f"{provider.name} passed on its fields, not the mail itself"))
            mail, facts = arrival.mail, {"mail_from": arrival.facts.get("mail_from"), "protocol": provider.name}
        if len(mail) > self._options.max_bytes:
            return None
        try:
            letter = SignedBytes(mail)
        except AmbiguousError as error:
            return Checked("", _not_known(str(error)))
        fields = _fields(letter)
        author = _author(fields)
        domain = author.rpartition("@")[2]
        trusted, beneath = self._options.authserv_ids, self._options.authserv_beneath
        if not domain or authentication.judge(fields, author, trusted, beneath=beneath) not in authentication.SILENT:
            return None
        if not signer_of(b"d=" + domain.encode("ascii", "replace")):
            return Checked(author, _not_known(f"{domain[:100]} is no domain on the Internet"))
        return Checked(author, self._judge(letter, fields, domain, facts, self._names.begin(deadline)))

    def _judge(
        self,
        letter: SignedBytes,
        fields: list[tuple[str, str]],
        domain: str,
        facts: Mapping[str, Any],
        lookups: Lookups,
    ) -> Verdict:
        """Signatures first: they need fewer questions, and survive forwarding. Those of strangers come last: they prove
        nothing about the author, and their name servers could use up the time for what does."""
        policy, unknown = self._policy(domain, lookups)
        organisation = self._organisation(domain)
        own, strange = self._signatures(letter, organisation)
        checks = [self._signature(letter, index, lookups) for index in own]
        verdict = dmarc.judge(domain, organisation, checks, policy, unknown=unknown)
        if verdict.trust == "verified":
            return verdict
        checks.append(self._client(facts, lookups))
        verdict = dmarc.judge(domain, organisation, checks, policy, unknown=unknown)
        if verdict.trust == "verified":
            return verdict
        forwarded = self._forwarded(letter, fields, domain, lookups)
        if forwarded is not None:
            return forwarded
        checks += [self._signature(letter, index, lookups) for index in strange]
        return dmarc.judge(domain, organisation, checks, policy, unknown=unknown)

    def _policy(self, domain: str, lookups: Lookups) -> tuple[dmarc.Policy | None, str]:
        """What the domain publishes, else the organisational domain above it (RFC 7489 section 6.6.3)."""
        organisation = self._organisation(domain)
        try:
            policy = dmarc.read_policy(_texts(lookups, f"_dmarc.{domain}"), inherited=False)
            if policy is None and organisation != domain:
                policy = dmarc.read_policy(_texts(lookups, f"_dmarc.{organisation}"), inherited=True)
        except NoAnswerError as error:
            return None, str(error)
        return policy, ""

    def _signatures(self, letter: SignedBytes, organisation: str) -> tuple[list[int], list[int]]:
        """Which signatures could prove the author and which could not; no more than a few in all are looked at."""
        signers = [self._organisation(signer_of(field)) for field in letter.named(b"dkim-signature")]
        own = [index for index, signer in enumerate(signers) if signer == organisation][:MAX_SIGNATURES]
        strange = [index for index, signer in enumerate(signers) if signer != organisation]
        return own, strange[: MAX_SIGNATURES - len(own)]

    def _signature(self, letter: SignedBytes, index: int, lookups: Lookups) -> dmarc.Check:
        found = check_signature(letter, index, lookups.texts)
        organisation = self._organisation(found.domain)
        open_ = found.result == "temperror"
        return dmarc.Check("dkim", found.result, found.domain, organisation, found.reason, open=open_)

    def _client(self, facts: Mapping[str, Any], lookups: Lookups) -> dmarc.Check:
        sender = str(facts.get("mail_from") or "")
        client, reason = self._client_address(facts)
        if not client:
            domain = addresses.canonical_domain(sender.rpartition("@")[2])
            return dmarc.Check("spf", "none", domain, self._organisation(domain), reason, open=True)
        found = check_client(client, sender, str(facts.get("helo") or ""), lookups)
        domain = addresses.canonical_domain(found.domain)
        return dmarc.Check(
            "spf", found.result, domain, self._organisation(domain), found.reason, open=found.result == "temperror"
        )

    def _client_address(self, facts: Mapping[str, Any]) -> tuple[str, str]:
        """The address the mail came from, or why there is none that says something about the sender."""
        if facts.get("protocol") != "smtp":
            return "", "no client address"
        remote = str(facts.get("remote") or "")
        try:
            address = ipaddress.ip_address(remote.partition("%")[0])
        except ValueError:
            return "", "no client address"
        mapped = getattr(address, "ipv4_mapped", None)
        address = mapped or address
        if not address.is_global or any(address in network for network in self._relays):
            return "", f"handed over by {address}, a server of our own network"
        return str(address), ""

    def _forwarded(
        self, letter: SignedBytes, fields: list[tuple[str, str]], domain: str, lookups: Lookups
    ) -> Verdict | None:
        """What a trusted server saw before it forwarded the mail: its name among `authserv_ids`, its own seal below."""
        wanted = {item.lower() for item in self._options.authserv_ids}
        said = [value.lower() for name, value in fields if name == "arc-authentication-results"]
        if not any(server in value for value in said for server in wanted):
            return None
        return authentication.forwarded(fields, domain, wanted, check_chain(letter, lookups.texts))

    def _organisation(self, domain: str) -> str:
        """The organisational domain (RFC 7489 section 3.2); a public suffix stands for itself."""
        return self._suffixes.privatesuffix(domain) or domain

    @cached_property
    def _suffixes(self) -> PublicSuffixList:
        return PublicSuffixList()


def _not_known(reason: str) -> Verdict:
    return Verdict("unverified", f"not checked here: {reason}")


def _fields(letter: SignedBytes) -> list[tuple[str, str]]:
    """The fields that say who sent it, as the reader of the mail has them."""
    names = ((name.decode("ascii").lower(), value) for name, value in letter.fields)
    return [(name, headers.unfold(value[:8_192])) for name, value in names if name in _READ]


def _author(fields: list[tuple[str, str]]) -> str:
    """The address in From; empty unless there is one field with one address, which alone can be proven."""
    lines = [value for name, value in fields if name == "from"]
    claimed = addresses.parse_addresses(lines[0], 2) if len(lines) == 1 else []
    return claimed[0].value if len(claimed) == 1 else ""


def _texts(lookups: Lookups, name: str) -> list[str]:
    return [text.decode("utf-8", "replace") for text in lookups.texts(name)]
