"""The managed resources that come along: the objects that they become, and who reaches them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cellplane.cell.cell import Injection, ResolvedCell
from cellplane.cell.plane import (
    CILIUM_POLICY,
    EXTERNAL_SECRETS,
    KUBERNETES_POLICY,
    DataPlaneProfile,
    Peers,
)
from cellplane.cell.problem import Severity
from cellplane.cell.visibility import Isolation
from cellplane.cell.workload import ComponentKind, Workload
from cellplane.model.domain.claimed import as_component, definition_of_type, shipped_type
from cellplane.model.domain.kinds import cell_name
from cellplane.model.domain.resolve import Deployed, Resolution, Surroundings, frame, resolve
from cellplane.model.domain.resources import (
    Component,
    Connection,
    DeletionPolicy,
    Environment,
    ManagedResource,
    Organization,
    ResourceClaim,
)
from cellplane.model.workload.compile import compile as compile_workload
from cellplane.network_policy.compiler.compile import compile as compile_policies
from cellplane.network_policy.compiler.flows import Flow, Pod
from cellplane.network_policy.compiler.verdict import Judge
from tests.golden import cases

ORG = "organizations/acme"
SHOP = f"{ORG}/projects/shop"
HERE = Path(__file__).parent
TYPES = {"postgresql": ("uri", 5432), "redis": ("uri", 6379), "nats": ("uri", 4222)}
ENVIRONMENT = Environment(name=f"{ORG}/environments/dev")


def plane(*capabilities: str) -> DataPlaneProfile:
    return DataPlaneProfile(
        data_plane="east",
        uid="00000000-0000-4000-8000-000000000001",
        organization="acme",
        trust_domain="cellplane.local",
        capabilities=tuple(sorted(capabilities)),
    )


def cell_of(type_id: str, isolation: Isolation, **claim: Any) -> ResolvedCell:
    """A Cell with a component that connects to a resource, one that does not, and it."""
    name = f"{ORG}/resourceTypes/{type_id}"
    own = shipped_type(name)
    assert own is not None
    claimed = as_component(
        ResourceClaim(name=f"{SHOP}/resourceClaims/data", type=name, **claim), own, ENVIRONMENT
    )
    output, _ = TYPES[type_id]
    web = Component(
        name=f"{SHOP}/components/web",
        component_kind=ComponentKind.SERVICE,
        workload=Workload(image="web:1"),
        connections=(
            Connection(
                connection="data",
                managed_resource=ManagedResource(resource=claimed.name),
                inject=Injection(host="DATA_HOST", outputs={"DATA_URI": output}),
            ),
        ),
    )
    other = Component(
        name=f"{SHOP}/components/other",
        component_kind=ComponentKind.SERVICE,
        workload=Workload(image="other:1"),
    )
    cell = cell_name(SHOP, "dev")
    around = Surroundings(
        providers={claimed.name: claimed},
        callers={"": frozenset({web.name})},
        definitions={name: definition_of_type(name, own)},
    )
    found = [
        _whole(resolve(cell, Deployed(release="r-1", component=c), ENVIRONMENT, around))
        for c in (claimed, other, web)
    ]
    organization = Organization(name=ORG, isolation=isolation)
    return ResolvedCell(
        cell=str(cell),
        revision=1,
        frame=frame(cell, organization, ENVIRONMENT, ()),
        components=tuple(found),
    )


def _whole(resolution: Resolution) -> Any:
    assert resolution.problems == ()
    return resolution.component


@pytest.mark.parametrize("type_id", TYPES)
def test_a_resource_becomes_these_objects(type_id: str, update_golden: bool) -> None:
    """A StatefulSet, its Service, and a Secret whose values only the data plane ever has."""
    cell = cell_of(type_id, Isolation.OPEN)
    compiled = compile_workload(cell, plane(EXTERNAL_SECRETS), Peers(), include_frame=False)
    cases.check(HERE / f"{type_id}.yaml", cases.picture(compiled), update=update_golden)
    assert compiled.problems == ()


def test_data_stays_or_goes_by_policy() -> None:
    """Retained: volumes and the password stay, and nothing makes another one; deleted: both go."""
    for policy, volumes, owner in (
        (DeletionPolicy.UNSPECIFIED, "Retain", "Orphan"),
        (DeletionPolicy.RETAIN, "Retain", "Orphan"),
        (DeletionPolicy.DELETE, "Delete", "Owner"),
    ):
        cell = cell_of("postgresql", Isolation.OPEN, deletion_policy=policy)
        made = _objects(
            compile_workload(cell, plane(EXTERNAL_SECRETS), Peers(), include_frame=False)
        )
        run = made["StatefulSet", "data"]["spec"]
        assert run["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == volumes
        secret = made["ExternalSecret", _outputs(made)]["spec"]
        assert secret["target"]["creationPolicy"] == owner
        assert secret["refreshPolicy"] == "CreatedOnce"


def test_values_are_read_on_the_data_plane_alone() -> None:
    """A connection gets a reference to a key of the Secret; no object has the value."""
    made = _objects(
        compile_workload(
            cell_of("redis", Isolation.OPEN), plane(EXTERNAL_SECRETS), Peers(), include_frame=False
        )
    )
    (container,) = made["Deployment", "web"]["spec"]["template"]["spec"]["containers"]
    env = {variable["name"]: variable for variable in container["env"]}
    assert env["DATA_URI"]["valueFrom"] == {"secretKeyRef": {"name": _outputs(made), "key": "uri"}}
    assert env["DATA_HOST"]["value"].startswith("data.cell-shop-dev")
    assert not [key for key in made if key[0] == "Secret"]


@pytest.mark.parametrize("provider", [CILIUM_POLICY, KUBERNETES_POLICY])
@pytest.mark.parametrize("type_id", TYPES)
def test_a_resource_is_reached_by_whom_the_table_says(type_id: str, provider: str) -> None:
    """Strict: by who connects to it; open: by the Cell. On its port alone, from the Cell alone."""
    _, port = TYPES[type_id]
    for isolation in (Isolation.STRICT, Isolation.OPEN):
        cell = cell_of(type_id, isolation)
        compiled = compile_policies(cell, plane(provider), Peers(), include_frame=True)
        assert not [p for p in compiled.problems if p.severity is Severity.ERROR]
        judge = Judge(json.loads(m.content) for m in compiled.manifests)

        def reaches(source: str, target: int = port, where: str = "") -> bool:
            namespace = cell.frame.namespace  # noqa: B023 - asked at once
            flow = Flow(
                source=_pod(cell, source, where or namespace),  # noqa: B023
                destination=_pod(cell, "data", namespace),  # noqa: B023
                port=target,
            )
            return judge.verdict(flow).allowed  # noqa: B023

        assert reaches("web")
        assert reaches("other") is (isolation is Isolation.OPEN)
        assert not reaches("web", port + 1)
        assert not reaches("web", where="another")


def _pod(cell: ResolvedCell, component: str, namespace: str) -> Pod:
    frame_ = cell.frame
    return Pod(
        namespace=namespace,
        account=component,
        labels={
            "cellplane.dev/component": component,
            "cellplane.dev/cell": namespace,
            "cellplane.dev/organization": frame_.organization,
            "cellplane.dev/project": frame_.project,
            "cellplane.dev/environment": frame_.environment,
        },
    )


def _objects(compiled: Any) -> Mapping[tuple[str, str], Any]:
    assert compiled.problems == ()
    bodies = [json.loads(m.content) for m in compiled.manifests]
    return {(b["kind"], b["metadata"]["name"]): b for b in bodies}


def _outputs(made: Mapping[tuple[str, str], Any]) -> str:
    (name,) = (name for kind, name in made if kind == "Password")
    return name
