"""Rates, addresses and languages: the small pure parts of the HTTP shell."""

from __future__ import annotations

from itertools import pairwise

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from gateway.web import limits
from gateway.web.limits import Gcra, Limits, client_key, is_loopback
from gateway.web.texts import LANGUAGES, TEXTS, pick_language


class Clock:
    """Time that moves when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_passes_then_the_rate_holds() -> None:
    clock = Clock()
    gcra = Gcra(per_minute=60, burst=3, clock=clock)
    assert [gcra.wait("a") > 0 for _ in range(4)] == [False, False, False, True]
    assert gcra.wait("b") == 0
    assert gcra.wait("a") == pytest.approx(1.0)
    clock.now += 1.0
    assert gcra.wait("a") == 0
    assert gcra.wait("a") > 0
    clock.now += 3600
    assert [gcra.wait("a") > 0 for _ in range(4)] == [False, False, False, True]


@given(st.integers(1, 600), st.integers(1, 50), st.lists(st.floats(0, 5), max_size=200))
def test_never_more_than_burst_and_rate(per_minute: int, burst: int, gaps: list[float]) -> None:
    clock = Clock()
    gcra = Gcra(per_minute, burst, clock)
    passed = []
    for gap in gaps:
        clock.now += gap
        if gcra.wait("a") == 0:
            passed.append(clock.now)
    for first, later in ((a, b) for a in range(len(passed)) for b in range(a, len(passed))):
        allowed = burst + (passed[later] - passed[first]) * per_minute / 60
        assert later - first + 1 <= allowed + 1e-6
    assert all(a <= b for a, b in pairwise(passed))


def test_a_waiter_who_waits_passes() -> None:
    clock = Clock()
    gcra = Gcra(per_minute=7, burst=2, clock=clock)
    for _ in range(20):
        clock.now += gcra.wait("a") + 1e-6
        assert gcra.wait("a") == 0


def test_a_flood_of_addresses_does_not_grow_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_KEYS", 100)
    gcra = Gcra(per_minute=1, burst=1, clock=Clock())
    for number in range(1000):
        gcra.wait(str(number))
    assert len(gcra._arrivals) <= 100


def test_a_flood_of_addresses_hides_nobody_who_keeps_coming(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_KEYS", 100)
    clock = Clock()
    gcra = Gcra(per_minute=60, burst=10, clock=clock)
    passed = 0
    for number in range(3000):
        clock.now += 0.01  # half a minute
        gcra.wait(str(number))
        passed += gcra.wait("busy") == 0
    assert passed == 10 + 29


def test_a_flood_of_addresses_costs_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table is gone through once for many addresses, not for each."""
    monkeypatch.setattr(limits, "MAX_KEYS", 100)
    gcra = Gcra(per_minute=1, burst=1, clock=Clock())
    cleaned = []
    monkeypatch.setattr(
        Gcra, "_forget", lambda self, now, forget=Gcra._forget: [cleaned.append(now), forget(self, now)]
    )
    for number in range(1000):
        gcra.wait(str(number))
    assert len(cleaned) <= 1000 / 25


def test_zero_is_no_limit() -> None:
    gcra = Gcra(per_minute=0, burst=0, clock=Clock())
    assert all(gcra.wait("a") == 0 for _ in range(1000))


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("203.0.113.5", "203.0.113.5"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("nonsense", "nonsense"),
        ("", ""),
    ],
)
def test_what_shares_a_limit(address: str, key: str) -> None:
    assert client_key(address) == key


@pytest.mark.parametrize(
    ("address", "ours"),
    [("127.0.0.1", True), ("::1", True), ("::ffff:127.0.0.1", True), ("203.0.113.5", False), ("", False)],
)
def test_our_own_machine(address: str, ours: bool) -> None:
    assert is_loopback(address) is ours


@pytest.mark.parametrize(
    ("proxies", "forwarded", "client"),
    [
        ([], ["198.51.100.7"], "203.0.113.5"),
        (["203.0.113.0/24"], ["198.51.100.7"], "198.51.100.7"),
        (["203.0.113.5"], ["10.0.0.1, 198.51.100.7"], "198.51.100.7"),
        (["203.0.113.5", "10.0.0.0/8"], ["198.51.100.7, 10.0.0.1"], "198.51.100.7"),
        (["203.0.113.5"], ["198.51.100.7", "192.0.2.9"], "192.0.2.9"),
        (["203.0.113.5"], ["rubbish"], "203.0.113.5"),
        (["203.0.113.5"], ["198.51.100.7, rubbish"], "203.0.113.5"),
        (["203.0.113.5"], [], "203.0.113.5"),
        (["203.0.113.5"], ["," * 5000], "203.0.113.5"),
        (["2001:db8::/32"], ["198.51.100.7"], "203.0.113.5"),
    ],
)
def test_the_senders_address_is_read_from_the_right(proxies: list[str], forwarded: list[str], client: str) -> None:
    request = make_mocked_request("GET", "/", headers=[("X-Forwarded-For", value) for value in forwarded])  # type: ignore[arg-type]
    assert Limits(proxies).client(request.clone(remote="203.0.113.5")) == client


@pytest.mark.parametrize(
    ("asked", "accept", "language"),
    [
        ("", "", "en"),
        ("nl", "it", "nl"),
        ("xx", "it", "it"),
        ("", "nl-BE,nl;q=0.9,en;q=0.8", "nl"),
        ("", "de, es;q=0.5, it;q=0.9", "it"),
        ("", "ru;q=0, es", "es"),
        ("", "zh-CN", "zh-TW"),
        ("ZH-tw", "", "zh-TW"),
        ("", "*", "en"),
        ("", "nl;q=x, es;q=, it", "es"),
        ("", ",;,;q=1,,", "en"),
        ("'><script>", "\x00", "en"),
    ],
)
def test_the_language_a_visitor_reads(asked: str, accept: str, language: str) -> None:
    assert pick_language(asked, accept) == language


def test_only_offered_languages_are_spoken() -> None:
    assert pick_language("nl", "nl", ["it", "en"]) == "it"
    assert pick_language("nl", "nl", ["xx"]) == "en"


@given(st.text(max_size=50), st.text(max_size=2000))
def test_any_header_gives_a_language(asked: str, accept: str) -> None:
    assert pick_language(asked, accept) in LANGUAGES


def test_every_language_says_everything_and_keeps_the_blanks() -> None:
    for language, words in TEXTS.items():
        assert set(words) == set(TEXTS["en"])
        assert all(words.values()), language
        assert all(name in words["attachments_hint"] for name in ("{files}", "{size}"))
