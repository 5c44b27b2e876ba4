"""From a connection to a ticket: who sent it, as our own check found out, and what a slow name server does not stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import pytest

pytest.importorskip("dkim", reason="needs frontdesk[mailauth]")

from adapters.base import Clients, NameServers
from gateway.commands.desk import record_everything
from gateway.commands.explain import _lines
from gateway.mailserver import MailServer
from gateway.runtime import Runtime, configure_inbox
from gateway.settings import Settings, SettingsError
from gateway.store.explanations import explain
from tests.fakes.names import Names, serving
from tests.mail.conftest import Line, receipt_in
from tests.mail.signing import LETTER, rsa_record, signed

ONE_LOOP_WILL_DO = True
CLIENT = "9.9.9.9"  # any address of the public Internet; nobody is called there
ZONE = {
    ("customer.example", "TXT"): [f"v=spf1 ip4:{CLIENT} -all"],
    ("_dmarc.customer.example", "TXT"): ["v=DMARC1; p=reject"],
    ("s1._domainkey.customer.example", "TXT"): [rsa_record()],
}
Send = Callable[..., Awaitable[UUID]]


@pytest.fixture
def names() -> Iterator[Names]:
    with serving() as running:
        running.publish(ZONE)
        yield running


@asynccontextmanager
async def house(folder: Path, names: Names, patience: float = 60.0) -> AsyncIterator[tuple[Runtime, Send]]:
    """A whole gateway: `support` checks senders, `sales` does not. `send` returns the receipt."""
    settings = Settings(
        data_dir=folder, queue_url="embedded:", smtp_listen="127.0.0.1:0", lmtp_listen="127.0.0.1:0",
        smtp_proxy_protocol=True, trusted_proxies=["127.0.0.1"],
    )  # fmt: skip
    runtime = Runtime(settings)
    await runtime.start()
    clients = Clients(names=NameServers(("127.0.0.1",), names.port, patience))
    for name, check in (("support", True), ("sales", False)):
        options = {"channel": "email", "addresses": [f"{name}@desk.example"], "check_authentication": check}
        runtime.inboxes[name] = configure_inbox(name, options, clients)
    server = MailServer(runtime, hostname="mx.desk.example")
    await server.start()

    async def send(mail: bytes, to: str = "support", client: str = CLIENT) -> UUID:
        line = await behind_proxy(server, client)
        await line.ask("EHLO mx.customer.example")
        replies = await line.envelope(f"{to}@desk.example", sender="anna@customer.example")
        assert replies[-1].startswith("354"), replies
        await line.send(mail + b".\r\n")
        receipt = receipt_in(await line.reply())
        await line.close()
        return receipt

    try:
        yield runtime, send
    finally:
        await server.stop()
        await runtime.close()


async def behind_proxy(server: MailServer, client: str) -> Line:
    """A connection of `client` that a load balancer passed on."""
    host, _, port = server.smtp_address.rpartition(":")
    line = Line(*await asyncio.open_connection(host, int(port)))
    await line.say(f"PROXY TCP4 {client} 127.0.0.1 40000 25")
    assert (await line.reply()).startswith("220 ")
    return line


async def told(runtime: Runtime, receipt: UUID) -> str:
    """What `frontdesk explain` says about the author."""
    found = await runtime.store.read(explain, receipt)
    assert found is not None
    return dict(_lines(found))["from"].partition(", ")[2]


async def test_the_ticket_shows_who_sent_it_and_why(tmp_path: Path, names: Names) -> None:
    changed = signed().replace(b"not  arrived", b"just arrived")
    async with house(tmp_path, names) as (runtime, send):
        by_signature = await send(signed())
        by_address = await send(LETTER.replace(b"<1@", b"<2@"))
        forged = await send(changed.replace(b"<1@", b"<3@"), client="8.8.8.8")
        by_relay = await send(LETTER.replace(b"<1@", b"<4@"), client="10.0.0.7")
        unchecked = await send(LETTER.replace(b"<1@", b"<5@"), to="sales")
        await record_everything(runtime)
        assert await told(runtime, by_signature) == (
            "verified: checked here: dkim=pass (customer.example); the policy of customer.example is reject"
        )
        assert await told(runtime, by_address) == (
            f"verified: checked here: spf=pass (customer.example, client {CLIENT});"
            " the policy of customer.example is reject"
        )
        assert await told(runtime, forged) == (
            "failed: checked here: dkim=fail (customer.example, the body was changed),"
            " spf=fail (customer.example, client 8.8.8.8);"
            " nothing proves customer.example, and the policy of customer.example is reject"
        )
        assert (await told(runtime, by_relay)).startswith(
            "unverified: checked here: spf=none"
            " (customer.example, handed over by 10.0.0.7, a server of our own network)"
        )
        assert await told(runtime, unchecked) == (
            "unverified: no mail server is configured whose check of senders we trust"
        )


async def test_a_silent_name_server_delays_one_inbox_and_refuses_nobody(tmp_path: Path, names: Names) -> None:
    names.mood = "silent"
    async with house(tmp_path, names, patience=0.4) as (runtime, send):
        receipt = await send(signed())  # its patience is the only thing that ends the wait
        await record_everything(runtime)
        assert (await told(runtime, receipt)).startswith("unverified: ")


async def test_other_mail_is_accepted_while_a_check_waits(tmp_path: Path, names: Names) -> None:
    names.mood = "silent"
    async with house(tmp_path, names, patience=600.0) as (runtime, send):
        waiting = [asyncio.create_task(send(signed().replace(b"<1@", b"<%d@" % number))) for number in range(10, 20)]
        await asyncio.to_thread(names.heard.wait, 30)
        for number in range(5):
            await send(LETTER.replace(b"<1@", b"<%d@" % number), to="sales")
        assert not any(task.done() for task in waiting), "the check waited for no answer"
        names.mood = "well"
        receipts = await asyncio.gather(*waiting)
        await record_everything(runtime)
        assert {(await told(runtime, receipt)).partition(":")[0] for receipt in receipts} == {"verified"}


async def test_a_bug_in_the_check_costs_no_mail(
    tmp_path: Path, names: Names, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with house(tmp_path, names) as (runtime, send):

        def broken(*_: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr("adapters.email.sender_check.SenderCheck._judge", broken)
        receipt = await send(signed())
        await record_everything(runtime)
        assert await told(runtime, receipt) == "unverified: not checked here: the check failed"
        assert "could not be checked" in caplog.text


def test_the_start_is_refused_when_the_extra_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.email.options.find_spec", lambda name: None)
    with pytest.raises(
        SettingsError, match=r"inboxes\.support\.check_authentication: .*pip install 'frontdesk\[mailauth\]'"
    ):
        configure_inbox("support", {"channel": "email", "check_authentication": True})
