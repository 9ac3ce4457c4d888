"""Secrets that a gateway reads: fetched on the data plane, under the keys that Envoy Gateway wants.

Each is of its own, with just the keys that are needed: a component's pods never mount it, and
nothing here ever has a value. Which store has it, and under what property, was resolved with the
Cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from cellplane.cell.cell import ResolvedCell, ResolvedComponent, ResolvedSecret
from cellplane.cell.manifest import Manifest, Phase
from cellplane.cell.workload import SecretReferenceKey
from cellplane.gateway.compiler.objects import exposure

EXTERNAL_SECRETS_API: Final = "external-secrets.io/v1"


def fetched(
    cell: ResolvedCell,
    component: ResolvedComponent,
    name: str,
    wanted: Mapping[str, SecretReferenceKey],
) -> Iterator[Manifest]:
    """Compile what fetches keys of secrets into one Secret, under the keys of *wanted*.

    Nothing where one is not resolved: the compiler of workloads refuses the component then.
    """
    found = {key: _of(component, reference) for key, reference in wanted.items()}
    resolved = {key: each for key, each in found.items() if each is not None}
    if not wanted or len(resolved) < len(wanted):
        return
    first = next(iter(resolved.values()))[0]
    yield exposure(
        cell,
        component.component,
        EXTERNAL_SECRETS_API,
        "ExternalSecret",
        name,
        {
            "refreshInterval": f"{int(first.refresh_interval.total_seconds())}s",
            "secretStoreRef": _store(first),
            "target": {"name": name, "creationPolicy": "Owner", "deletionPolicy": "Retain"},
            "data": [
                {
                    "secretKey": key,
                    "remoteRef": {"key": secret.remote_key, "property": property_},
                    "sourceRef": {"storeRef": _store(secret)},
                }
                for key, (secret, property_) in sorted(resolved.items())
            ],
        },
        phase=Phase.CONFIGURATION,
    )


def _of(
    component: ResolvedComponent, wanted: SecretReferenceKey
) -> tuple[ResolvedSecret, str] | None:
    """The secret that has the key, and what its store calls it."""
    return next(
        (
            (secret, key.property)
            for secret in component.secrets
            for key in secret.keys
            if (secret.secret_reference, key.key) == (wanted.secret_reference, wanted.key)
        ),
        None,
    )


def _store(secret: ResolvedSecret) -> dict[str, Any]:
    return {"kind": "ClusterSecretStore", "name": secret.secret_store}
