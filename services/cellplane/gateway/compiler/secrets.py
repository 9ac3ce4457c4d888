"""Secrets that a gateway reads: fetched on the data plane, under the key that Envoy Gateway wants.

Each is of its own, with the one key that is needed: a component's pods never mount it, and nothing
here ever has a value. Which store has it, and under what property, was resolved with the Cell.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cellplane.cell.cell import ResolvedCell, ResolvedComponent
from cellplane.cell.manifest import Manifest, Phase
from cellplane.cell.workload import SecretReferenceKey
from cellplane.gateway.compiler.objects import exposure

EXTERNAL_SECRETS_API: Final = "external-secrets.io/v1"


def fetched(
    cell: ResolvedCell,
    component: ResolvedComponent,
    name: str,
    wanted: SecretReferenceKey,
    key: str,
) -> Iterator[Manifest]:
    """Compile what fetches one key of a secret into a Secret of this name, as *key*.

    Nothing where the secret is not resolved: the compiler of workloads refuses the component then.
    """
    for secret in component.secrets:
        for each in secret.keys:
            if (secret.secret_reference, each.key) != (wanted.secret_reference, wanted.key):
                continue
            yield exposure(
                cell,
                component.component,
                EXTERNAL_SECRETS_API,
                "ExternalSecret",
                name,
                {
                    "refreshInterval": f"{int(secret.refresh_interval.total_seconds())}s",
                    "secretStoreRef": {"kind": "ClusterSecretStore", "name": secret.secret_store},
                    "target": {
                        "name": name,
                        "creationPolicy": "Owner",
                        "deletionPolicy": "Retain",
                    },
                    "data": [
                        {
                            "secretKey": key,
                            "remoteRef": {"key": secret.remote_key, "property": each.property},
                        }
                    ],
                },
                phase=Phase.CONFIGURATION,
            )
