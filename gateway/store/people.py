"""Who wrote: customers and their identities, found or made while deliveries are recorded (DESIGN 8).

Identities join one customer only on proof (`claims.py`) or by a person's decision (`joining.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Select, Table, Update, select, update

from gateway.store import tables as t
from gateway.store.paging import Row
from gateway.store.rows import identity_row
from gateway.store.values import one_of
from gateway.store.writing import Change, Writes, change_all
from normalizer.addresses import canonical_domain, canonical_email
from normalizer.message import Author, Message, Recipient
from normalizer.rewritten import looks_rewritten
from normalizer.thread_keys import looks_like_forward

Take = Callable[[Table], int]


@dataclass(frozen=True, slots=True)
class Ours:
    """The desk's own addresses: they write to us when an alias or a rule sends our mail back, and are nobody's."""

    identities: frozenset[str] = frozenset()  # `kind:value`
    domains: frozenset[str] = frozenset()  # every address of these
    agents: frozenset[str] = frozenset()  # our own people: addresses, or *@domain

    def holds(self, identity: str | None) -> bool:
        """Is this one of them? A `+tag` does not matter."""
        if not identity:
            return False
        kind, _, value = identity.partition(":")
        if kind != "email":
            return identity in self.identities
        local, _, domain = value.rpartition("@")
        bare = f"email:{local.partition('+')[0]}@{domain}"
        return domain in self.domains or identity in self.identities or bare in self.identities

    def is_agent(self, identity: str | None) -> bool:
        """Is this one of our own people?"""
        kind, _, value = (identity or "").partition(":")
        return kind == "email" and not self.agents.isdisjoint((value, f"*@{value.rpartition('@')[2]}"))


def own_addresses(inboxes: Iterable[Any]) -> Ours:
    """From the options of the configured inboxes: mail addresses, domains taken whole, X accounts."""
    identities: set[str] = set()
    domains: set[str] = set()
    agents: set[str] = set()
    for options in inboxes:
        addresses = list(getattr(options, "addresses", ()))
        taken = [item.rpartition("@")[2] for item in addresses if "*" in item]
        taken += [] if addresses else list(getattr(options, "domains", ()))
        domains |= {canonical_domain(domain) for domain in taken if domain != "*"}
        identities |= {f"email:{canonical_email(item)}" for item in addresses if "*" not in item}
        agents |= {item.strip().lower() for item in getattr(options, "agents", ())}
        if user_id := getattr(options, "user_id", ""):
            identities.add(f"x:{user_id}")
    return Ours(frozenset(identities), frozenset(domains), frozenset(agents))


def name_ours(message: Message, ours: Ours) -> Message:
    """The message with those of its addresses that are ours among the envelope's, as most roads have them there. They
    take part in nothing: whoever forges `From: support@` would take part in every ticket."""
    named = {item.value: item for item in message.recipients if item.role != "envelope"}
    known = {item.value for item in message.recipients if item.role == "envelope"}
    own = [value for value, item in named.items() if value not in known and ours.holds(item.identity)]
    if message.author.value and message.author.value not in known and ours.holds(message.author.identity):
        own.append(message.author.value)
    if not own:
        return message
    added = [Recipient(role="envelope", kind=message.author.kind, value=value) for value in dict.fromkeys(own)]
    return message.model_copy(update={"recipients": (*added, *message.recipients)})


def somebody(message: Message, ours: Ours) -> tuple[str, str] | None:
    """(kind, value) under which the author is known. None: nobody, such as a withheld number, a failed
    authentication, an address of ours, a mail system that reports, or a list, a forwarder or a colleague who passes on
    what others wrote."""
    author = message.author
    if author.identity is None or author.trust == "failed" or ours.holds(author.identity):
        return None
    if speaks_for_others(message) or is_mail_system(message):
        return None
    if ours.is_agent(author.identity) and looks_like_forward(message.subject):
        return None  # what was passed on names nobody: else its writer would stand here
    return author.kind, author.value or ""


def is_mail_system(message: Message) -> bool:
    """Is this a mail server's own voice? A receipt that something was read comes from who read it."""
    return any(hit.name in ("bounce", "delayed", "delivered", "feedback_report") for hit in message.automated)


def speaks_for_others(message: Message) -> bool:
    """Was From rewritten on the way (`Ann via Info <info@list.example>`)? The address is then the list's, not Ann's.

    Mailing lists and groups do this for senders whose domain asks receivers to reject what others send (RFC 7960
    section 4.1.3); they leave the author in Reply-To or X-Original-From, and say that they are a list.
    """
    if message.author.kind != "email" or not looks_rewritten(message.author.display_name):
        return False
    return bool(message.fields.get("list-id") or message.fields.get("x-original-from"))


