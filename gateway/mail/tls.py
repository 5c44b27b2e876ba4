"""The listeners' certificate, for STARTTLS (RFC 3207). Renewed on disk, it is used by the next connection."""

from __future__ import annotations

import logging
import ssl
from datetime import UTC, datetime
from pathlib import Path

from gateway.settings import SettingsError

log = logging.getLogger(__name__)


class Certificate:
    """A certificate chain and its key in PEM files (one file may hold both).

    Raises `SettingsError` when they cannot be read or do not fit each other.
    """

    def __init__(self, chain: Path, key: Path | None = None) -> None:
        self._chain = chain
        self._key = key or chain
        self._stamp = self._stamps()
        self._context = self._load()

    def context(self) -> ssl.SSLContext:
        """What to speak TLS with now. A renewal that cannot be read is logged, and the old one stays in use."""
        try:
            stamp = self._stamps()
            if stamp != self._stamp:
                self._stamp, self._context = stamp, self._load()
                log.info("the mail listeners' certificate was renewed")
        except SettingsError as error:
            log.error("the renewed certificate cannot be used, the old one still is: %s", error)  # noqa: TRY400
        return self._context

    def expires(self) -> datetime:
        """When the certificate in use ends, after a handshake with ourselves. Raises `SettingsError` when a client
        would not accept it: it has ended, or has not begun."""
        asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        asking.check_hostname = False
        asking.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # trust this very certificate, whoever signed it
        try:
            asking.load_verify_locations(cafile=self._chain)
            told = _shake_hands(asking, self.context())
        except ssl.SSLError as error:
            reason = getattr(error, "verify_message", "") or error.reason or str(error)
            raise SettingsError(f"smtp_tls_cert: {self._chain}: {reason}") from None
        return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(told["notAfter"])), UTC)

    def _stamps(self) -> tuple[tuple[int, int], ...]:
        try:
            found = [path.stat() for path in (self._chain, self._key)]
        except OSError as error:
            raise SettingsError(f"smtp_tls_cert, smtp_tls_key: {error.filename}: {error.strerror}") from None
        return tuple((state.st_mtime_ns, state.st_ino) for state in found)

    def _load(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            # An encrypted key would ask for its passphrase on a terminal that nobody sits at.
            context.load_cert_chain(self._chain, self._key, password=lambda: b"")
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            reason = getattr(error, "reason", None) or str(error)
            raise SettingsError(f"smtp_tls_cert, smtp_tls_key: {self._chain}, {self._key}: {reason}") from None
        return context


def certificate_of(chain: Path | None, key: Path | None) -> Certificate | None:
    """The configured certificate; None when there is none, and STARTTLS is not offered."""
    if chain is None:
        if key is not None:
            raise SettingsError("smtp_tls_key: there is no smtp_tls_cert to go with it")
        return None
    return Certificate(chain, key)


def _shake_hands(asking: ssl.SSLContext, answering: ssl.SSLContext) -> dict[str, object]:
    """A whole handshake in memory; the certificate as the client saw it. Raises `ssl.SSLError`."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = asking.wrap_bio(back, there)
    server = answering.wrap_bio(there, back, server_side=True)
    for side in (client, server, client):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return dict(client.getpeercert() or {})
