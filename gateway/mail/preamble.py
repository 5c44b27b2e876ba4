"""The PROXY protocol (haproxy.org, proxy-protocol.txt, versions 1 and 2): who is behind a load balancer.

Read only from the configured proxies and only when it is switched on: whoever else sent it could claim any address.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Iterable

from aiosmtpd.proxy_protocol import get_proxy

SECONDS = 10.0  # a proxy sends its preamble with the connection
# The library logs what it finds wrong with bytes of the peer in it.
logging.getLogger("mail.debug").setLevel(logging.ERROR)


class BadPreambleError(Exception):
    """What a proxy sent is no preamble, or nothing came."""


class Proxies:
    """The networks whose connections begin with a preamble; empty when it is switched off."""

    def __init__(self, networks: Iterable[str] = ()) -> None:
        self._networks = tuple(ipaddress.ip_network(entry, strict=False) for entry in networks)

    def __contains__(self, peer: str) -> bool:
        try:
            address = ipaddress.ip_address(peer.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address.version == network.version and address in network for network in self._networks)


async def read_client(reader: asyncio.StreamReader) -> tuple[str, int] | None:
    """Address and port of the real client; None for the proxy's own (health check, UNKNOWN). Raises
    `BadPreambleError`."""
    try:
        async with asyncio.timeout(SECONDS):
            found = await get_proxy(reader)
    except TimeoutError:
        raise BadPreambleError(f"no PROXY preamble within {SECONDS:.0f} s") from None
    except Exception as error:  # the library lets malformed ones through as any exception
        raise BadPreambleError(f"no PROXY preamble: {type(error).__name__}") from error
    if not found:
        raise BadPreambleError(found.error or "no PROXY preamble")
    if found.command == 0 or not isinstance(found.src_addr, ipaddress.IPv4Address | ipaddress.IPv6Address):
        return None
    return str(found.src_addr), found.src_port or 0
