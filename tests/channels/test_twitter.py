"""X: the CRC, signed webhooks, what becomes of each kind of event, and polling our mentions."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from adapters.base import Clients, Page, PermanentError, Raw, Refused, TemporaryError
from adapters.twitter import Twitter, TwitterOptions
from normalizer.message import MessageDraft
from tests.channels.harness import ChannelTable, Row, arrived, inbound, receive
from tests.fakes.x_api import BEARER, BOB, FIRST_ID, SECRET, US, FakeX, activity, direct_message, post, sign, user

HOOK = "https://gw.example.test/hooks/twitter"
ROOT = str(FIRST_ID + 1)


def twitter(http: aiohttp.ClientSession | None = None, **options: Any) -> Twitter:
    values: dict[str, Any] = {"consumer_secret": SecretStr(SECRET), "bearer_token": SecretStr(BEARER), "user_id": US}
    return Twitter("twitter", TwitterOptions(**values | options), Clients(http))


def hook(body: bytes, tail: str = "") -> Raw:
    headers = {"Content-Type": "application/json", "x-twitter-webhooks-signature": sign(body)}
    return arrived(inbound("POST", HOOK + tail, headers, body))


def polled(*posts: dict[str, Any]) -> Raw:
    body = json.dumps({"data": posts, "includes": {"users": [user(BOB), user(US)]}}).encode()
    return Raw(body, "application/json", facts={"source": "poll"})


def legacy(name: str, *events: dict[str, Any], **more: Any) -> Raw:
    return hook(json.dumps({"for_user_id": US, name: events} | more).encode())


def legacy_post(number: int, text: str, author: str = BOB, **more: Any) -> dict[str, Any]:
    post_id = FIRST_ID + number
    writer = {"id": int(author), "id_str": author, "screen_name": "bob_x", "name": "Bob"}
    base = {"id": post_id, "id_str": str(post_id), "text": text, "user": writer}
    return base | {"created_at": "Sat Aug 01 09:59:50 +0000 2026", "lang": "en"} | more


REPLIED: dict[str, Any] = {"referenced_tweets": [{"type": "replied_to", "id": "77"}], "conversation_id": ROOT}


class TestTwitter(ChannelTable):
    hooks = ("",)
    signature_headers = ("x-twitter-webhooks-signature",)
    secrets = (SECRET, BEARER)
    rows = (
        Row(
            "a mention",
            hook(activity("post.mention.create", post(1))),
            [
                {
                    "external_id": ROOT,
                    "text": "my order is late",
                    "full_text": "@AcmeHelp my order is late",
                    "author.identity": f"x:{BOB}",
                    "author.display_name": "Bob",
                    "author.trust": "verified",
                    "recipients.0.identity": f"x:{US}",
                    "thread_keys.0.kind": "conversation",
                    "thread_keys.0.value": f"x:conv:{ROOT}/{BOB}",
                    "fields.handle": "bob_x",
                    "fields.kind": "mention",
                    "fields.url": f"https://x.com/bob_x/status/{ROOT}",
                    "fields.private": False,
                    "fields.reply_allowed": "summoned",
                    "language": "en",
                    "sent_at": lambda at: at.isoformat() == "2026-08-01T09:59:50+00:00",
                    "content_key": bool,
                    "original.content": bool,
                }
            ],
            status=200,
        ),
        Row(
            "a reply in the same conversation, at the other path, with wrapped users",
            hook(activity("post.reply.create", post(2, **REPLIED), users=[{"data": user(BOB)}]), "/webhook"),
            [
                {
                    "thread_keys.0.value": f"x:conv:{ROOT}/{BOB}",
                    "fields.kind": "reply",
                    "fields.in_reply_to": "77",
                    "author.display_name": "Bob",
                }
            ],
        ),
        Row(
            "another customer in that conversation",
            hook(activity("post.reply.create", post(3, "me too", author="333", **REPLIED))),
            [{"thread_keys.0.value": f"x:conv:{ROOT}/333", "fields.reply_allowed": "no", "author.display_name": ""}],
        ),
        Row(
            "an edited post says which it edits",
            hook(activity("post.mention.create", post(4, edit_history_tweet_ids=["9", str(FIRST_ID + 4)]))),
            [{"external_id": str(FIRST_ID + 4), "fields.edit_of": "9"}],
        ),
        Row(
            "a quote of ours",
            hook(activity("post.quote.create", post(5, "Broken", referenced_tweets=[{"type": "quoted", "id": "88"}]))),
            [{"fields.kind": "quote", "fields.quoted": "88", "fields.reply_allowed": "summoned", "text": "Broken"}],
        ),
        Row(
            "a long post with escaped signs, a link and a picture's key",
            hook(
                activity(
                    "post.mention.create",
                    post(
                        6,
                        "@AcmeHelp cut…",
                        note_tweet={"text": "@AcmeHelp a &lt; b &amp;amp; https://t.co/x"},
                        entities={
                            "mentions": [{"username": "ACMEHELP", "id": US}],
                            "urls": [{"url": "https://t.co/x", "expanded_url": "https://example.com/long"}],
                        },
                        attachments={"media_keys": ["3_1"]},
                        lang="qme",
                    ),
                )
            ),
            [
                {
                    "text": "a < b &amp; https://t.co/x",
                    "fields.links": ["https://example.com/long"],
                    "language": "",
                    "attachments": (),
                }
            ],
        ),
        Row(
            "a direct message",
            hook(activity("dm.received", direct_message(7, "my email is bob@example.com"))),
            [
                {
                    "external_id": f"dm:{FIRST_ID + 7}",
                    "text": "my email is bob@example.com",
                    "thread_keys.0.value": f"x:dm:{US}-{BOB}",
                    "fields.private": True,
                    "fields.handle": "bob_x",
                    "author.display_name": "Bob",
                    "sent_at": bool,
                }
            ],
            status=200,
        ),
        Row(
            "a direct message with a picture",
            hook(
                activity(
                    "dm.received",
                    direct_message(
                        8,
                        "",
                        attachment={"type": "media", "media": {"media_url_https": "https://ton.twimg.com/a/b.jpg?x=1"}},
                    ),
                )
            ),
            [{"attachments.0.source_url": "https://ton.twimg.com/a/b.jpg?x=1", "attachments.0.filename": "b.jpg"}],
        ),
        Row(
            "a direct message in the form of version 2",
            hook(
                activity(
                    "dm.received",
                    {"id": "5", "sender_id": BOB, "text": "hi", "dm_conversation_id": "1-2", "created_at": "x"},
                )
            ),
            [{"text": "hi", "thread_keys.0.value": "x:dm:1-2", "external_id": "dm:5", "sent_at": None}],
        ),
        *(
            Row(
                label,
                hook(body),
                [{"kind": "ignored", "reason": lambda text: len(text) > 10, "original": bool}],
                status=200,
            )
            for label, body in (
                ("our own post", activity("post.create", post(9, author=US))),
                ("our own direct message", activity("dm.sent", direct_message(9, "hello", sender=US, recipient=BOB))),
                ("a repost", activity("post.repost.create", post(9, "RT @AcmeHelp: x"))),
                (
                    "a repost by reference",
                    activity("post.mention.create", post(9, referenced_tweets=[{"type": "retweeted", "id": "1"}])),
                ),
                ("somebody types", activity("dm.indicate_typing", {"sender_id": BOB})),
                ("a message was read", activity("dm.read", {})),
                ("a deletion", activity("post.delete", {"id": "1"})),
                ("access revoked", activity("oauth.revoke", {})),
                ("an event of next year", activity("space.start", {"x": 1})),
            )
        ),
        Row(
            "an encrypted chat is held for a person",
            hook(activity("chat.received", {"sender_id": BOB, "payload": "…"})),
            [{"suspend": bool, "author.value": BOB, "original.content": bool}],
        ),
        Row("a post without id is held", hook(activity("post.mention.create", {"text": "hi"})), [{"suspend": bool}]),
        Row(
            "legacy: several posts at once, ids beyond 2**53, one of them a retweet, one ours",
            legacy(
                "tweet_create_events",
                legacy_post(
                    10, "@AcmeHelp one", entities={"user_mentions": [{"id_str": US, "screen_name": "AcmeHelp"}]}
                ),
                legacy_post(11, "RT @AcmeHelp: x", retweeted_status={"id_str": "1"}),
                legacy_post(12, "ours", author=US),
                legacy_post(
                    13, "cut", extended_tweet={"full_text": "@AcmeHelp whole"}, in_reply_to_status_id=FIRST_ID + 10
                ),
            ),
            [
                {
                    "external_id": str(FIRST_ID + 10),
                    "text": "one",
                    "author.value": BOB,
                    "author.display_name": "Bob",
                    "fields.handle": "bob_x",
                    "sent_at": bool,
                },
                {"kind": "ignored"},
                {"kind": "ignored"},
                {
                    "full_text": "",
                    "text": "@AcmeHelp whole",
                    "fields.in_reply_to": str(FIRST_ID + 10),
                    "thread_keys.0.value": f"x:conv:{FIRST_ID + 10}/{BOB}",
                },
            ],
        ),
        Row(
            "legacy: a direct message",
            legacy(
                "direct_message_events",
                direct_message(14, "hi")["direct_message_events"][0],
                users={BOB: {"id": BOB, "name": "Bob", "screen_name": "bob_x"}},
            ),
            [{"text": "hi", "author.display_name": "Bob", "fields.handle": "bob_x"}],
        ),
        Row(
            "legacy: things nobody said",
            hook(json.dumps({"for_user_id": US, "favorite_events": [{}], "user_event": {"revoke": {}}}).encode()),
            [{"kind": "ignored"}, {"kind": "ignored"}],
        ),
        Row("a post from the API", polled(post(15)), [{"author.trust": "verified", "text": "my order is late"}]),
        Row("a post from a file is nobody's word", Raw(polled(post(15)).body), [{"author.trust": "unverified"}]),
        Row("a page without posts", Raw(b'{"meta":{"result_count":0}}'), []),
        Row("not JSON", hook(b'{"data":'), refused=400),
        Row("a JSON list", hook(b"[]"), refused=400),
        Row("JSON of another world", hook(b'{"hello":"world"}'), refused=400),
        Row("nested too deep", hook(b'{"a":' * 50_000 + b"1" + b"}" * 50_000), refused=400),
        Row("a GET that is no delivery", arrived(inbound("GET", HOOK)), refused=403),
    )

    def adapter(self) -> Twitter:
        return twitter()

    def bare(self) -> Twitter:
        return twitter(consumer_secret=SecretStr(""), bearer_token=None)


# --- the CRC ----------------------------------------------------------------------------------------------------


def crc(token: str) -> Any:
    return twitter().challenge(inbound("GET", f"{HOOK}?crc_token={token}"))


def test_the_crc_is_answered_with_the_hmac_of_its_token() -> None:
    answer = crc("bm90LWEtcmVhbC1jcmMtdG9rZW4")
    assert answer.status == 200
    assert answer.content_type == "application/json"
    assert json.loads(answer.body) == {"response_token": sign(b"bm90LWEtcmVhbC1jcmMtdG9rZW4")}


@pytest.mark.parametrize(
    "token", ["", "%7B%22data%22%3A%7B%7D%7D", "a" * 257, "a%20b", "%5B%5D", "%22x%22", "é", "a%0A"]
)
def test_the_crc_signs_nothing_that_could_be_a_body(token: str) -> None:
    with pytest.raises(Refused) as refusal:
        crc(token)
    assert refusal.value.status == 400


def test_a_crc_answer_never_authenticates_as_a_delivery() -> None:
    """What can be had signed by the CRC is refused as a body, though its signature is right."""
    for token in ("123", "true", "abc"):
        body = token.encode()
        forged = hook(body)
        assert json.loads(crc(token).body)["response_token"] == forged.request.headers["x-twitter-webhooks-signature"]  # type: ignore[union-attr]
        with pytest.raises(Refused):
            receive(twitter(), forged)


def test_a_post_is_no_challenge() -> None:
    assert twitter().challenge(inbound("POST", HOOK)) is None


def test_a_crc_without_a_secret_says_what_to_set() -> None:
    with pytest.raises(Refused, match=r"inboxes\.twitter\.consumer_secret"):
        twitter(consumer_secret=None).challenge(inbound("GET", f"{HOOK}?crc_token=x"))


# --- one post, several ways -------------------------------------------------------------------------------------


def test_the_same_post_by_mention_reply_and_poll_is_one_delivery() -> None:
    by_mention = receive(twitter(), hook(activity("post.mention.create", post(1, **REPLIED), uuid="1")))
    by_reply = receive(twitter(), hook(activity("post.reply.create", post(1, **REPLIED), uuid="2")))
    by_poll = receive(twitter(), polled(post(1, **REPLIED)))
    keys = {(draft.delivery_key, draft.content_key, draft.thread_keys) for [draft] in (by_mention, by_reply, by_poll)}  # type: ignore[union-attr]
    assert len(keys) == 1


def test_an_edited_post_is_another_comment_in_the_same_conversation() -> None:
    edited = post(2, "@AcmeHelp my order 1042", edit_history_tweet_ids=[ROOT, str(FIRST_ID + 2)], conversation_id=ROOT)
    [first], [second] = (receive(twitter(), hook(activity("post.mention.create", item))) for item in (post(1), edited))
    assert first.delivery_key != second.delivery_key
    assert first.thread_keys == second.thread_keys


def test_our_post_that_mentions_another_of_our_inboxes_is_an_echo_there_and_a_message_here() -> None:
    body = activity("post.create", post(1, author=US))
    [echo] = receive(twitter(), hook(body))
    [message] = receive(
        twitter(user_id=BOB), hook(body.replace(f'"user_id": "{US}"'.encode(), f'"user_id": "{BOB}"'.encode()))
    )
    assert isinstance(message, MessageDraft)
    assert echo.delivery_key != message.delivery_key


def test_quotes_can_be_left_out_unless_they_mention_us() -> None:
    quote: dict[str, Any] = {"referenced_tweets": [{"type": "quoted", "id": "88"}]}
    [plain] = receive(twitter(quotes="ignore"), hook(activity("post.quote.create", post(1, "Broken", **quote))))
    [summoning] = receive(twitter(quotes="ignore"), hook(activity("post.mention.create", post(1, **quote))))
    assert not isinstance(plain, MessageDraft)
    assert isinstance(summoning, MessageDraft)


@pytest.mark.parametrize(
    ("full", "text"),
    [
        ("@AcmeHelp my order", "my order"),
        ("@acmehelp my order", "my order"),
        ("@AcmeHelp, my order", "my order"),
        ("@bob @AcmeHelp thanks", "@bob thanks"),
        ("@AcmeHelp @AcmeHelp\nhi", "hi"),
        ("hi @AcmeHelp", "hi @AcmeHelp"),
        ("@AcmeHelper hi", "@AcmeHelper hi"),
        ("@AcmeHelp", "@AcmeHelp"),
        ("@AcmeHelp :)", ":)"),
        ("@AcmeHelp http://x", "http://x"),
        ("", ""),
    ],
)
def test_only_our_leading_name_is_left_out(full: str, text: str) -> None:
    [draft] = receive(twitter(handle="@AcmeHelp"), polled(post(1, full)))
    assert isinstance(draft, MessageDraft)
    assert draft.text == text
    assert (draft.full_text or draft.text) == full


@settings(deadline=None)
@given(st.text(alphabet="@aAcmeHelp_ ,:\n", max_size=60))
def test_no_word_of_the_customer_is_lost(full: str) -> None:
    [draft] = receive(twitter(handle="AcmeHelp"), polled(post(1, full)))
    assert isinstance(draft, MessageDraft)
    assert (draft.full_text or draft.text).split() == full.split()
    assert bool(draft.text) == bool(full.strip())
    assert draft.text == full.strip() or "@acmehelp" in full.lower()


# --- polling ----------------------------------------------------------------------------------------------------


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def x() -> AsyncIterator[FakeX]:
    async with FakeX() as fake:
        yield fake


async def poll(adapter: Twitter, cursor: str = "") -> list[Page]:
    return [page async for page in adapter.poll(cursor)]


async def test_a_run_is_drained_and_handed_on_oldest_first(x: FakeX, http: aiohttp.ClientSession) -> None:
    x.posts = [post(number) for number in range(250)]
    pages = await poll(twitter(http, api_base=x.url))
    assert [len(page.arrivals) for page in pages] == [100, 100, 50]
    assert [page.cursor for page in pages] == [str(FIRST_ID + number) for number in (99, 199, 249)]
    seen = [receive(twitter(), raw)[0].external_id for page in pages for raw in page.arrivals]
    assert seen == [str(FIRST_ID + number) for number in range(250)]


async def test_only_what_is_newer_than_the_cursor_is_asked_for(x: FakeX, http: aiohttp.ClientSession) -> None:
    x.posts = [post(number) for number in range(3)]
    adapter = twitter(http, api_base=x.url)
    [page] = await poll(adapter, str(FIRST_ID + 1))
    assert len(page.arrivals) == 1
    assert await poll(adapter, page.cursor) == [], "an empty page has no data key"
    assert x.requests[-1]["since_id"] == page.cursor


async def test_polled_posts_equal_those_of_the_webhook_and_bring_their_author_and_pictures(
    x: FakeX, http: aiohttp.ClientSession
) -> None:
    x.posts = [post(1, attachments={"media_keys": ["3_1"]})]
    x.media = [{"media_key": "3_1", "type": "photo", "url": "https://pbs.twimg.com/media/a.jpg"}, {"media_key": "3_2"}]
    [page] = await poll(twitter(http, api_base=x.url))
    [draft] = receive(twitter(), page.arrivals[0])
    [hooked] = receive(twitter(), hook(activity("post.mention.create", x.posts[0])))
    assert isinstance(draft, MessageDraft)
    assert isinstance(hooked, MessageDraft)
    assert draft.delivery_key == hooked.delivery_key
    assert draft.content_key == hooked.content_key
    assert draft.author.display_name == "Bob"
    assert [file.source_url for file in draft.attachments] == ["https://pbs.twimg.com/media/a.jpg"]


async def test_more_than_x_lists_since_the_cursor_is_a_gap_said_aloud(
    x: FakeX, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    x.posts = [post(number) for number in range(900)]
    pages = await poll(twitter(http, api_base=x.url), str(FIRST_ID + 10))
    drafts = [receive(twitter(), raw)[0] for page in pages for raw in page.arrivals]
    assert len(drafts) == 800
    flagged = [number for number, draft in enumerate(drafts) if isinstance(draft, MessageDraft) and draft.problems]
    assert flagged == [0]
    assert f"some after {FIRST_ID + 10} may be missing" in caplog.text


async def test_the_first_poll_of_a_long_history_is_no_gap(x: FakeX, http: aiohttp.ClientSession) -> None:
    x.posts = [post(number) for number in range(900)]
    first = (await poll(twitter(http, api_base=x.url)))[0].arrivals[0]
    [draft] = receive(twitter(), first)
    assert isinstance(draft, MessageDraft)
    assert draft.problems == ()


FAULTS: dict[str, tuple[dict[str, Any], type[Exception], float | None]] = {
    "throttled": ({"status": 429, "headers": {"x-rate-limit-reset": "99999999999"}}, TemporaryError, 900.0),
    "throttled in the past": ({"status": 429, "headers": {"x-rate-limit-reset": "1"}}, TemporaryError, 1.0),
    "throttled without a number": ({"status": 429, "headers": {"x-rate-limit-reset": "soon"}}, TemporaryError, None),
    "out of credits": ({"status": 402}, TemporaryError, 900.0),
    "down": ({"status": 503}, TemporaryError, None),
    "error body is a list": ({"status": 500, "text": "[]"}, TemporaryError, None),
    "revoked": ({"status": 401}, PermanentError, None),
    "forbidden": ({"status": 403}, PermanentError, None),
    "bad request": ({"status": 400}, PermanentError, None),
    "no such user": ({"status": 404}, PermanentError, None),
    "broken JSON": ({"status": 200, "text": '{"data":['}, TemporaryError, None),
    "another JSON": ({"status": 200, "text": "[]"}, TemporaryError, None),
    "an error with status 200": ({"status": 200, "text": '{"errors":[{"title":"x"}]}'}, TemporaryError, None),
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("page", [0, 1])
async def test_each_fault_of_the_api_moves_no_cursor(
    name: str, page: int, x: FakeX, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    answer, error, retry_after = FAULTS[name]
    x.posts = [post(number) for number in range(150)]
    fault = web.Response(**{"text": '{"title":"fault"}', "content_type": "application/json"} | answer)
    passing = [web.json_response({"data": [x.posts[-1]], "meta": {"next_token": "1"}})] * page
    x.faults.extend([*passing, fault])
    with caplog.at_level(logging.DEBUG), pytest.raises(error) as raised:
        await poll(twitter(http, api_base=x.url))
    if isinstance(raised.value, TemporaryError):
        assert raised.value.retry_after == retry_after
    assert BEARER not in caplog.text + str(raised.value)
    assert (await poll(twitter(http, api_base=x.url)))[-1].cursor == str(FIRST_ID + 149)


@pytest.mark.parametrize("status", [200, 502])
async def test_html_instead_of_json_is_temporary(status: int, x: FakeX, http: aiohttp.ClientSession) -> None:
    x.faults.append(web.Response(status=status, text="<html>oops</html>", content_type="text/html"))
    with pytest.raises(TemporaryError):
        await poll(twitter(http, api_base=x.url))


async def test_a_redirect_is_not_followed_with_the_token(x: FakeX, http: aiohttp.ClientSession) -> None:
    x.faults.append(web.Response(status=302, headers={"Location": x.url + "2/users/1/mentions"}))
    with pytest.raises(TemporaryError):
        await poll(twitter(http, api_base=x.url))
    assert len(x.requests) == 1


async def test_pages_that_go_round_in_a_circle_end(x: FakeX, http: aiohttp.ClientSession) -> None:
    circle = {"data": [post(1)], "meta": {"next_token": "again"}}
    x.faults.extend(web.json_response(circle) for _ in range(3))
    with pytest.raises(TemporaryError, match="circle"):
        await poll(twitter(http, api_base=x.url))


async def test_nobody_listening_is_temporary(http: aiohttp.ClientSession, free_port: int) -> None:
    with pytest.raises(TemporaryError):
        await poll(twitter(http, api_base=f"http://127.0.0.1:{free_port}"))


@pytest.mark.parametrize("options", [{"bearer_token": None}, {"bearer_token": SecretStr("")}, {"user_id": ""}])
async def test_polling_without_credentials_says_what_to_set(options: Any, http: aiohttp.ClientSession) -> None:
    with pytest.raises(PermanentError, match="bearer_token and user_id"):
        await poll(twitter(http, **options))


def test_either_way_in_is_enough() -> None:
    assert twitter(consumer_secret=None).missing() == ()
    assert twitter(bearer_token=None, user_id="").missing() == ()
    assert twitter(consumer_secret=None, user_id="").missing() == ("consumer_secret",)


def test_options_are_checked_and_never_shown() -> None:
    with pytest.raises(ValidationError) as error:
        twitter(user_id="@AcmeHelp", consumer_secret=SecretStr("hush"))
    assert "hush" not in str(error.value)


# --- hostile bodies ---------------------------------------------------------------------------------------------

WORDS = """data event_type event_uuid filter user_id payload includes users media tweets id id_str text author_id name
    conversation_id created_at edit_history_tweet_ids entities mentions urls username referenced_tweets type note_tweet
    attachments media_keys media_key url direct_message_events message_create message_data target recipient_id sender_id
    attachment created_timestamp for_user_id tweet_create_events user screen_name retweeted_status extended_tweet
    full_text user_event favorite_events meta lang dm_conversation_id expanded_url in_reply_to_status_id"""
NAMES = WORDS.split()
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | st.sampled_from(
        ["1", US, BOB, "post.mention.create", "post.quote.create", "dm.received", "chat.received", "quoted"]
    )
    | st.sampled_from(["2026-08-01T09:59:50Z", "9" * 25, "9" * 30, "@AcmeHelp hi", "\x00", "\ud800", "http://[", "١"])
)
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6)
)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    st.dictionaries(st.sampled_from(NAMES), JSON, max_size=6),
    st.sampled_from(["whole", "activity", "post", "dm", "legacy"]),
)
def test_any_json_is_drafts_or_a_refusal(value: dict[str, Any], where: str) -> None:
    body: dict[str, Any] = {
        "whole": value,
        "activity": {"data": {"event_type": "post.mention.create", "payload": {"id": "1", "author_id": "2"} | value}},
        "post": {"data": [{"id": "1", "author_id": "2"} | value]},
        "dm": {"data": {"event_type": "dm.received", "payload": {"direct_message_events": [{"id": "1"} | value]}}},
        "legacy": {"for_user_id": US, "tweet_create_events": [{"id": 1, "user": {"id": 2}} | value]},
    }[where]
    try:
        drafts = receive(twitter(), hook(json.dumps(body).encode()))
    except Refused as refusal:
        assert refusal.status == 400
        return
    for draft in drafts:
        assert type(draft).model_validate_json(draft.model_dump_json()) == draft
