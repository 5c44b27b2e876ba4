"""Header fields as real programs break them: encoded words, addresses, names of files, dates. Made here."""

from __future__ import annotations

import pytest

from normalizer import addresses, headers, mime


@pytest.mark.parametrize(
    ("field", "subject"),
    [
        ("=?utf-8?B?R3LDvA==?= =?utf-8?B?w58=?=", "Grüß"),
        ("=?utf-8?B?R3I?= =?utf-8?B?w7w=?=", "Grü"),
        ("=?utf-8?Q?Gr=C3?= =?utf-8?Q?=BC=C3=9Fe?=", "Grüße"),
        ("=?utf-8?Q?Gr=C3=BC=C3=9Fe aus K=C3=B6ln?=", "Grüße aus Köln"),
        ("Re:=?utf-8?Q?Gr=C3=BC=C3=9Fe?=", "Re:Grüße"),
        ("=?utf-8?Q?Gr=C3=BC=C3=9Fe?=(2)", "Grüße(2)"),
        ("=?utf-8?B?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        ("=?utf-8?B?R3LDvMOfZQ?=", "Grüße"),
        ("=?utf-8?B?R3LD vMOf ZQ==?=", "Grüße"),
        ("=?utf-8?Q?Was ist das??=", "Was ist das?"),
        ("=?utf-8?Q?=ED=A0=BD=ED=B8=80_Hi?=", "😀 Hi"),
        ("=?utf-8?Q?Gr=FC=DFe?=", "Grüße"),
        ("=?foo?Q?Gr=FC=DFe?=", "Grüße"),
        ("=?utf-8?Q?=C3=BC?= =?iso-8859-1?Q?=FC?=", "üü"),
        ("=?utf-16?B?/v8ARwByAPw=?=", "Grü"),
        ("=?ISO-2022-JP?B?GyRCJDMkcw==?= =?ISO-2022-JP?B?GyRCJEskQRsoQg==?=", "こんにち"),
        ("=?utf-8?Q?Gr=C3=BC=C3=9Fe", "=?utf-8?Q?Gr=C3=BC=C3=9Fe"),
        ("=?utf-8?Q?a=E2=80=AEb?=", "ab"),
    ],
)
def test_subjects(field: str, subject: str) -> None:
    assert mime.parse(f"From: a@b.c\nSubject: {field}\n\nx".encode()).subject == subject


def test_emoji_written_in_halves_are_emoji_in_a_text_too() -> None:
    octets = "Hi \ud83d\ude00".encode("utf-8", "surrogatepass")
    read = mime.parse(b"From: a@b.c\nContent-Type: text/plain; charset=utf-8\n\n" + octets)
    assert read.letter == "Hi 😀"
    alone = mime.parse(b"Content-Type: text/plain; charset=utf-8\n\nHi " + "\ud83d".encode("utf-8", "surrogatepass"))
    assert alone.letter.encode()


@pytest.mark.parametrize(
    ("field", "value", "name"),
    [
        ("Muster, Anna <anna@x.org>", "anna@x.org", "Muster, Anna"),
        ('"Muster, Anna" <anna@x.org>', "anna@x.org", "Muster, Anna"),
        ("'Anna' <anna@x.org>", "anna@x.org", "Anna"),
        ("Anna O'Brien <anna@x.org>", "anna@x.org", "Anna O'Brien"),
        ("Anna <<anna@x.org>>", "anna@x.org", "Anna"),
        ("Anna anna@x.org>", "anna@x.org", "Anna"),
        ("anna@x.org (Anna Muster)", "anna@x.org", "Anna Muster"),
        ("jdoe@test  . example", "jdoe@test.example", ""),
        ("=?utf-8?B?YW5uYUB4Lm9yZw==?=", "anna@x.org", ""),
        ("=?utf-8?B?QW5uYSA8YW5uYUB4Lm9yZz4=?=", "anna@x.org", "Anna"),
        ('"=?utf-8?Q?M=C3=BCller=2C_Anna?=" <anna@x.org>', "anna@x.org", "Müller, Anna"),
        ("=?utf-8?Q?Anna_=3Cceo=40bank.example=3E?= <eve@y.org>", "eve@y.org", "Anna <ceo@bank.example>"),
        ("Anna <anna@bücher.example>", "anna@xn--bcher-kva.example", "Anna"),
    ],
)
def test_senders(field: str, value: str, name: str) -> None:
    raw = mime.parse(f"From: {field}\n\nx".encode()).raw("from")
    assert addresses.parse_addresses(raw) == [(value, name)]


def test_a_word_before_a_comma_is_nobody_when_an_address_follows_alone() -> None:
    assert addresses.parse_addresses("friends, anna@x.org, Bob <bob@y.org>") == [
        ("anna@x.org", ""),
        ("bob@y.org", "Bob"),
    ]


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ("filename=my file (1).pdf", "my file (1).pdf"),
        ("filename=a.pdf (a remark)", "a.pdf"),
        ("filename=Grüße aus Köln.pdf", "Grüße aus Köln.pdf"),
        ("filename*1*=%C3%9Fe.pdf; filename*0*=utf-8''Gr%C3%BC", "Grüße.pdf"),
        ("filename*0*=utf-8''Gr%C3; filename*1*=%BC.pdf", "Grü.pdf"),
        ("filename*0*=utf-8'de'Gr%C3%BC; filename*1*=utf-8''%C3%9Fe.pdf", "Grüße.pdf"),
        ("filename*=''plain.pdf", "plain.pdf"),
        ("filename=\"Gr?e.pdf\"; filename*=UTF-8''Gr%C3%BC%C3%9Fe.pdf", "Grüße.pdf"),
        ("", "attachment-1.docx"),
    ],
)
def test_names_of_files(disposition: str, name: str) -> None:
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    head = f"From: a@b.c\nContent-Type: {kind}\nContent-Disposition: attachment; {disposition}"
    assert [item.filename for item in mime.parse(f"{head}\n\nx".encode()).attachments] == [name]


@pytest.mark.parametrize(
    ("field", "moment"),
    [
        ("Mon, 3 Feb 2025 10:12:33 +0100", "2025-02-03T10:12:33+01:00"),
        ("Mon, 3 Feb 2025 10:12:33 +01:00", "2025-02-03T10:12:33+01:00"),
        ("Mon, 03 Feb 25 10:12:33 EST", "2025-02-03T10:12:33-05:00"),
        ("Mon, 3 Feb 125 10:12:33 +0000", "2025-02-03T10:12:33+00:00"),
        ("2025-02-03T10:12:33Z", "2025-02-03T10:12:33+00:00"),
        ("2025-02-03 10:12:33 +0100", "2025-02-03T10:12:33+01:00"),
        ("Mo, 3 Feb 2025 10.12.33 +0100", "2025-02-03T10:12:33+01:00"),
        ("tomorrow", None),
        ("2025", None),
    ],
)
def test_dates(field: str, moment: str | None) -> None:
    found = headers.parse_date(field)
    assert (found.isoformat() if found else None) == moment
