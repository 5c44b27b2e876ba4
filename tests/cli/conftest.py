"""A small desk in a temporary folder, and a way to run one command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import run

MAIL = """\
From: {name} <{address}>
To: support@localhost
Subject: {subject}
Message-ID: <{id}>
Date: Sat, 1 Aug 2026 10:00:00 +0000
{extra}MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8

{text}
"""


def mail(
    ident: str, text: str, *, subject: str = "My parcel", address: str = "anna@customer.example", **more: str
) -> bytes:
    """A plain mail."""
    name = more.pop("name", "Anna Müller")
    extra = "".join(f"{key.replace('_', '-')}: {value}\n" for key, value in more.items())
    return MAIL.format(name=name, address=address, subject=subject, id=ident, text=text, extra=extra).encode()


def pytest_itemcollected(item: pytest.Item) -> None:
    """A verb that hangs ends the run: its loop, uvloop's, goes on whatever a signal's handler raises."""
    item.add_marker(pytest.mark.timeout(180, method="thread"))


@dataclass(frozen=True)
class Said:
    """What a command line answered."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[Any]:
        """The JSON lines it printed."""
        return [json.loads(line) for line in self.out.splitlines()]


Frontdesk = Callable[..., Said]


@pytest.fixture
def frontdesk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Frontdesk:
    """Run `frontdesk ...` in this process, in an empty folder, with nothing configured."""
    monkeypatch.chdir(tmp_path)
    for name in list(__import__("os").environ):
        if name.startswith("FRONTDESK_") and not name.startswith("FRONTDESK_TESTS_"):
            monkeypatch.delenv(name)

    def call(*arguments: str | Path) -> Said:
        capfd.readouterr()
        code = run([str(argument) for argument in arguments])
        said = capfd.readouterr()
        return Said(code, said.out, said.err)

    return call


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    """A folder with a question, its answer, the same question again, and another customer's mail."""
    folder = tmp_path / "letters"
    folder.mkdir()
    files = {
        "1.eml": mail("q1@customer.example", "Where is my parcel?"),
        "2.eml": mail(
            "q2@customer.example",
            "It has come, thank you.",
            subject="Re: My parcel",
            In_Reply_To="<q1@customer.example>",
        ),
        "3.eml": mail("q1@customer.example", "Where is my parcel?"),
        "4.eml": mail("q4@other.example", "La fattura è sbagliata.", subject="Fattura", address="luca@other.example"),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder
