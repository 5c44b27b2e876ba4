"""Tables for channels: a row is a label, what arrives, and what must come of it.

Subclass `ChannelTable`, give it `rows` and `adapter()`, and every row is also checked for what nobody should have to
write by hand: a forged or unsigned copy is refused, the same delivery twice has the same keys, cut and garbled bytes
never crash, and no secret reaches a log, a repr or a draft.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest
from multidict import CIMultiDict, CIMultiDictProxy, MultiDict, MultiDictProxy
from yarl import URL

from adapters.base import Adapter, InboundRequest, Raw, Refused
from normalizer.message import Draft

PUBLIC_URL = "https://gw.example.test"


def inbound(
    method: str,
    url: str,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    *,
    inbox: str = "",
    remote: str = "",
) -> InboundRequest:
    """A request as the gateway hands it to an adapter; `inbox` is the name in the path, by default its second part."""
    parts = [part for part in urlsplit(url).path.split("/") if part]
    inbox = inbox or parts[1]
    return InboundRequest(
        method=method,
        tail="/".join(parts[parts.index(inbox) + 1 :]),
        url=url,
        query=MultiDictProxy(MultiDict(URL(url, encoded=True).query)),
        headers=CIMultiDictProxy(CIMultiDict(headers or {})),
        body=body,
        remote=remote,
    )


def arrived(request: InboundRequest) -> Raw:
    """What `intake.accept` gets for a request."""
    return Raw(
        body=request.body,
        content_type=request.headers.get("Content-Type", "application/octet-stream"),
        request=request,
    )


def receive(adapter: Adapter[Any], raw: Raw) -> list[Draft]:
    """In by the front door: authenticated, then normalised. Raises `Refused`."""
    adapter.authenticate(raw)
    return list(adapter.normalize(raw))


@dataclass(frozen=True)
class Row:
    """One case. Give `refused` (a status), or `drafts`: for each draft, paths into it and what is found there.

    A path is dotted (`author.value`, `fields.handle`, `attachments.0.filename`); an expected value that is callable is
    a predicate, so `bool` stands for "anything true".
    """

    label: str
    raw: Raw
    drafts: Sequence[Mapping[str, Any]] = ()
    refused: int | None = None
    status: int | None = None  # of the acknowledgement
    answer: Sequence[bytes] = field(default=())  # parts of its body


class ChannelTable:
    """Base of a channel's table test. The class body of a subclass says what the channel needs."""

    rows: ClassVar[Sequence[Row]] = ()
    signature_headers: ClassVar[Sequence[str]] = ()  # what proves the sender; empty: the channel takes strangers
    hooks: ClassVar[Sequence[str]] = ()  # paths below /hooks/<inbox> that people are told to give to the provider
    secrets: ClassVar[Sequence[str]] = ()  # none of these may be seen anywhere

    def adapter(self) -> Adapter[Any]:
        """A configured adapter."""
        raise NotImplementedError

    def bare(self) -> Adapter[Any] | None:
        """The same inbox without its secrets; None when the channel has none."""
        return None

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        names = set(metafunc.fixturenames)
        accepted = [row for row in self.rows if row.refused is None]
        chosen = {
            "row": self.rows,
            "accepted": accepted,
            "signed": [row for row in accepted if row.raw.request is not None and self.signature_headers],
        }
        for name in chosen.keys() & names:
            metafunc.parametrize(name, chosen[name], ids=lambda row: row.label)

    def test_outcome(self, row: Row) -> None:
        adapter = self.adapter()
        if row.refused is not None:
            with pytest.raises(Refused) as refusal:
                receive(adapter, row.raw)
            assert refusal.value.status == row.refused
            assert len(str(refusal.value)) > 20, "a refusal is a sentence one can act on"
            return
        drafts = receive(adapter, row.raw)
        assert len(drafts) == len(row.drafts), drafts
        for draft, expected in zip(drafts, row.drafts, strict=True):
            assert_draft(draft, expected)
        if row.raw.request is not None:
            answer = adapter.acknowledge(row.raw.request, ["00000000-0000-7000-8000-000000000000"] * len(drafts))
            assert row.status is None or answer.status == row.status
            assert [part for part in row.answer if part not in answer.body] == []

    def test_every_address_it_tells_people_is_one_it_answers(self) -> None:
        adapter = self.adapter()
        assert tuple(adapter.hooks()) == tuple(self.hooks)
        assert set(self.hooks) <= adapter.tails

    def test_same_delivery_twice_has_the_same_keys(self, accepted: Row) -> None:
        first, again = (receive(self.adapter(), accepted.raw) for _ in range(2))
        assert [draft.delivery_key for draft in first] == [draft.delivery_key for draft in again]
        assert all(draft.delivery_key for draft in first)
        assert len({draft.delivery_key for draft in first}) == len(first), "two facts of one request share a key"
        assert first == again, "normalising is a pure function of what arrived"

    def test_forged_is_refused(self, signed: Row) -> None:
        assert signed.raw.request is not None
        for forged in forgeries(signed.raw.request, self.signature_headers):
            with pytest.raises(Refused) as refusal:
                self.adapter().authenticate(arrived(forged))
            assert refusal.value.status == 403

    def test_without_its_secrets_the_inbox_refuses_and_says_what_to_set(self, signed: Row) -> None:
        bare = self.bare()
        if bare is None:
            pytest.fail("a channel that checks signatures must say how it looks without secrets: define bare()")
        assert bare.missing()
        with pytest.raises(Refused) as refusal:
            bare.authenticate(signed.raw)
        assert refusal.value.status == 403
        assert any(name in str(refusal.value) for name in bare.missing())

    def test_damaged_bytes_never_crash(self, accepted: Row) -> None:
        adapter = self.adapter()
        for damaged in damages(accepted.raw):
            try:
                drafts = adapter.normalize(damaged)
            except Refused as refusal:
                assert 400 <= refusal.status < 500
            else:
                assert all(draft.delivery_key for draft in drafts)

    def test_no_secret_is_seen(self, row: Row, caplog: pytest.LogCaptureFixture) -> None:
        adapter, seen = self.adapter(), ""
        with caplog.at_level(logging.DEBUG):
            try:
                seen = "".join(draft.model_dump_json() for draft in receive(adapter, row.raw))
            except Refused as refusal:
                seen = f"{refusal!r} {refusal} {refusal.headers}"
            if row.raw.request is not None and row.refused is None:
                seen += repr(adapter.acknowledge(row.raw.request, []))
        shown = caplog.text + seen + repr(adapter) + repr(adapter.options) + adapter.options.model_dump_json()
        assert [secret for secret in self.secrets if secret in shown] == []


