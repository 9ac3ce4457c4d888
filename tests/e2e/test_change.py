"""A change reaches the cluster, alone and at once; what others change is put back."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from cellplane.api.model.v1 import component_pb2, component_pb2_grpc
from cellplane.api.type.v1 import workload_pb2
from tests.e2e.conftest import Plane

COMPONENT = "organizations/acme/projects/boutique/components/adservice"


class Editor:
    """Edits one environment variable of the ad service, as another tool would."""

    def __init__(self, plane: Plane) -> None:
        pki = plane.layout.pki
        credentials = grpc.ssl_channel_credentials(
            (pki / "ca.crt").read_bytes(),
            (pki / "admin.key").read_bytes(),
            (pki / "admin.crt").read_bytes(),
        )
        self._channel = grpc.secure_channel(plane.layout.address("model"), credentials)
        self._stub = component_pb2_grpc.ComponentServiceStub(self._channel)

    def set(self, value: str) -> component_pb2.Component:
        """Set EDIT to *value*; waits for a service that starts again."""
        request = component_pb2.UpdateComponentRequest(
            component=component_pb2.Component(
                name=COMPONENT,
                workload=workload_pb2.Workload(
                    env=[
                        workload_pb2.EnvironmentVariable(name="PORT", value="9555"),
                        workload_pb2.EnvironmentVariable(name="EDIT", value=value),
                    ]
                ),
            )
        )
        request.update_mask.paths.append("workload.env")
        deadline = time.monotonic() + 30
        while True:
            try:
                return self._stub.UpdateComponent(request, timeout=10)
            except grpc.RpcError as error:
                retry = error.code() is grpc.StatusCode.UNAVAILABLE
                if not retry or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()


@pytest.fixture
def editor(plane: Plane) -> Any:
    editor = Editor(plane)
    yield editor
    editor.close()


@pytest.fixture
def namespace(plane: Plane) -> str:
    cell = plane.ok("get", "cell", "boutique/development", "-o", "json").json
    return str(cell["namespace"])


def edited(value: str) -> Callable[[Any], bool]:
    """Tell whether a Deployment has the edit."""
    return lambda deployment: deployment is not None and value == _edit_of(deployment)


def _edit_of(deployment: Any) -> str:
    env = deployment["spec"]["template"]["spec"]["containers"][0].get("env", [])
    return str(next((e["value"] for e in env if e["name"] == "EDIT"), ""))


def deployment_path(namespace: str, name: str = "adservice") -> str:
    return f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"


def writes(log: Path, user: str, since: int) -> list[tuple[str, str]]:
    """Objects that *user* wrote since a line of the audit log."""
    entries = [json.loads(line) for line in log.read_text().splitlines()[since:]]
    return [
        (entry["objectRef"]["resource"], entry["objectRef"].get("name", ""))
        for entry in entries
        if entry["user"]["username"] == user
        and entry["verb"] in {"create", "update", "patch", "delete"}
    ]


def test_only_the_objects_of_the_component_are_written(
    plane: Plane, editor: Editor, namespace: str
) -> None:
    """An edit of one variable writes one Deployment on each data plane, and nothing else."""
    clusters = {name: plane.cluster(name) for name in ("west", "east")}
    logs = {name: plane.layout.state(f"cluster-{name}") / "audit.log" for name in clusters}
    plane.ok("wait", "cell", "boutique/development", "--for=ready", "--timeout=60s")
    lines = {name: len(log.read_text().splitlines()) for name, log in logs.items()}

    editor.set("alone")
    for cluster in clusters.values():
        cluster.until(deployment_path(namespace), edited("alone"), patience=10)
    plane.ok("wait", "cell", "boutique/development", "--for=ready", "--timeout=60s")

    for name, log in logs.items():
        found = writes(log, "sandbox:admin", lines[name])
        assert found == [("deployments", "adservice")], name


def test_a_new_revision_is_never_shown_ready_before_it_is(plane: Plane, editor: Editor) -> None:
    """A release whose pods cannot become ready is never Ready, and fails with the deepest cause."""
    component = "projects/boutique/components/adservice"
    before = plane.ok("get", "component", component, "-o", "yaml").out
    broken = "\n".join(
        line
        if "image:" not in line
        else line.split("image:")[0] + "image: adservice:sandbox-missing"
        for line in before.splitlines()
    )
    try:
        plane.ok("apply", "-f", "-", stdin=broken)
        waited = plane.run("wait", "cell", "boutique/development", "--for=ready", "--timeout=60s")
        assert waited.code == 7, waited.out + waited.err
        status = plane.run("status", "boutique")
        assert "ImagePull" in status.out + status.err
    finally:
        plane.ok("apply", "-f", "-", stdin=before)
        plane.ok("wait", "cell", "boutique/development", "--for=ready", "--timeout=60s")


@pytest.mark.parametrize("name", ["west", "east"])
def test_a_deleted_policy_is_back_within_a_second(plane: Plane, namespace: str, name: str) -> None:
    """Somebody deletes a guard; it is there again, as it was."""
    kind = {
        "west": "apis/cilium.io/v2/namespaces/{}/ciliumnetworkpolicies",
        "east": "apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    }[name].format(namespace)
    cluster = plane.cluster(name)
    for policy in cluster.get(f"/{kind}")["items"][:3]:
        path = f"/{kind}/{policy['metadata']['name']}"
        cluster.delete(path)
        uid = policy["metadata"]["uid"]

        cluster.until(
            path, lambda p, uid=uid: p is not None and p["metadata"]["uid"] != uid, patience=1.0
        )


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("west", "apis/cilium.io/v2/ciliumclusterwidenetworkpolicies/cellplane.cells"),
        ("west", "apis/cilium.io/v2/namespaces/{}/ciliumnetworkpolicies/gateway.westbound"),
        ("east", "apis/networking.k8s.io/v1/namespaces/{}/networkpolicies/cell.default-deny"),
    ],
)
def test_what_closes_the_gateways_is_back_within_a_second(
    plane: Plane, name: str, path: str
) -> None:
    """The platform's own policies are on every data plane, and are put back as a Cell's are."""
    shown = plane.ok("get", "dataplane", name, "-o", "json").json
    (ready,) = [c for c in shown["conditions"] if c["type"] == "PlatformReady"]
    assert ready["status"] == "TRUE", ready
    cluster = plane.cluster(name)
    path = "/" + path.format("cellplane-gateways")
    uid = cluster.get(path)["metadata"]["uid"]
    cluster.delete(path)

    cluster.until(path, lambda p: p is not None and p["metadata"]["uid"] != uid, patience=1.0)


def test_an_edited_image_is_back_within_a_second(plane: Plane, namespace: str) -> None:
    """Somebody edits an image by hand; the declared one is back."""
    cluster = plane.cluster("west")
    path = deployment_path(namespace, "frontend")
    spec = cluster.get(path)["spec"]["template"]["spec"]
    container = spec["containers"][0]
    image = container["image"]
    cluster.request(
        "PATCH",
        path,
        {
            "spec": {
                "template": {"spec": {"containers": [{"name": container["name"], "image": "evil"}]}}
            }
        },
        "application/strategic-merge-patch+json",
    )

    cluster.until(
        path,
        lambda d: d["spec"]["template"]["spec"]["containers"][0]["image"] == image,
        patience=1.0,
    )


@pytest.mark.parametrize("process", ["placement", "model", "agent-west"])
def test_nothing_acknowledged_is_lost_by_a_kill(
    plane: Plane, editor: Editor, namespace: str, process: str
) -> None:
    """Kill -9 in a stream of edits: the last acknowledged one arrives on every cluster."""
    last = ""
    for number in range(30):
        if number == 10:
            os.kill(plane.pid(process), signal.SIGKILL)
        last = f"{process}-{number}"
        editor.set(last)

    for name in ("west", "east"):
        plane.cluster(name).until(deployment_path(namespace), edited(last), patience=30)
    plane.ok("wait", "cell", "boutique/development", "--for=ready", "--timeout=60s")


def test_a_deleted_project_goes_alone(plane: Plane) -> None:
    """Deleting a project removes its namespaces and objects, and nothing else."""
    component = {
        "name": "organizations/acme/projects/fleeting/components/web",
        "component_kind": "COMPONENT_KIND_WEB_APPLICATION",
        "workload": {"image": "web:1"},
        "endpoints": [{"endpoint": "http", "protocol": "PROTOCOL_HTTP", "port": 8080}],
    }
    plane.ok(
        "apply",
        "-f",
        "-",
        stdin="kind: Project\nname: projects/fleeting\n"
        "deploymentPipeline: deploymentPipelines/standard\n",
    )
    created = plane.call(
        "model",
        "-d",
        json.dumps(
            {
                "parent": "organizations/acme/projects/fleeting",
                "component_id": "web",
                "component": component,
            }
        ),
        "cellplane.api.model.v1.ComponentService/CreateComponent",
    )
    assert created.code == 0, created.err
    plane.ok("wait", "cell", "fleeting/development", "--for=ready", "--timeout=60s")
    namespace = plane.ok("get", "cell", "fleeting/development", "-o", "json").json["namespace"]
    clusters = {name: plane.cluster(name) for name in ("west", "east")}
    others = {name: _namespaces(cluster) - {namespace} for name, cluster in clusters.items()}

    refused = plane.run("delete", "project", "fleeting")
    assert refused.code != 0
    assert "web" in refused.err
    plane.ok("delete", "project", "fleeting", "--force")

    for name, cluster in clusters.items():
        cluster.until(f"/api/v1/namespaces/{namespace}", lambda n: n is None, patience=30)
        assert others[name] == _namespaces(cluster)


def _namespaces(cluster: Any) -> set[str]:
    return {n["metadata"]["name"] for n in cluster.get("/api/v1/namespaces")["items"]}
