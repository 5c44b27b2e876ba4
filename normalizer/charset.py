"""Bytes and the charset somebody claims for them -> text, and whether the text is damaged.

Mail names charsets it does not use. The order is: what was declared (through an alias map to the superset that real
software writes), UTF-8 when the bytes are valid UTF-8, what the bytes look like (uchardet), and Windows-1252, which
gives every byte some character. Only codecs in the allowlist are ever reached, so that `charset=utf-7`,
`unicode_escape`, `zlib` or `idna` in a stranger's header are words and nothing more.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

import cchardet

from normalizer import iso2022_jp

# Windows and web practice (WHATWG Encoding Standard, section 4.2): the label names the superset that is really meant.
_MEANT: Final[dict[str, str]] = {
    "us-ascii": "ascii us usascii ansi_x3.4_1968 iso646us 7bit 8bit ansi",
    "utf-8": "utf8 utf_8 unicode11utf8 unicode20utf8 xunicode20utf8 utf8mb4 cp65001",
    "cp1252": "iso88591 latin1 l1 iso8859 88591 cp819 windows1252 xansi xcp1252",
    "gb18030": "gb2312 gbk xgbk cp936 gb18030 gb2312_80 gb_2312_80 euccn cngb",
    "cp949": "ksc56011987 ksc5601 ks_c_5601 euckr uhc cp949 windows949 korean",
    "cp932": "shiftjis sjis xsjis mskanji cp932 windows31j xmscp932 shift_jisx0213",
    "iso8859_8": "iso88598i iso88598e logical visual hebrew iso88598",
    "cp1255": "windows1255 cp1255",
    "cp1254": "iso88599 latin5 windows1254 cp1254",
    "cp874": "tis620 iso885911 windows874 cp874",
    "big5hkscs": "big5 xxbig5 cnbig5 big5hkscs cp950",
    "mac_roman": "macintosh mac macroman xmacroman",
    "mac_cyrillic": "xmaccyrillic maccyrillic xmacukrainian",
    "iso2022_jp_ext": "iso2022jp csiso2022jp",
    "koi8_r": "koi8 xkoi8r",
    "koi8_u": "koi8u",
    "utf-16": "utf16 unicode ucs2",
    "euc_jp": "xeucjp eucjp",
    "johab": "xjohab",
    "hz": "hzgb2312",
}
_ALIASES: Final = {label: codec for codec, labels in _MEANT.items() for label in labels.split()}

_CODECS: Final = (
    "us-ascii utf-8 utf-16 utf-16-le utf-16-be utf-32 utf-32-le utf-32-be gb18030 big5 big5hkscs hz cp932 cp949 "
    "johab euc_jp iso2022_jp iso2022_jp_1 iso2022_jp_2 iso2022_jp_3 iso2022_jp_ext iso2022_kr koi8_r koi8_u "
    "koi8_t kz1048 iso8859_2 iso8859_3 iso8859_4 iso8859_5 iso8859_6 iso8859_7 iso8859_8 iso8859_10 iso8859_13 "
    "iso8859_14 iso8859_15 iso8859_16 cp437 cp720 cp737 cp775 cp850 cp852 cp855 cp857 cp858 cp860 cp861 cp862 "
    "cp863 cp864 cp865 cp866 cp869 cp874 cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258 mac_roman "
    "mac_cyrillic mac_greek mac_turkish mac_latin2 mac_iceland ptcp154"
)
_ALLOWED: Final = frozenset(codecs.lookup(name).name for name in _CODECS.split())

_LABEL: Final = re.compile(r"[A-Za-z0-9_.:+-]{1,40}")
_DETECT_BYTES: Final = 65_536
_KNOWN: dict[str, str | None] = {}  # label -> codec, for labels seen; bounded below


def codec_name(label: str | None) -> str | None:
    """The codec that a charset label means, or None when it is unknown or not allowed."""
    if not label:
        return None
    if label in _KNOWN:
        return _KNOWN[label]
    found = _resolve(label)
    if len(_KNOWN) < 512:
        _KNOWN[label] = found
    return found


def decode(data: bytes, declared: str | None = None) -> tuple[str, bool]:
    """Text of `data`, and True when it cannot be fully trusted: replaced characters, or a declaration that was wrong.

    A byte order mark is honoured and removed. Never raises.
    """
    if data[:3] == codecs.BOM_UTF8:
        data, declared = data[3:], "utf-8"
    elif data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        declared = "utf-16"
    codec = codec_name(declared)
    if codec == "utf-16" and data[:2] not in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        codec = _without_mark(data)
    if codec is None and declared and "utf-7" in declared.lower().replace("_", "-"):
        return data.decode("cp1252", "replace"), True  # never decoded: its plain bytes hide markup (A52)
    if codec not in _SEVEN_BIT_STATEFUL and data.isascii() and not (codec in _WIDE and b"\x00" in data):
        return data.decode("ascii"), False
    if codec not in (None, "ascii"):
        decoded = _strict(data, codec) if codec != "cp1252" else _western(data)
        if decoded is None and codec == "iso2022_jp_ext":
            decoded = iso2022_jp.decode(data)
        if decoded is not None:
            return decoded, False
    decoded = _strict(data, "utf-8")
    if decoded is not None:
        return decoded, codec not in (None, "ascii", "cp1252")
    return _guess(data, codec)


def decode_header_bytes(data: bytes, hint: str | None = None) -> str:
    """A header line's bytes: ASCII, else UTF-8, else the body's charset, else a guess. Never raises."""
    if data.isascii():
        return data.decode("ascii")
    text = _strict(data, "utf-8")
    if text is not None:
        return text
    codec = codec_name(hint)
    if codec is not None and codec not in ("ascii", "utf-8", *_WIDE):
        text = _strict(data, codec)
        if text is not None:
            return text
    return _guess(data, None)[0]


_WIDE: Final = frozenset({"utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"})
_SEVEN_BIT_STATEFUL: Final = frozenset(
    {"hz", "iso2022_jp", "iso2022_jp_1", "iso2022_jp_2", "iso2022_jp_3", "iso2022_jp_ext", "iso2022_kr"}
)


def _without_mark(data: bytes) -> str:
    """Which UTF-16 it is: most characters of most texts, and every space and line end, have a zero octet. Else the
    lower octet comes first, as browsers take it; RFC 2781 says the other, and few write that."""
    head = data[:_DETECT_BYTES]
    return "utf-16-be" if head[::2].count(0) > head[1::2].count(0) else "utf-16-le"


def _resolve(label: str) -> str | None:
    # `charset="utf-8; format=flowed"` and `charset=utf-8*en` are seen in the wild: the first token is the label.
    match = _LABEL.search(label)
    if match is None:
        return None
    name = match.group().lower()
    plain = name.replace("-", "").replace("_", "").replace(".", "").replace(":", "")
    name = _ALIASES.get(plain) or _ALIASES.get(name) or name
    try:
        found = codecs.lookup(name).name
    except (LookupError, ValueError):
        stripped = re.sub(r"^(?:x-|cs)", "", name)
        try:
            found = codecs.lookup(stripped).name
        except (LookupError, ValueError):
            return None
    return found if found in _ALLOWED else None


def _western(data: bytes) -> str | None:
    """Latin-1 is what software declares without knowing: bytes that are valid UTF-8 are not Latin-1 by chance."""
    text = _strict(data, "utf-8")
    return text if text is not None else _strict(data, "cp1252")


def _strict(data: bytes, codec: str | None) -> str | None:
    try:
        return data.decode(codec or "ascii")
    except (UnicodeError, ValueError):
        return None


def _guess(data: bytes, declared: str | None) -> tuple[str, bool]:
    """Text of bytes that are neither what was declared nor UTF-8."""
    if declared is not None and declared in (
        "utf-8",
        *_SEVEN_BIT_STATEFUL,
        "gb18030",
        "cp932",
        "cp949",
        "big5hkscs",
        "euc_jp",
    ):
        # A long text in a multi-byte charset with one bad byte is still that charset: lose the byte, not the text.
        replaced = data.decode(declared, "replace")
        if replaced.count("\ufffd") * 20 <= len(replaced):
            return replaced, True
    if declared == "utf-8" and b"\xed" in data:
        try:  # UTF-16 halves, each as UTF-8 (CESU-8), which Java programs write for emoji
            return data.decode("utf-8", "surrogatepass").encode("utf-16", "surrogatepass").decode("utf-16"), False
        except UnicodeError:
            pass
    detected = cchardet.detect(data[:_DETECT_BYTES])
    codec = codec_name(detected["encoding"])
    confident = (detected["confidence"] or 0.0) >= 0.5
    if codec is not None and codec != "ascii" and confident:
        text = _strict(data, codec)
        if text is not None:
            return text, True
    return data.decode("cp1252", "replace"), True
