"""One walk through a mailbox: pages of mail after a cursor, in the order of arrival, whatever single mails do.

Mails are fetched in groups. Where a group fails, its mails are fetched one by one, and the one that cannot be had
becomes a hole: listed in the cursor, tried again by later polls, and after some tries shown to a person. Code after a
`yield` runs when everything before it is durable and the cursor is saved.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Final

from adapters.base import Page, Raw, TemporaryError
from adapters.email.imap_answers import Meta, View
from adapters.email.imap_cursor import MAX_HOLES, Cursor, FolderState, Hole
from adapters.email.imap_options import ImapOptions
from adapters.email.imap_session import (
    LostError,
    RejectedError,
    Session,
    TooLargeError,
)

log = logging.getLogger(__name__)

BATCH: Final = 100  # mails whose sizes are asked for at once
GROUP: Final = 20  # mails fetched at once, at most
GROUP_OCTETS: Final = 2 * 1024 * 1024
TELL_AFTER: Final = 5  # tries, then a person hears of a mail that cannot be fetched
_RECONNECTS: Final = 20  # in one walk; a server that hangs up more often is left in peace for a while
_TIDIED: Final = 500  # mails moved or flagged by one command
CONTENT_TYPE: Final = "message/rfc822"


class Line:
    """The session, opened when it is needed and opened again when it was lost."""

    def __init__(self, options: ImapOptions) -> None:
        self.options = options
        self.session: Session | None = None
        self._opened = 0

    def begin(self) -> None:
        """Before a walk: see that a session kept from the last one still stands."""
        self._opened = 0
        if self.session is not None:
            try:
                self.session.noop()
            except TemporaryError:
                self.drop()

    def open(self) -> Session:
        """The session. Raises what logging in raises, and `TemporaryError` when it was lost too often."""
        if self.session is None:
            if self._opened >= _RECONNECTS:
                raise TemporaryError(
                    f"mailbox {self.options.account}: the server hung up {self._opened} times in a row"
                )
            self._opened += 1
            self.session = Session(self.options)
        return self.session

    def select(self, folder: str, state: FolderState | None = None) -> View:
        """The folder, selected. Raises `TemporaryError` when it is no longer the one `state` knows."""
        session = self.open()
        if session.view is not None and session.view.folder == folder and state is not None:
            return session.view
        try:
            view = session.select(folder, writable=self.options.after != "keep")
        except LostError:
            self.drop()
            raise
        if state is not None and view.validity != state.validity:
            raise TemporaryError(f"mailbox {self.options.account}: {folder} was replaced while it was read")
        return view

    def drop(self) -> None:
        """Close the session."""
        session, self.session = self.session, None
        if session is not None:
            session.close()

    def interrupt(self) -> None:
        """Wake the thread that waits for the server; from any thread."""
        session = self.session
        if session is not None:
            session.interrupt()


class Walk:
    """One poll of one mailbox. `limit`: octets of the largest mail that is taken whole."""

    def __init__(self, line: Line, cursor: Cursor, limit: int, now: Callable[[], float]) -> None:
        self._line = line
        self._options = line.options
        self._cursor = cursor
        self._limit = limit
        self._now = now
        self._troubles: list[str] = []
        self._tidies = True  # until it fails; the next walk tries again
        self._came = False
        self._failed = ""  # why one of the new mails could not be had
        self._why = ""  # the latest reason of all
        self._tried: set[tuple[str, int]] = set()

    def pages(self) -> Generator[Page]:
        """All that is new, then what is owed. Raises `TemporaryError` and `PermanentError`; what was yielded stands."""
        self._line.begin()
        for folder in reversed(self._options.folders):  # the first one stays selected, for IDLE
            try:
                yield from self._folder(folder)
            except RejectedError as error:
                self._troubles.append(str(error))  # the other folders are read all the same
        if self._failed and not self._came:  # not one mail is the matter, but the mailbox
            self._troubles.append(self._failed)
        if self._troubles:
            raise TemporaryError("; ".join(self._troubles[:5]), retry_after=self._options.poll_seconds)

    def _folder(self, folder: str) -> Iterator[Page]:
        state = self._cursor.folder(folder)
        view = self._line.select(folder)
        self._compare(folder, state, view)
        if state.after:
            yield from self._tidied(folder, state)
        uids = self._guarded(lambda: self._new(state, view))
        for start in range(0, len(uids), BATCH):
            yield from self._batch(folder, state, uids[start : start + BATCH])
        yield from self._owed(folder, state)

    def _compare(self, folder: str, state: FolderState, view: View) -> None:
        """Whether UIDs still mean what they meant; if not, all is read again and what we had is a duplicate."""
        if state.validity == view.validity and not 0 < view.uid_next <= state.uid:
            return
        if state.validity:
            log.warning(
                "mailbox %s: %s was rebuilt (UIDVALIDITY %d, was %d), reading all of it again",
                self._options.account, folder, view.validity, state.validity,
            )  # fmt: skip
        state.restart(view.validity, view.uid_next)

    def _new(self, state: FolderState, view: View) -> list[int]:
        session = self._line.open()
        low, since = state.uid + 1, self._options.import_since
        if since is not None and not state.until:  # a server that does not tell UIDNEXT
            state.until = max(session.uids_from(1), default=0) + 1
        if since is None or low >= state.until:
            return session.uids_from(low)
        return session.uids_from(low, state.until, since) + session.uids_from(state.until)

    # -- fetching -------------------------------------------------------------------------------------------------

    def _batch(self, folder: str, state: FolderState, uids: Sequence[int]) -> Iterator[Page]:
        done = 0
        try:
            session = self._line.open()
            metas = session.metas(uids)
            for group in _groups(uids, metas, self._limit):
                arrivals = self._together(session, folder, state, group, metas)
                done += len(group)
                self._came = True
                state.uid = group[-1]
                yield from self._page(folder, state, arrivals)
                session = self._reselected(folder, state)
        except (LostError, RejectedError, _IncompleteError) as error:
            log.info("mailbox %s: %s, so mails are fetched one by one", self._options.account, error)
            if isinstance(error, LostError):
                self._line.drop()
        for uid in uids[done:]:
            arrivals = self._alone(folder, state, uid)
            self._came = self._came or bool(arrivals)
            self._failed = self._why if uid in state.holes else self._failed
            state.uid = uid
            yield from self._page(folder, state, arrivals)

    def _together(
        self, session: Session, folder: str, state: FolderState, group: Sequence[int], metas: dict[int, Meta]
    ) -> list[Raw]:
        """The mails of a group, or `_IncompleteError`."""
        if any(uid not in metas for uid in group):
            raise _IncompleteError("not every mail has a size")
        if len(group) == 1 and metas[group[0]].size > self._limit:
            return [self._header_only(session, folder, state, group[0], metas[group[0]])]
        found = session.bodies(group, sum(metas[uid].size for uid in group), self._limit)
        if {uid for uid, _ in found} != set(group):
            raise _IncompleteError("not every mail has a body")
        return [self._arrival(folder, state, uid, body, metas[uid]) for uid, body in sorted(found, key=_by_uid)]

    def _alone(self, folder: str, state: FolderState, uid: int) -> list[Raw]:
        """One mail; nothing when it is gone, or when it became a hole. Raises when the server is out of reach."""
        self._line.select(folder, state)
        session = self._line.open()
        try:
            metas = session.metas([uid])
            gone = uid not in metas and uid not in session.uids_from(uid, uid + 1)
            arrivals = [] if gone else self._one(session, folder, state, uid, metas.get(uid))
        except (LostError, RejectedError) as error:
            if isinstance(error, LostError):
                self._line.drop()
            return self._missed(folder, state, uid, str(error))
        state.holes.pop(uid, None)
        return arrivals

    def _one(self, session: Session, folder: str, state: FolderState, uid: int, meta: Meta | None) -> list[Raw]:
        if meta is None:
            raise RejectedError("the server lists it, and does not give its size")
        if meta.size > self._limit:
            return [self._header_only(session, folder, state, uid, meta)]
        try:
            bodies = session.bodies([uid], meta.size, self._limit)
        except TooLargeError as error:  # its size was a lie
            self._line.drop()
            self._line.select(folder, state)
            return [self._header_only(self._line.open(), folder, state, uid, Meta(error.size, meta.date))]
        if not bodies:
            raise RejectedError("the server gives no body for it")
        return [self._arrival(folder, state, uid, body, meta) for _, body in bodies]

    def _missed(self, folder: str, state: FolderState, uid: int, why: str) -> list[Raw]:
        """Note a hole. A person is told once: the mail's header, if that can be had, as a suspended message."""
        hole = state.holes.setdefault(uid, Hole())
        if len(state.holes) > MAX_HOLES:
            raise TemporaryError(f"mailbox {self._options.account}: more than {MAX_HOLES} mails cannot be fetched")
        hole.missed(self._now())
        self._why = why
        self._tried.add((folder, uid))
        if hole.tries == 1:
            log.warning("a mail could not be fetched and is tried again: %s, folder %s, UID %d", why, folder, uid)
        if hole.tries != TELL_AFTER:
            return []
        header = b""
        try:
            self._line.select(folder, state)
            header = self._line.open().header(uid)
        except RejectedError as error:
            log.info("its header is not to be had either: %s", error)
        except TemporaryError:
            self._line.drop()
        cause = f"it could not be fetched from {folder} of {self._options.account} (UID {uid}): {why}"
        return [self._arrival(folder, state, uid, header, Meta(0, None), held=cause)]

    def _header_only(self, session: Session, folder: str, state: FolderState, uid: int, meta: Meta) -> Raw:
        cause = (
            f"too large: {meta.size} octets, and {self._limit} are taken;"
            f" the mail is in {folder} of {self._options.account} (UID {uid})"
        )
        return self._arrival(folder, state, uid, session.header(uid), meta, held=cause)

    def _arrival(self, folder: str, state: FolderState, uid: int, body: bytes, meta: Meta, *, held: str = "") -> Raw:
        facts: dict[str, object] = {"source": "imap", "mailbox": f"{folder};UIDVALIDITY={state.validity};UID={uid}"}
        if meta.date is not None:
            facts["internal_date"] = meta.date.isoformat()
        if held:
            facts["held"] = held
        return Raw(body, CONTENT_TYPE, facts, came_at=meta.date)  # the server's word, also for hours we were away

    def _owed(self, folder: str, state: FolderState) -> Iterator[Page]:
        """Holes that are due."""
        due = [uid for uid, hole in state.holes.items() if hole.due <= self._now()]
        for uid in sorted(uid for uid in due if (folder, uid) not in self._tried):
            before = self._cursor.dump()
            arrivals = self._alone(folder, state, uid)
            if arrivals or self._cursor.dump() != before:
                yield from self._page(folder, state, arrivals)

    # -- after accept ---------------------------------------------------------------------------------------------

    def _page(self, folder: str, state: FolderState, arrivals: list[Raw]) -> Iterator[Page]:
        """Hand over what was fetched; once it is accepted, move or flag it, except what is only here in part."""
        whole = {id(raw): _uid_of(raw) for raw in arrivals if "held" not in raw.facts}
        if self._options.after != "keep":
            state.after.extend(whole.values())
        page = Page(arrivals, self._cursor.dump())
        yield page
        if self._options.after == "keep":
            return
        refused = {whole.get(id(raw)) for raw in page.refused}
        state.after = [uid for uid in state.after if uid not in refused]
        if state.after and self._tidies:
            yield from self._tidied(folder, state)

    def _tidied(self, folder: str, state: FolderState) -> Iterator[Page]:
        """Move or flag what was accepted. Where that fails it stays owed, and mail is taken in all the same."""
        if self._options.after == "keep":  # the operator changed their mind
            state.after = []
        try:
            while state.after:
                self._line.select(folder, state)
                uids = state.after[:_TIDIED]
                self._tidy(self._line.open(), uids)
                state.after = state.after[_TIDIED:]
        except (LostError, RejectedError) as error:
            if isinstance(error, LostError):
                self._line.drop()
            self._tidies = False
            self._troubles.append(str(error))
        yield Page([], self._cursor.dump())

    def _tidy(self, session: Session, uids: Sequence[int]) -> None:
        if self._options.target:
            session.move(uids, self._options.target)
        else:
            session.flag(uids, self._options.keyword)

    # -- the session ----------------------------------------------------------------------------------------------

    def _reselected(self, folder: str, state: FolderState) -> Session:
        self._line.select(folder, state)
        return self._line.open()

    def _guarded(self, ask: Callable[[], list[int]]) -> list[int]:
        try:
            return ask()
        except LostError:
            self._line.drop()
            raise


class _IncompleteError(Exception):
    """The server left out part of what was asked for."""


def _groups(uids: Sequence[int], metas: dict[int, Meta], limit: int) -> Iterator[list[int]]:
    """Runs of UIDs that are small enough together; a large mail comes alone."""
    group: list[int] = []
    octets = 0
    for uid in uids:
        size = metas[uid].size if uid in metas else 0
        if group and (len(group) >= GROUP or octets + size > GROUP_OCTETS or size > limit):
            yield group
            group, octets = [], 0
        group.append(uid)
        octets += size
        if octets > limit:
            yield group
            group, octets = [], 0
    if group:
        yield group


def _by_uid(found: tuple[int, bytes]) -> int:
    return found[0]


def _uid_of(raw: Raw) -> int:
    return int(str(raw.facts["mailbox"]).rpartition("=")[2])
