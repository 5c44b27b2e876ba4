"""What one stranger may use of us: bytes and time of a request, requests a minute, connections at once.

Addresses are those of the connection, or of X-Forwarded-For when the connection comes from a configured proxy. A
connection from loopback without a proxy is ourselves (the demo, an unconfigured local proxy) and has no rate.
"""

from __future__ import annotations

import asyncio
import io
import ipaddress
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from adapters.base import Refused
from gateway.web.keys import LIMITS

BODY_DEADLINE: Final = 30.0  # seconds to send a body
BODY_RATE: Final = 64 * 1024  # bytes that buy one more second: half a Mbit/s uploads whatever fits the size limit
MAX_KEYS: Final = 50_000
MAX_HOPS: Final = 20  # entries of X-Forwarded-For that are looked at

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Gcra:
    """Generic cell rate algorithm (ITU-T I.371): a steady rate and a burst, one number for each key.

    Keys whose time has passed are indistinguishable from new ones and are dropped when the table is full.
    """

    def __init__(self, per_minute: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = 60.0 / per_minute if per_minute > 0 else 0.0
        self._slack = self._interval * max(burst - 1, 0)
        self._clock = clock
        self._arrivals: dict[str, float] = {}

    def wait(self, key: str) -> float:
        """Count one event; 0 when it may pass, else the seconds until one would (and it is not counted)."""
        if not self._interval:
            return 0.0
        now = self._clock()
        due = max(self._arrivals.pop(key, now), now)  # out and in again: whoever keeps coming is forgotten last
        early = due - self._slack - now
        if early > 0:
            self._arrivals[key] = due
            return early
        if len(self._arrivals) >= MAX_KEYS:
            self._forget(now)
        self._arrivals[key] = due + self._interval
        return 0.0

    def _forget(self, now: float) -> None:
        busy = [(key, due) for key, due in self._arrivals.items() if due > now]
        # In a flood from everywhere those who came first are nearest to being free. A quarter at once, because this
        # goes through the whole table and must not happen at each event.
        self._arrivals = dict(busy[-(MAX_KEYS * 3 // 4) :])


class Limits:
    """The limiters and counters of one process. Limiters are made on first use, by name (`form:contact`)."""

    def __init__(self, trusted_proxies: Iterable[str] = ()) -> None:
        self._proxies = tuple(ipaddress.ip_network(entry, strict=False) for entry in trusted_proxies)
        self._rates: dict[str, Gcra] = {}
        self._open: Counter[str] = Counter()

    def client(self, request: web.BaseRequest) -> str:
        """The sender's address. X-Forwarded-For is read from the right, past the configured proxies only."""
        remote = request.remote or ""
        peer = _address(remote)
        if peer is None or not self._is_proxy(peer):
            return _written(remote)
        hops = ",".join(request.headers.getall("X-Forwarded-For", [])).split(",")
        for hop in reversed(hops[-MAX_HOPS:]):
            address = _address(hop.strip())
            if address is None:
                break
            peer = address
            if not self._is_proxy(address):
                break
        return str(peer)

    def check_rate(self, request: web.BaseRequest, name: str, per_minute: int, burst: int) -> None:
        """Count a request of this client. Raises `Refused` 429."""
        client = self.client(request)
        if per_minute <= 0 or is_loopback(client):
            return
        gcra = self._rates.setdefault(name, Gcra(per_minute, burst))
        if (seconds := gcra.wait(client_key(client))) > 0:
            wait = int(seconds) + 1
            raise Refused(
                429, f"Too many requests from your address; try again in {wait} s.", headers={"Retry-After": str(wait)}
            )

    @contextmanager
    def connection(self, request: web.BaseRequest, name: str, most: int) -> Iterator[None]:
        """Hold one of the connections this client may have open. Raises `Refused` 429."""
        client = self.client(request)
        key = f"{name}:{client_key(client)}"
        if self._open[key] >= most and not is_loopback(client):
            raise Refused(429, f"Your address has {most} connections open already.", headers={"Retry-After": "30"})
        self._open[key] += 1
        try:
            yield
        finally:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]

    def trusts(self, address: str) -> bool:
        """Whether this is a configured proxy."""
        parsed = _address(address)
        return parsed is not None and self._is_proxy(parsed)

    def _is_proxy(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self._proxies)


@lru_cache(maxsize=4096)
def client_key(address: str) -> str:
    """What shares a limit: an IPv4 address, or the /64 an IPv6 host may choose its addresses from."""
    parsed = _address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
    return address


@lru_cache(maxsize=4096)
def is_loopback(address: str) -> bool:
    """Whether this is our own machine."""
    parsed = _address(address)
    return parsed is not None and parsed.is_loopback


@lru_cache(maxsize=4096)
def _address(text: str) -> Address | None:
    try:
        parsed = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (parsed.ipv4_mapped or parsed) if isinstance(parsed, ipaddress.IPv6Address) else parsed


@lru_cache(maxsize=4096)
def _written(address: str) -> str:
    """An address in the one way we write it; what is none, as it is."""
    return str(_address(address) or address)


async def read_body(request: web.BaseRequest, most: int) -> bytes:
    """The whole body, at most `most` bytes. Raises `Refused`: 413 too large, 415 encoded, 408 too slow, 400 broken.

    The deadline is 30 s and one second more for each 64 KiB that arrived, so a slow upload ends and a stalled one too.
    """
    refuse_encoding(request)
    if request.content_length is not None and request.content_length > most:
        raise _too_large(most)
    if not request.can_read_body:
        return b""
    if request.content.is_eof() and request.content.exception() is None:
        whole = request.content.read_nowait()  # short ones come along with their headers: no need for a clock
        if len(whole) > most:
            raise _too_large(most)
        return whole
    loop = asyncio.get_running_loop()
    started, body = loop.time(), io.BytesIO()  # gives away its buffer in the end, where a bytearray would be copied
    try:
        async with asyncio.timeout(BODY_DEADLINE) as deadline:
            while chunk := await request.content.readany():
                body.write(chunk)
                if body.tell() > most:
                    raise _too_large(most)
                deadline.reschedule(started + BODY_DEADLINE + body.tell() / BODY_RATE)
    except TimeoutError:
        raise Refused(408, "The body did not arrive in time.", headers={"Connection": "close"}) from None
    except (web.RequestPayloadError, HttpProcessingError, OSError) as error:  # cut short, or broken chunks
        raise Refused(400, "The body is cut short or malformed.", headers={"Connection": "close"}) from error
    return body.getvalue()


def refuse_encoding(request: web.BaseRequest) -> None:
    """No sender of ours compresses requests, and a compressed body is how 97 kB become 100 MB (RFC 9110 15.5.16)."""
    if request.headers.get("Content-Encoding", "identity").strip().lower() not in ("identity", ""):
        raise Refused(415, "Send the body without Content-Encoding.", headers={"Accept-Encoding": "identity"})


def _too_large(most: int) -> Refused:
    shown = f"{most / 1048576:.0f} MiB" if most >= 1048576 else f"{most // 1024} KiB"
    return Refused(413, f"That is too large: at most {shown}.", headers={"Connection": "close"})


def limits_of(request: web.Request) -> Limits:
    """The limits of the application."""
    return request.app[LIMITS]