def meet(
    writes: Writes,
    holders: Holders,
    messages: Sequence[Message],
    now: datetime,
    take: Take,
    ours: Ours | None = None,
) -> dict[UUID, int | None]:
    """The customer of each message, by receipt: found by their identity, or new; None for nobody.

    Set-based, under the ledger lock, so two first contacts at once are one customer. A verified author proves the
    identity from then on; nothing ever makes it less proven.
    """
    ours = ours or Ours()
    keys = {message.receipt_id: somebody(message, ours) for message in messages}
    found = holders.look_up(key for key in keys.values() if key)
    met: dict[UUID, int | None] = {}
    for message in messages:
        key, author = keys[message.receipt_id], message.author
        if key is None:
            met[message.receipt_id] = None
            continue
        if key not in found:
            holders.welcome(writes, author, message.language, now, take)
        elif author.trust == "verified":
            holders.prove(writes, key, author.evidence)
        met[message.receipt_id] = found[key]
    return met


def meet_callers(
    writes: Writes, holders: Holders, callers: Sequence[tuple[int | None, Author]], now: datetime, take: Take
) -> list[int | None]:
    """Who called, when a later fact says it first: of each (customer so far, author) the customer from now on, which
    is the one so far when nothing is known of the author."""
    keys = [
        (author.kind, author.value or "") if author.identity and author.trust != "failed" else None
        for _, author in callers
    ]
    found = holders.look_up(key for key in keys if key)
    for (_, author), key in zip(callers, keys, strict=True):
        if key and key not in found:
            holders.welcome(writes, author, "", now, take)
    return [found[key] if key else current for (current, _), key in zip(callers, keys, strict=True)]


class Holders:
    """Customers by the identity (kind, value) they hold, each asked for once while a batch is recorded."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._asked: set[tuple[str, str]] = set()
        self._found: dict[tuple[str, str], int] = {}
        self._proven: set[tuple[str, str]] = set()
        self._new: dict[tuple[str, str], Row] = {}  # not written yet

    def look_up(self, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """All that are known once these have been asked for as well."""
        unasked = set(keys) - self._asked
        return self.learn(unasked, _find(self._conn, unasked)) if unasked else self._found

    def learn(self, asked: Iterable[tuple[str, str]], answer: Iterable[Any]) -> dict[tuple[str, str], int]:
        """The same when somebody has asked already: `answer` is what `HOLDERS` found."""
        self._asked.update(asked)
        for row in answer:
            self._found[row.kind, row.value] = row.customer_id
            if row.trust == "verified":
                self._proven.add((row.kind, row.value))
        return self._found

    def welcome(self, writes: Writes, author: Author, language: str, now: datetime, take: Take) -> None:
        """A new customer with this identity."""
        number, key = take(t.customers), (author.kind, author.value or "")
        self._found[key] = number
        self._new[key] = {"id": take(t.identities), **identity_row(author, number, now)}
        writes.add(t.customers, [_customer_row(number, author.display_name, language, now)])
        writes.add(t.identities, [self._new[key]])

    def prove(self, writes: Writes, key: tuple[str, str], evidence: str) -> None:
        """An identity that is known is proven now, unless it was."""
        if key in self._proven:
            return
        self._proven.add(key)
        new = self._new.get(key)
        if new is None:
            writes.change(PROVING, [{"kind": key[0], "value": key[1], "source": evidence}])
        elif new["trust"] != "verified":
            new |= {"trust": "verified", "source": evidence}


def find_holders(conn: Connection, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Customers by the identity they hold."""
    wanted = set(keys)
    found = _find(conn, wanted) if wanted else ()
    return {key: row.customer_id for row in found if (key := (row.kind, row.value)) in wanted}


def _find(conn: Connection, keys: Iterable[tuple[str, str]]) -> Sequence[Any]:
    return conn.execute(HOLDERS, {"identities": {value for _, value in keys}}).all()


_I: Final = t.identities.c


def holders_of(identities: str | Select[Any]) -> Select[Any]:
    """Who holds these: by value, as they are indexed, as few are the same for two kinds."""
    return select(_I.kind, _I.value, _I.customer_id, _I.trust).where(one_of(_I.value, identities))


HOLDERS: Final = holders_of("identities")


def _customer_row(number: int, name: str, language: str, now: datetime) -> Row:
    row = {"id": number, "name": name, "language": language, "attributes": {}, "merged_into": None, "external_id": None}
    return row | {"created_at": now, "updated_at": now}


def prove(conn: Connection, kind: str, value: str, source: str) -> None:
    """An identity is proven now."""
    change_all(conn, PROVING, [{"kind": kind, "value": value, "source": source}])


def _prove(given: Mapping[str, ColumnElement[Any]]) -> Update:
    """Nothing makes one less proven."""
    whose = update(t.identities).where(_I.value == given["value"], _I.kind == given["kind"], _I.trust != "verified")
    return whose.values(trust="verified", source=given["source"])


PROVING: Final = Change(_I.value, (_I.value, _I.kind, _I.source), _prove)
