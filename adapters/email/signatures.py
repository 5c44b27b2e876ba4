"""DKIM signatures (RFC 6376) and ARC chains (RFC 8617) of one mail, by dkimpy, within bounds of our own.

The library parses, canonicalises header fields and does the arithmetic. Around it stand: limits on everything a
stranger chooses (key sizes, field sizes, numbers), a body hash in slices of linear time (the library's takes quadratic
time on white space and holds the interpreter for all of a large mail), and what RFC 6376 and RFC 8301 ask for and the
library does not: From must be signed, SHA-1 counts for nothing, `h=`, `s=` and `t=` of keys are heeded. A signature
with `l=` that leaves octets of the body uncovered does not count (RFC 6376 section 8.2).
"""

from __future__ import annotations

import base64
import binascii
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import dkim
from dkim.util import InvalidTagValueList, parse_tag_value

from adapters.email.lookups import NoAnswerError
from normalizer.addresses import canonical_domain
from normalizer.signed_bytes import SignedBytes

logging.getLogger("dkimpy").setLevel(logging.CRITICAL)  # what is wrong with a signature is our own evidence

MAX_SIGNATURES: Final = 5
MAX_ARC_SETS: Final = 5
MIN_RSA_BITS: Final = 1_024  # RFC 8301 section 3.2
MAX_RSA_BITS: Final = 4_096
_MAX_EXPONENT: Final = 1 << 33
_MAX_FIELD: Final = 8_192
_MAX_SIGNED_NAMES: Final = 200
_LONG_WHITE: Final = re.compile(rb"\s{200}")
_DOMAIN: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)+\Z")

Texts = Callable[[str], list[bytes]]
"""A name -> its TXT records. Raises `NoAnswerError`."""


class Signature(NamedTuple):
    """What one signature came to: a word of RFC 8601 section 2.7.1, and why it is not `pass`."""

    result: str
    domain: str
    reason: str = ""


class _NotValidError(dkim.ValidationError):  # type: ignore[misc]
    """A signature that does not count; `result` is `fail`, `permerror`, `policy` or `temperror`."""

    def __init__(self, result: str, reason: str) -> None:
        super().__init__(reason)
        self.result = result


class _Bounded:
    """Replaces how dkimpy fetches the key and hashes the body; the rest of `verify_sig_process` is the library's."""

    letter: SignedBytes
    texts: Texts
    trouble: str = ""

    def verify_sig(self, sig: dict[bytes, bytes], include_headers: list[bytes], sig_header: Any, dnsfunc: Any) -> bool:
        """Whether the signature holds. Raises `_NotValidError` and what the library raises."""
        if sig[b"a"] not in (b"rsa-sha256", b"ed25519-sha256"):
            raise _NotValidError("policy", f"{_shown(sig[b'a'])} is no longer accepted")
        if len(include_headers) > _MAX_SIGNED_NAMES or len(set(include_headers)) > 100:
            raise _NotValidError("policy", "it lists too many header fields")
        self._take_key(sig)
        rest = dict(sig)
        if b"bh" in sig:
            self._check_body(sig)
            del rest[b"bh"]  # checked; the library would hash all of the body at once
        return bool(self.verify_sig_process(rest, include_headers, sig_header, dnsfunc))  # type: ignore[attr-defined]

    def _check_body(self, sig: Mapping[bytes, bytes]) -> None:
        canonical = sig.get(b"c", b"simple/simple").lower().partition(b"/")[2] or b"simple"
        if canonical not in (b"simple", b"relaxed"):
            raise _NotValidError("permerror", "its canonical form is unknown")
        digest, size = self.letter.body_hash(relaxed=canonical == b"relaxed")
        if b"l" in sig and int(sig[b"l"] or 0) < size:
            raise _NotValidError("policy", f"it covers the first {int(sig[b'l'] or 0)} of {size} octets only")
        if base64.b64decode(re.sub(rb"\s+", b"", sig[b"bh"])) != digest:
            raise _NotValidError("fail", "the body was changed")

    def _take_key(self, sig: Mapping[bytes, bytes]) -> None:
        domain = canonical_domain(_shown(sig[b"d"]))
        selector = _shown(sig[b"s"]).lower()
        if not _DOMAIN.match(domain) or not _DOMAIN.match(f"{selector}.x"):
            raise _NotValidError("permerror", "its domain or selector is no name")
        name = f"{selector}._domainkey.{domain}"
        try:
            records = [text for text in self.texts(name) if b"p=" in text]
        except NoAnswerError as error:
            self.trouble = f"its key could not be fetched: {error}"
            raise _NotValidError("temperror", self.trouble) from error
        if not records:
            raise _NotValidError("permerror", f"there is no key at {name}")
        try:
            tags = parse_tag_value(records[0])
        except InvalidTagValueList as error:
            raise _NotValidError("permerror", "its key cannot be read") from error
        _check_key_tags(tags, sig)
        try:
            self.pk, self.keysize, self.ktag, self.seqtlsrpt = dkim.evaluate_pk(name, records[0])
        except Exception as error:  # the library lets many kinds out of a damaged key
            raise _NotValidError("permerror", "its key cannot be read") from error
        if not sig[b"a"].startswith(self.ktag):
            raise _NotValidError("permerror", "its key is of another kind")
        if self.ktag == b"rsa":
            self._check_size()

    def _check_size(self) -> None:
        """Before any arithmetic: the size is the stranger's choice, the time it takes grows with its cube."""
        if self.keysize < MIN_RSA_BITS:
            raise _NotValidError("policy", f"its key has {self.keysize} bits; below {MIN_RSA_BITS} it proves nothing")
        if self.keysize > MAX_RSA_BITS or not 2 < self.pk["publicExponent"] < _MAX_EXPONENT:
            raise _NotValidError("policy", f"its key is no usual one ({self.keysize} bits)")


