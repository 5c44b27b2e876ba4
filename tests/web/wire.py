"""Bytes on a socket, where a well-behaved client would hide what matters."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass


@dataclass(frozen=True)
class Heard:
    """What came back: the first answer's status, everything as text, and whether the server closed the connection."""

    status: int
    text: str
    closed: bool


async def say(port: int, data: bytes, *, wait: float = 5.0, hang_up: bool = False) -> Heard:
    """Send bytes; read until the first answer is complete or the server closes. Status 0: it closed without a word."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        if hang_up:
            writer.write_eof()
        heard, closed = bytearray(), False
        try:
            async with asyncio.timeout(wait):
                while not _complete(heard):
                    chunk = await reader.read(65536)
                    if not chunk:
                        closed = True
                        break
                    heard += chunk
        except ConnectionError:
            closed = True
        text = heard.decode("utf-8", "replace")
        return Heard(int(text.split(" ", 2)[1]) if text.startswith("HTTP/") else 0, text, closed)
    finally:
        writer.close()


def _complete(heard: bytearray) -> bool:
    head, blank, body = bytes(heard).partition(b"\r\n\r\n")
    if not blank:
        return False
    length = next((line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b"")
    return not length or len(body) >= int(length.partition(b":")[2])


def request(
    path: str, body: bytes = b"", *headers: str, method: str = "POST", content_type: str = "application/json"
) -> bytes:
    """A well-formed request around the given parts."""
    lines = [f"{method} {path} HTTP/1.1", "Host: desk.example", f"Content-Type: {content_type}", *headers]
    if not any(header.lower().startswith(("content-length", "transfer-encoding")) for header in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body
