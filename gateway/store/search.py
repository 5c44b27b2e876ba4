"""The search language of the API and the console: Zendesk's, as far as Frontdesk has the facts.

    refund "not delivered" status<solved requester:ann@example.org -channel:phone created>2026-01-31 type:ticket

Words and quoted phrases must all occur in the subject or in what was said; a number also means the ticket of that
number. The same field twice means either; different fields mean both; `-` excludes. Fields Zendesk has and Frontdesk
has not (assignee, tags, ...) hold nothing: `assignee:none` finds everything and any other value nothing.
Source: Zendesk, "Searching Zendesk" (search reference), and developer docs, Search API.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, false, func, not_, or_, select, true

from gateway.store.customers import find_requester_ids
from gateway.store.folding import contains
from gateway.store.paging import MAX_ID, Ask, Page, fetch
from gateway.store.tables import comments, tickets
from gateway.store.tickets import described, listed, order, summarise

MAX_QUERY: Final = 2000  # characters
MAX_TERMS: Final = 20
STATUSES: Final = ("new", "open", "pending", "hold", "solved", "closed")
CHANNEL_NAMES: Final = {
    "mail": "email",
    "web": "form",
    "web_form": "form",
    "webform": "form",
    "voice": "phone",
    "x": "twitter",
    "native_messaging": "chat",
    "messaging": "chat",
}
_ABSENT: Final = frozenset(
    (
        *("assignee", "group", "organization", "tags", "priority", "brand", "submitter", "cc", "fieldvalue"),
        *("ticket_type", "form", "problem_id", "satisfaction", "custom_status", "external_id", "due_date", "solved"),
    )
)
_TERM: Final = re.compile(r'(-)?(?:([A-Za-z_]{1,24})(:|<=|>=|<|>))?(?:"([^"]*)"?|(\S+))')
_SPAN: Final = re.compile(r"(\d{1,4})(minute|hour|day|week|month|year)s?")
_SPAN_DAYS: Final = {"minute": 1 / 1440, "hour": 1 / 24, "day": 1.0, "week": 7.0, "month": 30.0, "year": 365.0}
_SORT_NAMES: Final = {
    "created_at": "created_at",
    "created": "created_at",
    "updated_at": "updated_at",
    "updated": "updated_at",
}


class SearchError(ValueError):
    """A query that cannot be understood; the sentence says which part and what to write instead."""


@dataclass(frozen=True, slots=True)
class Term:
    """One condition. `field` is empty for words."""

    field: str
    operator: str
    value: str
    negative: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query. `kinds` are the `type:` values; empty means any."""

    terms: tuple[Term, ...]
    kinds: frozenset[str] = frozenset()
    sort: str = ""

    def wants(self, kind: str) -> bool:
        """May results of this kind (`ticket`, `user`) be among the answers?"""
        return not self.kinds or kind in self.kinds

    @property
    def words(self) -> list[str]:
        """The plain words, for a search over people."""
        return [
            term.value
            for term in self.terms
            if not term.negative and term.field in ("", "name", "email", "phone", "user")
        ]


def parse_query(text: str) -> Query:
    """Read a query. Raises `SearchError`."""
    if len(text) > MAX_QUERY:
        raise SearchError(f"a query is at most {MAX_QUERY} characters long; this one has {len(text)}")
    terms: list[Term] = []
    kinds: set[str] = set()
    sort = {"order_by": "", "sort": ""}
    for match in _TERM.finditer(text.replace("\x00", " ")):
        minus, field, operator, phrase, word = match.groups()
        field, value = (field or "").lower(), phrase if phrase is not None else (word or "").strip('"')
        if field not in _FIELDS and field not in _ABSENT and field not in ("type", "order_by", "sort"):
            value = f"{field}{operator}{value}" if field else value  # "http://..." and "re:" are words
            field, operator = "", ""
        if not value:
            continue
        if field == "type":
            kinds.add(value.lower())
        elif field in sort:
            sort[field] = value.lower()
        else:
            terms.append(Term(field, operator or ":", value, bool(minus)))
    if len(terms) > MAX_TERMS:
        raise SearchError(f"a query has at most {MAX_TERMS} conditions; this one has {len(terms)}")
    return Query(tuple(terms), frozenset(kinds), sort_name(sort["order_by"], sort["sort"]))


def sort_name(by: str, way: str) -> str:
    """`created_at`/`desc` and the like as a sort of `gateway.store.tickets`; empty when it names none."""
    name = _SORT_NAMES.get(by.lower(), "")
    return f"-{name}" if name and way.lower() != "asc" else name


def search_tickets(conn: Connection, query: Query, ask: Ask, sort: str, now: datetime) -> Page:
    """A page of the tickets that a query finds."""
    if not query.wants("ticket"):
        return Page([], total=0)
    where = conditions(conn, query.terms, now)
    return described(conn, fetch(conn, listed().where(where), order(sort or query.sort or "-updated_at"), ask))


def list_found(conn: Connection, query: Query, ask: Ask, now: datetime) -> Page:
    """The same for the console's list, newest activity first."""
    where = conditions(conn, query.terms, now)
    return summarise(conn, fetch(conn, listed().where(where), order(query.sort or "-updated_at"), ask))


def count_found(conn: Connection, query: Query, now: datetime) -> int:
    """How many tickets a query finds."""
    if not query.wants("ticket"):
        return 0
    found = listed().where(conditions(conn, query.terms, now)).subquery()
    return conn.scalar(select(func.count()).select_from(found)) or 0


