"""Names of objects that another component's id could be, and who claims them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cellplane.cell.cell import ResolvedCell, ResolvedSecret, ResolvedSecretKey
from cellplane.cell.names import CellName
from cellplane.cell.plane import EXTERNAL_SECRETS, DataPlaneProfile, Peers
from cellplane.cell.protocol import Protocol
from cellplane.cell.workload import ComponentKind, Schedule, SecretMount
from cellplane.model.domain.claims import claims_of, object_names
from cellplane.model.domain.resolve import Deployed, Surroundings, frame, resolve
from cellplane.model.domain.resources import (
    Component,
    Environment,
    Organization,
    SecretReference,
    SecretReferenceEntry,
)
from cellplane.model.workload.compile import compile as compile_workloads
from tests.unit.model.build import ORG, PUBLIC, SHOP, component, endpoint

CELL = CellName(organization="acme", project="shop", environment="dev")
DEV = Environment(name=f"{ORG}/environments/dev")
DB = f"{SHOP}/secretReferences/db"
PLANE = DataPlaneProfile(
    data_plane="west",
    uid="u",
    organization="acme",
    trust_domain="example.com",
    capabilities=(EXTERNAL_SECRETS,),
)
LONG = "a" * 60
HASHED_BY_PARTS = {"ConfigMap", "ExternalSecret", "Job"}
"""Kinds whose names carry a hash of all their parts, or an ending, wherever they could meet."""


def of_kind(kind: ComponentKind, id: str) -> Component:
    workload: dict[str, object] = {
        "secret_mounts": (SecretMount(secret_reference=DB, mount_path="/etc/db"),)
    }
    if kind is ComponentKind.SCHEDULED_TASK:
        workload["schedule"] = Schedule(cron="@daily")
    endpoints = (
        ()
        if kind in (ComponentKind.JOB, ComponentKind.SCHEDULED_TASK, ComponentKind.WORKER)
        else (endpoint(),)
    )
    return component(id, component_kind=kind, workload=workload, endpoints=endpoints)


@pytest.mark.parametrize("kind", ComponentKind)
@pytest.mark.parametrize("id", ["web", LONG])
def test_what_is_compiled_has_names_that_are_known(kind: ComponentKind, id: str) -> None:
    """Whatever the compiler names is among the names that resolution compares, of each kind."""
    written = of_kind(kind, id)
    reference = SecretReference(
        name=DB, remote_key="db", keys=(SecretReferenceEntry(key="password"),)
    )
    around = Surroundings(secrets={DB: reference})
    bound = resolve(CELL, Deployed(release="r-1", component=written), DEV, around).component
    assert bound is not None
    assert bound.secrets == (
        ResolvedSecret(
            secret_reference=DB,
            secret_store="cellplane",
            remote_key="db",
            keys=(ResolvedSecretKey(key="password", property="password"),),
            refresh_interval=timedelta(hours=1),
        ),
    )

    answer = compile_workloads(
        ResolvedCell(
            cell=str(CELL),
            revision=1,
            frame=frame(CELL, Organization(name=ORG), DEV, ()),
            components=(bound,),
        ),
        PLANE,
        Peers(),
        include_frame=False,
    )

    assert answer.problems == ()
    known = set(object_names(written)) | {(k, id) for k in ("ServiceAccount", "Deployment")}
    named = {(m.kind, m.object) for m in answer.manifests if m.kind not in HASHED_BY_PARTS}
    assert named <= known


def test_only_names_with_a_hash_are_claimed() -> None:
    """Plain ids cannot meet anything but each other, which no two components have."""
    assert claims_of(CELL, component("web", endpoints=(endpoint(),)), DEV) == {}
    claimed = claims_of(CELL, of_kind(ComponentKind.STATEFUL_SERVICE, LONG), DEV)
    assert {key.partition("/")[0] for key in claimed} == {"Service", "StatefulSet"}


def test_what_has_no_host_claims_none() -> None:
    """Public endpoints of TCP and UDP are told apart by ports, not by host and path."""
    raw = component(
        endpoints=(
            endpoint("t", 80, protocol=Protocol.TCP, visibilities=PUBLIC),
            endpoint("u", 80, protocol=Protocol.UDP, visibilities=PUBLIC),
        )
    )

    assert claims_of(CELL, raw, DEV) == {}
