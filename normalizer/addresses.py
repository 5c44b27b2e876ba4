"""Addresses of mail: what a header claims -> canonical e-mail.

The parser is one pass over the header (RFC 5322 section 3.4 and what is sent instead). It resists display names
that look like addresses: what stands in the last `<...>` of an item is the address and everything before it is a name.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final, NamedTuple

from normalizer import headers
from normalizer.phone_numbers import canonical_phone
from normalizer.reply_tokens import find_reply_token, make_reply_token

__all__ = [
    "Address",
    "canonical_domain",
    "canonical_email",
    "canonical_phone",
    "email_shaped",
    "find_reply_token",
    "first_email_in",
    "make_reply_token",
    "parse_addresses",
]

MAX_ADDRESSES: Final = 100
_MAX_INPUT: Final = 65_536
_BARE: Final = re.compile(r"(?<![@\w.])[^\s<>\"(),:;@\[\]\\]{1,64}+@[^\s<>\"(),:;@\[\]\\]{1,255}+(?!@)")
_QUOTED_LOCAL: Final = re.compile(r"\"[^\"<>\x00-\x1f]{1,64}\"@[^\s<>\"(),:;@\[\]\\]{1,255}+")
_IN_TEXT: Final = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}+@[\w.-]{1,255}+")
_PLAIN: Final = re.compile(r"(?:([^<>\"(),:;@\[\]\\=]{1,200}?) ?)?<?([A-Za-z0-9._+=-]{1,64}@[A-Za-z0-9.-]{1,255})>?\Z")
# A name in quotes or in encoded words, as most mail programs write it.
_NAMED: Final = re.compile(
    r"(?:\"([^\"\\<>,]{1,200})\"|(=\?[\w-]{1,40}\?[bBqQ]\?[\w=+/.-]{0,200}\?=)) ?"
    r"<([A-Za-z0-9._+=-]{1,64}@[A-Za-z0-9.-]{1,255})>\Z",
    re.ASCII,
)
_UNFIT: Final = re.compile(r"[\s<>,;\x00]")


class Address(NamedTuple):
    """One mailbox. `value` is canonical, or the words as written when they are no address."""

    value: str
    display_name: str = ""


def parse_addresses(header: str, limit: int = MAX_ADDRESSES) -> list[Address]:
    """The mailboxes of an unfolded From, To, Cc, ... field, groups opened; at most `limit`. Never raises; linear.

    Items without an `@` are left out, so `undisclosed-recipients:;` is an empty list.
    """
    header = header[:_MAX_INPUT]
    if "," not in header:
        bare = header.strip()
        if plain := _PLAIN.match(bare):
            name = plain.group(1) or ""
            # `Anna <a@b>` and `a@b` only: a name without angle brackets goes the long way.
            if not name or "<" in header:
                return [Address(canonical_email(plain.group(2)), _display(name) if "'" in name else name.strip())]
        elif named := _NAMED.match(bare):
            return [Address(canonical_email(named.group(3)), _display(named.group(1) or named.group(2)))]
    found: list[Address] = []
    surname = ""  # `Muster, Anna <anna@x>` without the quotes that belong there
    for item in _items(header):
        address = _mailbox(item)
        if address is not None:
            if surname and item[3] and address.display_name:
                address = Address(address.value, f"{surname}, {address.display_name}")
            found.append(address)
            if len(found) >= limit:
                break
        surname = _display(item[0])[:60] if address is None and not item[3] else ""
    return found


def canonical_email(value: str) -> str:
    """Lower-case, NFC, the domain in ASCII (IDNA) so that look-alike letters show. Never raises.

    `Anna@Bücher.example` -> `anna@xn--bcher-kva.example`. Dots and plus tags in the local part are kept: whether
    they matter is known only to the receiving domain.
    """
    value = value.strip()
    if value.isascii():
        local, at, domain = value.lower().rpartition("@")
        return f"{local}@{domain.strip().rstrip('.')}" if at else domain
    value = "".join(char for char in unicodedata.normalize("NFC", value) if unicodedata.category(char)[0] != "C")
    local, at, domain = value.rpartition("@")
    if not at:
        return value.lower()
    return f"{local.lower()}@{canonical_domain(domain)}"


def canonical_domain(domain: str) -> str:
    """Lower-case ASCII form of a domain (IDNA 2008 through the UTS 46 of the `idna` rules where it applies)."""
    domain = domain.strip().rstrip(".").lower()
    if domain.isascii():
        return domain
    domain = domain.replace("\u3002", ".").replace("\uff0e", ".").replace("\uff61", ".")
    labels = []
    for label in unicodedata.normalize("NFKC", domain).lower().split("."):
        try:
            labels.append(label if label.isascii() else "xn--" + label.encode("punycode").decode("ascii"))
        except UnicodeError:
            labels.append(label)
    return ".".join(labels)


def email_shaped(value: str) -> bool:
    """Whether this can be somebody's address at all: one `@`, something on both sides, no spaces or controls."""
    local, at, domain = value.rpartition("@")
    return bool(at and local and domain) and _UNFIT.search(value) is None


def first_email_in(text: str) -> str:
    """The first thing that looks like an address in running text, canonical; empty when there is none."""
    match = _IN_TEXT.search(text[:_MAX_INPUT])
    return canonical_email(match.group().rstrip(".")) if match else ""


