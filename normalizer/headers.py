"""Header fields of a mail: the block as bytes -> fields; encoded words, parameters and dates out of them.

Everything here is one pass over bounded input. RFC 5322 section 2.2 (fields), RFC 2047 (encoded words), RFC 2231
(parameters), and what software sends instead of them.
"""

from __future__ import annotations

import binascii
import re
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_tz
from typing import Final
from urllib.parse import unquote_to_bytes

from normalizer import charset

Fields = list[tuple[str, bytes]]

_FIELD: Final = re.compile(rb"([!-9;-~]{1,200})[ \t]*:")
_WHOLE_FIELD: Final = re.compile(rb"([!-9;-~]{1,200})[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)(?:\n|\Z)")
_LINES: Final = re.compile(rb"\r\n|\n|\r")
_BLANK: Final = re.compile(rb"\n[ \t]*+\r?\n")
# Below a line of spaces that is only a fold: the rest of its field, and a field that mails have.
_FIELD_BEHIND: Final = re.compile(
    rb"(?:\n[ \t]++[^\n]*+){0,20}+\n(?:from|to|cc|subject|date|message-id|reply-to|sender|references|in-reply-to|"
    rb"received|return-path|mime-version|content-(?:type|transfer-encoding)|dkim-signature|x-[a-z-]{1,60})[ \t]*+:",
    re.IGNORECASE,
)
_WORD: Final = re.compile(r"=\?([^?\s=]{1,60})\?([bBqQ])\?([^?]*+(?:\?(?!=)[^?]*+)*+)\?=")
_SPACES: Final = re.compile(r"_?\s++_?")
_NOT_BASE64: Final = re.compile(rb"[^A-Za-z0-9+/]")


def split_block(data: bytes, start: int, end: int, limit: int) -> tuple[Fields, int, bool]:
    """The fields of the header block at `start`, where its body begins, and whether a line in it was no field.

    A line that is neither field nor continuation ends the block (its body follows without a blank line), unless a
    field follows it directly. Looks at no more than `limit` bytes.
    """
    stop = min(end, start + limit)
    if data[start : start + 1] == b"\n" or data[start : start + 2] == b"\r\n":
        return [], start + (1 if data[start : start + 1] == b"\n" else 2), False
    blank = _BLANK.search(data, start, stop)
    while blank is not None and _FIELD_BEHIND.match(data, blank.end() - 1, stop) and _is_white(data, blank):
        blank = _BLANK.search(data, blank.end() - 1, stop)
    if blank is None:
        block_end, body = stop, stop
    else:
        block_end, body = blank.start(), blank.end()
        block_end -= data[block_end - 1 : block_end] == b"\r"
    fields: Fields = []
    position = start
    for match in _WHOLE_FIELD.finditer(data, start, block_end):
        if match.start() != position:
            break
        name, value = match.groups()
        fields.append((name.decode("ascii").lower(), value))
        position = match.end()
    if position < block_end:  # something in it is no field
        return _read_lines(data, start, block_end, body)
    return fields, body, False


def _is_white(data: bytes, blank: re.Match[bytes]) -> bool:
    """Whether a line at the end of a header holds spaces: then it may be a fold (RFC 5322 section 4.2) and no end."""
    return data[blank.start() + 1 : blank.start() + 2] in (b" ", b"\t")


def _read_lines(data: bytes, start: int, block_end: int, body: int) -> tuple[Fields, int, bool]:
    fields: Fields = []
    odd = False
    offset = start
    name, value = "", [b""]
    lines = data[start:block_end].split(b"\n")
    for number, line in enumerate(lines):
        if line[:1] in (b" ", b"\t"):
            value.append(line)
            odd = odd or not name
        elif match := _FIELD.match(line):
            if name:
                fields.append((name, b"\n".join(value)))
            name, value = match.group(1).decode("ascii").lower(), [line[match.end() :]]
        elif line.strip():
            odd = True
            if line.startswith((b"From ", b">From ")):
                pass  # an mbox line in the wrong place
            elif not _field_follows(lines, number):
                body = offset
                break
            elif name:
                value.append(line)  # a fold whose white space was lost
        offset += len(line) + 1
    if name:
        fields.append((name, b"\n".join(value)))
    return fields, body, odd


def _field_follows(lines: list[bytes], number: int) -> bool:
    """Whether the next line that is no continuation is a field: then the line in between is damage, not a body."""
    for line in lines[number + 1 : number + 5]:
        if line[:1] not in (b" ", b"\t"):
            return _FIELD.match(line) is not None
    return False


def unfold(value: bytes, hint: str | None = None) -> str:
    """A field's value as one line of text: folding removed, 8-bit bytes decoded, controls dropped."""
    value = value.strip(b" \t\r\n")
    if b"\n" in value or b"\r" in value:
        # One space for each fold: RFC 5322 keeps the white space that follows it, readers want words.
        value = b" ".join([line.strip(b" \t") for line in _LINES.split(value)])
    text = (value.decode("ascii") if value.isascii() else charset.decode_header_bytes(value, hint)).strip()
    return text if text.isprintable() else clean_line(text)


