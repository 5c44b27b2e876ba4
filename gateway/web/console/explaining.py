"""Why a comment is on its ticket, in sentences a person can check. Values in, sentences out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_UNKNOWN: Final = {"phone": "Unknown caller", "chat": "Visitor", "form": "Somebody"}
_RULES: Final = {
    "none": "It opened this ticket: nothing in it points to an earlier conversation.",
    "conversation": "It is part of the same conversation at the provider: {evidence}.",
    "reply_token": "It was sent to this ticket's own signed reply address.",
    "in_reply_to": "It answers {evidence}, a message on this ticket (In-Reply-To).",
    "references": "It cites {evidence}, a message on this ticket (References).",
    "answered_by": "An answer to it was here before it arrived: that answer cites {evidence}.",
    "sibling": "It answers {evidence}, as another message on this ticket does, and the same people take part.",
    "same_id": "It has the same Message-ID, {evidence}, as a message on this ticket by the same author.",
    "repeat": "The same person said the same words on this ticket shortly before or after.",
    "thread_index": "It belongs to the same Outlook thread, {evidence}, and its author takes part here.",
    "subject_number": "Its subject names this ticket, and its authenticated author takes part here.",
    "subject": "The same person wrote under the same subject, and one of the two is a reply that lost its headers.",
    "case": "This inbox keeps one open case a person, and this is theirs.",
    "near": "The same person said nearly the same words on this ticket shortly before or after.",
    "report": "A mail server or an absence notice answered a mail of this ticket: it returned our signature.",
}
_VERDICTS: Final = {
    "repeat": "said again",
    "near_repeat": "said again in nearly the same words",
    "id_reused": "Message-ID used before, with other content",
}
_CITES: Final = {
    "in_reply_to": "although it answers {evidence}",
    "references": "although it cites {evidence}",
    "reply_token": "although it carries that ticket's reply token",
    "subject_number": "although its subject names that ticket",
    "subject": "although the subject is the same",
    "case": "although it is the same person's open case",
    "near": "although nearly the same words are there",
    "repeat": "although the same words are there",
    "conversation": "although the conversation {evidence} is there",
    "report": "although it returned that ticket's signature",
}
_LINKS: Final = {
    "related": ("Related to", "Related to"),
    "possibly_belongs_to": ("May belong to", "Perhaps its message"),
    "follow_up": ("Follows up", "Continued in"),
    "merged": ("Merged into", "Merged from"),
    "apart": ("Kept apart from", "Kept apart from"),
}
_MACHINE: Final = "frontdesk"  # the actor of what proof or evidence decides
_PAST: Final = {"split": "split", "moved": "move", "merged": "merge", "related": "link", "joined": "same person"}
_CORRECTIONS: Final = frozenset({*_PAST, "undone"})


def why(matched_by: str, explanation: Mapping[str, Any]) -> str:
    """The rule that put the comment here, with its evidence."""
    rule = _RULES.get(matched_by, "The rule “{rule}” put it here: {evidence}.")
    said = rule.format(rule=matched_by.replace("_", " "), evidence=_evidence(explanation))
    return said.replace("an earlier message, a message on", "an earlier message on")


def verdict_label(verdict: str) -> str:
    """What is special about the comment itself; empty for the ordinary."""
    return _VERDICTS.get(verdict, "" if verdict == "new" else verdict.replace("_", " "))


def refused(explanation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Tickets the evidence pointed at and the rules refused: `{ticket_id, sentence}`."""
    found = []
    for item in explanation.get("rejected") or ():
        if not isinstance(item, Mapping):
            continue
        cites = _CITES.get(str(item.get("rule", "")), "although {evidence} points there").format(
            evidence=_evidence(item)
        )
        reason = str(item.get("reason", "")) or "the rules refuse it"
        found.append({"ticket_id": item.get("ticket_id", item.get("ticket")), "sentence": f"{cites}: {reason}."})
    return found


