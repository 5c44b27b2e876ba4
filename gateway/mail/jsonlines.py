"""Mail as JSON lines: one object a line, blank lines ignored.

A message is given in one of these ways:

    {"raw_base64": "RnJvbTog..."}            the whole mail; `raw` takes base64 too, or the mail itself as text
    {"raw_path": "mails/1042.eml"}           a file beside or below the JSON-lines file
    {"from": "Erika <erika@example.com>", "to": "help@desk.example", "subject": "Order 1042", "text": "Where is it?"}
    {"body": {...}, "inbox": "contact"}      a JSON document for an inbox whose channel reads JSON

Fields of the third form: `from` (required), `to`, `cc` (a string or a list), `subject`, `text`, `html`, `date`
(ISO 8601 or RFC 5322), `message_id`, `in_reply_to`, `references` (a string or a list). A mail is written from them, so
that it takes the same way as any other; the same line gives the same bytes. With each form may stand `inbox` (else the
one named on the command line), `content_type`, and `facts` (for mail `mail_from`, `rcpt_tos`). Others are ignored.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from email import policy
from email.header import Header
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.utils import format_datetime, formataddr, getaddresses, parsedate_to_datetime
from pathlib import Path
from typing import IO, Any

from gateway.mail.found import MAIL, MAX_MESSAGE, Found, too_large

_LINE = MAX_MESSAGE * 3 // 2  # base64 of the largest message, and room for the rest
_SINGLE = {"message_id": "Message-ID", "in_reply_to": "In-Reply-To", "references": "References"}


class _LineError(ValueError):
    """This line holds no message; the sentence says why."""


def read_json_lines(file: IO[bytes], name: str, folder: Path | None) -> Iterator[Found]:
    """One `Found` a line. `raw_path` is looked up below `folder`; without one (standard input) it is refused."""
    number = 0
    while line := file.readline(_LINE):
        number += 1
        origin = f"{name}:{number}"
        if len(line) >= _LINE and not line.endswith(b"\n"):
            yield too_large(origin)
            while line and not line.endswith(b"\n"):
                line = file.readline(_LINE)
        elif line.strip():
            yield _read_line(line, origin, folder)


def _read_line(line: bytes, origin: str, folder: Path | None) -> Found:
    try:
        record = _object(json.loads(line), "a line")
        facts = _object(record.get("facts") or {}, "`facts`")
        body, content_type = _read_body(record, folder)
    except _LineError as error:
        return Found(origin, error=str(error))
    except (ValueError, RecursionError) as error:
        return Found(origin, error=f"not JSON: {error}")
    if len(body) > MAX_MESSAGE:
        return too_large(origin)
    return Found(origin, body, str(record.get("content_type") or content_type), str(record.get("inbox") or ""), facts)


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _LineError(f"{what} has to be a JSON object")
    return value


def _read_body(record: Mapping[str, Any], folder: Path | None) -> tuple[bytes, str]:
    if "raw_base64" in record:
        return _decode(record["raw_base64"]), MAIL
    if "raw" in record:
        raw = record["raw"]
        # No base64 contains a colon, and no mail is without one.
        return (raw.encode("utf-8", "surrogateescape") if isinstance(raw, str) and ":" in raw else _decode(raw)), MAIL
    if "raw_path" in record:
        return _read_file(record["raw_path"], folder), MAIL
    if "from" in record:
        return write_mail(record), MAIL
    if "body" in record:
        return json.dumps(record["body"], ensure_ascii=False).encode("utf-8", "surrogatepass"), "application/json"
    raise _LineError(
        "give the message as `raw`, `raw_base64`, `raw_path`, `body`, or as `from`, `to`, `subject`, `text`"
    )


def _decode(value: Any) -> bytes:
    if not isinstance(value, str):
        raise _LineError("the raw message has to be a string")
    try:
        return base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError):
        raise _LineError("the raw message is neither base64 nor a mail") from None


def _read_file(value: Any, folder: Path | None) -> bytes:
    if folder is None or not isinstance(value, str):
        raise _LineError("`raw_path` names a file beside the JSON-lines file")
    path = (folder / value).resolve()
    # The lines may come from elsewhere: they must not pick files of this machine.
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise _LineError(f"raw_path {value!r} is not a file below {folder}")
    if path.stat().st_size > MAX_MESSAGE:
        raise _LineError(f"raw_path {value!r} is larger than {MAX_MESSAGE // 2**20} MiB")
    return path.read_bytes()


def write_mail(record: Mapping[str, Any]) -> bytes:
    """A mail from its fields, always the same bytes for the same fields. Raises ValueError with a sentence."""
    message = _write_body(_text(record, "text"), _text(record, "html"))
    message.policy = policy.compat32.clone(linesep="\r\n")
    for name in ("from", "to", "cc"):
        if addresses := _addresses(record.get(name), name):
            message[name.capitalize()] = addresses
    if "From" not in message:
        raise _LineError("`from` is empty")
    if subject := _text(record, "subject"):
        message["Subject"] = Header(
            " ".join(subject.split()), "utf-8" if not subject.isascii() else "us-ascii"
        ).encode()
    if date := _text(record, "date"):
        message["Date"] = _date(date)
    for name, header in _SINGLE.items():
        if ids := _ids(record.get(name), name):
            message[header] = ids
    return message.as_bytes()


def _write_body(text: str, html: str) -> MIMEText | MIMEMultipart:
    plain = MIMEText(text, "plain", "utf-8")
    if not html:
        return plain
    both = MIMEMultipart("alternative", boundary="=_frontdesk")  # a fixed one: the same line, the same bytes
    both.attach(plain)
    both.attach(MIMEText(html, "html", "utf-8"))
    return both


def _text(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _LineError(f"`{name}` has to be a string")
    return value.encode("utf-8", "replace").decode()


def _strings(value: Any, name: str) -> list[str]:
    items = [] if value is None else value if isinstance(value, list) else [value]
    if not all(isinstance(item, str) for item in items):
        raise _LineError(f"`{name}` has to be a string or a list of strings")
    if sum(map(len, items)) > 10_000:
        raise _LineError(f"`{name}` is longer than 10,000 characters")
    return [" ".join(item.encode("utf-8", "replace").decode().split()) for item in items]


def _addresses(value: Any, name: str) -> str:
    pairs = getaddresses(_strings(value, name))
    return ", ".join(
        formataddr((shown, address), "utf-8") if address.isascii() else address for shown, address in pairs
    )


def _ids(value: Any, name: str) -> str:
    words = " ".join(_strings(value, name)).split()
    return " ".join(word if word.startswith("<") else f"<{word}>" for word in words)


def _date(value: str) -> str:
    try:
        instant = datetime.fromisoformat(value)
    except ValueError:
        try:
            instant = parsedate_to_datetime(value)
        except ValueError:
            raise _LineError(f"`date` {value[:40]!r} is neither ISO 8601 nor RFC 5322") from None
    return format_datetime(instant)
