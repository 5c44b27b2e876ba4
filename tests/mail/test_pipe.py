"""`frontdesk pipe` as a mail server runs it: a process, an exit code, and a message that is there or is not."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gateway import pipe
from gateway.commands.desk import record_everything
from gateway.queues.base import Delivered
from gateway.runtime import Runtime
from gateway.settings import Settings
from normalizer.message import Message, parse_wire

FRONTDESK = [sys.executable, "-c", "from gateway.cli import app; app()"]
MAIL = b"""\
Return-Path: <erika@example.com>
X-Original-To: support@acme.test
Delivered-To: desk@acme.test
From: Erika <erika@example.com>
To: support@acme.test
Subject: Bestellung 1042
Message-ID: <pipe-1@example.com>

Sie ist nicht da.
"""
POSTFIX = ("--inbox", "support", "--sender=erika@example.com", "--recipient=desk@acme.test")

Result = subprocess.CompletedProcess[bytes]
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """One process `frontdesk pipe ...` in a folder of its own, with nothing configured but what is given."""

    def call(*arguments: str | bytes, mail: bytes = MAIL, **more: str) -> Result:
        return subprocess.run(
            [*FRONTDESK, "pipe", *arguments],
            input=mail,
            capture_output=True,
            cwd=tmp_path,
            env=environment(**more),
            timeout=60,
            check=False,
        )

    return call


@pytest.fixture
def run_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """The same from the guard on, in this process: for long tables, a process takes a second to start."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str | bytes, mail: bytes = MAIL, **more: str) -> Result:
        monkeypatch.setattr(os, "environ", environment(**more))
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(mail)))
        capfdbinary.readouterr()
        code = pipe.main([os.fsdecode(argument) for argument in arguments])
        said = capfdbinary.readouterr()
        return Result([], code, said.out, said.err)

    return call


def environment(**more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("FRONTDESK_")}
    root = str(Path(__file__).parents[2])
    return kept | {"PYTHONPATH": root, "FRONTDESK_DATA_DIR": "data"} | more


def queued(folder: Path) -> list[Message]:
    """What waits in the queue there, as the worker will see it."""

    async def take() -> list[Message]:
        runtime = Runtime(Settings(data_dir=folder / "data", queue_url="embedded:"))
        await runtime.start()
        try:
            taken: list[Delivered] = []
            while len(taken) < (await runtime.queue.depth()).waiting:
                taken += await runtime.queue.consume(100)
            said = [parse_wire(letter.type, letter.body) for letter in taken]
            return [message for message in said if isinstance(message, Message)]
        finally:
            await runtime.close()

    return asyncio.run(take())


def told(result: Result) -> str:
    assert b"Traceback" not in result.stdout + result.stderr
    return result.stderr.decode()


def test_a_mail_is_durable_when_the_process_says_0(run: Run, tmp_path: Path) -> None:
    result = run(*POSTFIX, "--original=support@acme.test")
    assert (result.returncode, told(result)) == (0, "")
    assert result.stdout.startswith(b"2.0.0 accepted as ")
    [message] = queued(tmp_path)
    assert str(message.receipt_id) == result.stdout.split()[-1].decode()
    assert (message.external_id, message.author.value) == ("pipe-1@example.com", "erika@example.com")
    envelope = [item.value for item in message.recipients if item.role == "envelope"]
    assert envelope == ["desk@acme.test", "support@acme.test"]
    assert message.fields["mail_from"] == "erika@example.com"
    assert message.original is not None
    assert message.original.content == MAIL


@pytest.mark.parametrize("sender", ["", "<>", "MAILER-DAEMON"])
def test_a_bounce_has_nobody_as_its_sender(run_here: Run, tmp_path: Path, sender: str) -> None:
    assert run_here(f"--sender={sender}").returncode == 0
    [message] = queued(tmp_path)
    assert message.fields["mail_from"] == ""
    assert message.automated, "who has no sender was not sent by a person"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--sender", "-oX/etc/passwd@evil.example", "--recipient", "--wait@acme.test"),
        ("--sender=-C@evil.example", "--recipient=a@acme.test", "--recipient=b@acme.test"),
        ("--recipient", b"gr\xfc\xdfe@acme.test"),
    ],
)
def test_odd_addresses_are_addresses(run_here: Run, tmp_path: Path, arguments: tuple[str | bytes, ...]) -> None:
    result = run_here(*arguments)
    assert (result.returncode, told(result)) == (0, "")
    assert len(queued(tmp_path)) == 1


def test_a_second_try_is_the_same_delivery(run_here: Run, tmp_path: Path) -> None:
    assert [run_here(*POSTFIX).returncode for _ in range(2)] == [0, 0]
    first, again = queued(tmp_path)
    assert first.delivery_key == again.delivery_key


