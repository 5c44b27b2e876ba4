"""Finding words without regard to case, in every script, on both databases.

PostgreSQL's ILIKE folds every script by itself. SQLite's LIKE folds only ASCII, so for other words Python's `casefold`
is lent to it: a customer who wrote "ВОЗВРАТ" is found by "возврат" on either.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, func

_ESCAPE: Final = "\\"


def fold(text: str) -> str:
    """The text without case."""
    return text.casefold()


def contains(conn: Connection, column: ColumnElement[Any], words: str) -> ColumnElement[bool]:
    """Does the column hold these words, literally (`%` and `_` mean themselves)?"""
    pattern = f"%{escape_like(words)}%"
    if conn.dialect.name != "sqlite":
        return column.ilike(pattern, escape=_ESCAPE)
    if words.isascii():
        return column.like(pattern, escape=_ESCAPE)
    _lend_fold(conn)
    return func.frontdesk_holds(column, fold(words)) == 1


def escape_like(text: str) -> str:
    """The text with LIKE's own signs escaped by a backslash."""
    return text.replace(_ESCAPE, _ESCAPE * 2).replace("%", r"\%").replace("_", r"\_")


def _lend_fold(conn: Connection) -> None:
    driver = conn.connection.driver_connection
    if driver is not None and not conn.info.get("frontdesk_holds"):
        driver.create_function("frontdesk_holds", 2, _holds, deterministic=True)
        conn.info["frontdesk_holds"] = True


def _holds(text: str | None, words: str) -> int:
    return int(text is not None and words in text.casefold())