def assert_draft(draft: Draft, expected: Mapping[str, Any]) -> None:
    """Each path of `expected` holds in the draft."""
    for path, wanted in expected.items():
        found = look_up(draft, path)
        if callable(wanted):
            assert wanted(found), f"{path} = {found!r}"
        else:
            assert found == wanted, f"{path} = {found!r}, not {wanted!r}"


def look_up(value: Any, path: str) -> Any:
    """The value at a dotted path through models, mappings and sequences; None where a mapping has no such key."""
    for step in path.split("."):
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, Sequence) and not isinstance(value, str):
            value = value[int(step)]
        else:
            value = getattr(value, step)
    return value


def forgeries(request: InboundRequest, signature_headers: Sequence[str]) -> list[InboundRequest]:
    """Copies nobody signed: without, with empty, wrong, cut and non-ASCII signature, and with another body."""
    unsigned = CIMultiDict(request.headers)
    for name in signature_headers:
        unsigned.popall(name, None)
    copies = [unsigned]
    for name in signature_headers:
        good = request.headers.get(name, "")
        for bad in ("", "A" * len(good), good[:-1], good + "=", good.swapcase(), "\udcff\udce4", "é" * 28):
            copies.append(CIMultiDict(request.headers))
            copies[-1][name] = bad
    forged = [replace(request, headers=CIMultiDictProxy(headers)) for headers in copies]
    if request.body:
        forged.append(replace(request, body=request.body + b"&x=1"))
        forged.append(replace(request, body=request.body[:-1]))
    return [*forged, replace(request, url=request.url + "x")] if not request.body else forged


def damages(raw: Raw, pieces: int = 24) -> list[Raw]:
    """The bytes cut at many places, emptied, garbled and replaced by what is no such thing at all."""
    body = raw.body
    bodies = [body[: len(body) * cut // pieces] for cut in range(pieces)]
    bodies += [body[:cut] + b"\xff\x00" + body[cut + 2 :] for cut in range(0, len(body), max(1, len(body) // pieces))]
    bodies += [b"null", b"[]", b"{}", b"[" * 100_000, b'{"data":' * 5_000, b"1" * 6_000, b"a=" * 3_000, b"&" * 3_000]
    bodies += [b'"\\ud800"', b'{"data":NaN}', b'{"data":[1,null,"x",{}]}', b'{"data":{"payload":[]}}', b"\xff\xfe"]
    return [_with_body(raw, damaged) for damaged in bodies]


def _with_body(raw: Raw, body: bytes) -> Raw:
    request = replace(raw.request, body=body) if raw.request is not None else None
    return replace(raw, body=body, request=request)
