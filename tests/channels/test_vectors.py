"""The signed samples of `../shared/vectors`: each gives the outcome its manifest expects."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from adapters.base import Adapter, Raw, Refused
from adapters.phone import Phone, PhoneOptions
from adapters.twitter import Twitter, TwitterOptions
from normalizer.calls import fold
from normalizer.message import Draft, MessageDraft, UpdateDraft
from tests.channels.harness import arrived, inbound, receive

VECTORS = Path(__file__).parents[2] / "../shared/vectors"
MANIFEST: dict[str, Any] = (
    json.loads((VECTORS / "manifest.json").read_text()) if (VECTORS / "manifest.json").exists() else {"samples": []}
)
SAMPLES = {sample["file"]: sample for sample in MANIFEST["samples"]}
US = "1111111111111111111"


def of_channel(channel: str) -> list[Any]:
    """The samples of a channel that are requests, or one skip when there are none here."""
    found = [
        pytest.param(item, id=name)
        for name, item in SAMPLES.items()
        if item["channel"] == channel and "request" in item
    ]
    return found or [pytest.param(None, marks=pytest.mark.skip(reason="../shared/vectors is not here"))]


def adapter_for(channel: str) -> Adapter[Any]:
    secrets = MANIFEST["secrets"]
    if channel == "x":
        return Twitter("x", TwitterOptions(consumer_secret=SecretStr(secrets["x_consumer_secret"]), user_id=US))
    keys = {"webhooks_sharedkey_01fake": SecretStr(secrets["twilio_sharedkey_secret"])}
    return Phone("twilio", PhoneOptions(auth_token=SecretStr(secrets["twilio_auth_token"]), shared_keys=keys))


def request_of(sample: dict[str, Any]) -> Raw:
    request = sample["request"]
    body = (VECTORS / sample["file"]).read_bytes() if request["method"] == "POST" else b""
    return arrived(inbound(request["method"], request["url"], request["headers"], body))


def drafts_of(name: str) -> list[Draft]:
    return receive(adapter_for(SAMPLES[name]["channel"]), request_of(SAMPLES[name]))


@pytest.fixture
def vectors() -> None:
    if not SAMPLES:
        pytest.skip("../shared/vectors is not here")


# --- voice ------------------------------------------------------------------------------------------------------

WORDS = {
    "TwiML greeting+record": b"<Record",
    "TwiML hangup": b"<Hangup",
    "TwiML voicemail prompt": b"<Record",
    "static TwiML voicemail": b"<Record",
}


@pytest.mark.parametrize("sample", of_channel("voice"))
def test_voice(sample: dict[str, Any]) -> None:
    expect, raw = sample["expect"], request_of(sample)
    adapter = adapter_for("voice")
    [draft] = receive(adapter, raw)
    assert isinstance(draft, UpdateDraft)
    assert raw.request is not None
    assert raw.request.tail in adapter.tails
    answer = adapter.acknowledge(raw.request, ["x"])
    assert answer.status == expect["http"]
    assert answer.content_type.startswith(expect.get("content_type", ""))
    assert WORDS.get(expect.get("reply", ""), b"") in answer.body
    assert draft.facts["event"] == expect["event"]
    for name, value in voice_facts(draft):
        assert value == expect.get(name, value), name
    check_caller(draft, expect)
    assert expect.get("text_contains", "") in draft.facts.get("transcription", {}).get("text", "")


def voice_facts(draft: UpdateDraft) -> Iterator[tuple[str, Any]]:
    """The facts of a draft under the manifest's names."""
    yield "external_id", draft.external_id
    yield "creates_ticket", draft.opens
    yield "recipient", draft.facts.get("called")
    yield "duration_s", draft.facts.get("duration")
    yield "status", draft.facts.get("status")
    yield "degraded", draft.facts.get("degraded", False)
    for attachment in draft.attachments:
        recording = draft.facts["recording"]
        kind, seconds = attachment.content_type, recording["duration"]
        yield "attachment", {"id": recording["sid"], "mime": kind, "duration_s": seconds}
    if not draft.attachments:
        yield "attachment", None


def check_caller(draft: UpdateDraft, expect: dict[str, Any]) -> None:
    if "requester" not in expect:
        return
    assert draft.author is not None
    assert draft.author.value == expect["requester"]["phone"]
    assert draft.facts.get("withheld", False) == expect["requester"].get("anonymous", False)
    if "name" in expect["requester"]:
        assert draft.author.display_name == expect["requester"]["name"]


