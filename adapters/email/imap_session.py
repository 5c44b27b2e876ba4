"""One login to an IMAP server: the few commands reading a mailbox takes, each bounded, each failing in two words.

`LostError`: the connection is gone or cannot be trusted any more (it was cut, it timed out, it talks nonsense).
`RejectedError`: the server said no to this command; the connection is fine.
"""

from __future__ import annotations

import contextlib
import imaplib
import logging
import socket
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any, Final

from imapclient.datetime_util import format_criteria_date
from imapclient.exceptions import CapabilityError, LoginError, ProtocolError
from imapclient.imap_utf7 import encode as encode_utf7

from adapters.base import PermanentError, TemporaryError
from adapters.email.imap_answers import Meta, View, read_date, read_fetch, read_text, response_code, tells_of_mail
from adapters.email.imap_cursor import MAX_UID, uid_set
from adapters.email.imap_login import AGAIN_LATER, find_token, log_in, tls_context
from adapters.email.imap_options import ImapOptions
from adapters.email.imap_wire import (
    MAX_LINE,
    Allowance,
    Client,
    InterruptedReadError,
    TooLargeLiteralError,
    TooMuchError,
)

logging.getLogger("imapclient").setLevel(logging.WARNING)  # at DEBUG it tells what passes, mails included

SEARCH_WINDOW: Final = 50_000  # mails asked for in one SEARCH, whose answer is one line
MAX_MAILS: Final = 10_000_000  # a folder that claims more is not believed
HEADER_OCTETS: Final = 262_144
_SLOWEST: Final = 65_536  # octets a second below which a transfer is given up
_COMMAND_SECONDS: Final = 30.0
_CHANGE_SECONDS: Final = 60.0  # moving hundreds of mails may take a server its time
_ANSWER_OCTETS: Final = 262_144


class LostError(TemporaryError):
    """The connection cannot be used any more."""


class TooLargeError(LostError):
    """The server announced more for one mail than we take; the connection was cut before any of it. In octets."""

    def __init__(self, sentence: str, size: int) -> None:
        super().__init__(sentence)
        self.size = size


class RejectedError(TemporaryError):
    """The server said no; `code` is its response code (RFC 5530), or empty."""

    def __init__(self, sentence: str, code: str = "") -> None:
        super().__init__(sentence)
        self.code = code


