"""Calendar invitations -> what, when and who, as text. RFC 5545 (iCalendar), RFC 5546 (methods).

A linear reader of content lines, for people: times are shown as written with the zone's name as written, since a
wrong conversion is worse than none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

MAX_CALENDAR: Final = 200_000  # characters that are looked at
MAX_EVENTS: Final = 10
MAX_PEOPLE: Final = 50

_METHODS: Final = {
    "REQUEST": "Invitation", "CANCEL": "Cancelled", "REPLY": "Answer to invitation", "COUNTER": "New time proposed",
    "DECLINECOUNTER": "Proposal declined", "ADD": "Invitation", "REFRESH": "Invitation asked for again",
}  # fmt: skip
_MOMENT: Final = re.compile(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(?:\d\d)?(Z?))?\Z")
_ESCAPES: Final = re.compile(r"\\([nN,;\\])")
_PARAMETER: Final = re.compile(r';([A-Za-z-]{1,40})=("[^"]*+"|[^;:,"]*+)')


@dataclass(slots=True)
class Event:
    """One event, its values as people read them."""

    method: str = ""
    summary: str = ""
    start: str = ""
    end: str = ""
    location: str = ""
    repeats: str = ""
    description: str = ""
    organizer: str = ""
    people: list[str] = field(default_factory=list)


def read(text: str) -> list[Event]:
    """The events of a calendar. Never raises; linear."""
    events: list[Event] = []
    method = ""
    event: Event | None = None
    inner = 0  # alarms inside an event have summaries and attendees of their own
    for line in re.sub(r"\r?\n[ \t]", "", text[:MAX_CALENDAR]).split("\n"):
        name, parameters, value = _content_line(line.rstrip("\r"))
        if name == "METHOD":
            method = value.upper()[:40]
        elif name == "BEGIN":
            if value.upper() in ("VEVENT", "VTODO") and event is None and len(events) < MAX_EVENTS:
                event = Event()
                events.append(event)
            elif event is not None:
                inner += 1
        elif name == "END":
            if inner:
                inner -= 1
            elif value.upper() in ("VEVENT", "VTODO"):
                event = None
        elif event is not None and not inner:
            _set(event, name, parameters, value)
    for event in events:
        event.method = method
    return events


def describe(event: Event, *, description: bool = False) -> str:
    """An event as a few lines of text; with the organizer's own `description` when the mail has no other text."""
    lines = [f"{_METHODS.get(event.method, 'Event')}: {event.summary or '(no title)'}"]
    when = event.start
    if event.end and event.end != event.start:
        when = f"{event.start} - {event.end}" if event.start else f"until {event.end}"
    for label, value in (
        ("When", when),
        ("Repeats", event.repeats),
        ("Where", event.location),
        ("Organizer", event.organizer),
        ("Who", ", ".join(event.people)),
    ):
        if value:
            lines.append(f"{label}: {value}")
    if description and event.description:
        lines += ["", event.description]
    return "\n".join(lines)


def _content_line(line: str) -> tuple[str, dict[str, str], str]:
    """`DTSTART;TZID=Europe/Berlin:20250203T100000` -> (name, parameters, value); a colon in quotes is none."""
    head = re.match(r"[A-Za-z0-9-]{1,60}", line)
    if head is None:
        return "", {}, ""
    position = head.end()
    parameters: dict[str, str] = {}
    while position < len(line) and len(parameters) < 50:
        match = _PARAMETER.match(line, position)
        if match is None:
            break
        parameters[match.group(1).upper()] = match.group(2).strip('"')
        position = match.end()
    colon = line.find(":", position)
    return head.group().upper(), parameters, line[colon + 1 :].strip() if colon >= 0 else ""


def _set(event: Event, name: str, parameters: dict[str, str], value: str) -> None:
    if name == "SUMMARY":
        event.summary = _one_line(value)
    elif name == "LOCATION":
        event.location = _one_line(value)
    elif name == "DESCRIPTION":
        event.description = _unescape(value).strip()[:20_000]
    elif name == "DTSTART":
        event.start = _moment(parameters, value)
    elif name in ("DTEND", "DUE"):
        event.end = _moment(parameters, value)
    elif name == "DURATION" and not event.end:
        event.end = f"for {value[:40]}"
    elif name == "RRULE":
        event.repeats = value[:200]
    elif name == "ORGANIZER":
        event.organizer = _person(parameters, value)
    elif name == "ATTENDEE" and len(event.people) < MAX_PEOPLE:
        event.people.append(_person(parameters, value))


def _moment(parameters: dict[str, str], value: str) -> str:
    match = _MOMENT.match(value)
    if match is None:
        return value[:60]
    year, month, day, hour, minute, zulu = match.groups()
    date = f"{year}-{month}-{day}"
    if hour is None:
        return date
    zone = "UTC" if zulu else parameters.get("TZID", "")[:60]
    return f"{date} {hour}:{minute}" + (f" ({zone})" if zone else "")


def _person(parameters: dict[str, str], value: str) -> str:
    address = value[7:] if value.lower().startswith("mailto:") else value
    name = _one_line(parameters.get("CN", ""))
    person = f"{name} <{address[:320]}>" if name and name != address else address[:320]
    state = parameters.get("PARTSTAT", "").lower().replace("-", " ")
    return f"{person} ({state[:30]})" if state and state != "needs action" else person


def _one_line(value: str) -> str:
    return " ".join(_unescape(value).split())[:500]


def _unescape(value: str) -> str:
    return _ESCAPES.sub(lambda match: "\n" if match.group(1) in "nN" else match.group(1), value)
