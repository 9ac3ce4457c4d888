"""TLS from files that are rotated under a running process.

A server looks at its files on every handshake and takes a new pair as soon as it is whole; a pair
that doesn't match (half written) is left alone, and the one before stays. gRPC's least version is
TLS 1.2.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import structlog

from cellplane.cell.problem import Invalid
from cellplane.runtime import pki

Stamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTLS:
    """Certificate of a server, and the authorities that its callers' certificates need."""

    ca: Path
    cert: Path
    key: Path
    require_client: bool = True
    """Without it the server asks for no client certificate, and nobody is anybody."""

    def credentials(self) -> grpc.ServerCredentials:
        """Credentials that follow the files. Raises ``Invalid`` when they can't be read now."""
        files = _Files(ca=self.ca, cert=self.cert, key=self.key)
        # The published types miss that `None` says: unchanged.
        changed: Any = lambda: self._changed(files)  # noqa: E731
        return grpc.dynamic_ssl_server_credentials(
            self._configuration(files.read()),
            changed,
            require_client_authentication=self.require_client,
        )

    def _changed(self, files: _Files) -> grpc.ServerCertificateConfiguration | None:
        found = files.read_changed()
        return None if found is None else self._configuration(found)

    def _configuration(self, pem: Pem) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration(
            [(pem.key or b"", pem.cert or b"")],
            root_certificates=pem.ca if self.require_client else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTLS:
    """The authorities that servers' certificates need, and one's own certificate if any."""

    ca: Path
    cert: Path | None = None
    key: Path | None = None
    server_name: str = ""
    """Name that the server's certificate must hold, when it isn't the target's host."""

    def credentials(self) -> grpc.ChannelCredentials:
        """Credentials of the files as they are now. Raises ``Invalid`` when they can't be read."""
        return client_credentials(_Files(ca=self.ca, cert=self.cert, key=self.key).read())

    def stamp(self) -> Stamp:
        """Changes when one of the files does."""
        return _Files(ca=self.ca, cert=self.cert, key=self.key).stamp()


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Pem:
    """Contents of the files."""

    ca: bytes
    cert: bytes | None = None
    key: bytes | None = None


def client_credentials(pem: Pem) -> grpc.ChannelCredentials:
    """Channel credentials of PEM contents, for those who keep theirs elsewhere than in files."""
    return grpc.ssl_channel_credentials(
        root_certificates=pem.ca, private_key=pem.key, certificate_chain=pem.cert
    )


class _Files:
    """Three files, read again only when their stamp changes. Called from gRPC's threads too."""

    def __init__(self, *, ca: Path, cert: Path | None, key: Path | None) -> None:
        self._ca = ca
        self._cert = cert
        self._key = key
        self._paths = [path for path in (ca, cert, key) if path is not None]
        self._seen: Stamp = ()
        self._lock = threading.Lock()

    def stamp(self) -> Stamp:
        found: list[tuple[int, int, int]] = []
        for path in self._paths:
            try:
                stat = path.stat()
            except OSError:
                found.append((0, 0, 0))
            else:
                found.append((stat.st_mtime_ns, stat.st_size, stat.st_ino))
        return tuple(found)

    def read(self) -> Pem:
        """All of them, or ``Invalid``."""
        self._seen = self.stamp()
        try:
            pem = Pem(
                ca=self._ca.read_bytes(),
                cert=self._cert.read_bytes() if self._cert else None,
                key=self._key.read_bytes() if self._key else None,
            )
        except OSError as error:
            raise Invalid(
                f"TLS file {error.filename} can't be read: {error.strerror}",
                reason="TLS_FILE_UNREADABLE",
            ) from error
        if pem.cert is not None and pem.key is not None and not pki.matches(pem.cert, pem.key):
            raise Invalid(
                f"TLS key {self._key} doesn't belong to certificate {self._cert}",
                reason="TLS_PAIR_MISMATCH",
            )
        return pem

    def read_changed(self) -> Pem | None:
        """The contents if they changed and are whole; ``None`` means: go on with what you have."""
        with self._lock:
            if self.stamp() == self._seen:
                return None
            before = self._seen
            log = structlog.get_logger()
            try:
                pem = self.read()
            except Invalid as error:
                self._seen = before
                log.warning("tls.reload_failed", error=error.message)
                return None
            log.info("tls.reloaded", cert=str(self._cert))
            return pem
