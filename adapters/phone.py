"""Phone calls through Twilio Voice.

Twilio asks us, by signed form posts, what to do with a call, and tells us what became of it:

    /hooks/phone/voice       a call comes in; our answer (TwiML) greets and records      /status   the call ended
    /hooks/phone/recorded    the caller is done speaking            /dialed          agents answered, or did not
    /hooks/phone/recording   the recording is ready, or absent      /transcription   its words are known
    /hooks/phone/fallback    the first URL failed; another gateway is asked

    CallSid=CA...&AccountSid=AC...&From=%2B4930901820&To=%2B442071838750&CallStatus=ringing&Direction=inbound&...

Each becomes an update about `call:<AccountSid>/<CallSid>`; `normalizer.calls.fold` makes one comment of all of them.
Sources: twilio.com/docs/voice/twiml, /voice/twiml/record, /usage/security#validating-requests.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from functools import cache, lru_cache
from typing import Any, ClassVar, Final, Literal, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from multidict import MultiDict, MultiDictProxy, MultiMapping
from pydantic import Field, SecretStr
from twilio.request_validator import HMAC_SHA1, HMAC_SHA256, RequestValidator
from twilio.twiml.voice_response import VoiceResponse

from adapters.base import Adapter, Answer, InboundRequest, InboxOptions, Raw, Refused, UpdateDraft
from normalizer.addresses import canonical_phone
from normalizer.calls import fold
from normalizer.fingerprint import delivery_key
from normalizer.message import Original, Trust

Event = Literal["voice", "status", "recording", "transcription", "recorded", "dialed", "fallback"]

_TAILS: Final[Mapping[str, Event]] = {
    "voice": "voice",
    "status": "status",
    "recording": "recording",
    "recording-status": "recording",
    "transcription": "transcription",
    "recorded": "recorded",
    "dialed": "dialed",
    "fallback": "fallback",
}
_MAX_FIELDS: Final = 500  # Twilio sends about 40 and adds some without notice
_REMEMBERED: Final = 16 * 1024  # octets of a body; Twilio's have two thousand
_SID: Final = re.compile(r"[A-Z]{2}[0-9a-f]{32}")
_UNANSWERED: Final = frozenset({"busy", "failed", "no-answer", "canceled"})
_TERMINAL: Final = _UNANSWERED | {"completed"}


class PhoneOptions(InboxOptions):
    """One Twilio number, or several with the same greeting."""

    channel: str = "phone"
    auth_token: SecretStr | None = Field(
        default=None, description="Auth Token of the Twilio account: checks signatures"
    )
    secondary_auth_token: SecretStr | None = Field(default=None, description="second Auth Token, while one is rotated")
    shared_keys: dict[str, SecretStr] = Field(
        default_factory=dict,
        description="Twilio SharedKeys, key id to secret; a request that names one uses HMAC_SHA256",
    )
    account_sid: str = Field(default="", description="if set, calls of other Twilio accounts are refused")
    greeting: str = Field(
        default="Thank you for calling. Please leave a message after the tone, and we will get back to you.",
        description="what a caller hears before the tone",
    )
    goodbye: str = Field(
        default="We did not receive a message. Goodbye.", description="what a caller hears who said nothing"
    )
    unavailable: str = Field(
        default="We cannot take your message right now. Please call again in a few minutes.",
        description="what a caller hears while nothing can be stored",
    )
    language: str = Field(default="en-US", description="language of these sentences, as Twilio's <Say> takes it")
    voice: str = Field(default="", description="voice of these sentences, e.g. Polly.Joanna; empty: Twilio's default")
    record_max_seconds: int = Field(default=120, ge=5, le=3600, description="longest voicemail, in seconds")
    transcribe: bool = Field(
        default=False, description="let Twilio transcribe voicemails (US English, charged, cut to 120 s)"
    )
    region: str = Field(default="", description="country of numbers written without their country code, e.g. DE")


class Phone(Adapter[PhoneOptions]):
    """Twilio Voice webhooks in, TwiML out."""

    channel = "phone"
    Options: ClassVar[type[InboxOptions]] = PhoneOptions
    # Also below `voice/`, where numbers set up for `/voice` commonly have their callbacks.
    tails = frozenset(_TAILS) | {f"voice/{tail}" for tail in _TAILS if tail != "voice"}

    def missing(self) -> Sequence[str]:
        """Without any secret no signature can be checked."""
        return () if self._tokens() or self._shared_keys() else ("auth_token",)

    def hooks(self) -> Sequence[str]:
        """What a number asks for: who answers *A call comes in*, and who hears *Call status changes*."""
        return ("voice", "status")

    # --- is it Twilio? ------------------------------------------------------------------------------------------

    def authenticate(self, raw: Raw) -> None:
        """Check Twilio's signature over the configured public URL, and the account if one is configured."""
        request = raw.request
        if request is None:
            return
        secrets, algorithm = self._candidates(request.headers.get("X-Twilio-Webhooks-Signature-Settings", ""))
        signature = request.headers.get("X-Twilio-Signature", "").encode("utf-8", "replace")
        if not any(hmac.compare_digest(good, signature) for good in _signatures(request, secrets, algorithm)):
            raise Refused(403, "Twilio's signature does not fit this address and body: check auth_token and public_url")
        account = _parameters(raw).get("AccountSid", "")
        if self.options.account_sid and account != self.options.account_sid:
            raise Refused(403, f"inbox {self.inbox} takes calls of Twilio account {self.options.account_sid} only")

    def _tokens(self) -> list[str]:
        tokens = (self.options.auth_token, self.options.secondary_auth_token)
        return [token.get_secret_value() for token in tokens if token is not None and token.get_secret_value()]

    def _shared_keys(self) -> dict[str, str]:
        keys = {name: secret.get_secret_value() for name, secret in self.options.shared_keys.items()}
        return {name: secret for name, secret in keys.items() if secret}

    def _candidates(self, settings: str) -> tuple[list[str], str]:
        """Secrets and algorithm for a request. The sender may name a key; which algorithm it takes is ours to say."""
        if not settings.strip():
            if not self._tokens():
                variable = f"FRONTDESK_INBOXES__{self.inbox.upper()}__AUTH_TOKEN"
                raise Refused(
                    403,
                    f"inbox {self.inbox} cannot check Twilio's signature: "
                    f"set inboxes.{self.inbox}.auth_token ({variable})",
                )
            return self._tokens(), HMAC_SHA1
        named = dict(part.strip().partition("=")[::2] for part in settings.split(","))
        secret = self._shared_keys().get(named.get("key", ""))
        if secret is None or named.get("algorithm") != HMAC_SHA256:
            raise Refused(403, f"no SharedKey of that name for HMAC_SHA256 in inboxes.{self.inbox}.shared_keys")
        return [secret], HMAC_SHA256

    # --- what does it say? --------------------------------------------------------------------------------------

    def normalize(self, raw: Raw) -> Sequence[UpdateDraft]:
        """One update about the call. Raises Refused(400) for a request that names no call."""
        parameters = _parameters(raw)
        said = {name: parameters[name] for name in parameters}
        call, account = said.get("CallSid", ""), said.get("AccountSid", "")
        if not _SID.fullmatch(call) or not _SID.fullmatch(account):
            raise Refused(400, "not a Twilio voice request: CallSid and AccountSid must be Twilio ids")
        fact = _READERS[_event(raw.request.tail if raw.request else "", said)](said)
        facts = {"call": call, "account": account, **_common(said), **self._caller(said), **fact.facts}
        about, opens = call, fact.opens
        if _is_leg(said):
            # The leg to an agent belongs to the story of the call that rang the agent.
            about, opens, facts = said["ParentCallSid"], False, _leg(said, facts)
        facts = {key: value for key, value in facts.items() if value is not None and value is not False and value != ""}
        summary = fold([facts])
        return [
            UpdateDraft(
                external_id=call,
                kind="call",
                about=f"call:{account}/{about}",
                opens=opens,
                facts=facts,
                author=summary.author if "caller_raw" in facts or "withheld" in facts else None,
                attachments=summary.attachments,
                delivery_key=delivery_key("phone", account, call, *fact.identity),
                original=_original(raw),
            )
        ]

    def _caller(self, said: Mapping[str, str]) -> dict[str, Any]:
        """Facts about the two ends. No caller for requests that do not name one, and for calls we made ourselves."""
        called = said.get("To", "").strip()
        facts: dict[str, Any] = {"called": self._number(called) or called}
        if "From" not in said or _outbound(said):
            return facts
        raw = said["From"].strip()
        number = self._number(raw)
        trust, evidence = _attestation(said.get("StirVerstat", ""))
        facts |= {"caller": number, "caller_raw": raw, "caller_name": said.get("CallerName", "").strip()}
        facts |= {"withheld": number is None and _looks_withheld(raw), "trust": trust, "evidence": evidence}
        return facts

    def _number(self, raw: str) -> str | None:
        # Whoever dials by SIP or a client chooses the name in the address: it is nobody's number.
        if raw.lower().startswith(("sip:", "sips:", "client:")):
            return None
        return canonical_phone(raw, self.options.region or None)

    # --- what does Twilio do next? ------------------------------------------------------------------------------

    def acknowledge(self, request: InboundRequest, receipt_ids: Sequence[str]) -> Answer:
        """TwiML where Twilio asks what to do; 204 where it only tells."""
        event = _event_of(request.tail)
        if event in ("voice", "fallback"):
            return self._ask_for_message(request)
        if event == "dialed":
            said = _parameters(Raw(request.body, request=request))
            return self._ask_for_message(request) if said.get("DialCallStatus") in _UNANSWERED else _hang_up()
        return _hang_up() if event == "recorded" else Answer(204)

    def refuse_temporarily(self, request: InboundRequest) -> Answer | None:
        """A caller on the line hears the truth, to call again, since Twilio repeats no voice request by itself."""
        if _event_of(request.tail) not in ("voice", "fallback", "dialed"):
            return None
        response = VoiceResponse()
        response.say(self.options.unavailable, **self._speech())
        response.hangup()
        return _twiml(response)

    def _ask_for_message(self, request: InboundRequest) -> Answer:
        """Greet and record. Without `action` Twilio would ask for this document again, for ever."""
        base = _base_path(request)
        transcription = {"transcribe": True, "transcribe_callback": f"{base}/transcription"}
        longest = self.options.record_max_seconds
        response = VoiceResponse()
        response.say(self.options.greeting, **self._speech())
        response.record(
            action=f"{base}/recorded",
            method="POST",
            max_length=min(longest, 120) if self.options.transcribe else longest,
            timeout=5,
            finish_on_key="#",
            play_beep=True,
            trim="trim-silence",
            recording_status_callback=f"{base}/recording",
            recording_status_callback_method="POST",
            recording_status_callback_event="completed absent",
            **(transcription if self.options.transcribe else {}),
        )
        # Reached only when nothing was said.
        response.say(self.options.goodbye, **self._speech())
        response.hangup()
        return _twiml(response)

    def _speech(self) -> dict[str, str]:
        spoken = {"language": self.options.language, "voice": self.options.voice}
        return {name: value for name, value in spoken.items() if value}


