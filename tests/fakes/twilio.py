"""A caller and the Twilio between us: real signatures, real parameters, every callback of a call.

The signature is computed here from Twilio's description (twilio.com/docs/usage/security), not by the library that the
adapter uses, so that a mistake in one is not repeated by the other.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

ACCOUNT = "AC0123456789abcdef0123456789abcdef"
TOKEN = "12345678901234567890123456789012"
OUR_NUMBER = "+442071838750"


def sign(url: str, parameters: Mapping[str, str], token: str, *, algorithm: str = "sha1") -> str:
    """Base64 HMAC over the URL and, in order of their names, each parameter's name and value."""
    text = url + "".join(name + parameters[name] for name in sorted(parameters))
    return base64.b64encode(hmac.new(token.encode(), text.encode(), algorithm).digest()).decode()


@dataclass(frozen=True)
class Post:
    """One request Twilio makes: what to send where."""

    url: str
    body: bytes
    headers: dict[str, str]


def form_post(url: str, parameters: Mapping[str, str], token: str = TOKEN) -> Post:
    """A signed form."""
    headers = {
        "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
        "X-Twilio-Signature": sign(url, parameters, token),
        "User-Agent": "TwilioProxy/1.1",
    }
    return Post(url, urlencode(parameters).encode(), headers)


def json_post(url: str, body: bytes, token: str = TOKEN) -> Post:
    """A signed JSON body: its hash is in the query, and only the URL is signed."""
    signed = f"{url}{'&' if '?' in url else '?'}bodySHA256={hashlib.sha256(body).hexdigest()}"
    return Post(signed, body, {"Content-Type": "application/json", "X-Twilio-Signature": sign(signed, {}, token)})


def shared_key_post(url: str, parameters: Mapping[str, str], key: str, secret: str) -> Post:
    """A form signed with a SharedKey (HMAC-SHA256), as in the 2026 beta."""
    plain = form_post(url, parameters)
    signature = sign(url, parameters, secret, algorithm="sha256")
    settings = {"X-Twilio-Webhooks-Signature-Settings": f"key={key},algorithm=HMAC_SHA256"}
    return Post(url, plain.body, plain.headers | settings | {"X-Twilio-Signature": signature})


def sid(prefix: str, seed: str) -> str:
    """A Twilio id: two letters and 32 hex digits."""
    return prefix + hashlib.md5(seed.encode()).hexdigest()


@dataclass(frozen=True)
class Call:
    """One inbound call to `hooks` (the public URL of the inbox, `https://host/hooks/phone`)."""

    hooks: str
    seed: str = "1"
    caller: str = "+4930901820"
    token: str = TOKEN
    account: str = ACCOUNT
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def sid(self) -> str:
        return sid("CA", self.seed)

    @property
    def recording_sid(self) -> str:
        return sid("RE", self.seed)

    @property
    def about(self) -> str:
        return f"call:{self.account}/{self.sid}"

    def parameters(self, status: str = "ringing", **more: str) -> dict[str, str]:
        """What every request about this call says."""
        ends = {"From": self.caller, "Caller": self.caller, "To": OUR_NUMBER, "Called": OUR_NUMBER}
        base = {"CallSid": self.sid, "AccountSid": self.account, "ApiVersion": "2010-04-01", "Direction": "inbound"}
        return base | ends | {"CallStatus": status} | dict(self.extra) | more

    def post(self, tail: str, parameters: Mapping[str, str]) -> Post:
        return form_post(f"{self.hooks}/{tail}", parameters, self.token)

    def voice(self) -> Post:
        return self.post("voice", self.parameters())

    def ended(self, seconds: int = 73, status: str = "completed") -> Post:
        facts = {"CallDuration": str(seconds), "Duration": str(seconds // 60 + 1), "SequenceNumber": "0"}
        facts |= {"CallbackSource": "call-progress-events", "Timestamp": "Sat, 01 Aug 2026 10:00:33 +0000"}
        return self.post("status", self.parameters(status, **facts))

    def recorded(self, seconds: int = 17) -> Post:
        url = f"https://api.twilio.com/2010-04-01/Accounts/{self.account}/Recordings/{self.recording_sid}"
        facts = {"RecordingSid": self.recording_sid, "RecordingUrl": url, "RecordingDuration": str(seconds)}
        return self.post("recorded", self.parameters("completed", Digits="hangup", **facts))

    def recording(self, status: str = "completed", seconds: int = 16, error: str = "0") -> Post:
        """The recording callback, which names neither end of the call."""
        said = {"AccountSid": self.account, "CallSid": self.sid, "RecordingSid": self.recording_sid}
        said |= {"RecordingStatus": status, "RecordingDuration": str(seconds), "RecordingSource": "RecordVerb"}
        said |= {"ErrorCode": error, "RecordingUrl": "http://169.254.169.254/latest/meta-data"}
        return self.post("recording", said)

    def transcription(self, text: str = "My order never arrived.", status: str = "completed") -> Post:
        facts = {"TranscriptionSid": sid("TR", self.seed), "TranscriptionText": text, "TranscriptionStatus": status}
        return self.post("transcription", self.parameters("completed", RecordingSid=self.recording_sid, **facts))

    def dialed(self, status: str = "no-answer", seconds: int = 0) -> Post:
        facts = {"DialCallSid": sid("CA", self.seed + "leg"), "DialCallStatus": status}
        return self.post("dialed", self.parameters("in-progress", DialCallDuration=str(seconds), **facts))
