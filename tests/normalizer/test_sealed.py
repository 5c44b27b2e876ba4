"""Signed content is shown, encrypted content is named, and nobody needs a key for either."""

from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs7
from hypothesis import given
from hypothesis import strategies as st

from normalizer import mime, sealed

INNER = b"Content-Type: text/plain; charset=utf-8\r\n\r\nMein Vertrag: gek\xc3\xbcndigt.\r\n"


@pytest.fixture(scope="module")
def opaque() -> bytes:
    """A real opaque signature, made by a library that real mail programs use."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Anna")])
    start = datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=36_500))
        .sign(key, hashes.SHA256())
    )
    builder = pkcs7.PKCS7SignatureBuilder().set_data(INNER).add_signer(certificate, key, hashes.SHA256())
    return builder.sign(serialization.Encoding.DER, [pkcs7.PKCS7Options.Binary])


def mail(content_type: str, body: bytes) -> mime.Mail:
    return mime.parse(b"From: a@x.org\nContent-Type: " + content_type.encode() + b"\n\n" + body)


def test_what_an_opaque_signature_wraps_is_the_letter(opaque: bytes) -> None:
    assert sealed.signed_content(opaque) == INNER
    read = mail("application/pkcs7-mime; smime-type=signed-data; name=smime.p7m", opaque)
    assert (read.text.strip(), read.signed, read.attachments) == ("Mein Vertrag: gekündigt.", "S/MIME", ())


def test_indefinite_lengths_and_pieces_as_older_programs_write_them() -> None:
    pieces = b"\x24\x80\x04\x05Subje\x04\x06ct: x\n\x00\x00"
    body = b"\xa0\x80\x30\x80\x02\x01\x01\x31\x00\x30\x80\x06\x01\x2a\xa0\x80" + pieces
    data = b"\x30\x80" + sealed._SIGNED_DATA + body + b"\x00\x00" * 5
    assert sealed.signed_content(data) == b"Subject: x\n"


def test_what_cannot_be_opened_stays_a_file(opaque: bytes) -> None:
    read = mail("application/pkcs7-mime; smime-type=signed-data; name=smime.p7m", opaque[:40])
    assert [item.filename for item in read.attachments] == ["smime.p7m"]


@given(st.data())
def test_no_damage_raises(opaque: bytes, data: st.DataObject) -> None:
    damaged = bytearray(opaque)
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, 120))] = data.draw(st.integers(0, 255))
    sealed.signed_content(bytes(damaged))


def test_a_detached_signature_is_a_file_beside_the_letter() -> None:
    body = b"--B\n\nHello\n--B\nContent-Type: application/pgp-signature; name=signature.asc\n\nx\n--B--\n"
    read = mail("multipart/signed; boundary=B", body)
    assert (read.text, read.signed, [item.filename for item in read.attachments]) == ("Hello", "PGP", ["signature.asc"])


CLEAR = b"""Before.
-----BEGIN PGP SIGNED MESSAGE-----
Hash: SHA256

Hello,
- -- dashes are escaped
-----BEGIN PGP SIGNATURE-----

iQEzBAEBCAAdFiEE
-----END PGP SIGNATURE-----
"""


def test_clear_signed_text_is_shown_without_its_armour() -> None:
    read = mail("text/plain", CLEAR)
    assert (read.text, read.signed) == ("Before.\nHello,\n-- dashes are escaped\n", "PGP")


@pytest.mark.parametrize(
    "text", [CLEAR[:60], CLEAR[:120], b"-----BEGIN PGP SIGNED MESSAGE-----", CLEAR.replace(b"\nHash", b"Hash")]
)
def test_half_an_armour_is_text(text: bytes) -> None:
    assert mail("text/plain", text).text.encode() == text


PGP = b"--B\nContent-Type: application/pgp-encrypted\n\nVersion: 1\n--B\n"
PGP += b"Content-Type: application/octet-stream; name=encrypted.asc"


@pytest.mark.parametrize(
    ("content_type", "body", "files"),
    [
        ("application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m", b"x", ["smime.p7m"]),
        ("application/pkcs7-mime; name=smime.p7m", b"\x30\x80" + sealed._ENVELOPED, ["smime.p7m"]),
        ("multipart/encrypted; boundary=B", PGP + b"\n\n-----BEGIN PGP MESSAGE-----\n--B--\n", ["encrypted.asc"]),
    ],
)
def test_encrypted_mail_says_so(content_type: str, body: bytes, files: list[str]) -> None:
    read = mail(content_type, body)
    assert read.text == read.marked_text == sealed.ENCRYPTED_NOTE
    assert "encrypted" in [problem.name for problem in read.problems]
    assert [item.filename for item in read.attachments] == files


def test_a_text_that_is_encrypted_is_named_and_kept() -> None:
    read = mail("text/plain", b"-----BEGIN PGP MESSAGE-----\n\nhQEM\n-----END PGP MESSAGE-----\n")
    assert "hQEM" in read.text
    assert "encrypted" in [problem.name for problem in read.problems]
