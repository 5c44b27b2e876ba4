"""Reading people: customers and the identities (addresses) that are known to be theirs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Select, func, or_, select

from gateway.store.folding import contains, fold
from gateway.store.paging import MAX_ID, Ask, Order, Page, Row, fetch
from gateway.store.tables import customers, identities

_BY_ID = Order("id", customers.c.id, customers.c.id)


def page_customers(conn: Connection, ask: Ask) -> Page:
    """A page of all customers, each with `identities`."""
    return _with_identities(conn, fetch(conn, _listed(), _BY_ID, ask))


def count_customers(conn: Connection) -> int:
    """How many customers there are."""
    return conn.scalar(select(func.count()).select_from(customers).where(customers.c.merged_into.is_(None))) or 0


def get_customer(conn: Connection, customer_id: int) -> Row | None:
    """One customer with identities."""
    found = get_customers(conn, [customer_id])
    return found[0] if found else None


def get_customers(conn: Connection, ids: Iterable[int]) -> list[Row]:
    """Customers in the order of the ids, without those that do not exist."""
    wanted = [ident for ident in dict.fromkeys(ids) if 0 < ident <= MAX_ID]
    found = conn.execute(select(customers).where(customers.c.id.in_(wanted))).mappings()
    rows = {row["id"]: dict(row) for row in found}
    page = _with_identities(conn, Page([rows[ident] for ident in wanted if ident in rows]))
    return page.rows


def search_customers(conn: Connection, words: Sequence[str], ask: Ask) -> Page:
    """Customers of whom every word occurs in the name or in an address (`email:` and the like before it is allowed)."""
    query = _listed()
    for word in words:
        value = word.split(":", 1)[1] if word.startswith(("email:", "phone:", "name:", "user:")) else word
        holding = select(identities.c.customer_id).where(contains(conn, identities.c.value, value))
        query = query.where(or_(contains(conn, customers.c.name, value), customers.c.id.in_(holding)))
    return _with_identities(conn, fetch(conn, query, _BY_ID, ask))


def find_requester_ids(conn: Connection, who: str) -> list[int]:
    """Customers meant by `requester:WHO`: a number, an address, a handle, or a part of a name."""
    found: set[int] = set()
    digits = who.lstrip("+")
    if who.isdecimal() and who.isascii() and int(who) <= MAX_ID:
        now = func.coalesce(customers.c.merged_into, customers.c.id)  # who they are since they turned out to be one
        found.update(conn.scalars(select(now).where(customers.c.id == int(who))))
    values = {fold(who), fold(who).lstrip("@"), f"+{digits}" if digits.isdecimal() else ""} - {""}
    exact = select(identities.c.customer_id).where(func.lower(identities.c.value).in_(sorted(values)))
    found.update(conn.scalars(exact))
    if "@" not in who.lstrip("@"):
        found.update(conn.scalars(select(customers.c.id).where(contains(conn, customers.c.name, who)).limit(1000)))
    return sorted(found)


def _listed() -> Select[Any]:
    """One who is part of another keeps the number, answers when asked for by it, and is not listed."""
    return select(customers).where(customers.c.merged_into.is_(None))


def _with_identities(conn: Connection, page: Page) -> Page:
    ids = [row["id"] for row in page.rows]
    found: dict[int, list[Row]] = {ident: [] for ident in ids}
    if ids:
        query = select(identities).where(identities.c.customer_id.in_(ids)).order_by(identities.c.id)
        for identity in conn.execute(query).mappings():
            found[identity["customer_id"]].append(dict(identity))
    for row in page.rows:
        row["identities"] = found[row["id"]]
    return page
