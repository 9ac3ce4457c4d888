"""Join tokens and their proof: the exact bytes that an agent and placement agree on.

The secret of a token never crosses the wire and is never stored: both sides keep, or make, the key
that is derived from it. Whoever reads a proof learns nothing and can't use it for another request,
another authority or another cluster.

- token   ``<grant id>.<secret>``; the secret is 32 random bytes in URL-safe base 64, 43 characters
- key     HKDF-SHA256 (RFC 5869) of the secret's ASCII bytes; no salt, info ``cellplane/join/v1``,
  32 bytes
- proof   HMAC-SHA256 under the key of ``sha256(request) + sha256(authority) + cluster UID``: two
  raw digests of 32 bytes of the PEM as ``JoinRequest.certificate_request_pem`` carries it
  and as ``GetAuthorityResponse.authority_pem`` answered it, and the UID in UTF-8
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cellplane.cell.names import is_id
from cellplane.cell.problem import Invalid

KEY_BYTES: Final = 32
_INFO: Final = b"cellplane/join/v1"
_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What an agent is started with."""

    grant: str
    """Id of the grant: the last segment of its name."""
    secret: str = field(repr=False)

    def __str__(self) -> str:
        return f"{self.grant}.{self.secret}"


def new_token(grant: str) -> Token:
    """Make a token with a fresh secret for the grant of that id."""
    return Token(grant=grant, secret=secrets.token_urlsafe(32))


def parse_token(text: str) -> Token:
    """Read ``<id>.<secret>``. Raises ``Invalid``, which never repeats the token."""
    grant, _, secret = text.strip().partition(".")
    if not is_id(grant) or _SECRET.fullmatch(secret) is None:
        raise Invalid(
            "token is not of the form <id>.<secret>: copy it whole, as it was answered once",
            reason="TOKEN_MALFORMED",
        )
    return Token(grant=grant, secret=secret)


def derive_key(secret: str) -> bytes:
    """Derive the key of 32 bytes under which proofs are made.

    The secret holds 256 bits of randomness, so that no slow derivation is needed.
    """
    kdf = HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=None, info=_INFO)
    return kdf.derive(secret.encode())


def proof(
    key: bytes, *, certificate_request_pem: bytes, authority_pem: bytes, cluster_uid: str
) -> bytes:
    """Prove, in 32 bytes, that a request is made by the holder of a grant's secret."""
    message = (
        hashlib.sha256(certificate_request_pem).digest()
        + hashlib.sha256(authority_pem).digest()
        + cluster_uid.encode()
    )
    return hmac.digest(key, message, "sha256")


def is_proof(
    given: bytes,
    key: bytes,
    *,
    certificate_request_pem: bytes,
    authority_pem: bytes,
    cluster_uid: str,
) -> bool:
    """Tell, in constant time, whether *given* is the proof of the same."""
    expected = proof(
        key,
        certificate_request_pem=certificate_request_pem,
        authority_pem=authority_pem,
        cluster_uid=cluster_uid,
    )
    return hmac.compare_digest(given, expected)
