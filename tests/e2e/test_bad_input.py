"""Bad input gets all its findings at once, by file, line and field path; nothing is stored."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.e2e.conftest import Plane

COMPONENT = """kind: Component
name: projects/boutique/components/{name}
componentKind: SERVICE
workload:
  image: example:1
{more}"""


def component(more: str = "", name: str = "bad") -> str:
    return COMPONENT.format(name=name, more=more)


CASES = {
    "unknown field": (component("replicas: 3\n"), 6, "replicas"),
    "missing reference": (
        component(
            "connections:\n- connection: a\n  componentEndpoint:\n"
            "    component: projects/boutique/components/nobody\n    endpoint: http\n"
        ),
        9,
        "connections[0].component_endpoint.component",
    ),
    "port out of range": (
        component("endpoints:\n- endpoint: web\n  protocol: HTTP\n  port: 70000\n"),
        9,
        "endpoints[0].port",
    ),
    "duplicate names": (
        component(
            "endpoints:\n- endpoint: web\n  protocol: HTTP\n  port: 80\n"
            "- endpoint: web\n  protocol: HTTP\n  port: 81\n"
        ),
        10,
        "endpoints[1].endpoint",
    ),
    "reserved name": (component(name="egress"), 2, "name"),
    "70 characters": (component(name="a" * 70), 2, "name"),
    "not reachable from another project": (
        component(
            "connections:\n- connection: a\n  componentEndpoint:\n"
            "    component: projects/hidden/components/secret\n    endpoint: http\n"
        ),
        9,
        "connections[0].component_endpoint",
    ),
    "tabs": ("kind: Component\n\tname: x\n", 2, ""),
    "wrong kind": ("kind: Componnent\nname: projects/boutique/components/x\n", 1, "kind"),
}


@pytest.fixture(scope="module", autouse=True)
def hidden(plane: Plane) -> None:
    """Another project with an endpoint that is its own."""
    plane.ok(
        "apply",
        "-f",
        "-",
        stdin="""kind: Project
name: projects/hidden
deploymentPipeline: deploymentPipelines/standard
---
kind: Component
name: projects/hidden/components/secret
componentKind: SERVICE
autoDeploy: false
workload: {image: "secret:1"}
endpoints: [{endpoint: http, protocol: HTTP, port: 80}]
""",
    )


@pytest.mark.parametrize("case", CASES)
def test_a_finding_has_file_line_and_path(plane: Plane, tmp_path: Path, case: str) -> None:
    """Each kind of mistake is named where it stands, and leaves no trace."""
    text, line, path = CASES[case]
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    before = plane.ok("get", "components", "-o", "name").out

    answer = plane.run("apply", "-f", str(file))

    assert answer.code != 0
    assert f"bad.yaml:{line}" in answer.err, answer.err
    assert path in re.sub(r"\s+", " ", answer.err), answer.err
    assert before == plane.ok("get", "components", "-o", "name").out


def test_all_findings_come_at_once(plane: Plane, tmp_path: Path) -> None:
    """Two files with three mistakes give three findings, and the good file is not stored."""
    (tmp_path / "a.yaml").write_text(
        component(
            "endpoints:\n- endpoint: web\n  protocol: HTTP\n  port: 0\n"
            "- endpoint: UPPER\n  protocol: HTTP\n  port: 81\n"
        )
    )
    (tmp_path / "b.yaml").write_text(component("colour: red\n", name="worse"))
    (tmp_path / "c.yaml").write_text(component(name="good"))

    answer = plane.run("apply", "-f", str(tmp_path))

    assert "a.yaml:9" in answer.err
    assert "a.yaml:10" in answer.err
    assert "b.yaml:6" in answer.err
    assert plane.run("get", "component", "projects/boutique/components/good").code == 3


@pytest.mark.parametrize(("name", "content"), [("empty", b""), ("big", b"# " + b"x" * 10_000_000)])
def test_an_empty_or_huge_file_is_refused(
    plane: Plane, tmp_path: Path, name: str, content: bytes
) -> None:
    """A file without a document, and one of 10 MB, are refused by name."""
    file = tmp_path / f"{name}.yaml"
    file.write_bytes(content)

    answer = plane.run("apply", "-f", str(file))

    assert answer.code != 0
    assert f"{name}.yaml" in answer.err
