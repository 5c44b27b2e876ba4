"""`one_of` finds what `IN` finds, on both databases, and its statement is the same text for any number of values."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, String, Table, Uuid, and_, insert, not_, select
from sqlalchemy.exc import StatementError

from gateway.store.engine import Store
from gateway.store.values import one_of

NAMES = ["plain", 'it\'s "quoted"', "\\ % _ {}", "日本語 🎫", "a,b", "null", "", "sixteen letters!"]
IDS = [UUID(int=number) for number in range(len(NAMES))]

things = Table(
    "things_of_values",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("name", String(16), nullable=True),
    Column("uuid", Uuid, nullable=True),
)


@pytest.fixture
async def filled(store: Store) -> Store:
    def fill(conn: Connection) -> None:
        things.create(conn)
        rows = [{"id": n, "name": name, "uuid": IDS[n]} for n, name in enumerate(NAMES)]
        conn.execute(insert(things), [*rows, {"id": 99, "name": None, "uuid": None}])

    await store.write(fill)
    return store


async def find(store: Store, condition: Any) -> list[int]:
    query = select(things.c.id).where(condition).order_by(things.c.id)
    return await store.read(lambda conn: list(conn.scalars(query)))


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (one_of(things.c.name, NAMES), list(range(len(NAMES)))),
        (one_of(things.c.name, NAMES[1:4]), [1, 2, 3]),
        (one_of(things.c.name, {"plain", "Plain", "nobody"}), [0]),
        (one_of(things.c.name, ["sixteen letters! and more"]), []),
        (one_of(things.c.uuid, IDS[5:]), [5, 6, 7]),
        (one_of(things.c.id, [99, 0, 0, 7000]), [0, 99]),
        (one_of(things.c.id, []), []),
        (not_(one_of(things.c.id, [0, 1, 2, 3, 4])), [5, 6, 7, 99]),
        (and_(one_of(things.c.id, range(5)), one_of(things.c.name, NAMES[3:])), [3, 4]),
        (one_of(things.c.id, select(things.c.id).where(one_of(things.c.name, NAMES[1:4]))), [1, 2, 3]),
        (one_of(things.c.id, select(things.c.id).where(things.c.id > 7000)), []),
    ],
)
async def test_it_finds_what_in_finds(filled: Store, condition: Any, expected: list[int]) -> None:
    assert await find(filled, condition) == expected


async def test_any_number_of_values_is_one_statement(filled: Store) -> None:
    def texts(conn: Connection) -> set[str]:
        queries = [select(things.c.id).where(one_of(things.c.name, [str(n) for n in range(k)])) for k in (0, 1, 500)]
        return {str(query.compile(dialect=conn.dialect)) for query in queries}

    assert len(await filled.read(texts)) == 1


@pytest.mark.parametrize(
    ("names", "ids", "expected"),
    [
        (NAMES[:4], {0, 1, 99}, [0, 1]),
        (set(NAMES), (2, 3), [2, 3]),
        (dict.fromkeys(NAMES), [], []),
        ([], [0, 1], []),
    ],
)
async def test_a_statement_built_once_is_given_its_values_by_name(
    filled: Store, names: Any, ids: Any, expected: list[int]
) -> None:
    condition = and_(one_of(things.c.name, "names"), one_of(things.c.id, "ids"))
    query = select(things.c.id).where(condition).order_by(things.c.id)
    assert await filled.read(lambda conn: list(conn.scalars(query, {"names": names, "ids": ids}))) == expected


async def test_values_that_are_not_given_are_an_error(filled: Store) -> None:
    query = select(things.c.id).where(one_of(things.c.name, "names"))
    with pytest.raises(StatementError, match="names"):
        await filled.read(lambda conn: list(conn.scalars(query)))
