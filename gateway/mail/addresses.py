"""The path in MAIL FROM and RCPT TO (RFC 5321 4.1.2), in linear time."""

from __future__ import annotations

NULL = "<>"
_SPECIAL = frozenset(' <>"')


def split_path(arg: str) -> tuple[str | None, str | None]:
    """The address and the parameters after it: `<a@b> SIZE=5` gives ("a@b", "SIZE=5").

    `<>` stays `<>`, the null sender. A source route (`<@relay:a@b>`) is dropped as RFC 5321 C asks, and the angle
    brackets may be missing. ("", "") for
    nothing, (None, None) for what cannot be an address: controls, bare spaces, nothing before the @.
    """
    text = arg.strip()
    if not text:
        return "", ""
    if not text.startswith("<"):
        address, _, rest = text.partition(" ")
    else:
        end = _closing_bracket(text)
        if end < 0:
            return None, None
        address, rest = text[1:end], text[end + 1 :]
        if rest and not rest.startswith(" "):
            return None, None
        if not address:
            return NULL, rest.strip()
    if address.startswith("@"):
        _, separator, address = address.partition(":")
        if not separator:
            return None, None
    return (address, rest.strip()) if _plausible(address) else (None, None)


def _closing_bracket(text: str) -> int:
    """Index of the `>` that is not inside a quoted local part; -1 when there is none."""
    if '"' not in text:
        return text.find(">")
    quoted = escaped = False
    for index, character in enumerate(text):
        if escaped:
            escaped = False
        elif character == "\\" and quoted:
            escaped = True
        elif character == '"':
            quoted = not quoted
        elif character == ">" and not quoted:
            return index
    return -1


def _plausible(address: str) -> bool:
    if not address.isprintable():  # refuses controls, and the surrogates that undecodable bytes become
        return False
    local, at, domain = address.rpartition("@")
    if not at:  # <postmaster> needs no domain, RFC 5321 4.5.1
        return _is_word(address)
    quoted = len(local) > 2 and local.startswith('"') and local.endswith('"')
    return (quoted or _is_word(local)) and _is_word(domain)


def _is_word(text: str) -> bool:
    return bool(text) and _SPECIAL.isdisjoint(text)
