"""The demonstration is itself a test: a morning through the real doors, every delivery accounted for."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from rich.console import Console

from adapters.base import Raw
from adapters.email import Email, EmailOptions
from gateway.demo import main, make_traffic, report
from gateway.demo.people import people, words
from gateway.demo.sending import run_demo
from gateway.demo.settings import demo_desk, free_port
from gateway.demo.shapes import CHANNELS, DOMAIN, Mail, Traffic
from gateway.runtime import Runtime
from gateway.settings import Settings
from gateway.store.receipts import outcome_table

NOW = datetime(2026, 8, 1, 10, tzinfo=UTC)
LANGUAGES = {"en", "de", "fr", "es", "it", "nl", "pl", "ru", "ja", "zh-TW", "ar"}


@pytest.fixture(scope="module")
def traffic() -> Traffic:
    return make_traffic(main.SEED, NOW)


# What is sent --------------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes(traffic: Traffic) -> None:
    assert make_traffic(main.SEED, NOW) == traffic
    assert make_traffic(1, NOW) != traffic


@pytest.mark.parametrize("seed", range(6))
def test_any_seed_gives_a_few_hundred_deliveries_by_every_channel(seed: int) -> None:
    counts = make_traffic(seed, NOW).count()
    assert 340 < sum(counts.values()) < 460
    assert min(counts[channel] for channel in CHANNELS) >= 30


def test_every_scene_is_complete_and_short_enough() -> None:
    assert {scene["language"] for scene in words()["scene"]} == LANGUAGES == set(words()["wrote"])
    for scene in words()["scene"]:
        assert set(scene) == {"language", "subject", "open", "brief", "more", "thanks"}
        assert len(scene["brief"]) < 250, "a post holds 280 characters, our name included"


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_nobody_is_two_people(language: str) -> None:
    import random

    crowd = list(people(language, random.Random(3)))
    for fact in ("name", "email", "phone", "handle", "x_id"):
        assert len({getattr(person, fact) for person in crowd}) == len(crowd), fact
    assert all(person.email.isascii() and person.email == person.email.lower() for person in crowd)


def read(mail: Mail) -> Any:
    facts = {"mail_from": mail.sender, "rcpt_tos": list(mail.recipients)}
    [draft] = Email("support", EmailOptions(domains=[DOMAIN])).normalize(Raw(mail.content, "message/rfc822", facts))
    return draft


def test_the_mails_hold_what_the_demo_promises(traffic: Traffic) -> None:
    drafts = [read(mail) for mail in traffic.mails]
    hits = {hit.name for draft in drafts for hit in draft.automated}
    problems = {hit.name for draft in drafts for hit in draft.problems}
    assert {"bounce", "auto_submitted", "vacation"} <= hits
    assert {"charset_damaged", "unparsed"} <= problems
    assert sum(bool(draft.suspend) for draft in drafts) == 1, "the hostile mail"
    assert {file.content_type for draft in drafts for file in draft.attachments} >= {"image/png", "application/pdf"}
    assert any(file.inline for draft in drafts for file in draft.attachments)
    assert sum(len(mail.recipients) == 2 for mail in traffic.mails) == 2
    assert {file.sniffed_type for draft in drafts for file in draft.attachments} >= {"image/png", "application/pdf"}
    again = [content for content, count in Counter(mail.content for mail in traffic.mails).items() if count == 2]
    assert len(again) == 3, "retries by the sender's server"


def test_a_reply_overtakes_its_parent(traffic: Traffic) -> None:
    first = read(traffic.mails[0])
    [answered] = [key.value for key in first.thread_keys if key.kind == "in_reply_to"]
    places = [
        place
        for place, mail in enumerate(traffic.mails)
        for key in read(mail).thread_keys
        if (key.kind, key.value) == ("message_id", answered)
    ]
    assert places
    assert min(places) > len(traffic.mails) // 2


def test_customers_write_in_all_languages(traffic: Traffic) -> None:
    assert {form.fields["lang"] for form in traffic.forms} == LANGUAGES
    assert len({read(mail).language for mail in traffic.mails}) >= 9
    assert len({talk.session["locale"] for talk in traffic.talks}) >= 9


def test_the_calls_and_posts_hold_what_the_demo_promises(traffic: Traffic) -> None:
    shapes = [Counter(tail for tail, _ in call.requests) for call in traffic.calls]
    assert {"voice": 1, "status": 1} in shapes, "a missed call"
    assert any(set(shape.values()) == {2} for shape in shapes), "a provider that repeats itself"
    assert any(call.requests[0][0] != "voice" for call in traffic.calls), "callbacks before the call"
    assert any(one.get("From") == "+266696687" for call in traffic.calls for _, one in call.requests), "withheld"
    kinds = Counter(post["data"]["event_type"] for post in traffic.posts)
    assert {"post.create", "post.repost.create", "post.quote.create", "dm.received", "post.reply.create"} <= set(kinds)
    ids = Counter(post["data"]["payload"].get("id") for post in traffic.posts if "id" in post["data"]["payload"])
    assert sorted(ids.values())[-2:] == [2, 2], "two posts come twice"


# What becomes of it --------------------------------------------------------------------------------------------------


async def outcomes(settings: Settings) -> dict[str, dict[str, int]]:
    runtime = Runtime(settings)
    await runtime.start()
    try:
        return await runtime.store.read(outcome_table)
    finally:
        await runtime.close()


async def test_the_whole_demo_twice_in_one_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], traffic: Traffic
) -> None:
    assert await main.demo(True, tmp_path) == 0
    printed = capsys.readouterr().out
    sent = traffic.count()
    assert f"accepted {sum(sent.values())} = ticketed" in printed
    assert ": balanced" in printed
    got = await outcomes(demo_desk(tmp_path)[0])
    assert {channel: sum(row.values()) for channel, row in got.items()} == sent, "each delivery has its one outcome"
    assert got["email"]["suspended"] == 1
    assert got["email"]["duplicate"] == 5, "3 retries, 2 mails to two inboxes"
    assert got["form"] == {"ticketed": sent["form"] - 4, "duplicate": 3, "suspended": 1}
    assert got["phone"]["ticketed"] == len(traffic.calls), "one ticket a call, whatever the order"
    assert got["chat"]["ticketed"] == len(traffic.talks), "one ticket a talk"
    echoes = sum(post["data"]["event_type"] in ("post.create", "post.repost.create") for post in traffic.posts)
    assert got["twitter"]["ignored"] == echoes
    assert got["twitter"]["duplicate"] == 2

    assert await main.demo(True, tmp_path) == 0, "the books balance over two lives of the gateway"
    again = await outcomes(demo_desk(tmp_path)[0])
    assert again["email"]["ticketed"] == got["email"]["ticketed"], "the same mails open no second tickets"


async def test_it_keeps_running_until_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = Traffic(mails=make_traffic(1, NOW).mails[:3])
    monkeypatch.setattr(main, "make_traffic", lambda seed, now: few)
    shown: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(report, "print_where", lambda console, url, folder, stays: shown.set_result(url))
    running = asyncio.create_task(main.demo(False, tmp_path))
    link = await shown
    jar = aiohttp.CookieJar(unsafe=True)  # cookies of an IP address
    async with aiohttp.ClientSession(cookie_jar=jar) as session, session.get(link) as page:
        assert page.status == 200, "the link opens the console"
    assert not running.done()
    os.kill(os.getpid(), signal.SIGINT)
    assert await running == 0


async def test_a_door_that_stays_closed_is_told_and_ends_in_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = make_traffic(1, NOW)
    few = Traffic(mails=whole.mails[:2], posts=whole.posts[:14])
    monkeypatch.setattr(main, "make_traffic", lambda seed, now: few)

    def forged(folder: Path) -> Any:
        settings, target = demo_desk(folder)
        import dataclasses

        return settings, dataclasses.replace(target, x_secret="not the one")

    monkeypatch.setattr(main, "demo_desk", forged)
    assert await main.demo(True, tmp_path) == 1
    printed = capsys.readouterr().out
    assert "not accepted: twitter: HTTP 403 from /hooks/twitter: " in printed
    assert "twitter: 4 more not tried" in printed
    assert ": balanced" in printed, "what was accepted is still all there"


async def test_senders_repeat_what_is_refused_for_now() -> None:
    """A desk that answers 503, 429 and nack before it takes anything."""
    from aiohttp import web

    seen: Counter[str] = Counter()

    async def hook(request: web.Request) -> web.Response:
        seen["hook"] += 1
        return web.Response(status=503, headers={"Retry-After": "0"}) if seen["hook"] < 3 else web.Response(status=204)

    async def session(request: web.Request) -> web.Response:
        return web.json_response({"session_token": "t"}, status=201)

    async def socket(request: web.Request) -> web.WebSocketResponse:
        answer = web.WebSocketResponse()
        await answer.prepare(request)
        async for frame in answer:
            said = json.loads(frame.data)
            seen[said["type"]] += 1
            if said["type"] == "join":
                await answer.send_json({"type": "joined"})
            elif seen["message.send"] == 1:
                nack = {"type": "message.nack", "client_msg_id": said["client_msg_id"], "retry_after": 0}
                await answer.send_json(nack)
            else:
                await answer.send_json(
                    {"type": "message.ack", "client_msg_id": said["client_msg_id"], "receipt_id": "r"}
                )
        return answer

    app = web.Application()
    app.router.add_post("/hooks/twitter", hook)
    app.router.add_post("/chat/website/sessions", session)
    app.router.add_get("/chat/website/ws", socket)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port(0)
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        import dataclasses

        target = dataclasses.replace(demo_desk(Path("unused"))[1], http=f"http://127.0.0.1:{port}")
        whole = make_traffic(1, NOW)
        result = await run_demo(target, Traffic(talks=whole.talks[:1], posts=whole.posts[:1]))
    finally:
        await runner.cleanup()
    assert result.failures == []
    assert result.acknowledged == {"twitter": 1, "chat": len(whole.talks[0].lines)}
    assert (seen["hook"], seen["message.send"]) == (3, 1 + len(whole.talks[0].lines))


# The report ----------------------------------------------------------------------------------------------------------


def test_the_report_fits_a_terminal_of_80_columns() -> None:
    screen = io.StringIO()
    row = dict.fromkeys(report.OUTCOMES, 1042)
    report.print_report(
        Console(file=screen, width=80),
        sent=dict.fromkeys(CHANNELS, 9999),
        outcomes=dict.fromkeys(CHANNELS, row | {"dead": 0}),
        audit=["accepted 5 = 5: balanced"],
        balanced=True,
        seconds=3.21,
        failures=[f"form: {number}" for number in range(12)],
    )
    printed = screen.getvalue()
    assert "…" not in printed
    assert "ticketed" in printed
    assert "suspended" in printed
    assert "... and 2 more" in printed
    assert "dead" not in printed, "only shown when there is one"


def test_nothing_configured_elsewhere_reaches_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "frontdesk.toml").write_text('queue_url = "amqp://real.example"\n')
    monkeypatch.setenv("FRONTDESK_STORE_URL", "postgresql://real.example/desk")
    monkeypatch.setenv("FRONTDESK_INBOXES__TWITTER__BEARER_TOKEN", "real")
    settings, target = demo_desk(tmp_path / "data")
    assert settings.queue_url == "embedded:"
    assert settings.database_url.startswith("sqlite:")
    assert "bearer_token" not in settings.inboxes["twitter"]
    assert target.twilio_token not in repr(target)
