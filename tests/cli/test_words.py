"""Help, usage, settings and services: exit codes that mean something, sentences instead of tracebacks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli import verbs
from tests.cli.conftest import Frontdesk
from tests.services.process import find_free_port
from tests.test_docs import commands

SECRET = "s3cr3t-do-not-print"


@pytest.mark.parametrize("name", [name for name, _ in commands(verbs)])
def test_every_verb_has_help_worth_reading(frontdesk: Frontdesk, name: str) -> None:
    said = frontdesk(*name.split(), "--help")
    assert said.code == 0
    assert f"Usage: frontdesk {name}" in said.out
    assert len(said.out.split("Usage:")[1]) > 60


def test_alone_it_shows_the_verbs_and_the_exit_codes(frontdesk: Frontdesk) -> None:
    said = frontdesk()
    assert said.code == 0
    assert "ingest" in said.out
    assert "75" in said.out


def test_version(frontdesk: Frontdesk) -> None:
    assert frontdesk("--version").out.strip().count(".") == 2


@pytest.mark.parametrize(
    "arguments",
    [("fly",), ("ingest",), ("tickets", "seven"), ("tickets", "--limit", "0"), ("dead", "bury"), ("up", "--loud")],
    ids=" ".join,
)
def test_usage_errors_are_2_and_one_sentence(frontdesk: Frontdesk, arguments: tuple[str, ...]) -> None:
    said = frontdesk(*arguments)
    assert said.code == 2
    assert said.out == ""
    assert said.err.startswith("frontdesk: ")
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("FRONTDESK_PUBLISH_DEADLINE", SECRET, "publish_deadline"),
        ("FRONTDESK_STORE_URL", f"mysql://user:{SECRET}@localhost/desk", "store_url"),
        ("FRONTDESK_QUEUE_URL", f"kafka://user:{SECRET}@localhost", "queue_url"),
        ("FRONTDESK_INBOXES__PHONE__AUTH_TOKENN", SECRET, "auth_tokenn"),
        ("FRONTDESK_CONFIG", "/nowhere/frontdesk.toml", "FRONTDESK_CONFIG"),
    ],
)
def test_a_wrong_setting_is_named_without_its_value(
    frontdesk: Frontdesk, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, named: str
) -> None:
    monkeypatch.setenv(variable, value)
    said = frontdesk("check")
    assert said.code == 2, said.err
    assert named in said.err
    assert SECRET not in said.err + said.out
    assert "Traceback" not in said.err


def test_a_broken_settings_file_is_named(frontdesk: Frontdesk, tmp_path: Path) -> None:
    (tmp_path / "frontdesk.toml").write_text("public_url = [")
    said = frontdesk("check")
    assert said.code == 2
    assert "settings" in said.err


def test_a_database_that_is_away_is_75_and_named(frontdesk: Frontdesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRONTDESK_STORE_URL", f"postgresql://desk:{SECRET}@127.0.0.1:{find_free_port()}/desk")
    said = frontdesk("tickets")
    assert said.code == 75, said.err
    assert "store" in said.err
    assert SECRET not in said.err
    checked = frontdesk("check")
    assert checked.code == 1
    assert "failed store" in checked.out
    assert SECRET not in checked.out + checked.err


def test_a_broker_that_is_away_is_found_by_check(frontdesk: Frontdesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRONTDESK_QUEUE_URL", f"amqp://desk:{SECRET}@127.0.0.1:{find_free_port()}/")
    checked = frontdesk("check")
    assert checked.code == 1, checked.out
    assert "failed queue" in checked.out
    assert frontdesk("migrate").code == 0
    assert frontdesk("audit").code == 75  # what waits there is unknown, which is not the same as missing
    assert SECRET not in checked.out + checked.err


def test_a_desk_that_was_never_set_up_says_what_to_run(frontdesk: Frontdesk) -> None:
    said = frontdesk("tickets")
    assert said.code == 2
    assert "frontdesk migrate" in said.err


def test_help_loads_nothing_heavy() -> None:
    """Start-up time by its cause, since wall clocks differ: none of the slow packages is imported for help."""
    code = (
        "import sys; from gateway.cli import run; run(['ingest', '--help']);"
        "heavy = {'aiohttp', 'sqlalchemy', 'pydantic', 'pydantic_settings', 'tweepy', 'twilio', 'aio_pika', 'asyncio'};"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_reader_that_leaves_early_is_no_error() -> None:
    code = "import sys; from gateway.cli import run; from gateway.commands.output import print_json;\n"
    code += "import gateway.cli as cli\n"
    code += (
        "@cli.verbs.command\ndef chatter() -> int:\n    for n in range(100000): print_json({'n': n})\n    return 0\n"
    )
    code += "sys.exit(run(['chatter']))"
    command = f'{sys.executable} -c "$CODE" | head -n 1'
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}; exit ${{PIPESTATUS[0]}}"],
        env={**os.environ, "CODE": code},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 141
    assert done.stdout == '{"n":0}\n'
    assert done.stderr == ""
