"""Signatures of deliveries, after Standard Webhooks 1.0: HMAC-SHA256 over id, time and body.

A receiver checks one of the signatures, and that the time is not long ago; the id tells it what it
has seen already. Source: the Standard Webhooks specification, "Webhook Signatures".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from typing import Final

_PREFIX: Final = "whsec_"
_BYTES: Final = 32


def new_secret() -> bytes:
    """A secret that nobody knows yet."""
    return secrets.token_bytes(_BYTES)


def show(secret: bytes) -> str:
    """A secret as receivers are told it."""
    return _PREFIX + base64.b64encode(secret).decode()


def headers(
    secrets_: Iterable[bytes], *, message_id: str, timestamp: int, body: bytes
) -> dict[str, str]:
    """The headers of one delivery, signed with each of the secrets that hold now."""
    content = f"{message_id}.{timestamp}.".encode() + body
    signatures = (
        base64.b64encode(hmac.digest(secret, content, hashlib.sha256)).decode()
        for secret in secrets_
    )
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
