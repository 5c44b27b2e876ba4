"""What the company's own systems say about a customer: name, language, attributes, addresses, their own number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from pydantic_core import to_json
from sqlalchemy import Connection, select, update

from gateway.store import tables as t
from gateway.store.joining import live_customer
from gateway.store.journal import CorrectionError, Hand, by_hand, invalid
from gateway.store.paging import Row
from gateway.store.people import Ours, find_holders, prove
from gateway.store.writing import insert_all

MOST_ATTRIBUTES: Final = 200
_LARGEST: Final = 65_536  # bytes of all attributes of one customer as JSON


@dataclass(frozen=True, slots=True)
class Profile:
    """What is said; None: nothing. `attributes` are added to those known, a value of None removes one. Addresses are
    canonical; `verified`: the company vouches for them."""

    name: str | None = None
    language: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    email: str | None = None
    phone: str | None = None
    external_id: str | None = None
    verified: bool = False

    def addresses(self) -> Iterator[tuple[str, str]]:
        """(kind, value) of those given."""
        yield from ((kind, value) for kind, value in (("email", self.email), ("phone", self.phone)) if value)


def update_customer(
    conn: Connection, customer_id: int, profile: Profile, *, actor: str, now: datetime, ours: Ours | None = None
) -> int:
    """Change one customer; answers the number. Raises `CorrectionError`."""
    hand = by_hand(conn, actor, now)
    row = live_customer(conn, customer_id)
    _apply(hand, row, profile, ours or Ours())
    return customer_id


def create_or_update(
    conn: Connection, profile: Profile, *, actor: str, now: datetime, ours: Ours | None = None
) -> tuple[int, bool]:
    """Change the customer with this external_id, e-mail address or phone number, or make one: (number, is it new).

    Raises `CorrectionError`, also when they belong to different customers.
    """
    hand = by_hand(conn, actor, now)
    found = _find(conn, profile)
    if found is not None:
        _apply(hand, live_customer(conn, found), profile, ours or Ours())
        return found, False
    if not (profile.name or profile.external_id or any(True for _ in profile.addresses())):
        raise invalid("name", "give at least a name, an email, a phone or an external_id")
    number = hand.take(t.customers)
    row = {"id": number, "name": "", "language": "", "attributes": {}, "merged_into": None, "external_id": None}
    insert_all(conn, t.customers, [row | {"created_at": now, "updated_at": now}])
    _apply(hand, row, profile, ours or Ours())
    return number, True


def _find(conn: Connection, profile: Profile) -> int | None:
    held: dict[str, int] = {}
    if profile.external_id:
        number = _by_external_id(conn, profile.external_id)
        held |= {"external_id": number} if number is not None else {}
    holders = find_holders(conn, profile.addresses())
    held |= {kind: holders[kind, value] for kind, value in profile.addresses() if (kind, value) in holders}
    if len(set(held.values())) > 1:
        whose = ", ".join(f"{name} is user {number}'s" for name, number in held.items())
        raise CorrectionError("invalid", f"they belong to different users ({whose}); merge those first", list(held)[-1])
    return next(iter(held.values()), None)


def _by_external_id(conn: Connection, external_id: str) -> int | None:
    return conn.scalar(select(t.customers.c.id).where(t.customers.c.external_id == external_id))


def _apply(hand: Hand, row: Row, profile: Profile, ours: Ours) -> None:
    values: Row = {"updated_at": hand.now}
    if profile.name is not None:
        values["name"] = profile.name
    if profile.language is not None:
        values["language"] = profile.language
    if profile.attributes:
        values["attributes"] = _merged(row["attributes"], profile.attributes)
    if profile.external_id is not None:
        owner = _by_external_id(hand.conn, profile.external_id)
        if owner not in (None, row["id"]):
            raise invalid("external_id", f"this external_id is user {owner}'s")
        values["external_id"] = profile.external_id
    hand.conn.execute(update(t.customers).where(t.customers.c.id == row["id"]).values(values))
    for kind, value in profile.addresses():
        _give_address(hand, row["id"], kind, value, profile, ours)


def _give_address(hand: Hand, customer: int, kind: str, value: str, profile: Profile, ours: Ours) -> None:
    """An address is added to those they have, and never taken from somebody else."""
    if ours.holds(f"{kind}:{value}"):
        raise invalid(kind, "this is an address of the desk itself")
    owner = find_holders(hand.conn, [(kind, value)]).get((kind, value))
    if owner not in (None, customer):
        raise invalid(kind, f"it is user {owner}'s already; merge the two users if they are one person")
    source = f"said by {hand.actor}"
    if owner is None:
        trust = "verified" if profile.verified else "unverified"
        row = {"id": hand.take(t.identities), "customer_id": customer, "kind": kind, "value": value, "trust": trust}
        insert_all(hand.conn, t.identities, [row | {"source": source, "created_at": hand.now}])
    elif profile.verified:
        prove(hand.conn, kind, value, source)


def _merged(known: Mapping[str, Any], said: Mapping[str, Any]) -> Row:
    merged = {name: value for name, value in {**known, **said}.items() if value is not None}
    if len(merged) > MOST_ATTRIBUTES:
        raise invalid("user_fields", f"a user has at most {MOST_ATTRIBUTES} fields")
    if len(to_json(merged)) > _LARGEST:
        raise invalid("user_fields", f"all fields of a user together take at most {_LARGEST // 1024} KiB")
    return merged
