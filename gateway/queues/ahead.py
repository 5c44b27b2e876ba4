"""What the broker handed out ahead of its worker: in memory as far as that may go, beyond it in files without names.

RabbitMQ counts the messages a consumer may have unacked and not their octets (rabbitmq.com/docs/consumer-prefetch), and
to stop reading the connection would keep every other channel waiting behind the large ones. A file that never had a
name leaves nothing behind whoever is killed, and needs no fsync: the broker has all of it until it is acked.
"""

from __future__ import annotations

import logging
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Final

from gateway.durable import make_folder
from gateway.queues.base import Delivered

_log = logging.getLogger(__name__)

MOST_HELD: Final = 16 << 20  # octets of bodies in memory, of all lanes together; small messages never come near it
_SHEET: Final = 64 << 20  # octets after which a new file is begun, so that what was read makes room on the disk


class Sheet:
    """One such file: bodies are appended, and it is closed when each of them has been taken out again."""

    def __init__(self, folder: Path | None) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115  it outlives this call
        self._bodies = 0
        self.octets = 0

    def add(self, body: bytes) -> int:
        """Where it begins. Raises OSError, and has not taken it then."""
        written = 0
        self._bodies += 1
        try:
            while written < len(body):
                written += os.pwrite(self._file.fileno(), memoryview(body)[written:], self.octets + written)
        except OSError:
            self.remove()
            raise
        start, self.octets = self.octets, self.octets + len(body)
        return start

    def read(self, start: int, octets: int) -> bytes:
        """Raises OSError, when the disk has lost it too."""
        body = os.pread(self._file.fileno(), octets, start)
        if len(body) != octets:
            raise OSError(f"{octets:,} octets were written and {len(body):,} can be read")
        return body

    def remove(self) -> None:
        """One body less."""
        self._bodies -= 1
        if not self._bodies:
            self._file.close()

    @property
    def is_open(self) -> bool:
        """Whether anything is left in it; an empty one is gone."""
        return not self._file.closed


@dataclass(frozen=True, slots=True)
class Kept:
    """A delivery that waits for its worker, without its body when that is in a sheet."""

    delivery: Delivered
    octets: int
    sheet: Sheet | None = None
    start: int = 0


class Ahead:
    """All that waits in one consumer.

    `folder`: where those files are, on a disk with room. `most`: octets of bodies in memory.
    """

    def __init__(self, folder: Path | None = None, most: int = MOST_HELD) -> None:
        self._folder = folder
        self._most = most
        self._held = 0
        self._sheet: Sheet | None = None

    def keep(self, delivery: Delivered) -> Kept:
        """In memory after all when the disk will not take it: the broker counts on us."""
        octets = len(delivery.body)
        if self._held + octets > self._most:
            try:
                sheet = self._open_sheet()
                start = sheet.add(delivery.body)
            except OSError as error:
                _log.warning("a large message waits in memory, as no file takes it: %s", error.strerror)
            else:
                return Kept(replace(delivery, body=b""), octets, sheet, start)
        self._held += octets
        return Kept(delivery, octets)

    def bring_back(self, kept: Kept) -> Delivered:
        """For its worker; it waits no longer. Raises OSError when its body cannot be read any more."""
        try:
            if kept.sheet is None:
                return kept.delivery
            return replace(kept.delivery, body=kept.sheet.read(kept.start, kept.octets))
        finally:
            self.forget(kept)

    def forget(self, kept: Kept) -> None:
        """It waits no longer."""
        if kept.sheet is None:
            self._held -= kept.octets
        else:
            kept.sheet.remove()

    def _open_sheet(self) -> Sheet:
        if self._sheet is None or not self._sheet.is_open or self._sheet.octets >= _SHEET:
            if self._folder is not None:
                make_folder(self._folder)
            self._sheet = Sheet(self._folder)
        return self._sheet