BROKEN = {
    "no mail": ({"mail": b""}, "standard input is empty"),
    "only white space": ({"mail": b"\r\n \n"}, "standard input is empty"),
    "too large": ({"FRONTDESK_INBOXES__SUPPORT__MAX_BYTES": "100"}, "larger than the 100 octets"),
    "unknown setting": ({"FRONTDESK_INBOXES__SUPPORT__NONSENSE": "1"}, "inboxes.support.nonsense"),
    "no settings file": ({"FRONTDESK_CONFIG": "/nowhere/frontdesk.toml"}, "is not a file"),
    "unusable folder": ({"FRONTDESK_DATA_DIR": "/proc/1/nowhere"}, ""),
    "disk full": ({"FRONTDESK_SPOOL_MIN_FREE": str(1 << 60)}, ""),
    "bad queue": ({"FRONTDESK_QUEUE_URL": "kafka://x"}, "queue_url"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_every_doubt_is_75_and_a_sentence(run_here: Run, tmp_path: Path, what: str) -> None:
    changes, sentence = BROKEN[what]
    result = run_here(*POSTFIX, **changes)  # type: ignore[arg-type]
    assert result.returncode == 75
    assert result.stdout == b""
    assert sentence in told(result)
    assert told(result).strip()
    assert not (tmp_path / "data" / "queue.db").exists() or queued(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--inbox", "nobody"), "no mail inbox 'nobody'; the mail inboxes are support"),
        (("--inbox", "contact"), "no mail inbox 'contact'"),
        (("--nonsense",), "--nonsense"),
        (("--inbox",), "--inbox"),
        (("stray",), "stray"),
    ],
)
def test_a_mistake_in_the_mail_servers_settings_bounces_nothing(
    run_here: Run, arguments: tuple[str, ...], sentence: str
) -> None:
    result = run_here(*arguments)
    assert result.returncode == 75
    assert sentence in told(result)


def test_broken_settings_and_broken_command_lines_bounce_nothing(run: Run, tmp_path: Path) -> None:
    assert run("--nonsense").returncode == 75
    (tmp_path / "frontdesk.toml").write_text("[inboxes.support\n")
    assert run(*POSTFIX).returncode == 75


def test_with_the_broker_away_the_spool_takes_it(run_here: Run, tmp_path: Path, free_port: int) -> None:
    result = run_here(
        *POSTFIX, FRONTDESK_QUEUE_URL=f"amqp://u:hunter2@127.0.0.1:{free_port}/", FRONTDESK_PUBLISH_DEADLINE="0.2"
    )
    assert result.returncode == 0
    assert b"hunter2" not in result.stdout + result.stderr
    assert len(queued(tmp_path)) == 1


def test_closed_streams_change_nothing(tmp_path: Path) -> None:
    (tmp_path / "mail").write_bytes(MAIL)
    shell = '"$0" -c "from gateway.cli import app; app()" pipe '
    for redirections, code in (("<mail >&- 2>&-", 0), ("<mail >/dev/full 2>/dev/full", 0), ("<&- >&- 2>&-", 75)):
        result = subprocess.run(
            ["/bin/sh", "-c", shell + redirections, sys.executable], cwd=tmp_path, env=environment(), check=False
        )
        assert result.returncode == code, redirections
    assert len(queued(tmp_path)) == 2


def test_a_reader_that_has_gone_changes_nothing(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*FRONTDESK, "pipe"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path, env=environment()
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.close()
    process.stdin.write(MAIL)
    process.stdin.close()
    assert process.wait(60) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_process_that_is_stopped_while_it_reads_has_stored_nothing(tmp_path: Path, number: signal.Signals) -> None:
    # A shell that starts us in the background has told us, and with us our children, to ignore Ctrl-C.
    process = subprocess.Popen(
        [*FRONTDESK, "pipe"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment(),
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  it takes no lock
    )
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write(MAIL)
    process.stdin.flush()
    while not (tmp_path / "data" / "queue.db").exists():  # the desk is open, so it reads
        assert process.poll() is None
    process.send_signal(number)
    process.stdin.close()
    # Postfix defers on a signal as on 75 (pipe_command(3)).
    assert process.wait(60) in (75, -number)
    process.stderr.close()
    assert queued(tmp_path) == []


def test_what_was_piped_balances_in_the_audit(run: Run, tmp_path: Path) -> None:
    assert run(*POSTFIX).returncode == 0

    async def record() -> Any:
        runtime = Runtime(Settings(data_dir=tmp_path / "data"))
        await runtime.start()
        try:
            await record_everything(runtime)
        finally:
            await runtime.close()

    asyncio.run(record())
    result = subprocess.run(
        [*FRONTDESK, "audit"], capture_output=True, cwd=tmp_path, env=environment(), check=False, timeout=60
    )
    assert result.returncode == 0, result.stdout


# --- the guard itself -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [RuntimeError("customer's words"), MemoryError(), KeyboardInterrupt(), SystemExit(2), OSError(28, "full")],
)
def test_the_guard_makes_75_of_everything(error: BaseException, capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> int:
        raise error

    assert pipe.guarded(fail) == 75
    said = capfd.readouterr()
    assert said.out == ""
    assert "customer's words" not in said.err


def test_the_guard_believes_only_zero() -> None:
    assert [pipe.guarded(lambda code=code: code) for code in (0, 1, 2, 67, 75, 130)] == [0, 75, 75, 75, 75, 75]  # type: ignore[misc]


def test_half_an_installation_bounces_nothing(tmp_path: Path) -> None:
    """In the middle of an upgrade a module is missing; `python -m gateway.pipe` stands before all of them."""
    (tmp_path / "cyclopts.py").write_text("raise ImportError('no module named cyclopts')")
    path = f"{tmp_path}:{Path(__file__).parents[2]}"
    result = subprocess.run(
        [sys.executable, "-m", "gateway.pipe"],
        input=MAIL, capture_output=True, cwd=tmp_path, env=environment(PYTHONPATH=path), check=False, timeout=60,
    )  # fmt: skip
    assert result.returncode == 75
    assert told(result).startswith("4.3.0 ")
