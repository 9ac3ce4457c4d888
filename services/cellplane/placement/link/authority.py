"""The authority of agents: made at the first start, kept in this service's own folder.

It signs agents, and the server certificates of the two ports that agents use; nothing else trusts
it. Its key, and the key that grants are encrypted with, are files that only this user can read.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cellplane.cell.problem import FailedPrecondition
from cellplane.rpc.identity import agent_uri, service_uri
from cellplane.rpc.tls import ServerTLS
from cellplane.runtime import pki
from cellplane.runtime.clock import Clock
from cellplane.runtime.files import write_atomic
from cellplane.runtime.pki import Authority

_NONCE: Final = 12
_SERVER_LIFETIME: Final = timedelta(days=90)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A certificate of an agent."""

    certificate_pem: bytes
    expire_time: datetime


class AgentAuthority:
    """Signs agents."""

    def __init__(
        self, directory: Path, trust_domain: str, clock: Clock, lifetime: timedelta
    ) -> None:
        """Load the authority from ``directory``, or make it there."""
        self._directory = directory
        self._trust_domain = trust_domain
        self._clock = clock
        self._lifetime = lifetime
        cert, key = directory / "ca.crt", directory / "ca.key"
        if cert.exists() and key.exists():
            self._authority = Authority.load(cert, key, clock=clock)
        else:
            self._authority = Authority.create(f"{trust_domain} agents", clock=clock)
            self._authority.save(directory)

    @property
    def pem(self) -> bytes:
        """The authority's certificate, as agents get it and proofs bind it."""
        return self._authority.cert_pem

    @property
    def digest(self) -> str:
        """By what an agent knows it: ``sha256:<hex>`` of its public key."""
        return self._authority.digest()

    def sign(self, csr_pem: bytes, organization: str, data_plane_uid: str) -> Signed:
        """Certify the agent of a data plane. Raises ``Invalid`` for a request of anything else."""
        uri = agent_uri(self._trust_domain, organization, data_plane_uid)
        certificate = self._authority.sign_csr(csr_pem, uri=uri, lifetime=self._lifetime)
        return Signed(certificate_pem=certificate, expire_time=pki.validity(certificate)[1])

    def server_tls(self, addresses: Iterable[str], *, require_client: bool) -> ServerTLS:
        """Certificate files for servers at ``host:port`` addresses; see ``renew_server``."""
        self.renew_server(addresses)
        return ServerTLS(
            ca=self._directory / "ca.crt",
            cert=self._directory / "server.crt",
            key=self._directory / "server.key",
            require_client=require_client,
        )

    def renew_server(self, addresses: Iterable[str]) -> None:
        """Make a new server certificate, with its authority behind it in the same file.

        Servers take it while they run.
        """
        hosts = sorted({a.rpartition(":")[0].strip("[]") for a in addresses} - {""})
        ips = [h for h in hosts if _is_ip(h) and not ipaddress.ip_address(h).is_unspecified]
        pair = self._authority.issue(
            uri=service_uri(self._trust_domain, "placement"),
            dns=sorted({"localhost", *(h for h in hosts if not _is_ip(h))}),
            ips=sorted({"127.0.0.1", *ips}),
            lifetime=_SERVER_LIFETIME,
            client=False,
            server=True,
        )
        write_atomic(self._directory / "server.key", pair.key_pem)
        write_atomic(self._directory / "server.crt", pair.cert_pem + self._authority.cert_pem)


class GrantVault:
    """Encrypts the keys of grants at rest (AES-256-GCM), bound to the grant that they belong to."""

    def __init__(self, path: Path) -> None:
        """Load the key from ``path``, or make it there."""
        if not path.exists():
            write_atomic(path, secrets.token_bytes(32))
        self.secret = path.read_bytes()
        """What other keys of this service are derived from."""
        self._cipher = AESGCM(self.secret)

    def seal(self, grant_uid: str, key: bytes) -> bytes:
        """Encrypt a key."""
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._cipher.encrypt(nonce, key, grant_uid.encode())

    def open(self, grant_uid: str, sealed: bytes) -> bytes:
        """Decrypt a key. Raises ``FailedPrecondition`` when it was sealed by another vault."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], grant_uid.encode())
        except InvalidTag:
            raise FailedPrecondition(
                "grant was made with another key of this service: create a new grant",
                reason="GRANT_KEY_LOST",
            ) from None


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
