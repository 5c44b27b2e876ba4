"""Phone calls through Twilio: signatures, every callback, TwiML, and the one comment they fold into."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from adapters.base import Raw, Refused
from adapters.phone import Phone, PhoneOptions
from normalizer.calls import fold
from normalizer.message import UpdateDraft
from tests.channels.harness import ChannelTable, Row, arrived, inbound, receive
from tests.fakes.twilio import ACCOUNT, TOKEN, Call, Post, form_post, json_post, shared_key_post, sid, sign

HOOKS = "https://gw.example.test/hooks/phone"
SECOND_TOKEN = "second-token-second-token-second"
SHARED_SECRET = "whsk_shared_secret"
KEY = "webhooks_sharedkey_01"
CALL = Call(HOOKS)
WITHHELD = ["anonymous", "Anonymous", "unknown", "Restricted", "unavailable", "", "+266696687", "+86282452253"]
WITHHELD += ["+7378742833", "+2562533", "+8656696"]


def phone(**options: Any) -> Phone:
    values: dict[str, Any] = {"auth_token": SecretStr(TOKEN)} | options
    return Phone("phone", PhoneOptions(**values))


def raw(post: Post) -> Raw:
    return arrived(inbound("POST", post.url, post.headers, post.body))


def get(url: str, token: str = TOKEN) -> Raw:
    return arrived(inbound("GET", url, {"X-Twilio-Signature": sign(url, {}, token)}))


def facts(post: Post) -> Mapping[str, Any]:
    [draft] = receive(phone(), raw(post))
    assert isinstance(draft, UpdateDraft)
    return draft.facts


def leg(status: str = "completed", seconds: int = 40) -> Post:
    """The status callback of the leg that rang an agent."""
    own = {"CallSid": sid("CA", "leg"), "ParentCallSid": CALL.sid, "Direction": "outbound-dial"}
    own |= {"From": CALL.caller, "To": "+493012345678", "CallDuration": str(seconds)}
    return CALL.post("status", CALL.parameters(status) | own)


class TestPhone(ChannelTable):
    hooks = ("voice", "status")
    signature_headers = ("X-Twilio-Signature",)
    secrets = (TOKEN, SECOND_TOKEN, SHARED_SECRET)
    rows = (
        Row(
            "a call comes in",
            raw(Call(HOOKS, extra={"CallerName": "MUSTERMANN GMBH", "StirVerstat": "TN-Validation-Passed-A"}).voice()),
            [
                {
                    "kind": "call",
                    "about": CALL.about,
                    "external_id": CALL.sid,
                    "opens": False,
                    "facts.event": "call.started",
                    "author.value": "+4930901820",
                    "author.display_name": "MUSTERMANN GMBH",
                    "author.trust": "verified",
                    "facts.called": "+442071838750",
                }
            ],
            status=200,
            answer=[b"<Say", b"<Record", b'action="/hooks/phone/recorded"', b"<Hangup"],
        ),
        Row(
            "attestation that failed",
            raw(Call(HOOKS, extra={"StirVerstat": "TN-Validation-Failed-C"}).voice()),
            [{"author.trust": "failed", "author.value": "+4930901820"}],
        ),
        *(
            Row(
                f"withheld number {number!r}",
                raw(Call(HOOKS, caller=number, extra={"StirVerstat": "No-TN-Validation"}).voice()),
                [{"author.value": None, "author.display_name": "", "facts.withheld": True, "facts.caller": None}],
            )
            for number in WITHHELD
        ),
        Row(
            "a SIP address is nobody's number",
            raw(Call(HOOKS, caller="sip:+4930901820@evil.example").voice()),
            [{"author.value": None, "facts.withheld": None, "author.display_name": "sip:+4930901820@evil.example"}],
        ),
        Row(
            "called below voice/ by GET with parameters in the query",
            get(
                f"{HOOKS}/voice?CallSid={CALL.sid}&AccountSid={ACCOUNT}&From=%2B4930901820&To=%2B44207&CallStatus=ringing"
            ),
            [
                {
                    "about": CALL.about,
                    "author.value": "+4930901820",
                    "original.content": lambda body: b"CallSid=" in body,
                }
            ],
            status=200,
        ),
        Row(
            "the call ended",
            raw(CALL.ended()),
            [{"opens": True, "facts.duration": 73, "facts.event": "call.ended"}],
            status=204,
        ),
        Row(
            "progress opens nothing",
            raw(CALL.ended(status="in-progress")),
            [{"opens": False, "facts.event": "call.status"}],
        ),
        Row(
            "a terminal status sent to the voice URL",
            raw(CALL.post("voice", CALL.parameters("completed", CallDuration="3"))),
            [{"opens": True, "facts.event": "call.ended", "facts.duration": 3}],
        ),
        Row(
            "an outbound call that was busy",
            raw(CALL.post("status", CALL.parameters("busy") | {"Direction": "outbound-api"})),
            [{"opens": False, "author": None, "facts.status": "busy"}],
            status=204,
        ),
        Row(
            "the leg to an agent belongs to the call that rang it",
            raw(leg()),
            [{"opens": False, "about": CALL.about, "author": None, "facts.leg_duration": 40, "facts.duration": None}],
        ),
        Row(
            "recording ready; its address is ours, not the one given",
            raw(CALL.recording()),
            [
                {
                    "opens": True,
                    "author": None,
                    "facts.event": "call.recording_ready",
                    "attachments.0.source_url": f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT}/Recordings/"
                    f"{CALL.recording_sid}.wav",
                    "attachments.0.content_type": "audio/x-wav",
                }
            ],
            status=204,
        ),
        Row(
            "recording absent",
            raw(CALL.recording("absent", -1, "16102")),
            [{"opens": True, "facts.event": "call.recording_absent", "attachments": ()}],
        ),
        Row(
            "recording failed", raw(CALL.recording("failed")), [{"opens": True, "facts.event": "call.recording_failed"}]
        ),
        Row("recording begins", raw(CALL.recording("in-progress")), [{"opens": False, "attachments": ()}]),
        Row(
            "the caller has spoken",
            raw(CALL.recorded()),
            [{"opens": True, "facts.event": "call.recording_pending", "attachments": ()}],
            status=200,
            answer=[b"<Hangup"],
        ),
        Row(
            "the words",
            raw(CALL.transcription()),
            [
                {
                    "opens": False,
                    "facts.event": "call.transcribed",
                    "facts.transcription.text": "My order never arrived.",
                }
            ],
            status=204,
        ),
        Row(
            "no words",
            raw(CALL.transcription("", "failed")),
            [{"opens": False, "facts.event": "call.transcription_failed"}],
        ),
        Row(
            "agents did not answer",
            raw(CALL.dialed()),
            [{"opens": True, "facts.event": "call.missed"}],
            status=200,
            answer=[b"<Record"],
        ),
        Row(
            "an agent answered",
            raw(CALL.dialed("completed", 42)),
            [{"opens": True, "facts.event": "call.dialed", "facts.dial_duration": 42}],
            status=200,
            answer=[b"<Hangup"],
        ),
        Row(
            "the fallback URL",
            raw(CALL.post("fallback", CALL.parameters(ErrorCode="11200"))),
            [{"facts.degraded": True, "facts.event": "call.started", "opens": False}],
            status=200,
            answer=[b"<Record"],
        ),
        Row(
            "JSON with its hash in the signed query",
            raw(
                json_post(
                    f"{HOOKS}/status",
                    b'{"CallSid":"%s","AccountSid":"%s","CallStatus":"completed"}'
                    % (CALL.sid.encode(), ACCOUNT.encode()),
                )
            ),
            [{"about": CALL.about, "opens": True}],
        ),
        Row(
            "no CallSid", raw(form_post(f"{HOOKS}/voice", {"AccountSid": ACCOUNT, "From": "+4930901820"})), refused=400
        ),
        Row(
            "a name and its value run together carry the same signature but name no call",
            raw(
                Post(
                    f"{HOOKS}/voice",
                    b"AccountSid=%s&CallSidC=%s" % (ACCOUNT.encode(), CALL.sid[1:].encode()),
                    form_post(f"{HOOKS}/voice", {"AccountSid": ACCOUNT, "CallSid": CALL.sid}).headers,
                )
            ),
            refused=400,
        ),
        Row(
            "status without a status",
            raw(CALL.post("status", {"CallSid": CALL.sid, "AccountSid": ACCOUNT})),
            refused=400,
        ),
        Row("too many fields", raw(CALL.post("voice", {f"f{n}": "" for n in range(2000)})), refused=400),
    )

    def adapter(self) -> Phone:
        keys = {KEY: SecretStr(SHARED_SECRET)}
        return phone(secondary_auth_token=SecretStr(SECOND_TOKEN), shared_keys=keys)

    def bare(self) -> Phone:
        return phone(auth_token=SecretStr(""))


# --- signatures -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        f"{HOOKS}/voice?tenant=acme&line=support%2Fgeneral",
        f"{HOOKS}/voice/",
        "https://gw.example.test:8443/hooks/phone/voice",
        "https://gw.example.test:443/hooks/phone/voice",
        "http://[2001:db8::1]:8080/hooks/phone/voice",
        "http://[2001:db8::1]/hooks/phone/voice?q=%20+",
    ],
)
def test_the_address_is_signed_as_called(url: str) -> None:
    assert receive(phone(), raw(form_post(url, CALL.parameters())))


@pytest.mark.parametrize(
    ("signed", "public"),
    [
        ("https://gw.example.test/hooks/phone/voice", "https://gw.example.test:443/hooks/phone/voice"),
        ("https://gw.example.test:443/hooks/phone/voice", "https://gw.example.test/hooks/phone/voice"),
        ("http://gw.example.test:80/hooks/phone/voice", "http://gw.example.test/hooks/phone/voice"),
    ],
)
def test_the_port_may_be_written_or_not(signed: str, public: str) -> None:
    post = form_post(signed, CALL.parameters())
    assert receive(phone(), raw(Post(public, post.body, post.headers)))


def test_both_tokens_pass_while_one_is_rotated() -> None:
    rotating = phone(secondary_auth_token=SecretStr(SECOND_TOKEN))
    for token in (TOKEN, SECOND_TOKEN):
        assert receive(rotating, raw(Call(HOOKS, token=token).voice()))
    with pytest.raises(Refused):
        receive(rotating, raw(Call(HOOKS, token="third").voice()))


def test_a_repeated_name_is_signed_once_a_value() -> None:
    url = f"{HOOKS}/voice"
    text = url + "".join(name + value for name, value in sorted(CALL.parameters().items())) + "xa" + "xb"
    post = form_post(url, CALL.parameters())
    post.headers["X-Twilio-Signature"] = sign(text, {}, TOKEN)
    assert receive(phone(), raw(Post(url, post.body + b"&x=b&x=a&x=b", post.headers)))


def test_values_may_end_in_spaces_and_be_empty() -> None:
    assert receive(phone(), raw(CALL.post("voice", CALL.parameters(FromCity=" a ", FromState="", Note="ä 😡  "))))


class TestSharedKey:
    adapter = phone(shared_keys={KEY: SecretStr(SHARED_SECRET)})
    post = shared_key_post(f"{HOOKS}/voice", CALL.parameters(), KEY, SHARED_SECRET)

    def test_passes(self) -> None:
        assert receive(self.adapter, raw(self.post))

    @pytest.mark.parametrize(
        "settings",
        [
            "",
            f"key={KEY}",
            f"key={KEY},algorithm=HMAC_SHA1",
            f"key={KEY},algorithm=MD5",
            f"key={KEY},algorithm=hmac_sha256",
            "key=other,algorithm=HMAC_SHA256",
            "algorithm=HMAC_SHA256",
            "key=,algorithm=HMAC_SHA256",
            "=,=,,",
            "\udcff",
        ],
    )
    def test_the_header_chooses_neither_algorithm_nor_another_secret(self, settings: str) -> None:
        headers = self.post.headers | {"X-Twilio-Webhooks-Signature-Settings": settings}
        with pytest.raises(Refused) as refusal:
            receive(self.adapter, raw(Post(self.post.url, self.post.body, headers)))
        assert refusal.value.status == 403

    def test_the_shared_secret_never_signs_the_old_way(self) -> None:
        with pytest.raises(Refused):
            receive(self.adapter, raw(Call(HOOKS, token=SHARED_SECRET).voice()))

    def test_the_token_never_signs_the_new_way(self) -> None:
        with pytest.raises(Refused):
            receive(self.adapter, raw(shared_key_post(f"{HOOKS}/voice", CALL.parameters(), KEY, TOKEN)))

    def test_alone_it_is_enough_but_other_requests_are_told_what_to_set(self) -> None:
        alone = phone(auth_token=None, shared_keys={KEY: SecretStr(SHARED_SECRET)})
        assert alone.missing() == ()
        assert receive(alone, raw(self.post))
        with pytest.raises(Refused, match="FRONTDESK_INBOXES__PHONE__AUTH_TOKEN"):
            receive(alone, raw(CALL.voice()))


class TestJson:
    body = b'{"CallSid":"%s","AccountSid":"%s","CallStatus":"completed"}' % (CALL.sid.encode(), ACCOUNT.encode())

    def test_an_altered_body_is_refused_though_the_url_signature_is_right(self) -> None:
        post = json_post(f"{HOOKS}/status", self.body)
        with pytest.raises(Refused) as refusal:
            receive(phone(), raw(Post(post.url, self.body.replace(b"completed", b"failed"), post.headers)))
        assert refusal.value.status == 403

    def test_json_without_a_hash_is_refused(self) -> None:
        url = f"{HOOKS}/status"
        headers = {"Content-Type": "application/json", "X-Twilio-Signature": sign(url, {}, TOKEN)}
        with pytest.raises(Refused):
            receive(phone(), raw(Post(url, self.body, headers)))

    def test_a_signed_url_does_not_carry_a_form(self) -> None:
        post = json_post(f"{HOOKS}/status", self.body)
        headers = post.headers | {"Content-Type": "application/x-www-form-urlencoded"}
        with pytest.raises(Refused):
            receive(phone(), raw(Post(post.url, CALL.ended().body, headers)))


def test_another_account_is_refused_when_one_is_configured() -> None:
    only = phone(account_sid=ACCOUNT)
    assert receive(only, raw(CALL.voice()))
    with pytest.raises(Refused) as refusal:
        receive(only, raw(Call(HOOKS, account=sid("AC", "stranger")).voice()))
    assert refusal.value.status == 403


# --- TwiML ------------------------------------------------------------------------------------------------------


def twiml(adapter: Phone, post: Post) -> ET.Element:
    request = inbound("POST", post.url, post.headers, post.body, inbox="phone")
    answer = adapter.acknowledge(request, [])
    assert answer.status == 200
    assert answer.content_type.startswith("text/xml")
    return ET.fromstring(answer.body)


@pytest.mark.parametrize("tail", ["voice", "fallback", "voice/fallback"])
def test_the_greeting_records_and_calls_back_where_it_was_called(tail: str) -> None:
    adapter = phone(greeting="Grüezi & <hallo>", language="de-CH", transcribe=True, record_max_seconds=600)
    url = f"https://gw.example.test/prefix/hooks/phone/{tail}?tenant=acme"
    response = twiml(adapter, form_post(url, CALL.parameters()))
    say, record, goodbye, hangup = response
    assert (say.tag, say.text, say.get("language")) == ("Say", "Grüezi & <hallo>", "de-CH")
    assert (record.tag, goodbye.tag, hangup.tag) == ("Record", "Say", "Hangup")
    assert record.get("action") == "/prefix/hooks/phone/recorded"
    assert record.get("recordingStatusCallback") == "/prefix/hooks/phone/recording"
    assert record.get("recordingStatusCallbackEvent") == "completed absent"
    assert record.get("transcribeCallback") == "/prefix/hooks/phone/transcription"
    assert record.get("maxLength") == "120", "Twilio transcribes at most two minutes"


def test_every_callback_the_greeting_names_is_answered() -> None:
    record = twiml(phone(transcribe=True), CALL.voice())[1]
    for name in ("action", "recordingStatusCallback", "transcribeCallback"):
        assert str(record.get(name)).removeprefix("/hooks/phone/") in Phone.tails


def test_while_nothing_can_be_stored_callers_hear_to_call_again_and_callbacks_get_503() -> None:
    for post in (CALL.voice(), CALL.dialed()):
        answer = phone().refuse_temporarily(inbound("POST", post.url, post.headers, post.body))
        assert answer is not None
        assert b"call again" in answer.body
        assert b"<Record" not in answer.body
    for post in (CALL.ended(), CALL.recording(), CALL.transcription(), CALL.recorded()):
        assert phone().refuse_temporarily(inbound("POST", post.url, post.headers, post.body)) is None


# --- replay and folding -----------------------------------------------------------------------------------------

STORY = [CALL.voice(), CALL.dialed(), CALL.recorded(), CALL.recording(), CALL.transcription(), CALL.ended()]


def test_stored_bytes_say_the_same_without_their_path() -> None:
    for post in [*STORY, leg(), CALL.recording("absent", -1)]:
        [draft] = receive(phone(), raw(post))
        [again] = phone().normalize(Raw(post.body, content_type="application/x-www-form-urlencoded"))
        assert draft == again


def test_facts_of_one_call_have_keys_of_their_own_and_survive_json() -> None:
    drafts = [receive(phone(), raw(post))[0] for post in STORY]
    assert len({draft.delivery_key for draft in drafts}) == len(STORY)
    assert {draft.about for draft in drafts if isinstance(draft, UpdateDraft)} == {CALL.about}
    for draft in drafts:
        assert UpdateDraft.model_validate_json(draft.model_dump_json()) == draft


def test_a_whole_voicemail_call() -> None:
    summary = fold(map(facts, STORY))
    assert summary.subject == "Voicemail from +4930901820"
    assert summary.text == "My order never arrived."
    assert summary.outcome == "voicemail"
    assert (summary.duration, summary.ended) == (73, True)
    assert summary.started_at is not None
    assert summary.started_at.isoformat() == "2026-08-01T09:59:20+00:00"
    assert [attachment.filename for attachment in summary.attachments] == [f"voicemail-{CALL.recording_sid}.wav"]
    assert summary.author.value == "+4930901820"


@pytest.mark.parametrize(
    ("posts", "outcome", "text"),
    [
        ([CALL.voice()], "ringing", "The phone is ringing."),
        ([CALL.voice(), CALL.ended()], "missed", "Missed call, no voicemail."),
        ([CALL.voice(), CALL.ended(status="no-answer")], "missed", "Missed call, no voicemail."),
        ([CALL.recording("absent", -1, "16102")], "missed", "Missed call, no voicemail (the recording was silent)."),
        (
            [CALL.recording("failed", 0, "1")],
            "missed",
            "Missed call, no voicemail (the provider could not record it, error 1).",
        ),
        ([CALL.dialed()], "missed", "Missed call, no voicemail."),
        ([CALL.dialed(), CALL.recording()], "voicemail", "Voicemail, 16 s (transcription not available)"),
        ([CALL.recorded(), CALL.recording()], "voicemail", "Voicemail, 16 s (transcription not available)"),
        (
            [CALL.recorded(), CALL.transcription("", "failed")],
            "voicemail",
            "Voicemail, 17 s (transcription not available)",
        ),
        ([CALL.transcription("Only words.")], "voicemail", "Only words."),
        ([CALL.dialed("completed", 42), CALL.ended()], "answered", "Call answered, 42 s."),
        ([leg(seconds=40), CALL.ended()], "answered", "Call answered, 73 s."),
        ([leg("no-answer", 0), CALL.ended()], "missed", "Missed call, no voicemail."),
    ],
)
def test_outcome(posts: list[Post], outcome: str, text: str) -> None:
    for order in itertools.permutations(posts):
        summary = fold(map(facts, order))
        assert (summary.outcome, summary.text) == (outcome, text)


def test_a_withheld_number_is_nobody_in_words_too() -> None:
    summary = fold([facts(Call(HOOKS, caller="+266696687").ended())])
    assert summary.subject == "Missed call from a withheld number"
    assert summary.author.identity is None


def test_nothing_known_is_still_a_summary() -> None:
    assert fold([]).outcome == "ringing"


FACTS = [facts(post) for post in [*STORY, leg(), CALL.recording("absent", -1), CALL.transcription("Other words.")]]


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(FACTS), max_size=12).flatmap(
        lambda chosen: st.tuples(st.just(chosen), st.permutations(chosen))
    )
)
def test_order_and_repetition_never_matter(pair: tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]) -> None:
    chosen, shuffled = pair
    assert fold(chosen) == fold(shuffled) == fold(shuffled + chosen)


JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3)
)
FACT = st.fixed_dictionaries(
    {"event": st.sampled_from(["call.ended", "call.recording_ready", "call.transcribed", "x"])},
    optional={
        "duration": st.integers(0, 10**12),
        "at": st.sampled_from(["2026-08-01T10:00:33+00:00", "0001-01-01T00:00:00+00:00", "x"]) | st.text(max_size=8),
        "caller": st.sampled_from(["+4930901820", "+442071838750"]),
        "trust": st.sampled_from(["verified", "failed", "unverified"]),
        "evidence": st.text(max_size=4),
        "direction": st.sampled_from(["inbound", "outbound-api"]),
        "recording": st.dictionaries(st.sampled_from(["sid", "status", "duration", "url"]), JSON_LIKE),
        "transcription": st.dictionaries(st.sampled_from(["text", "recording"]), st.text(max_size=5)),
    },
)


@example([{"event": "call.ended", "duration": 1, "at": "0001-01-01T00:00:00+00:00"}], Random(0))
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(FACT, max_size=6), st.randoms(use_true_random=False))
def test_any_facts_fold_alike_in_any_order(some: list[dict[str, Any]], random: Any) -> None:
    shuffled = some + some[:2]
    random.shuffle(shuffled)
    assert fold(some) == fold(shuffled)


WORDS = """ParentCallSid CallDuration SequenceNumber Timestamp CallbackSource RecordingSid RecordingUrl RecordingStatus
    RecordingDuration RecordingStartTime RecordingSource ErrorCode TranscriptionSid TranscriptionText
    TranscriptionStatus DialCallSid DialCallStatus DialCallDuration StirVerstat CallerName FromCity"""
NAMES = [*CALL.parameters(), *WORDS.split()]
STATES = ["completed", "inbound", "outbound-dial", "no-answer", "absent", "TN-Validation-Failed", "+4930901820", "-1"]
ODD = ["9" * 40, "١٢", "\x00", "Sat, 01 Aug 2026 10:00:33 +0000", "Sat, 01 Aug 99999 10:00:33 +0000"]
VALUES = st.text(max_size=10) | st.sampled_from([*STATES, *ODD, CALL.sid, CALL.recording_sid])


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=12), st.sampled_from(sorted(Phone.tails)))
def test_any_form_of_a_call_is_a_draft_or_a_refusal(said: dict[str, str], tail: str) -> None:
    post = CALL.post(tail, {"CallSid": CALL.sid, "AccountSid": ACCOUNT} | said)
    try:
        [draft] = receive(phone(), raw(post))
    except Refused as refusal:
        assert refusal.status == 400
        return
    assert UpdateDraft.model_validate_json(draft.model_dump_json()) == draft
    assert isinstance(draft, UpdateDraft)
    assert fold([draft.facts]).subject
    request = inbound("POST", post.url, post.headers, post.body)
    assert phone().acknowledge(request, []).status in (200, 204)
