"""Questions to the name server about one mail's sender: one deadline for all of them, and a bounded number.

Nothing here decides anything. No such name, and a name without such records, are an empty answer; whatever may be
different a minute later (silence, SERVFAIL, no name server) is `NoAnswerError`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cached_property
from typing import Final

import dns.exception
import dns.name
import dns.rdata
import dns.resolver

from adapters.base import NameServers

MAX_QUESTIONS: Final = 100  # an SPF record may cause 10 lookups, each of 10 names (RFC 7208 section 4.6.4)
MAX_TEXT: Final = 4_096  # octets of a TXT record; keys of 4096 bits and the longest policies are below 1,000
_MAX_RECORDS: Final = 50
_TRY_SECONDS: Final = 1.5  # then the next server, or once more
_CACHED: Final = 2_000
_SHARE: Final = 0.6  # of the time left, for one question: a silent server must not cost what others would answer
_UDP_PAYLOAD: Final = 1_232  # what passes without fragments (DNS flag day 2020); more comes by TCP


class NoAnswerError(Exception):
    """It cannot be known now; `str(error)` says why."""


class NameService:
    """The name servers of the machine, or those that were named, with a cache that all mails share."""

    def __init__(self, servers: NameServers) -> None:
        self.patience = servers.patience
        self._servers = servers

    def begin(self, deadline: float) -> Lookups:
        """Questions about one mail, until `deadline` of the monotonic clock."""
        return Lookups(self, deadline)

    @cached_property
    def resolver(self) -> dns.resolver.Resolver:
        """Raises `NoAnswerError` when the machine knows no name server."""
        named = self._servers.addresses
        try:
            resolver = dns.resolver.Resolver(configure=not named)
        except dns.resolver.NoResolverConfiguration as error:
            raise NoAnswerError("this machine knows no name server") from error
        if named:
            resolver.nameservers = list(named)
            resolver.port = self._servers.port
        resolver.timeout = _TRY_SECONDS
        resolver.cache = dns.resolver.LRUCache(_CACHED)
        resolver.use_edns(0, 0, _UDP_PAYLOAD)
        return resolver

    def ping(self) -> str:
        """One sentence about the name servers; blocks. Raises `NoAnswerError`."""
        self.begin(time.monotonic() + self.patience).records(".", "NS")
        return f"name server {self.resolver.nameservers[0]} answers"


class Lookups:
    """What is asked for one mail."""

    def __init__(self, service: NameService, deadline: float, limit: int = MAX_QUESTIONS) -> None:
        self._service = service
        self._deadline = deadline
        self._left = limit

    @property
    def seconds_left(self) -> float:
        """Until the deadline; not above 0 when it has passed."""
        return self._deadline - time.monotonic()

    def texts(self, name: str) -> list[bytes]:
        """The TXT records, the strings of each joined (RFC 6376 section 3.6.2.2, RFC 7208 section 3.3)."""
        joined = (b"".join(getattr(record, "strings", ())) for record in self.records(name, "TXT"))
        return [text for text in joined if len(text) <= MAX_TEXT]

    def records(self, name: str, kind: str) -> Sequence[dns.rdata.Rdata]:
        """The records of that type, aliases followed. Raises `NoAnswerError`."""
        self._left -= 1
        if self._left < 0:
            raise NoAnswerError("too many names had to be looked up")
        patience = self.seconds_left * _SHARE
        if patience <= 0:
            raise NoAnswerError("the name servers took too long")
        try:
            answer = self._service.resolver.resolve(
                dns.name.from_text(name), kind, lifetime=patience, search=False, raise_on_no_answer=False
            )
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer, dns.name.LabelTooLong, dns.name.NameTooLong):
            return ()
        except (dns.name.EmptyLabel, dns.name.BadEscape, dns.name.IDNAException, UnicodeError):
            return ()
        except dns.exception.Timeout as error:
            raise NoAnswerError("the name servers took too long") from error
        except (dns.exception.DNSException, OSError) as error:
            raise NoAnswerError(f"the name servers could not answer ({type(error).__name__})") from error
        return list(answer.rrset or ())[:_MAX_RECORDS]
