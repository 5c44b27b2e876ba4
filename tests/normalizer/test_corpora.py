"""Public test mails of other parsers against their own expectations, per source.

The data stays where it is (a sibling of the project); without it these tests skip. Two rates are printed and held: as
the sources see it, and judged: without the misses in the table below, each with the reason why we disagree.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.base import Raw
from adapters.email import Email, EmailOptions
from normalizer import addresses, headers, markup, mime, quoting, thread_keys
from normalizer.message import Attachment, MessageDraft
from tests.normalizer.disagreements import DISAGREED, REPLY_POLICY, SIGNED

CORPORA = Path(__file__).parents[2] / "../shared/corpora"
pytestmark = pytest.mark.skipif(not CORPORA.is_dir(), reason="the mail corpora are not beside the project")


def records(name: str) -> Iterator[dict[str, Any]]:
    with (CORPORA / name).open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def squeeze(text: str | None) -> str:
    """White space collapsed, and nothing else forgiven."""
    return " ".join((text or "").split())


def without_links(text: str) -> str:
    return re.sub(r" <https?://[^>]*>", "", text)


class Report:
    """Counts by source, raw and judged."""

    def __init__(self) -> None:
        self.raw: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        self.judged: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        self.misses: list[str] = []
        self.excused: set[tuple[str, str]] = set()
        self.met: set[tuple[str, str]] = set()

    def add(self, record: dict[str, Any], key: str, right: bool, found: object) -> None:
        self._count(self.raw[record["source"]], right)
        self.met.add((record["id"], key))
        if not right and key in DISAGREED.get(record["id"], ("", ""))[0].split():
            self.excused.add((record["id"], key))
            return
        self._count(self.judged[record["source"]], right)
        if not right:
            self.misses.append(f"{record['id']} {key}: {record['expected'].get(key)!r:.200} != {found!r:.200}")

    @staticmethod
    def _count(pair: list[int], right: bool) -> None:
        pair[0] += right
        pair[1] += 1

    def check(self, floors: dict[str, float]) -> None:
        """Raw rates do not fall below `floors`; every miss is listed with its reason, and only misses are listed."""
        lines = []
        for source, (right, total) in self.raw.items():
            good, judged = self.judged[source]
            lines.append(
                f"{source:32} {right}/{total} = {right / total:.1%}   judged {good}/{judged} = {good / judged:.1%}"
            )
        print("\n" + "\n".join(lines + self.misses[:60]))
        entries = {(name, key) for name, (keys, _) in DISAGREED.items() for key in keys.split()} & self.met
        assert entries - self.excused == set(), "disagreements that are none any more"
        for source, (right, total) in self.raw.items():
            assert right / total >= floors[source], (source, right, total)
        assert self.misses == [], "neither read as expected nor listed"


def same_files(expected: list[dict[str, Any]], found: tuple[Attachment, ...]) -> bool:
    """The same files in the same order: type, Content-ID, and for binary ones size and content."""
    return len(expected) == len(found) and all(map(same_file, expected, found))


def same_file(expected: dict[str, Any], found: Attachment) -> bool:
    binary = expected.get("body_kind") != "Text"
    claims = (
        (expected["content_type"], found.content_type),
        (expected["content_id"], found.content_id),
        (expected["size"] if expected["size_exact"] and binary else None, found.size),
        (expected["sha256"] if binary else None, found.sha256),
    )
    return all(claim in (None, fact) for claim, fact in claims)


def mailboxes(read: mime.Mail, field: str) -> list[str]:
    return [item.value for line in read.raw_all(field) for item in addresses.parse_addresses(line)]


def listed(value: Any) -> list[str]:
    values = [value] if isinstance(value, str) else value
    return [item.rpartition("<")[2].rstrip(">").lower() for item in values if item]


def compare(report: Report, record: dict[str, Any], read: mime.Mail) -> None:
    """Each expectation of one mail that says something about what we give."""
    # A From without an address still names somebody, as the adapter does.
    nobody = addresses.Address("", squeeze(headers.decode_words(read.raw("from")).rstrip(":; ")))
    sender = (addresses.parse_addresses(read.raw("from")) or [nobody])[0]
    enmime = record["source"].startswith("jhillyerd")  # joins pieces with a rule, renders bold with asterisks
    leaves = record["source"].startswith("apache")  # its texts may be in any part, attached ones too
    to = [item for line in read.raw_all("to") for item in addresses.parse_addresses(line)]
    first_to = to[0] if to else addresses.Address("")
    own_id = (thread_keys.message_ids(read.raw("message-id"), loose=True) or [""])[0]
    text, html_text = squeeze(read.letter), squeeze(markup.to_text(read.html))
    attached = " ".join(squeeze((item.content or b"").decode("utf-8", "replace")) for item in read.attachments)
    names = [item.filename for item in read.attachments]
    sizes = [item.size for item in read.attachments]

    def named(expected: list[dict[str, Any]]) -> bool:
        return all(not item["filename"] or item["filename"] in names for item in expected)

    checks: dict[str, Any] = {
        "subject": lambda v: squeeze(v) == squeeze(read.subject),
        "from_addr": lambda v: sender.value == v.lower(),
        "from_addrs": lambda v: mailboxes(read, "from") == listed(v),
        "from_name": lambda v: sender.display_name == squeeze(v),
        "to": lambda v: mailboxes(read, "to") == listed(v),
        "cc": lambda v: mailboxes(read, "cc") == listed(v),
        "reply_to": lambda v: mailboxes(read, "reply-to") == listed(v),
        "to_first": lambda v: first_to.value == v.lower(),
        "to_name_first": lambda v: first_to.display_name == squeeze(v),
        "message_id": lambda v: own_id == v,
        "in_reply_to_ids": lambda v: thread_keys.message_ids(read.raw("in-reply-to")) == v,
        "references": lambda v: thread_keys.message_ids(read.raw("references")) == v,
        "text": lambda v: squeeze(v.replace("\n--\n", "\n") if enmime else v) == text,
        "text_ws_normalised": lambda v: squeeze(v) == text,
        "has_text": lambda v: bool(text) == v,
        "html": lambda v: squeeze(v) == squeeze(read.html),
        "has_html": lambda v: bool(read.html) == v,
        "html_text_ws_normalised": lambda v: squeeze(without_links(markup.to_text(read.html))) == squeeze(v),
        "text_contains": lambda v: all(
            squeeze(item.replace("*", "") if enmime else item)
            in f"{text} {squeeze(read.html) + html_text if enmime else ''} {attached if leaves else ''}"
            for item in v
        ),
        "html_contains": lambda v: all(squeeze(item) in squeeze(read.html) for item in v),
        "attachments_count": lambda v: len(names) == v,
        "attachments_count_disposition_attachment": lambda v: sum(not item.inline for item in read.attachments) == v,
        "attachment_filenames_contain": lambda v: all(item in names for item in v),
        "attachment_sizes_contain": lambda v: all(item in sizes for item in v),
        "attachments": lambda v: same_files(v, read.attachments),
        "attachment_names": named,
    }
    found = {"text": text, "attachments": list(zip(names, sizes, strict=True)), "from_addr": sender, "to": to}
    found |= {"subject": read.subject, "html": squeeze(read.html), "attachment_names": names}
    expected = dict(record["expected"])
    if "attachments" in expected:
        expected["attachment_names"] = expected["attachments"]
    quirks = expected.get("quirk_fields") or ()
    for key, value in expected.items():
        if key in checks and key not in quirks and value is not None:
            report.add(record, key, bool(checks[key](value)), found.get(key, text[:200]))


def test_mail() -> None:
    report = Report()
    for record in records("mail.jsonl"):
        compare(report, record, mime.parse((CORPORA / record["raw_path"]).read_bytes()))
    report.check(
        {
            "jhillyerd/enmime": 0.965,
            "mikel/mail": 0.965,
            "apache/james-mime4j": 0.93,
            "nodemailer/mailparser": 0.875,
            "stalwartlabs/mail-parser": 0.915,
            "zbateson/mail-mime-parser": 0.97,
        }
    )


def test_every_mail_becomes_a_message_that_the_queue_takes() -> None:
    adapter = Email("support", EmailOptions())
    for record in records("mail.jsonl"):
        body = (CORPORA / record["raw_path"]).read_bytes()
        (draft,) = adapter.normalize(Raw(body=body, facts={"mail_from": "a@x.org", "rcpt_tos": ["support@localhost"]}))
        assert isinstance(draft, MessageDraft)
        again = MessageDraft.model_validate_json(draft.model_dump_json())
        assert again == draft, record["id"]
        assert draft.text or not mime.parse(body).text.strip(), record["id"]
        assert not draft.suspend or not mime.parse(body).fields, record["id"]


def written(moment: datetime) -> list[int]:
    """As a Date field says it: year to second, and the zone in minutes."""
    offset = moment.utcoffset() or timedelta()
    return [*moment.timetuple()[:6], int(offset.total_seconds()) // 60]


def test_headers() -> None:
    report = Report()
    for record in records("headers.jsonl"):
        kind, raw, wanted = record["kind"], headers.unfold(record["raw"].encode()), record["expected"]
        found: object
        if kind == "address":
            groups = wanted.get("Group") or [{"addresses": wanted.get("List", [])}]
            claimed = [item for group in groups for item in group["addresses"] if "@" in (item["address"] or "")]
            if any(item["address"].startswith(("http", "mailto", "ftp")) for item in claimed):
                continue  # List-* fields of RFC 2369, which are no mailboxes
            found = [item.value for item in addresses.parse_addresses(raw)]
            right = found == ["".join(item["address"].split()).rpartition(":")[2].lower() for item in claimed]
        elif kind == "content_type" and wanted:
            main, parameters, _ = headers.parameters(raw)
            found = (main, parameters)
            asked = {key: value for key, value in wanted.get("attributes") or [] if not key.endswith("-language")}
            right = main.rstrip("/") == f"{wanted['c_type']}/{wanted.get('c_subtype') or ''}".rstrip("/") and all(
                squeeze(parameters.get(key)) == squeeze(value) for key, value in asked.items()
            )
        elif kind == "date" and wanted:
            moment = headers.parse_date(raw)
            found = moment
            right = moment is not None and written(moment) == [
                *(wanted[key] for key in ("year", "month", "day", "hour", "minute", "second")),
                (wanted["tz_hour"] * 60 + wanted["tz_minute"]) * (-1 if wanted["tz_before_gmt"] else 1),
            ]
        elif kind == "id" and wanted:
            found = thread_keys.message_ids(raw, loose=True)
            right = found[:1] == ["".join(wanted[0].split())]
        elif kind == "unstructured" and wanted:
            found = headers.decode_words(raw)
            right = squeeze(str(found)) == squeeze(wanted)
        else:
            continue
        report.add({**record, "expected": {kind: wanted}}, kind, right, found)
    report.check({"stalwartlabs/mail-parser": 0.945})


def own_lines(text: str) -> list[str]:
    """The lines of an expected reply that nobody cited."""
    return [squeeze(line) for line in text.split("\n") if line.strip() and not line.lstrip().startswith(">")]


def judge_reply(expected: dict[str, Any], parts: quoting.Parts) -> str:
    """exact, near (only the signature is cut otherwise) or other, by what the source asserts."""
    shown, signed = squeeze(parts.reply), squeeze(f"{parts.reply} {parts.signature}")
    whole = expected.get("reply_text") or expected.get("first_fragment")
    if whole is None:
        holds = all(squeeze(item) in shown for item in expected.get("reply_contains", []))
        return "exact" if holds and _leaves_out(expected, shown) else "other"
    wanted = squeeze(whole)
    if wanted == shown and _leaves_out(expected, shown):
        return "exact"
    return "near" if len(shown) < len(wanted) and signed.startswith(wanted) else "other"


def _leaves_out(expected: dict[str, Any], shown: str) -> bool:
    return not any(squeeze(item) in shown for item in expected.get("reply_not_contains", []))


def test_replies() -> None:
    """Each line of an expected reply that nobody cited is in ours or, where listed, in the signature beside it."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    lost: list[str] = []
    for record in records("replies.jsonl"):
        octets = (CORPORA / record["raw_path"]).read_bytes()
        body = octets.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
        parts = quoting.split("", body) if record["raw_format"] == "body-html" else quoting.split(body)
        name, expected = record["id"], record["expected"]
        assert parts.reply or not body.strip(), name
        if not {"reply_text", "first_fragment", "reply_contains", "reply_not_contains"} & expected.keys():
            continue
        verdict = judge_reply(expected, parts)
        counts[record["source"]][verdict] += 1
        if verdict == "other" or name in REPLY_POLICY:
            assert (verdict == "other") == (name in REPLY_POLICY), (name, verdict)
        texts = [expected.get("reply_text") or "", expected.get("first_fragment") or ""]
        kept = squeeze(f"{parts.reply} {parts.signature if name in SIGNED else ''}")
        wanted = own_lines("\n".join([*texts, *expected.get("reply_contains", [])]))
        lost.extend(f"{name}: {line}" for line in wanted if line not in kept)
    print()
    for source, found in counts.items():
        good, total = found["exact"] + found["near"], found.total()
        print(f"{source:32} {good}/{total} = {good / total:.1%} ({found['exact']} exact, {found['near']} near)")
    assert lost == [], "\n".join(lost)
    assert all((found["exact"] + found["near"]) / found.total() >= 0.85 for found in counts.values())