class _Dkim(_Bounded, dkim.DKIM):  # type: ignore[misc]
    """One mail's signatures."""


class _Arc(_Bounded, dkim.ARC):  # type: ignore[misc]
    """One mail's chain of forwarders."""


def check_signature(letter: SignedBytes, index: int, texts: Texts) -> Signature:
    """The signature in the `index`th DKIM-Signature field, from the top. Never raises but `MemoryError`."""
    field = letter.named(b"dkim-signature")[index]
    domain = signer_of(field)
    if reason := _oversized(field):
        return Signature("policy", domain, reason)
    reader: Any = _prepared(_Dkim(), letter, texts)
    try:
        if not _covers_from(field):
            return Signature("permerror", domain, "it does not cover From")
        if reader.verify(index):
            return Signature("pass", domain)
        return Signature("fail", domain, "it does not fit the header: a signed field was changed")
    except _NotValidError as error:
        return Signature(error.result, domain, str(error))
    except dkim.ValidationError as error:
        expired = "value is past" in str(error)
        return Signature("fail" if expired else "permerror", domain, "it has expired" if expired else "it is malformed")
    except Exception as error:  # a field made to trip the library proves nothing; it must not cost the mail
        return Signature("permerror", domain, f"it cannot be read ({type(error).__name__})")


def check_chain(letter: SignedBytes, texts: Texts) -> set[int]:
    """Of a whole, valid ARC chain: the numbers of the links since which the mail is unchanged, From among it.

    Empty when there is none. A chain is whole even when its last link has rewritten the mail.
    """
    fields = [value for name, value in letter.fields if name.lower() in dkim.ARC.ARC_HEADERS]
    if not fields or len(fields) > 3 * MAX_ARC_SETS or any(_oversized(field) for field in fields):
        return set()
    reader: Any = _prepared(_Arc(), letter, texts)
    try:
        verdict, links, _ = reader.verify()
    except Exception:  # as above: a chain that cannot be read is none
        return set()
    if verdict != dkim.CV_Pass or sorted(link["instance"] for link in links) != list(range(1, len(links) + 1)):
        return set()
    covering = {_tags(field).get(b"i", b"") for field in letter.named(b"arc-message-signature") if _covers_from(field)}
    return {link["instance"] for link in links if link["ams-valid"] and b"%d" % link["instance"] in covering}


def signer_of(field: bytes) -> str:
    """The domain a signature claims (`d=`), canonical; empty when it names none."""
    domain = canonical_domain(_shown(_tags(field).get(b"d", b"")))
    return domain if _DOMAIN.match(domain) and len(domain) <= 253 else ""


def _covers_from(field: bytes) -> bool:
    return b"from" in [name.strip().lower() for name in _tags(field).get(b"h", b"").split(b":")]


def _prepared(reader: Any, letter: SignedBytes, texts: Texts) -> Any:
    reader.headers = [list(field) for field in letter.fields]
    reader.letter, reader.texts = letter, texts
    return reader


def _oversized(field: bytes) -> str:
    if len(field) > _MAX_FIELD or _LONG_WHITE.search(field):
        return "it is longer than any real one"
    return ""


def _tags(field: bytes) -> dict[bytes, bytes]:
    try:
        return dict(parse_tag_value(field[:_MAX_FIELD]))
    except InvalidTagValueList:
        return {}


def _check_key_tags(tags: Mapping[bytes, bytes], sig: Mapping[bytes, bytes]) -> None:
    """RFC 6376 section 3.6.1, on which the library is silent."""
    if not tags.get(b"p", b"").strip():
        raise _NotValidError("permerror", "its key was revoked")
    if b"h" in tags and b"sha256" not in [item.strip().lower() for item in tags[b"h"].split(b":")]:
        raise _NotValidError("permerror", "its key is not for SHA-256")
    if b"s" in tags and not {b"*", b"email"} & {item.strip().lower() for item in tags[b"s"].split(b":")}:
        raise _NotValidError("permerror", "its key is not for mail")
    flags = [item.strip().lower() for item in tags.get(b"t", b"").split(b":")]
    if b"y" in flags:
        raise _NotValidError("policy", "its domain is only testing DKIM")
    identity = sig.get(b"i", b"").rpartition(b"@")[2]
    if b"s" in flags and identity and identity.lower() != sig[b"d"].lower():
        raise _NotValidError("permerror", "its key is not for subdomains")
    try:
        base64.b64decode(re.sub(rb"\s+", b"", tags[b"p"]), validate=True)
    except binascii.Error as error:
        raise _NotValidError("permerror", "its key is no base64") from error


def _shown(value: bytes) -> str:
    return value.decode("utf-8", "replace").strip()[:253]
