"""All facts about one phone call, in whatever order they came, as the one comment that tells the story of the call.

A provider reports a call piecemeal: it rang, agents did not answer, a recording is ready, its words are known, it
ended. The pieces overtake each other and come twice. `fold` therefore first brings them into one order that depends
only on what they say, so every permutation and duplication gives the same summary.

Facts are JSON-like mappings. All keys but `event` are optional:

    event          "call.started", "call.status", "call.leg", "call.dialed", "call.missed", "call.silent" (our own: the
                   provider said nothing more for a while), "call.recording_pending",
                   "call.recording_started", "call.recording_absent", "call.recording_failed", "call.recording_ready",
                   "call.transcription_failed", "call.transcribed", "call.ended"
    direction      "inbound" or "outbound-..."
    caller         E.164 number of the customer; absent when withheld or unknown
    caller_name, caller_raw, withheld, trust, evidence      what is known of the caller, and how far it is proven
    called         our number, E.164
    status         the provider's word for the state of the call; `leg_status` for the leg to an agent
    duration       seconds, on `call.ended`; `leg_duration` on `call.leg`
    at             ISO 8601 instant of this fact
    dial_status, dial_duration                              what became of ringing the agents, seconds they talked
    recording      {sid, status, duration (seconds), url, source, error, started_at}
    transcription  {sid, status, text, recording (sid)}
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from normalizer.message import Attachment, Author, Trust

Outcome = Literal["ringing", "voicemail", "answered", "missed", "outbound"]

# From least to most decisive: where two facts disagree, the later in this order is believed.
_RANK: Final = {
    "call.started": 0,
    "call.status": 1,
    "call.leg": 2,
    "call.dialed": 3,
    "call.silent": 4,
    "call.missed": 4,
    "call.recording_started": 5,
    "call.recording_pending": 6,
    "call.recording_absent": 7,
    "call.recording_failed": 8,
    "call.recording_ready": 9,
    "call.transcription_failed": 10,
    "call.transcribed": 11,
    "call.ended": 12,
}
_LONGEST: Final = 7 * 24 * 3600  # seconds; a longer "call" is a wrong figure
_TALKED: Final = frozenset({"completed", "answered"})
_SILENCE: Final = {"16101": "the recording was too short", "16102": "the recording was silent"}


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording of a call. `status` is the provider's; `duration` in seconds; `text` is its transcription."""

    sid: str
    status: str = ""
    duration: int | None = None
    url: str = ""
    source: str = ""
    error: str = ""
    started_at: str = ""
    text: str = ""

    @property
    def exists(self) -> bool:
        """Something was recorded, whether or not the file is already there to fetch."""
        return self.status in ("completed", "pending")

    @property
    def is_conversation(self) -> bool:
        """It holds a talk with an agent rather than a message left by the caller."""
        return self.source not in ("", "RecordVerb")


@dataclass(frozen=True, slots=True)
class CallSummary:
    """The comment of a call. `fields` is JSON-ready; `attachments` are recordings, not fetched yet."""

    subject: str
    text: str
    outcome: Outcome
    author: Author
    called: str
    direction: str
    ended: bool
    duration: int | None
    started_at: datetime | None
    recordings: tuple[Recording, ...]
    transcription: str
    attachments: tuple[Attachment, ...]
    fields: dict[str, Any]


def fold(facts: Iterable[Mapping[str, Any]]) -> CallSummary:
    """The story of one call from all its facts; the same for every order and any repetition of them."""
    ordered = _in_order(facts)
    recordings = _recordings(ordered)
    outcome = _outcome(ordered, recordings)
    author = _author(ordered)
    ended = [fact for fact in ordered if fact.get("event") == "call.ended"]
    duration = _last(ended, "duration")
    called = str(_last(ordered, "called") or "")
    transcription = "\n\n".join(recording.text for recording in recordings if recording.text)
    started_at = _started_at(ended, recordings)
    return CallSummary(
        subject=_subject(outcome, author),
        text=_text(outcome, recordings, ordered, duration),
        outcome=outcome,
        author=author,
        called=called,
        direction=str(_last(ordered, "direction") or "inbound"),
        ended=bool(ended),
        duration=duration,
        started_at=started_at,
        recordings=recordings,
        transcription=transcription,
        attachments=tuple(map(recording_attachment, (item for item in recordings if item.status == "completed"))),
        fields=_fields(ordered, outcome, recordings, duration, started_at),
    )