# --- the request ------------------------------------------------------------------------------------------------


def _parameters(raw: Raw) -> MultiMapping[str]:
    """What Twilio says, from the query (GET), a form or, for newer events, a JSON object. Raises Refused(400)."""
    request = raw.request
    if request is not None and request.method == "GET":
        return request.query
    if _is_json(raw):
        return _json_parameters(raw.body)
    return _remembered(raw.body) if len(raw.body) <= _REMEMBERED else _form_parameters(raw.body)


@lru_cache(maxsize=4)
def _remembered(body: bytes) -> MultiMapping[str]:
    """The same body is read to check its signature, its account and what it says, one after the other."""
    return _form_parameters(body)


def _form_parameters(body: bytes) -> MultiMapping[str]:
    try:
        pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise Refused(400, f"more than {_MAX_FIELDS} form fields") from None
    return MultiDictProxy(MultiDict(pairs))


def _is_json(raw: Raw) -> bool:
    declared = raw.request.headers.get("Content-Type", "") if raw.request else raw.content_type
    return declared.partition(";")[0].strip().lower() == "application/json"


def _json_parameters(body: bytes) -> MultiMapping[str]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(400, "the body is not JSON, or is nested too deeply") from None
    if not isinstance(value, dict):
        raise Refused(400, "the body is JSON, but not a JSON object")
    return MultiDict((key, str(item)) for key, item in value.items() if isinstance(item, str | int | float))