def _items(header: str) -> Iterator[tuple[str, str, str, bool]]:
    """Each comma or semicolon separated item as (words before `<`, inside the last `<>`, comments, had brackets)."""
    words: list[str] = []
    inside: list[str] = []
    comments: list[str] = []
    bracketed = in_brackets = False
    unclosed = False  # so was a parenthesis
    lone = False  # a quote was not closed: then no later one is, and nobody looks for their ends again
    group_end, last_bracket = header.rfind(";"), header.rfind("<")
    position, size = 0, len(header)
    while position < size:
        char = header[position]
        if char == '"' and not in_brackets:
            start = position
            text, position = ("", start + 1) if lone else _quoted(header, start)
            lone = position == start + 1
            words.append(f'"{text}"' if header[position : position + 1] == "@" else text)
            continue
        if char == "(" and not in_brackets and not unclosed:
            text, after = _comment(header, position)
            unclosed = not after and "<" in text  # `Anna (home <anna@x>`: a comment without an end hides no address
            if not unclosed:
                comments.append(text)
                position = after or size
                continue
        if char == "<":
            if bracketed:  # only the last bracket is the address: what stood before is decoration
                words.append(f"<{''.join(inside)}>")
            inside, bracketed, in_brackets = [], True, True
        elif char == ">" and in_brackets:
            in_brackets = False
        elif in_brackets:
            end = _until(header, position, "<>")
            inside.append(header[position:end])
            position = end
            continue
        elif char in ",;":
            yield "".join(words), "".join(inside), " ".join(comments), bracketed
            words, inside, comments, bracketed = [], [], [], False
        elif char == ":" and not group_end < position < last_bracket:
            words, comments = [], []  # a group's name; its members follow
        else:  # a colon too, as in `Anna :) <anna@x>`: a group would end with a semicolon
            end = _until(header, position + 1, '"(<,;:')
            words.append(header[position:end])
            position = end
            continue
        position += 1
    yield "".join(words), "".join(inside), " ".join(comments), bracketed


_STOPS: Final[dict[str, re.Pattern[str]]] = {
    stops: re.compile("[" + re.escape(stops) + "]") for stops in ("<>", '"(<,;:')
}
_QUOTED: Final = re.compile(r'"((?:[^"\\]++|\\.)*+)"?', re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)


def _until(text: str, position: int, stops: str) -> int:
    match = _STOPS[stops].search(text, position)
    return match.start() if match else len(text)


def _quoted(text: str, position: int) -> tuple[str, int]:
    match = _QUOTED.match(text, position)
    if match is None or not match.group().endswith('"') or len(match.group()) < 2:
        return "", position + 1  # a lone quote is no quote: the rest is read as if it were not there
    return _ESCAPE.sub(r"\1", match.group(1)), match.end()


def _comment(text: str, position: int) -> tuple[str, int]:
    """A comment with the comments inside it, by counting: no recursion, no limit to depth. RFC 5322 section 3.2.2.

    And where it ends; 0 when it does not."""
    depth = 0
    start = position
    size = len(text)
    while position < size:
        char = text[position]
        if char == "\\":
            position += 1
        elif char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
            if depth == 0:
                return text[start + 1 : position], position + 1
        position += 1
    return text[start + 1 :], 0


def _mailbox(item: tuple[str, str, str, bool]) -> Address | None:
    words, inside, comment, bracketed = item
    name = words
    if bracketed:
        value = _address_in(inside)
        if not value and not inside.strip():
            value = _bare(words)
            name = "" if value else words
    else:
        value = _bare(words)
        name = words.replace(value, "", 1)
        if name == words:  # it was found in encoded words, or put together
            name = headers.decode_words(words).replace(value, "", 1).strip("<> ") if "=?" in words else ""
    local, _, domain = value.rpartition("@")
    if not (local and domain) or "<" in value or ">" in value:
        return None
    return Address(canonical_email(value), _display(name) or _display(comment))


def _address_in(text: str) -> str:
    text = text.strip()
    if text.lower().startswith("mailto:"):
        text = text[7:].partition("?")[0]
    if "@" not in text:
        decoded = headers.decode_words(text) if "=?" in text else ""
        return decoded if "@" in decoded else ""
    if text.startswith("@") and ":" in text:
        text = text.rpartition(":")[2]  # a source route, RFC 5322 section 4.4
    if "(" in text:
        text = headers.drop_comments(text)
    # White space inside an address is noise (`<anna @example.com>`); two addresses in one bracket are not one.
    compact = "".join(text.split())
    if compact.count("@") > 1 and not compact.startswith('"'):
        match = _BARE.search(text)
        return match.group() if match else ""
    return compact


def _raw_bare(words: str) -> str:
    found = _BARE.findall(words)
    return str(found[-1]) if found else ""


def _bare(words: str) -> str:
    """The address of an item without brackets: the only one; of several the last, since names come first."""
    if " ." in words or ". " in words:  # `jdoe@test . example` of RFC 5322 appendix A.6.3
        closed = " ".join(words.split()).replace(" .", ".").replace(". ", ".")
        if _BARE.fullmatch(closed):
            return closed
    found = _raw_bare(words)
    if found:
        return found
    if "=?" in words:
        return _raw_bare(headers.decode_words(words))
    if (match := _QUOTED_LOCAL.search(words)) is not None:
        return match.group()
    compact = "".join(words.split())
    plain = compact.count("@") == 1 and len(compact) < 320 and not any(char in '<>()"' for char in compact)
    return compact if plain and compact.strip("@") == compact else ""


def _display(name: str) -> str:
    if not name:
        return ""
    text = headers.decode_words(name)
    text = " ".join(text.split())
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1].strip()
    if text[-1:] in ("<", ">", "]") and "@" not in text:
        text = text.rstrip("<>] ")  # what is left of brackets that did not match
    return text[:300]
