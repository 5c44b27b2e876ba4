"""Who wrote a mail that a list, a group or a forwarder sent on in its own name."""

from __future__ import annotations

import pytest

from normalizer import mime, rewritten
from normalizer.addresses import parse_addresses

GROUP = (
    "From: 'Ann Lee' via Support <support@desk.test>\nX-Original-From: Ann Lee <ann@customer.test>\n"
    "Reply-To: Ann Lee <ann@customer.test>\nList-ID: <support.desk.test>\nTo: support@desk.test\n"
)
CASES = {
    "Google Groups": (GROUP, "ann@customer.test"),
    "Google Groups, the bare sender": (
        "From: Ann via Support <support@desk.test>\nX-Original-Sender: ann@customer.test\nMailing-list: list x\n",
        "ann@customer.test",
    ),
    "Mailman: the writer stands in Reply-To": (
        (
            "From: Ann via Users <users@list.test>\nReply-To: Ann <ann@customer.test>\nList-Id: <users.list.test>\n"
            "To: users@list.test\n"
        ),
        "ann@customer.test",
    ),
    "Mailman: beside the list": (
        (
            "From: Ann via Users <users@list.test>\nReply-To: users@list.test, Ann <ann@customer.test>\n"
            "List-Id: <users.list.test>\n"
        ),
        "ann@customer.test",
    ),
    "groups.io writes the address into its own": (
        (
            "From: Ann via groups.io <ann=customer.test@groups.io>\nList-Id: <x.groups.io>\nReply-To: x@groups.io\n"
            "To: x@groups.io\n"
        ),
        "ann@customer.test",
    ),
    "a list that hides its writers": (
        "From: Ann via Users <users@list.test>\nReply-To: users@list.test\nList-Id: <users.list.test>\n",
        None,
    ),
    "two answers are none": (
        "From: Ann via Users <users@list.test>\nReply-To: a@one.test, b@two.test\nList-Id: <users.list.test>\n",
        None,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_writer_behind_a_list(name: str) -> None:
    header, expected = CASES[name]
    mail = mime.parse(f"{header}Subject: x\n\nHello".encode())
    ((value, shown),) = parse_addresses(mail.raw("from"))
    assert rewritten.is_rewritten(mail, shown)
    found = rewritten.original_author(mail, value, shown)
    assert (found.value if found else None) == expected


@pytest.mark.parametrize(
    "header",
    [
        "From: Ann <ann@customer.test>\nList-Id: <x.list.test>\n",
        "From: Ann via Shop <shop@shop.test>\n",
        "From: Via Veneto <via@shop.test>\nList-Id: <x.list.test>\n",
    ],
)
def test_who_speaks_for_themselves(header: str) -> None:
    mail = mime.parse(f"{header}\nHello".encode())
    assert not rewritten.is_rewritten(mail, parse_addresses(mail.raw("from"))[0].display_name)


@pytest.mark.parametrize(
    ("sender", "expected"),
    [
        ("ann@customer.test", "ann@customer.test"),
        ("SRS0=HHH=TT=customer.test=ann@relay.test", "ann@customer.test"),
        ("srs0+HHH=TT=customer.test=ann+tag@relay.test", "ann+tag@customer.test"),
        ("SRS1=HHH=relay.test==HHH=TT=customer.test=ann@second.test", "ann@customer.test"),
        ("info+caf_=support=desk.test@gmail.com", ""),
        ("prvs=1234abcdef=ann@customer.test", "ann@customer.test"),
        ("btv1==0123456789==ann@customer.test", "ann@customer.test"),
        ("srs0@customer.test", "srs0@customer.test"),
        ("", ""),
    ],
)
def test_behind_an_envelope_sender(sender: str, expected: str) -> None:
    assert rewritten.behind_envelope(sender) == expected
