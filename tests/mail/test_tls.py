"""STARTTLS with real handshakes: what is encrypted, what is forgotten, and that nobody waits for ever."""

from __future__ import annotations

import asyncio
import datetime
import smtplib
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.commands.prove import check_certificate
from gateway.mail.limits import Limits
from gateway.mail.tls import Certificate, certificate_of
from gateway.settings import Settings, SettingsError
from tests.mail.conftest import Desk, OpenDesk, receipt_in

HOST = "mx.desk.example"


def issue(folder: Path, name: str = HOST, days: int = 1, begins: int = -1) -> tuple[Path, Path]:
    """A self-signed certificate and its key, good for so many days from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=begins))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    )
    chain, private = folder / "cert.pem", folder / "key.pem"
    chain.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return chain, private


@pytest.fixture
def tls(tmp_path: Path) -> dict[str, Any]:
    chain, key = issue(tmp_path)
    return {"smtp_tls_cert": chain, "smtp_tls_key": key}


def trusting(tls: dict[str, Any]) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(tls["smtp_tls_cert"]))


class Client:
    """A client by hand, blocking: run it in a thread."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket: socket.socket = socket.create_connection(address, timeout=20)
        self.stream = self.socket.makefile("rb")

    def say(self, text: bytes) -> None:
        self.socket.sendall(text)

    def reply(self) -> str:
        lines: list[str] = []
        while True:
            line = self.stream.readline().decode()
            lines.append(line.rstrip("\r\n"))
            if line[3:4] != "-":
                return "\n".join(lines)

    def ask(self, text: str) -> str:
        self.say(text.encode() + b"\r\n")
        return self.reply()

    def encrypt(self, tls: dict[str, Any]) -> None:
        self.stream.close()
        self.socket = trusting(tls).wrap_socket(self.socket, server_hostname=HOST)
        self.stream = self.socket.makefile("rb")

    def close(self) -> None:
        self.stream.close()
        self.socket.close()


async def gone(desk: Desk) -> None:
    async with asyncio.timeout(20):
        while desk.server.connections:
            await asyncio.sleep(0.005)


async def test_a_real_client_delivers_encrypted(open_desk: OpenDesk, tls: dict[str, Any]) -> None:
    big = b"Subject: big\r\n\r\n" + b"0123456789abcdef" * 300_000 + b"\r\n"

    def send() -> str:
        host, port = desk.smtp
        with smtplib.SMTP(host, port, timeout=20) as client:
            client.ehlo()
            assert client.has_extn("starttls")
            client._host = HOST  # type: ignore[attr-defined]  # the name that is checked
            client.starttls(context=trusting(tls))
            client.ehlo()
            assert not client.has_extn("starttls"), "it is not offered twice"
            client.sendmail("erika@example.com", ["help@desk.example"], b"Subject: x\r\n\r\nhello\r\n")
            client.sendmail("erika@example.com", ["help@desk.example"], big)
            assert isinstance(client.sock, ssl.SSLSocket)
            return str(client.sock.version())

    async with open_desk(**tls) as desk:
        assert (await asyncio.to_thread(send)) in ("TLSv1.2", "TLSv1.3")
        assert desk.door.bodies == [b"Subject: x\r\n\r\nhello\r\n", big]
        assert desk.door.arrived[0][1].facts["remote"] == "127.0.0.1"
        await gone(desk)


async def test_lmtp_too(open_desk: OpenDesk, tls: dict[str, Any]) -> None:
    def send() -> list[str]:
        client = Client(desk.lmtp)
        client.reply()
        assert "STARTTLS" in client.ask("LHLO x")
        assert client.ask("STARTTLS").startswith("220 2.0.0")
        client.encrypt(tls)
        said = [client.ask("LHLO x"), client.ask("MAIL FROM:<a@b.example>")]
        said += [client.ask(f"RCPT TO:<{name}@desk.example>") for name in ("a", "b")] + [client.ask("DATA")]
        said += [client.ask("Subject: x\r\n\r\n."), client.reply(), client.ask("QUIT")]
        client.close()
        return said

    async with open_desk(**tls) as desk:
        said = await asyncio.to_thread(send)
        assert receipt_in(said[5]) == receipt_in(said[6])
        assert said[7].startswith("221")


