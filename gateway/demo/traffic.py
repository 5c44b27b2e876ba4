"""A morning at the desk, from one seed: what arrives by each channel, ordinary and odd.

Among the ordinary: a reply that overtakes its parent, a mail that is delivered twice, one mail to two inboxes, a form
sent by a double click, calls whose callbacks come in any order, a post that X tells twice, our own posts, a machine's
answer, a bounce, and a mail made to choke its reader.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from gateway.demo.callers import write_call
from gateway.demo.mails import Writer, attach, invoice, picture, with_inline_image
from gateway.demo.people import Matter, matters
from gateway.demo.posts import Timeline
from gateway.demo.shapes import BILLING, SUPPORT, Call, FormPost, Mail, Talk, Traffic

ROUNDS = {"en": 3} | dict.fromkeys(("de", "fr", "es", "it", "nl", "pl", "ru", "ja", "zh-TW", "ar"), 4)
# Of 100 matters: how many begin by mail, form, chat, on X. Calls are in English, as Twilio transcribes nothing else.
SHARES = {"mail": 38, "form": 28, "chat": 18, "post": 16}
CALLS = 9


def make_traffic(seed: int, now: datetime) -> Traffic:
    """The same seed and instant give the same traffic, byte for byte."""
    rng = random.Random(seed)  # noqa: S311  a play, not a secret
    todo = matters(rng, ROUNDS)
    callers = [matter for matter in todo if matter.language == "en"][:CALLS]
    todo = [matter for matter in todo if matter not in callers]
    kinds = rng.choices(list(SHARES), list(SHARES.values()), k=len(todo))
    by_kind = {kind: [m for m, k in zip(todo, kinds, strict=True) if k == kind] for kind in SHARES}
    return Traffic(
        mails=_mails(by_kind["mail"], rng, now),
        forms=_forms(by_kind["form"], rng),
        talks=[_talk(matter, rng) for matter in by_kind["chat"]],
        calls=_calls(callers, rng),
        posts=_posts(by_kind["post"], rng, now),
    )


# Mail ----------------------------------------------------------------------------------------------------------------


def _mails(found: list[Matter], rng: random.Random, now: datetime) -> list[Mail]:
    writer = Writer(rng, now)
    western = [matter for matter in found if matter.language in ("de", "fr", "es", "it")][:2]
    odd = [*western, *(matter for matter in found if matter not in western)][:12]
    ordinary = [matter for matter in found if matter not in odd]
    mails: list[Mail] = []
    late: list[Mail] = []  # what comes at the end of the morning
    for number, matter in enumerate(ordinary):
        conversation = list(_conversation(matter, writer, rng, number))
        mails.append(conversation[0])
        late.extend(conversation[1:])
    mails.extend(_odd_mails(odd, writer, rng))
    rng.shuffle(mails)
    rng.shuffle(late)
    overtaking = _overtaking(odd[2], writer)
    repeated = [mail for mail in mails if len(mail.recipients) == 1][3:6]  # the sender's server heard no answer
    return [overtaking[1], *mails, *late, overtaking[0], *repeated]


def _conversation(matter: Matter, writer: Writer, rng: random.Random, number: int) -> Iterator[Mail]:
    sender = matter.person.email
    first, second = writer.new_id(matter.person), writer.new_id(matter.person)
    opening = writer.opening(matter, first, html=rng.random() < 0.4)
    if number % 9 == 4:
        attach(opening, "screenshot.png", "image/png", picture(rng))
    elif number % 9 == 7:
        attach(opening, f"invoice-{number}.pdf", "application/pdf", invoice(str(104_000 + number)))
    yield Mail(sender, opening.as_bytes())
    if rng.random() < 0.65:
        yield Mail(sender, writer.reply(matter, matter.more, second, [first]).as_bytes())
        if rng.random() < 0.6:
            third = writer.new_id(matter.person)
            yield Mail(sender, writer.reply(matter, matter.thanks, third, [first, second]).as_bytes())


def _overtaking(matter: Matter, writer: Writer) -> tuple[Mail, Mail]:
    """A mail and its reply; the reply will be sent first."""
    first, second = writer.new_id(matter.person), writer.new_id(matter.person)
    opening = writer.opening(matter, first).as_bytes()
    reply = writer.reply(matter, matter.more, second, [first]).as_bytes()
    return Mail(matter.person.email, opening), Mail(matter.person.email, reply)


def _odd_mails(found: list[Matter], writer: Writer, rng: random.Random) -> Iterator[Mail]:
    for matter, declared, actual in ((found[0], "us-ascii", "utf-8"), (found[1], "utf-8", "cp1252")):
        content = writer.wrong_charset(matter, writer.new_id(matter.person), declared, actual)
        yield Mail(matter.person.email, content)
    yield from _with_colleague(found[3], found[4].person, writer)
    for matter in found[5:7]:  # one mail, two inboxes
        both = writer.opening(matter, writer.new_id(matter.person))
        both.replace_header("To", f"{SUPPORT}, {BILLING}")
        yield Mail(matter.person.email, both.as_bytes(), (SUPPORT, BILLING))
    inline = writer.opening(found[7], writer.new_id(found[7].person))
    yield Mail(found[7].person.email, with_inline_image(inline, found[7].open, picture(rng, 64)).as_bytes())
    yield Mail("", writer.bounce(found[8].person.email, writer.new_id(found[8].person)))
    yield Mail(found[9].person.email, writer.hostile(found[9].person, writer.new_id(found[9].person)))
    yield from _reused_id(found[10], found[11], writer)


def _with_colleague(matter: Matter, colleague: Any, writer: Writer) -> Iterator[Mail]:
    """Somebody in copy answers too, and once by machine."""
    first = writer.new_id(matter.person)
    opening = writer.opening(matter, first)
    opening["Cc"] = colleague.email
    yield Mail(matter.person.email, opening.as_bytes())
    joined = writer.reply(matter, matter.more, writer.new_id(colleague), [first], by=colleague)
    yield Mail(colleague.email, joined.as_bytes())
    away = writer.automatic_reply(colleague, matter.subject, writer.new_id(colleague), first)
    yield Mail("", away.as_bytes())


def _reused_id(one: Matter, other: Matter, writer: Writer) -> Iterator[Mail]:
    """A broken program gives two different mails the same Message-ID."""
    message_id = writer.new_id(one.person)
    for matter in (one, other):
        yield Mail(matter.person.email, writer.opening(matter, message_id).as_bytes())


# Form ----------------------------------------------------------------------------------------------------------------


def _forms(found: list[Matter], rng: random.Random) -> list[FormPost]:
    forms = [_form(matter, rng, number) for number, matter in enumerate(found[4:])]
    forms.extend(FormPost(_fields(matter), hosted=True, clicks=2) for matter in found[:2])
    forms.append(
        FormPost(_fields(found[2]) | {"website": "https://cheap-pills.example"})
    )  # a machine fills every field
    repeated = FormPost(_fields(found[3]), as_json=True, key=f"order-app-{rng.getrandbits(48):x}", clicks=2)
    return [*forms, repeated]


def _form(matter: Matter, rng: random.Random, number: int) -> FormPost:
    fields = _fields(matter)
    if number % 5 == 3:
        return FormPost(fields, files=((f"photo-{number}.png", "image/png", picture(rng)),))
    if number % 10 == 6:
        table = "order;item;quantity\n1042;stove;1\n".encode("utf-8-sig")
        return FormPost(fields, files=(("orders.csv", "text/csv", table),))
    return FormPost(fields, as_json=number % 4 == 1)


def _fields(matter: Matter) -> dict[str, str]:
    person = matter.person
    text = matter.open.replace("\n", "\r\n")  # what browsers send
    return {
        "name": person.name,
        "email": person.email,
        "subject": matter.subject,
        "message": text,
        "lang": matter.language,
        "page_url": "https://shop.harborpine.example/help",
    }


# Chat ----------------------------------------------------------------------------------------------------------------


def _talk(matter: Matter, rng: random.Random) -> Talk:
    identity = {"name": matter.person.name}
    if rng.random() < 0.5:
        identity["email"] = matter.person.email
    page = {"url": "https://shop.harborpine.example/account/orders", "title": "Orders"}
    said = [matter.brief, matter.more] + ([matter.thanks] if rng.random() < 0.5 else [])
    lines = [(f"{rng.getrandbits(96):024x}", text) for text in said]
    if rng.random() < 0.2:
        lines.append(lines[-1])  # the connection broke before the acknowledgement came
    return Talk({"identity": identity, "page": page, "locale": matter.language}, tuple(lines))


# Phone and X ---------------------------------------------------------------------------------------------------------


def _calls(found: list[Matter], rng: random.Random) -> list[Call]:
    kinds = ["voicemail", "shuffled", "missed", "withheld", "silent", "retried"]
    return [write_call(matter, kinds[number % len(kinds)], rng) for number, matter in enumerate(found)]


def _posts(found: list[Matter], rng: random.Random, now: datetime) -> list[dict[str, Any]]:
    timeline = Timeline(rng, now)
    early: list[dict[str, Any]] = []
    late: list[dict[str, Any]] = []
    for number, matter in enumerate(found):
        events = timeline.direct_messages(matter) if number % 6 == 5 else timeline.thread(matter)
        early.append(events[0])
        late.extend(events[1:])
    thread = timeline.thread(found[0], longer=True)
    told_twice = [early[1], timeline.again(early[2])]  # the same body; and the same post in a new envelope
    return [*early, *late[::-1], *thread, *told_twice, timeline.repost(found[1].person), timeline.quote(found[2])]