def _signatures(request: InboundRequest, secrets: Sequence[str], algorithm: str) -> Iterator[bytes]:
    """Every signature that would be right: for each secret, with the port written and not.

    Twilio signs the URL and, for forms, the parameters; JSON bodies by their hash in the signed query.
    Its own `RequestValidator.validate` is not used because it takes a JSON body's hash on trust when handed parsed
    parameters, raises on a missing signature, and breaks on IPv6 hosts.
    """
    raw = Raw(request.body, request=request)
    parameters: MultiMapping[str] | None = None
    if request.method != "GET" and _is_json(raw):
        _check_body_hash(request)
    elif request.method != "GET":
        parameters = _parameters(raw)
    for secret in secrets:
        for url in _with_and_without_port(request.url):
            try:
                yield str(RequestValidator(secret).compute_signature(url, parameters, algorithm)).encode()
            except UnicodeEncodeError:
                raise Refused(403, "the address holds bytes that are not UTF-8, which Twilio never signs") from None


def _check_body_hash(request: InboundRequest) -> None:
    claimed = request.query.getall("bodySHA256", [])
    actual = hashlib.sha256(request.body).hexdigest()
    if len(claimed) != 1 or not hmac.compare_digest(claimed[0].encode("utf-8", "replace"), actual.encode()):
        raise Refused(403, "the body does not have the SHA-256 that Twilio signed")


