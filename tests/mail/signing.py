"""Mail signed in the test, with keys made in the test, and the records that publish them."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from typing import Any

import dkim
import nacl.signing
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from dkim.canonicalization import CanonicalizationPolicy
from dkim.crypto import HASH_ALGORITHMS, parse_pem_private_key

from normalizer.signed_bytes import canonical_body

LETTER = (
    b"From: Anna <anna@customer.example>\r\n"
    b"To: support@desk.example\r\n"
    b"Subject: Where is my order?\r\n"
    b"Date: Mon, 3 Feb 2025 11:00:00 +0100\r\n"
    b"Message-ID: <1@customer.example>\r\n"
    b"\r\n"
    b"It has not  arrived yet. \r\n\r\nAnna\r\n\r\n"
)
# 512 bits, which the library that makes keys refuses to make.
SHORT_KEY = b"""-----BEGIN RSA PRIVATE KEY-----
MIIBOwIBAAJBALuyH2Sf54CJfXyJqxyyjj5EVkWxT2aDkDN2hoBNsjSZVrkCzgz6
v90tK6xH8OCCUOc2X8jfhpKbLkLIJZLJdI8CAwEAAQJBAJND4lW1EJJNTePUsCjH
/8rjGz17LO0l9JIsQMOSMmwJOqypORXsWpnqt4sMJc/TIzj9eMGTmVO14sTGkyOr
ncECIQDrEX+KgMhts5WMrfn5bnl9xxB6F/zRpZiiWWWSBXaLpwIhAMxovjOuGope
nipn0BAzACWSGE6QqYmx7YEqHsSmXMzZAiB8QQmb2qsXYcABVs01zfGmTJ0nDJr0
7oWZ+4s2/nBFLQIgIsYK3WXX9AQmqhYhCjBy7PFOm0b24IrZWajdtRyMGvkCIQCB
jnT+NdUx72A2cpqBzpWiSl1odq2/Hg60L49vKE3CfA==
-----END RSA PRIVATE KEY-----
"""


@cache
def rsa_key(bits: int = 1_024) -> rsa.RSAPrivateKey:
    if bits == 512:
        key = serialization.load_pem_private_key(SHORT_KEY, None, unsafe_skip_rsa_key_validation=True)
        assert isinstance(key, rsa.RSAPrivateKey)
        return key
    return rsa.generate_private_key(public_exponent=65_537, key_size=bits)


@cache
def ed25519_key() -> nacl.signing.SigningKey:
    return nacl.signing.SigningKey.generate()


def rsa_record(bits: int = 1_024, tags: str = "v=DKIM1; k=rsa;") -> str:
    der = rsa_key(bits).public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )  # fmt: skip
    return f"{tags} p={base64.b64encode(der).decode()}"


def huge_record(bits: int = 8_192) -> str:
    """A key that nobody has, of a size that would cost its reader much time."""
    key = rsa.RSAPublicNumbers(65_537, (1 << bits) - 159).public_key()
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return f"v=DKIM1; p={base64.b64encode(der).decode()}"


def ed25519_record() -> str:
    return f"v=DKIM1; k=ed25519; p={base64.b64encode(bytes(ed25519_key().verify_key)).decode()}"


class Signer(dkim.DKIM):  # type: ignore[misc]
    """The library's, with tags that it cannot write itself."""

    def __init__(self, *arguments: Any, tags: dict[str, str], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.tags = tags

    def gen_header(self, fields: list[tuple[bytes, bytes]], *arguments: Any, **options: Any) -> bytes:
        """`b` stays last; what is given replaces what the library would write."""
        given = {name.encode(): value.encode() for name, value in self.tags.items()}
        fields[:] = [(name, given.pop(name, value)) for name, value in fields]
        fields[-1:-1] = [item for item in given.items() if item[1]]
        return bytes(super().gen_header(fields, *arguments, **options))


def signed(
    mail: bytes = LETTER,
    domain: str = "customer.example",
    *,
    selector: str = "s1",
    bits: int = 1_024,
    ed25519: bool = False,
    form: str = "relaxed/relaxed",
    length: bool = False,
    cover: tuple[str, ...] = ("from", "subject", "date", "to", "from"),
    tags: dict[str, str] | None = None,
    algorithm: str = "rsa-sha256",
) -> bytes:
    """The mail with a signature on top."""
    name = "ed25519-sha256" if ed25519 else algorithm
    signer = Signer(mail, tags=tags or {}, signature_algorithm=name.encode())
    header: bytes = signer.sign(
        selector.encode(),
        domain.encode(),
        base64.b64encode(bytes(ed25519_key())) if ed25519 else _pem(bits),
        canonicalize=tuple(form.encode().split(b"/")),
        include_headers=[item.encode() for item in cover],
        length=length,
    )
    return header + mail


def sealed(
    mail: bytes,
    server: str,
    domain: str,
    results: str,
    *,
    number: int = 1,
    whole: str = "",
    covered: tuple[str, ...] = ("from", "subject", "date", "to"),
) -> bytes:
    """The mail as a forwarder passes it on: link `number` of an ARC chain (RFC 8617 section 5.1) on top.

    `whole` is what it says of the chain below (`cv=`): none for the first link, pass for the others.
    """
    arc = dkim.ARC()
    arc.hasher = HASH_ALGORITHMS[b"rsa-sha256"]
    private = parse_pem_private_key(_pem(1_024))
    policy = CanonicalizationPolicy.from_c_value(b"relaxed/relaxed")
    mail = f"ARC-Authentication-Results: i={number}; {server}; {results}\r\n".encode() + mail
    body = b"".join(canonical_body(mail, mail.index(b"\r\n\r\n") + 4, relaxed=True))
    common = {"i": str(number), "a": "rsa-sha256", "d": domain, "s": "s1", "t": "1700000000"}
    message = common | {
        "c": "relaxed/relaxed", "h": ":".join(covered), "bh": base64.b64encode(hashlib.sha256(body).digest()).decode()
    }  # fmt: skip
    links = ["arc-authentication-results", "arc-message-signature", "arc-seal"] * number
    seal = common | {"cv": whole or ("none" if number == 1 else "pass")}
    for name, tags, names in ((b"ARC-Message-Signature", message, list(covered)), (b"ARC-Seal", seal, links[:-1])):
        arc.set_message(mail)
        fields = [(key.encode(), value.encode()) for key, value in (tags | {"b": "0" * 60}).items()]
        value = arc.gen_header(fields, [item.encode() for item in names], policy, name, private)
        mail = name + b": " + value + mail
    return mail


def _pem(bits: int) -> bytes:
    return rsa_key(bits).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
