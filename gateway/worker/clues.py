"""What a message tells by itself about where it belongs, whatever the desk knows (DESIGN 7).

Evidence, who takes part, and its words as they are compared: the part of placing a message that needs no database, and
so is done before the ledger is locked.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.worker import near
from gateway.worker.evidence import Role, Row
from normalizer.fingerprint import digest
from normalizer.message import Message, ThreadKey

TICKET_KEY = "ticket:"  # before the number of a ticket that a reply token of ours names
NAMING_A_TICKET = ("reply_token", "subject_number")
_REPORTS = frozenset({"bounce", "delayed", "delivered", "read_receipt", "feedback_report"})
_ABSENCES = frozenset({"vacation", "auto_reply"})
_LONGEST_KEY = 200  # characters; a longer one is kept by its digest (databases limit what they index)


@dataclass(frozen=True, slots=True)
class Clues:
    """A message and what it tells by itself."""

    message: Message
    rows: tuple[Row, ...]  # the evidence it brings, on no ticket yet
    people: frozenset[str]  # who takes part through it
    answers_by_itself: bool
    said: near.Candidate | None  # None: nothing a person may have said before in nearly the same words


def read_clues(message: Message) -> Clues:
    """All of it, and nothing of it later: the ledger is locked by then."""
    return Clues(
        message=message,
        rows=tuple(evidence_of(message)),
        people=frozenset(participants_of(message)),
        answers_by_itself=answers_by_itself(message),
        said=_said(message),
    )


def _said(message: Message) -> near.Candidate | None:
    """Machines always repeat themselves, a call (it has no content key) gets its words later, and in an inbox that
    anyone may join headers decide alone."""
    author = message.author
    if author.identity is None or message.automated or author.trust == "failed":
        return None
    if not (message.content_key and message.text and message.join == "participants"):
        return None
    wording = near.Wording(message.text)
    wording.prepare()
    return near.Candidate(author.identity, wording, message.received_at, message.channel, 0, message.receipt_id)


def evidence_of(message: Message) -> list[Row]:
    """The evidence rows of a message, on no ticket yet (0).

    In an inbox that anyone may join, header evidence is treated like a provider's conversation, as JWZ threading does.
    """
    author = message.author.identity or ""

    def row(key: str, role: Role) -> Row:
        return Row(key, role, author, 0, message.received_at, message.channel)

    if is_signed_report(message):
        return [row(scoped(key, message), "report") for key in message.thread_keys if key.kind == "reply_token"]
    rows = [row(scoped(key, message), _role(key, message)) for key in message.thread_keys if _counts(key, message)]
    if message.content_key and author and message.join == "participants" and not answers_by_itself(message):
        rows.append(row(f"said:{message.content_key}", "content"))
    if message.subject_base and (message.join == "anyone" or message.author.trust == "verified"):
        whose = message.inbox if message.join == "anyone" else author
        looks_stripped = any(key.kind == "subject" for key in message.thread_keys)
        key = f"subject:{digest((message.join, whose, message.subject_base.casefold()))}"
        rows.append(row(key, "resubject" if looks_stripped else "subject"))
    if message.one_case and author and message.author.trust == "verified":
        rows.append(row(f"case:{digest((message.inbox, author))}", "case"))
    return list(dict.fromkeys(rows))


def _counts(key: ThreadKey, message: Message) -> bool:
    """Is this key evidence by itself? Anyone can type a number into a subject; only a proven sender is believed. A
    reply token counts until its day, as of when the message arrived, so that reading it again changes nothing."""
    if key.kind == "subject":
        return False
    if key.kind == "reply_token":
        until = message.fields.get("reply_token_until")
        return not isinstance(until, str) or message.received_at.date().isoformat() <= until
    return key.kind != "subject_number" or message.author.trust == "verified"


def participants_of(message: Message) -> set[str]:
    """Identities that take part through this message: From, To and Cc, without the addresses that are ours."""
    if is_signed_report(message):
        return set()
    ours = {recipient.value for recipient in message.recipients if recipient.role == "envelope"}
    people = {item.identity for item in message.recipients if item.role != "envelope" and item.value not in ours}
    if message.author.value not in ours:
        people.add(message.author.identity)
    return {identity for identity in people if identity}


def answers_by_itself(message: Message) -> bool:
    """Is this a machine's answer to a mail: an absence notice, a bounce, a receipt? A machine's own news is none."""
    if not message.automated:
        return False
    hits = {hit.name for hit in message.automated}
    cites = any(key.kind in ("in_reply_to", "references", "reply_token") for key in message.thread_keys)
    return bool(hits & (_REPORTS | _ABSENCES) or (cites and "auto_submitted" in hits))


def is_signed_report(message: Message) -> bool:
    """Is this a machine's answer that bears a token of ours?"""
    return answers_by_itself(message) and any(
        key.kind == "reply_token" and _counts(key, message) for key in message.thread_keys
    )


def scoped(key: ThreadKey, message: Message) -> str:
    """The key of the evidence that a thread key is."""
    if key.kind in NAMING_A_TICKET:
        return f"{TICKET_KEY}{key.value}"
    value = key.value if len(key.value) <= _LONGEST_KEY else f"digest:{digest((key.value,))}"
    return f"list:{value}" if key.kind != "conversation" and message.join == "anyone" else value


def _role(key: ThreadKey, message: Message) -> Role:
    if key.kind == "conversation" or (message.join == "anyone" and key.kind not in NAMING_A_TICKET):
        return "conversation"
    return "own" if key.kind == "message_id" else "ref"
