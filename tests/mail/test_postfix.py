"""A real Postfix in front: its LMTP client talks to our listener, its pipe runs our command, its queue is patient."""

from __future__ import annotations

import asyncio
import shutil
import smtplib
import sys
import sysconfig
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.base import Raw, Refused
from gateway.intake import NotDurableError
from gateway.mail.limits import Limits
from gateway.queues.base import Delivered
from gateway.runtime import Runtime
from gateway.settings import Settings
from normalizer.message import Message, parse_wire
from tests.mail.conftest import Desk, OpenDesk, mail_inbox
from tests.services.postfix import Postfix
from tests.services.process import MissingProgramError, find_free_port

ONE_LOOP_WILL_DO = True
ROOT = Path(__file__).parents[2]
LONG_LINE = b"x" * 5_000
MAIL = b"From: Erika <erika@example.com>\r\nSubject: Bestellung\r\nMessage-ID: <%s@example.com>\r\n\r\n%s\r\n"


@pytest.fixture(scope="module")
def lmtp_port() -> int:
    return find_free_port()


@pytest.fixture(scope="module")
def pipe_folder() -> Iterator[Path]:
    """Where the piped command keeps its data: it runs as `nobody`, who may not look into pytest's own folders."""
    folder = Path(tempfile.mkdtemp(prefix="frontdesk-pipe-"))
    folder.chmod(0o777)
    (folder / "good.toml").write_text(f'data_dir = "{folder}/data"\n')
    (folder / "broken.toml").write_text("data_dir = \n")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def interpreter_for_anybody() -> str:
    """A Python of this version that `nobody` may run; ours may lie in a home directory."""
    ours = Path(sys.executable).resolve()
    if all(parent.stat().st_mode & 0o001 for parent in ours.parents):
        return sys.executable
    system = Path(f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}")
    if not system.exists():
        pytest.skip(f"neither {ours} nor {system} can be run by `nobody`, as whom Postfix runs pipes here")
    return str(system)


@pytest.fixture(scope="module")
def postfix(lmtp_port: int, pipe_folder: Path) -> Iterator[Postfix]:
    command = f"{interpreter_for_anybody()} -m gateway.pipe --inbox support"
    path = f"PYTHONPATH={ROOT}:{sysconfig.get_path('purelib')}"
    arguments = "--sender=${sender} --recipient=${recipient} --original=${original_recipient}"

    def service(name: str, settings: str) -> str:
        environment = f"{path} PYTHONDONTWRITEBYTECODE=1 FRONTDESK_CONFIG={pipe_folder}/{settings}"
        return (
            f"{name} unix - n n - 4 pipe flags=DRXhuq user=nobody null_sender=\n"
            f"  directory={pipe_folder} argv=/usr/bin/env {environment} {command} {arguments}\n"
        )

    transports = {
        "desk.example": f"lmtp:inet:127.0.0.1:{lmtp_port}",
        "elsewhere.example": f"lmtp:inet:127.0.0.1:{lmtp_port}",
        "pipe.example": "frontdesk:",
        "broken.example": "broken:",
    }
    try:
        server = Postfix(transports, service("frontdesk", "good.toml") + service("broken", "broken.toml"))
    except MissingProgramError as error:
        pytest.skip(str(error))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
async def desk(open_desk: OpenDesk, lmtp_port: int) -> AsyncIterator[Desk]:
    async with open_desk(
        limits=Limits(message=3_000_000), inboxes=(mail_inbox("support", domain="desk.example"),),
        lmtp_listen=f"127.0.0.1:{lmtp_port}",
    ) as opened:  # fmt: skip
        yield opened


def send(
    postfix: Postfix, name: str, *recipients: str, body: bytes = b"Wo ist sie?", sender: str = "erika@example.com"
) -> None:
    with smtplib.SMTP("127.0.0.1", postfix.port, timeout=30) as client:
        client.sendmail(sender, recipients, MAIL % (name.encode(), body))


def ids(desk: Desk) -> list[str]:
    return [body.split(b"Message-ID: <")[1].split(b"@")[0].decode() for body in desk.door.bodies]


async def test_mail_comes_by_lmtp_with_its_receipt_in_the_log(postfix: Postfix, desk: Desk) -> None:
    await asyncio.to_thread(send, postfix, "lmtp-1", "help@desk.example", body=b"line\r\n.dot\r\n" + LONG_LINE)
    delivery = await asyncio.to_thread(postfix.wait_for, "help@desk.example", "sent")
    assert "250 2.0.0 accepted as " in delivery.said
    assert delivery.dsn == "2.0.0"
    [(_, raw)] = desk.door.arrived
    assert (raw.facts["mail_from"], raw.facts["rcpt_tos"]) == ("erika@example.com", ["help@desk.example"])
    assert b"\r\n.dot\r\n" in raw.body
    assert raw.body.count(b"x") >= 5_000


