"""Replicas have one authority of agents: the first one makes it, and the database carries it.

Its key is sealed with the key that all replicas are given; each keeps a copy in its own folder, as
a single process does. One that is there already, as of a single process before, is taken over.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from cellplane.placement.leading import Leading
from cellplane.placement.link.authority import GrantVault
from cellplane.runtime.clock import SystemClock
from cellplane.runtime.pki import Authority, KeyPair

_SEALED = "agents' authority"


async def share(leading: Leading, vault: GrantVault, folder: Path, trust_domain: str) -> None:
    """Have the authority in *folder* that all replicas have.

    Raises ``FailedPrecondition`` when it was sealed with another key than *vault* has.
    """
    kept = await leading.read_authority()
    if kept is None:
        made = await asyncio.to_thread(_own, folder, trust_domain)
        await leading.save_authority(made.cert_pem, vault.seal(_SEALED, made.key_pem))
        kept = await leading.read_authority()
    if kept is not None:
        certificate, sealed = kept
        pair = KeyPair(cert_pem=certificate, key_pem=vault.open(_SEALED, sealed))
        await asyncio.to_thread(pair.save, folder, "ca")


def _own(folder: Path, trust_domain: str) -> Authority:
    cert, key = folder / "ca.crt", folder / "ca.key"
    if cert.exists() and key.exists():
        return Authority.load(cert, key)
    return Authority.create(f"{trust_domain} agents", clock=SystemClock())
