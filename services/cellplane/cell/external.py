"""What egress gateways do with the calls of one connection to an external host.

Field names are those of the contract (``type/v1/external_policy.proto``). Credentials are named,
never held: whoever compiles says where they are, and only the gateway gets them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cellplane.cell.traffic import CircuitBreaker, RateLimit, Retries, Timeouts
from cellplane.cell.workload import SecretReferenceKey


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCertificate:
    """A certificate with its key, which no pod of the component sees."""

    certificate: SecretReferenceKey
    private_key: SecretReferenceKey


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalTls:
    """How TLS is opened to the host."""

    authorities: SecretReferenceKey | None = None
    client_certificate: ClientCertificate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalCredential:
    """What the gateway writes into a header of each request."""

    header: str = ""
    value: SecretReferenceKey


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalPolicy:
    """Everything that the gateway does with the calls of one connection."""

    tls: ExternalTls | None = None
    credential: ExternalCredential | None = None
    rate_limits: tuple[RateLimit, ...] = ()
    timeouts: Timeouts | None = None
    retries: Retries | None = None
    circuit_breaker: CircuitBreaker | None = None

    @property
    def secrets(self) -> Iterator[tuple[str, SecretReferenceKey]]:
        """Every secret that the gateway reads, with the path below this that names it."""
        if self.tls is not None and self.tls.authorities is not None:
            yield "tls.authorities", self.tls.authorities
        if self.tls is not None and self.tls.client_certificate is not None:
            yield "tls.client_certificate.certificate", self.tls.client_certificate.certificate
            yield "tls.client_certificate.private_key", self.tls.client_certificate.private_key
        if self.credential is not None:
            yield "credential.value", self.credential.value
