"""Senders that somebody on the way wrote anew: mailing lists, groups, forwarders.

    From: 'Ann Lee' via Support <support@desk.example>     a group or list, for senders whose domain wants to be checked
    X-Original-From: Ann Lee <ann@customer.example>        (RFC 7960 section 4.1.3); Google Groups
    Reply-To: Ann Lee <ann@customer.example>, <list@...>   Mailman
    From: Ann via Shop <ann=customer.example@groups.io>    groups.io
    MAIL FROM:<SRS0=x=y=customer.example=ann@relay.example> a forwarder (Sender Rewriting Scheme)
    MAIL FROM:<info+caf_=support=desk.example@gmail.com>   Gmail's automatic forwarding: the mailbox, not the writer
    MAIL FROM:<prvs=1234abcdef=ann@customer.example>       bounce address tag validation

What these fields say is a claim: whether it is believed is the caller's decision.
"""

from __future__ import annotations

import re
from typing import Final

from normalizer.addresses import Address, canonical_email, email_shaped, parse_addresses
from normalizer.mime import Mail

_VIA: Final = re.compile(r"(\S.{0,200}?)\s(?:via|durch|par|tramite|через|por|through)\s\S", re.IGNORECASE)
_LIST_FIELDS: Final = frozenset({
    "list-id", "list-post", "mailing-list", "x-google-group-id", "x-original-from", "x-original-sender",
})  # fmt: skip
_ENCODED: Final = re.compile(r"([^=@\s]{1,64})=([a-z0-9.-]{1,200}\.[a-z]{2,24})@", re.IGNORECASE)
_SRS0: Final = re.compile(r"srs0[=+-][^=@]{1,20}=[^=@]{1,10}=([^=@\s]{1,255})=([^@\s]{1,64})@", re.IGNORECASE)
_SRS1: Final = re.compile(
    r"srs1[=+-][^=@]{1,20}=[^=@]{1,255}=[=+-][^=@]{1,20}=[^=@]{1,10}=([^=@\s]{1,255})=([^@\s]{1,64})@", re.IGNORECASE
)
_TAGGED: Final = re.compile(
    r"(?:prvs=[0-9a-f]{6,16}=|btv1==[^=@]{1,20}==)([^@\s]{1,64}@[^@\s]{1,255})\Z", re.IGNORECASE
)


def looks_rewritten(display_name: str) -> bool:
    """Does the name say that the mail came through somebody (`Ann via Support`)?"""
    return _VIA.match(display_name) is not None


def is_rewritten(mail: Mail, display_name: str) -> bool:
    """Is From the address of a list or group that speaks for the writer? The name and the list's own fields say so."""
    return looks_rewritten(display_name) and any(name in _LIST_FIELDS for name, _ in mail.fields)


def original_author(mail: Mail, value: str, display_name: str) -> Address | None:
    """Who wrote a mail whose From (`value`) was rewritten, as its fields say; None when they do not."""
    match = _VIA.match(display_name)
    name = match.group(1).strip("'\" ") if match else ""
    for field in ("x-original-from", "x-original-sender"):
        for found in parse_addresses(mail.raw(field), 1):
            if email_shaped(found.value) and found.value != value:
                return Address(found.value, found.display_name or name)
    if encoded := _ENCODED.match(value):
        return Address(canonical_email("@".join(encoded.groups())), name)
    answers = {found.value: found for found in parse_addresses(mail.raw("reply-to"), 5)}
    addressed = {found.value for field in ("to", "cc", "list-post") for found in parse_addresses(mail.raw(field), 50)}
    others = [found for found in answers.values() if found.value != value and found.value not in addressed]
    if len(others) == 1 and email_shaped(others[0].value):
        return Address(others[0].value, others[0].display_name or name)
    return None


def behind_envelope(sender: str) -> str:
    """The writer behind an envelope sender that a forwarder made; empty when it only names the forwarder."""
    if "+caf_=" in sender.lower():
        return ""
    if match := _SRS0.match(sender) or _SRS1.match(sender):
        domain, local = match.groups()
        return canonical_email(f"{local}@{domain}")
    if match := _TAGGED.match(sender):
        return canonical_email(match.group(1))
    return sender
