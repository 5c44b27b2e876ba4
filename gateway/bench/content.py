"""What the bench sends: 2 KB form posts and 2 KB mails, every one with its own id and words."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final, Literal
from uuid import uuid4

Kind = Literal["form", "mail"]

SIZE: Final = 2048  # bytes of a form's body, or of a mail with its headers
_REPLIES: Final = 5  # every fifth mail answers an earlier one of the same sender
_WORDS: Final = (
    "The parcel was announced for Tuesday and the tracking page has not moved since. Could you please look where it is "
    "and tell me whether I should wait or order again? I am at home all week and nobody rang.\n"
)


@dataclass(frozen=True, slots=True)
class Item:
    """One message to send: its id, and its bytes as they go on the wire: after DATA, or an HTTP request or its body."""

    name: str
    sender: str
    content: bytes
    channel: str = ""
    recipients: tuple[str, ...] = ()  # of a mail; empty: the lane's own


def compose(kind: Kind, count: int) -> list[Item]:
    """So many messages nobody has sent before; two of a sender on average."""
    run = uuid4().hex[:10]
    make = _form if kind == "form" else _mail
    return [make(run, number) for number in range(count)]


def _form(run: str, number: int) -> Item:
    name = f"{run}-{number}"
    sender = f"customer{number // 2}.{run}@example.com"
    fields = {"name": f"Customer {number // 2}", "email": sender, "subject": f"Parcel {name}", "message": ""}
    room = SIZE - len(json.dumps(fields)) - 32  # escaped line ends take two bytes
    fields["message"] = _fill(f"Order {name}. ", room)
    return Item(name, sender, json.dumps(fields).encode())


def _mail(run: str, number: int) -> Item:
    name = f"{run}.{number}@mail.example.com"
    reply = number % _REPLIES == _REPLIES - 1
    earlier = number - _REPLIES + 1 if reply else number
    sender = f"customer{earlier}.{run}@example.com"
    answered = f"{run}.{earlier}@mail.example.com"
    lines = [
        f"Received: from mail.example.com (mail.example.com [192.0.2.10]) by mx.example.net with ESMTPS id {number:x}",
        f'From: "Customer {earlier}" <{sender}>',
        "To: Support <support@localhost>",
        f"Subject: {'Re: ' if reply else ''}Parcel {run}-{earlier}",
        "Date: Sat, 01 Aug 2026 10:00:00 +0200",
        f"Message-ID: <{name}>",
        *([f"In-Reply-To: <{answered}>", f"References: <{answered}>"] if reply else []),
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: 8bit",
        "User-Agent: Mozilla Thunderbird",
        "",
        "",
    ]
    head = "\r\n".join(lines)
    body = _fill(f"Order {name}. ", SIZE - len(head) - 20)
    return Item(name, sender, (head + body.replace("\n", "\r\n") + "\r\n").encode())


def _fill(start: str, room: int) -> str:
    return (start + _WORDS * (room // len(_WORDS) + 1))[: max(room, len(start))]
