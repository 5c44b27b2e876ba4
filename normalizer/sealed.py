"""Signed and encrypted content: what can be read of it without any key.

An opaque S/MIME signature (`application/pkcs7-mime; smime-type=signed-data`) wraps the letter in CMS; the wrapping is
taken off here, the signature is not checked. RFC 5652 section 5, X.690 (BER). PGP armour in a text: RFC 9580 section 7.
"""

from __future__ import annotations

from typing import Final

_SIGNED_DATA: Final = bytes.fromhex("06092a864886f70d010702")  # 1.2.840.113549.1.7.2
_ENVELOPED: Final = bytes.fromhex("06092a864886f70d010703")
_AUTH_ENVELOPED: Final = bytes.fromhex("060b2a864886f70d0109100117")
_SEQUENCE, _OCTETS, _OCTETS_PIECES, _EXPLICIT = 0x30, 0x04, 0x24, 0xA0

ENCRYPTED_NOTE: Final = "[This message is encrypted. Only the holder of the key can read it; it is attached.]"


class _Ber:
    """Tag, length, value; definite and indefinite lengths, each checked against what is left."""

    def __init__(self, data: bytes, start: int = 0, end: int | None = None) -> None:
        self.data = data
        self.position = start
        self.end = len(data) if end is None else end

    def step(self) -> tuple[int, int, int, bool]:
        """(tag, start of value, end of what may be its value, indefinite). Raises ValueError."""
        if self.position + 2 > self.end:
            raise ValueError("ended early")
        tag, first = self.data[self.position], self.data[self.position + 1]
        start = self.position + 2
        if first == 0x80:
            return tag, start, self.end, True
        size = first
        if first & 0x80:
            width = first & 0x7F
            if width > 4 or start + width > self.end:
                raise ValueError("a length longer than any content")
            size = int.from_bytes(self.data[start : start + width], "big")
            start += width
        if start + size > self.end:
            raise ValueError("a length past the end")
        return tag, start, start + size, False

    def enter(self, wanted: int) -> _Ber:
        tag, start, end, _ = self.step()
        if tag != wanted:
            raise ValueError("not what was expected here")
        return _Ber(self.data, start, end)

    def skip(self) -> None:
        """Past a value of definite length."""
        _, _, end, indefinite = self.step()
        if indefinite:
            raise ValueError("an indefinite length where none is used")
        self.position = end


def signed_content(data: bytes) -> bytes | None:
    """The mail inside an opaque signature, or None when there is none to be found. Never raises; linear."""
    try:
        signed = _Ber(data).enter(_SEQUENCE)
        if data[signed.position : signed.position + len(_SIGNED_DATA)] != _SIGNED_DATA:
            return None
        signed.skip()
        body = signed.enter(_EXPLICIT).enter(_SEQUENCE)
        body.skip()  # version
        body.skip()  # digest algorithms
        inner = body.enter(_SEQUENCE)
        inner.skip()  # the content's type
        return _octets(inner.enter(_EXPLICIT))
    except ValueError:
        return None


def _octets(place: _Ber) -> bytes:
    """An OCTET STRING in one piece, or in a run of pieces."""
    tag, start, end, _ = place.step()
    if tag == _OCTETS:
        return place.data[start:end]
    if tag != _OCTETS_PIECES:
        raise ValueError("no octet string")
    pieces: list[bytes] = []
    run = _Ber(place.data, start, end)
    while run.position < run.end:
        tag, start, end, _ = run.step()
        if tag != _OCTETS:
            break  # the end-of-contents octets
        pieces.append(run.data[start:end])
        run.position = end
    return b"".join(pieces)


def is_enveloped(data: bytes) -> bool:
    """Whether CMS content is encrypted, by its own word."""
    head = data[:64]
    return _ENVELOPED in head or _AUTH_ENVELOPED in head


_SIGNED_BEGIN: Final = "-----BEGIN PGP SIGNED MESSAGE-----\n"
_SIGNATURE_BEGIN: Final = "\n-----BEGIN PGP SIGNATURE-----"
_SIGNATURE_END: Final = "-----END PGP SIGNATURE-----"
PGP_MESSAGE: Final = "-----BEGIN PGP MESSAGE-----"


def take_off_armour(text: str) -> str | None:
    """A clear-signed text without its armour; None when it has none. What stands around the armour is kept."""
    begin = text.find(_SIGNED_BEGIN)
    if begin < 0 or (begin and text[begin - 1] != "\n"):
        return None
    body = text.find("\n\n", begin)
    signature = text.find(_SIGNATURE_BEGIN, begin)
    end = text.find(_SIGNATURE_END, signature)
    if not 0 <= body < signature or end < 0:
        return None
    lines = text[body + 2 : signature].split("\n")
    inside = "\n".join(line.removeprefix("- ") for line in lines)
    return text[:begin] + inside + text[end + len(_SIGNATURE_END) :]
