"""The web form's adapter: bodies in three encodings, the optional protections, names and addresses as people type."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from email_validator import validate_email
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from adapters import webform
from adapters.base import Raw, Refused
from adapters.webform import FormInvalidError, FormOptions, WebForm, is_email, read_json_object, shown_filename
from normalizer.message import MessageDraft
from tests.channels.harness import ChannelTable, Row, arrived, inbound, receive

KEY = "a-form-key-nobody-may-see"
NOW = 1_785_578_400
URL = "https://gw.example.test/form/contact"
URLENCODED = "application/x-www-form-urlencoded"
GOOD = {"name": "Erika", "email": "Erika@Example.com", "subject": "Bestellung 1042", "message": "Wo?\r\nDanke"}
VECTORS = Path(__file__).parents[2] / "../shared/vectors"


def form(**options: Any) -> WebForm:
    return WebForm("contact", FormOptions(**({"token_key": SecretStr(KEY)} | options)))


def post(body: bytes | dict[str, Any], content_type: str = URLENCODED, now: float = NOW, **headers: str) -> Raw:
    if isinstance(body, dict):
        body = (json.dumps(body) if "json" in content_type else urlencode(body, doseq=True)).encode()
    raw = arrived(inbound("POST", URL, {"Content-Type": content_type, **headers}, body))
    return replace(raw, facts={"received_at": now, "submission_id": "0198-one"})


def parts(*sections: tuple[str, bytes]) -> bytes:
    head = b"".join(
        f"--b\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode() + content + b"\r\n"
        for disposition, content in sections
    )
    return head + b"--b--\r\n"


def token(age: float, inbox: str = "contact", key: str = KEY, nonce: str = "n0nce") -> str:
    head = f"v1.{inbox}.{int(NOW - age)}.{nonce}"
    return f"{head}.{hmac.new(key.encode(), head.encode(), hashlib.sha256).hexdigest()}"


def draft_of(raw: Raw, adapter: WebForm | None = None) -> MessageDraft:
    [draft] = receive(adapter or form(), raw)
    assert isinstance(draft, MessageDraft)
    return draft


class TestWebForm(ChannelTable):
    secrets = (KEY,)
    rows = (
        Row(
            "urlencoded",
            post(GOOD | {"order": "1042"}, **{"User-Agent": "Mozilla/5.0"}),
            drafts=[
                {
                    "author.identity": "email:erika@example.com",
                    "author.display_name": "Erika",
                    "author.trust": "unverified",
                    "author.evidence": "typed into the form",
                    "subject": "Bestellung 1042",
                    "text": "Wo?\nDanke",
                    "external_id": "0198-one",
                    "fields": {"order": "1042", "name": "Erika", "user_agent": "Mozilla/5.0"},
                    "content_key": bool,
                    "suspend": "",
                    "recipients": (),
                }
            ],
        ),
        Row(
            "JSON with other fields",
            post(
                GOOD | {"order": {"id": 1042}, "lang": "de-DE", "page_url": "https://a.example/b"}, "application/json"
            ),
            drafts=[{"fields.order.id": 1042, "fields.lang": "de-DE", "fields.page_url": "https://a.example/b"}],
        ),
        Row(
            "JSON with a file",
            post(
                GOOD | {"attachments": [{"filename": "a.txt", "content": "aGVsbG8=", "content_type": "text/plain"}]},
                "application/vnd.shop+json; charset=utf-8",
            ),
            drafts=[{"attachments.0.filename": "a.txt", "attachments.0.content": b"hello", "attachments.0.size": 5}],
        ),
        Row(
            "multipart with files and an empty file field",
            post(
                parts(
                    ('name="email"', b"erika@example.com"),
                    ('name="message"', b"see file"),
                    ('name="attachments"; filename=""', b""),
                    ('name="attachments"; filename="C:\\\\fakepath\\\\rechnung.pdf"', b"%PDF-1.4 x"),
                    ('name="photo"; filename="x.bin"', b""),
                ),
                "multipart/form-data; boundary=b",
            ),
            drafts=[
                {
                    "attachments.0.filename": "rechnung.pdf",
                    "attachments.0.sniffed_type": "application/pdf",
                    "attachments.1.size": 0,
                    "attachments": lambda files: len(files) == 2,
                }
            ],
        ),
        Row(
            "subject alone is enough",
            post({"email": "a@example.com", "subject": "Call me"}),
            drafts=[{"text": "", "subject": "Call me", "content_key": bool}],
        ),
        Row(
            "choices keep all their values",
            post({"email": "a@example.com", "message": "x", "topic": ["billing", "app"]}),
            drafts=[{"fields.topic": ["billing", "app"]}],
        ),
        Row(
            "honeypot filled",
            post(GOOD | {"website": "http://spam.test"}),
            drafts=[{"suspend": "honeypot", "automated.0.name": "honeypot", "text": "Wo?\nDanke"}],
        ),
        Row(
            "token of a person",
            post(GOOD | {"form_token": token(45)}),
            drafts=[{"suspend": "", "external_id": "n0nce", "fields": {"name": "Erika"}}],
        ),
        Row(
            "token of a machine",
            post(GOOD | {"form_token": token(2)}),
            drafts=[{"suspend": "submitted within 3 seconds"}],
        ),
        Row("token a day old", post(GOOD | {"form_token": token(86_401)}), refused=422),
        Row("token of another form", post(GOOD | {"form_token": token(45, inbox="sales")}), refused=422),
        Row("token by another key", post(GOOD | {"form_token": token(45, key="guess")}), refused=422),
        Row("no address", post({"message": "hello"}), refused=422),
        Row("nothing said", post({"email": "a@example.com", "message": " \n"}), refused=422),
        Row("two addresses", post({"email": ["a@example.com", "b@example.com"], "message": "x"}), refused=422),
        Row("header injection", post({"email": "a@example.com\nBcc: b@example.com", "message": "x"}), refused=422),
        Row("no form at all", post(b"hello", "text/plain"), refused=415),
    )

    def adapter(self) -> WebForm:
        return form()

    # A form takes strangers: there is no signature to forge and no secret to miss.
    test_forged_is_refused = None  # type: ignore[assignment]
    test_without_its_secrets_the_inbox_refuses_and_says_what_to_set = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("address", "good"),
    [
        ("erika@example.com", True),
        ("john.doe+tag@mail.example.co.uk", True),
        (".john..doe.@docomo.ne.jp", True),  # against RFC 5321, and millions of them were handed out
        ("user@corp.local", True),
        ("user@desk.test", True),
        ("jörg@bücher.example", True),
        ("用户@例子.公司", True),
        ("o'hara@example.com", True),
        ("a@b", False),
        ("a@b.", False),
        ("@example.com", False),
        ("...@example.com", False),
        ("a b@example.com", False),
        ("a@exam ple.com", False),
        ("a@example.com\n", False),
        ("a@@example.com", False),
        ("Erika <erika@example.com>", False),
        ("a@[127.0.0.1]", False),
        ("x" * 300 + "@example.com", False),
        ("", False),
    ],
)
def test_addresses_as_people_have_them(address: str, good: bool) -> None:
    assert is_email(address) is good


@given(st.text("aZ9_+.-", max_size=40), st.text("aZ9_.-", max_size=40))
def test_the_short_way_takes_only_what_the_validator_takes(local: str, domain: str) -> None:
    if webform._PLAIN_EMAIL.fullmatch(f"{local}@{domain}.shop"):
        assert validate_email(f"{local}@{domain}.shop.com", check_deliverability=False)


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("rechnung.pdf", "rechnung.pdf"),
        ("../../etc/cron.d/pwn", "pwn"),
        ("C:\\fakepath\\x.doc", "x.doc"),
        ("a\u200b/../\u200b.htaccess", "htaccess"),
        ("inv\u202efdp.exe", "invfdp.exe"),
        ("a\r\nContent-Type: text/html", "html"),
        ("\x00", "file"),
        ("", "file"),
        ("...", "file"),
        ("图片 1.png", "图片 1.png"),
        ("n" * 400 + ".pdf", "n" * 251 + ".pdf"),
        ("\ud800.txt", "\ufffd.txt"),
    ],
)
def test_a_file_name_is_only_ever_shown(sent: str, shown: str) -> None:
    assert shown_filename(sent) == shown


@given(st.text(max_size=600))
def test_any_file_name_is_short_and_without_paths(sent: str) -> None:
    shown = shown_filename(sent)
    assert 0 < len(shown.encode()) <= 255
    assert not set(shown) & set("/\\\x00\r\n")
    assert not shown.startswith(".")


@given(
    st.binary(max_size=400),
    st.sampled_from([URLENCODED, "application/json", "multipart/form-data; boundary=b", "multipart/form-data"]),
)
def test_any_bytes_are_a_message_or_a_refusal(body: bytes, content_type: str) -> None:
    try:
        [draft] = form().normalize(post(body, content_type))
    except Refused as refusal:
        assert refusal.status in (400, 413, 415, 422)
    else:
        draft.model_dump_json()


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=50), max_size=8))
def test_fields_come_out_as_they_went_in_by_each_encoding(fields: dict[str, str]) -> None:
    written = {name: value.replace("\r", " ") for name, value in fields.items()} | {
        "email": "a@example.com",
        "message": "x",
    }
    assume(not {"form_token", "lang", "page_url", "name", "website", "_charset_"} & {name.strip() for name in fields})
    drafts = [draft_of(post(written, kind)) for kind in (URLENCODED, "application/json")]
    assert drafts[0].fields == drafts[1].fields
    assert drafts[0].content_key == drafts[1].content_key


def test_keys_tell_the_same_delivery_from_the_same_words() -> None:
    with_token = [draft_of(post(GOOD | {"form_token": token(45)}, now=NOW + late)) for late in (0, 5)]
    other_words = draft_of(post(GOOD | {"form_token": token(45), "message": "Something else"}))
    other_post = draft_of(replace(post(GOOD), facts={"received_at": NOW, "submission_id": "0198-two"}))
    plain = draft_of(post(GOOD))
    assert with_token[0].delivery_key == with_token[1].delivery_key
    keys = {with_token[0].delivery_key, other_words.delivery_key, other_post.delivery_key, plain.delivery_key}
    assert len(keys) == 4
    assert with_token[0].content_key == plain.content_key == other_post.content_key != other_words.content_key


def test_without_a_key_tokens_are_neither_made_nor_asked() -> None:
    bare = form(token_key=None)
    assert bare.issue_token(NOW, "n") == ""
    assert draft_of(post(GOOD | {"form_token": "v1.whatever"}), bare).suspend == ""


def test_everything_written_comes_back_with_what_is_wrong() -> None:
    with pytest.raises(FormInvalidError) as caught:
        form().normalize(post(GOOD | {"email": "erika", "order": "1042", "subject": "x" * 501}))
    submission = caught.value.submission
    assert submission.errors == {"email": "invalid_email", "subject": "too_long"}
    assert (submission.values["message"], submission.extra) == ("Wo?\nDanke", {"order": "1042"})
    assert "erika" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "filename", "content_type", "good"),
    [
        ({"accept": "image/*, .pdf"}, "a.png", "image/png", True),
        ({"accept": "image/*, .pdf"}, "A.PDF", "application/octet-stream", True),
        ({"accept": "image/*, .pdf"}, "a.exe", "application/octet-stream", False),
        ({"max_files": 0}, "a.png", "image/png", False),
        ({}, "a.exe", "application/x-msdownload", True),
    ],
)
def test_files_that_are_not_taken(options: dict[str, Any], filename: str, content_type: str, good: bool) -> None:
    file = {"filename": filename, "content_type": content_type, "content": ""}
    raw = post(GOOD | {"attachments": [file]}, "application/json")
    if good:
        assert draft_of(raw, form(**options)).attachments[0].filename == filename
    else:
        with pytest.raises(FormInvalidError) as caught:
            form(**options).normalize(raw)
        assert list(caught.value.submission.errors) == ["attachments"]


def test_an_unknown_option_fails_at_start_without_its_value() -> None:
    with pytest.raises(ValidationError) as caught:
        FormOptions.model_validate({"channel": "form", "tokenkey": "hunter2"})
    assert "tokenkey" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_json_is_read_strictly() -> None:
    assert read_json_object(b'{"a": [1, 2.5, null, "\\u00e9"]}') == {"a": [1, 2.5, None, "é"]}
    for bad in (b"[]", b"1", b'"x"', b"nul", b'{"a": 1, "a": 2}', b'{"a": -Infinity}', b'{"a": ' + b"9" * 5000 + b"}"):
        with pytest.raises(Refused) as refusal:
            read_json_object(bad)
        assert refusal.value.status == 400


@pytest.mark.skipif(not (VECTORS / "manifest.json").exists(), reason="../shared/vectors is not here")
@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        ("webform_ok.multipart", ""),
        ("webform_honeypot.form", "honeypot"),
        ("webform_too_fast.form", "submitted within 3 seconds"),
        ("webform_expired_token.form", 422),
    ],
)
def test_the_signed_samples(sample: str, expected: str | int) -> None:
    manifest = json.loads((VECTORS / "manifest.json").read_text())
    entry = next(item for item in manifest["samples"] if item["file"] == sample)
    adapter = form(token_key=SecretStr(manifest["secrets"]["webform_hmac_key"]))
    body = (VECTORS / sample).read_bytes()
    request = inbound("POST", entry["request"]["url"], entry["request"]["headers"], body, inbox="contact")
    raw = replace(arrived(request), facts={"received_at": manifest["frozen_clock"], "submission_id": "1"})
    if isinstance(expected, int):
        with pytest.raises(Refused) as refusal:
            adapter.normalize(raw)
        assert refusal.value.status == expected
        return
    draft = draft_of(raw, adapter)
    assert draft.suspend == expected
    assert (draft.author.value, draft.author.display_name) == ("erika@example.com", "Erika")
    assert draft.text == "Wo ist meine Bestellung?\nDanke"
    if sample == "webform_ok.multipart":
        [file] = draft.attachments
        assert (file.filename, file.content, file.sniffed_type) == ("rechnung.pdf", b"%PDF-1.4\n", "application/pdf")