def happened(kind: str, detail: Mapping[str, Any]) -> str:
    """An event as a sentence without its end."""
    because = str(detail.get("because", "") or detail.get("reason", ""))
    if kind in _CORRECTIONS and detail.get("actor") and (kind != "merged" or detail["actor"] != _MACHINE):
        said = _correction(kind, detail)
    else:
        said = _event(kind, detail)
    notes = [str(detail[name]) for name in ("target_comment", "source_comment") if detail.get(name)]
    return ": ".join(part for part in (said, because, *dict.fromkeys(notes)) if part)


def _event(kind: str, detail: Mapping[str, Any]) -> str:
    other = detail.get("ticket_id", detail.get("absorbed", ""))
    sentences = {
        "created": f"Opened by {_article(str(detail.get('channel', '')))} to {detail.get('inbox', 'us')}",
        "commented": "A comment was added",
        "reopened": "Reopened",
        "merged": f"Ticket #{other} became part of this one",
        "linked": f"Linked with #{other}",
        "updated": "More became known",
        "dropped": "A dead letter was dropped",
        "recovered": f"Let in by {detail.get('actor', '')}; it was held: {detail.get('cause', '')}",
        "replayed": f"Read again for {detail.get('actor', '')}; it was held: {detail.get('cause', '')}",
        "rejected": f"Set aside by {detail.get('actor', '')}",
    }
    return sentences.get(kind, kind.replace("_", " ").capitalize())


def _correction(kind: str, detail: Mapping[str, Any]) -> str:
    """What a person (or a proof) changed: who, what, where."""
    actor = "Frontdesk" if detail["actor"] == _MACHINE else str(detail["actor"])
    here, other, count = detail.get("on", ""), detail.get("ticket_id", ""), detail.get("comments", 1)
    what = "1 message" if count == 1 else f"{count} messages"
    merged = ", ".join(f"#{number}" for number in detail.get("ticket_ids") or [other])
    undone = f"event {detail.get('event_id', '')} ({_PAST.get(str(detail.get('what', '')), 'a change')})"
    sentences = {
        "split": f"{what} split off #{here} into #{other} by {actor}",
        "moved": f"{what} moved from #{here} to #{other} by {actor}",
        "merged": f"{merged} merged into #{here} by {actor}",
        "related": f"#{here} linked with #{other} by {actor}",
        "joined": f"User {detail.get('customer_id', '')} and user {detail.get('into', '')} are one person, by {actor}",
        "undone": f"Undone by {actor}: {undone}",
    }
    return sentences[kind]


def corrected(row: Mapping[str, Any]) -> str:
    """A correction of a comment, in the words of its event, and whether it still stands."""
    said = happened(row["kind"], row["detail"])
    return f"{said} (undone by {row['undone_by']})" if row["undone_at"] else said


def link_label(kind: str, *, forward: bool) -> str:
    """How the ticket relates to the one at the other end."""
    there, back = _LINKS.get(kind, (kind.replace("_", " ").capitalize(), kind.replace("_", " ").capitalize()))
    return there if forward else back


def unknown(channel: str) -> str:
    """What to call an author nobody knows."""
    return _UNKNOWN.get(channel, "Unknown")


def _article(channel: str) -> str:
    words = {"email": "a mail", "form": "a form", "chat": "a chat", "phone": "a call", "twitter": "a post"}
    return words.get(channel, "a message")


def _evidence(explanation: Mapping[str, Any]) -> str:
    """Message-IDs in angle brackets, as mail programs show them; other keys as they are."""
    value = str(explanation.get("evidence", "") or "").removeprefix("list:")
    if not value:
        return "an earlier message"
    if value.startswith("digest:"):
        return "a very long id"
    for scheme in ("message:", "mid:", "mail:"):
        value = value.removeprefix(scheme)
    return f"<{value}>" if "@" in value and ":" not in value else value
