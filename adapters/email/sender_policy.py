"""SPF (RFC 7208): may this client send mail for that domain? By pyspf, with our own lookups under it.

The library's limits are the RFC's: 10 lookups, 10 names behind each, 2 that find nothing. Ours come on top: the mail's
deadline and number of questions, and the length of what a record may say.
"""

from __future__ import annotations

import re
import warnings
from typing import Any, Final, NamedTuple

from adapters.email.lookups import Lookups, NoAnswerError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # escapes in its patterns, which later Pythons complain about
    import spf

_MAX_TERM: Final = 300  # a domain name and some macro around it
_MAX_ADDRESS: Final = 320
_HOST: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})?(?:\.[A-Za-z0-9_-]{1,63})+\.?\Z")


class Permission(NamedTuple):
    """A word of RFC 7208 section 2.6, the domain that was asked, and what a person should know about it."""

    result: str
    domain: str
    reason: str = ""


def check_client(client: str, mail_from: str, helo: str, lookups: Lookups) -> Permission:
    """Whether the host with the address `client` may use `mail_from`; for the empty sender it is HELO's name that
    counts (section 2.4). Never raises."""
    domain = (mail_from.rpartition("@")[2] if mail_from else helo).strip().rstrip(".").lower()
    if len(mail_from) > _MAX_ADDRESS or len(domain) > 253 or not _HOST.match(domain):
        return Permission("none", "", "the sender in the envelope has no domain")
    try:
        result, _, text = _Query(client, mail_from, domain if not mail_from else helo[:253], lookups).check()
    except NoAnswerError as error:  # inside a place of the library that expects nothing of the kind
        return Permission("temperror", domain, str(error))
    except Exception as error:  # a record made to trip the library
        return Permission("permerror", domain, f"its record cannot be read ({type(error).__name__})")
    if result in ("permerror", "temperror"):
        return Permission(result, domain, str(text).partition("Error: ")[2][:100])
    return Permission(str(result), domain, f"client {client}" if result != "none" else "no record")


class _Query(spf.query):  # type: ignore[misc]
    """One check; `dns` is the library's only way to the network."""

    def __init__(self, client: str, sender: str, helo: str, lookups: Lookups) -> None:
        super().__init__(i=client, s=sender, h=helo, strict=True)
        self._lookups = lookups

    def dns(self, name: str, qtype: str, cnames: Any = None, ignore_void: bool = False) -> list[Any]:
        """The records of that type; as the library wants them."""
        try:
            found = [_plain(record, qtype) for record in self._lookups.records(str(name).rstrip("."), qtype)]
        except NoAnswerError as error:
            raise spf.TempError(str(error)) from error
        if qtype == "TXT":
            found = [strings for strings in found if _bounded(b"".join(strings))]
        if not found and not ignore_void:
            self.void_lookups += 1
            if self.void_lookups > spf.MAX_VOID_LOOKUPS:
                raise spf.PermError("Too many lookups that find nothing")
        return found


def _plain(record: Any, kind: str) -> Any:
    if kind in ("A", "AAAA"):
        return record.address
    if kind == "MX":
        return record.preference, record.exchange.to_text(omit_final_dot=True)
    if kind == "PTR":
        return record.target.to_text(omit_final_dot=True)
    return record.strings


def _bounded(text: bytes) -> bool:
    """Some of the library's patterns take quadratic time on a long term."""
    if len(text) > 4_096 or any(len(term) > _MAX_TERM for term in text.split(b" ")):
        if text.lower().startswith(b"v=spf1"):
            raise spf.PermError("The record is longer than any real one")
        return False
    return True