async def test_what_was_said_before_is_forgotten(open_desk: OpenDesk, tls: dict[str, Any]) -> None:
    """RFC 3207 4.2: the client has to greet again, and an envelope begun in the clear is nobody's."""

    def talk() -> list[str]:
        client = Client(desk.smtp)
        client.reply()
        client.ask("EHLO x")
        client.ask("MAIL FROM:<evil@example.com>")
        client.ask("RCPT TO:<help@desk.example>")
        client.ask("STARTTLS")
        client.encrypt(tls)
        said = [client.ask("DATA"), client.ask("MAIL FROM:<a@b.example>"), client.ask("EHLO x"), client.ask("DATA")]
        said.append(client.ask("STARTTLS"))
        client.close()
        return said

    async with open_desk(**tls) as desk:
        said = await asyncio.to_thread(talk)
        assert [reply[:3] for reply in said] == ["503", "503", "250", "503", "503"]
        assert desk.door.arrived == []


async def test_commands_sent_ahead_of_the_handshake_are_not_obeyed(open_desk: OpenDesk, tls: dict[str, Any]) -> None:
    """CVE-2011-0411, CVE-2024-34083: somebody in the middle adds commands behind the client's STARTTLS."""

    def talk() -> list[str]:
        client = Client(desk.smtp)
        client.reply()
        client.ask("EHLO x")
        client.say(b"STARTTLS\r\nEHLO evil\r\nMAIL FROM:<evil@example.com>\r\nRCPT TO:<help@desk.example>\r\n")
        assert client.reply().startswith("220")
        client.encrypt(tls)
        said = [client.ask("NOOP"), client.ask("MAIL FROM:<a@b.example>")]
        client.close()
        return said

    async with open_desk(**tls) as desk:
        said = await asyncio.to_thread(talk)
        assert said[0].startswith("250 2.0.0 OK"), "the answer to NOOP, and not to what came ahead"
        assert said[1].startswith("503"), "nobody has greeted"


@pytest.mark.parametrize("hello", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b"EHLO x\r\n" * 1_000])
async def test_a_handshake_that_fails_ends_the_connection(
    open_desk: OpenDesk, tls: dict[str, Any], hello: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    def talk() -> None:
        client = Client(desk.smtp)
        client.reply()
        client.ask("EHLO x")
        client.ask("STARTTLS")
        client.say(hello)
        try:
            while client.socket.recv(4_096):
                pass
        except ConnectionError:
            pass
        client.close()

    async with open_desk(**tls) as desk:
        await asyncio.to_thread(talk)
        await gone(desk)
        line = await desk.connect()
        await line.close()
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]


async def test_a_handshake_that_stalls_ends(open_desk: OpenDesk, tls: dict[str, Any]) -> None:
    async with open_desk(limits=Limits(handshake=0.1), **tls) as desk:
        line = await desk.connect()
        assert (await line.ask("STARTTLS")).startswith("220")
        await line.rest()
        await gone(desk)


async def test_hanging_up_in_the_handshake_frees_the_place(open_desk: OpenDesk, tls: dict[str, Any]) -> None:
    async with open_desk(**tls) as desk:
        for hello in (b"", b"\x16\x03\x01"):
            line = await desk.connect()
            await line.ask("STARTTLS")
            await line.send(hello)
            await line.close()
        await gone(desk)