def clean_line(text: str) -> str:
    """One line without control characters; tabs and line ends become spaces (RFC 2047 can smuggle CRLF and NUL)."""
    return text.translate(_CONTROLS)


# C0, C1 (a terminal obeys 0x9b), line separators, and the marks that reverse what is read next to them.
_CONTROLS: Final = {
    **dict.fromkeys((*range(32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A))),
    **dict.fromkeys((9, 10, 13, 0x85, 0x2028, 0x2029), " "),
}


def decode_words(text: str) -> str:
    """Text with its encoded words decoded (RFC 2047), in the broken forms too: split characters, spaces, no padding.

    Neighbouring words in the same charset are joined before decoding, since senders cut in the middle of a character.
    """
    if "=?" not in text:
        return text
    out: list[str] = []
    pending: bytearray = bytearray()
    pending_charset = ""
    position = 0
    after_word = False
    for match in _WORD.finditer(text):
        label, encoding, payload = match.groups()
        label = label.partition("*")[0].lower()  # RFC 2231 section 5: a language suffix
        gap = text[position : match.start()]
        joined = after_word and not gap.strip()
        if not (joined and label == pending_charset):
            out.append(charset.decode(bytes(pending), pending_charset)[0] if pending else "")
            pending = bytearray()
            if not joined:
                out.append(gap + " " if gap.endswith("]") else gap)  # a spam tag glued before the word
        pending += _decode_payload(encoding, payload)
        pending_charset = label
        position, after_word = match.end(), True
    out.append(charset.decode(bytes(pending), pending_charset)[0] if pending else "")
    out.append(text[position:])
    joined_text = "".join(out)
    return joined_text if joined_text.isprintable() else clean_line(joined_text)


def count_words(data: bytes) -> int:
    """An upper bound of the encoded words in raw header bytes."""
    return data.count(b"=?")


_IS_Q: Final = re.compile(r"[^=]*+(?:=[0-9A-F]{2}[^=]*+)++\Z")  # it says B


def _decode_payload(encoding: str, payload: str) -> bytes:
    if encoding in "bB" and not _IS_Q.match(payload):
        return decode_base64(payload.encode("ascii", "ignore"))
    return binascii.a2b_qp(_SPACES.sub("_", payload).encode("utf-8"), header=True)


def decode_base64(data: bytes, start: int = 0, end: int | None = None) -> bytes:
    """Base64 read leniently (RFC 2045 section 6.8): noise skipped, padding repaired, several padded runs joined."""
    end = len(data) if end is None else end
    padding = data.find(b"=", start, end)
    if padding < 0 or not data[padding:end].strip(b"=\r\n \t"):
        try:
            return binascii.a2b_base64(memoryview(data)[start:end])  # as it should be: no copy of 25 MB is made
        except binascii.Error:
            pass
    core = data[start:end].rstrip(b"=\r\n \t")
    if b"=" in core:
        first, *others = _split_runs(core)
        # Only whole quadruples are another run; anything else behind the padding is a remark.
        return decode_base64(first) + b"".join(
            decode_base64(run) for run in others if len(b"".join(run.split())) % 4 == 0
        )
    try:
        return binascii.a2b_base64(core + b"==")
    except binascii.Error:
        clean = _NOT_BASE64.sub(b"", core)
        # One character over a multiple of four carries no whole byte.
        return binascii.a2b_base64(clean[: len(clean) - (len(clean) % 4 == 1)] + b"==")


def _split_runs(core: bytes) -> list[bytes]:
    return re.split(rb"=+", core, maxsplit=10_000)[:10_000]


# A bare value also ends where the next parameter starts without its semicolon.
_PARAMETER: Final = re.compile(
    r'[;\s]*+([^=;\s"]{1,100})\s*+=\s*+(?:"((?:[^"\\]++|\\.)*+)"?|((?:(?!\s{1,9}[\w*-]{1,40}=["\w%])[^;])*+))',
    re.DOTALL,
)
_NEXT_PARAMETER: Final = re.compile(r"\s{1,9}[\w*-]{1,40}=")
_COMMENT: Final = re.compile(r"\([^()]*+\)")
_QUOTED_PAIR: Final = re.compile(r"\\(.)", re.DOTALL)


