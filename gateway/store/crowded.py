"""Evidence for a batch, however many strangers share an id.

A newsletter is answered by thousands; a broken program, or somebody who means harm, gives thousands of mails one
Message-ID. The rules (`worker.matching`) admit only people who take part, so of a crowded id only their rows matter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final

from sqlalchemy import Connection, Select, and_, bindparam, func, not_, or_, select

from gateway.store import tables as t
from gateway.store.lookup import ROWS
from gateway.store.values import one_of
from gateway.worker.evidence import Row

MOST_ROWS: Final = 2_000  # evidence of a batch that is taken as it comes; 200 messages bring a few hundred
CROWD: Final = 50  # rows that speak for themselves under one key
_SHOWN: Final = 3  # other users of a crowded id, for people to see
_KEYS: Final = t.thread_keys.c
_ALONE: Final = ("own", "conversation", "case")


def sift(conn: Connection, keys: Collection[str], people: Collection[str]) -> Iterator[Row]:
    """What `CONCERNING` finds, when that is more than `MOST_ROWS`, without what no rule asks for.

    Of a crowded id the rows of those people, and of tickets they take part in; each ticket once, however many of its
    messages say the same.
    """
    crowded = _crowded(conn, keys)
    plain = [key for key in keys if key not in crowded]
    mine = one_of(_KEYS.author, people)
    takes_part = select(t.participants.c.ticket_id).where(one_of(t.participants.c.identity, people))
    theirs = or_(mine, _KEYS.ticket_id.in_(takes_part))
    for condition in (
        and_(one_of(_KEYS.key, plain), _KEYS.role == "own"),
        and_(one_of(_KEYS.key, crowded), _KEYS.role == "own", theirs),
        and_(one_of(_KEYS.key, keys), not_(_KEYS.role.in_(_ALONE)), mine),
    ):
        yield from _rows(conn, _once(_KEYS.author).where(condition))
    whoever = func.max(_KEYS.author)  # a conversation is one, whoever speaks in it
    together = and_(one_of(_KEYS.key, keys), _KEYS.role.in_(("conversation", "case")))
    yield from _rows(conn, _once(whoever).where(together))
    for key in sorted(crowded):
        some = ROWS.where(_KEYS.key == key, _KEYS.role == "own").order_by(_KEYS.author).limit(_SHOWN)
        yield from _rows(conn, some)


def _crowded(conn: Connection, keys: Collection[str]) -> list[str]:
    counted = select(_KEYS.key).where(one_of(_KEYS.key, keys), _KEYS.role == "own").group_by(_KEYS.key)
    return list(conn.scalars(counted.having(func.count() > CROWD)))


def _once(author: Any) -> Select[Any]:
    """One row for each ticket (and author): when it was said last is all that counts of its time."""
    columns = (_KEYS.key, _KEYS.role, author, _KEYS.ticket_id, func.max(_KEYS.at, type_=t.Instant))
    wanted = select(*columns, func.max(_KEYS.channel))
    by = [_KEYS.key, _KEYS.role, _KEYS.ticket_id]
    return wanted.group_by(*by, *([author] if author is _KEYS.author else []))


# Rows that may concern messages with these keys, sent by or to these people: messages, conversations and cases by key;
# answers and siblings only by people who take part.
CONCERNING: Final = ROWS.where(
    one_of(_KEYS.key, "keys"), or_(_KEYS.role.in_(_ALONE), one_of(_KEYS.author, "people"))
).limit(bindparam("most"))


def _rows(conn: Connection, statement: Select[Any]) -> Iterator[Row]:
    return (Row(*row) for row in conn.execute(statement))