async def test_idle_encrypted_clients_are_closed_and_stopping_does_not_wait(
    open_desk: OpenDesk, tls: dict[str, Any]
) -> None:
    def connect() -> Client:
        client = Client(desk.smtp)
        client.reply()
        client.ask("EHLO x")
        client.ask("STARTTLS")
        client.encrypt(tls)
        client.ask("EHLO x")
        return client

    async with open_desk(**tls) as desk:
        clients = [await asyncio.to_thread(connect) for _ in range(3)]
        async with asyncio.timeout(15):
            await desk.server.stop()
        assert (await asyncio.to_thread(clients[0].reply)).startswith("421 4.3.2")
        for client in clients:
            client.close()


async def test_a_renewed_certificate_is_used_by_the_next_connection(
    open_desk: OpenDesk, tls: dict[str, Any], tmp_path: Path
) -> None:
    def serial() -> int:
        client = Client(desk.smtp)
        client.reply()
        client.ask("EHLO x")
        client.ask("STARTTLS")
        client.encrypt(tls)
        assert isinstance(client.socket, ssl.SSLSocket)
        der = client.socket.getpeercert(binary_form=True)
        client.close()
        assert der
        return x509.load_der_x509_certificate(der).serial_number

    async with open_desk(**tls) as desk:
        first = await asyncio.to_thread(serial)
        good = tls["smtp_tls_cert"].read_bytes()
        tls["smtp_tls_cert"].write_text("half a certif")
        assert desk.server._hall.certificate is not None
        desk.server._hall.certificate.context()  # notices, complains, and goes on with the old one
        tls["smtp_tls_cert"].write_bytes(good)
        assert await asyncio.to_thread(serial) == first
        issue(tmp_path)
        assert await asyncio.to_thread(serial) != first


async def test_without_a_certificate_it_is_not_offered(desk: Desk) -> None:
    line = await desk.connect(hello=False)
    assert "STARTTLS" not in await line.ask("EHLO x")
    assert (await line.ask("STARTTLS")).startswith("454 4.7.0")
    await line.close()


def test_what_cannot_be_used_is_said_at_the_start(tmp_path: Path) -> None:
    chain, key = issue(tmp_path)
    (tmp_path / "other").mkdir()
    _, other = issue(tmp_path / "other")
    (tmp_path / "both.pem").write_bytes(chain.read_bytes() + key.read_bytes())
    assert certificate_of(tmp_path / "both.pem", None) is not None
    assert certificate_of(None, None) is None
    for wrong in (
        (tmp_path / "none.pem", key),
        (chain, tmp_path / "none.pem"),
        (chain, other),
        (key, key),
        (chain, None),
    ):
        with pytest.raises(SettingsError, match="smtp_tls_"):
            Certificate(*wrong)
    with pytest.raises(SettingsError, match="smtp_tls_key"):
        certificate_of(None, key)


@pytest.mark.parametrize(
    ("days", "begins", "state", "said"),
    [
        (90, -1, "ok", "(89 days)"),
        (13, -1, "soon", "(12 days)"),
        (-1, -5, "failed", "expired"),
        (9, 2, "failed", "not yet"),
    ],
)
def test_check_says_when_the_certificate_ends(tmp_path: Path, days: int, begins: int, state: str, said: str) -> None:
    chain, key = issue(tmp_path, days=days, begins=begins)
    settings = Settings(smtp_tls_cert=chain, smtp_tls_key=key)
    [found] = check_certificate(settings, datetime.datetime.now(datetime.UTC))
    assert (found.state, said in found.sentence) == (state, True), found


def test_check_finds_a_key_of_another_certificate(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    chain, _ = issue(tmp_path / "one")
    _, key = issue(tmp_path / "two")
    now = datetime.datetime.now(datetime.UTC)
    [found] = check_certificate(Settings(smtp_tls_cert=chain, smtp_tls_key=key), now)
    assert (found.state, "MISMATCH" in found.sentence) == ("failed", True)
    [found] = check_certificate(Settings(smtp_tls_cert=tmp_path / "nothing.pem"), now)
    assert (found.state, "No such file" in found.sentence) == ("failed", True)
    assert check_certificate(Settings(), now) == []
