"""Invitations as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normalizer import calendar_text, mime

REQUEST = """BEGIN:VCALENDAR
PRODID:-//Example//EN
METHOD:REQUEST
BEGIN:VTIMEZONE
TZID:W. Europe Standard Time
BEGIN:STANDARD
DTSTART:16010101T030000
END:STANDARD
END:VTIMEZONE
BEGIN:VEVENT
UID:1@x
SUMMARY;LANGUAGE=de:Termin\\, wichtig\\; mit
  Folgezeile
DTSTART;TZID=W. Europe Standard Time:20250203T100000
DTEND;TZID="W. Europe Standard Time":20250203T113000
LOCATION:Raum 1\\nErdgeschoss
ORGANIZER;CN="Müller: Anna":mailto:anna@x.org
ATTENDEE;CN=Bob;PARTSTAT=ACCEPTED;RSVP=TRUE:mailto:bob@y.org
ATTENDEE;PARTSTAT=NEEDS-ACTION:mailto:eve@z.org
RRULE:FREQ=WEEKLY;COUNT=3
DESCRIPTION:Bitte bringt\\ndie Unterlagen mit.
BEGIN:VALARM
SUMMARY:Alarm
ATTENDEE:mailto:nobody@x.org
END:VALARM
END:VEVENT
END:VCALENDAR
"""
SHOWN = """Invitation: Termin, wichtig; mit Folgezeile
When: 2025-02-03 10:00 (W. Europe Standard Time) - 2025-02-03 11:30 (W. Europe Standard Time)
Repeats: FREQ=WEEKLY;COUNT=3
Where: Raum 1 Erdgeschoss
Organizer: Müller: Anna <anna@x.org>
Who: Bob <bob@y.org> (accepted), eve@z.org"""


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_an_invitation(ends: str) -> None:
    (event,) = calendar_text.read(REQUEST.replace("\n", ends))
    assert calendar_text.describe(event) == SHOWN
    assert calendar_text.describe(event, description=True) == SHOWN + "\n\nBitte bringt\ndie Unterlagen mit."


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        ("METHOD:CANCEL\nBEGIN:VEVENT\nSUMMARY:x\nEND:VEVENT", "Cancelled: x"),
        ("METHOD:REPLY\nBEGIN:VEVENT\nATTENDEE;PARTSTAT=DECLINED:mailto:a@x\nEND:VEVENT",
         "Answer to invitation: (no title)\nWho: a@x (declined)"),
        ("BEGIN:VTODO\nSUMMARY:x\nDUE:20250203T100000Z", "Event: x\nWhen: until 2025-02-03 10:00 (UTC)"),
        ("BEGIN:VEVENT\nDTSTART;VALUE=DATE:20250203", "Event: (no title)\nWhen: 2025-02-03"),
        ("BEGIN:VEVENT\nDTSTART:next week\nDURATION:PT1H", "Event: (no title)\nWhen: next week - for PT1H"),
        ("BEGIN:VEVENT\nSUMMARY;X=\"a:b\";Y=c:title", "Event: title"),
    ],
)  # fmt: skip
def test_what_is_said(lines: str, shown: str) -> None:
    (event,) = calendar_text.read(f"BEGIN:VCALENDAR\n{lines}")
    assert calendar_text.describe(event) == shown


def test_many_events_and_people_are_bounded() -> None:
    one = "BEGIN:VEVENT\n" + "ATTENDEE:mailto:a@x\n" * 200 + "END:VEVENT\n"
    events = calendar_text.read(one * 30)
    assert len(events) == calendar_text.MAX_EVENTS
    assert len(events[0].people) == calendar_text.MAX_PEOPLE


@given(st.text(alphabet='BEGIN:VTEND;="\\\n\r, abc0123Z-', max_size=300))
def test_nothing_raises(text: str) -> None:
    for event in calendar_text.read(f"BEGIN:VEVENT\n{text}"):
        calendar_text.describe(event, description=True)


def invitation(letter: str) -> bytes:
    return (
        "From: a@x.org\nContent-Type: multipart/alternative; boundary=B\n\n--B\n\n"
        f"{letter}\n--B\nContent-Type: text/calendar; method=REQUEST; charset=utf-8\n\n{REQUEST}--B--\n"
    ).encode()


def test_it_stands_above_the_letter_and_stays_a_file() -> None:
    read = mime.parse(invitation("See you!"))
    assert read.text == f"{SHOWN}\n\nSee you!"
    assert [item.content_type for item in read.attachments] == ["text/calendar"]
    assert "Unterlagen" in mime.parse(invitation("")).text


def test_the_same_invitation_twice_is_shown_once() -> None:
    twice = invitation("x").replace(b"--B--", b"--B\nContent-Type: application/ics\n\n" + REQUEST.encode() + b"--B--")
    assert mime.parse(twice).text.count("Invitation:") == 1