class Session:
    """A connection that is logged in. Not for two threads, except `interrupt`."""

    def __init__(self, options: ImapOptions) -> None:
        """Connect and log in. Raises `LostError`, `TemporaryError`, and `PermanentError` when we are not let in."""
        self.options = options
        self.view: View | None = None
        self._secrets = [secret.get_secret_value() for secret in (options.password, options.access_token) if secret]
        self._allowance = Allowance()
        self._alarm, self._wake = socket.socketpair()
        self._client: Client | None = None
        try:
            with self._speaking(_COMMAND_SECONDS):
                context = tls_context(options) if options.tls != "none" else None
                first = context if options.tls == "tls" else None
                self._client = Client(options.host, options.port_number, first, self._allowance, self._wake)
                if options.tls == "starttls":
                    self._client.starttls(context)
            self._log_in()
        except BaseException:
            self.close()
            raise

    def interrupt(self) -> None:
        """End whatever wait the session is in; from any thread. The session is of no use afterwards."""
        with contextlib.suppress(OSError):
            self._alarm.send(b"!")

    def close(self) -> None:
        """Say goodbye if the server listens, and close."""
        client, self._client = self._client, None
        if client is not None:
            self._allowance.grant(2.0, text=_ANSWER_OCTETS)
            with contextlib.suppress(Exception):
                client.wire.logout()
            with contextlib.suppress(OSError):
                client.wire.shutdown()
        self._alarm.close()
        self._wake.close()

    @property
    def idles(self) -> bool:
        """Whether the server tells of new mail by itself (RFC 2177)."""
        with self._speaking() as client:
            return bool(client.has_capability("IDLE"))

    # -- commands -------------------------------------------------------------------------------------------------

    def noop(self) -> None:
        """See whether the connection still stands."""
        with self._speaking() as client:
            client.noop()

    def select(self, folder: str, *, writable: bool) -> View:
        """Open a folder; read-only unless something is to be changed in it."""
        self.view = None
        with self._speaking() as client:
            try:
                told = client.select_folder(folder, readonly=not writable)
            except imaplib.IMAP4.readonly:  # it may still be read, and what cannot be done is said where it is tried
                told, writable = client.select_folder(folder, readonly=True), False
            validity = int(told.get(b"UIDVALIDITY") or 0)
            if not 0 < validity <= MAX_UID:
                raise ProtocolError("the folder has no UIDVALIDITY")
            exists = int(told.get(b"EXISTS") or 0)
            if not 0 <= exists <= MAX_MAILS:
                raise TooMuchError(f"it claims {exists} mails in one folder")
            flags = told.get(b"PERMANENTFLAGS")
            keywords = frozenset(flag.lower() for flag in flags) if flags is not None else None
            self.view = View(folder, validity, int(told.get(b"UIDNEXT") or 0), exists, keywords, writable)
            return self.view

    def uids_from(self, low: int, high: int | None = None, since: date | None = None) -> list[int]:
        """UIDs of the selected folder, ascending: `low` <= UID < `high`, arrived on `since` or later."""
        view = self._selected()
        criteria: list[Any] = [b"UID", f"{low}:{high - 1 if high else '*'}".encode()]
        if since is not None:
            criteria += [b"SINCE", format_criteria_date(datetime(since.year, since.month, since.day, tzinfo=UTC))]
        found: set[int] = set()
        for window in self._windows(low, view):
            with self._speaking(text=2 * MAX_LINE) as client:
                found.update(client.search([*window, *criteria]))
        top = high if high is not None else MAX_UID + 1
        return sorted(uid for uid in found if low <= uid < top)  # "9:*" also names the last mail, whatever its UID

    def metas(self, uids: Sequence[int]) -> dict[int, Meta]:
        """Size and date of arrival by UID. What the server does not answer for is left out."""
        found: dict[int, Meta] = {}
        for uid, items in self._fetch(uids, "(UID RFC822.SIZE INTERNALDATE)"):
            size = items.get(b"RFC822.SIZE")
            if isinstance(size, int):
                known = found.get(uid)
                found[uid] = Meta(max(size, known.size if known else 0), read_date(items.get(b"INTERNALDATE")))
        return found

    def bodies(self, uids: Sequence[int], expected: int, largest: int) -> list[tuple[int, bytes]]:
        """The mails, untouched and still unread; two for a UID if the server keeps two. Octets: by their sizes in all,
        and the most for one. Sizes are estimates on some servers, and Exchange's are often too small.
        """
        allowed = largest if len(uids) == 1 else expected * 5 // 4 + 4_096 * len(uids)
        return self._parts(uids, "BODY[]", "(UID BODY.PEEK[])", expected, allowed, largest)

    def header(self, uid: int) -> bytes:
        """The header alone."""
        found = self._parts([uid], "BODY[HEADER]", "(UID BODY.PEEK[HEADER])", 0, HEADER_OCTETS, HEADER_OCTETS)
        return found[0][1] if found else b""

    def move(self, uids: Sequence[int], target: str) -> None:
        """Move mails of the selected folder; the target is made if it does not exist (RFC 6851, else RFC 4315)."""
        self._require_writable()
        with self._speaking() as client:
            moves = bool(client.has_capability("MOVE"))
            if not moves and not client.has_capability("UIDPLUS"):
                raise CapabilityError("it can neither MOVE nor EXPUNGE single mails; use after = flag:KEYWORD")
        try:
            self._transfer(uids, target, moves)
        except RejectedError as error:
            if error.code != "TRYCREATE":
                raise
            with self._speaking() as client:
                client.create_folder(target)
            self._transfer(uids, target, moves)

    def flag(self, uids: Sequence[int], keyword: str) -> None:
        """Add a flag to mails of the selected folder."""
        view = self._require_writable()
        lasting = view.keywords
        if lasting is not None and b"\\*" not in lasting and keyword.lower().encode() not in lasting:
            raise RejectedError(self._sentence(f"folder {view.folder} does not keep the flag {keyword}"))
        self._uid("STORE", uid_set(uids), "+FLAGS.SILENT", f"({keyword})")

    def idle(self, low: int, seconds: float) -> bool:
        """Wait until the selected folder has a mail of UID `low` or above: True. False after `seconds` (< 29 min)."""
        with self._speaking() as client:
            client.wire.untagged_responses.pop("EXISTS", None)
            if self.uids_from(low) or "EXISTS" in client.wire.untagged_responses:
                return True  # it came while we were busy, and will not be told again
        with self._speaking() as client:
            # IMAPClient's own idle() takes news that come before the continuation for an error.
            tag = client.wire._command("IDLE")
            lines: list[bytes] = []
            while (line := client.wire._get_response()) is not None:
                lines.append(line)
                if client.wire.tagged_commands[tag]:
                    raise RejectedError("the server refuses to IDLE")
            news = any(map(tells_of_mail, lines))
            self._allowance.grant(seconds, text=_ANSWER_OCTETS)
            try:
                while not news:
                    line = client.wire._get_line()
                    if line.upper().startswith(b"* BYE"):
                        raise client.wire.abort(line[2:].decode("ascii", "replace"))
                    news = tells_of_mail(line)
            except TimeoutError:
                news = False
            self._allowance.grant(_COMMAND_SECONDS, text=_ANSWER_OCTETS)
            client._idle_tag = tag
            client.idle_done()
        return news

    # -- inside ---------------------------------------------------------------------------------------------------

    def _log_in(self) -> None:
        token = find_token(self.options)
        self._secrets += [token] if token else []
        try:
            with self._speaking() as client:
                log_in(client, self.options, token)
        except RejectedError as error:
            if error.code in AGAIN_LATER:
                raise
            raise PermanentError(str(error)) from None

    def _selected(self) -> View:
        if self.view is None:
            raise LostError(self._sentence("no folder is open"))
        return self.view

    def _require_writable(self) -> View:
        view = self._selected()
        if not view.writable:
            raise RejectedError(self._sentence(f"folder {view.folder} may only be read, so its mail stays as it is"))
        return view

    def _windows(self, low: int, view: View) -> list[list[bytes]]:
        """Sequence numbers to search in turn, where one answer could be too long for a line.

        The highest first: a mail that is removed meanwhile shifts the others down, into windows still to come.
        """
        if (view.uid_next and view.uid_next - low <= SEARCH_WINDOW) or view.exists <= SEARCH_WINDOW:
            return [[]]
        starts = range(1, view.exists + 1, SEARCH_WINDOW)
        spans = [(start, min(start + SEARCH_WINDOW - 1, view.exists)) for start in starts]
        return [[f"{start}:{end if end < view.exists else '*'}".encode()] for start, end in reversed(spans)]

    def _parts(
        self, uids: Sequence[int], name: str, query: str, expected: int, allowed: int, largest: int
    ) -> list[tuple[int, bytes]]:
        found: list[tuple[int, bytes]] = []
        for uid, items in self._fetch(uids, query, expected, allowed, largest):
            if (body := items.get(name.encode())) is None:
                continue
            if not isinstance(body, bytes):
                raise LostError(self._sentence("the server answered with something that is no mail"))
            found.append((uid, body))
        return found

    def _fetch(
        self, uids: Sequence[int], query: str, expected: int = 0, allowed: int = 65_536, largest: int = 4_096
    ) -> Iterator[tuple[int, dict[bytes, Any]]]:
        """Every FETCH answer by itself: IMAPClient would lay two mails of one UID over each other, and lose one."""
        wanted = set(uids)
        seconds = _COMMAND_SECONDS + max(expected, 2**20 if allowed > expected else 0) / _SLOWEST
        with self._speaking(seconds, literals=allowed, literal=largest):
            answers = read_fetch(self._uid("FETCH", uid_set(uids), query, keep=True))
        for items in answers:
            uid = items.get(b"UID")
            if isinstance(uid, int) and uid in wanted:
                yield uid, items

    def _uid(self, command: str, *arguments: str, keep: bool = False) -> list[Any]:
        with self._speaking(_CHANGE_SECONDS, keep=keep) as client:
            kind, data = client.wire.uid(command, *arguments)
            if kind != "OK":
                raise imaplib.IMAP4.error(f"{command} failed: {read_text(data)}")
            return list(data)

    def _transfer(self, uids: Sequence[int], target: str, moves: bool) -> None:
        name = '"' + encode_utf7(target).decode("ascii").replace("\\", "\\\\").replace('"', '\\"') + '"'
        if moves:
            self._uid("MOVE", uid_set(uids), name)
            return
        self._uid("COPY", uid_set(uids), name)
        self._uid("STORE", uid_set(uids), "+FLAGS.SILENT", r"(\Deleted)")
        self._uid("EXPUNGE", uid_set(uids))

    @contextlib.contextmanager
    def _speaking(
        self,
        seconds: float = _COMMAND_SECONDS,
        *,
        text: int = _ANSWER_OCTETS,
        literals: int = 65_536,
        literal: int = 65_536,
        keep: bool = False,
    ) -> Iterator[Any]:
        """One exchange within its allowance. Whatever goes wrong in it becomes one of our words."""
        if not keep:
            self._allowance.grant(seconds, text=text, literals=literals, literal=literal)
        try:
            yield self._client
        except (TemporaryError, PermanentError):
            raise
        except TooLargeLiteralError as error:
            raise TooLargeError(self._sentence(error), error.size) from None
        except (CapabilityError, LoginError) as error:
            raise RejectedError(self._sentence(error), response_code(error)) from None
        except (imaplib.IMAP4.abort, ProtocolError, TooMuchError) as error:
            raise LostError(self._sentence(error)) from None
        except imaplib.IMAP4.error as error:
            raise RejectedError(self._sentence(error), response_code(error)) from None
        except InterruptedReadError:
            raise LostError(self._sentence("we are stopping")) from None
        except OSError as error:
            raise LostError(self._sentence(error.strerror or error)) from None
        except (ValueError, TypeError, LookupError, AttributeError, AssertionError, RecursionError) as error:
            # imaplib and IMAPClient take it for granted that a server keeps to the grammar.
            sentence = f"the server's answer makes no sense ({type(error).__name__})"
            raise LostError(self._sentence(sentence)) from None

    def _sentence(self, error: object) -> str:
        """What went wrong, on one line, short, and without the secret a server may have quoted back."""
        text = " ".join("".join(char if char.isprintable() else " " for char in str(error)[:2_000]).split())
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return f"mailbox {self.options.account}: {text[:300] or 'no reason given'}"