async def test_each_recipient_has_its_own_fate(postfix: Postfix, desk: Desk) -> None:
    """Postfix sends to both in one transaction and would bounce or repeat the wrong one if replies were mixed up."""
    await asyncio.to_thread(send, postfix, "lmtp-2", "one@desk.example", "two@desk.example", "no@elsewhere.example")
    assert (await asyncio.to_thread(postfix.wait_for, "one@desk.example", "sent")).dsn == "2.0.0"
    assert (await asyncio.to_thread(postfix.wait_for, "two@desk.example", "sent")).dsn == "2.0.0"
    refused = await asyncio.to_thread(postfix.wait_for, "no@elsewhere.example", "bounced")
    assert refused.dsn == "5.1.1"
    assert "not an address of this support desk" in refused.said
    assert ids(desk) == ["lmtp-2"]


@pytest.mark.parametrize(("error", "dsn"), [(NotDurableError("no disk"), "4.3.1"), (RuntimeError("a bug"), "4.3.0")])
async def test_what_cannot_be_stored_stays_with_postfix_and_comes_again(
    postfix: Postfix, desk: Desk, error: Exception, dsn: str
) -> None:
    failed = asyncio.Event()

    async def fail_once(inbox: str, raw: Raw) -> None:
        if not failed.is_set():
            failed.set()
            raise error

    desk.door.answer = fail_once
    recipient = f"later-{dsn}@desk.example"
    await asyncio.to_thread(send, postfix, f"lmtp-{dsn}", recipient)
    assert (await asyncio.to_thread(postfix.wait_for, recipient, "deferred")).dsn == dsn
    await asyncio.to_thread(postfix.flush)
    await asyncio.to_thread(postfix.wait_for, recipient, "sent")
    assert ids(desk) == [f"lmtp-{dsn}"]


async def test_what_is_refused_for_good_bounces_with_our_sentence(postfix: Postfix, desk: Desk) -> None:
    async def refuse(inbox: str, raw: Raw) -> None:
        raise Refused(403, "This inbox is closed")

    desk.door.answer = refuse
    await asyncio.to_thread(send, postfix, "lmtp-refused", "closed@desk.example")
    bounced = await asyncio.to_thread(postfix.wait_for, "closed@desk.example", "bounced")
    assert bounced.dsn == "5.7.1"
    assert "This inbox is closed" in bounced.said


async def test_too_large_is_known_from_the_announced_size(postfix: Postfix, desk: Desk) -> None:
    await asyncio.to_thread(send, postfix, "lmtp-big", "big@desk.example", body=(b"y" * 70 + b"\r\n") * 50_000)
    bounced = await asyncio.to_thread(postfix.wait_for, "big@desk.example", "bounced")
    assert "3000000" in bounced.said, "which Postfix read in our LHLO"
    assert desk.door.arrived == []


async def test_many_mails_at_once_arrive_once_each(postfix: Postfix, desk: Desk) -> None:
    def burst(number: int) -> None:
        with smtplib.SMTP("127.0.0.1", postfix.port, timeout=30) as client:
            for count in range(20):
                client.sendmail("", ["burst@desk.example"], MAIL % (b"burst-%d-%d" % (number, count), b"hello"))

    await asyncio.gather(*(asyncio.to_thread(burst, number) for number in range(3)))
    async with asyncio.timeout(60):
        while len(desk.door.arrived) < 60:
            await asyncio.sleep(0.05)
    assert len(set(ids(desk))) == 60


# --- the pipe -------------------------------------------------------------------------------------------------------


async def piped(folder: Path) -> list[Message]:
    runtime = Runtime(Settings(data_dir=folder / "data", queue_url="embedded:"))
    await runtime.start()
    try:
        taken: list[Delivered] = []
        while len(taken) < (await runtime.queue.depth()).waiting:
            taken += await runtime.queue.consume(100)
        said: list[Any] = [parse_wire(letter.type, letter.body) for letter in taken]
        return [message for message in said if isinstance(message, Message)]
    finally:
        await runtime.close()


async def test_mail_comes_by_the_pipe(postfix: Postfix, pipe_folder: Path) -> None:
    await asyncio.to_thread(send, postfix, "pipe-1", "help@pipe.example", body=b"From here\r\n.dot")
    delivery = await asyncio.to_thread(postfix.wait_for, "help@pipe.example", "sent")
    assert "2.0.0 accepted as " in delivery.said or delivery.dsn == "2.0.0"
    await asyncio.to_thread(send, postfix, "pipe-2", "help@pipe.example", sender="")
    async with asyncio.timeout(60):
        while len(postfix.deliveries("help@pipe.example")) < 2:
            await asyncio.sleep(0.05)
    first, bounce = sorted(await piped(pipe_folder), key=lambda message: message.external_id)
    assert (first.external_id, bounce.external_id) == ("pipe-1@example.com", "pipe-2@example.com")
    assert first.text == "From here\n.dot"
    assert (first.fields["mail_from"], bounce.fields["mail_from"]) == ("erika@example.com", "")
    assert [item.value for item in first.recipients if item.role == "envelope"] == ["help@pipe.example"]


async def test_broken_settings_defer_and_bounce_nothing(postfix: Postfix) -> None:
    await asyncio.to_thread(send, postfix, "pipe-3", "help@broken.example")
    deferred = await asyncio.to_thread(postfix.wait_for, "help@broken.example", "deferred", "bounced")
    assert (deferred.status, deferred.dsn[0]) == ("deferred", "4")
    assert "settings" in deferred.said