def conditions(conn: Connection, terms: Iterable[Term], now: datetime) -> ColumnElement[bool]:
    """Terms of one field joined by or, fields joined by and; words and comparisons each for themselves."""
    either: dict[str, list[ColumnElement[bool]]] = {}
    every: list[ColumnElement[bool]] = [true()]
    for term in terms:
        condition = _condition(conn, term, now)
        if term.negative:
            every.append(not_(condition))
        elif term.field and term.operator == ":":
            either.setdefault(term.field, []).append(condition)
        else:
            every.append(condition)
    return and_(*every, *(or_(*some) for some in either.values()))


def _condition(conn: Connection, term: Term, now: datetime) -> ColumnElement[bool]:
    if not term.field:
        return _said(conn, term.value)
    if term.field in _ABSENT:
        return true() if term.value.lower() == "none" else false()
    return _FIELDS[term.field](conn, term, now)


def _said(conn: Connection, words: str) -> ColumnElement[bool]:
    holding = (
        select(func.coalesce(tickets.c.merged_into, tickets.c.id))
        .join_from(comments, tickets, comments.c.ticket_id == tickets.c.id)
        .where(or_(contains(conn, comments.c.text, words), contains(conn, comments.c.subject, words)))
    )
    found = or_(contains(conn, tickets.c.subject, words), tickets.c.id.in_(holding))
    number = words.lstrip("#")
    if number.isascii() and number.isdecimal() and int(number) <= MAX_ID:
        return or_(found, tickets.c.id == int(number))
    return found


def _status(conn: Connection, term: Term, now: datetime) -> ColumnElement[bool]:
    value = term.value.lower()
    if value not in STATUSES:
        raise SearchError(f"status is one of {', '.join(STATUSES)}; not {term.value[:40]!r}")
    rank = STATUSES.index(value)
    kept = {
        ":": STATUSES[rank : rank + 1],
        "<": STATUSES[:rank],
        "<=": STATUSES[: rank + 1],
        ">": STATUSES[rank + 1 :],
        ">=": STATUSES[rank:],
    }
    return tickets.c.status.in_(kept[term.operator])


def _channel(conn: Connection, term: Term, now: datetime) -> ColumnElement[bool]:
    value = term.value.lower().replace(" ", "_")
    return tickets.c.channel == CHANNEL_NAMES.get(value, value)


def _inbox(conn: Connection, term: Term, now: datetime) -> ColumnElement[bool]:
    return func.lower(tickets.c.inbox) == term.value.lower()


def _subject(conn: Connection, term: Term, now: datetime) -> ColumnElement[bool]:
    return contains(conn, tickets.c.subject, term.value.strip("*"))


def _text(conn: Connection, term: Term, now: datetime) -> ColumnElement[bool]:
    return _said(conn, term.value)


def _language(conn: Connection, term: Term, now: datetime) -> ColumnElement[bool]:
    return func.lower(tickets.c.language) == term.value.lower()


def _requester(conn: Connection, term: Term, now: datetime) -> ColumnElement[bool]:
    if term.value.lower() == "none":
        return tickets.c.requester_id.is_(None)
    return tickets.c.requester_id.in_(find_requester_ids(conn, term.value))


def _ticket_id(conn: Connection, term: Term, now: datetime) -> ColumnElement[bool]:
    if not (term.value.isascii() and term.value.isdecimal()) or int(term.value) > MAX_ID:
        raise SearchError(f"a ticket number is a whole number; not {term.value[:40]!r}")
    return _compare(tickets.c.id, term.operator, int(term.value))


def _created(conn: Connection, term: Term, now: datetime) -> ColumnElement[bool]:
    return _moment(tickets.c.created_at, term, now)


def _updated(conn: Connection, term: Term, now: datetime) -> ColumnElement[bool]:
    return _moment(tickets.c.updated_at, term, now)


def _moment(column: ColumnElement[Any], term: Term, now: datetime) -> ColumnElement[bool]:
    """A day means all of it; `>4hours` means within the last four hours, as Zendesk reads it."""
    span = _SPAN.fullmatch(term.value.lower())
    try:
        if span:
            return _compare(column, term.operator, now - timedelta(days=int(span[1]) * _SPAN_DAYS[span[2]]))
        moment = datetime.fromisoformat(term.value)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        end = moment + timedelta(days=1 if len(term.value) <= 10 else 0)
    except ValueError:
        raise SearchError(f"{term.field} takes a date such as 2026-01-31 or a span such as 4hours") from None
    except OverflowError:
        raise SearchError(f"{term.field}: {term.value[:40]} is too far away") from None
    if len(term.value) > 10:
        return _compare(column, ">=" if term.operator == ":" else term.operator, moment)
    if term.operator == ":":
        return and_(column >= moment, column < end)
    return _compare(column, *{">": (">=", end), "<=": ("<", end)}.get(term.operator, (term.operator, moment)))


def _compare(column: ColumnElement[Any], operator: str, value: Any) -> ColumnElement[bool]:
    compared: dict[str, ColumnElement[bool]] = {
        ":": column == value,
        "<": column < value,
        "<=": column <= value,
        ">": column > value,
        ">=": column >= value,
    }
    return compared[operator]


_Condition = Callable[[Connection, Term, datetime], ColumnElement[bool]]
_FIELDS: Final[dict[str, _Condition]] = {
    "status": _status,
    "channel": _channel,
    "via": _channel,
    "inbox": _inbox,
    "subject": _subject,
    "description": _text,
    "comment": _text,
    "language": _language,
    "requester": _requester,
    "ticket_id": _ticket_id,
    "created": _created,
    "updated": _updated,
    "created_at": _created,
    "updated_at": _updated,
}
