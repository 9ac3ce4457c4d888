"""The API as an operator meets it with grpcurl."""

from __future__ import annotations

import pytest

from cellplane.cli.local.layout import SERVICES
from tests.e2e.conftest import Plane


@pytest.mark.parametrize("service", SERVICES)
def test_list_and_describe_answer(plane: Plane, service: str) -> None:
    """Each service lists what it serves, and describes every service of it with comments."""
    listed = plane.call(service, "list")

    assert listed.code == 0, listed.err
    own = [name for name in listed.out.split() if name.startswith("cellplane.")]
    assert own
    for name in own:
        described = plane.call(service, "describe", name)
        assert described.code == 0, described.err
        assert "// " in described.out, name
    assert plane.call(service, "describe").code == 0


def test_a_bad_request_names_its_fields(plane: Plane) -> None:
    """Several wrong fields come at once, each with its path."""
    answer = plane.call(
        "model",
        "-d",
        """{"parent": "organizations/acme/projects/boutique", "component_id": "Bad_Name",
            "component": {"component_kind": "COMPONENT_KIND_SERVICE", "workload": {"image": "x"},
                          "endpoints": [{"endpoint": "web", "protocol": "PROTOCOL_HTTP",
                                         "port": 70000}]}}""",
        "cellplane.api.model.v1.ComponentService/CreateComponent",
    )

    assert answer.code == 64 + 3
    assert "component_id" in answer.err
    assert "component.endpoints[0].port" in answer.err
    assert "ErrorInfo" in answer.err


def test_health_needs_no_permission(plane: Plane) -> None:
    """The standard health service answers for each service by name."""
    answer = plane.call(
        "placement",
        "-d",
        '{"service": "cellplane.api.placement.v1.DataPlaneService"}',
        "grpc.health.v1.Health/Check",
    )

    assert "SERVING" in answer.out


def test_a_caller_without_a_certificate_gets_nothing(plane: Plane) -> None:
    """Services talk to known identities only."""
    import subprocess

    done = subprocess.run(
        [
            str(plane.grpcurl),
            *("-cacert", str(plane.layout.pki / "ca.crt")),
            plane.layout.address("model"),
            "list",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode != 0
