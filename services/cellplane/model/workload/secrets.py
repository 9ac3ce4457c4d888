"""Secrets of a component: an ExternalSecret for each, with exactly the keys that are needed.

The External Secrets Operator of the data plane fetches the values; nothing here ever has one. Each
component has secrets of its own, so that none gets a key that another one needs. A mounted file
changes where the secret does; an environment variable keeps its value until the process restarts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from cellplane.cell import addresses
from cellplane.cell.cell import ResolvedCell, ResolvedComponent, ResolvedSecret
from cellplane.cell.manifest import Manifest, Phase, manifest
from cellplane.cell.names import short_hash
from cellplane.cell.plane import EXTERNAL_SECRETS, DataPlaneProfile
from cellplane.cell.problem import Findings, Problem
from cellplane.cell.workload import SecretMount
from cellplane.model.workload.objects import component_object, findings_of

_API: Final = "external-secrets.io/v1"
_MODE: Final = 0o440


def secret_problems(
    cell: ResolvedCell, component: ResolvedComponent, plane: DataPlaneProfile
) -> list[Problem]:
    """Find secrets that are not resolved, or that this data plane cannot fetch."""
    findings = findings_of(cell, component)
    bound = {s.secret_reference: {k.key for k in s.keys} for s in component.secrets}
    for at, reference, keys in _uses(component, findings):
        if reference not in bound or not bound[reference].issuperset(keys):
            at.add(
                "SECRET_UNRESOLVED",
                f'secret reference "{reference}" of component "{component.component}" is not '
                "resolved with every key that is read: resolve the Cell again",
                value=reference,
            )
        if not plane.can(EXTERNAL_SECRETS):
            at.add(
                "CAPABILITY_MISSING",
                f'secret reference "{reference}" of component "{component.component}" needs the '
                f"External Secrets Operator ({_API}), which data plane {plane.data_plane} does not "
                "serve: install it there, or place the Cell elsewhere",
                value=EXTERNAL_SECRETS,
            )
    return findings.problems


def _uses(
    component: ResolvedComponent, findings: Findings
) -> Iterator[tuple[Findings, str, tuple[str, ...]]]:
    workload = findings.at("workload")
    for index, variable in enumerate(component.workload.env):
        own = variable.secret_reference_key
        if own is not None:
            at = workload.at("env").at(index).at("secret_reference_key")
            yield at, own.secret_reference, (own.key,)
    for index, mount in enumerate(component.workload.secret_mounts):
        yield workload.at("secret_mounts").at(index), mount.secret_reference, mount.keys
    for index, endpoint in enumerate(component.endpoints):
        policy = endpoint.traffic_policy
        if policy is not None and policy.authentication is not None:
            for step, reference, key in policy.authentication.secrets:
                at = findings.at("endpoints").at(index).at("traffic_policy.authentication")
                yield at.at(step), reference, (key,) if key else ()


def compile_secrets(cell: ResolvedCell, component: ResolvedComponent) -> Iterator[Manifest]:
    """Compile what fetches the secrets of a component."""
    for secret in component.secrets:
        name = addresses.secret_name(component.component, secret.secret_reference)
        spec = {
            "refreshInterval": f"{int(secret.refresh_interval.total_seconds())}s",
            "secretStoreRef": {"kind": "ClusterSecretStore", "name": secret.secret_store},
            # Pods keep what they have while a store is away.
            "target": {"name": name, "creationPolicy": "Owner", "deletionPolicy": "Retain"},
            "data": [
                {
                    "secretKey": key.key,
                    "remoteRef": {"key": secret.remote_key, "property": key.property},
                }
                for key in secret.keys
            ],
        }
        body = component_object(cell, component, _API, "ExternalSecret", name, {"spec": spec})
        yield manifest(component.component, Phase.CONFIGURATION, body)


def secret_volume(component: ResolvedComponent, mount: SecretMount) -> dict[str, Any]:
    """Compile the volume of a mounted secret: the keys of the mount, and no others."""
    secret = _of(component, mount.secret_reference)
    keys = mount.keys or tuple(key.key for key in secret.keys)
    return {
        "name": _volume(mount),
        "secret": {
            "secretName": addresses.secret_name(component.component, mount.secret_reference),
            "defaultMode": _MODE,
            "items": [{"key": key, "path": key} for key in sorted(keys)],
        },
    }


def secret_volume_mount(mount: SecretMount) -> dict[str, Any]:
    """Compile where a mounted secret is found."""
    return {"name": _volume(mount), "mountPath": mount.mount_path, "readOnly": True}


def _of(component: ResolvedComponent, reference: str) -> ResolvedSecret:
    return next(s for s in component.secrets if s.secret_reference == reference)


def _volume(mount: SecretMount) -> str:
    return f"secret-{short_hash(mount.mount_path)}"