@pytest.mark.usefixtures("vectors")
def test_the_voicemail_of_the_samples_is_one_comment() -> None:
    names = [
        name
        for name, sample in SAMPLES.items()
        if sample["channel"] == "voice" and sample["expect"].get("external_id", "").startswith("CAc93b")
    ]
    assert len(names) == 6
    drafts = [draft for name in names for draft in drafts_of(name) if isinstance(draft, UpdateDraft)]
    assert len({draft.about for draft in drafts}) == 1
    summary = fold([draft.facts for draft in drafts])
    assert summary.subject == "Voicemail from MUSTERMANN GMBH (+4930901820)"
    assert "order ten forty two never arrived" in summary.text
    assert (summary.duration, summary.recordings[0].duration) == (73, 16)
    assert summary.author.trust == "verified"


@pytest.mark.parametrize("name", ["twilio_sms_bad_signature.form", "twilio_json_tampered.json"])
@pytest.mark.usefixtures("vectors")
def test_forged_requests_of_twilio_are_refused(name: str) -> None:
    with pytest.raises(Refused) as refusal:
        adapter_for("voice").authenticate(request_of(SAMPLES[name]))
    assert refusal.value.status == SAMPLES[name]["expect"]["http"] == 403


@pytest.mark.parametrize("name", ["twilio_sms_sharedkey_sha256.form", "twilio_json_bodysha256.json"])
@pytest.mark.usefixtures("vectors")
def test_the_other_ways_twilio_signs_are_known(name: str) -> None:
    adapter_for("voice").authenticate(request_of(SAMPLES[name]))


# --- X ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", of_channel("x"))
def test_x(sample: dict[str, Any]) -> None:
    expect, raw, adapter = sample["expect"], request_of(sample), adapter_for("x")
    assert raw.request is not None
    challenge = adapter.challenge(raw.request)
    if challenge is not None:
        assert (challenge.status, challenge.content_type) == (expect["http"], expect["content_type"])
        assert json.loads(challenge.body) == json.loads((VECTORS / sample["file"]).read_text())
        return
    if expect["http"] == 403:
        with pytest.raises(Refused) as refusal:
            receive(adapter, raw)
        assert refusal.value.status == 403
        return
    [draft] = receive(adapter, raw)
    assert adapter.acknowledge(raw.request, ["x"]).status == expect["http"]
    if expect["event"] is None:
        assert isinstance(draft, UpdateDraft)
        assert draft.kind == "ignored"
        assert draft.reason
        return
    check_post(draft, expect)


def check_post(draft: Draft, expect: dict[str, Any]) -> None:
    assert isinstance(draft, MessageDraft)
    assert expect["event"] == "message.received"
    assert not draft.suspend
    assert draft.external_id == expect["external_id"]
    [thread] = draft.thread_keys
    assert thread.value.split("/")[0] == expect.get("thread", thread.value.split("/")[0])
    assert draft.text == expect.get("text", draft.text)
    assert draft.fields["private"] == expect.get("private", False)
    assert draft.fields["reply_allowed"] == expect.get("reply_allowed", draft.fields["reply_allowed"])
    if "requester" in expect:
        who = expect["requester"]
        assert (draft.author.value, draft.author.display_name) == (who["x_id"], who["name"])
        assert draft.fields["handle"] == who["handle"]


@pytest.mark.usefixtures("vectors")
def test_a_reply_appends_to_the_mention_it_follows() -> None:
    mention, reply = drafts_of("x_xaa_mention.json")[0], drafts_of("x_xaa_reply.json")[0]
    assert isinstance(mention, MessageDraft)
    assert isinstance(reply, MessageDraft)
    assert mention.thread_keys == reply.thread_keys
    assert mention.delivery_key != reply.delivery_key


@pytest.mark.parametrize("name", ["x_poll_mentions_page.json", "x_stream_lines.ndjson"])
@pytest.mark.usefixtures("vectors")
def test_what_was_polled_or_streamed_is_known_from_the_webhook(name: str) -> None:
    text = (VECTORS / name).read_text()
    bodies = [line for line in text.splitlines() if line.startswith('{"data"')] if name.endswith(".ndjson") else [text]
    drafts = [
        draft for body in bodies for draft in adapter_for("x").normalize(Raw(body.encode(), facts={"source": "poll"}))
    ]
    said = {draft.delivery_key for draft in drafts if isinstance(draft, MessageDraft)}
    hooked = {draft.delivery_key for other in SAMPLES[name]["expect"]["duplicates"] for draft in drafts_of(other)}
    assert said == hooked
    assert {draft.reason for draft in drafts if isinstance(draft, UpdateDraft)} <= {"repost: nothing new was said"}
