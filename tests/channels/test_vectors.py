"""The signed samples of `../shared/vectors`: each gives the outcome its manifest expects."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr

from adapters.base import Adapter, Clients, Raw, Refused
from adapters.email import Email, EmailOptions
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


# --- mail providers -----------------------------------------------------------------------------------------------

TOPIC = "arn:aws:sns:eu-west-1:123456789012:ses-inbound"
PROVIDERS = ("sendgrid", "mailgun", "postmark", "ses")


def mail_samples() -> list[Any]:
    found = [
        pytest.param(item, id=name)
        for name, item in SAMPLES.items()
        if item["channel"] == "email" and name.startswith(PROVIDERS)
    ]
    return found or [pytest.param(None, marks=pytest.mark.skip(reason="../shared/vectors is not here"))]


class Amazon:
    """A client that hands out the certificate of the samples and remembers what was asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    @contextlib.asynccontextmanager
    async def get(self, url: str, **options: Any) -> AsyncIterator[Any]:
        assert options["allow_redirects"] is False
        self.asked.append(url)
        yield SimpleNamespace(status=200, content=SimpleNamespace(read=self._read))

    async def _read(self, most: int) -> bytes:
        return (VECTORS / "keys" / "sns_cert.pem").read_bytes()[:most]


def mail_inbox(name: str, amazon: Any = None) -> Email:
    """An inbox that is named after its provider, as in the addresses of the samples."""
    secrets = MANIFEST["secrets"]
    options: dict[str, Any] = {
        "provider": name,
        "sendgrid_public_key": secrets["sendgrid_public_key"],
        "mailgun_signing_key": secrets["mailgun_signing_key"],
        "webhook_user": secrets["postmark_basic_user"],
        "webhook_password": secrets["postmark_basic_pass"],
        "ses_topics": [TOPIC],
        "authserv_ids": ["mx.acme.test"],
    }
    return Email(name, EmailOptions(**options), Clients(http=amazon))


async def take_mail(sample: dict[str, Any], adapter: Email) -> list[Draft]:
    """What the gateway does with a post, at the time the sample names."""
    clock = sample["expect"].get("clock", MANIFEST["frozen_clock"])
    raw = replace(request_of(sample), facts={"received_at": float(clock)})
    assert raw.request is not None
    assert raw.request.tail in adapter.tails
    answer = await adapter.prepare(raw.request)
    if answer is not None:
        assert answer.status == sample["expect"]["http"]
        return []
    drafts = receive(adapter, raw)
    assert adapter.acknowledge(raw.request, ["x"]).status == sample["expect"]["http"]
    return drafts


def provider_of(sample: dict[str, Any]) -> str:
    return str(sample["request"]["url"].split("/hooks/")[1].split("/")[0])


@pytest.mark.parametrize("sample", mail_samples())
async def test_mail_of_a_provider(sample: dict[str, Any]) -> None:
    expect, amazon = sample["expect"], Amazon()
    adapter = mail_inbox(provider_of(sample), amazon)
    if expect["http"] == 403:
        with pytest.raises(Refused) as refusal:
            await take_mail(sample, adapter)
        assert refusal.value.status == 403
        assert amazon.asked == [], expect["must_not"]
        return
    drafts = await take_mail(sample, adapter)
    if expect["event"] is None and not drafts:
        assert amazon.asked[-1].startswith("https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription"), expect
        return
    [draft] = drafts
    assert isinstance(draft, MessageDraft)
    assert not draft.suspend
    assert draft.external_id == expect.get("external_id", draft.external_id)
    assert len(draft.attachments) == expect.get("attachments", 0)
    assert draft.author.value == "erika@example.com"
    if "thread" in expect:
        assert any(key.value.startswith(f"mid:{expect['thread']}.") for key in draft.thread_keys)


@pytest.mark.usefixtures("vectors")
async def test_the_same_mail_by_four_roads_is_one_delivery() -> None:
    names = ["sendgrid_raw.multipart", "mailgun_parsed.form", "mailgun_replay.form", "mailgun_mime.multipart"]
    names.append("ses_sns_notification.json")
    assert all("duplicate_of" in SAMPLES[name]["expect"] for name in names)
    drafts = [
        draft
        for name in names
        for draft in await take_mail(SAMPLES[name], mail_inbox(provider_of(SAMPLES[name]), Amazon()))
    ]
    assert len(drafts) == len(names)
    assert len({draft.delivery_key for draft in drafts}) == 1


@pytest.mark.usefixtures("vectors")
async def test_the_parsed_sample_of_sendgrid_is_the_same_mail_with_other_content() -> None:
    """It carries a photo and lacks the signature, so nothing of it may be dropped: same ids, another delivery."""
    [raw] = await take_mail(SAMPLES["sendgrid_raw.multipart"], mail_inbox("sendgrid"))
    [parsed] = await take_mail(SAMPLES["sendgrid_parsed.multipart"], mail_inbox("sendgrid"))
    assert isinstance(raw, MessageDraft)
    assert isinstance(parsed, MessageDraft)
    for same in ("external_id", "thread_keys", "subject", "text", "author"):
        assert getattr(raw, same) == getattr(parsed, same)
    assert raw.full_text != parsed.full_text
    assert raw.delivery_key != parsed.delivery_key