def _with_and_without_port(url: str) -> tuple[str, ...]:
    """The address as called, and with its port left out or its default written: Twilio signs either."""
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    host, colon, port = authority.rpartition(":")
    if not colon or not port.isdigit():
        default = "443" if scheme == "https" else "80"
        return url, f"{scheme}://{authority}:{default}{slash}{path}"
    return url, f"{scheme}://{host}{slash}{path}"


def _original(raw: Raw) -> Original:
    body = raw.body
    kind = "application/x-www-form-urlencoded"
    if raw.request is not None and raw.request.method == "GET":
        body = urlsplit(raw.request.url).query.encode("utf-8", "replace")
    elif _is_json(raw):
        kind = "application/json"
    return Original(content=body, size=len(body), sha256=hashlib.sha256(body).hexdigest(), content_type=kind)


# --- the facts --------------------------------------------------------------------------------------------------


class Fact(NamedTuple):
    """What one request adds: facts for `fold`, what tells it from other requests of its call, and if it opens."""

    facts: dict[str, Any]
    identity: tuple[str, ...]
    opens: bool = False


def _event_of(tail: str) -> Event | None:
    return _TAILS.get(tail.rpartition("/")[2])


def _event(tail: str, said: Mapping[str, str]) -> Event:
    """Which event a request tells of: by the path it came to, else (replay of stored bytes) by its parameters."""
    event = _event_of(tail)
    if event == "voice" and said.get("CallStatus") in _TERMINAL:
        return "status"
    if event is not None:
        return event
    telling: tuple[tuple[str, Event], ...] = (
        ("TranscriptionSid", "transcription"),
        ("RecordingStatus", "recording"),
        ("DialCallStatus", "dialed"),
        ("CallbackSource", "status"),
        ("RecordingUrl", "recorded"),
        ("ErrorUrl", "fallback"),
    )
    found = next((name for parameter, name in telling if parameter in said), None)
    return found or ("status" if said.get("CallStatus") in _TERMINAL else "voice")


