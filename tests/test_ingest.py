"""Files of every kind, tidy and untidy: each message once, byte for byte, and a sentence for what is none."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import mailbox
import re
import tracemalloc
from collections.abc import Sequence
from email import message_from_bytes
from email.header import decode_header, make_header
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from adapters.base import Raw, Refused
from gateway.ingest import AT_ONCE, ingest
from gateway.intake import NotDurableError
from gateway.mail.files import read_all, read_stdin
from gateway.mail.found import MAX_MESSAGE, Found
from gateway.mail.mbox import is_separator, read_mbox

ONE = b"From: a@example.com\nSubject: one\n\nFirst body\n"
TWO = b"From: b@example.com\nSubject: two\n\nSecond body\n"
POSTMARK = b"From a@example.com Sat Jan  3 01:05:34 2026\n"
SHARED = Path(__file__).parents[1] / "../shared/corpora"


def bodies(*paths: Path | str) -> list[bytes]:
    return [one.body for one in read_all([str(path) for path in paths]) if not one.error]


def errors(*paths: Path | str) -> list[tuple[str, str]]:
    return [(one.origin, one.error) for one in read_all([str(path) for path in paths]) if one.error]


def from_mbox(content: bytes) -> list[Found]:
    return list(read_mbox(io.BytesIO(content), "box"))


# mbox --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "content", "expected"),
    [
        ("two messages", POSTMARK + ONE + b"\n" + POSTMARK + TWO + b"\n", [ONE, TWO]),
        ("no empty line at the end", POSTMARK + ONE + b"\n" + POSTMARK + TWO, [ONE, TWO]),
        ("CRLF", (POSTMARK + ONE + b"\n" + POSTMARK + TWO + b"\n").replace(b"\n", b"\r\n"), [ONE, TWO]),
        (
            "mboxrd quoting",
            POSTMARK + b"A: b\n\n>From here\n>>From there\n> From\n\n",
            [b"A: b\n\nFrom here\n>From there\n> From\n"],
        ),
        (
            "an unquoted sentence",
            POSTMARK + b"A: b\n\nHello.\n\nFrom now on it works.\n\n",
            [b"A: b\n\nHello.\n\nFrom now on it works.\n"],
        ),
        (
            "From_ without an empty line before",
            POSTMARK + b"A: b\n\nx\n" + POSTMARK + b"y\n",
            [b"A: b\n\nx\n" + POSTMARK + b"y\n"],
        ),
        ("several empty lines between", POSTMARK + ONE + b"\n\n\n" + POSTMARK + TWO, [ONE + b"\n\n", TWO]),
        ("header only", POSTMARK + b"A: b\n\n" + POSTMARK + b"C: d\n\n", [b"A: b\n\n", b"C: d\n\n"]),
        ("a message without any line", POSTMARK + b"\n" + POSTMARK + TWO, [b"\n", TWO]),
    ],
)
def test_mbox(label: str, content: bytes, expected: list[bytes]) -> None:
    got = from_mbox(content)
    crlf = label == "CRLF"
    assert [one.body for one in got] == [body.replace(b"\n", b"\r\n") if crlf else body for body in expected]
    assert [one.origin for one in got] == [f"box#{number}" for number in range(1, len(expected) + 1)]


def test_content_length_carries_over_unquoted_separators() -> None:
    body = b"see:\n\n" + POSTMARK + b"quoted message\n"
    head = b"A: b\nContent-Length: %d\n\n" % len(body)
    got = from_mbox(POSTMARK + head + body + b"\n" + POSTMARK + TWO)
    assert [one.body for one in got] == [head + body, TWO]


SAID = b"Hello,\n\nFrom now on it works.\n>From what I hear\n\nFrom erika Sat Jan  3 01:05:34 2026\nis a quotation.\n"
QUOTED = re.sub(rb"^(>*From )", rb">\1", SAID, flags=re.MULTILINE)
DIALECTS = {
    # mboxo quotes only what is not quoted yet, so what was quoted before cannot be told from it
    "mboxo": (b"", re.sub(rb"^From ", b">From ", SAID, flags=re.MULTILINE), SAID.replace(b"\n>From", b"\nFrom")),
    "mboxrd": (b"", QUOTED, SAID),
    "mboxcl": (b"Content-Length: %d\n" % len(QUOTED), QUOTED, SAID),
    "mboxcl2": (b"Content-Length: %d\n" % len(SAID), SAID, SAID),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_four_dialects_of_mbox(dialect: str) -> None:
    length, written, said = DIALECTS[dialect]
    message = POSTMARK + b"A: b\n" + length + b"\n"
    got = from_mbox(message + written + b"\n" + message + written + b"\n" + POSTMARK + TWO)
    assert [one.body for one in got] == [b"A: b\n" + length + b"\n" + said] * 2 + [TWO]


@pytest.mark.parametrize("length", [0, 3, 5000, 999_999_999_999])
def test_a_false_content_length_is_not_believed(length: int) -> None:
    head = b"A: b\nContent-Length: %d\n\n" % length
    got = from_mbox(POSTMARK + head + b"Some words\n\n" + POSTMARK + TWO)
    assert [one.body for one in got] == [head + b"Some words\n", TWO]


def test_text_before_the_first_separator_is_told() -> None:
    got = from_mbox(b"junk\n\n" + POSTMARK + ONE)
    assert [(one.origin, bool(one.error)) for one in got] == [("box", True), ("box#1", False)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"From - Mon Sep 17 00:00:00 2001\n", True),
        (b"From joe at example.com  Tue Feb  3 04:05:06 2015\n", True),
        (b"From MAILER-DAEMON Fri Jul  8 12:08:34 2011\n", True),
        (b"From a@b.example Sat Jan  3 01:05:34 +0100 2026\n", True),
        (b"From: a@example.com\n", False),
        (b"From here it is 12:30, and nothing works\n", False),
        (b"From " + b"9:99 " * 1000 + b"2026\n", False),
    ],
)
def test_what_begins_a_message(line: bytes, expected: bool) -> None:
    assert is_separator(line) is expected


def test_python_writes_what_we_read(tmp_path: Path) -> None:
    box = mailbox.mbox(tmp_path / "box.mbox")
    for body in (ONE, TWO, b"A: b\n\nFrom the start\n"):
        box.add(mailbox.mboxMessage(message_from_bytes(body)))
    box.close()
    assert bodies(tmp_path / "box.mbox") == [ONE, TWO, b"A: b\n\nFrom the start\n"]


def test_an_mbox_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "big.mbox"
    message = POSTMARK + b"A: b\n\n" + b"x" * 99 * 1024 + b"\n\n"
    with path.open("wb") as file:
        for _ in range(300):  # 30 MB
            file.write(message)
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_all([str(path)])) == 300
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


def test_a_message_past_the_limit_is_named_and_its_neighbours_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.mail.mbox.MAX_MESSAGE", 1000)
    got = from_mbox(POSTMARK + ONE + b"\n" + POSTMARK + b"A: b\n\n" + b"x\n" * 1000 + b"\n" + POSTMARK + TWO)
    assert [one.body for one in got] == [ONE, b"", TWO]
    assert "larger than" in got[1].error


# Other files -------------------------------------------------------------------------------------------------------


def test_single_files(tmp_path: Path) -> None:
    plain, mbox_like, apple = tmp_path / "a.eml", tmp_path / "b.eml", tmp_path / "c.emlx"
    plain.write_bytes(ONE)
    mbox_like.write_bytes(POSTMARK + TWO)  # an .eml is one mail, whatever it begins with
    apple.write_bytes(b"%d\n" % len(ONE) + ONE + b"<?xml version='1.0'?><plist/>")
    assert bodies(plain, mbox_like, apple) == [ONE, POSTMARK + TWO, ONE]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.msg", bytes.fromhex("d0cf11e0a1b11ae1") + bytes(100), "Outlook .msg"),
        ("a.pst", b"!BDN" + bytes(100), "Outlook .pst"),
        ("a.eml.gz", b"\x1f\x8b" + bytes(100), "gzip"),
        ("a.zip", b"PK\x03\x04" + bytes(100), "zip"),
        ("a.eml", b"", "is empty"),
        ("a.eml", b" \r\n\n", "is empty"),
        ("a.emlx", b"From: a@example.com", "length of its mail"),
    ],
)
def test_what_cannot_be_taken_says_why(tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    (tmp_path / name).write_bytes(content)
    [(origin, error)] = errors(tmp_path / name)
    assert origin == str(tmp_path / name)
    assert sentence in error


def test_a_missing_path_is_named_and_the_next_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.eml").write_bytes(ONE)
    assert errors(tmp_path / "no.eml") == [(str(tmp_path / "no.eml"), "No such file or directory")]
    assert bodies(tmp_path / "no.eml", tmp_path / "a.eml") == [ONE]


def test_maildir_new_and_cur_with_subfolders(tmp_path: Path) -> None:
    for folder in ("", ".Archive"):
        for part in ("new", "cur", "tmp"):
            (tmp_path / folder / part).mkdir(parents=True)
    (tmp_path / "cur" / "1:2,S").write_bytes(ONE)
    (tmp_path / "new" / "2").write_bytes(TWO)
    (tmp_path / "tmp" / "3").write_bytes(b"half")
    (tmp_path / ".Archive" / "cur" / "4:2,").write_bytes(TWO + b"archived\n")
    (tmp_path / "dovecot.index.log").write_bytes(b"\x01\x03")
    (tmp_path / "maildirfolder").write_bytes(b"")
    assert bodies(tmp_path) == [ONE, TWO, TWO + b"archived\n"]
    assert errors(tmp_path) == []


def test_a_folder_of_everything(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.eml").write_bytes(ONE)
    (tmp_path / "sub" / "b.mbox").write_bytes(POSTMARK + TWO)
    (tmp_path / "sub" / "51").write_bytes(ONE)  # MH
    (tmp_path / "Inbox").write_bytes(POSTMARK + TWO)  # Thunderbird
    (tmp_path / "Inbox.msf").write_bytes(b"// index")
    (tmp_path / ".DS_Store").write_bytes(b"\x00")
    (tmp_path / "z.jsonl").write_bytes(b'{"raw_base64": "%s"}\n' % base64.b64encode(ONE))
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert sorted(bodies(tmp_path)) == sorted([ONE, TWO, ONE, TWO, ONE])
    [(origin, error)] = errors(tmp_path)
    assert origin.endswith("photo.jpg")
    assert "does not look like mail" in error


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (ONE, [ONE]),
        (POSTMARK + ONE + b"\n" + POSTMARK + TWO, [ONE, TWO]),
        (b'{"raw_base64": "%s"}\n' % base64.b64encode(TWO), [TWO]),
    ],
    ids=["mail", "mbox", "json lines"],
)
def test_standard_input_is_recognised(content: bytes, expected: list[bytes]) -> None:
    stream = io.BufferedReader(io.BytesIO(content))  # type: ignore[type-var]
    assert [one.body for one in read_stdin(stream)] == expected  # type: ignore[arg-type]


# JSON lines --------------------------------------------------------------------------------------------------------


def lines(tmp_path: Path, *records: Any) -> list[Found]:
    path = tmp_path / "in.jsonl"
    path.write_text("\n\n".join(one if isinstance(one, str) else json.dumps(one) for one in records))
    return list(read_all([str(path)]))


def test_raw_mail_in_json_lines(tmp_path: Path) -> None:
    (tmp_path / "one.eml").write_bytes(ONE)
    encoded = base64.b64encode(TWO).decode()
    wrapped = encoded[:20] + "\n" + encoded[20:]
    got = lines(
        tmp_path,
        {"raw_base64": encoded},
        {"raw": wrapped, "inbox": "billing", "facts": {"rcpt_tos": ["x@desk.example"]}},
        {"raw": TWO.decode()},
        {"raw_path": "one.eml"},
    )
    assert [one.body for one in got] == [TWO, TWO, TWO, ONE]
    assert (got[1].inbox, got[1].facts) == ("billing", {"rcpt_tos": ["x@desk.example"]})
    assert [one.origin.rpartition(":")[2] for one in got] == ["1", "3", "5", "7"]


def test_a_mail_written_from_fields(tmp_path: Path) -> None:
    record = {
        "from": "Günter Groß <guenter@example.com>",
        "to": ["help@desk.example", "Zwei <zwei@desk.example>"],
        "cc": "drei@example.com",
        "subject": "Größe\r\nBcc: x@example.com",
        "text": "Привет\n.\nFrom here\n",
        "html": "<p>Привет</p>",
        "date": "2026-08-01T10:00:00+02:00",
        "message_id": "1@example.com",
        "in_reply_to": "<0@example.com>",
        "references": ["<0@example.com>", "00@example.com"],
        "unknown": [1],
    }
    first, second = lines(tmp_path, record, record)
    assert first.body == second.body, "the same line, the same bytes"
    mail = message_from_bytes(first.body)
    assert str(make_header(decode_header(mail["From"]))) == "Günter Groß <guenter@example.com>"
    assert mail["To"] == "help@desk.example, Zwei <zwei@desk.example>"
    assert mail["Cc"] == "drei@example.com"
    assert str(make_header(decode_header(mail["Subject"]))) == "Größe Bcc: x@example.com"
    assert mail["Bcc"] is None
    assert mail["Date"] == "Sat, 01 Aug 2026 10:00:00 +0200"
    assert mail["Message-ID"] == "<1@example.com>"
    assert mail["In-Reply-To"] == "<0@example.com>"
    assert mail["References"] == "<0@example.com> <00@example.com>"
    plain, html = mail.get_payload()
    assert plain.get_payload(decode=True).decode() == record["text"]
    assert html.get_payload(decode=True).decode() == record["html"]
    assert b"\n" not in first.body.replace(b"\r\n", b"")


def test_a_document_for_another_channel(tmp_path: Path) -> None:
    [got] = lines(tmp_path, {"inbox": "contact", "body": {"email": "a@example.com", "message": "hé"}})
    assert json.loads(got.body) == {"email": "a@example.com", "message": "hé"}
    assert (got.inbox, got.content_type) == ("contact", "application/json")


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        ("{broken", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ([], "a line has to be a JSON object"),
        ({}, "give the message as"),
        ({"raw_base64": "%%%"}, "neither base64"),
        ({"raw": 5}, "has to be a string"),
        ({"raw_path": "../../etc/passwd"}, "not a file below"),
        ({"raw_path": "/etc/passwd"}, "not a file below"),
        ({"raw_path": "missing.eml"}, "not a file below"),
        ({"from": ""}, "`from` is empty"),
        ({"from": 7}, "`from` has to be"),
        ({"from": "a" * 20_000}, "longer than"),
        ({"from": "a@example.com", "text": ["x"]}, "`text` has to be a string"),
        ({"from": "a@example.com", "date": "yesterday"}, "neither ISO 8601"),
        ({"from": "a@example.com", "facts": []}, "give"),
        ({"from": "a@example.com", "facts": [1]}, "`facts` has to be"),
    ],
)
def test_a_bad_line_says_why_and_the_next_is_read(tmp_path: Path, record: Any, sentence: str) -> None:
    first, second = lines(tmp_path, record, {"from": "a@example.com", "text": "fine"})
    if record == {"from": "a@example.com", "facts": []}:
        assert first.error == "", "an empty list of facts is no facts"
    else:
        assert sentence in first.error
    assert b"fine" in base64.b64decode(message_from_bytes(second.body).get_payload())


# Through the door --------------------------------------------------------------------------------------------------


class Door:
    def __init__(self, fail: Any = None) -> None:
        self.arrived: list[tuple[str, Raw]] = []
        self.fail = fail
        self.at_once = self.most_at_once = 0

    async def accept(self, inbox: Any, raw: Raw) -> list[Any]:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        if self.fail is not None:
            self.fail(inbox, raw)
        self.arrived.append((inbox.name, raw))
        return [SimpleNamespace(receipt_id=uuid4())]


def runtime_with(door: Door) -> Any:
    inboxes = {name: SimpleNamespace(name=name, channel="email") for name in ("support", "billing")}
    return SimpleNamespace(intake=door, inboxes=inboxes)


async def test_everything_is_accepted_a_window_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "box.mbox"
    path.write_bytes(b"".join(POSTMARK + b"Subject: %d\n\nx\n\n" % number for number in range(500)))
    door, seen = Door(), []

    def progress(found: Found, receipts: Sequence[str], sentence: str) -> None:
        seen.append((found.origin, len(receipts), sentence))

    report = await ingest(runtime_with(door), "support", [str(path)], progress)
    assert (report.accepted, report.receipts, report.refused) == (500, 500, [])
    assert {raw.body for _, raw in door.arrived} == {b"Subject: %d\n\nx\n" % number for number in range(500)}
    assert len({origin for origin, count, _ in seen if count == 1}) == 500
    assert 1 < door.most_at_once <= AT_ONCE


async def test_large_messages_are_not_all_in_hand_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.ingest.IN_FLIGHT", 10_000)
    for number in range(12):
        (tmp_path / f"{number}.eml").write_bytes(ONE + b"x" * 4000)
    door = Door()
    await ingest(runtime_with(door), "support", [str(tmp_path)])
    assert len(door.arrived) == 12
    assert door.most_at_once <= 2


async def test_refusals_are_reported_with_their_origin(tmp_path: Path) -> None:
    def fail(inbox: Any, raw: Raw) -> None:
        if b"two" in raw.body:
            raise Refused(400, "not ours")

    path = tmp_path / "in.jsonl"
    records = [
        {"raw": ONE.decode(), "inbox": "billing"},
        {"raw": TWO.decode()},
        {"raw": ONE.decode(), "inbox": "none"},
        {},
    ]
    path.write_text("\n".join(map(json.dumps, records)))
    door = Door(fail)
    report = await ingest(runtime_with(door), "support", [str(path)])
    assert [name for name, _ in door.arrived] == ["billing"]
    assert dict(report.refused)[f"{path}:2"] == "not ours"
    assert "there is no inbox 'none'; the inboxes are billing, support" in dict(report.refused)[f"{path}:3"]
    assert len(report.refused) == 3


async def test_it_waits_out_a_short_outage_and_gives_up_on_a_long_one(tmp_path: Path) -> None:
    (tmp_path / "a.eml").write_bytes(ONE)
    tries = 0

    def twice(inbox: Any, raw: Raw) -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise NotDurableError("full", retry_after=0)

    report = await ingest(runtime_with(Door(twice)), "support", [str(tmp_path)])
    assert (report.accepted, tries) == (1, 3)

    def always(inbox: Any, raw: Raw) -> None:
        raise NotDurableError("full", retry_after=0)

    with pytest.raises(NotDurableError):
        await ingest(runtime_with(Door(always)), "support", [str(tmp_path)])


@pytest.mark.skipif(not SHARED.is_dir(), reason="the mail corpora are not beside this checkout")
def test_every_mail_of_the_corpora_is_found() -> None:
    index = SHARED / "mail.jsonl"
    count = len(index.read_text().splitlines())
    got = list(read_all([str(index)]))
    assert len(got) == count
    assert [one.error for one in got if one.error] == []
    assert max(len(one.body) for one in got) < MAX_MESSAGE
