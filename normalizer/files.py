"""Attached files: a name that is safe to show, what the bytes look like, size and hash."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Final

import filetype

from normalizer import headers
from normalizer.message import Attachment

_BAD_IN_NAMES: Final = str.maketrans(dict.fromkeys('\\/:*?"<>|', "_"))
_EXTENSIONS: Final[dict[str, str]] = {
    "message/rfc822": "eml", "text/plain": "txt", "text/html": "html", "text/calendar": "ics", "text/csv": "csv",
    "application/pdf": "pdf", "image/jpeg": "jpg", "image/png": "png", "image/gif": "gif", "application/ms-tnef": "dat",
    "image/jpg": "jpg", "image/heic": "heic", "image/webp": "webp", "image/svg+xml": "svg", "image/tiff": "tif",
    "video/mp4": "mp4", "video/quicktime": "mov", "audio/mpeg": "mp3", "audio/wav": "wav", "audio/x-wav": "wav",
    "application/zip": "zip", "application/msword": "doc", "application/vnd.ms-excel": "xls", "text/rtf": "rtf",
    "application/rtf": "rtf", "application/json": "json", "application/xml": "xml", "text/xml": "xml",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
    "application/pgp-signature": "asc", "application/pkcs7-signature": "p7s", "message/delivery-status": "txt",
}  # fmt: skip


# RFC 2046, RFC 6532, and the name that news had.
MAIL_TYPES: Final = frozenset({"message/rfc822", "message/global", "message/news"})


def is_mail(kind: str, filename: str, data: bytes) -> bool:
    """Whether a file is a mail: by its type, or by its name and a header that says who wrote it."""
    if kind in MAIL_TYPES:
        return True
    if kind != "application/octet-stream" or not filename.lower().endswith(".eml"):
        return False
    return any(name == "from" for name, _ in headers.split_block(data, 0, min(len(data), 65_536), 65_536)[0])


def safe_filename(name: str) -> str:
    """A name to show: no path, control, format or direction character, at most 255 bytes of UTF-8. Never for a disk."""
    name = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    name = "".join(char for char in name if unicodedata.category(char) not in ("Cc", "Cf", "Co", "Cs", "Zl", "Zp"))
    name = " ".join(name.translate(_BAD_IN_NAMES).split()).strip(". ")
    encoded = name.encode("utf-8", "replace")
    if len(encoded) <= 255:
        return name
    stem, dot, extension = name.rpartition(".")
    tail = f".{extension}" if dot and len(extension) <= 10 else ""
    room = 255 - len(tail.encode())
    return (stem if tail else name).encode("utf-8", "replace")[:room].decode("utf-8", "ignore") + tail


def attachment(filename: str, kind: str, data: bytes, content_id: str, number: int, *, inline: bool) -> Attachment:
    """The attachment; `number` names it when its sender did not."""
    name = safe_filename(filename)
    if not name and kind in MAIL_TYPES:
        name = safe_filename(_subject_of(data)) or "message"
        name = f"{name[:100]}.eml"
    if not name:
        name = f"attachment-{number}.{_EXTENSIONS.get(kind, 'bin')}"
    return Attachment.model_construct(
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        content=data,
        blob=None,
        filename=name,
        content_type=kind[:200] if kind.isascii() and kind.isprintable() else "application/octet-stream",
        sniffed_type=sniff(data),
        content_id=content_id.replace("\x00", "")[:300],
        inline=inline,
        source_url="",
    )


def _subject_of(data: bytes) -> str:
    fields, _, _ = headers.split_block(data, 0, min(len(data), 16_384), 16_384)
    for name, value in fields:
        if name == "subject":
            return headers.decode_words(headers.unfold(value[:1_000]))
    return ""


_MAGIC: Final[tuple[tuple[bytes, str], ...]] = (
    (b"MZ", "application/vnd.microsoft.portable-executable"),
    (b"\x7fELF", "application/x-elf"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    (b"L\x00\x00\x00\x01\x14\x02\x00", "application/x-ms-shortcut"),
    (b"\x78\x9f\x3e\x22", "application/ms-tnef"),
    (b"#!AMR", "audio/amr"),
    (b"#!", "text/x-script"),
    (b"%PDF-", "application/pdf"),
    (b"{\\rtf", "text/rtf"),
    (b"BEGIN:VCALENDAR", "text/calendar"),
    (b"BEGIN:VCARD", "text/vcard"),
)
_MARKUP: Final = re.compile(
    rb"<(?:!doctype html|html|head|body|script|iframe|svg|meta|img|a |div|table|\?xml|!--)", re.IGNORECASE
)


def sniff(data: bytes) -> str:
    """What the bytes look like, markup and programs first since those are dangerous to show; empty when unknown."""
    head = data[:8_192]
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    markup_at = _MARKUP.search(head[:1_024])
    if markup_at is not None and (not head[: markup_at.start()].strip(b"\xef\xbb\xbf \t\r\n") or _is_texty(head)):
        return "image/svg+xml" if b"<svg" in head.lower() and b"<html" not in head.lower() else "text/html"
    guess = filetype.guess_mime(head)
    return str(guess) if guess else ""


def _is_texty(head: bytes) -> bool:
    return b"\x00" not in head
