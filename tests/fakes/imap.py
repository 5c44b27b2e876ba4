"""An IMAP server that does what it is told: mailboxes in memory, and on demand every misdeed a server is known for."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Final, Self

USER: Final = "desk@example.com"
PASSWORD: Final = "hunter2-and-more"


@dataclass
class Mail:
    """A mail in a folder. `fault`: what happens when its body is fetched; `size`: what RFC822.SIZE claims."""

    uid: int
    body: bytes
    fault: str = ""
    size: int | None = None
    flags: set[str] = field(default_factory=set)
    date: str = "02-Mar-2020 10:00:00 +0100"

    @property
    def header(self) -> bytes:
        return self.body.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"


@dataclass
class Folder:
    """UIDs need not ascend and need not be unique: that is up to the test."""

    validity: int = 1_000
    mails: list[Mail] = field(default_factory=list)
    uid_next: int | None = None  # None: what it should be; 0: not told

    def next_uid(self) -> int:
        return max((mail.uid for mail in self.mails), default=0) + 1 if self.uid_next is None else self.uid_next


class HangUp(Exception):
    """The server closes the connection at once."""


class FakeImap:
    """`async with FakeImap() as server`. `answers` replaces the answer to a command by what a function writes."""

    def __init__(self, *mails: Mail) -> None:
        self.folders = {"INBOX": Folder(mails=list(mails)), "Archive": Folder()}
        self.capabilities = "IMAP4rev1 IDLE MOVE UIDPLUS"
        self.greeting = b"* OK ready\r\n"
        self.permanent = r"(\Seen \*)"
        self.read_only = False
        self.login = ""  # the refusal, e.g. "NO [UNAVAILABLE] later"
        self.idle = ""  # bye, cut, silent
        self.answers: dict[str, Callable[[str], bytes]] = {}
        self.before: Callable[[str], None] = lambda command: None
        self.commands: list[str] = []
        self.logins = 0
        self.open = 0
        self.idling = asyncio.Event()
        self.news = asyncio.Event()
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**20)
        self.port = self._server.sockets[0].getsockname()[1]
        self._tasks: set[asyncio.Task[None]] = set()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def inbox(self) -> Folder:
        return self.folders["INBOX"]

    def asked(self, word: str) -> list[str]:
        """The commands that contain a word."""
        return [command for command in self.commands if word in command]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.open += 1
        try:
            with suppress(HangUp, ConnectionError, asyncio.IncompleteReadError):
                await _Talk(self, reader, writer).run()
        finally:
            self.open -= 1
            self._tasks.discard(task)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


class _Talk:
    """One connection."""

    def __init__(self, server: FakeImap, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server = server
        self.reader = reader
        self.writer = writer
        self.folder = Folder()

    async def run(self) -> None:
        await self.send(self.server.greeting)
        while line := (await self.reader.readline()).decode().rstrip("\r\n"):
            tag, _, command = line.partition(" ")
            self.server.commands.append(command)
            self.server.before(command)
            word = command.split()[1 if command.startswith("UID ") else 0].upper()
            if word in self.server.answers:
                await self.send(self.server.answers[word](command).replace(b"TAG", tag.encode()))
                continue
            await self.obey(word, command)
            if word == "LOGOUT":
                await self.send(f"* BYE so long\r\n{tag} OK bye\r\n".encode())
                return
            if word == "LOGIN" and self.server.login:
                await self.send(f"{tag} {self.server.login}\r\n".encode())
            elif word == "FETCH" and self.refused:
                await self.send(f"{tag} NO [SERVERBUG] cannot read that mail\r\n".encode())
            elif word == "SELECT" and self.server.read_only:
                await self.send(f"{tag} OK [READ-ONLY] selected\r\n".encode())
            elif word == "IDLE":
                await self.send(f"{tag} OK idled\r\n".encode())
            else:
                await self.send(f"{tag} OK {word} done\r\n".encode())

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def obey(self, word: str, command: str) -> None:
        self.refused = False
        if word == "CAPABILITY":
            await self.send(f"* CAPABILITY {self.server.capabilities}\r\n".encode())
        elif word == "LOGIN":
            self.server.logins += 1
        elif word in ("SELECT", "EXAMINE"):
            await self.select(command)
        elif word == "SEARCH":
            found = " ".join(str(mail.uid) for mail in self.search(command))
            await self.send(f"* SEARCH {found}".rstrip().encode() + b"\r\n")
        elif word == "FETCH":
            await self.fetch(command)
        elif word in ("MOVE", "COPY", "STORE", "EXPUNGE"):
            self.change(word, command)
        elif word == "IDLE":
            await self.idle()

    async def select(self, command: str) -> None:
        name = command.split(" ", 1)[1].strip('"')
        self.folder = self.server.folders[name]
        lines = [
            f"{len(self.folder.mails)} EXISTS",
            "0 RECENT",
            r"FLAGS (\Seen \Deleted)",
            f"OK [PERMANENTFLAGS {self.server.permanent}] flags",
            f"OK [UIDVALIDITY {self.folder.validity}] uids",
        ]
        if self.folder.next_uid():
            lines.append(f"OK [UIDNEXT {self.folder.next_uid()}] next")
        await self.send("".join(f"* {line}\r\n" for line in lines).encode())

    def search(self, command: str) -> Iterator[Mail]:
        found = re.fullmatch(r"UID SEARCH (?:([\d:*]+) )?UID (\d+):(\d+|\*)(?: SINCE (\S+))?", command)
        assert found, command
        low, high = int(found[2]), 2**32 if found[3] == "*" else int(found[3])
        last = max((mail.uid for mail in self.folder.mails), default=0)
        for number, mail in enumerate(self.folder.mails, 1):
            inside = found[1] is None or number in _numbers(found[1], len(self.folder.mails))
            late = found[4] is None or _day(mail.date) >= _day(found[4])
            # RFC 9051: "9:*" always contains the last mail, be its UID below 9.
            if inside and late and (low <= mail.uid <= high or (found[3] == "*" and mail.uid == last)):
                yield mail

    async def fetch(self, command: str) -> None:
        found = re.fullmatch(r"UID FETCH (\S+) \((.*)\)", command)
        assert found, command
        uids = _numbers(found[1], 2**32)
        for number, mail in enumerate(self.folder.mails, 1):
            if mail.uid in uids:
                await self.tell(number, mail, found[2])

    async def tell(self, number: int, mail: Mail, items: str) -> None:
        head = f"* {number} FETCH (UID {mail.uid}"
        if "RFC822.SIZE" in items:
            if mail.fault != "unknown":
                size = len(mail.body) if mail.size is None else mail.size
                await self.send(f'{head} RFC822.SIZE {size} INTERNALDATE "{mail.date}")\r\n'.encode())
        elif "HEADER" in items:
            await self.send(f"{head} BODY[HEADER] {{{len(mail.header)}}}\r\n".encode() + mail.header + b")\r\n")
        else:
            await self.body(f"{head} BODY[] ".encode(), mail)

    async def body(self, head: bytes, mail: Mail) -> None:
        body, fault = mail.body, mail.fault
        whole = head + b"{%d}\r\n" % len(body) + body + b")\r\n"
        if fault == "refuse":
            self.refused = True
        elif fault == "nil":
            await self.send(head + b"NIL)\r\n")
        elif fault == "number":
            await self.send(head + b"12345)\r\n")
        elif fault == "cut":
            await self.send(whole[: len(head) + len(body) // 2])
            raise HangUp
        elif fault == "huge":
            await self.send(head + b"{2147483648}\r\n")
            await self.pour(b"x" * 65_536)
        elif fault == "short":
            await self.send(head + b"{%d}\r\n" % (len(body) // 2) + body + b")\r\n")
        elif fault == "long":
            await self.send(head + b"{%d}\r\n" % (len(body) + 500) + body + b")\r\n")
        elif fault == "endless":
            await self.pour(b"* 1 FETCH (FLAGS (\\Seen))\r\n" * 1_000)
        elif fault == "line":
            await self.pour(b"*" * 65_536)
        elif fault == "nested":
            await self.send(head + b"(" * 100_000 + b")" * 100_001 + b"\r\n")
        elif fault == "drip":
            for octet in whole:
                await self.send(bytes([octet]))
                await asyncio.sleep(0.05)
        elif fault not in ("omit", "unknown"):
            await self.send(b"* 1 FETCH (FLAGS (\\Answered))\r\n" + whole)  # unasked for, as servers do

    async def pour(self, data: bytes) -> None:
        """Until the client has had enough."""
        while True:
            await self.send(data)

    def change(self, word: str, command: str) -> None:
        parts = command.split(" ", 3)
        mails = [mail for mail in self.folder.mails if mail.uid in _numbers(parts[2], 2**32)]
        if word == "STORE":
            for mail in mails:
                mail.flags.add(parts[3].partition("(")[2].rstrip(")"))
        if word in ("MOVE", "COPY"):
            target = self.server.folders[parts[3].strip('"')]
            for mail in mails:
                target.mails.append(Mail(target.next_uid(), mail.body))
        if word in ("MOVE", "EXPUNGE"):
            gone = mails if word == "MOVE" else [mail for mail in mails if r"\Deleted" in mail.flags]
            self.folder.mails = [mail for mail in self.folder.mails if mail not in gone]

    async def idle(self) -> None:
        await self.send(b"+ idling\r\n")
        self.server.idling.set()
        if self.server.idle == "bye":
            await self.send(b"* BYE the server is going down\r\n")
            raise HangUp
        if self.server.idle == "cut":
            raise HangUp
        done = asyncio.ensure_future(self.reader.readline())
        news = asyncio.ensure_future(self.server.news.wait())
        try:
            await asyncio.wait([done, news], return_when=asyncio.FIRST_COMPLETED)
            if news.done():
                self.server.news.clear()
                await self.send(f"* {len(self.folder.mails)} EXISTS\r\n".encode())
            await done
        finally:
            done.cancel()
            news.cancel()


def _numbers(text: str, top: int) -> set[int] | range:
    found: set[int] = set()
    for span in text.split(","):
        low, _, high = span.partition(":")
        end = top if high == "*" else int(high or low)
        if end - int(low) > 10_000:
            return range(int(low), end + 1)
        found.update(range(int(low), end + 1))
    return found


def _day(text: str) -> datetime:
    return datetime.strptime(f"{text[:11].strip()} +0000", "%d-%b-%Y %z")
