"""Mixed loads knock at every front door as its customers and providers would, and come out balanced."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from multidict import CIMultiDict, CIMultiDictProxy, MultiDict, MultiDictProxy
from pydantic import SecretStr

from adapters.base import InboundRequest, Raw
from adapters.phone import Phone, PhoneOptions
from adapters.twitter import Twitter, TwitterOptions
from gateway.bench import SEEDS_MIX
from gateway.bench.client import BenchError
from gateway.bench.content import Item
from gateway.bench.doors import Doors
from gateway.bench.drive import Driven
from gateway.bench.mix import choose, parse_mix, visitors_of, write_mix
from gateway.bench.month import write_month
from gateway.bench.report import lines, markdown
from tests.faults.desk import COMMAND
from tests.services.postgres import find_program_folder
from tests.services.process import MissingProgramError, find_free_port
from tests.services.rabbitmq import find_server_folder

INBOXES = {"form": "contact", "chat": "website", "phone": "phone", "twitter": "twitter"}
DOORS = Doors(("127.0.0.1", 1), ("127.0.0.1", 2), "https://desk.example", INBOXES, "a@b.example", "token", "secret")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("form=65,chat=10", {"form": 65.0, "chat": 10.0}),
        (" mail=1 , mail=2.5", {"mail": 3.5}),
        ("phone=1,form=0", {"phone": 1.0, "form": 0.0}),
    ],
)
def test_a_mix_is_read(text: str, expected: dict[str, float]) -> None:
    assert parse_mix(text) == expected


@pytest.mark.parametrize("text", ["", "fax=1", "form", "form=x", "form=-1", "form=nan", "form=inf", "form=0"])
def test_what_is_no_mix_is_named(text: str) -> None:
    with pytest.raises(BenchError, match=r"is not <channel>=<share>|needs a share above zero"):
        parse_mix(text)


@pytest.mark.parametrize("messages", [1, 7, 100, 999])
def test_shares_are_kept_exactly(messages: int) -> None:
    chosen = Counter(choose(parse_mix(SEEDS_MIX), messages))
    assert chosen.total() == messages
    shares = {"form": 0.65, "chat": 0.10, "mail": 0.15, "twitter": 0.05, "phone": 0.05}
    assert all(abs(chosen[channel] - share * messages) <= 1 for channel, share in shares.items())


def asked(item: Item) -> InboundRequest:
    head, _, body = item.content.partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    method, path, _ = first.split()
    headers = CIMultiDict[str]((line.partition(": ")[0], line.partition(": ")[2]) for line in rest)
    assert int(headers["Content-Length"]) == len(body)
    tail = path.removeprefix("/hooks/").partition("/")[2]
    url, query = f"https://desk.example{path}", MultiDictProxy(MultiDict[str]())
    return InboundRequest(method, tail, url, query, CIMultiDictProxy(headers), body)


def test_webhooks_are_signed_as_their_providers_do() -> None:
    """Checked by the adapters themselves; another secret is refused."""
    sent = write_mix(["phone", "twitter"], DOORS, [])
    adapters: list[tuple[Any, list[Item]]] = [
        (Phone("phone", PhoneOptions(channel="phone", auth_token=SecretStr("token"))), sent[0]),
        (Twitter("twitter", TwitterOptions(channel="twitter", consumer_secret=SecretStr("secret"))), sent[1]),
    ]
    assert len(sent[0]) == 5, "a call is five requests"
    for adapter, items in adapters:
        for item in items:
            wire = asked(item)
            raw = Raw(wire.body, wire.headers["Content-Type"], {"received_at": time.time()}, wire)
            adapter.authenticate(raw)
            assert adapter.normalize(raw)


def test_a_desk_without_the_secret_cannot_be_asked() -> None:
    with pytest.raises(BenchError, match="the secret of inbox phone is not set"):
        write_mix(["phone"], Doors(("h", 1), ("h", 2), "u", INBOXES), [])
    with pytest.raises(BenchError, match="no inbox of channel twitter"):
        write_mix(["twitter"], Doors(("h", 1), ("h", 2), "u", {}, x_secret="x"), [])


def test_nothing_is_said_twice() -> None:
    channels = choose(parse_mix(SEEDS_MIX), 200)
    sent = write_mix(channels, DOORS, [f"session-{number}" for number in range(visitors_of(channels))])
    said = [item.content for parts in sent for item in parts]
    assert len(set(said)) == len(said)


def test_a_month_is_what_the_simulation_says() -> None:
    items = write_month(300, DOORS)
    counts = Counter(item.channel for item in items)
    assert set(counts) == {"form", "email", "chat", "twitter", "phone"}
    assert len(items) > 360
    assert any(len(item.recipients) == 1 and item.recipients[0] == "billing@desk.test" for item in items)


def bench(folder: Path, *words: str, **settings: str) -> dict[str, Any]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FRONTDESK_")} | settings
    done = subprocess.run(
        [*COMMAND, "bench", *words, "--json"],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environment | {"PYTHONPATH": str(Path(__file__).parents[2])},
        timeout=160,
    )
    assert done.returncode == 0, done.stderr
    assert "recorded" in done.stderr or "measuring" in done.stderr
    [load] = json.loads(done.stdout)["loads"]
    assert isinstance(load, dict)
    return load


@pytest.mark.timeout(170)
def test_a_mix_is_driven_at_its_rate_and_balances(tmp_path: Path) -> None:
    load = bench(tmp_path, "--only", "embedded", "--mix", SEEDS_MIX, "--rate", "50", "--messages", "100")
    assert load["channels"] == {"form": 65, "chat": 10, "email": 15, "twitter": 5, "phone": 25}
    assert load["deliveries"] == 120
    assert load["balanced"], load["audit"]
    assert load["seconds"] > 99 / 50, "an open loop takes its time"
    assert 0 < load["accept_ms"]["p50"] <= load["accept_ms"]["p99"]
    assert load["visible_ms"]["p50"] <= load["visible_ms"]["p99"]
    assert load["peak_bytes"]["up"] > 20_000_000


@pytest.mark.timeout(170)
def test_two_gateways_and_two_workers_share_a_mix(tmp_path: Path) -> None:
    try:
        find_server_folder()
        find_program_folder()
    except MissingProgramError as missing:
        pytest.skip(str(missing))
    words = ("--only", "services", "--mix", SEEDS_MIX, "--messages", "60", "--gateways", "2", "--workers", "2")
    load = bench(tmp_path, *words)
    assert load["balanced"], load["audit"]
    assert set(load["cpu_s"]) >= {"gateway", "gateway 2", "worker 1", "worker 2"}
    assert min(load["cpu_s"]["gateway"], load["cpu_s"]["gateway 2"]) > 0, "both take messages in"


@pytest.fixture
def running(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A desk of somebody's own; its settings."""
    http, smtp = find_free_port(), find_free_port()
    settings = {
        "FRONTDESK_HTTP_LISTEN": f"127.0.0.1:{http}",
        "FRONTDESK_SMTP_LISTEN": f"127.0.0.1:{smtp}",
        "FRONTDESK_LMTP_LISTEN": "",
        "FRONTDESK_MAIL_DOMAINS": "shop.example",
        "FRONTDESK_INBOXES__PHONE__AUTH_TOKEN": "a-token",
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FRONTDESK_")} | settings
    with (tmp_path / "up.log").open("wb") as log:
        desk = subprocess.Popen([*COMMAND, "up"], cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:
        yield settings
    finally:
        desk.terminate()
        desk.wait(20)


@pytest.mark.timeout(170)
def test_a_running_desk_is_driven_as_it_is_configured(tmp_path: Path, running: dict[str, str]) -> None:
    deadline = time.monotonic() + 60
    words = ["--running", "--mix", "form=1,mail=1,chat=1,phone=1", "--messages", "20"]
    while True:
        try:
            load = bench(tmp_path, *words, **running)
            break
        except AssertionError as error:
            assert "nothing answers at" in str(error) or "no Frontdesk tables yet" in str(error), error
            assert time.monotonic() < deadline, (tmp_path / "up.log").read_text()
    assert load["channels"] == {"form": 5, "email": 5, "chat": 5, "phone": 25}
    assert load["balanced"], load["audit"]
    assert set(load["cpu_s"]) == {"up", "(bench client)"}, "of this desk and of nothing else on the machine"


def test_the_report_is_a_page_too() -> None:
    load = Driven(
        "mix form=1",
        10,
        12,
        {"form": 12},
        5.0,
        2.0,
        6.0,
        6.0,
        {"p50": 1.0, "p99": 2.0},
        {},
        {"up": 0.5},
        {"up": 1 << 20},
    )
    load.stack, load.audit = "embedded", "accepted 12: balanced"
    page = markdown([], [load], datetime(2026, 1, 2, tzinfo=UTC))
    assert page.startswith("Measured 2026-01-02 by `make bench` on ")
    assert "; load average of the last 15 minutes " in page
    assert "| embedded: mix form=1 | 12 | 2.0 | 6 | 6 | 1 ms | 2 ms |  |  |" in page
    assert page.endswith("Every audit balances.\n")
    load.audit = "2 missing"
    assert "do not balance: embedded, mix form=1." in markdown([], [load], datetime(2026, 1, 2, tzinfo=UTC))
    assert any("41,667" in line for line in lines([], [load]))
