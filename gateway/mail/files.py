"""Mail in files and folders, one message after the other: .eml, mbox, Maildir, JSON lines, standard input.

Nothing is loaded whole except the message at hand. What cannot be taken is a `Found` with its reason, never a silence;
only hidden files and the lock and index files beside mailboxes are passed over without a word.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Final, cast

from gateway.mail.dates import file_date
from gateway.mail.found import MAX_MESSAGE, Found, too_large
from gateway.mail.jsonlines import read_json_lines
from gateway.mail.mbox import read_mbox

STDIN: Final = "-"
_MAIL_SUFFIXES = frozenset({".eml", ".mail", ".raw", ".emlx"})
_MBOX_SUFFIXES = frozenset({".mbox", ".mbx"})
_JSON_SUFFIXES = frozenset({".jsonl", ".ndjson"})
_INDEX_SUFFIXES = frozenset({".msf", ".lock", ".dat"})  # Thunderbird's and others', beside every mailbox
_HEADER = re.compile(rb"(?:\xef\xbb\xbf)?(?:\r?\n)?[!-9;-~]{1,76}[ \t]*:|From ")  # RFC 5322 2.2, or mbox
_PEEK = 512
_REFUSED: Final = (
    (
        bytes.fromhex("d0cf11e0a1b11ae1"),
        "is an Outlook .msg file; save the mail as .eml, or forward it as attachment",
    ),
    (b"!BDN", "is an Outlook .pst or .ost archive; export it as .eml or mbox first"),
    (b"PK\x03\x04", "is a zip archive; unpack it first"),
    (b"\x1f\x8b", "is a gzip archive; unpack it first"),
)


def read_all(paths: Sequence[str]) -> Iterator[Found]:
    """Every message of these paths, in order; `-` is standard input. Never raises: errors are `Found` too."""
    for path in paths:
        try:
            yield from read_stdin(sys.stdin.buffer) if path == STDIN else read_path(Path(path))
        except OSError as error:
            yield Found(path, error=error.strerror or str(error))


def read_path(path: Path) -> Iterator[Found]:
    """The messages of one file or folder. Raises OSError when it cannot be opened."""
    if path.is_dir():
        yield from _read_folder(path)
    else:
        yield from _read_file(path)


def read_stdin(stream: IO[bytes]) -> Iterator[Found]:
    """One mail, an mbox or JSON lines, told apart by the first bytes."""
    yield from _read_stream(cast(io.BufferedReader, stream), STDIN, None)


def _read_folder(folder: Path) -> Iterator[Found]:
    if is_maildir(folder):
        for child in sorted((*_files_in(folder / "new"), *_files_in(folder / "cur")), key=lambda file: file.name):
            yield from (_delivered(found, child) for found in _careful(child))
    for child in sorted(folder.iterdir()):
        if child.is_symlink() and child.is_dir():
            continue  # a folder that leads out of, or back into, this one
        if child.is_dir():
            # Maildir++ keeps subfolders as .Name
            if child.name not in ("cur", "new", "tmp") and (not child.name.startswith(".") or is_maildir(child)):
                yield from _careful(child)
        elif _wanted(child):
            yield from _careful(child, only_mail=True)


def _delivered(found: Found, path: Path) -> Found:
    return replace(found, stored_at=file_date(path, maildir=True))


def _careful(path: Path, *, only_mail: bool = False) -> Iterator[Found]:
    """One unreadable file must not end the folder."""
    try:
        if only_mail and not looks_like_mail(path):
            yield Found(str(path), error="does not look like mail; name it on the command line to take it all the same")
        else:
            yield from read_path(path)
    except OSError as error:
        yield Found(str(path), error=error.strerror or str(error))


def is_maildir(path: Path) -> bool:
    """`new` and `cur` make a Maildir."""
    return (path / "cur").is_dir() and (path / "new").is_dir()


def _files_in(folder: Path) -> Iterator[Path]:
    return (child for child in folder.iterdir() if not child.name.startswith(".") and child.is_file())


def _wanted(path: Path) -> bool:
    name = path.name.lower()
    return (
        path.is_file()
        and not name.startswith((".", "dovecot", "maildir"))
        and path.suffix.lower() not in _INDEX_SUFFIXES
    )


def looks_like_mail(path: Path) -> bool:
    """Inside a folder a file is taken by its suffix, or because it begins with a header line."""
    suffix = path.suffix.lower()
    if suffix in _MAIL_SUFFIXES | _MBOX_SUFFIXES | _JSON_SUFFIXES or suffix == ".msg":
        return True
    with path.open("rb") as file:
        return bool(_HEADER.match(file.read(_PEEK)))


def _read_file(path: Path) -> Iterator[Found]:
    with path.open("rb") as file:
        if path.suffix.lower() == ".emlx":
            yield replace(_read_emlx(file, str(path)), stored_at=file_date(path, maildir=False))
        else:
            yield from _read_stream(file, str(path), path.parent, path.suffix.lower())


def _read_stream(file: io.BufferedReader, name: str, folder: Path | None, suffix: str = "") -> Iterator[Found]:
    head = file.peek(_PEEK)[:_PEEK]
    for magic, sentence in _REFUSED:
        if head.startswith(magic):
            yield Found(name, error=sentence)
            return
    if suffix in _JSON_SUFFIXES or (not suffix and head.lstrip().startswith(b"{")):
        yield from read_json_lines(file, name, folder)
    elif suffix in _MBOX_SUFFIXES or (suffix not in _MAIL_SUFFIXES and head.startswith(b"From ")):
        yield from read_mbox(file, name)
    else:
        stored_at = None if folder is None else file_date(Path(name), maildir=False)
        yield replace(_read_single(file, name), stored_at=stored_at, archived=folder is not None)


def _read_single(file: IO[bytes], name: str) -> Found:
    body = file.read(MAX_MESSAGE + 1)
    if not body.strip():
        return Found(name, error="is empty")
    return too_large(name) if len(body) > MAX_MESSAGE else Found(name, body)


def _read_emlx(file: IO[bytes], name: str) -> Found:
    """Apple Mail: a line with the mail's length, the mail, and a property list with flags."""
    first = file.readline(64).strip()
    if not first.isdigit():
        return Found(name, error="does not begin with the length of its mail, as .emlx files do")
    length = int(first)
    return too_large(name) if length > MAX_MESSAGE else Found(name, file.read(length))