def parameters(value: str, limit: int = 100) -> tuple[str, dict[str, str], bool]:
    """`text/plain; charset=x` -> ("text/plain", {"charset": "x"}, a parameter was given twice). RFC 2045, 2231.

    At most `limit` parameters are read.
    """
    main, semicolon, rest = value.partition(";")
    if (missing := _NEXT_PARAMETER.search(main)) is not None:
        main, rest = main[: missing.start()], value[missing.start() :]
    elif not semicolon:
        return _media_type(main), {}, False
    main = _media_type(main)
    plain: dict[str, str] = {}
    extended: dict[str, list[tuple[int, bool, str]]] = {}
    repeated = False
    position, count = 0, 0
    while position < len(rest) and count < limit:
        match = _PARAMETER.match(rest, position)
        if match is None:
            following = rest.find(";", position)
            if following < 0:
                break
            position = following + 1
            continue
        position = match.end()
        count += 1
        name, quoted, bare = match.groups()
        name = name.lower()
        text = _unquote(quoted) if quoted is not None else _drop_comment(bare).strip()
        if quoted is None and name in ("name", "filename") and not bare.rstrip().endswith(")"):
            text = bare.strip()  # `my file (1).pdf` without its quotes
        if "*" in name:
            base, section, encoded = _section(name)
            extended.setdefault(base, []).append((section, encoded, text))
        elif name in plain:
            repeated = True
        else:
            plain[name] = decode_words(text)
    for base, sections in extended.items():
        plain[base] = _join_sections(sections)
    return main, plain, repeated


_WINDOWS_PATH: Final = re.compile(r"[A-Za-z]:\\|\\\\")


def _unquote(text: str) -> str:
    """Quoted pairs undone, except in a Windows path that nobody quoted."""
    return text if "\\" not in text or _WINDOWS_PATH.match(text) else _QUOTED_PAIR.sub(r"\1", text)


def _media_type(text: str) -> str:
    if "(" in text:
        text = drop_comments(text)
    return "".join(text.split()).lower()


def drop_comments(text: str) -> str:
    """Text without comments in parentheses, four levels deep (RFC 5322 section 3.2.2)."""
    for _ in range(4):
        if "(" not in text:
            break
        text = _COMMENT.sub(" ", text)
    return text


def _drop_comment(text: str) -> str:
    return text.partition("(")[0] if "(" in text and not text.lstrip().startswith("(") else text


def _section(name: str) -> tuple[str, int, bool]:
    """`filename*1*` -> ("filename", 1, True): RFC 2231 sections 3 and 4."""
    base, _, tail = name.partition("*")
    encoded = tail.endswith("*") or tail == ""
    digits = tail.rstrip("*")
    return base, int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 6 else 0, encoded


def _join_sections(sections: list[tuple[int, bool, str]]) -> str:
    sections.sort(key=lambda item: item[0])
    label = ""
    data = bytearray()
    for index, (_, encoded, text) in enumerate(sections):
        if encoded and index == 0 and text.count("'") >= 2:
            label, _, rest = text.split("'", 2)
            data += unquote_to_bytes(rest)
        elif encoded and label and text.lower().startswith(f"{label.lower()}'"):
            data += unquote_to_bytes(text[len(label) + 1 :].removeprefix("'"))  # some name the charset every time
        else:
            data += unquote_to_bytes(text) if encoded else text.encode("utf-8", "replace")
    decoded = charset.decode(bytes(data), label or None)[0]
    return decode_words(clean_line(decoded))


_COLON_ZONE: Final = re.compile(r"(?<=[\d ])([+-]\d\d):(\d\d)\s{0,9}\Z")


# As RFC 5322 section 3.3 wants it; `email.utils` reads anything, in five times the time.
_PLAIN_DATE: Final = re.compile(
    r"(?:[A-Z][a-z]{2}, )?(\d\d?) ([A-Z][a-z]{2}) ([12]\d{3}) (\d\d:\d\d:[0-5]\d) ([+-](?:0\d|1[0-4])[0-5]\d)"
    r"(?: \([A-Z]{1,5}\))?\Z",
    re.ASCII,
)
_MONTHS: Final = {
    "Jan": "01", "Feb": "02", "Mar": "03", "Apr": "04", "May": "05", "Jun": "06",
    "Jul": "07", "Aug": "08", "Sep": "09", "Oct": "10", "Nov": "11", "Dec": "12",
}  # fmt: skip


def parse_date(value: str) -> datetime | None:
    """The moment a Date field names, or None. Impossible dates are None; an unknown zone is UTC (RFC 5322 4.3)."""
    plain = _PLAIN_DATE.match(value)
    try:
        if plain is not None and plain[2] in _MONTHS:
            return datetime.fromisoformat(f"{plain[3]}-{_MONTHS[plain[2]]}-{plain[1]:0>2}T{plain[4]}{plain[5]}")
        text = _COLON_ZONE.sub(r"\1\2", drop_comments(value[:200]))
        parsed = parsedate_tz(text)
        if parsed is None:
            found = datetime.fromisoformat(text.strip().replace(" +", "+").replace(" -", "-"))
            return found if found.tzinfo else found.replace(tzinfo=UTC)
        offset = parsed[9] or 0
        if abs(offset) >= 86_400:
            offset = 0
        year, month, day, hour, minute, second = parsed[:6]
        if 100 <= year < 200:
            year += 1900  # years since 1900, as C counts them
        return datetime(year, month, day, hour, minute, min(second, 59), tzinfo=timezone(timedelta(seconds=offset)))
    except (ValueError, OverflowError, IndexError, TypeError, AttributeError):
        return None