def _read_voice(said: Mapping[str, str]) -> Fact:
    return Fact({"event": "call.started", "status": said.get("CallStatus")}, ("voice",))


def _read_fallback(said: Mapping[str, str]) -> Fact:
    facts = {"event": "call.started", "status": said.get("CallStatus"), "degraded": True}
    return Fact(facts | {"provider_error": said.get("ErrorCode")}, ("fallback",))


def _read_status(said: Mapping[str, str]) -> Fact:
    status, sequence = _required(said, "CallStatus"), said.get("SequenceNumber", "")
    over = status in _TERMINAL
    facts: dict[str, Any] = {"event": "call.ended" if over else "call.status", "status": status}
    # `Duration` is billed minutes; `CallDuration` is seconds.
    facts |= {"duration": _seconds(said.get("CallDuration")), "sequence": _seconds(sequence)}
    if _recording_sid(said):
        facts["recording"] = _recording(said, status="completed", source=said.get("RecordingSource", "CallRecord"))
    return Fact(facts, ("status", status, sequence), opens=over and not _outbound(said))


def _read_recording(said: Mapping[str, str]) -> Fact:
    status, sid = _required(said, "RecordingStatus"), _recording_sid(said)
    event = {"completed": "ready", "absent": "absent", "failed": "failed"}.get(status, "started")
    facts = {"event": f"call.recording_{event}", "recording": _recording(said, status=status)}
    opens = event != "started" and said.get("RecordingSource") != "OutboundAPI"
    return Fact(facts, ("recording", sid, status), opens)


def _read_recorded(said: Mapping[str, str]) -> Fact:
    sid = _recording_sid(said)
    facts: dict[str, Any] = {"event": "call.recording_pending"}
    if sid:
        facts["recording"] = _recording(said, status="pending", source="RecordVerb")
    # If no recording callback ever comes, this is the only trace of what the caller said.
    return Fact(facts, ("recorded", sid), opens=bool(sid) and not _outbound(said))


def _read_transcription(said: Mapping[str, str]) -> Fact:
    status, sid = said.get("TranscriptionStatus", ""), said.get("TranscriptionSid", "")
    event = "call.transcribed" if status == "completed" else "call.transcription_failed"
    text = said.get("TranscriptionText", "").strip()
    transcription = {"sid": sid, "status": status, "text": text, "recording": _recording_sid(said)}
    return Fact({"event": event, "transcription": transcription}, ("transcription", sid, status))


def _read_dialed(said: Mapping[str, str]) -> Fact:
    status = _required(said, "DialCallStatus")
    facts: dict[str, Any] = {"event": "call.missed" if status in _UNANSWERED else "call.dialed"}
    facts |= {"dial_status": status, "dial_duration": _seconds(said.get("DialCallDuration"))}
    if _recording_sid(said):
        facts["recording"] = _recording(said, status="pending", source="DialVerb")
    return Fact(facts, ("dialed", said.get("DialCallSid", ""), status), opens=not _outbound(said))


_READERS: Final[Mapping[Event, Callable[[Mapping[str, str]], Fact]]] = {
    "voice": _read_voice,
    "fallback": _read_fallback,
    "status": _read_status,
    "recording": _read_recording,
    "recorded": _read_recorded,
    "transcription": _read_transcription,
    "dialed": _read_dialed,
}


def _required(said: Mapping[str, str], name: str) -> str:
    value = said.get(name, "")
    if not value:
        raise Refused(400, f"Twilio's {name} is missing")
    return value


def _common(said: Mapping[str, str]) -> dict[str, Any]:
    places = (said.get("FromCity", ""), said.get("FromState", ""), said.get("FromCountry", ""))
    return {
        "direction": said.get("Direction"),
        "at": _instant(said.get("Timestamp")),
        "forwarded_from": said.get("ForwardedFrom"),
        "stir": said.get("StirVerstat"),
        "origin": ", ".join(place for place in places if place),
    }


