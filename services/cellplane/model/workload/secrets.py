"""Secrets of a component: an ExternalSecret for each, with exactly the keys that are needed.

The External Secrets Operator of the data plane fetches the values; nothing here ever has one. Each
component has secrets of its own, so that none gets a key that another one needs. A mounted file
changes where the secret does; an environment variable keeps its value until the process restarts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cellplane.cell.cell import ResolvedCell, ResolvedComponent
from cellplane.cell.plane import EXTERNAL_SECRETS, DataPlaneProfile
from cellplane.cell.problem import Findings, Problem
from cellplane.model.workload.objects import findings_of

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
    own = component.type.definition if component.type is not None else None
    makes = own.resources if own is not None else ()
    kinds = {one.manifest.get("kind") for one in makes}
    if "ExternalSecret" in kinds and not component.secrets and not plane.can(EXTERNAL_SECRETS):
        findings.at("type").add(
            "CAPABILITY_MISSING",
            f'type "{own.definition if own else ""}" makes secrets by the External Secrets '
            f"Operator ({_API}), which data plane {plane.data_plane} does not serve: install it "
            "there, or place the Cell elsewhere",
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
    for index, connection in enumerate(component.connections):
        external = connection.external
        if external is not None and external.policy is not None:
            at = findings.at("connections").at(index).at("external_host.policy")
            for step, secret in external.policy.secrets:
                yield at.at(step), secret.secret_reference, (secret.key,)
