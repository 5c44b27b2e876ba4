"""The desk that the simulated customers write to: real adapters, two gateways, and deliveries that know their truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from urllib.parse import parse_qsl

from multidict import CIMultiDict, CIMultiDictProxy, MultiDict, MultiDictProxy
from pydantic import SecretStr

from adapters.base import InboundRequest, Raw
from adapters.chat import Chat, ChatOptions
from adapters.email import Email, EmailOptions
from adapters.phone import Phone, PhoneOptions
from adapters.twitter import Twitter, TwitterOptions
from adapters.webform import FormOptions, WebForm
from gateway.demo.posts import OUR_HANDLE, OUR_ID
from gateway.ids import uuid7
from gateway.worker.plan import Item
from normalizer.message import stamp
from tests.fakes import twilio

SUPPORT, BILLING = "support@desk.test", "billing@desk.test"
MX = "mx.desk.test"  # the mail server whose word on senders this desk believes
GATEWAYS = ("gateway-one", "gateway-two")


@dataclass(frozen=True, slots=True)
class Delivery:
    """One arrival. Equal `message`: one comment; equal `ticket`: one ticket; no message: nothing that enters one."""

    at: datetime
    inbox: str
    raw: Raw = field(repr=False)
    message: str
    ticket: str
    fate: str = ""  # suspended, ignored; empty: a comment, or another copy of one


@cache
def inboxes() -> dict[str, Chat | Email | Phone | Twitter | WebForm]:
    """Name -> adapter, one for each channel and a second mailbox."""
    trusted = {"domains": ["desk.test"], "authserv_ids": [MX], "authserv_beneath": True}
    return {
        "support": Email("support", EmailOptions.model_validate({"channel": "email", **trusted})),
        "billing": Email("billing", EmailOptions.model_validate({"channel": "email", **trusted})),
        "contact": WebForm("contact", FormOptions(channel="form", token_key=SecretStr("k" * 32))),
        "website": Chat("website", ChatOptions(channel="chat", session_key=SecretStr("k" * 32))),
        "phone": Phone("phone", PhoneOptions(channel="phone", auth_token=SecretStr(twilio.TOKEN))),
        "twitter": Twitter("twitter", TwitterOptions(channel="twitter", user_id=OUR_ID, handle=OUR_HANDLE)),
    }


def request(inbox: str, tail: str, body: bytes, headers: Mapping[str, str]) -> InboundRequest:
    """A POST below `/hooks/<inbox>`."""
    return InboundRequest(
        method="POST",
        tail=tail,
        url=f"https://desk.test/hooks/{inbox}/{tail}",
        query=MultiDictProxy(MultiDict()),
        headers=CIMultiDictProxy(CIMultiDict(headers)),
        body=body,
    )


def signature(inbox: str, tail: str, form: bytes) -> dict[str, str]:
    """The header by which Twilio proves a POST of these fields."""
    fields = dict(parse_qsl(form.decode(), keep_blank_values=True))
    return {"X-Twilio-Signature": twilio.sign(f"https://desk.test/hooks/{inbox}/{tail}", fields, twilio.TOKEN)}


def read(deliveries: Iterable[Delivery]) -> list[Item]:
    """What the gateways queue for these deliveries, in their order: one item each."""
    sequences: Counter[str] = Counter()
    items: list[Item] = []
    for number, delivery in enumerate(deliveries):
        adapter = inboxes()[delivery.inbox]
        [draft] = adapter.normalize(delivery.raw)
        gateway = GATEWAYS[number % len(GATEWAYS)]
        sequences[gateway] += 1
        items.append(
            stamp(
                draft,
                receipt_id=uuid7(),
                gateway=gateway,
                sequence=sequences[gateway],
                channel=adapter.channel,
                inbox=delivery.inbox,
                join="participants",
                received_at=delivery.at,
            )
        )
    return items
