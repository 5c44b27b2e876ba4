"""An authoritative name server on loopback, by UDP and TCP, that can also be silent, broken, cut short, or lie."""

from __future__ import annotations

import socketserver
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

Mood = Literal["well", "silent", "servfail", "truncate", "garbage", "lie"]
Zone = Mapping[tuple[str, str], Sequence[str]]


class Names:
    """The zone, what is asked of it, and how it is answered: `mood` for all names, `moods` for single ones.

    `truncate` answers by TCP only; `lie` answers another question than was asked; `garbage` are bytes that are no DNS.
    """

    def __init__(self) -> None:
        self.zone: dict[tuple[str, str], Sequence[str]] = {}
        self.mood: Mood = "well"
        self.moods: dict[str, Mood] = {}
        self.asked: list[tuple[str, str]] = []
        self.by_tcp: list[str] = []
        self.heard = threading.Event()
        self.port = 0

    def publish(self, zone: Zone) -> None:
        """Add records: (name, type) -> their values as in a zone file; a TXT value is given plain."""
        for (name, kind), values in zone.items():
            self.zone[name.lower(), kind] = [_quoted(value) for value in values] if kind == "TXT" else list(values)

    def answer(self, wire: bytes, *, tcp: bool) -> bytes | None:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        if tcp:
            self.by_tcp.append(name)
        self.heard.set()
        mood = self.moods.get(name, self.mood)
        if mood == "silent":
            return None
        if mood == "garbage":
            return wire[:2] + b"\xff" * 30
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA | dns.flags.AA
        if mood == "servfail":
            response.set_rcode(dns.rcode.SERVFAIL)
        elif mood == "truncate" and not tcp:
            response.flags |= dns.flags.TC
        elif mood == "lie":
            response.question[0] = dns.rrset.RRset(
                dns.name.from_text("other.example"), question.rdclass, question.rdtype
            )
            self._fill(response, question.name, name, kind)
        elif name == "" or any(known == name or known.endswith("." + name) for known, _ in self.zone):
            self._fill(response, question.name, name, kind)
        else:
            response.set_rcode(dns.rcode.NXDOMAIN)
        try:
            return response.to_wire(max_size=65_535 if tcp else max(query.payload, 512))
        except dns.exception.TooBig:
            cut = dns.message.make_response(query)
            cut.flags |= dns.flags.TC
            return cut.to_wire()

    def _fill(self, response: dns.message.Message, owner: dns.name.Name, name: str, kind: str) -> None:
        for found in ("CNAME", kind) if kind != "CNAME" else ("CNAME",):
            values = self.zone.get((name, found))
            if values:
                response.answer.append(dns.rrset.from_text(owner, 60, "IN", found, *values))
                return


def _quoted(value: str) -> str:
    """A TXT value as strings of at most 255 octets."""
    pieces = [value[at : at + 250] for at in range(0, len(value), 250)] or [""]
    return " ".join('"' + piece.replace("\\", "\\\\").replace('"', '\\"') + '"' for piece in pieces)


@contextmanager
def serving() -> Iterator[Names]:
    """A running server; `names.port` says where."""
    names = Names()

    class ByUdp(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            data, sock = self.request
            reply = names.answer(data, tcp=False)
            if reply is not None:
                sock.sendto(reply, self.client_address)

    class ByTcp(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            (size,) = struct.unpack("!H", self.rfile.read(2))
            reply = names.answer(self.rfile.read(size), tcp=True)
            if reply is not None:
                self.wfile.write(struct.pack("!H", len(reply)) + reply)

    with socketserver.UDPServer(("127.0.0.1", 0), ByUdp) as udp:
        names.port = udp.server_address[1]
        with socketserver.TCPServer(("127.0.0.1", names.port), ByTcp) as tcp:
            threads = [threading.Thread(target=server.serve_forever, args=(0.02,)) for server in (udp, tcp)]
            for thread in threads:
                thread.start()
            try:
                yield names
            finally:
                for server in (udp, tcp):
                    server.shutdown()
                for thread in threads:
                    thread.join()
