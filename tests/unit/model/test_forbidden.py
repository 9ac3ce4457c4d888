"""What no object may have is found on the object itself, whatever made it."""

from __future__ import annotations

from typing import Any

import pytest

from cellplane.cell import labels
from cellplane.cell.cell import CellFrame, ResolvedCell, ResolvedComponent
from cellplane.cell.manifest import Phase, manifest
from cellplane.cell.rules import OwnedRules, PlatformRules, ResourceBounds
from cellplane.cell.workload import ComponentKind, Workload
from cellplane.model.workload.forbidden import forbidden

ORG = "organizations/acme"
COMPONENT = ResolvedComponent(
    component="web", release="r-1", kind=ComponentKind.SERVICE, workload=Workload(image="app:1")
)


def found(
    spec: dict[str, Any], *, kind: str = "Deployment", rules: PlatformRules | None = None
) -> list[str]:
    frame = CellFrame(
        organization="acme",
        project="shop",
        environment="dev",
        namespace="cell-shop",
        rules=(OwnedRules(owner=ORG, rules=rules),) if rules else (),
    )
    body = {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": "web", "namespace": "cell-shop"},
        "spec": spec,
    }
    cell = ResolvedCell(cell="c", revision=1, frame=frame, components=(COMPONENT,))
    problems = forbidden(cell, COMPONENT, [manifest("web", Phase.WORKLOAD, body)])
    assert {p.resource for p in problems} <= {f"{ORG}/projects/shop/components/web"}
    return [f"{p.field}: {p.message}" for p in problems]


def pod(**more: Any) -> dict[str, Any]:
    own = {"containers": [{"name": "web", "image": "app:1"}]} | more
    return {"template": {"metadata": {}, "spec": own}}


NEVER = "remove it from the component, or from the type or trait that adds it"
AT = "manifests[Deployment/web].spec.template"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            pod(hostNetwork=True),
            (
                f"{AT}.spec.hostNetwork: pod.hostNetwork is never allowed in a Cell, and is true: "
                f"{NEVER}"
            ),
        ),
        (
            pod(initContainers=[{"name": "i", "securityContext": {"privileged": True}}]),
            (
                f"{AT}.spec.initContainers[0].securityContext.privileged: "
                "container.securityContext.privileged is never allowed in a Cell, and is true: "
                f"{NEVER}"
            ),
        ),
        (
            pod(volumes=[{"name": "a"}, {"name": "b", "hostPath": {"path": "/"}}]),
            (
                f"{AT}.spec.volumes[1].hostPath: pod.volumes[].hostPath is never allowed in a "
                f'Cell, and is {{"path": "/"}}: {NEVER}'
            ),
        ),
    ],
)
def test_what_opens_a_node_is_never_allowed(spec: dict[str, Any], message: str) -> None:
    """Host namespaces, privileges and host paths are refused without any rule, with their place."""
    assert found(spec) == [message]


@pytest.mark.parametrize(
    ("kind", "spec", "word"),
    [
        ("CronJob", {"jobTemplate": {"spec": pod(hostPID=True)}}, "pod.hostPID"),
        ("Pod", {"hostIPC": True, "containers": []}, "pod.hostIPC"),
        ("Rollout", pod(hostNetwork=True), "pod.hostNetwork"),
        ("Service", {"type": "LoadBalancer"}, "opens a door beside the gateways"),
        ("Service", {"externalIPs": ["192.0.2.1"]}, "externalIPs"),
        ("NetworkPolicy", {}, "declare endpoints and connections instead"),
        (
            "Deployment",
            {
                "template": {
                    "metadata": {"labels": {labels.COMPONENT: "other"}},
                    "spec": {"containers": []},
                }
            },
            "would make its pods pass for another's",
        ),
    ],
)
def test_no_kind_is_a_way_around(kind: str, spec: dict[str, Any], word: str) -> None:
    """Every kind that makes pods, opens doors or takes another's name is looked into."""
    messages = found(spec, kind=kind)
    assert len(messages) == 1
    assert word in messages[0]


def test_rules_of_the_platform_hold_for_every_container() -> None:
    """A container that a trait adds needs an allowed image and has the same ceiling."""
    sidecar = {
        "name": "sidecar",
        "image": "docker.io/spy:1",
        "lifecycle": {"preStop": {}},
        "resources": {"limits": {"memory": "3Gi"}},
    }
    rules = PlatformRules(
        image_registries=("ghcr.io/acme",),
        component_ceiling=ResourceBounds(memory="1Gi"),
        forbidden_fields=("container.lifecycle", "StatefulSet:spec.serviceName", "Ingress:"),
    )
    assert found(
        pod(containers=[{"name": "web", "image": "ghcr.io/acme/web:1"}, sidecar]), rules=rules
    ) == [
        (
            f'{AT}.spec.containers[1].image: image "docker.io/spy:1" is from nowhere that '
            "image_registries of organizations/acme allows: push it to ghcr.io/acme"
        ),
        (
            f"{AT}.spec.containers[1].resources.limits.memory: 3Gi of memory, but "
            "component_ceiling.memory of organizations/acme is 1Gi: ask for 1Gi at most"
        ),
        (
            f"{AT}.spec.containers[1].lifecycle: container.lifecycle is among forbidden_fields of "
            f'organizations/acme, and is {{"preStop": {{}}}}: {NEVER}'
        ),
    ]


def test_what_is_harmless_passes() -> None:
    """Fields that are set to what they would be anyway are nobody's finding."""
    quiet = pod(
        hostNetwork=False,
        volumes=[{"name": "tmp", "emptyDir": {}}],
        containers=[{"image": "app:1", "securityContext": {"allowPrivilegeEscalation": False}}],
    )
    assert found(quiet, rules=PlatformRules(forbidden_fields=("pod.hostAliases",))) == []
