"""What gateway lives promise, held against the receipts; and that both fit their columns."""

from __future__ import annotations

import os
import socket
from itertools import permutations
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.pool import StaticPool

from gateway.audit import AuditReport, _read, audit
from gateway.intake import CONTROL_CHANNEL
from gateway.queues.base import Outgoing
from gateway.runtime import Runtime
from gateway.settings import Settings
from gateway.store import tables as t
from gateway.store.ledger import record_tallies
from gateway.tally import Life
from normalizer.message import TALLY_TYPE, Tally, to_wire
from tests.worker.conversations import START


def test_a_life_with_thousands_of_gaps_is_audited() -> None:
    """A slow disk: every other message is refused for now, and each of them is a range of its own."""
    life = Life("gateway-1", START)
    for _ in range(2500):
        life.acknowledge(life.next())
        life.give_up(life.next())
    engine = create_engine("sqlite://", poolclass=StaticPool)
    t.metadata.create_all(engine)
    report = AuditReport()
    with engine.connect() as conn:
        record_tallies(conn, [life.report(START)])
        _read(conn, report)
    engine.dispose()
    assert report.unrecorded == 2500
    assert report.missing[0] == "number 1 of gateway gateway-1"


def test_an_older_tally_replaces_no_newer_one() -> None:
    """Two workers may have one each, and the last of a life is corrected by none."""
    life, said = Life("gateway-1", START), list[Tally]()
    life.acknowledge(life.next())
    said.append(life.report(START))
    life.give_up(life.next())
    said += [life.report(START), life.report(START, ended=True)]
    engine = create_engine("sqlite://", poolclass=StaticPool)
    for order in permutations(said):
        t.metadata.create_all(engine)
        with engine.connect() as conn:
            for tally in order:
                record_tallies(conn, [tally])
            kept = conn.execute(select(t.gateway_lives)).one()
        assert (kept.accepted, kept.settled, kept.ended) == (1, 2, True)
        t.metadata.drop_all(engine)
    engine.dispose()


def test_the_name_of_a_life_fits_its_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As EC2 names machines, and with the largest process id that Linux gives."""
    monkeypatch.setattr(socket, "gethostname", lambda: "ip-10-20-130-45.eu-central-1.compute.internal")
    monkeypatch.setattr(os, "getpid", lambda: 1 << 22)
    name = Runtime(Settings(data_dir=tmp_path)).gateway_id
    for column in (t.receipts.c.gateway, t.gateway_lives.c.gateway):
        assert len(name) <= column.type.length


@pytest.mark.parametrize("held", [False, True])
async def test_a_tally_under_way_excuses_no_missing_message(tmp_path: Path, held: bool) -> None:
    """Neither one that waits nor one that a worker has in hand is a delivery of anybody's."""
    runtime = Runtime(Settings(data_dir=tmp_path))
    await runtime.migrate()
    await runtime.start()
    life = Life("gateway-1", START)
    life.acknowledge(life.next())
    tally = life.report(START)
    await runtime.store.write(record_tallies, [tally])
    await runtime.queue.publish([Outgoing(to_wire(tally), TALLY_TYPE, str(uuid4()), CONTROL_CHANNEL, "tally")])
    if held:
        await runtime.queue.consume(1)
    found = await audit(runtime, patience=0)
    await runtime.close()
    assert (found.queued, found.unrecorded, found.balanced) == (0, 1, False)
    assert found.missing == ["number 1 of gateway gateway-1"]
