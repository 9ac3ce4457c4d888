"""Which secrets a component reads, and whether they are there. Never a value.

A component reads secrets of its own project only. What is missing when it is written is refused;
what goes missing later, or in one environment, is a problem of the Cell.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from cellplane.cell.cell import ResolvedSecret, ResolvedSecretKey
from cellplane.cell.problem import Findings
from cellplane.cell.workload import EnvironmentVariable
from cellplane.model.domain.default import REFRESH_INTERVAL, secret_location
from cellplane.model.domain.kinds import Kind, check_reference, organization_of, project_of
from cellplane.model.domain.resources import Component, SecretReference

ALL_KEYS: Final = ""
"""Stands for every key that a secret reference has."""
SecretKeys: TypeAlias = tuple[str, str]
"""Name of a secret reference, and one of its keys or ``ALL_KEYS``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretUse:
    """One place where a secret is read."""

    at: str
    """Path of the field that names the secret reference."""
    key_at: str
    """Path of the field that names the key; that of the reference where all are meant."""
    secret_reference: str
    key: str = ALL_KEYS


def variable_uses(env: Iterable[EnvironmentVariable], path: str) -> Iterator[SecretUse]:
    """Secrets that environment variables at *path* read."""
    for index, variable in enumerate(env):
        secret = variable.secret_reference_key
        if secret is not None:
            at = f"{path}[{index}].secret_reference_key"
            yield SecretUse(
                at=f"{at}.secret_reference",
                key_at=f"{at}.key",
                secret_reference=secret.secret_reference,
                key=secret.key,
            )


def secret_uses(component: Component) -> Iterator[SecretUse]:
    """Every place where a component, or a gateway for it, reads a secret, in order."""
    yield from variable_uses(component.workload.env, "workload.env")
    for index, mount in enumerate(component.workload.secret_mounts):
        at = f"workload.secret_mounts[{index}]"
        for number, key in enumerate(mount.keys):
            yield SecretUse(
                at=f"{at}.secret_reference",
                key_at=f"{at}.keys[{number}]",
                secret_reference=mount.secret_reference,
                key=key,
            )
        if not mount.keys:
            whole = f"{at}.secret_reference"
            yield SecretUse(at=whole, key_at=whole, secret_reference=mount.secret_reference)
    for index, endpoint in enumerate(component.endpoints):
        policy = endpoint.traffic_policy
        if policy is None or policy.authentication is None:
            continue
        for step, name, key in policy.authentication.secrets:
            at = f"endpoints[{index}].traffic_policy.authentication.{step}"
            whole = f"{at}.secret_reference"
            yield SecretUse(
                at=whole, key_at=f"{at}.key" if key else whole, secret_reference=name, key=key
            )
    yield from _external_uses(component)


def _external_uses(component: Component) -> Iterator[SecretUse]:
    for index, connection in enumerate(component.connections):
        external = connection.external_host
        if external is None or external.policy is None:
            continue
        for step, secret in external.policy.secrets:
            at = f"connections[{index}].external_host.policy.{step}"
            yield SecretUse(
                at=f"{at}.secret_reference",
                key_at=f"{at}.key",
                secret_reference=secret.secret_reference,
                key=secret.key,
            )


def secrets_of(component: Component | None) -> frozenset[SecretKeys]:
    """Every secret that a component reads, with the keys."""
    if component is None:
        return frozenset()
    return frozenset((use.secret_reference, use.key) for use in secret_uses(component))


def check_uses(
    owner: str,
    uses: Iterable[SecretUse],
    known: Mapping[str, object],
    findings: Findings,
    *,
    missing: str = "REFERENCE_NOT_FOUND",
) -> None:
    """Check that every secret is there, of the right project, and has the key.

    Args:
        owner: Name of the component that reads them, or of something below it.
        uses: Where it reads what.
        known: Secret references by name.
        findings: Where findings go; paths are the owner's.
        missing: Reason of a reference that is not there.
    """
    told: set[str] = set()
    for use in uses:
        name, at = use.secret_reference, findings.at(use.at)
        if use.at in told:
            continue
        if not check_reference(Kind.SECRET_REFERENCE, name, organization_of(owner), at):
            told.add(use.at)
            continue
        reference = known.get(name)
        if project_of(name) != project_of(owner):
            told.add(use.at)
            at.add(
                "OTHER_PROJECT",
                f'secret reference "{name}" belongs to another project than {project_of(owner)}: '
                "create one in this project that leads to the same secret",
                value=name,
            )
        elif reference is None:
            told.add(use.at)
            at.add(
                missing,
                f'SecretReference "{name}" does not exist: create it first, or apply both together',
                value=name,
            )
        elif isinstance(reference, SecretReference):
            _check_key(use, reference, findings.at(use.key_at))


def _check_key(use: SecretUse, reference: SecretReference, at: Findings) -> None:
    keys = [entry.key for entry in reference.keys]
    if use.key and use.key not in keys:
        at.add(
            "SECRET_KEY_NOT_FOUND",
            f'secret reference "{reference.name}" has no key "{use.key}": it has '
            f"{', '.join(keys)}; name one of them, or add it there",
            value=use.key,
        )


def bind_secrets(
    component: Component,
    environment: str,
    known: Mapping[str, SecretReference],
    findings: Findings,
) -> tuple[ResolvedSecret, ...]:
    """Where each secret of a component is in an environment, by name; findings where it is not."""
    uses = tuple(secret_uses(component))
    check_uses(component.name, uses, known, findings, missing="SECRET_NOT_FOUND")
    first: dict[str, SecretUse] = {}
    for use in uses:
        first.setdefault(use.secret_reference, use)
    bound: list[ResolvedSecret] = []
    for name in sorted(first):
        reference = known.get(name)
        if reference is None:
            continue
        store, remote = secret_location(reference, environment)
        if not remote:
            findings.at(first[name].at).add(
                "SECRET_NOT_IN_ENVIRONMENT",
                f'secret reference "{name}" has no remote key in environment '
                f'"{environment.rsplit("/", 1)[-1]}": give it one there, or one for all',
                value=name,
            )
        wanted = {use.key for use in uses if use.secret_reference == name}
        bound.append(
            ResolvedSecret(
                secret_reference=name,
                secret_store=store,
                remote_key=remote,
                keys=tuple(
                    ResolvedSecretKey(key=entry.key, property=entry.property or entry.key)
                    for entry in sorted(reference.keys, key=lambda e: e.key)
                    if ALL_KEYS in wanted or entry.key in wanted
                ),
                refresh_interval=reference.refresh_interval or REFRESH_INTERVAL,
            )
        )
    return tuple(bound)


def touched_keys(before: SecretReference | None, after: SecretReference | None) -> frozenset[str]:
    """Keys whose readers must resolve again; ``ALL_KEYS`` is every reader."""
    if before is None or after is None or _place(before) != _place(after):
        return frozenset({ALL_KEYS})
    old = {entry.key: entry.property or entry.key for entry in before.keys}
    new = {entry.key: entry.property or entry.key for entry in after.keys}
    if old.keys() != new.keys():
        # Who reads a key that never was is told what there is.
        return frozenset({ALL_KEYS})
    return frozenset(key for key in old if old[key] != new[key])


def _place(reference: SecretReference) -> object:
    return (
        reference.secret_store,
        reference.remote_key,
        frozenset(reference.environments),
        reference.refresh_interval,
    )
