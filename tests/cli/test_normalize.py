"""`frontdesk normalize`: one JSON line a file, without services."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Frontdesk, mail


def test_one_line_a_file_in_order_and_nothing_is_written(frontdesk: Frontdesk, letters: Path, tmp_path: Path) -> None:
    said = frontdesk("normalize", *sorted(letters.iterdir()))
    assert said.code == 0
    assert [Path(line["path"]).name for line in said.lines] == ["1.eml", "2.eml", "3.eml", "4.eml"]
    assert said.lines[0]["text"] == "Where is my parcel?"
    assert said.lines[0]["author"]["value"] == "anna@customer.example"
    assert said.lines[0]["external_id"] == "q1@customer.example"
    assert {"schema_version", "channel", "inbox", "delivery_key", "thread_keys", "problems"} <= set(said.lines[0])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["letters"]


def test_a_folder_is_read_whole(frontdesk: Frontdesk, letters: Path) -> None:
    assert len(frontdesk("normalize", letters).lines) == 4


def test_bytes_are_left_out_unless_asked_for(frontdesk: Frontdesk, letters: Path) -> None:
    short = frontdesk("normalize", letters / "1.eml").lines[0]
    long = frontdesk("normalize", "--content", letters / "1.eml").lines[0]
    assert "content" not in short["original"]
    assert short["original"]["sha256"] == long["original"]["sha256"]
    assert long["original"]["content"]


def test_what_cannot_be_read_is_named_and_the_rest_goes_on(frontdesk: Frontdesk, letters: Path, tmp_path: Path) -> None:
    said = frontdesk("normalize", tmp_path / "missing.eml", letters / "1.eml")
    assert said.code == 1
    bad, good = said.lines
    assert bad == {"path": str(tmp_path / "missing.eml"), "error": "No such file or directory"}
    assert good["text"] == "Where is my parcel?"
    assert "missing.eml: No such file or directory" in said.err


def test_a_mail_that_is_one_line_of_noise_is_still_a_line(frontdesk: Frontdesk, tmp_path: Path) -> None:
    (tmp_path / "noise.eml").write_bytes(b"\xff\xfe\x00 no header at all")
    said = frontdesk("normalize", tmp_path / "noise.eml")
    assert said.code == 0
    assert said.lines[0]["suspend"]


def test_a_saved_mail_that_starts_like_a_mailbox_is_one_mail(frontdesk: Frontdesk, tmp_path: Path) -> None:
    (tmp_path / "saved.eml").write_bytes(b"From anna Sat Aug  1 10:00:00 2026\n" + mail("a@b", "one\n\nFrom me to you"))
    assert len(frontdesk("normalize", tmp_path / "saved.eml").lines) == 1


def test_a_mailbox_is_a_line_a_mail_and_one_mail_keeps_the_files_name(frontdesk: Frontdesk, tmp_path: Path) -> None:
    one = b"From anna@customer.example Sat Aug  1 10:00:00 2026\n" + mail("a@b.example", "one") + b"\n"
    (tmp_path / "one.mbox").write_bytes(one)
    (tmp_path / "two.mbox").write_bytes(one + one)
    paths = [
        Path(line["path"]).name for line in frontdesk("normalize", tmp_path / "one.mbox", tmp_path / "two.mbox").lines
    ]
    assert paths == ["one.mbox", "two.mbox#1", "two.mbox#2"]


def test_another_channel_reads_with_its_own_adapter(frontdesk: Frontdesk, tmp_path: Path) -> None:
    form = {"name": "Anna", "email": "anna@customer.example", "subject": "Hello", "message": "My parcel is late."}
    (tmp_path / "form.json").write_text(json.dumps(form))
    said = frontdesk("normalize", "--channel", "form", "--inbox", "contact", tmp_path / "form.json")
    assert said.code == 0
    assert said.lines[0]["text"] == "My parcel is late."
    assert said.lines[0]["channel"] == "form"