def recording_attachment(recording: Recording) -> Attachment:
    """The file a recording will be, by reference: its bytes are not here, so size is 0 and sha256 empty."""
    return Attachment(
        size=0,
        sha256="",
        filename=f"{'call' if recording.is_conversation else 'voicemail'}-{recording.sid}.wav",
        content_type="audio/x-wav",
        source_url=recording.url,
    )


def _in_order(facts: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Each distinct fact once, least decisive first. The order is a function of the facts alone."""
    distinct = {json.dumps(fact, sort_keys=True, default=str): fact for fact in facts}

    def weight(item: tuple[str, Mapping[str, Any]]) -> tuple[int, int, str, str]:
        canonical, fact = item
        sequence = fact.get("sequence")
        return (
            _RANK.get(str(fact.get("event")), -1),
            sequence if isinstance(sequence, int) else -1,
            str(fact.get("at") or ""),
            canonical,
        )

    return [fact for _, fact in sorted(distinct.items(), key=weight)]


def _last(facts: Sequence[Mapping[str, Any]], key: str) -> Any:
    """The most decisive value of a key; empty and absent values decide nothing."""
    for fact in reversed(facts):
        value = fact.get(key)
        if value is not None and value != "":
            return value
    return None


def _recordings(facts: Sequence[Mapping[str, Any]]) -> tuple[Recording, ...]:
    """One entry a recording, with its transcription, oldest first."""
    known: dict[str, dict[str, Any]] = {}
    words: dict[str, str] = {}
    for fact in facts:
        part = fact.get("recording")
        if isinstance(part, Mapping):
            entry = known.setdefault(str(part.get("sid") or ""), {})
            entry.update({key: value for key, value in part.items() if value is not None and value != ""})
        part = fact.get("transcription")
        if isinstance(part, Mapping) and part.get("text"):
            words[str(part.get("recording") or "")] = str(part["text"]).strip()
    # A transcription whose recording was never announced still proves that there is one.
    for sid in words.keys() - known.keys():
        known[sid] = {"status": "pending"}
    found = (_recording(sid, entry, words.get(sid, "")) for sid, entry in known.items())
    return tuple(sorted(found, key=lambda item: (item.started_at, item.sid)))


def _recording(sid: str, entry: Mapping[str, Any], text: str) -> Recording:
    duration = entry.get("duration")
    return Recording(
        sid=sid,
        status=str(entry.get("status") or ""),
        duration=duration if isinstance(duration, int) and duration >= 0 else None,
        url=str(entry.get("url") or ""),
        source=str(entry.get("source") or ""),
        error=str(entry.get("error") or ""),
        started_at=str(entry.get("started_at") or ""),
        text=text,
    )


def _outcome(facts: Sequence[Mapping[str, Any]], recordings: Sequence[Recording]) -> Outcome:
    """A call answered by a robot always "completes"; whether a person spoke or a message was left must be derived."""
    if str(_last(facts, "direction") or "inbound") != "inbound":
        return "outbound"
    if any(recording.exists and not recording.is_conversation for recording in recordings):
        return "voicemail"
    if any(map(_was_answered, facts)):
        return "answered"
    if any(recording.exists for recording in recordings):
        return "answered"
    over = any(fact.get("event") in ("call.ended", "call.missed", "call.silent") for fact in facts)
    return "missed" if over or any(item.status in ("absent", "failed") for item in recordings) else "ringing"


def _was_answered(fact: Mapping[str, Any]) -> bool:
    if fact.get("dial_status") in _TALKED:
        return True
    return bool(fact.get("leg_duration")) or fact.get("leg_status") == "in-progress"


def _author(facts: Sequence[Mapping[str, Any]]) -> Author:
    """The caller; nobody when the number was withheld or is not a number."""
    caller = _last(facts, "caller")
    trust: Trust = "unverified"
    evidence = ""
    for fact in facts:
        decided = fact.get("trust") in ("verified", "failed")
        if fact.get("caller") == caller and (decided or (fact.get("evidence") and trust == "unverified")):
            trust, evidence = fact.get("trust") or trust, str(fact.get("evidence") or "")
    name = str(_last(facts, "caller_name") or "")
    if not caller:
        raw = "" if _last(facts, "withheld") else str(_last(facts, "caller_raw") or "")
        return Author(kind="phone", display_name=name or raw, evidence=_nobody(facts))
    return Author(
        kind="phone",
        value=str(caller),
        display_name=name,
        trust=trust,
        evidence=evidence or "caller ID as the network reported it, not attested",
    )


def _nobody(facts: Sequence[Mapping[str, Any]]) -> str:
    return "the caller withheld the number" if _last(facts, "withheld") else "no caller number was reported"


def _subject(outcome: Outcome, author: Author) -> str:
    kind = {
        "voicemail": "Voicemail from",
        "missed": "Missed call from",
        "answered": "Call from",
        "ringing": "Call from",
        "outbound": "Call to",
    }[outcome]
    number = author.value or ("a withheld number" if "withheld" in author.evidence else "an unknown number")
    if author.display_name and author.display_name != author.value:
        return f"{kind} {author.display_name} ({number})" if author.value else f"{kind} {author.display_name}"
    return f"{kind} {number}"


def _text(
    outcome: Outcome, recordings: Sequence[Recording], facts: Sequence[Mapping[str, Any]], duration: int | None
) -> str:
    if outcome == "voicemail":
        return "\n\n".join(_voicemail(item) for item in recordings if item.exists and not item.is_conversation)
    if outcome == "missed":
        return f"Missed call, no voicemail{_why_no_voicemail(recordings)}."
    if outcome == "answered":
        talked = _last(facts, "dial_duration") or duration
        return f"Call answered, {talked} s." if talked else "Call answered."
    if outcome == "outbound":
        return f"Outbound call: {_last(facts, 'status') or 'started'}."
    return "The phone is ringing."


def _voicemail(recording: Recording) -> str:
    if recording.text:
        return recording.text
    length = "" if recording.duration is None else f", {recording.duration} s"
    return f"Voicemail{length} (transcription not available)"


def _why_no_voicemail(recordings: Sequence[Recording]) -> str:
    for recording in recordings:
        if recording.status == "failed":
            code = f", error {recording.error}" if recording.error else ""
            return f" (the provider could not record it{code})"
        if recording.error in _SILENCE:
            return f" ({_SILENCE[recording.error]})"
    return ""


def _started_at(ended: Sequence[Mapping[str, Any]], recordings: Sequence[Recording]) -> datetime | None:
    """When the call began: its end less its length, else when the first recording began."""
    end, duration = parse_instant(_last(ended, "at")), _last(ended, "duration")
    if end is not None and isinstance(duration, int) and 0 <= duration < _LONGEST:
        with suppress(OverflowError):
            return end - timedelta(seconds=duration)
    starts = [start for start in (parse_instant(item.started_at) for item in recordings) if start is not None]
    return min(starts, default=None)


def parse_instant(value: Any) -> datetime | None:
    """An aware datetime from ISO 8601 text, or None."""
    if not isinstance(value, str) or not value:
        return None
    try:
        instant = datetime.fromisoformat(value)
    except ValueError:
        return None
    return instant if instant.tzinfo else None


def _fields(
    facts: Sequence[Mapping[str, Any]],
    outcome: Outcome,
    recordings: Sequence[Recording],
    duration: int | None,
    started_at: datetime | None,
) -> dict[str, Any]:
    """The call in figures, for the comment's `fields`; only what is known."""
    known = {
        "outcome": outcome,
        "duration": duration,
        "started_at": started_at.isoformat() if started_at else None,
        "recordings": [
            {"sid": item.sid, "status": item.status, "duration": item.duration, "url": item.url, "error": item.error}
            for item in recordings
        ],
    }
    for key in ("account", "call", "direction", "status", "called", "dial_status", "forwarded_from", "stir", "origin"):
        known[key] = _last(facts, key)
    return {key: value for key, value in known.items() if value not in (None, "", [])}