def _is_leg(said: Mapping[str, str]) -> bool:
    return said.get("Direction") == "outbound-dial" and bool(_SID.fullmatch(said.get("ParentCallSid", "")))


def _leg(said: Mapping[str, str], facts: Mapping[str, Any]) -> dict[str, Any]:
    """What a leg to an agent adds to its parent call: whether somebody talked, and its recording if it has one."""
    status = said.get("CallStatus", "")
    leg = {"event": "call.leg", "leg": said["CallSid"], "leg_status": status, "account": facts["account"]}
    leg |= {"leg_duration": _seconds(said.get("CallDuration")), "at": facts["at"], "call": said["ParentCallSid"]}
    return leg | {key: facts[key] for key in ("recording", "transcription") if key in facts}


def _outbound(said: Mapping[str, str]) -> bool:
    direction = said.get("Direction", "inbound")
    return direction.startswith("outbound") or direction == "trunking-terminating"


def _recording_sid(said: Mapping[str, str]) -> str:
    sid = said.get("RecordingSid", "")
    if _SID.fullmatch(sid):
        return sid
    named = said.get("RecordingUrl", "").rstrip("/").rpartition("/")[2]
    return named if _SID.fullmatch(named) else ""


def _recording(said: Mapping[str, str], *, status: str, source: str = "") -> dict[str, Any]:
    """A recording by its ids. Its address is built here: the one in the request could point anywhere."""
    sid, account = _recording_sid(said), said["AccountSid"]
    error = said.get("ErrorCode", "")
    return {
        "sid": sid,
        "status": status,
        "duration": _seconds(said.get("RecordingDuration")),
        "url": f"https://api.twilio.com/2010-04-01/Accounts/{account}/Recordings/{sid}.wav" if sid else "",
        "source": said.get("RecordingSource", source),
        "error": "" if error == "0" else error,
        "started_at": _instant(said.get("RecordingStartTime")) or "",
    }


def _attestation(verstat: str) -> tuple[Trust, str]:
    """How far the caller ID is proven, by Twilio's STIR/SHAKEN verdict (twilio.com/docs/voice/trusted-calling)."""
    if verstat == "TN-Validation-Passed-A":
        return "verified", f"the originating carrier attests the caller's right to this number ({verstat})"
    if verstat.startswith("TN-Validation-Failed"):
        return "failed", f"the caller ID failed its check ({verstat})"
    return "unverified", f"the caller ID is not attested ({verstat})" if verstat else ""


def _looks_withheld(raw: str) -> bool:
    """Neither a name (SIP, client) nor a short number: words such as `anonymous`, or the digits that spell it."""
    if raw.lower().startswith(("sip:", "sips:", "client:")):
        return "anonymous" in raw.lower()
    return not raw.isdigit() or len(raw) > 6


def _seconds(value: str | None) -> int | None:
    return int(value) if value and value.isascii() and value.isdigit() and len(value) < 10 else None


def _instant(value: str | None) -> str | None:
    """ISO 8601 in UTC from Twilio's RFC 2822 time."""
    try:
        instant = parsedate_to_datetime(value) if value else None
    except (ValueError, TypeError, OverflowError):
        return None
    return instant.isoformat() if instant and instant.tzinfo else None


# --- the answers ------------------------------------------------------------------------------------------------


def _base_path(request: InboundRequest) -> str:
    """The path of this inbox, as Twilio called it: callbacks go where this request came in, proxy prefix included."""
    return urlsplit(request.url).path.rstrip("/").removesuffix(request.tail).rstrip("/")


@cache
def _hang_up() -> Answer:
    response = VoiceResponse()
    response.hangup()
    return _twiml(response)


def _twiml(response: VoiceResponse) -> Answer:
    return Answer(200, str(response).encode(), "text/xml; charset=utf-8")
