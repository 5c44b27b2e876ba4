"""A comment whose story has changed: another fact of a call arrived after its comment was written."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, delete, func, select, update

from gateway.store import tables as t
from gateway.store.inserting import insert_all, insert_new
from gateway.store.people import Take, meet_caller
from gateway.store.rows import attachment_row, author_row
from gateway.worker.matching import participants_of
from gateway.worker.plan import Retelling


def retell(conn: Connection, take: Take, retelling: Retelling, now: datetime) -> int:
    """Rewrite the comment, its files and its author, and the ticket it opened; returns that ticket."""
    message, comment = retelling.message, retelling.comment
    columns = t.comments.c
    row = conn.execute(select(columns.ticket_id, columns.author_id).where(columns.id == comment)).one()
    customer = meet_caller(conn, row.author_id, message.author, now, take)
    conn.execute(
        update(t.comments)
        .where(columns.id == comment)
        .values(
            subject=message.subject,
            text=message.text,
            fields=message.fields,
            sent_at=message.sent_at,
            author_id=customer,
            **author_row(message.author),
        )
    )
    conn.execute(delete(t.attachments).where(t.attachments.c.comment_id == comment))
    files = [{"id": take(t.attachments), "comment_id": comment, **attachment_row(item)} for item in message.attachments]
    insert_all(conn, t.attachments, files)
    if conn.scalar(select(func.min(columns.id)).where(columns.ticket_id == row.ticket_id)) == comment:
        opened = update(t.tickets).where(t.tickets.c.id == row.ticket_id)
        conn.execute(opened.values(subject=message.subject, requester_id=customer, updated_at=now))
    people = [
        {"id": take(t.participants), "ticket_id": row.ticket_id, "identity": person}
        for person in sorted(participants_of(message))
    ]
    insert_new(conn, t.participants, people)
    return int(row.ticket_id)
