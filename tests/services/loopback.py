"""A watch over every socket this process uses: nothing may leave 127.0.0.0/8, ::1 and local sockets."""

from __future__ import annotations

import ipaddress
import sys
from typing import Any, Final

_LOCAL_NAMES: Final = frozenset({"localhost", "ip6-localhost", "localhost.localdomain"})
_WATCHED: Final = frozenset({"socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo"})


class OutsideLoopbackError(OSError):
    """What the code under test sees: its network is unreachable."""


def watch_sockets() -> list[str]:
    """Refuse foreign addresses from now on, for the life of the process; the list gathers the attempts.

    An audit hook (PEP 578) sees what asyncio and C libraries do as well, which replacing `socket.socket` does not.
    """
    attempts: list[str] = []

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _WATCHED:
            return
        host = find_host(event, arguments)
        if host is not None and not is_local(host):
            attempts.append(f"{event} {host}")
            raise OutsideLoopbackError(f"tests stay on loopback, not {host}")

    sys.addaudithook(hook)
    return attempts


def find_host(event: str, arguments: tuple[Any, ...]) -> str | None:
    """The host an audit event names; None when it names none, as for a Unix socket or an address to listen on."""
    if event == "socket.getaddrinfo":
        host = arguments[0]
    else:
        address = arguments[1]
        if not isinstance(address, tuple):
            return None
        host = address[0]
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    return host or None


def is_local(host: str) -> bool:
    """Whether a name or an address is this machine's own loopback."""
    if host.lower() in _LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False
