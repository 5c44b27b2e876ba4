"""Twilio's requests about a call (twilio.com/docs/voice/twiml#request-parameters): what a number's owner receives."""

from __future__ import annotations

import random

from gateway.demo.people import Matter
from gateway.demo.shapes import Call

ACCOUNT = "AC" + "de30" * 8
OUR_NUMBER = "+442079460123"  # Ofcom keeps 020 7946 0000-0999 for fiction
WITHHELD = "+266696687"  # ANONYMOUS on a keypad: Twilio's sign for a caller who hides the number


def write_call(matter: Matter, kind: str, rng: random.Random) -> Call:
    """All requests of one call.

    `voicemail` in the usual order; `shuffled`: the same in any order; `missed`: hung up at the greeting; `withheld`: a
    voicemail from nobody; `silent`: a recording without a word; `retried`: every callback sent twice.
    """
    call = _Call(matter, WITHHELD if kind == "withheld" else matter.person.phone, rng)
    story = {
        "missed": [call.rings(), call.ended(4)],
        "silent": [call.rings(), call.ended(11), call.recording_absent()],
    }.get(kind, [call.rings(), call.spoke(), call.ended(48), call.recording(), call.transcription()])
    if kind == "shuffled":
        rng.shuffle(story)
    if kind == "retried":
        story = [request for request in story for _ in range(2)]
    return Call(tuple(story))


class _Call:
    def __init__(self, matter: Matter, caller: str, rng: random.Random) -> None:
        self._words = matter.brief
        self._seconds = str(rng.randrange(9, 40))
        self._recording = _sid("RE", rng)
        self._transcription = _sid("TR", rng)
        self._account = f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT}"
        self._common = {
            "CallSid": _sid("CA", rng),
            "AccountSid": ACCOUNT,
            "From": caller,
            "To": OUR_NUMBER,
            "ApiVersion": "2010-04-01",
            "Direction": "inbound",
        }

    def rings(self) -> tuple[str, dict[str, str]]:
        places = {"FromCity": "LONDON", "FromCountry": "GB", "FromState": "", "FromZip": ""}
        return "voice", {**self._common, **places, "CallStatus": "ringing"}

    def spoke(self) -> tuple[str, dict[str, str]]:
        said = {"RecordingUrl": self._url(), "RecordingSid": self._recording, "RecordingDuration": self._seconds}
        return "recorded", {**self._common, "CallStatus": "completed", "Digits": "hangup", **said}

    def ended(self, seconds: int) -> tuple[str, dict[str, str]]:
        counted = {"CallDuration": str(seconds), "Duration": "1", "SequenceNumber": "0"}
        return "status", {
            **self._common,
            "CallStatus": "completed",
            "CallbackSource": "call-progress-events",
            **counted,
        }

    def recording(self) -> tuple[str, dict[str, str]]:
        return "recording", self._recorded("completed", self._seconds) | {"RecordingUrl": self._url()}

    def recording_absent(self) -> tuple[str, dict[str, str]]:
        return "recording", self._recorded("absent", "-1") | {"ErrorCode": "16102"}

    def transcription(self) -> tuple[str, dict[str, str]]:
        said = {"TranscriptionText": self._words, "TranscriptionStatus": "completed", "TranscriptionType": "fast"}
        ids = {"TranscriptionSid": self._transcription, "RecordingSid": self._recording, "RecordingUrl": self._url()}
        return "transcription", {**self._common, "CallStatus": "completed", **said, **ids}

    def _recorded(self, status: str, seconds: str) -> dict[str, str]:
        return {
            "AccountSid": ACCOUNT,
            "CallSid": self._common["CallSid"],
            "RecordingSid": self._recording,
            "RecordingStatus": status,
            "RecordingDuration": seconds,
            "RecordingChannels": "1",
            "RecordingSource": "RecordVerb",
        }

    def _url(self) -> str:
        return f"{self._account}/Recordings/{self._recording}"


def _sid(prefix: str, rng: random.Random) -> str:
    return f"{prefix}{rng.getrandbits(128):032x}"
