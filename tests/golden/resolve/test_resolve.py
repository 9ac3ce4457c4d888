"""What Cells resolve to, and every finding of those that do not: a case is one file.

A case says what differs from a small world: ``shop/web`` is a component (or a secret reference) of
project ``shop``. ``refused`` are findings when it is written, ``findings`` are those of the Cells
it is deployed to. ``targets`` and ``callers`` say what connections and endpoints are bound to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cellplane.cell.cell import ResolvedConnection
from cellplane.cell.names import last_segment
from cellplane.cell.problem import Findings, Problem
from cellplane.model.domain.claimed import definition_of_type, parts, shipped_type
from cellplane.model.domain.references import check_references
from cellplane.model.domain.resolve import Deployed
from cellplane.model.domain.resolve_all import CellResolution, resolve_cells
from cellplane.model.domain.resources import (
    Component,
    Environment,
    Organization,
    ResourceClaim,
    SecretReference,
)
from cellplane.model.domain.validate import validate_secret_reference
from cellplane.model.domain.validate_component import validate_component
from tests.golden.cases import decode, load

CASES = sorted(Path(__file__).parent.glob("cases/*.yaml"))
ORGANIZATION = "organizations/acme"
KNOWN = {
    "about",
    "environment",
    "organization",
    "components",
    "secrets",
    "claims",
    "refused",
    "findings",
    "targets",
    "callers",
    "secrets_of",
}
_FULL = {
    "component": "components",
    "secret_reference": "secretReferences",
    "resource": "resourceClaims",
}


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_case(case: Path) -> None:
    """The findings are exactly those of the file, and what resolves is bound as it says."""
    data = load(case)
    assert set(data) <= KNOWN, sorted(set(data) - KNOWN)
    assert data["about"]
    components = [_component(*item) for item in data.get("components", {}).items()]
    secrets = [_secret(*item) for item in data.get("secrets", {}).items()]

    claims = {c.name: c for c in (_claim(*i) for i in data.get("claims", {}).items())}

    assert _told(_refused(components, secrets, claims)) == _expected(data, "refused")

    environment = decode(
        Environment, {"name": f"{ORGANIZATION}/environments/dev", **data.get("environment", {})}
    )
    organization = decode(Organization, {"name": ORGANIZATION, **data.get("organization", {})})
    cells = resolve_cells(
        organization,
        environment,
        {
            c.name: Deployed(release="r-1", component=c)
            for c in (*components, *parts(components, claims, {}, environment).values())
        },
        {s.name: s for s in secrets},
        definitions={
            c.type: definition_of_type(c.type, own)
            for c in claims.values()
            if (own := shipped_type(c.type))
        },
    )

    assert _told(p for cell in cells.values() for p in cell.problems) == _expected(data, "findings")
    for name, bound in _targets(cells):
        assert data.get("targets", {}).get(name, bound) == bound, name
    for name, callers in _callers(cells):
        assert data.get("callers", {}).get(name, callers) == callers, name
    for name, read in _secrets(cells):
        assert data.get("secrets_of", {}).get(name, read) == read, name
    for word, found in (("targets", _targets), ("callers", _callers), ("secrets_of", _secrets)):
        assert set(data.get(word, {})) <= {name for name, _ in found(cells)}, word


def test_every_reason_of_resolution_has_a_case() -> None:
    """No finding that keeps a Cell from being whole is without an example."""
    shown = {finding["reason"] for case in CASES for finding in load(case).get("findings", ())}

    assert shown >= {
        "PROVIDER_NOT_DEPLOYED",
        "ENDPOINT_NOT_FOUND",
        "ENDPOINT_NOT_VISIBLE",
        "RESOURCE_NOT_AVAILABLE",
        "ROUTE_COLLISION",
        "NAME_COLLISION",
        "HOSTNAME_RESERVED",
        "SECRET_NOT_FOUND",
        "SECRET_KEY_NOT_FOUND",
        "SECRET_NOT_IN_ENVIRONMENT",
        "AUTHORIZER_PROTOCOL",
    }


def _component(name: str, written: Mapping[str, Any]) -> Component:
    body = {"component_kind": "SERVICE", **_full(written), "name": _name(name, "components")}
    body["workload"] = {"image": "app:1", **body.get("workload", {})}
    return decode(Component, body)


def _secret(name: str, written: Mapping[str, Any]) -> SecretReference:
    body = {"keys": [{"key": "password"}], **written, "name": _name(name, "secretReferences")}
    return decode(SecretReference, body)


def _claim(name: str, written: Mapping[str, Any]) -> ResourceClaim:
    own = f"{ORGANIZATION}/resourceTypes/{written['type']}"
    return decode(ResourceClaim, {"name": _name(name, "resourceClaims"), "type": own})


def _name(short: str, collection: str) -> str:
    if short.startswith("organizations/"):
        return short
    project, _, own = short.partition("/")
    return f"{ORGANIZATION}/projects/{project}/{collection}/{own}"


def _full(value: Any) -> Any:
    """The same with full names where a reference is written short."""
    if isinstance(value, Mapping):
        return {
            key: _name(inner, _FULL[key])
            if key in _FULL and isinstance(inner, str)
            else _full(inner)
            for key, inner in value.items()
        }
    return [_full(item) for item in value] if isinstance(value, list) else value


def _refused(
    components: list[Component],
    secrets: list[SecretReference],
    claims: Mapping[str, ResourceClaim],
) -> Iterator[Problem]:
    parents = {"/".join(r.name.split("/")[:4]): object() for r in (*components, *secrets)} | {
        f"{ORGANIZATION}/environments/{e}": object() for e in ("dev", "staging")
    }
    known: dict[str, object] = {**parents, **claims, **{r.name: r for r in (*components, *secrets)}}
    for resource in (*secrets, *components):
        findings = Findings(resource=resource.name)
        check_references(resource, known, findings)
        own = (
            validate_component(resource, {"Etc/UTC"})
            if isinstance(resource, Component)
            else validate_secret_reference(resource)
        )
        for problem in (*own, *findings.problems):
            yield Problem(
                reason=problem.reason,
                message=problem.message,
                field=problem.field,
                resource=resource.name,
            )


def _told(problems: Iterable[Problem]) -> list[tuple[str, str, str]]:
    return sorted((_short(p.resource), p.field, p.reason) for p in problems)


def _expected(data: Mapping[str, Any], word: str) -> list[tuple[str, str, str]]:
    return sorted((f["in"], f["field"], f["reason"]) for f in data.get(word, ()))


def _short(name: str) -> str:
    parts = name.split("/")
    return f"{parts[3]}/{parts[5]}"


def _targets(cells: Mapping[str, CellResolution]) -> Iterator[tuple[str, str]]:
    for cell in cells.values():
        for component in cell.cell.components:
            for connection in component.connections:
                yield (
                    f"{cell.cell.frame.project}/{component.component}/{connection.connection}",
                    _target(connection),
                )


def _target(connection: ResolvedConnection) -> str:
    if connection.cell is not None:
        own = connection.cell
        return f"cell {own.component}/{own.endpoint} {own.port} -> {own.target_port}"
    if connection.organization is not None:
        other = connection.organization
        return f"organization {other.project}/{other.component}/{other.endpoint} {other.path}"
    assert connection.external is not None
    return f"external {connection.external.host}:{connection.external.port}"


def _callers(cells: Mapping[str, CellResolution]) -> Iterator[tuple[str, list[str]]]:
    for cell in cells.values():
        for component in cell.cell.components:
            for endpoint in component.endpoints:
                yield (
                    f"{cell.cell.frame.project}/{component.component}/{endpoint.endpoint}",
                    [*endpoint.cell_callers, *(f"{p}/*" for p in endpoint.organization_callers)],
                )


def _secrets(cells: Mapping[str, CellResolution]) -> Iterator[tuple[str, list[str]]]:
    for cell in cells.values():
        for component in cell.cell.components:
            yield (
                f"{cell.cell.frame.project}/{component.component}",
                [
                    f"{last_segment(s.secret_reference)} {s.secret_store}:{s.remote_key} "
                    + ",".join(f"{k.key}={k.property}" for k in s.keys)
                    for s in component.secrets
                ],
            )
